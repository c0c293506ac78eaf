"""The result of a greedy selection of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular


@dataclass(frozen=True)
class GreedyPath:
    r"""Least-squares models of 0, 1, …, M terms, each with one more term than the previous one.

    With :math:`A_S = Q R` for the chosen columns S, in the order in which they were chosen, the
    coefficients of the first t terms solve :math:`R_{tt}\, w = (Q^\top b)_t`: one triangular
    matrix holds all models.

    Attributes
    ----------
    support : ndarray of int, shape (M,)
        The chosen columns, in the order in which they were chosen.
    r : ndarray of float, shape (M, M)
        The triangular factor R.
    projections : ndarray of float, shape (M,)
        Qᵀb. Term t lowers the residual sum of squares by the square of its projection.
    rss : ndarray of float, shape (M + 1,)
        Residual sum of squares of the models of 0 … M terms.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.solvers import LeastSquaresSystem, orthogonal_least_squares
    >>> A = np.random.default_rng(0).normal(size=(50, 8))
    >>> system = LeastSquaresSystem(A, 3.0 * A[:, 5] - A[:, 2])
    >>> path = orthogonal_least_squares(system, max_terms=4)
    >>> len(path), path.coefficient_path().shape
    (2, (2, 3))
    """

    support: np.ndarray
    r: np.ndarray
    projections: np.ndarray
    rss: np.ndarray

    def __len__(self):
        return len(self.support)

    def coefficients(self, n_terms: int) -> Any:
        """Coefficients (n_terms,) of the first columns of the support."""
        return _solve(self.r[:n_terms, :n_terms], self.projections[:n_terms])

    def coefficient_path(self) -> Any:
        """Coefficients of all models, shape (M, M + 1); column t has t of them."""
        steps = np.triu(np.broadcast_to(self.projections[:, None], (len(self), len(self) + 1)), 1)
        return _solve(self.r, steps)

    def predict(self, columns: Any) -> Any:
        """Predictions of each model for rows of the chosen columns, (n, M) → (n, M + 1)."""
        orthogonal = _solve(self.r, columns.T, trans="T").T  # the rows of Q
        values = np.zeros((len(columns), len(self) + 1))
        np.cumsum(orthogonal * self.projections, axis=1, out=values[:, 1:])
        return values

    def squared_errors(self, blocks: Any) -> Any:
        """Sums of squared errors (M + 1,) of each model on blocks ``(columns, targets)``."""
        total = np.zeros(len(self) + 1)
        for columns, targets in blocks:
            total += np.square(self.predict(columns) - targets[:, None]).sum(axis=0)
        return total


def _solve(r, b, **kwargs):
    """scipy's `solve_triangular`, which before 1.14 refuses systems without unknowns."""
    return solve_triangular(r, b, **kwargs) if len(r) else np.zeros(b.shape)
