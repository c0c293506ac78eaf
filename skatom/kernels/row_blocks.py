"""The matrix of a kernel of plain rows, block by block in threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skatom._misuse import check_is_no_path
from skatom._typing import Array
from skatom.memory import check_memory
from skatom.parallel import split_rows, threads_over_blas
from skatom.structures import is_atoms

# Rows of a block: few enough that all threads have work.
_FEWEST, _MOST, _BLOCKS = 64, 256, 16
# Columns of a block, whose temporary arrays stay in the cache.
_COLUMNS = 512


def checked_rows(X: object, Y: object = None) -> tuple[Array, Array | None]:
    """Two arrays of rows with the same features; the second is None if it is none or the first.

    Raises
    ------
    ValueError
        If an array is not two-dimensional, numbers are not finite, or features differ.
    """
    same, X = Y is None or Y is X, _checked(X)
    if same:
        return X, None
    Y = _checked(Y)
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"rows of {X.shape[1]} and of {Y.shape[1]} features cannot be compared: give both "
            "the same features"
        )
    return X, Y


def _checked(X):
    check_is_no_path(X, "rows of features", "structures")
    if is_atoms(X):
        raise TypeError(
            "got structures where a kernel needs rows of features: transform them by a descriptor, "
            "such as SOAP(pool='sum')"
        )
    X = np.asarray(X)
    if X.dtype.kind not in "biufO":
        raise ValueError(
            f"a kernel compares rows of real numbers, not of the type {X.dtype}: convert them"
        )
    X = X.astype(float, copy=False)
    if X.ndim != 2:
        raise ValueError(
            f"a kernel compares the rows of arrays of 2 dimensions, not of {X.ndim}: give "
            "(n, n_features); to KernelRidge or KernelPCA, which call a function for two rows at "
            "a time, give skatom.gaussian_process.RowKernel(kernel)"
        )
    if not (np.isfinite(X.sum()) or np.isfinite(X).all()):  # the sum is the quicker check
        raise ValueError(
            "an array has numbers that are not finite: leave out these rows, or impute them"
        )
    return X


def matrix_of_rows(matrix: Callable, diagonal: Callable, X: Array, Y: Array | None) -> Array:
    """The matrix of the rows of X and Y, or of X with itself, of which half is computed.

    Parameters
    ----------
    matrix : callable
        Function that gives the kernel values (n, m) of two arrays (n, n_features) and
        (m, n_features).
    diagonal : callable
        Function that gives the diagonal (n,) of the matrix of X with itself. Distances of a row to
        itself, as differences of products, are not quite zero, of which cusps show the root.
    X : ndarray of float, shape (n, n_features)
    Y : ndarray of float, shape (m, n_features), or None

    Returns
    -------
    ndarray of float, shape (n, m)

    Raises
    ------
    MemoryError
        If the matrix would not fit in memory.
    """
    symmetric = Y is None
    Y = X if symmetric else Y
    check_memory(
        8.0 * len(X) * len(Y), f"the kernel matrix of {len(X)} x {len(Y)} rows", "use fewer rows"
    )
    out = np.empty((len(X), len(Y)))

    def work(rows):
        for start in range(rows.start if symmetric else 0, len(Y), _COLUMNS):
            block = matrix(X[rows], Y[start : start + _COLUMNS])
            if symmetric:
                _mirror(block, rows, start, out)
                if start == rows.start:
                    np.fill_diagonal(block, diagonal(X[rows]))
            out[rows, start : start + _COLUMNS] = block

    pieces = split_rows(len(X), min(_MOST, max(_FEWEST, len(X) // _BLOCKS)))
    if len(pieces) == 1:  # a few rows are not worth the threads
        work(pieces[0])
        return out
    with threads_over_blas() as pool:
        list(pool.map(work, pieces))
    return out


def _mirror(block, rows, start, out):
    """Write the transpose of a block of a symmetric matrix, within the block on its diagonal."""
    width = block.shape[1]
    if start == rows.start:
        size = min(len(block), width)
        below = np.tril_indices(size, -1)
        block[below] = block.T[below]
    first = max(start, rows.stop)
    out[first : start + width, rows] = block[:, first - start :].T
