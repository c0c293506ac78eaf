"""Least squares whose rows come in blocks and are not kept."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.linalg import LinAlgError, solve_triangular

from skatom._typing import Array, ArrayLike
from skatom.parallel import serial_blas
from skatom.solvers._lapack import append_rows, triangle_in_place
from skatom.solvers.base import check_system, solver

# Rows taken at once: enough for fast products, few enough to stay in the cache.
_ROWS = 512
# Columns of one panel of the factorisation.
_PANEL = 32


def _memory(n_columns: int, n_targets: int = 1) -> Any:
    """Bytes of the triangle of ``n_columns`` columns, of its copy and of a few rows."""
    size = n_columns + n_targets
    return 8.0 * size * (2 * size + _ROWS + 2 * _PANEL)


@solver(needs=["blocks"], memory=_memory)
class StreamedQR:
    r"""Least squares by a QR factorisation that takes its rows block by block.

    .. math::
        x = \arg\min_x |A x - y|^2 = R^{-1} z, \qquad
        \begin{pmatrix} R & z \\ 0 & \rho \end{pmatrix} = Q^\top \begin{pmatrix} A & y \end{pmatrix}

    Only the triangle on the left is kept. A new block of rows is factored together with it, so the
    memory is that of the triangle and one block, for any number of rows, and the accuracy is that
    of Householder's method on all rows at once: the matrix :math:`A^\top A`, whose condition number
    is the square of that of A, is never formed [1]_. The cost is 2 n_columns² operations for each
    row.

    The rows of a prior or a penalty are ordinary rows; a sparse Gaussian process begins with the
    transposed Cholesky factor of its prior covariance and targets of zero [2]_.

    Factorisations of different rows add up: `merge` gives the factorisation of all rows of two
    parts, at the cost of a few rows, whether the parts were made in threads, in processes or on
    other machines. A pickle contains the triangle only.

    Parameters
    ----------
    n_columns : int
        Number of columns of A.
    n_targets : int, default=1
        Number of columns of y, each with its own solution.
    prior : array-like of float, shape (n_columns, n_columns), default=None
        Upper triangle that is taken as the first n_columns rows, with targets of zero: the
        transposed Cholesky factor of a prior's precision. None: no prior.

    Attributes
    ----------
    n_rows : int
        Rows taken so far.
    has_prior : bool
        Whether the rows include a prior.

    References
    ----------
    .. [1] Å. Björck, Numerical Methods for Least Squares Problems, SIAM (1996), section 2.4.
    .. [2] L. Foster et al., J. Mach. Learn. Res. 10, 857 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.solvers import StreamedQR
    >>> qr = StreamedQR(n_columns=2)
    >>> qr.update([[1.0, 0.0], [1.0, 1.0]], [1.0, 3.0])
    >>> qr.update([[1.0, 2.0]], [5.0])
    >>> qr.solve().round(6)
    array([1., 2.])

    Two parts of the rows, merged:

    >>> parts = [StreamedQR(n_columns=2) for _ in range(2)]
    >>> parts[0].update([[1.0, 0.0], [1.0, 1.0]], [1.0, 3.0])
    >>> parts[1].update([[1.0, 2.0]], [5.0])
    >>> parts[0].merge(parts[1]).solve().round(6)
    array([1., 2.])
    """

    def __init__(self, n_columns: int, n_targets: int = 1, prior: ArrayLike | None = None) -> None:
        size = n_columns + n_targets
        self.n_columns = n_columns
        self.n_targets = n_targets
        self.n_rows = 0
        self.has_prior = prior is not None
        # what is below the diagonal is never looked at
        self._factor = np.zeros((size, size), order="F")
        if prior is not None:
            self._factor[:n_columns, :n_columns] = prior
            self.n_rows = n_columns

    @property
    def triangle(self) -> Any:
        """R, with :math:`R^\\top R = A^\\top A`: ndarray, shape (n_columns, n_columns)."""
        return np.triu(self._factor[: self.n_columns, : self.n_columns])

    @property
    def projections(self) -> Any:
        """z, the targets' components along Q: ndarray, shape (n_columns, n_targets)."""
        return self._factor[: self.n_columns, self.n_columns :].copy()

    @property
    def residuals(self) -> Any:
        """The sum of squares :math:`|A x - y|^2` at the solution: ndarray, shape (n_targets,)."""
        return (np.triu(self._factor[self.n_columns :, self.n_columns :]) ** 2).sum(axis=0)

    def update(self, rows: ArrayLike, targets: ArrayLike) -> None:
        """Take a block of rows.

        Parameters
        ----------
        rows : array-like of float, shape (m, n_columns)
            Rows of A. Where the noise differs between rows, divide them by its standard deviation.
        targets : array-like of float, shape (m,) or (m, n_targets)
            Rows of y, divided by the same numbers.

        Raises
        ------
        ValueError
            If shapes disagree or an element is not finite. The rows taken before are kept.
        """
        rows, targets = np.asarray(rows, float), np.asarray(targets, float)
        if targets.ndim == 1:
            targets = targets[:, None]
        n_rows = len(rows) if rows.ndim else 0
        expected = (n_rows, self.n_columns), (n_rows, self.n_targets)
        if (rows.shape, targets.shape) != expected:
            raise ValueError(
                f"rows {rows.shape} and targets {targets.shape} must have {self.n_columns} and "
                f"{self.n_targets} columns: give a target for each row"
            )
        if not (np.isfinite(rows).all() and np.isfinite(targets).all()):
            raise ValueError("rows and targets must be finite")
        with serial_blas():  # threads would round in another way, and wait for each other
            # not in place, so that an interrupt leaves all of the block or nothing
            if self.n_rows or n_rows < len(self._factor):
                first, factor = 0, self._factor.copy(order="F")
            else:
                first = len(self._factor)
                factor = self._block(rows, targets, slice(first))
                triangle_in_place(factor)
            for start in range(first, n_rows, _ROWS):
                _factor_below(factor, self._block(rows, targets, slice(start, start + _ROWS)))
        self._factor, self.n_rows = factor, self.n_rows + n_rows

    def _block(self, rows, targets, part):
        block = np.empty((len(rows[part]), len(self._factor)), order="F")
        block[:, : self.n_columns] = rows[part]
        block[:, self.n_columns :] = targets[part]
        return block

    def copy(self) -> Self:
        """The same factorisation, at no cost: rows that one takes later are not in the other.

        Returns
        -------
        StreamedQR
        """
        same = StreamedQR.__new__(StreamedQR)
        vars(same).update(vars(self))  # factors are replaced and never changed
        return same

    def scaled(self, factor: float) -> StreamedQR:
        """The factorisation of the same rows and targets, all multiplied by a number.

        Rows that are divided by the standard deviation of their noise are weighed anew in this way,
        without being made or factored again.

        Parameters
        ----------
        factor : float
            The number, such as the former noise divided by the new one.

        Returns
        -------
        StreamedQR
        """
        same = self.copy()
        same._factor = factor * self._factor
        return same

    def take(self, system: Any, columns: Array = slice(None)) -> Self:
        """Take all rows of a system.

        Parameters
        ----------
        system : object with the method ``blocks``
            ``blocks(columns)`` yields rows and their targets.
        columns : ndarray of int or slice, default=slice(None)
            The columns of the system to take as A.

        Returns
        -------
        self
        """
        check_system(StreamedQR, system)
        for rows, targets in system.blocks(columns):
            self.update(rows, targets)
        return self

    def merge(self, other: StreamedQR) -> StreamedQR:
        """The factorisation of the rows of both, which are left unchanged.

        One triangle is factored below the other. A prior must count once: give it to one of the
        parts, or to an additional part without rows.

        Parameters
        ----------
        other : StreamedQR
            The factorisation of other rows of the same problem.

        Returns
        -------
        StreamedQR

        Raises
        ------
        ValueError
            If the numbers of columns or targets differ, or both begin with a prior.
        """
        shapes = [(part.n_columns, part.n_targets) for part in (self, other)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "factorisations of {} columns and {} targets and of {} and {} do not add up: give "
                "parts of the same problem".format(*shapes[0], *shapes[1])
            )
        if self.has_prior and other.has_prior:
            raise ValueError(
                "both factorisations begin with a prior, which would count twice: give it to only "
                "one of them"
            )
        both = StreamedQR(self.n_columns, self.n_targets)
        both._factor, below = (part._factor.copy(order="F") for part in (self, other))
        with serial_blas():
            _factor_below(both._factor, below, triangular=True)
        both.n_rows = self.n_rows + other.n_rows
        both.has_prior = self.has_prior or other.has_prior
        return both

    def absorb(self, other: StreamedQR) -> None:
        """`merge` in place: take the rows of another factorisation, all or, interrupted, none.

        Parameters
        ----------
        other : StreamedQR
            The factorisation of other rows of the same problem, which is left unchanged.
        """
        vars(self).update(vars(self.merge(other)))

    def solve(self) -> Array:
        """The least-squares solution for the rows taken so far.

        Returns
        -------
        ndarray of float, shape (n_columns,), or (n_columns, n_targets) for several targets

        Raises
        ------
        scipy.linalg.LinAlgError
            If the rows do not determine every column.
        """
        n = self.n_columns
        norms = np.linalg.norm(self._factor[:n, :n], axis=0)  # columns may have any units
        pivots = np.abs(self._factor.diagonal()[:n]) / np.where(norms > 0, norms, 1.0)
        if self.n_rows < n or pivots.min() <= np.finfo(float).eps * np.sqrt(n):
            raise LinAlgError(
                f"{self.n_rows} rows do not determine column {np.argmin(pivots)} of "
                f"{n}: add rows, or rows of a penalty such as a small multiple of the unit matrix"
            )
        with serial_blas():  # an ill-conditioned triangle amplifies what threads round otherwise
            solution = solve_triangular(self._factor[:n, :n], self._factor[:n, n:])
        return solution[:, 0] if self.n_targets == 1 else solution

    def __getstate__(self):
        state = vars(self).copy()
        factor = state.pop("_factor")
        return state | {"packed": factor.T[np.tri(len(factor), dtype=bool)]}

    def __setstate__(self, state):
        state = dict(state)
        packed = state.pop("packed")
        vars(self).update(state)
        size = self.n_columns + self.n_targets
        transposed = np.zeros((size, size))
        transposed[np.tri(size, dtype=bool)] = packed
        self._factor = transposed.T


def _factor_below(factor, block, triangular=False):
    """R of a triangle with a block of rows or another triangle below it; both are overwritten."""
    append_rows(factor, block, min(_PANEL, len(factor)), len(block) if triangular else 0)
