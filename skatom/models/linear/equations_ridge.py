"""Ridge regression from normal equations, of arrays or of tensors on a device."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from skatom._device import beside, is_tensor, namespace, on_host
from skatom.models.linear.ridge import RidgeProblem
from skatom.parallel import serial_blas

# The regularisation from which on normal equations give the predictions of a QR factorisation to
# eight digits: rounding errors of the Gram matrix are some 1e-16 of its diagonal.
LEAST_ALPHA = 1e-8


@dataclass(frozen=True)
class CholeskyPosterior:
    """What a factorisation of all rows and the penalty knows, from their normal equations.

    Attributes
    ----------
    triangle : ndarray or Tensor of float, shape (n_columns, n_columns)
        R, of the rows and the penalty. A pickle has arrays of numpy.
    projections : ndarray or Tensor of float, shape (n_columns, 1)
        The targets' components.
    residuals : ndarray of float, shape (1,)
        The sum of squares at the solution.
    """

    triangle: Any
    projections: Any
    residuals: np.ndarray

    def solve(self):
        """The solution, an array of numpy."""
        return on_host(_solved(self.triangle, self.projections))[:, 0]

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
    """

    def __init__(self, sums, n_constants, growth):
        self._energies = _rows_of(sums.parts.get("energy"))
        self._equations = [part for kind, part in sums.parts.items() if kind != "energy"]
        super().__init__(sums, n_constants, growth)

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
        m, penalties = self.n_constants, alpha * self.penalties
        with serial_blas():
            gram, products, total = self._summed()
            lower = _factor(gram, penalties)
            ours = _solved(lower, products[:, None], transposed=True)
            xp = namespace(lower)
            below = xp.hstack([beside(np.zeros((len(lower), m)), lower), lower])
            triangle = xp.vstack([self._above[:, :-1], below])
            projections = xp.vstack([self._above[:, -1:], ours])
        residual = max(total - float((ours * ours).sum()), 0.0)
        return CholeskyPosterior(triangle, projections, np.array([residual]))

    def _summed(self):
        """Gram matrix, products and sum of squares of all rows, without the constants."""
        m, gram, products, total = self.n_constants, None, None, self._left
        for part in self._equations:
            own, along = part.gram[m:, m:], part.products[m:]
            gram = 1 * own if gram is None else gram + own
            products = 1 * along if products is None else products + along
            total += part.total
        if self._rows is not None:
            own, along = self._rows.T @ self._rows, self._targets @ self._rows
            gram = own if gram is None else gram + own
            products = along if products is None else products + along
            total += float(self._targets @ self._targets)
        return gram, products, total


def _rows_of(part):
    """Rows, targets and what is left of squares, of rows or of a factorisation of them."""
    if part is None or isinstance(part, tuple):
        return part and (*part, 0.0)
    return part.triangle, part.projections[:, 0], float(part.residuals[0])


def _factor(gram, penalties):
    """R with RᵀR = G + diag(penalties), by Cholesky of the matrix of unit diagonal."""
    scale = beside(np.sqrt(on_host(gram.diagonal()) + penalties), gram)
    gram /= scale[:, None]
    gram /= scale
    if is_tensor(gram):
        gram.fill_diagonal_(1.0)
        return namespace(gram).linalg.cholesky(gram, upper=True) * scale
    np.fill_diagonal(gram, 1.0)
    return cholesky(gram, overwrite_a=True, check_finite=False) * scale


def _solved(triangle, columns, transposed=False):
    """R⁻¹ or R⁻ᵀ times columns."""
    if is_tensor(triangle):
        matrix = triangle.T if transposed else triangle
        return namespace(triangle).linalg.solve_triangular(matrix, columns, upper=not transposed)
    return solve_triangular(triangle, columns, trans=int(transposed), check_finite=False)
