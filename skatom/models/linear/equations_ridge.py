"""Ridge regression from normal equations, of arrays or of tensors on a device."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from skatom._device import beside, device_of, is_tensor, moved, namespace, on_host
from skatom.models.linear.ridge import RidgeProblem
from skatom.parallel import split_rows, threads_over_blas
from skatom.solvers.dense_cholesky import factor_in_place

# The regularisation from which on normal equations give the predictions of a QR factorisation to
# eight digits: rounding errors of the Gram matrix are some 1e-16 of its diagonal. On a device six
# digits are enough.
LEAST_ALPHA, LEAST_ALPHA_ON_DEVICE = 1e-8, 1e-11
# Rows of the Gram matrix to which those of energies are added at once.
_COLUMNS = 512


@dataclass(frozen=True)
class CholeskyPosterior:
    """What a factorisation of all rows and the penalty knows, from their normal equations.

    Attributes
    ----------
    above : ndarray or Tensor of float, shape (n_constants, n_columns + 1)
        The first rows of the triangle, those of the constants, and their projections.
    factor : ndarray or Tensor of float, shape (n_columns - n_constants,) * 2
        The triangle of the other columns.
    projections : ndarray or Tensor of float, shape (n_columns - n_constants, 1)
        The targets' components along the other columns.
    residuals : ndarray of float, shape (1,)
        The sum of squares at the solution.
    """

    above: Any
    factor: Any
    projections: Any
    residuals: np.ndarray

    @property
    def triangle(self):
        """R of all columns, upper triangular: an array where the factor is."""
        xp, m = namespace(self.factor), len(self.above)
        below = beside(np.zeros((len(self.factor), m)), self.factor)
        return xp.vstack([self.above[:, :-1], xp.hstack([below, self.factor])])

    def diagonal(self):
        """The diagonal of the triangle, an array of numpy."""
        return np.append(*(on_host(part.diagonal()) for part in (self.above, self.factor)))

    def solve(self):
        """The solution, an array of numpy."""
        w = _solved(self.factor, self.projections)
        m, above, w = len(self.above), on_host(self.above), on_host(w)[:, 0]
        constants = above[:, -1] - above[:, m:-1] @ w
        return np.append(solve_triangular(above[:, :m], constants), w)

    def __getstate__(self):
        return {name: on_host(array) for name, array in vars(self).items()}


class EquationsRidge(RidgeProblem):
    """The same least squares as `RidgeProblem`, with normal equations of forces and virials.

    The constants, which only energies have, are eliminated from the rows of these first. What is
    left is divided by the lengths of the columns before it is factored, so that the condition
    number is at most n_columns / α. The given noises are kept.

    Parameters
    ----------
    sums : LabelSums
        Reduced, with `NormalEquations`.
    n_constants : int
        Number of constants, the first columns.
    growth : ndarray of float, shape (n_columns - n_constants,)
        The factors g.
    scaling : float
        The exponent s.
    """

    def __init__(self, sums, n_constants, growth, scaling=1.0):
        equations = [part for kind, part in sums.parts.items() if kind != "energy"]
        energies = _rows_of(sums.parts.get("energy"))
        # all in one place, that of the largest parts: those of other fits may be elsewhere
        place = device_of(equations[0].gram if equations else energies[0])
        self._energies = energies and (*(moved(part, place) for part in energies[:2]), energies[2])
        self._equations = [
            replace(part, gram=moved(part.gram, place), products=moved(part.products, place))
            for part in equations
        ]
        super().__init__(sums, n_constants, growth, scaling=scaling)

    def _lengths(self):
        self._eliminate_constants()
        squares = 0.0 if self._rows is None else (self._rows * self._rows).sum(0)
        for part in self._equations:
            squares = squares + part.gram.diagonal()[self.n_constants :]
        lengths = np.sqrt(on_host(squares))
        return self._floored(lengths, lengths)

    def _eliminate_constants(self):
        """The rows and targets of energies orthogonal to the constants, and what these explain."""
        m, n = self.n_constants, self.sums.n_columns
        if self._energies is None:
            like = self._equations[0].gram
            self._rows, self._targets, self._left = None, None, 0.0
            self._above = beside(np.eye(m, n + 1) * self._weak, like)
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
        self._above = xp.hstack([beside(r, rows), explained])

    def posterior(self, alpha, factors):
        """The factorisation of all rows and the penalty."""
        penalties = alpha * self.penalties
        with threads_over_blas() as team:
            gram, products, total = self._summed()
            factor = _factor(gram, penalties, team)
            projections = _solved(factor, products[:, None], transposed=True)
        residual = max(total - float((projections * projections).sum()), 0.0)
        return CholeskyPosterior(self._above, factor, projections, np.array([residual]))

    @staticmethod
    def _diagonal(posterior):
        return posterior.diagonal()

    def _summed(self):
        """Gram matrix, products and sum of squares of all rows, without the constants."""
        m, n = self.n_constants, self.sums.n_columns
        like = self._equations[0].gram if self._equations else self._rows
        gram, products = (beside(np.zeros(shape), like) for shape in ((n - m, n - m), n - m))
        total = self._left
        for part in self._equations:
            gram += part.gram[m:, m:]
            products += part.products[m:]
            total += part.total
        if self._rows is not None:
            for part in split_rows(n - m, _COLUMNS):
                gram[part] += self._rows[:, part].T @ self._rows
            products += self._targets @ self._rows
            total += float(self._targets @ self._targets)
        return gram, products, total


def _rows_of(part):
    """Rows, targets and what is left of squares, of rows or of a factorisation of them."""
    if part is None or isinstance(part, tuple):
        return part and (*part, 0.0)
    return part.triangle, part.projections[:, 0], float(part.residuals[0])


def _factor(gram, penalties, team):
    """R with RᵀR = G + diag(penalties), by Cholesky of the matrix of unit diagonal."""
    scale = beside(np.sqrt(on_host(gram.diagonal()) + penalties), gram)
    gram /= scale[:, None]
    gram /= scale
    if is_tensor(gram):
        gram.fill_diagonal_(1.0)
        factor = namespace(gram).linalg.cholesky(gram, upper=True)
        factor *= scale
        return factor
    np.fill_diagonal(gram, 1.0)
    factor_in_place(gram, team)
    gram *= scale[:, None]
    return gram.T


def _solved(triangle, columns, transposed=False):
    """R⁻¹ or R⁻ᵀ times columns."""
    if is_tensor(triangle):
        matrix = triangle.T if transposed else triangle
        return namespace(triangle).linalg.solve_triangular(matrix, columns, upper=not transposed)
    return solve_triangular(triangle, columns, trans=int(transposed), check_finite=False)
