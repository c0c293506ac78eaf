"""Whether standard deviations are as large as the errors that they predict."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm, spearmanr

from skatom._typing import ArrayLike
from skatom.metrics.comparison import root_mean_square

# Probabilities at which the coverage is compared with that of a Gaussian.
LEVELS = np.linspace(0.02, 0.98, 49)


def coverage(errors: ArrayLike, deviations: ArrayLike, levels: ArrayLike = LEVELS) -> np.ndarray:
    r"""Fraction of errors within the central intervals of Gaussians.

    .. math:: c(p) = \frac1n \#\left\{i : \frac{|\epsilon_i|}{\sigma_i} \le
        \Phi^{-1}\!\left(\frac{1 + p}{2}\right)\right\}

    Parameters
    ----------
    errors : array-like of float, shape (n,)
        Prediction less reference.
    deviations : array-like of float, shape (n,)
        Standard deviations σ > 0 in the same unit.
    levels : array-like of float, shape (n_levels,)
        Probabilities p between 0 and 1.

    Returns
    -------
    ndarray of float, shape (n_levels,)
        Equal to ``levels`` if the deviations are calibrated, larger if they are too large.

    Raises
    ------
    ValueError
        If the shapes differ or a deviation is not positive.

    References
    ----------
    V. Kuleshov, N. Fenner, S. Ermon, Proc. 35th ICML (2018), arXiv:1807.00263.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.metrics import coverage
    >>> errors = np.random.default_rng(0).normal(scale=0.2, size=10_000)
    >>> coverage(errors, np.full(10_000, 0.2), [0.5, 0.9]).round(2)
    array([0.5, 0.9])
    """
    scaled = np.sort(np.abs(_scaled(errors, deviations)))
    widths = norm.ppf(0.5 * (1.0 + np.asarray(levels, float)))
    return np.searchsorted(scaled, widths, side="right") / len(scaled)


def calibration(errors: ArrayLike, deviations: ArrayLike) -> dict:
    r"""Figures of how well standard deviations predict errors.

    Parameters
    ----------
    errors : array-like of float, shape (n,)
        Prediction less reference.
    deviations : array-like of float, shape (n,)
        Standard deviations σ > 0 in the same unit.

    Returns
    -------
    dict of str to float
        - ``"rmse"``, ``"rms_deviation"``: of the errors and of the deviations, which are equal if
          the deviations are calibrated on average;
        - ``"scale"``: :math:`\sqrt{\langle \epsilon^2 / \sigma^2 \rangle}`, the factor by which to
          multiply the deviations; 1 is ideal;
        - ``"within_1"``, ``"within_2"``: fraction of errors within one and two deviations, 0.683
          and 0.954 for Gaussians;
        - ``"miscalibration"``: the mean of \|coverage − level\|, 0 to 0.5;
        - ``"rank_correlation"``: Spearman's, of \|ε\| and σ; 1 if the largest errors have the
          largest deviations, NaN if all deviations are equal.

    Raises
    ------
    ValueError
        If the shapes differ or a deviation is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.metrics import calibration
    >>> rng = np.random.default_rng(0)
    >>> deviations = rng.uniform(0.1, 0.3, size=10_000)
    >>> figures = calibration(2 * deviations * rng.normal(size=10_000), deviations)
    >>> round(figures["scale"], 1), round(figures["within_2"], 2)
    (2.0, 0.69)
    """
    scaled = _scaled(errors, deviations)
    sizes, deviations = np.abs(np.asarray(errors, float)), np.asarray(deviations, float)
    varied = len(scaled) > 2 and np.ptp(deviations) > 0 and np.ptp(sizes) > 0
    return {
        "rmse": root_mean_square(sizes),
        "rms_deviation": root_mean_square(deviations),
        "scale": root_mean_square(scaled),
        "within_1": float(np.mean(np.abs(scaled) <= 1.0)),
        "within_2": float(np.mean(np.abs(scaled) <= 2.0)),
        "miscalibration": float(np.mean(np.abs(coverage(errors, deviations) - LEVELS))),
        "rank_correlation": float(spearmanr(sizes, deviations)[0]) if varied else float("nan"),
    }


def _scaled(errors, deviations):
    errors, deviations = np.asarray(errors, float), np.asarray(deviations, float)
    if errors.shape != deviations.shape or errors.ndim != 1 or not len(errors):
        raise ValueError(
            f"errors {errors.shape} and deviations {deviations.shape} must be as many, and one row"
        )
    if not (deviations > 0).all():
        raise ValueError(
            f"a standard deviation is {deviations.min():g}: leave out those that are not positive"
        )
    return errors / deviations
