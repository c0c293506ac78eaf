"""Square matrices of rows whose determinant is large."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
from scipy.linalg import qr
from scipy.linalg.blas import dger

from skatom.memory import check_memory
from skatom.parallel import serial_blas, split_rows

# Directions that no row has had yet belong to rows of this length.
EMPTY = 1e-6
# Exchanges after which the inverse is computed anew, and numbers that are multiplied at once.
_EXCHANGES, _NUMBERS = 100, 2**23


class ActiveRows:
    r"""L of many rows of L numbers, such that no other one makes the volume larger.

    .. math::
        \gamma(b) = b\, B^{-1}, \qquad
        |\det B'| = |\gamma_j|\, |\det B| \quad \text{with } b \text{ in place of row } j

    A row is a combination γ of the active rows B, and its grade :math:`\max_j |\gamma_j|` the
    factor by which it makes their volume larger. Before there are L independent rows, rows of
    length 1e-6 stand for the directions that are missing, so what none of the rows had has a large
    grade.

    Parameters
    ----------
    n_columns : int
        L.

    Attributes
    ----------
    rows : ndarray of float, shape (L, L)
        B.
    inverse : ndarray of float, shape (L, L)
    labels : ndarray of int, shape (L,)
        The label of each active row; −1 of directions that are missing.

    References
    ----------
    .. [1] S. A. Goreinov et al., in Matrix Methods: Theory, Algorithms and Applications, World
       Scientific, 247 (2010).
    .. [2] E. V. Podryabinkin, A. V. Shapeev, Comput. Mater. Sci. 140, 171 (2017).
    """

    def __init__(self, n_columns):
        check_memory(
            16.0 * n_columns**2,
            f"the active rows of {n_columns} features",
            "use fewer features",
        )
        self.rows = EMPTY * np.eye(n_columns)
        self.inverse = np.asfortranarray(np.eye(n_columns) / EMPTY)
        self.labels = np.full(n_columns, -1)
        self._age, self._replaced = 0, None

    def __len__(self):
        return len(self.rows)

    def coordinates(self, rows):
        """γ (n, L) of rows (n, L)."""
        return rows @ self.inverse

    def grades(self, rows):
        """The grades (n,) of rows (n, L)."""
        out = np.empty(len(rows))
        for piece in split_rows(len(rows), max(1, _NUMBERS // max(1, len(self)))):
            out[piece] = _largest(rows[piece] @ self.inverse)
        return out

    def exchange(self, place, row, label, coordinates=None):
        """Put a row in the place of an active one."""
        if coordinates is None:
            coordinates = self.coordinates(row)
        step = coordinates.copy()
        step[place] -= 1.0
        scaled = self.inverse[:, place] / coordinates[place]
        if self._replaced is not None:
            self._replaced.append((place, self.rows[place].copy(), self.labels[place]))
        self.inverse = _less_product(self.inverse, scaled, step)
        self.rows[place], self.labels[place] = row, label
        self._age += 1
        if self._age >= _EXCHANGES:
            self.refresh()

    def refresh(self):
        """Compute the inverse anew, without the rounding errors of exchanges."""
        self.inverse, self._age = np.asfortranarray(np.linalg.inv(self.rows)), 0

    @contextmanager
    def whole_or_not_at_all(self):
        """A context whose exchanges are taken back if it is left by an error."""
        self._replaced = []
        try:
            yield
        except BaseException:
            for place, row, label in reversed(self._replaced):
                self.rows[place], self.labels[place] = row, label
            self.refresh()
            raise
        finally:
            self._replaced = None

    def start(self, rows, labels):
        """The rows that pivoted QR finds independent, a good beginning."""
        n = len(self)
        check_memory(
            24.0 * rows.size + 16.0 * n**2,
            f"the factorisation of {len(rows)} x {n} numbers",
            "give fewer structures at a time, by partial_fit",
        )
        basis, triangle, pivots = qr(rows.T, mode="full", pivoting=True, check_finite=False)
        rank = int((np.abs(np.diag(triangle)) > EMPTY).sum())
        self.rows = np.vstack([rows[pivots[:rank]], EMPTY * basis[:, rank:].T])
        self.labels = np.concatenate([labels[pivots[:rank]], np.full(n - rank, -1)])
        self.refresh()

    def improve(self, rows, labels, tol):
        """Exchange rows until none of these makes the volume larger by more than the tolerance.

        Returns
        -------
        int
            Number of exchanges.
        """
        return sum(1 for _ in self.newcomers(rows, labels, tol))

    def newcomers(self, rows, labels, tol, may_enter=None):
        """Exchange the row of largest grade until none is larger than the tolerance.

        Parameters
        ----------
        rows : ndarray of float, shape (n, L)
        labels : ndarray of int, shape (n,)
        tol : float
            At least 1.
        may_enter : function, default=None
            The mask of rows that may be exchanged next. None: all.

        Yields
        ------
        int
            The label of a row that entered.
        """
        check_memory(
            16.0 * rows.size,
            f"the coordinates of {len(rows)} rows of {len(self)} numbers",
            "give fewer structures at a time",
        )
        found = np.asfortranarray(self.coordinates(rows))
        while len(rows):
            sizes = _largest(found)
            if may_enter is not None:
                sizes[~may_enter()] = 0.0
            i = int(sizes.argmax())
            if sizes[i] <= tol:
                return
            place = int(np.abs(found[i]).argmax())
            step = found[i].copy()
            self.exchange(place, rows[i], labels[i], step)
            yield labels[i]
            if not self._age:
                found = np.asfortranarray(self.coordinates(rows))
                continue
            scaled = found[:, place] / step[place]
            step[place] -= 1.0
            found = _less_product(found, scaled, step)


def _less_product(matrix, column, row):
    """The matrix less a product of a column and a row, in place.

    It takes no longer than memory is read; threads of scipy's and numpy's BLAS only wait for each
    other.
    """
    with serial_blas():
        return dger(-1.0, column, row, a=matrix, overwrite_a=1)


def _largest(found):
    """The largest magnitude in each row, in two passes without a copy."""
    return np.maximum(found.max(axis=1, initial=0.0), -found.min(axis=1, initial=0.0))
