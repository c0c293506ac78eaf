"""Cholesky factorisation of a symmetric matrix that stores only one triangle."""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf, dtrtrs
from tqdm import tqdm

from skatom.parallel import split_rows, threads_over_blas
from skatom.solvers.base import check_system, solver

# Rows that one thread works on: enough for fast products, few enough to keep all threads busy.
_ROWS = 256
# Right-hand sides that one thread solves for.
_RIGHT_SIDES = 64
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} to go"


def _memory(size, width):
    """Bytes of the factor of ``size`` rows in block columns of about ``width``."""
    return 4.0 * size * (size + width)


@solver(needs=["fill"], memory=_memory)
class PackedCholesky:
    r"""Factor :math:`A = L L^\top` in block columns, in half the memory of a square matrix.

    The lower triangle lives in block columns, each from its diagonal block downwards. They are
    made one after the other and each is factored as soon as it is made (left-looking), so that A
    never exists as a whole:

    .. math:: L_{ij} = \Big(A_{ij} - \sum_{k<j} L_{ik} L_{jk}^\top\Big) L_{jj}^{-\top}

    All work is matrix products, so it is as fast as LAPACK's full-storage routine, without the
    32-bit index of its packed routines.

    Parameters
    ----------
    edges : array-like of int, shape (n_blocks + 1,)
        Where the block columns begin, from 0 to the size of A. Columns of 300 to 1000 are best:
        wide enough for fast products, narrow enough to waste little in the diagonal blocks.
    verbose : int, default=0
        1 shows a progress bar.

    Examples
    --------
    >>> from skatom.solvers import MatrixSystem, PackedCholesky
    >>> solver = PackedCholesky([0, 1, 2])
    >>> solver.factor(MatrixSystem([[4.0, 2.0], [2.0, 3.0]]))
    >>> solver.solve([8.0, 7.0])
    array([1.25, 1.5 ])
    """

    def __init__(self, edges, verbose=0):
        self.edges = np.asarray(edges, dtype=np.int64)
        self.verbose = verbose
        self._columns = None

    def factor(self, system):
        """Make and factor the matrix, block column by block column.

        Parameters
        ----------
        system : object with the method ``fill``
            ``fill(start, stop, out)`` writes ``A[start:, start:stop]`` into ``out``, a
            C-contiguous array of that shape. Elements above A's diagonal are not read; ``out`` is
            zero there before the call.

        Raises
        ------
        TypeError
            If the system does not give block columns.
        numpy.linalg.LinAlgError
            If A is not positive definite.
        ValueError
            If an element of A is not finite.
        """
        check_system(PackedCholesky, system)
        self._columns = None
        size, columns = int(self.edges[-1]), []
        with (
            threads_over_blas() as pool,
            tqdm(total=size**3, desc="Cholesky", bar_format=_BAR, disable=not self.verbose) as bar,
        ):
            for start, stop in zip(self.edges[:-1], self.edges[1:], strict=True):
                column = np.empty((size - start, stop - start))
                column[: stop - start] = 0.0
                system.fill(start, stop, column)
                left = [
                    done[start - begin :] for begin, done in zip(self.edges, columns, strict=False)
                ]
                _eliminate(column, left, pool)
                _factor_column(column, start, pool)
                columns.append(column)
                bar.update(_work(stop, size) - _work(start, size))
        self._columns = columns

    def solve(self, b):
        """The solution x of A x = b.

        Parameters
        ----------
        b : array-like of float, shape (n,) or (n, m)
            The right-hand side, or m of them.

        Returns
        -------
        ndarray of float, of the same shape

        Raises
        ------
        ValueError
            If there is no factor yet, b has another length, or an element of b is not finite.
        """
        return self._apply(b, self._forward, self._backward)

    def half_solve(self, b):
        r"""The solution x of L x = b, whose squares :math:`x^\top x` are :math:`b^\top A^{-1} b`.

        Parameters
        ----------
        b : array-like of float, shape (n,) or (n, m)
            The right-hand side, or m of them.

        Returns
        -------
        ndarray of float, of the same shape

        Raises
        ------
        ValueError
            If there is no factor yet, b has another length, or an element of b is not finite.
        """
        return self._apply(b, self._forward)

    def _apply(self, b, *steps):
        """Take steps in place, each for a few right-hand sides at a time."""
        if self._columns is None:
            raise ValueError("there is no factor of a matrix yet: call factor first")
        b = np.asarray(b, float)
        size = int(self.edges[-1])
        if b.ndim not in (1, 2) or len(b) != size:
            raise ValueError(
                f"the right-hand side has shape {b.shape}, but the matrix has {size} rows: give "
                f"numbers of shape ({size},) or ({size}, m)"
            )
        if not np.isfinite(b).all():
            raise ValueError(
                "the right-hand side has numbers that are not finite: look for them in the input"
            )
        x = np.empty(b.shape)
        of_column = x.reshape(size, -1)

        def work(columns):
            part = b.reshape(size, -1)[:, columns].copy()
            for step in steps:
                step(part)
            of_column[:, columns] = part

        with threads_over_blas() as pool:
            list(pool.map(work, split_rows(of_column.shape[1], _RIGHT_SIDES)))
        return x

    def _blocks(self):
        return list(zip(self.edges[:-1], self.edges[1:], self._columns, strict=True))

    def _forward(self, x):
        """Overwrite x (n, m) with L⁻¹ x."""
        for start, stop, column in self._blocks():
            width = stop - start
            x[start:stop] = solve_triangular(
                column[:width], x[start:stop], lower=True, check_finite=False
            )
            x[stop:] -= column[width:] @ x[start:stop]

    def _backward(self, x):
        """Overwrite x (n, m) with L⁻ᵀ x."""
        for start, stop, column in reversed(self._blocks()):
            width = stop - start
            x[start:stop] -= column[width:].T @ x[stop:]
            x[start:stop] = solve_triangular(
                column[:width], x[start:stop], lower=True, trans=1, check_finite=False
            )


def _work(n_columns, size):
    """Operations, of ``size``³ in all, until ``n_columns`` columns are factored."""
    return (3 * size - 2 * n_columns) * n_columns**2


def _eliminate(column, left, pool):
    """Subtract Σ_k L_ik L_jkᵀ in place."""
    width = column.shape[1]

    def work(rows):
        product = np.empty_like(column[rows])
        for done in left:
            np.matmul(done[rows], done[:width].T, out=product)
            column[rows] -= product

    list(pool.map(work, split_rows(len(column), _ROWS)))


def _factor_column(column, start, pool):
    """Factor the diagonal block and multiply those below by its inverse, in place."""
    width = column.shape[1]
    # LAPACK is column-major: to it, a C-contiguous array is its transpose, here Lᵀ.
    diagonal = column[:width].T
    _, info = dpotrf(diagonal, lower=False, clean=False, overwrite_a=True)
    # a number of a row that is not finite makes the row's pivot, or an earlier one, no number
    unknown = np.flatnonzero(~np.isfinite(diagonal.diagonal()))
    if len(unknown):
        raise ValueError(
            f"row {start + unknown[0]} of the matrix has a number that is not finite: look for it "
            "in the input"
        )
    if info > 0:
        raise np.linalg.LinAlgError(f"the matrix is not positive definite at row {start + info}")
    below = column[width:]

    def work(rows):
        dtrtrs(diagonal, below[rows].T, lower=False, trans=True, overwrite_b=True)

    list(pool.map(work, split_rows(len(below), _ROWS)))
