"""Ridge regression whose regularisation is that of the largest marginal likelihood."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import svd
from scipy.optimize import minimize_scalar

from skatom.parallel import serial_blas

# Values of α among which the search begins.
_ALPHAS = np.logspace(-14, 4, 73)


@dataclass(frozen=True)
class RidgeSolution:
    """The coefficients of a ridge regression, its α, and the logarithm of its evidence."""

    coefficients: np.ndarray
    alpha: float
    log_marginal_likelihood: float


def solve_ridge(rows, targets, rest, n_labels, alpha):
    r"""Minimise :math:`|A w - y|^2 + \alpha \bar K |w|^2`.

    .. math::
        y \sim N\big(0,\; \sigma^2 (I + K / \alpha \bar K)\big), \qquad K = A A^\top

    with the mean :math:`\bar K` of the diagonal of K. The noise σ is the one of the largest
    evidence. In the basis of the singular vectors of A, K is diagonal.

    Parameters
    ----------
    rows : ndarray of float, shape (n_rows, n_columns)
        A, or a triangle R of A = Q R.
    targets : ndarray of float, shape (n_rows,)
        y, or Qᵀ y.
    rest : float
        The part of |y|² that is not in the targets.
    n_labels : float
        Number of labels, or the sum of their weights.
    alpha : float, or "evidence"

    Returns
    -------
    RidgeSolution
    """
    with serial_blas():
        left, values, right = svd(rows, full_matrices=False, check_finite=False)
        y = left.T @ targets
    rest = max(rest + float(targets @ targets - y @ y), 0.0)
    mean = float(values @ values) / n_labels
    shares = values**2 / mean

    def log_evidence(alpha):
        growth = 1 + shares / alpha
        # exact labels leave nothing: a number that has a logarithm
        variance = max((float(np.sum(y**2 / growth)) + rest) / n_labels, np.finfo(float).tiny)
        likelihood = n_labels * (1 + np.log(2 * np.pi * variance)) + np.log(growth).sum()
        return -0.5 * float(likelihood)

    if alpha == "evidence":
        found = [log_evidence(a) for a in _ALPHAS]
        k = min(max(int(np.argmax(found)), 1), len(_ALPHAS) - 2)
        bounds = np.log(_ALPHAS[[k - 1, k + 1]])
        best = minimize_scalar(lambda x: -log_evidence(np.exp(x)), bounds=bounds, method="bounded")
        alpha = float(np.exp(best.x))
    weights = values / (values**2 + alpha * mean) * y
    with serial_blas():
        coefficients = right.T @ weights
    return RidgeSolution(coefficients, float(alpha), log_evidence(alpha))
