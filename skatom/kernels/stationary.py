"""Kernels of the distance between feature vectors."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Real
from typing import Any

import numpy as np
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.utils._param_validation import Interval, Options

from skatom._device import is_tensor, namespace
from skatom._intervals import POSITIVE
from skatom._numba import is_installed
from skatom._typing import Array
from skatom.kernels._cpu.manhattan import laplacian
from skatom.kernels.base import squared_norms
from skatom.kernels.dot_kernel import DotKernel, Profile
from skatom.kernels.feature_kernel import FeatureKernel


class _Stationary(DotKernel):
    """A kernel f(r²) of r² = u + v − 2 s; a subclass implements `_of_squared_distance`."""

    def value(self, s: Array, u: Array, v: Array) -> Array:
        return self._of_squared_distance(_squared_distance(s, u, v), 0)[0]

    def profile(self, s: Array, u: Array, v: Array) -> Profile:
        f, slope, curvature = self._of_squared_distance(_squared_distance(s, u, v), 2)
        twice = -2 * curvature
        return Profile(f, -2 * slope, slope, slope, -2 * twice, twice, twice, curvature)

    def matrix_diagonal(self, X: Array) -> Array:
        return np.ones(len(X))

    scales = ("sigma",)

    def log_slopes(self, X: Array) -> dict[str, Array]:
        norms = squared_norms(X)
        r2 = _squared_distance(X @ X.T, norms[:, None], norms)
        np.fill_diagonal(r2, 0.0)
        return {"sigma": self._log_slope(r2)}

    def _log_slope(self, r2):
        """∂k/∂ log σ; kernels are functions of r/σ."""
        return -2 * r2 * self._of_squared_distance(r2, 1)[1]

    @abstractmethod
    def _of_squared_distance(self, r2, order):
        """The tuple of f, f′, f″ with respect to r², up to the order."""


class Gaussian(_Stationary):
    r"""The Gaussian kernel.

    .. math:: k(x, y) = \exp\left(-\frac{|x - y|^2}{2 \sigma^2}\right)

    Parameters
    ----------
    sigma : float, default=1.0
        Length scale σ, in the unit of the features.

    Examples
    --------
    >>> from skatom.kernels import Gaussian
    >>> kernel = Gaussian(sigma=2.0)
    >>> kernel([[0.0, 0.0]], [[0.0, 2.0]]).round(4)
    array([[0.6065]])
    >>> (2.0 * kernel + Gaussian(sigma=0.5)).get_params()["left__kernel__sigma"]
    2.0
    """

    _parameter_constraints = {"sigma": [POSITIVE]}

    def __init__(self, sigma: float = 1.0) -> None:
        self.sigma = sigma

    def _of_squared_distance(self, r2, order):
        rate = -0.5 / self.sigma**2
        f = namespace(r2).exp(rate * r2)
        return (f, rate * f, rate * rate * f)[: order + 1]

    def spectral_scales(self, shape: tuple[int, int], random: Any) -> Array:
        return np.full((shape[0], 1), 1 / self.sigma)


class Matern(_Stationary):
    r"""The Matérn kernel of half-integer smoothness.

    .. math::
        k_{1/2} = e^{-r / \sigma}, \quad
        k_{3/2} = (1 + t) e^{-t},\; t = \sqrt 3 \frac{r}{\sigma}, \quad
        k_{5/2} = \left(1 + t + \frac{t^2}{3}\right) e^{-t},\; t = \sqrt 5 \frac{r}{\sigma}

    with r = \|x − y\|. The kernel of ν = 1/2 has no derivatives, so it cannot learn from forces.

    Parameters
    ----------
    sigma : float, default=1.0
        Length scale σ, in the unit of the features.
    nu : {0.5, 1.5, 2.5}, default=2.5
        Smoothness ν: functions are ν − 1/2 times differentiable.

    Examples
    --------
    >>> from skatom.kernels import Matern
    >>> Matern(sigma=2.0, nu=1.5)([[0.0]], [[2.0]]).round(4)
    array([[0.4834]])
    """

    _parameter_constraints = {"sigma": [POSITIVE], "nu": [Options(Real, {0.5, 1.5, 2.5})]}

    def __init__(self, sigma: float = 1.0, nu: float = 2.5) -> None:
        self.sigma = sigma
        self.nu = nu

    @property
    def n_derivatives(self) -> Any:
        return 0 if self.nu == 0.5 else 2

    def _log_slope(self, r2):
        if self.nu > 0.5:
            return super()._log_slope(r2)
        t = np.sqrt(r2) / self.sigma
        return t * np.exp(-t)

    def _of_squared_distance(self, r2, order):
        self.check_derivatives(order)
        xp = namespace(r2)
        rate = 2 * self.nu / self.sigma**2
        t = xp.sqrt(rate * r2)
        decay = xp.exp(-t)
        if self.nu == 0.5:
            return (decay,)
        if self.nu == 1.5:
            f = (1 + t) * decay
            if not order:
                return (f,)
            # f″ multiplies d dᵀ, so its pole at r = 0 has no effect
            apart = xp.where(t > 1e-8, t, xp.inf)
            return f, -0.5 * rate * decay, rate * rate * decay / (4 * apart)
        f = (1 + t + t * t / 3) * decay
        return (f, -rate / 6 * (1 + t) * decay, rate * rate / 12 * decay)[: order + 1]

    def spectral_scales(self, shape: tuple[int, int], random: Any) -> Array:
        # Student's distribution of 2ν degrees of freedom
        return np.sqrt(2 * self.nu / random.chisquare(2 * self.nu, (shape[0], 1))) / self.sigma


class GammaExponential(_Stationary):
    r"""The γ-exponential kernel.

    .. math:: k(x, y) = \exp\left(-\left(\frac{|x - y|}{\sigma}\right)^\gamma\right)

    It leads from `Matern` of ν = 1/2 (γ = 1) to `Gaussian` (γ = 2, of the length scale σ/√2). Only
    that of γ = 2 has derivatives.

    Parameters
    ----------
    sigma : float, default=1.0
        Length scale σ, in the unit of the features.
    gamma : float, default=1.0
        Exponent γ, above 0 and at most 2, beyond which the kernel is not positive definite.

    Examples
    --------
    >>> from skatom.kernels import GammaExponential
    >>> GammaExponential(sigma=2.0, gamma=1.5)([[0.0]], [[1.0]]).round(4)
    array([[0.7022]])
    """

    _parameter_constraints = {"sigma": [POSITIVE], "gamma": [Interval(Real, 0, 2, closed="right")]}

    def __init__(self, sigma: float = 1.0, gamma: float = 1.0) -> None:
        self.sigma = sigma
        self.gamma = gamma

    @property
    def n_derivatives(self) -> Any:
        return 2 if self.gamma == 2 else 0

    def _of_squared_distance(self, r2, order):
        self.check_derivatives(order)
        rate = -1 / self.sigma**2
        if self.gamma == 2:
            f = namespace(r2).exp(rate * r2)
            return (f, rate * f, rate * rate * f)[: order + 1]
        return (namespace(r2).exp(-((-rate * r2) ** (0.5 * self.gamma))),)

    def _log_slope(self, r2):
        t = (r2 / self.sigma**2) ** (0.5 * self.gamma)
        return self.gamma * t * np.exp(-t)

    def spectral_scales(self, shape: tuple[int, int], random: Any) -> Array:
        # a mixture of normal distributions, whose variances have the positive stable distribution
        # of exponent γ/2 (M. Kanter, Ann. Probab. 3, 697 (1975))
        a = 0.5 * self.gamma
        angle, wait = random.uniform(0, np.pi, shape[0]), random.exponential(size=shape[0])
        stable = np.sin(a * angle) / np.sin(angle) ** (1 / a)
        stable *= (np.sin((1 - a) * angle) / wait) ** (1 / a - 1)
        return np.sqrt(2 * stable)[:, None] / self.sigma


class Laplacian(FeatureKernel):
    r"""The Laplacian kernel of the Manhattan distance.

    .. math:: k(x, y) = \exp\left(-\frac{\sum_f |x_f - y_f|}{\sigma}\right)

    It has no derivatives, so it cannot learn from forces.

    Parameters
    ----------
    sigma : float, default=1.0
        Length scale σ, in the unit of the features.

    Examples
    --------
    >>> from skatom.kernels import Laplacian
    >>> Laplacian(sigma=2.0)([[0.0, 0.0]], [[1.0, 1.0]]).round(4)
    array([[0.3679]])
    """

    _parameter_constraints = {"sigma": [POSITIVE]}

    def __init__(self, sigma: float = 1.0) -> None:
        self.sigma = sigma

    def matrix(self, X: Array, Y: Array) -> Array:
        if is_tensor(X):
            xp = namespace(X)
            return xp.exp(xp.cdist(X, Y, p=1.0) / -self.sigma)
        if not is_installed():
            return laplacian_kernel(X, Y, gamma=1 / self.sigma)
        out = np.empty((len(X), len(Y)))
        if out.size:
            laplacian(_in_fours(X), _in_fours(Y), 1 / self.sigma, out)
        return out

    def matrix_diagonal(self, X: Array) -> Array:
        return np.ones(len(X))

    scales = ("sigma",)

    def log_slopes(self, X: Array) -> dict[str, Array]:
        values = self.matrix(X, X)
        return {"sigma": -values * np.log(values)}

    def spectral_scales(self, shape: tuple[int, int], random: Any) -> Array:
        # a Cauchy distribution along each axis: the quotient of two normal numbers
        return 1 / (self.sigma * np.abs(random.normal(size=shape)))


def _in_fours(X):
    """Rows with zeros at their ends, as many as make the number of features divisible by four."""
    return np.ascontiguousarray(np.pad(X, ((0, 0), (0, -X.shape[1] % 4))))


def _squared_distance(s, u, v):
    """u + v − 2 s, which rounding must not make negative."""
    r2 = u + v - 2 * s
    return namespace(r2).clip(r2, 0.0, None, out=r2)
