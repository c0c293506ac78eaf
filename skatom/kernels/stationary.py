"""Kernels of the distance between feature vectors."""

from abc import abstractmethod
from numbers import Real

import numpy as np
from sklearn.metrics.pairwise import laplacian_kernel
from sklearn.utils._param_validation import Interval, Options

from skatom.kernels.base import Kernel, Profile

_POSITIVE = Interval(Real, 0, None, closed="neither")


class _Stationary(Kernel):
    """A kernel f(r²) of r² = u + v − 2 s; a subclass writes `_of_squared_distance`."""

    def value(self, s, u, v):
        return self._of_squared_distance(_squared_distance(s, u, v), 0)[0]

    def profile(self, s, u, v):
        f, slope, curvature = self._of_squared_distance(_squared_distance(s, u, v), 2)
        twice = -2 * curvature
        return Profile(f, -2 * slope, slope, slope, -2 * twice, twice, twice, curvature)

    def diagonal(self, X):
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

    _parameter_constraints = {"sigma": [_POSITIVE]}

    def __init__(self, sigma=1.0):
        self.sigma = sigma

    def _of_squared_distance(self, r2, order):
        rate = -0.5 / self.sigma**2
        f = np.exp(rate * r2)
        return (f, rate * f, rate * rate * f)[: order + 1]


class Matern(_Stationary):
    r"""The Matérn kernel of half-integer smoothness.

    .. math::
        k_{1/2} = e^{-r / \sigma}, \quad
        k_{3/2} = (1 + t) e^{-t},\; t = \sqrt 3 \frac{r}{\sigma}, \quad
        k_{5/2} = \left(1 + t + \frac{t^2}{3}\right) e^{-t},\; t = \sqrt 5 \frac{r}{\sigma}

    with r = \|x − y\|. That of ν = 1/2 has no derivatives, so it cannot learn from forces.

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

    _parameter_constraints = {"sigma": [_POSITIVE], "nu": [Options(Real, {0.5, 1.5, 2.5})]}

    def __init__(self, sigma=1.0, nu=2.5):
        self.sigma = sigma
        self.nu = nu

    def _of_squared_distance(self, r2, order):
        if self.nu == 0.5 and order:
            raise ValueError("Matern(nu=0.5) has no derivatives: take nu=1.5, nu=2.5 or Gaussian")
        rate = 2 * self.nu / self.sigma**2
        t = np.sqrt(rate * r2)
        decay = np.exp(-t)
        if self.nu == 0.5:
            return (decay,)
        if self.nu == 1.5:
            # f″ multiplies d dᵀ, so its pole at r = 0 has no effect
            pole = np.divide(rate * rate * decay, 4 * t, out=np.zeros_like(t), where=t > 1e-8)
            return ((1 + t) * decay, -0.5 * rate * decay, pole)[: order + 1]
        f = (1 + t + t * t / 3) * decay
        return (f, -rate / 6 * (1 + t) * decay, rate * rate / 12 * decay)[: order + 1]


class Laplacian(Kernel):
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

    _parameter_constraints = {"sigma": [_POSITIVE]}

    def __init__(self, sigma=1.0):
        self.sigma = sigma

    def _matrix(self, X, Y):
        return laplacian_kernel(X, Y, gamma=1 / self.sigma)

    def diagonal(self, X):
        return np.ones(len(X))

    def value(self, s, u, v):
        raise ValueError("the Laplacian kernel is no function of dot products: call it on arrays")

    def profile(self, s, u, v):
        raise ValueError("the Laplacian kernel has no derivatives: take Gaussian or Matern")


def _squared_distance(s, u, v):
    """u + v − 2 s, which rounding must not make negative."""
    r2 = u + v - 2 * s
    return np.maximum(r2, 0.0, out=r2)
