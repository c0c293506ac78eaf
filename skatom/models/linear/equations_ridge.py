"""Ridge regression from normal equations, of arrays or of tensors on a device."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.linalg import solve_triangular

from skatom._device import beside, device_of, device_parameter, is_tensor, moved, namespace, on_host
from skatom.models.linear.label_sums import EQUATIONS, rows_of
from skatom.models.linear.ridge import RidgeProblem
from skatom.parallel import split_rows, threads_over_blas
from skatom.solvers import PackedCholesky
from skatom.solvers.packed_equations import edges_of

# The regularisation from which on normal equations give the predictions of a QR factorisation to
# eight digits: rounding errors of the Gram matrix are some 1e-16 of its diagonal. On a device six
# digits are enough.
LEAST_ALPHA, LEAST_ALPHA_ON_DEVICE = 1e-8, 1e-11
# Rows of the Gram matrix that a thread works on, and of predictions whose deviations are asked for.
_ROWS, _PREDICTED = 512, 1024


@dataclass(frozen=True)
class CholeskyPosterior:
    """What a factorisation of all rows and the penalty knows, from their normal equations.

    With D the deviations that columns are divided by, the factor of the other columns than the
    constants is D L.

    Attributes
    ----------
    above : ndarray of float, shape (n_constants, n_columns + 1)
        The first rows of the triangle R, those of the constants, and their projections.
    cholesky : PackedCholesky
        L, where the sums are; a pickle has it as arrays of numpy.
    scale : ndarray of float, shape (n_columns - n_constants,)
        The diagonal of D.
    solution : ndarray of float, shape (n_columns - n_constants,)
        The coefficients of these columns.
    residuals : ndarray of float, shape (1,)
        The sum of squares at the solution.
    """

    above: np.ndarray
    cholesky: PackedCholesky
    scale: np.ndarray
    solution: np.ndarray
    residuals: np.ndarray

    def diagonal(self):
        """The diagonal of R."""
        return np.append(self.above.diagonal(), self.scale * self.cholesky.diagonal())

    def solve(self):
        """The solution for all columns."""
        m = len(self.above)
        constants = self.above[:, -1] - self.above[:, m:-1] @ self.solution
        return np.append(solve_triangular(self.above[:, :m], constants), self.solution)

    def deviations(self, rows):
        """|R⁻ᵀ a| of each row a, an array or a tensor of any place; an array of numpy."""
        cholesky, place = self.cholesky, device_parameter(rows)
        if cholesky.device != place:
            cholesky = cholesky.to(place)
        m = len(self.above)
        inverse = solve_triangular(self.above[:, :m], np.eye(m))
        inverse, above, scale = (
            beside(part, rows) for part in (inverse, self.above[:, m:-1], self.scale)
        )
        found = []
        for some in split_rows(len(rows), _PREDICTED):
            constants = rows[some, :m] @ inverse
            others = cholesky.half_solve(((rows[some, m:] - constants @ above) / scale).T)
            found.append(on_host(_squares(constants.T) + _squares(others)))
        return np.sqrt(np.concatenate(found)) if found else np.empty(0)

    def __getstate__(self):
        cholesky = self.cholesky
        return {
            **vars(self),
            "cholesky": cholesky if cholesky.device == "cpu" else cholesky.to("cpu"),
        }


class EquationsRidge(RidgeProblem):
    """The same least squares as `RidgeProblem`, with normal equations of forces and virials.

    The constants, which only energies have, are eliminated from the rows of these first. What is
    left is divided by the lengths of the columns before it is factored, so that the condition
    number is at most n_columns / α. The given noises are kept.

    Parameters
    ----------
    sums : LabelSums
        Reduced, with `PackedEquations`.
    n_constants : int
        Number of constants, the first columns.
    growth : ndarray of float, shape (n_columns - n_constants,)
        The factors g.
    scaling : float
        The exponent s.
    """

    def __init__(self, sums, n_constants, growth, scaling=1.0):
        self._equations, energies = (sums.parts.get(name) for name in (EQUATIONS, "energy"))
        energies = energies and rows_of(energies)
        # all where the largest part is: energies of other fits may be elsewhere
        self._like = self._equations.products if self._equations else energies[0]
        place = device_of(self._like)
        self._energies = energies and (*(moved(part, place) for part in energies[:2]), energies[2])
        super().__init__(sums, n_constants, growth, scaling=scaling)

    def _lengths(self):
        self._eliminate_constants()
        self._squares = np.zeros(self.sums.n_columns - self.n_constants)
        if self._rows is not None:
            self._squares += on_host(_squares(self._rows))
        if self._equations:
            self._squares += self._equations.diagonal()[self.n_constants :]
        lengths = np.sqrt(self._squares)
        return self._floored(lengths, lengths)

    def _eliminate_constants(self):
        """The rows and targets of energies orthogonal to the constants, and what these explain."""
        m, n = self.n_constants, self.sums.n_columns
        if self._energies is None:
            self._rows, self._targets, self._left = None, None, 0.0
            self._above = np.eye(m, n + 1) * self._weak
            return
        rows, targets, self._left = self._energies
        counts = np.vstack([on_host(rows[:, :m]), np.eye(m) * self._weak])
        q, r = np.linalg.qr(counts)
        q, extra = beside(q, rows), beside(np.zeros((m, n - m + 1)), rows)
        xp = namespace(rows)
        rest = xp.vstack([xp.hstack([rows[:, m:], targets[:, None]]), extra])
        explained = q.T @ rest
        rest -= q @ explained
        self._rows, self._targets = rest[:, :-1], rest[:, -1]
        self._above = np.hstack([r, on_host(explained)])

    def posterior(self, alpha, factors):
        """The factorisation of all rows and the penalty."""
        m, scale = self.n_constants, np.sqrt(self._squares + alpha * self.penalties)
        edges = np.append(0, edges_of(self.sums.n_columns)[1:] - m)
        cholesky = PackedCholesky(edges, device=device_parameter(self._like))
        with threads_over_blas() as team:
            cholesky.factor(_Normalised(self._equations, m, self._rows, scale, team))
        products, total = np.zeros(len(scale)), self._left
        if self._equations:
            products += on_host(self._equations.products)[m:]
            total += self._equations.total
        if self._rows is not None:
            products += on_host(self._targets @ self._rows)
            total += float(self._targets @ self._targets)
        explained = cholesky.half_solve(products / scale)
        residual = max(total - float(explained @ explained), 0.0)
        solution = cholesky.solve(products / scale) / scale
        return CholeskyPosterior(self._above, cholesky, scale, solution, np.array([residual]))

    @staticmethod
    def _diagonal(posterior):
        return posterior.diagonal()


class _Normalised:
    """The Gram matrix of all rows and the penalty, without the constants, of diagonal 1: a system.

    Parameters
    ----------
    equations : PackedEquations, or None
    n_constants : int
        Columns that the equations have more than the rows, first.
    rows : ndarray or Tensor of float, shape (n_rows, n), or None
    scale : ndarray of float, shape (n,)
        The roots of the diagonal.
    team : ThreadTeam
    """

    def __init__(self, equations, n_constants, rows, scale, team):
        self.equations, self.n_constants, self.rows = equations, n_constants, rows
        self.scale, self.team = scale, team

    def fill(self, start, stop, out):
        gram = self.equations and self.equations.column(start + self.n_constants)
        scale = beside(self.scale, out)
        pieces = split_rows(len(out), _ROWS)
        list(self.team.map(partial(self._fill, slice(start, stop), gram, scale, out), pieces))
        diagonal = out[: stop - start]
        diagonal.fill_diagonal_(1.0) if is_tensor(out) else np.fill_diagonal(diagonal, 1.0)

    def _fill(self, columns, gram, scale, out, piece):
        """Some rows of a block column."""
        part, rows = out[piece], slice(columns.start + piece.start, columns.start + piece.stop)
        part[:] = 0.0 if gram is None else gram[piece]
        if self.rows is not None:
            part += self.rows[:, rows].T @ self.rows[:, columns]
        part /= scale[rows, None]
        part /= scale[columns]


def _squares(rows):
    """Sums of squares of columns."""
    return namespace(rows).einsum("ij,ij->j", rows, rows)
