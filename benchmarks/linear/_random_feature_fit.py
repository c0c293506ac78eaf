"""Fits of random features of FCHL19 by normal equations, which numpy and torch share."""

import time
from pathlib import Path

import numpy as np
from scipy.linalg import blas, cho_factor, cho_solve

from benchmarks.harness import DATA, peak_gib
from skatom._device import beside, namespace, on_host, resolve
from skatom.datasets import read
from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian
from skatom.metrics import evaluate
from skatom.models import ForceKernelRidge
from skatom.random_features import PrincipalComponents, RandomFourierFeatures

# Two harmonics of the angle, as of the kernel that the errors are compared with.
ANGULAR = {
    "n_r3": 20, "eta3": 5.0, "weight3": 0.23, "zeta": 0.5, "n_fourier": 2, "cutoff3": 6.0,
    "decay2": 1.44,
}  # fmt: skip
# Width of the kernel and number of components, chosen on the first test frames of ethanol, which
# are left out since; the ridge is near the limit of rounding.
SIGMA, COMPONENTS, ALPHA, _CHOSEN_ON = 20.0, 96, 2e-15, 100
# Numbers of a block of rows.
_BLOCK = {False: 2**24, True: 2**30}


def load(molecule, part, n):
    """n frames of the training or test data of revised MD17, without those of `_CHOSEN_ON`."""
    name = f"rmd17_{molecule}_{part}.npz"
    path = next(p for p in (DATA / name, DATA / "molecules" / name) if p.exists())
    data = read(path)
    chosen = slice(0, n) if part == "train" else slice(_CHOSEN_ON, _CHOSEN_ON + n)
    return data.structures[chosen], data.targets[chosen]


class RandomFeatureFit:
    """Energies and forces by least squares on random features, with columns for each element.

    The Gram matrix is summed over blocks of rows, so that the memory does not depend on the number
    of frames. All stays on the device of the features.
    """

    def __init__(self, n_features, method, device, n_components=COMPONENTS):
        self.n_features, self.method, self.device = n_features, method, device
        self.n_components = n_components

    def fit(self, structures, targets):
        self.descriptor = FCHL19(**ANGULAR, device=self.device)
        features = self.descriptor.fit_transform(structures)
        per_element = -(-self.n_features // len(features.species))
        self.components = PrincipalComponents(self.n_components).fit(features)
        self.waves = RandomFourierFeatures(
            Gaussian(SIGMA), per_element, method=self.method, random_state=0
        ).fit(self.components.transform(features))
        self.mean = targets.energy.mean()
        gram = products = None
        for rows, labels in self._blocks(features, targets):
            gram, products = _added(gram, products, rows, labels)
        self.coefficients = _solved(gram, products)
        return self

    def predict(self, structures):
        """Energies and forces, arrays of numpy."""
        features = self._mapped(self.descriptor.transform(structures))
        c = self.coefficients[:-1].reshape(len(self.waves.species_), -1)
        cotangent = c[np.searchsorted(self.waves.species_, features.numbers)]
        local = on_host((features.values * cotangent).sum(1))
        energies = np.add.reduceat(local, features.offsets[:-1])
        gradient, _ = features.pullback(cotangent)
        return energies + float(self.coefficients[-1]) + self.mean, -on_host(gradient)

    def _mapped(self, features):
        return self.waves.transform(self.components.transform(features))

    def _blocks(self, features, targets):
        """Blocks of rows of energies and forces, and their labels."""
        n, n_atoms = len(features), int(features.n_atoms.max())
        size = _BLOCK[self.device == "cuda"] // (self.n_features * 3 * n_atoms * n_atoms)
        size = max(1, size)
        for first in range(0, n, size):
            batch = slice(first, min(n, first + size))
            part, labels = self._mapped(features[batch]), targets[batch]
            rows = beside(np.zeros(0), part.values).new_zeros if self.device != "cpu" else np.zeros
            energies, forces = self._rows(part, rows)
            y = np.concatenate([labels.energy - self.mean, labels.forces.ravel()])
            yield namespace(energies).concatenate([energies, forces]), beside(y, energies)

    def _rows(self, features, zeros):
        """Rows of energies and of forces; the last column is the constant."""
        jacobian = features.jacobian(slice(None))
        n_atoms, n, d = len(features.numbers), len(features), features.n_features
        n_columns = d * len(self.waves.species_) + 1
        energies, forces = zeros((n, n_columns)), zeros((n_atoms, 3, n_columns))
        owners = np.repeat(np.arange(n), features.n_atoms)
        centers, neighbors = jacobian.pairs.centers, jacobian.pairs.indices
        for e, z in enumerate(self.waves.species_):
            columns = slice(e * d, (e + 1) * d)
            atoms = np.flatnonzero(features.numbers == z)
            pairs = np.flatnonzero(features.numbers[centers] == z)
            _add(energies[:, columns], owners[atoms], features.values[atoms])
            slopes = jacobian.values[pairs]
            _add(forces[:, :, columns], centers[pairs], slopes)
            _add(forces[:, :, columns], neighbors[pairs], -slopes)
        energies[:, -1] = 1.0
        return energies, forces.reshape(3 * n_atoms, n_columns)


def _add(rows, index, values):
    """Add values to the rows of an index, in which rows may occur several times."""
    if isinstance(rows, np.ndarray):
        for k, row in enumerate(index):
            rows[row] += values[k]
    else:
        rows.index_add_(0, beside(index, rows), values)


def _added(gram, products, rows, labels):
    if isinstance(rows, np.ndarray):
        if gram is None:
            gram = np.zeros((rows.shape[1],) * 2, order="F")
            products = np.zeros(rows.shape[1])
        gram = blas.dsyrk(1.0, rows.T, beta=1.0, c=gram, overwrite_c=True)
        products += labels @ rows
        return gram, products
    if gram is None:
        gram, products = rows.new_zeros((rows.shape[1],) * 2), rows.new_zeros(rows.shape[1])
    gram.addmm_(rows.T, rows)
    products.addmv_(rows.T, labels)
    return gram, products


def _solved(gram, products):
    """Coefficients with the smallest ridge, relative to the trace, that rounding allows."""
    n, ridge = len(products), ALPHA * float(gram.trace())
    if isinstance(gram, np.ndarray):
        gram[np.arange(n - 1), np.arange(n - 1)] += ridge
        return cho_solve(cho_factor(gram, overwrite_a=True), products)
    torch = namespace(gram)
    while True:
        gram.diagonal()[:-1] += ridge
        factor, failed = torch.linalg.cholesky_ex(gram)
        if not failed:
            return torch.cholesky_solve(products[:, None], factor)[:, 0]
        ridge *= 10
        print(f"  not positive definite: ridge {ridge:.1e}", flush=True)


def errors(model, structures, targets):
    """Mean absolute errors, meV and meV/Å."""
    energies, forces = model.predict(structures)
    return {
        "energy": 1e3 * float(np.abs(energies - targets.energy).mean()),
        "forces": 1e3 * float(np.abs(forces - targets.forces).mean()),
    }


def random_feature_worker(task):
    """Errors, time and memory of a fit of random features in a process of its own."""
    X, y = load(task["molecule"], "train", task["frames"])
    device = resolve(task["device"])
    model = RandomFeatureFit(task["features"], task["method"], task["device"])
    RandomFeatureFit(64, task["method"], task["device"], 4).fit(X[:4], y[:4])  # compiles
    return _measured(lambda: model.fit(X, y), lambda X, y: errors(model, X, y), task, device)


def kernel_worker(task):
    """The same of the kernel that the features approximate."""
    X, y = load(task["molecule"], "train", task["frames"])
    model = ForceKernelRidge(Gaussian(2.0), alpha=1e-9, alpha_forces=1e-8)
    descriptor = FCHL19(**ANGULAR)
    ForceKernelRidge(Gaussian(2.0)).fit(descriptor.fit_transform(X[:4]), y[:4])

    def found(X, y):
        scores = evaluate(model, descriptor.transform(X), y)
        return {"energy": 1e3 * scores["energy_mae"], "forces": 1e3 * scores["forces_mae"]}

    return _measured(lambda: model.fit(descriptor.transform(X), y), found, task, None)


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
