"""Fit and predict with skatom's SparseGaussianProcess, for the benchmark sparse_gp."""

import numpy as np
from ase.build import bulk
from ase.io import read

from benchmarks.harness import peak_gib, timed, touch_memory
from skatom import Structures, Targets
from skatom.descriptors import SOAP
from skatom.kernels import Cosine
from skatom.models import SparseGaussianProcess

KEYS = {"energy": "energy_ref", "forces": "force_ref"}


def random_cells(task):
    """Fit to so many cells with labels at random, of which only time and memory are of interest."""
    rng = np.random.default_rng(0)
    cell = bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)
    shape = (task["n"], *cell.positions.shape)
    positions = cell.positions + rng.normal(scale=0.1, size=shape)
    structures = Structures.from_frames(cell.numbers, positions, cell.cell.array)
    targets = Targets(rng.normal(size=task["n"]), rng.normal(size=shape))
    model = SparseGaussianProcess(
        terms=[(SOAP(), Cosine(zeta=4), task["n_sparse"])], n_candidates=3000, random_state=0
    )
    model.fit(structures[:100], targets[:100])
    touch_memory(task["touch"])
    fit_s, _ = timed(lambda: model.fit(structures, targets))
    return {"fit_s": fit_s, "peak_gib": peak_gib()}


def cells(task):
    """Fit to labelled cells and predict others: time, memory, predictions and what is true."""
    train, test = read(task["train"], ":"), read(task["test"], ":")
    targets = Targets.from_ase(train, keys=KEYS)
    structures, queries = Structures.from_ase(train), Structures.from_ase(test)
    descriptor = SOAP(cutoff=5.0, n_max=8, l_max=6, sigma=0.5, radial_basis="gto")
    model = SparseGaussianProcess(
        terms=[(descriptor, Cosine(zeta=4), task["n_sparse"])], noise_energy=0.001,
        noise_forces=0.05, n_candidates=3000, random_state=0,
    )  # fmt: skip
    few = Targets(targets.energy[:2], targets.forces[:128], offsets=[0, 64, 128])
    warm = SparseGaussianProcess(terms=[(descriptor, Cosine(zeta=4), 10)]).fit(structures[:2], few)
    warm.predict(queries[:2], return_forces=True, return_stress=True)
    touch_memory(task["touch"])
    fit_s, _ = timed(lambda: model.fit(structures, targets))
    peak = peak_gib()
    predict_s, (energies, forces, _) = timed(
        lambda: model.predict(queries, return_forces=True, return_stress=True), 5
    )
    reference = Targets.from_ase(test, keys=KEYS)
    return {
        "fit_s": fit_s, "predict_s": predict_s, "peak_gib": peak, "energies": energies.tolist(),
        "forces": forces.tolist(), "n_atoms": len(queries.numbers),
        "energy_ref": reference.energy.tolist(),
        "force_ref": np.asarray(reference.forces).tolist(),
    }  # fmt: skip
