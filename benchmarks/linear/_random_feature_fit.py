"""Fits of random features of FCHL19, on the processor and on a card."""

import time
from pathlib import Path

import numpy as np
from sklearn.pipeline import Pipeline

from benchmarks.harness import DATA, peak_gib
from skatom._device import resolve
from skatom.datasets import read
from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian
from skatom.metrics import evaluate
from skatom.models import ForceKernelRidge, LinearPotential
from skatom.random_features import PrincipalComponents, RandomFourierFeatures

# Two harmonics of the angle, as of the kernel that the errors are compared with.
ANGULAR = {
    "n_r3": 20, "eta3": 5.0, "weight3": 0.23, "zeta": 0.5, "n_fourier": 2, "cutoff3": 6.0,
    "decay2": 1.44,
}  # fmt: skip
# Width of the kernel and number of components, chosen on the first test frames of ethanol, which
# are left out since. A regularisation that normal equations bear: they take half of the time.
SIGMA, COMPONENTS, ALPHA, _CHOSEN_ON = 20.0, 96, 1e-8, 100


def load(molecule, part, n):
    """n frames of the training or test data of revised MD17, without those of `_CHOSEN_ON`."""
    name = f"rmd17_{molecule}_{part}.npz"
    path = next(p for p in (DATA / name, DATA / "molecules" / name) if p.exists())
    data = read(path)
    chosen = slice(0, n) if part == "train" else slice(_CHOSEN_ON, _CHOSEN_ON + n)
    return data.structures[chosen], data.targets[chosen]


def random_feature_model(n_features, method, device, n_components=COMPONENTS, n_species=3):
    """Energies and forces by least squares on random features, with columns for each element."""
    return Pipeline([
        ("descriptor", FCHL19(**ANGULAR, device=device)),
        ("components", PrincipalComponents(n_components)),
        (
            "waves",
            RandomFourierFeatures(
                Gaussian(SIGMA), -(-n_features // n_species), method=method, random_state=0
            ),
        ),
        ("model", LinearPotential(ALPHA)),
    ])  # fmt: skip


def errors(model, structures, targets):
    """Mean absolute errors, meV and meV/Å."""
    scores = evaluate(model, structures, targets)
    return {"energy": 1e3 * scores["energy_mae"], "forces": 1e3 * scores["force_mae"]}


def random_feature_worker(task):
    """Errors, time and memory of a fit of random features in a process of its own."""
    X, y = load(task["molecule"], "train", task["frames"])
    device = resolve(task["device"])
    model = random_feature_model(task["features"], task["method"], task["device"])
    random_feature_model(64, task["method"], task["device"], 4).fit(X[:4], y[:4])  # compiles
    return _measured(lambda: model.fit(X, y), lambda X, y: errors(model, X, y), task, device)


def kernel_worker(task):
    """The same of the kernel that the features approximate."""
    X, y = load(task["molecule"], "train", task["frames"])
    model = Pipeline([
        ("descriptor", FCHL19(**ANGULAR)),
        ("model", ForceKernelRidge(Gaussian(2.0), alpha=1e-9, alpha_forces=1e-8)),
    ])  # fmt: skip
    model.fit(X[:4], y[:4])  # compiles
    return _measured(lambda: model.fit(X, y), lambda X, y: errors(model, X, y), task, None)


def _measured(fit, error, task, device):
    begin, cpu = time.perf_counter(), time.process_time()
    fit()
    if device is not None:
        device.synchronize()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    peak = peak_gib()
    if device is not None and device.is_card:
        peak = device.torch.cuda.max_memory_allocated() / 2**30
    test = load(task["molecule"], "test", task["test"])
    return {"seconds": seconds, "cpu": cpu, "gib": peak, **error(*test)}


def write_arrays(folder, molecule, frames, test):
    """A file of frames for a peer, which knows no skatom."""
    (X, y), (X_test, y_test) = load(molecule, "train", frames), load(molecule, "test", test)
    path = Path(folder) / f"{molecule}.npz"
    n_atoms = int(X.n_atoms[0])
    np.savez(
        path, z=X.numbers[:n_atoms], R=X.positions.reshape(-1, n_atoms, 3), E=y.energy,
        F=y.forces.reshape(-1, n_atoms, 3), R_test=X_test.positions.reshape(-1, n_atoms, 3),
        E_test=y_test.energy, F_test=y_test.forces.reshape(-1, n_atoms, 3),
    )  # fmt: skip
    return str(path)
