"""A preconditioner from some columns of a matrix, and from its diagonal blocks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from itertools import pairwise, starmap
from typing import Any

import numpy as np

from skatom._device import is_tensor, namespace
from skatom._typing import Array, ArrayLike
from skatom.parallel import split_rows, threads_over_blas
from skatom.solvers._lapack import cholesky_in_place, divide_by_transpose
from skatom.solvers.base import check_system, solver

# Added to the diagonal of a block, as a fraction of its mean, until it has a factor.
_JITTER = 1e-14
# Rows of the preconditioner that are one piece of a thread's work, and of a device's.
_ROWS, _ROWS_ON_DEVICE = 4096, 2**15


def _memory(size: int, n_columns: int, block: int = 0) -> Any:
    """Bytes for ``n_columns`` columns of ``size`` rows, and diagonal blocks of ``block`` rows."""
    return 8.0 * ((n_columns + block) * size + 2 * n_columns**2 + 2 * block**2)


@solver(needs=["columns"], memory=_memory)
class NystromPreconditioner:
    r"""The inverse of a low-rank approximation of K, plus a block-diagonal matrix.

    .. math:: K \approx K_{:I} K_{II}^{-1} K_{I:}, \qquad
        (K_{:I} K_{II}^{-1} K_{I:} + D)^{-1} = R^{-\top} (1 - C^\top C)\, R^{-1}

    with :math:`D = R R^\top`, :math:`B = L_{II}^{-1} K_{I:} R^{-\top}`, :math:`L_{II} L_{II}^\top =
    K_{II}`, :math:`C = L^{-1} B` and :math:`L L^\top = B B^\top + 1`. Without blocks D is the
    unit matrix, of a system of the matrix A = K + 1. With them it is what the columns leave of the
    diagonal blocks of A, so that the preconditioner is exact within each block; far fewer columns
    are then needed, since they have to describe only what distant rows have in common.

    Parameters
    ----------
    columns : ndarray or Tensor of float, shape (n, m)
        Columns I of K. The array is overwritten.
    index : ndarray of int, shape (m,)
        The indices I of the columns.
    edges : array-like of int, shape (n_blocks + 1,), default=None
        Where the diagonal blocks begin, from 0 to n. None: no blocks.
    block : callable, default=None
        ``block(start, stop)`` gives the diagonal block ``A[start:stop, start:stop]``, a new array
        of which the lower triangle is used. Threads ask for blocks at the same time.

    References
    ----------
    .. [1] Chmiela et al., Sci. Adv. 9, eadf0873 (2023), https://doi.org/10.1126/sciadv.adf0873
    .. [2] E. Snelson, Z. Ghahramani, Local and global sparse Gaussian process approximations,
       AISTATS (2007), for the approximation of K that is exact within blocks

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.solvers import NystromPreconditioner
    >>> K = np.diag([3.0, 1.0, 0.0])
    >>> NystromPreconditioner(K[:, :2].copy(), np.array([0, 1]))(np.ones(3)).round(6)
    array([0.25, 0.5 , 1.  ])
    """

    def __init__(
        self,
        columns: Array,
        index: Array,
        edges: ArrayLike | None = None,
        block: Callable | None = None,
    ) -> None:
        if not is_tensor(columns):
            columns = np.ascontiguousarray(columns, float)
        index = np.asarray(index)
        if columns.ndim != 2 or index.shape != tuple(columns.shape[1:]):
            raise ValueError(
                f"the columns have shape {tuple(columns.shape)} and the index {index.shape}: give "
                "as many numbers of columns as there are columns"
            )
        if not namespace(columns).isfinite(columns).all():
            raise ValueError(
                "the columns have numbers that are not finite: look for them in the input"
            )
        self._rows = split_rows(len(columns), _ROWS_ON_DEVICE if is_tensor(columns) else _ROWS)
        self._ct = columns  # Cᵀ, made in its place
        self._inverses = []  # (rows of a block, R⁻¹)
        with self._pool() as run:
            self._divide(_jittered_factor(columns[index]), run)
            if block is not None:
                places = list(starmap(slice, pairwise(_checked_edges(edges, len(columns)))))
                self._inverses = list(run(partial(self._scale, block), places))
            inner = sum(run(lambda rows: columns[rows].T @ columns[rows], self._rows))
            self._divide(_factor(add_to_diagonal(inner, 1.0)), run)

    @contextmanager
    def _pool(self):
        """A `map` over pieces of work, by threads of the CPU."""
        if is_tensor(self._ct):
            yield map
        else:
            with threads_over_blas() as pool:
                yield pool.map

    def _divide(self, lower, run):
        """Multiply by L⁻ᵀ from the right."""
        list(run(lambda rows: _divide_rows(self._ct[rows], lower), self._rows))

    def _scale(self, block, rows):
        """R⁻¹ of a block, less what the columns describe of it; multiply the columns by it."""
        of_rows, left = self._ct[rows], block(rows.start, rows.stop)
        left -= of_rows @ of_rows.T
        inverse = _inverse(_jittered_factor(left))
        self._ct[rows] = inverse @ of_rows
        return rows, inverse

    @classmethod
    def of(cls, system: Any, index: Array) -> NystromPreconditioner:
        """The preconditioner of a system of the matrix A = K + 1.

        Parameters
        ----------
        system : object with the method ``columns``
            ``columns(index)`` gives ``A[:, index]``.
        index : ndarray of int, shape (m,)
            The indices I of the columns.

        Returns
        -------
        NystromPreconditioner
        """
        check_system(cls, system)
        columns = system.columns(index)
        if not is_tensor(columns):
            columns = np.ascontiguousarray(columns, float)
        columns[index, np.arange(len(index))] -= 1.0
        return cls(columns, index)

    def leverages(self) -> Array:
        r"""How much each row matters to the approximation, :math:`\sum_c C_{cr}^2`, shape (n,)."""
        return (self._ct * self._ct).sum(1)

    def __call__(self, v: Any) -> Any:
        out = v.copy() if isinstance(v, np.ndarray) else v.clone()

        def subtract(rows):
            out[rows] -= self._ct[rows] @ along

        with self._pool() as run:
            list(run(partial(_multiply, out), self._inverses))
            along = sum(run(lambda rows: out[rows] @ self._ct[rows], self._rows))
            list(run(subtract, self._rows))
            list(run(partial(_multiply_transposed, out), self._inverses))
        return out


def _checked_edges(edges, size):
    edges = np.asarray(edges)
    if edges.ndim != 1 or (np.diff(edges) <= 0).any() or edges[0] != 0 or edges[-1] != size:
        raise ValueError(
            f"the blocks begin at {edges.tolist()}: give increasing numbers from 0 to {size}, the "
            "number of rows of the columns"
        )
    return edges.tolist()


def _multiply(v, block):
    rows, inverse = block
    v[rows] = inverse @ v[rows]


def _multiply_transposed(v, block):
    rows, inverse = block
    v[rows] = v[rows] @ inverse


def _jittered_factor(block):
    """The lower Cholesky factor of a matrix that may be singular, or zero; it is overwritten."""
    # of the mean or, where this is smaller, of the unit matrix that stands beside K
    jitter = _JITTER * max(float(block.diagonal().sum()) / len(block), 1.0)
    while (lower := _factor(add_to_diagonal(block, jitter), copy=True)) is None:
        jitter *= 10
    return lower


def add_to_diagonal(matrix, number):
    """A contiguous matrix plus a multiple of the unit matrix, in its place."""
    matrix.reshape(-1)[:: len(matrix) + 1] += number
    return matrix


def _factor(matrix, copy=False):
    """The lower Cholesky factor of a contiguous matrix in its place, None if it has none.

    What is above the diagonal has no meaning.
    """
    if is_tensor(matrix):
        from skatom.solvers._torch.nystrom import factor

        return factor(matrix)
    lower = matrix.copy() if copy else matrix
    return None if cholesky_in_place(lower) else lower


def _divide_rows(rows, lower):
    """Multiply rows by L⁻ᵀ from the right, in place."""
    if is_tensor(rows):
        from skatom.solvers._torch.nystrom import divide_rows

        divide_rows(rows, lower)
    else:
        divide_by_transpose(rows, lower)


def _inverse(lower):
    """L⁻¹."""
    if is_tensor(lower):
        from skatom.solvers._torch.nystrom import inverse

        return inverse(lower)
    transposed = np.eye(len(lower))
    divide_by_transpose(transposed, lower)  # L⁻ᵀ, upper triangular
    return np.ascontiguousarray(transposed.T)
