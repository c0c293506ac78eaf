"""Least squares whose rows come in blocks and are forgotten."""

import numpy as np
from scipy.linalg import LinAlgError, solve_triangular
from scipy.linalg.lapack import dtpqrt

from skatom.parallel import split_rows

# Rows taken at once: enough for fast products, few enough to stay in the cache.
_ROWS = 512
# Columns of one panel of the factorisation.
_PANEL = 32


class StreamedQR:
    r"""Least squares by a QR factorisation that takes its rows block by block.

    .. math::
        x = \arg\min_x |A x - y|^2 = R^{-1} z, \qquad
        \begin{pmatrix} R & z \\ 0 & \rho \end{pmatrix} = Q^\top \begin{pmatrix} A & y \end{pmatrix}

    Only the triangle on the left is kept. A new block of rows is factored together with it, so
    memory is that of the triangle and one block, whatever the number of rows, and the
    accuracy is that of Householder's method on all rows at once: the matrix :math:`A^\top A`,
    whose condition number is the square of that of A, is never formed [1]_. The work is
    2 n_columns² operations for each row.

    Rows of a prior or a penalty are rows like others; a sparse Gaussian process begins with the
    transposed Cholesky factor of its prior covariance and targets of zero [2]_.

    Parameters
    ----------
    n_columns : int
        Columns of A.
    n_targets : int, default=1
        Columns of y, each with its own solution.
    prior : array-like of float, shape (n_columns, n_columns), default=None
        Upper triangle taken first, with targets of zero, as n_columns rows: the transposed
        Cholesky factor of a prior's precision. None: no prior.

    Attributes
    ----------
    n_rows : int
        Rows taken so far.

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
    """

    def __init__(self, n_columns, n_targets=1, prior=None):
        size = n_columns + n_targets
        self.n_columns = n_columns
        self.n_targets = n_targets
        self.n_rows = 0
        self._factor = np.zeros((size, size), order="F")
        if prior is not None:
            # what is below the diagonal is never looked at
            self._factor[:n_columns, :n_columns] = prior
            self.n_rows = n_columns

    @property
    def triangle(self):
        """R, of which :math:`R^\\top R = A^\\top A`: ndarray, shape (n_columns, n_columns)."""
        return np.triu(self._factor[: self.n_columns, : self.n_columns])

    @property
    def projections(self):
        """z, the targets' components along Q: ndarray, shape (n_columns, n_targets)."""
        return self._factor[: self.n_columns, self.n_columns :].copy()

    @property
    def residuals(self):
        """The sum of squares :math:`|A x - y|^2` at the solution: ndarray, shape (n_targets,)."""
        return (np.triu(self._factor[self.n_columns :, self.n_columns :]) ** 2).sum(axis=0)

    def update(self, rows, targets):
        """Take a block of rows.

        Parameters
        ----------
        rows : array-like of float, shape (m, n_columns)
            Divided by the standard deviation of their noise where rows differ in it.
        targets : array-like of float, shape (m,) or (m, n_targets)
            Divided likewise.

        Raises
        ------
        ValueError
            If shapes disagree or a number is not finite; what was taken before stays as it was.
        """
        rows = np.asarray(rows, float)
        targets = np.asarray(targets, float).reshape(len(rows), -1)
        if rows.shape != (len(rows), self.n_columns) or targets.shape[1] != self.n_targets:
            raise ValueError(
                f"rows {rows.shape} and targets {targets.shape} must have {self.n_columns} and "
                f"{self.n_targets} columns"
            )
        if not (np.isfinite(rows).all() and np.isfinite(targets).all()):
            raise ValueError("rows and targets must be finite")
        # in a copy, so that an interrupt leaves all of the block or nothing
        factor = self._factor.copy(order="F")
        for part in split_rows(len(rows), _ROWS):
            block = np.empty((len(rows[part]), len(factor)), order="F")
            block[:, : self.n_columns] = rows[part]
            block[:, self.n_columns :] = targets[part]
            panel = min(_PANEL, len(factor))
            factor, *_ = dtpqrt(0, panel, factor, block, overwrite_a=1, overwrite_b=1)
        self._factor, self.n_rows = factor, self.n_rows + len(rows)

    def solve(self):
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
        pivots = np.abs(self._factor.diagonal()[:n])
        rounding = np.finfo(float).eps * np.sqrt(n) * pivots.max()
        if self.n_rows < n or pivots.min() <= rounding:
            raise LinAlgError(
                f"{self.n_rows} rows do not determine column {np.argmin(pivots)} of "
                f"{n}: add rows, or rows of a penalty such as a small multiple of the unit matrix"
            )
        solution = solve_triangular(self._factor[:n, :n], self._factor[:n, n:])
        return solution[:, 0] if self.n_targets == 1 else solution
