"""Cholesky factorisation of a symmetric matrix of which only one triangle is ever stored."""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf, dtrtrs
from tqdm import tqdm

from skatom.parallel import split_rows, threads_over_blas

# Rows that one thread works on: enough for fast products, few enough to keep all threads busy.
_ROWS = 256
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} to go"


class PackedCholesky:
    r"""Factor :math:`A = L L^\top` in block columns, in half the memory of a square matrix.

    The lower triangle lives in block columns, each from its diagonal block downwards. They are
    made one after the other and each is factored as soon as it is made (left-looking), so that A
    never exists as a whole:

    .. math:: L_{ij} = \Big(A_{ij} - \sum_{k<j} L_{ik} L_{jk}^\top\Big) L_{jj}^{-\top}

    All work is matrix products, hence as fast as LAPACK's full-storage routine, without the
    32-bit index of its packed ones.

    Parameters
    ----------
    edges : array-like of int, shape (n_blocks + 1,)
        Where the block columns begin, from 0 to the size of A. Columns of 300 to 1000 are best:
        wide enough for fast products, narrow enough to waste little in the diagonal blocks.
    verbose : int, default=0
        1 shows a progress bar.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.solvers import PackedCholesky
    >>> A = np.array([[4.0, 2.0], [2.0, 3.0]])
    >>> solver = PackedCholesky([0, 1, 2])
    >>> solver.factor(lambda start, stop, out: np.copyto(out, A[start:, start:stop]))
    >>> solver.solve(np.array([8.0, 7.0]))
    array([1.25, 1.5 ])
    """

    def __init__(self, edges, verbose=0):
        self.edges = np.asarray(edges, dtype=np.int64)
        self.verbose = verbose

    def factor(self, fill):
        """Make and factor the matrix, block column by block column.

        Parameters
        ----------
        fill : callable
            ``fill(start, stop, out)`` writes ``A[start:, start:stop]`` into ``out``, an
            uninitialised C-contiguous array of that shape. What lies above A's diagonal is not
            read.

        Raises
        ------
        numpy.linalg.LinAlgError
            If A is not positive definite.
        """
        size = int(self.edges[-1])
        self._columns = []
        with (
            threads_over_blas() as pool,
            tqdm(total=size**3, desc="Cholesky", bar_format=_BAR, disable=not self.verbose) as bar,
        ):
            for start, stop in zip(self.edges[:-1], self.edges[1:], strict=True):
                column = np.empty((size - start, stop - start))
                fill(start, stop, column)
                left = [
                    done[start - begin :]
                    for begin, done in zip(self.edges, self._columns, strict=False)
                ]
                _eliminate(column, left, pool)
                _factor_column(column, start, pool)
                self._columns.append(column)
                bar.update(_work(stop, size) - _work(start, size))

    def solve(self, b):
        """The solution x of A x = b.

        Parameters
        ----------
        b : ndarray of float, shape (n,) or (n, m)

        Returns
        -------
        ndarray of float, of the same shape
        """
        x = np.array(b, dtype=float)
        blocks = list(zip(self.edges[:-1], self.edges[1:], self._columns, strict=True))
        for start, stop, column in blocks:
            width = stop - start
            x[start:stop] = solve_triangular(
                column[:width], x[start:stop], lower=True, check_finite=False
            )
            x[stop:] -= column[width:] @ x[start:stop]
        for start, stop, column in reversed(blocks):
            width = stop - start
            x[start:stop] -= column[width:].T @ x[stop:]
            x[start:stop] = solve_triangular(
                column[:width], x[start:stop], lower=True, trans=1, check_finite=False
            )
        return x


def _work(n_columns, size):
    """Operations (of ``size``³ in all) until so many columns are done, each by all to its left."""
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
    if info > 0:
        raise np.linalg.LinAlgError(f"the matrix is not positive definite at row {start + info}")
    below = column[width:]

    def work(rows):
        dtrtrs(diagonal, below[rows].T, lower=False, trans=True, overwrite_b=True)

    list(pool.map(work, split_rows(len(below), _ROWS)))
