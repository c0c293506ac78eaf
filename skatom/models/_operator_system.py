"""The least-squares problem of operator learning: environments as basis, responses as rows."""

import numpy as np

from skatom.kernels.blocks import fill_columns, layout
from skatom.kernels.environments import Environments, jacobian_bases
from skatom.memory import check_memory
from skatom.models._environment_expansion import EnvironmentExpansion
from skatom.parallel import threads_over_blas
from skatom.solvers import StreamedQR

# Rows that are made and taken at once.
_ROWS = 512


class FeatureOperators:
    """Energies and forces of structures as rows, kernels of the training atoms as columns.

    Parameters
    ----------
    kernel : Kernel
    features : AtomicFeatures
        Of the training structures, whose atoms are the basis.
    with_forces : bool
        Whether rows of forces will be asked for.
    """

    def __init__(self, kernel, features, with_forces):
        self.kernel = kernel
        self.features = features
        self._bases = jacobian_bases(features) if with_forces else None
        self._basis = Environments.of_single_atoms(features, self._bases)
        n = len(features.numbers)
        self._layout = layout(np.zeros(n, np.int64), np.ones(n, bool))

    @property
    def n_columns(self):
        return len(self.features.numbers)

    def rows(self, features, has_energy, has_forces):
        """Rows (n_rows, n_columns): of each structure its energy, then its forces."""
        coordinates = [
            np.arange(3 * n if forces else 0)
            for n, forces in zip(features.n_atoms, has_forces, strict=True)
        ]
        environments = Environments(features, self._bases, coordinates)
        rows = layout(environments.n_dof, has_energy)
        out = np.empty((self.n_columns, rows.starts[-1]))
        with threads_over_blas() as pool:
            fill_columns(
                self.kernel, self._basis, environments, self._layout, rows,
                (0, len(features)), 0, False, out, pool,
            )  # fmt: skip
        return out.T

    def expansion(self, coefficients):
        """The predictor, an `EnvironmentExpansion`."""
        by_species = {z: coefficients[self.features.numbers == z] for z in self._basis.values}
        return EnvironmentExpansion(self.kernel, self._basis.values, by_species)


def solve_operators(operators, X, targets, alpha, alpha_forces, max_memory=None, progress=iter):
    r"""Coefficients of the basis, by a stable least squares.

    .. math:: \min_c \frac{|E - K_E c|^2}{\alpha^2} + \frac{|F - K_F c|^2}{\alpha_F^2} + |c|^2

    The rows are made batch by batch and taken by a QR factorisation that keeps a triangle only.

    Parameters
    ----------
    operators : FeatureOperators
    X : AtomicFeatures
    targets : Targets
        Energies, forces, or both.
    alpha, alpha_forces : float
        Positive.
    max_memory : float or None
        GiB.
    progress : callable
        Wraps the list of batches.

    Returns
    -------
    ndarray of float, shape (n_columns,)
    """
    n = operators.n_columns
    check_memory(
        8.0 * n * (2.0 * n + 3 * _ROWS),
        f"the least squares with a basis of {n} atoms",
        "train on fewer structures (it grows with the square of their atoms)"
        + ("" if max_memory is None else ", or raise max_memory"),
        max_memory,
    )
    has_energy, has_forces = targets.labelled("energy"), targets.labelled("forces")
    solver = StreamedQR(n, prior=np.eye(n))
    sizes = has_energy + 3 * X.n_atoms * has_forces
    edges = np.unique(np.searchsorted(np.cumsum(sizes), np.arange(0, sizes.sum(), _ROWS)))
    edges = np.append(edges[edges < len(X)], len(X))
    for first, last in progress(list(zip(edges[:-1], edges[1:], strict=True))):
        part = slice(first, last)
        rows = operators.rows(X[part], has_energy[part], has_forces[part])
        labels, noise = _labels(targets[part], X[part].n_atoms, alpha, alpha_forces)
        solver.update(rows / noise[:, None], labels / noise)
    return solver.solve()


def _labels(targets, n_atoms, alpha, alpha_forces):
    """Labels in the order of the rows, and what both are divided by."""
    labels, noise = [], []
    has_energy, has_forces = targets.labelled("energy"), targets.labelled("forces")
    starts = np.cumsum(n_atoms) - n_atoms
    for s, start in enumerate(starts):
        if has_energy[s]:
            labels.append(targets.energy[s : s + 1])
            noise.append(np.full(1, alpha))
        if has_forces[s]:
            labels.append(targets.forces[start : start + n_atoms[s]].ravel())
            noise.append(np.full(3 * n_atoms[s], alpha_forces))
    return np.concatenate(labels), np.concatenate(noise)
