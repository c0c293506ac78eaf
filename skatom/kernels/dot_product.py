"""Kernels of the dot product of feature vectors."""

from __future__ import annotations

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval

from skatom._device import namespace
from skatom._typing import Array
from skatom.kernels.dot_kernel import DotKernel, Profile


class Polynomial(DotKernel):
    r"""The polynomial kernel.

    .. math:: k(x, y) = (x \cdot y + c)^\zeta

    Parameters
    ----------
    zeta : int, default=1
        Exponent ζ. 1: the linear kernel.
    offset : float, default=0.0
        Constant c.

    Examples
    --------
    >>> from skatom.kernels import Polynomial
    >>> Polynomial(zeta=2)([[1.0, 2.0]], [[3.0, 0.5]])
    array([[16.]])
    """

    _parameter_constraints = {
        "zeta": [Interval(Integral, 1, None, closed="left")],
        "offset": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, zeta: int = 1, offset: float = 0.0) -> None:
        self.zeta = zeta
        self.offset = offset

    def value(self, s: Array, u: Array, v: Array) -> Array:
        return (s + self.offset) ** self.zeta

    def profile(self, s: Array, u: Array, v: Array) -> Profile:
        base, zeta = s + self.offset, self.zeta
        none = namespace(base).zeros_like(base)
        slope = zeta * base ** (zeta - 1)
        curvature = zeta * (zeta - 1) * base ** max(zeta - 2, 0)
        return Profile(base**zeta, slope, none, none, curvature, none, none, none)


class Cosine(DotKernel):
    r"""The polynomial kernel of normalised features: a power of the cosine of their angle.

    .. math:: k(x, y) = \left(\frac{x \cdot y}{|x|\,|y|}\right)^\zeta

    This is the usual kernel of SOAP features [1]_. The kernel of a vector of zeros, such as the
    features of an isolated atom may be, is 0 with all others.

    Parameters
    ----------
    zeta : float, default=4
        Exponent ζ, at least 1; an integer if dot products of features may be negative.

    References
    ----------
    .. [1] A. P. Bartók, R. Kondor, G. Csányi, Phys. Rev. B 87, 184115 (2013), eq. 36.

    Examples
    --------
    >>> from skatom.kernels import Cosine
    >>> Cosine(zeta=2)([[1.0, 0.0]], [[3.0, 3.0]]).round(4)
    array([[0.5]])
    """

    _parameter_constraints = {"zeta": [Interval(Real, 1, None, closed="left")]}

    def __init__(self, zeta: float = 4) -> None:
        self.zeta = zeta

    def value(self, s: Array, u: Array, v: Array) -> Array:
        cosine = s * (_inverse_norm(u) * _inverse_norm(v))
        return self._power(cosine, self.zeta - 1) * cosine  # as below, to the last bit

    def first_derivatives(self, s: Array, u: Array, v: Array) -> tuple:
        norm = _inverse_norm(u)
        scale = norm * _inverse_norm(v)
        cosine = s * scale
        power = self._power(cosine, self.zeta - 1)
        f = power * cosine
        return f, power * (self.zeta * scale), f * (-0.5 * self.zeta * norm**2)

    def profile(self, s: Array, u: Array, v: Array) -> Profile:
        zeta, norm_u, norm_v = self.zeta, _inverse_norm(u), _inverse_norm(v)
        scale = norm_u * norm_v
        cosine = s * scale
        power = self._power(cosine, zeta - 1)
        f, slope = power * cosine, power * (zeta * scale)
        curvature = zeta * (zeta - 1) * self._power(cosine, max(zeta - 2, 0)) * scale * scale
        half_u, half_v = -0.5 * norm_u**2, -0.5 * norm_v**2
        return Profile(
            f, slope, zeta * f * half_u, zeta * f * half_v,
            curvature, zeta * slope * half_u, zeta * slope * half_v,
            zeta * zeta * f * half_u * half_v,
        )  # fmt: skip

    def _power(self, cosine, exponent):
        if exponent == int(exponent):
            return cosine ** int(exponent)
        if (cosine < 0).any():
            raise ValueError(
                f"Cosine(zeta={self.zeta}) of features at an obtuse angle is not real: use an "
                "integer zeta"
            )
        return cosine**exponent


def _inverse_norm(squared):
    """1 / |x|, and 0 for vectors of zeros."""
    xp = namespace(squared)
    return 1 / xp.sqrt(xp.where(squared > 0, squared, xp.inf))
