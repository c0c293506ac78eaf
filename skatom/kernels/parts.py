"""Kernels of rows that consist of equal parts, such as one molecule in several orders."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval

from skatom._typing import Array
from skatom.kernels.feature_kernel import FeatureKernel
from skatom.parallel import split_rows

# Rows and columns whose parts are compared at once: their kernel values stay in the cache.
_PARTS = 384


class AverageOverParts(FeatureKernel):
    r"""The average of a kernel over all pairs of parts of two rows.

    .. math:: K(x, y) = \frac{1}{P^2} \sum_{a=1}^P \sum_{b=1}^P k(x_a, y_b), \qquad
        x = (x_1, \ldots, x_P)

    It does not change if the parts of a row change places, and is positive definite if k is. With
    ``CoulombMatrix("random")``, whose rows are P matrices of one molecule, it does what a training
    set of all P matrices does with n instead of n P rows. The n P × m P values are computed block
    by block and only their averages are kept.

    Parameters
    ----------
    kernel : FeatureKernel
        The kernel k of parts.
    n_parts : int
        Number of parts P of each row.

    Raises
    ------
    ValueError
        If the number of features is not a multiple of the number of parts.

    References
    ----------
    .. [1] G. Montavon et al., Advances in Neural Information Processing Systems 25 (2012).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import CoulombMatrix
    >>> from skatom.kernels import AverageOverParts, Laplacian
    >>> random = CoulombMatrix("random", n_realizations=4, random_state=0)
    >>> features = random.fit_transform([molecule("H2O"), molecule("NH3")])
    >>> AverageOverParts(Laplacian(sigma=100.0), n_parts=4)(features).round(2)
    array([[1.  , 0.73],
           [0.73, 1.  ]])
    """

    _parameter_constraints = {
        "kernel": [FeatureKernel],
        "n_parts": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, kernel: FeatureKernel, n_parts: int) -> None:
        self.kernel = kernel
        self.n_parts = n_parts

    def matrix(self, X: Array, Y: Array) -> Array:
        return self._averages(self.kernel.matrix, X, Y)

    def matrix_diagonal(self, X: Array) -> Array:
        return np.array([self.matrix(row, row)[0, 0] for row in X[:, None]])

    def log_slopes(self, X: Array) -> dict[str, Array]:
        n, parts = len(X), X.reshape(len(X) * self.n_parts, -1)
        slopes = self.kernel.log_slopes(parts).items()
        shape = n, self.n_parts, n, self.n_parts
        return {f"kernel__{key}": slope.reshape(shape).mean(axis=(1, 3)) for key, slope in slopes}

    def _averages(self, matrix, X, Y):
        """Averages of a function (n P, m P) of all parts, shape (n, m)."""
        n = self.n_parts
        if X.shape[1] % n:
            raise ValueError(
                f"rows of {X.shape[1]} features do not consist of n_parts={n} equal parts: give "
                "n_parts the number of matrices of a row, n_realizations of CoulombMatrix"
            )
        out, size = np.empty((len(X), len(Y))), max(1, _PARTS // n)
        for rows in split_rows(len(X), size):
            x = X[rows].reshape(-1, X.shape[1] // n)
            for columns in split_rows(len(Y), size):
                y = Y[columns].reshape(-1, x.shape[1])
                pairs = matrix(x, y).reshape(-1, n, len(y) // n, n)
                out[rows, columns] = pairs.mean(axis=(1, 3))
        return out
