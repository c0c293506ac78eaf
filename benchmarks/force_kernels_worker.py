"""Force kernels of FCHL19 with skatom. See benchmarks/force_kernels.py."""

import json
import sys

import numpy as np
from harness import report, timed
from peers.force_kernels import SIGMA

from skatom import Structures, Targets
from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian, covariance
from skatom.models import ForceKernelRidge


def main(task):
    arrays = np.load(task["arrays"])
    structures = Structures.from_frames(arrays["z"], arrays["R"])
    descriptor = FCHL19().fit(structures)
    if task["what"] == "gram":
        features = descriptor.transform(structures[: task["n"]])
        seconds, _ = timed(lambda: descriptor.transform(features.structures), 3)
        kernel, _ = timed(lambda: covariance(Gaussian(SIGMA), features), 3)
        report(features_s=seconds, kernel_s=kernel)
        return
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
    report(predict_s=result["derivatives_s"], operators_s=result["operators_s"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
