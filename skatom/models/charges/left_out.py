"""Ridge regression whose regularisation has the least error of structures that are left out."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import svd

from skatom.parallel import serial_blas, split_rows

# Values of α that are tried.
ALPHAS = np.logspace(-12, 2, 57)
# Structures whose errors are computed at once.
_STRUCTURES = 256


@dataclass(frozen=True)
class RidgeSolution:
    """The coefficients of a ridge regression, α, and the root mean square of left-out errors."""

    coefficients: np.ndarray
    alpha: float
    loo_error: float


def solve_ridge(rows, labels, sizes, n_labels, alpha):
    r"""Minimise :math:`|A w - y|^2 + \alpha \bar K |w|^2`, with the mean K̄ of the diagonal of A Aᵀ.

    The errors of a structure that is left out follow from those of the fit to all,

    .. math:: e_s = (I - H_{ss})^{-1} (y_s - A_s w), \qquad
        H = A\, (A^\top A + \alpha \bar K)^{-1} A^\top,

    which is diagonal in the left singular vectors of A, for every α.

    Parameters
    ----------
    rows : ndarray of float, shape (n_rows, n_columns)
        A, times the root of the weights; overwritten.
    labels : ndarray of float, shape (n_rows,)
        y, times the root of the weights.
    sizes : ndarray of int, shape (n,)
        Number of rows of each structure, which follow each other.
    n_labels : float
        The sum of the weights of the rows.
    alpha : float, or "loo"

    Returns
    -------
    RidgeSolution
    """
    with serial_blas():
        # of the transposed rows, whose order in memory is LAPACK's
        right, values, left = svd(rows.T, full_matrices=False, overwrite_a=True, check_finite=False)
        left = left.T
        y = left.T @ labels
        mean = float(values @ values) / n_labels
        tried = ALPHAS if alpha == "loo" else np.array([float(alpha)])
        places = _places(sizes)
        errors = [
            _left_out(left, values**2 / (values**2 + a * mean), y, labels, places) for a in tried
        ]
        best = int(np.argmin(errors))
        coefficients = right @ (values / (values**2 + tried[best] * mean) * y)
    return RidgeSolution(coefficients, float(tried[best]), float(np.sqrt(errors[best] / n_labels)))


def _places(sizes):
    """Indices of the rows of structures that have as many, some at a time: (n, size) each."""
    first, places = np.cumsum(sizes) - sizes, []
    for size in np.unique(sizes):
        rows = first[sizes == size, None] + np.arange(size)
        places += [rows[piece] for piece in split_rows(len(rows), _STRUCTURES)]
    return places


def _left_out(left, shares, y, labels, places):
    """The sum of squares of the errors of structures that are left out, one after the other."""
    residuals, total = labels - left @ (shares * y), 0.0
    for rows in places:
        vectors = left[rows]
        hat = np.matmul(vectors * shares, vectors.swapaxes(1, 2))
        own = np.linalg.solve(np.eye(rows.shape[1]) - hat, residuals[rows][:, :, None])
        total += float(np.sum(own**2))
    return total
