"""How much a candidate promises, from the mean and standard deviation of its value."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from skatom._typing import Array, ArrayLike

_DENSITY_AT_0 = 1.0 / np.sqrt(2.0 * np.pi)


def expected_improvement(
    mean: ArrayLike, std: ArrayLike, best: float, margin: float = 0.0
) -> Array:
    r"""Expected improvement over the best value so far, of values that should be large.

    .. math::
        \langle \max(y - y^* - \xi, 0) \rangle
        = (\mu - y^* - \xi)\, \Phi(z) + \sigma\, \phi(z), \qquad z = \frac{\mu - y^* - \xi}{\sigma}

    Parameters
    ----------
    mean : array-like of float, shape (n,)
        Means μ.
    std : array-like of float, shape (n,)
        Standard deviations σ ≥ 0.
    best : float
        The best value y* so far.
    margin : float, default=0
        ξ; a larger one explores more.

    Returns
    -------
    ndarray of float, shape (n,)
        At least 0.

    References
    ----------
    .. [1] D. R. Jones, M. Schonlau, W. J. Welch, J. Glob. Optim. 13, 455 (1998).

    Examples
    --------
    >>> from skatom.active import expected_improvement
    >>> expected_improvement([1.0, 0.0], [0.0, 1.0], best=0.5).round(3)
    array([0.5  , 0.198])
    """
    gain, std = np.asarray(mean, float) - best - margin, np.asarray(std, float)
    z = _scaled(gain, std)
    with np.errstate(under="ignore"):
        density = _DENSITY_AT_0 * np.exp(-0.5 * z**2)
    return np.maximum(np.where(std > 0, gain * ndtr(z) + std * density, gain), 0.0)


def probability_of_improvement(
    mean: ArrayLike, std: ArrayLike, best: float, margin: float = 0.0
) -> Array:
    r"""Probability of an improvement over the best value so far, of values that should be large.

    .. math:: P(y > y^* + \xi) = \Phi\!\left(\frac{\mu - y^* - \xi}{\sigma}\right)

    Parameters
    ----------
    mean : array-like of float, shape (n,)
        Means μ.
    std : array-like of float, shape (n,)
        Standard deviations σ ≥ 0.
    best : float
        The best value y* so far.
    margin : float, default=0
        ξ; a larger one explores more.

    Returns
    -------
    ndarray of float, shape (n,)

    References
    ----------
    .. [1] H. J. Kushner, J. Basic Eng. 86, 97 (1964).

    Examples
    --------
    >>> from skatom.active import probability_of_improvement
    >>> probability_of_improvement([1.0, 0.0], [0.0, 1.0], best=0.5).round(3)
    array([1.   , 0.309])
    """
    gain, std = np.asarray(mean, float) - best - margin, np.asarray(std, float)
    return np.where(std > 0, ndtr(_scaled(gain, std)), gain > 0)


def upper_confidence_bound(mean: ArrayLike, std: ArrayLike, kappa: float = 2.0) -> Array:
    r"""What a value that should be large may reach, :math:`\mu + \kappa \sigma`.

    Parameters
    ----------
    mean : array-like of float, shape (n,)
        Means μ.
    std : array-like of float, shape (n,)
        Standard deviations σ ≥ 0.
    kappa : float, default=2
        κ; a larger one explores more.

    Returns
    -------
    ndarray of float, shape (n,)

    References
    ----------
    .. [1] N. Srinivas et al., Proc. 27th ICML, 1015 (2010).

    Examples
    --------
    >>> from skatom.active import upper_confidence_bound
    >>> upper_confidence_bound([1.0, 0.0], [0.0, 1.0])
    array([1., 2.])
    """
    return np.asarray(mean, float) + kappa * np.asarray(std, float)


def _scaled(gain, std):
    ratio = np.divide(gain, std, out=np.zeros(np.broadcast(gain, std).shape), where=std > 0)
    return np.clip(ratio, -1e3, 1e3)  # far beyond where all is 0 or 1
