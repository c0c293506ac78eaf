"""Force kernels of FCHL19 with skatom, for the benchmark force_kernels."""

import numpy as np

from benchmarks.harness import timed
from benchmarks.peers.force_kernels import SIGMA
from skatom import Structures, Targets
from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian, covariance
from skatom.models import ForceKernelRidge


def worker(task):
    """Seconds of a matrix, or of a prediction for a geometry."""
    arrays = np.load(task["arrays"])
    structures = Structures.from_frames(arrays["z"], arrays["R"])
    descriptor = FCHL19().fit(structures)
    if task["what"] == "gram":
        features = descriptor.transform(structures[: task["n"]])
        seconds, _ = timed(lambda: descriptor.transform(features.structures), 3)
        kernel, _ = timed(lambda: covariance(Gaussian(SIGMA), features), 3)
        return {"features_s": seconds, "kernel_s": kernel}
    train = arrays["train"]
    targets = Targets(arrays["E"], arrays["F"])[train]
    queries = structures[arrays["test"]][: task["n"]]
    result = {}
    for basis in ("derivatives", "operators"):
        model = ForceKernelRidge(Gaussian(SIGMA), basis)
        model.fit(descriptor.transform(structures[train]), targets)
        seconds, _ = timed(
            lambda m=model: m.predict(descriptor.transform(queries), return_forces=True), 3
        )
        result[f"{basis}_s"] = seconds / len(queries)
    return {"predict_s": result["derivatives_s"], "operators_s": result["operators_s"]}
