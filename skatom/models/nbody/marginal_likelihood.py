"""The marginal likelihood of Gaussian processes with n-body kernels, and its maximum."""

import numpy as np
import scipy.linalg
from scipy.linalg import cho_solve
from scipy.optimize import minimize

from skatom._progress import tqdm

# Factors by which sigma, amplitude and noise may change from their initial values.
_SIGMA_RANGE, _AMPLITUDE_RANGE, _NOISE_RANGE = 4.0, 100.0, 10.0
# Relative change of the log marginal likelihood at which the maximisation ends.
_TOLERANCE = 1e-6
# Step in log(sigma) of the central difference of the kernel matrix.
_STEP = 1e-3


def n_matrices(kernel, optimize):
    """How many matrices of the size of K a fit needs at the same time."""
    n_terms = len(kernel.terms)
    if optimize:  # K of each term, the factor, the inverse and a difference of two others
        return n_terms + 4
    return min(n_terms, 2)


def cholesky(matrix, noise):
    """The lower Cholesky factor of K + Λ, in the place of K."""
    largest = matrix.diagonal().max(initial=0.0)
    matrix[np.diag_indices_from(matrix)] += noise**2
    try:
        # the transposes are column-major, as LAPACK needs them, or it would work on a copy
        factor = scipy.linalg.cholesky(matrix.T, overwrite_a=True, check_finite=False).T
        definite = factor.diagonal().min() ** 2 > np.finfo(float).eps * largest
    except np.linalg.LinAlgError:
        definite = False
    if not definite:
        raise ValueError(
            f"the kernel matrix of {len(matrix)} observations is not positive definite in double "
            "precision, as it is with duplicate structures and without noise: raise noise_energy "
            "or noise_forces, or remove duplicates"
        )
    return factor


def solve(factor, b):
    """The solution x of K x = b, from `cholesky`'s factor; b is overwritten if column-major."""
    return cho_solve((factor.T, False), b, overwrite_b=True, check_finite=False)


def log_likelihood(factor, values, alpha):
    return float(
        -0.5 * values @ alpha
        - np.log(factor.diagonal()).sum()
        - 0.5 * len(values) * np.log(2 * np.pi)
    )


def likelihood_and_slopes(kernel, noise, observations, values, scales):
    """log p(y), and its derivatives with respect to log sigma, log amplitude and log noise."""
    terms = kernel.terms
    parts = [term.cross(observations.of_term(k)) for k, term in enumerate(terms)]
    factor = cholesky(sum(parts), scales @ noise)
    alpha = solve(factor, values.copy())
    inverse = solve(factor, np.eye(len(values), order="F")).T

    def along(change):
        """The derivative of log p(y) times two, for a change of K."""
        return alpha @ change @ alpha - np.vdot(inverse, change)

    slopes = []
    for k, (term, part) in enumerate(zip(terms, parts, strict=True)):
        sigma, amplitude = term.scales
        up, down = (
            term.rescaled(sigma * np.exp(step), amplitude).cross(observations.of_term(k))
            for step in (_STEP, -_STEP)
        )
        up -= down
        slopes += [0.25 * along(up) / _STEP, along(part)]
    slopes += ((alpha**2 - inverse.diagonal()) @ (scales * noise) ** 2).tolist()
    return log_likelihood(factor, values, alpha), np.array(slopes)


def maximise_likelihood(kernel, noise, observations, values, scales, verbose):
    """The kernel and the noise of the largest marginal likelihood."""
    free = noise * scales.any(axis=0) > 0
    start = np.concatenate([
        np.log([scale for term in kernel.terms for scale in term.scales]), np.log(noise[free])
    ])  # fmt: skip
    n_scales = len(start) - free.sum()

    def parameters(theta):
        noise_now = noise.copy()
        noise_now[free] = np.exp(theta[n_scales:])
        return _rescale(kernel, theta[:n_scales]), noise_now

    with tqdm(desc="log marginal likelihood", disable=not verbose, leave=False) as progress:

        def cost(theta):
            value, slopes = likelihood_and_slopes(*parameters(theta), observations, values, scales)
            progress.set_postfix_str(f"{value:.1f}", refresh=False)
            progress.update()
            return -value, -np.append(slopes[:n_scales], slopes[n_scales:][free])

        reach = np.full(len(start), np.log(_NOISE_RANGE))
        reach[:n_scales] = np.log(_AMPLITUDE_RANGE)
        reach[:n_scales:2] = np.log(_SIGMA_RANGE)
        bounds = np.stack([start - reach, start + reach], axis=1)
        for k, term in enumerate(kernel.terms):
            if term.smallest_sigma > 0:
                bounds[2 * k, 0] = max(bounds[2 * k, 0], np.log(term.smallest_sigma) + 2 * _STEP)
        best = minimize(
            cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": _TOLERANCE}
        )
    return parameters(best.x)


def _rescale(kernel, theta):
    """The kernel with log(sigma) and log(amplitude) of its terms."""
    scales = np.exp(theta).reshape(-1, 2)
    terms = [term.rescaled(*pair) for term, pair in zip(kernel.terms, scales.tolist(), strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
