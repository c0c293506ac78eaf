"""Kernels of the distance between feature vectors."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Real
from typing import Any

import numpy as np
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.utils._param_validation import Options

from skatom._device import is_tensor, namespace
from skatom._intervals import POSITIVE
from skatom._numba import is_installed
from skatom._typing import Array
from skatom.kernels._cpu.manhattan import laplacian
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
