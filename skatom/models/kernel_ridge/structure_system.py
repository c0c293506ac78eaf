"""The linear system of a Gaussian process under a kernel of structures, and its predictors."""

import numpy as np

from skatom.base import Predictor
from skatom.kernels import covariance
from skatom.kernels.blocks import kinds_of_rows
from skatom.kernels.fchl18.expansion import FCHL18Expansion
from skatom.memory import check_memory
from skatom.models.kernel_ridge.labels import parameter_of
from skatom.properties import VOIGT
from skatom.solvers import MatrixSystem, PackedCholesky

_KINDS = ("energy", "forces", "virial")
_SHAPES = {"energy": (), "forces": (3,), "virial": (6,)}
# Width of block columns of the matrix, and structures whose deviations are computed at once.
_WIDTH, _BATCH = 512, 16
_ROWS, _COLUMNS = VOIGT


class StructureSystem:
    r"""(K + Λ) α = y with the covariances K of energies, forces and virials of structures.

    Parameters
    ----------
    kernel : FCHL18
    structures : Structures
    labels : RidgeLabels
    max_memory : float or None
        Memory limit in GiB.
    """

    def __init__(self, kernel, structures, labels, max_memory=None):
        self.kernel = kernel
        self.labels = labels
        self.kinds = tuple(kind for kind in _KINDS if labels.labelled[kind].any())
        kind_of_row = kinds_of_rows(structures.n_atoms, self.kinds)
        heights = {kind: labels.heights(kind) for kind in self.kinds}
        owners = np.repeat(np.arange(len(structures)), sum(heights.values()))
        has = np.stack([labels.labelled[kind] for kind in self.kinds])
        self._labelled = has[kind_of_row, owners]
        self._kind_of_row = kind_of_row[self._labelled]
        size, whole = int(self._labelled.sum()), len(self._labelled)
        part = size if size < whole else np.bincount(kind_of_row).max()
        check_memory(
            8.0 * max(whole**2 + part**2, size**2 + PackedCholesky.memory(size, _WIDTH) / 8),
            f"the covariance matrix of {len(structures)} structures with {size} rows",
            "train on fewer structures (it grows with their square)"
            + ("" if max_memory is None else ", or raise max_memory"),
            max_memory,
        )
        self.basis = kernel.environments(structures)

    def right_side(self):
        """The labels in the order of the rows."""
        return self._in_rows(lambda kind: self.labels.of(kind, self.labels.labelled[kind]))

    def _in_rows(self, of_kind):
        rows = np.empty(len(self._kind_of_row))
        for place, kind in enumerate(self.kinds):
            rows[self._kind_of_row == place] = of_kind(kind)
        return rows

    def factor(self, verbose=0):
        """Compute and factor the matrix."""
        matrix = covariance(self.kernel, self.basis, rows=self.kinds)
        if not self._labelled.all():
            matrix = matrix[np.ix_(self._labelled, self._labelled)]
        matrix[np.diag_indices_from(matrix)] += self._in_rows(
            lambda kind: self.labels.roots(kind, self.labels.labelled[kind]) ** 2
        )
        self._solver = PackedCholesky([*range(0, len(matrix), _WIDTH), len(matrix)], verbose)
        try:
            self._solver.factor(MatrixSystem(matrix))
        except np.linalg.LinAlgError as error:
            used = ", ".join(
                f"{parameter_of(kind)}={self.labels.alphas[kind].min():g}" for kind in self.kinds
            )
            raise ValueError(
                f"the covariance matrix is not positive definite with {used}: raise them tenfold, "
                "or remove structures that are equal"
            ) from error

    def solve(self, right_side):
        """α of a right-hand side (n_rows,)."""
        return self._solver.solve(right_side)

    def expansion(self, solution):
        """The predictor with these coefficients of the rows."""
        whole = np.zeros(len(self._labelled))
        whole[self._labelled] = solution
        if self.kernel.scope == "global":
            return CovarianceExpansion(self.kernel, self.basis, self.kinds, whole)
        structures = self.basis.structures
        kind_of_row = kinds_of_rows(structures.n_atoms, self.kinds)
        of_kind = {kind: whole[kind_of_row == place] for place, kind in enumerate(self.kinds)}
        coefficients = of_kind.get("energy", np.zeros(len(structures)))
        directions = of_kind.get("forces")
        strains = None
        if "virial" in of_kind:
            strains = np.zeros((len(structures), 3, 3))
            strains[:, _ROWS, _COLUMNS] = of_kind["virial"].reshape(-1, 6)
        return FCHL18Expansion(
            self.kernel, self.basis, np.repeat(coefficients, structures.n_atoms),
            None if directions is None else -directions.reshape(-1, 3), strains,
        )  # fmt: skip

    def variances(self, X, kind):
        """Prior minus explained variance of predictions; see `CholeskySystem.variances`."""
        found = [np.empty((0, *_SHAPES[kind]))]
        for start in range(0, len(X), _BATCH):
            some = X[start : start + _BATCH]
            prior = np.concatenate([
                covariance(self.kernel, some[s], rows=(kind,)).diagonal() for s in range(len(some))
            ])  # fmt: skip
            cross = covariance(self.kernel, self.basis, some, self.kinds, (kind,))
            half = self._solver.half_solve(cross[self._labelled])
            left = np.maximum(prior - np.einsum("rc,rc->c", half, half), 0.0)
            found.append(left.reshape(-1, *_SHAPES[kind]))
        return np.concatenate(found)


class CovarianceExpansion(Predictor):
    r"""Energies as covariances with the rows of training structures, :math:`E(A) = k(A)^\top α`.

    Parameters
    ----------
    kernel : FCHL18
    basis : FCHL18Environments
    kinds : tuple of str
        Kinds of rows of every structure.
    coefficients : ndarray of float
        α of all rows.
    """

    def __init__(self, kernel, basis, kinds, coefficients):
        self.kernel = kernel
        self.basis = basis
        self.kinds = kinds
        self.coefficients = coefficients

    def energies(self, X):
        """E of every structure, shape (n,)."""
        return self._of(self.kernel.environments(X), "energy")

    def differentiate(self, X):
        """E (n,), ∂E/∂R (n_atoms, 3), ∂E/∂strain (n, 3, 3)."""
        X = self.kernel.environments(X)
        virial = np.empty((len(X), 3, 3))
        virial[:, _ROWS, _COLUMNS] = self._of(X, "virial").reshape(-1, 6)
        virial[:, _COLUMNS, _ROWS] = virial[:, _ROWS, _COLUMNS]
        return self._of(X, "energy"), -self._of(X, "forces").reshape(-1, 3), virial

    def _of(self, X, kind):
        return covariance(self.kernel, X, self.basis, (kind,), self.kinds) @ self.coefficients
