"""Kernel ridge regression of plain arrays."""

import warnings

import numpy as np
from scipy.linalg import LinAlgWarning, solve

from skatom.memory import check_memory


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
        8.0 * len(X) ** 2,
        f"the kernel matrix of {len(X)} samples",
        "use fewer samples",
        max_memory,
    )
    matrix = kernel(X)
    matrix.flat[:: len(X) + 1] += alpha
    try:
        with warnings.catch_warnings(action="error", category=LinAlgWarning):
            return solve(matrix, y, assume_a="pos", overwrite_a=True)
    except (np.linalg.LinAlgError, LinAlgWarning) as error:
        raise ValueError(
            f"the kernel matrix is not positive definite with alpha={alpha:g}: raise it tenfold, "
            "or remove samples that are equal"
        ) from error
