"""Train and predict with skatom's SGDML, for the benchmark sgdml."""

import numpy as np

from benchmarks.harness import peak_gib, timed, touch_memory
from skatom import Structures, Targets
from skatom.models import SGDML
from skatom.models.gdml.system import GDMLSystem
from skatom.symmetry import find_permutations


def worker(task):
    """Times and peak memory; predictions are written to ``task["out"]``."""
    arrays = np.load(task["arrays"])
    structures = Structures.from_frames(arrays["z"], arrays["R"])
    targets = Targets(arrays["E"], arrays["F"])
    train, test = arrays["train"], arrays["test"]
    SGDML().fit(structures[:20], targets[:20]).predict(structures[:300], return_forces=True)
    assembly = []
    fill = GDMLSystem.fill

    def timed_fill(self, start, stop, out):
        assembly.append(timed(lambda: fill(self, start, stop, out))[0])

    GDMLSystem.fill = timed_fill
    X, y = structures[train], targets[train]
    search, permutations = timed(lambda: find_permutations(X))
    model = SGDML(sigma=20.0, alpha=1e-10, permutations=task.get("permutations", permutations))
    touch_memory(task["touch"])
    fit, _ = timed(lambda: model.fit(X, y))
    peak = peak_gib()
    queries = structures[test]
    predict, (energies, forces) = timed(lambda: model.predict(queries, return_forces=True), 5)
    single, _ = timed(lambda: model.predict(queries[:1], return_forces=True), 50)
    np.savez(task["out"], E=energies, F=forces, perms=model.permutations_)
    return {
        "search_s": search, "assembly_s": sum(assembly), "fit_s": fit, "predict_s": predict,
        "single_s": single, "peak_gib": peak,
    }  # fmt: skip
