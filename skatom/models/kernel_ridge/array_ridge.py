"""Kernel ridge regression of plain arrays."""

import warnings

import numpy as np
from scipy.linalg import LinAlgWarning, solve

from skatom.memory import check_memory
from skatom.parallel import split_rows

# Kernel values that are computed at once in a prediction.
_PIECE = 2**22
# Size of the matrix, and of what the solver adds, in units of the matrix.
_COPIES = 1.125


def solve_ridge(kernel, X, y, alpha, max_memory=None):
    r"""Coefficients :math:`(K + \alpha I)^{-1} y`.

    Parameters
    ----------
    kernel : Kernel
    X : ndarray of float, shape (n, n_features)
    y : ndarray of float, shape (n,) or (n, n_targets)
    alpha : float
    max_memory : float or None
        Memory limit in GiB.

    Returns
    -------
    ndarray of float, of the shape of y

    Raises
    ------
    ValueError
        If the matrix is not positive definite.
    MemoryError
        If the matrix would not fit in memory.
    """
    check_memory(
        _COPIES * 8.0 * len(X) ** 2,
        f"the kernel matrix of {len(X)} samples",
        "use fewer samples",
        max_memory,
    )
    matrix = kernel(X)
    matrix.flat[:: len(X) + 1] += alpha
    try:
        with warnings.catch_warnings(action="error", category=LinAlgWarning):
            # the transpose is the same matrix, in the order in which LAPACK does not copy it
            return solve(matrix.T, y, assume_a="pos", overwrite_a=True)
    except (np.linalg.LinAlgError, LinAlgWarning) as error:
        raise ValueError(
            f"the kernel matrix is not positive definite with alpha={alpha:g}: raise it tenfold, "
            "or remove samples that are equal"
        ) from error


def predict_ridge(kernel, X, references, coefficients):
    """Energies Σ_j k(x, x_j) α_j of the rows of X, a few rows at a time.

    Parameters
    ----------
    kernel : Kernel
    X, references : ndarray of float, shapes (m, n_features) and (n, n_features)
    coefficients : ndarray of float, shape (n,) or (n, n_targets)

    Returns
    -------
    ndarray of float, shape (m,) or (m, n_targets)
    """
    energies = np.empty((len(X), *coefficients.shape[1:]))
    for rows in split_rows(len(X), max(1, _PIECE // len(references))):
        energies[rows] = kernel(X[rows], references) @ coefficients
    return energies
