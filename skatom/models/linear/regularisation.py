"""What regularises a linear potential, and the coefficients that follow."""

from dataclasses import dataclass

import numpy as np

from skatom.models.linear.equations_ridge import (
    LEAST_ALPHA,
    LEAST_ALPHA_ON_DEVICE,
    CholeskyPosterior,
    EquationsRidge,
)
from skatom.models.linear.ridge import RidgeProblem, solved_by
from skatom.solvers import StreamedQR


@dataclass(frozen=True)
class LinearSolution:
    """The coefficients of a linear model, and what regularised them.

    Attributes
    ----------
    coefficients : ndarray of float, shape (n_columns,)
        Of the constants first.
    alpha : float, or None
    noise_factors : dict of float
    log_marginal_likelihood : float, or None
    posterior : StreamedQR, CholeskyPosterior, or None
        The factorisation of all rows and the penalty; None of a solver other than the ridge.
    """

    coefficients: np.ndarray
    alpha: float | None
    noise_factors: dict
    log_marginal_likelihood: float | None
    posterior: StreamedQR | CholeskyPosterior | None


def by_equations(alpha, growth, learn_noise, solver, on_device=False):
    """Whether normal equations give the predictions of a QR factorisation.

    They do for a regularisation that is given and not small; on a device, where triangles would be
    factored on the host, for smaller ones. It multiplies the squares of the factors g of the prior,
    which take part by their mean. The search for the largest evidence, and for the least error,
    goes as far as rounding allows.
    """
    given = solver is None and not learn_noise and not isinstance(alpha, str)
    least = LEAST_ALPHA_ON_DEVICE if on_device else LEAST_ALPHA
    return given and bool(alpha * np.mean(growth**2) >= least)


def check_exact(sums, alpha, growth, learn_noise, solver):
    """Raise a ValueError if normal equations were learnt and are not exact enough.

    Parameters of a fit may be changed before `LinearPotential.partial_fit`.
    """
    if sums.as_equations and not by_equations(alpha, growth, learn_noise, solver, on_device=True):
        given = "learn_noise=True" if learn_noise else f"alpha={alpha!r}"
        given = given if solver is None else f"solver={solver!r}"
        raise ValueError(
            f"{given} needs a QR factorisation, but this model has learnt normal equations, which "
            f"are exact enough for a given alpha of {LEAST_ALPHA_ON_DEVICE:g} or more: fit it to "
            "all data with these parameters"
        )


def ridge_problem(sums, n_constants, growth, of_table, scaling):
    """The `RidgeProblem` of sums of squares, whatever their kind."""
    if sums.as_equations:
        return EquationsRidge(sums, n_constants, growth, scaling)
    return RidgeProblem(sums, n_constants, growth, of_table, scaling)


def solution_by(solver, problem):
    """The `LinearSolution` of a linear regressor of scikit-learn."""
    factors = dict.fromkeys(problem.kinds, 1.0)
    return LinearSolution(solved_by(solver, problem), None, factors, None, None)


def ridge_solution(problem, alpha, learn_noise):
    """The `LinearSolution` of the ridge.

    Parameters
    ----------
    problem : RidgeProblem
    alpha : float, or "evidence"
        Relative to the given noises.
    learn_noise : bool
        Whether factors of the noises are learnt; that of a table always is.
    """
    alpha, factors = _regularisation(problem, alpha, learn_noise)
    posterior = problem.posterior(alpha, factors)
    w = problem.solve(posterior)
    likelihood = problem.log_likelihood(posterior, alpha, factors) if alpha else -np.inf
    if problem.of_table:
        alpha *= factors[0] ** 2
    named = {kind: float(f) for kind, f in zip(problem.kinds, factors, strict=True)}
    return LinearSolution(w, alpha, named, likelihood, posterior)


def _regularisation(problem, given, learn_noise):
    """α, relative to the given noises, and factors of the noises."""
    if problem.of_table and given != "evidence":
        return _of_table(problem, given)
    if given == "evidence":
        return problem.best(None, learn_noise or problem.of_table)
    if learn_noise and given > 0:
        return problem.best(given, True)
    return given, np.ones(len(problem.kinds))


def _of_table(problem, alpha):
    """The noise of a table from its residuals, for a given α."""
    posterior = problem.posterior(alpha, [1.0])
    part = problem.sums.parts["energy"]
    w = problem.solve(posterior)
    error, spent = problem.fitted(part, posterior.triangle, w)
    left = max(problem.n_labels[0] - spent, 1.0)
    factor = np.sqrt(error / left) or 1.0
    return alpha / factor**2, np.array([factor])


def growth_factors(n_features, degrees, smoothness):
    """The factors g of the prior of features of some degrees, or of any without smoothness."""
    if smoothness == 0:
        return np.ones(n_features)
    if degrees is None:
        raise ValueError(
            f"smoothness={smoothness} needs the degrees of the features, which this descriptor "
            "does not tell: give degrees, an array of one number for each feature"
        )
    degrees = np.asarray(degrees, float)
    if degrees.shape != (n_features,) or not (degrees > 0).all():
        raise ValueError(
            f"degrees have the shape {degrees.shape}, but there are {n_features} features: give "
            "one positive number for each"
        )
    return (degrees / degrees.min()) ** smoothness
