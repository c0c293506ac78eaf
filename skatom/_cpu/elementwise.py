"""Exponentials and cutoff functions of whole arrays, in loops that the compiler vectorises.

The library's exp and cos are calls, one number each; the polynomials here are arithmetic alone.
"""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit

COSINE, TANH3, POLYNOMIAL, TANH3_PLAIN = range(4)

_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693145751953125, 1.42860682030941723212e-6
_TANH1_CUBED = np.tanh(1.0) ** 3


@njit(cache=True, inline="always")
def exp_reduced(x):
    """exp(x) for |x| <= ln(2)/2, by its Taylor series; the error is below 1e-17."""
    p = x / 6227020800 + 1 / 479001600
    p = p * x + 1 / 39916800
    p = p * x + 1 / 3628800
    p = p * x + 1 / 362880
    p = p * x + 1 / 40320
    p = p * x + 1 / 5040
    p = p * x + 1 / 720
    p = p * x + 1 / 120
    p = p * x + 1 / 24
    p = p * x + 1 / 6
    p = p * x + 0.5
    return (p * x + 1) * x + 1


@callee(cache=True, fastmath={"contract"})
def exponential(x, powers, out):
    """out = exp(x) for x <= 0 to 2e-16; ``powers``: scratch of integers, as long as x.

    x = k ln 2 + rest, and 2^k is written as the exponent bits of a float. Below exp(-708), where
    floats are denormal, the result is exp(-708) = 3e-308.
    """
    for i in range(len(x)):
        y = max(x[i], -708.0)
        k = np.floor(y * _LOG2E + 0.5)
        powers[i] = np.int64(k)
        out[i] = exp_reduced((y - k * _LN2_HIGH) - k * _LN2_LOW)
    for i in range(len(x)):
        powers[i] = (powers[i] + 1023) << 52
    scale = powers.view(np.float64)
    for i in range(len(x)):
        out[i] *= scale[i]


@njit(cache=True, inline="always")
def _sin_half(y):
    """sin(y) for |y| <= π/2."""
    z = y * y
    p = 1 / 51090942171709440000 * z - 1 / 121645100408832000
    p = p * z + 1 / 355687428096000
    p = p * z - 1 / 1307674368000
    p = p * z + 1 / 6227020800
    p = p * z - 1 / 39916800
    p = p * z + 1 / 362880
    p = p * z - 1 / 5040
    p = p * z + 1 / 120
    p = p * z - 1 / 6
    return (p * z + 1) * y


@njit(cache=True, inline="always")
def _cos_half(y):
    """cos(y) for |y| <= π/2."""
    z = y * y
    p = 1 / 2432902008176640000 * z - 1 / 6402373705728000
    p = p * z + 1 / 20922789888000
    p = p * z - 1 / 87178291200
    p = p * z + 1 / 479001600
    p = p * z - 1 / 3628800
    p = p * z + 1 / 40320
    p = p * z - 1 / 720
    p = p * z + 1 / 24
    p = p * z - 0.5
    return p * z + 1


@callee(cache=True, fastmath=FASTMATH)
def cutoff_values(kind, cutoff, r, f):
    """f_c(r), zero from the cutoff on."""
    if kind == COSINE:
        scale = np.pi / cutoff
        for i in range(len(r)):
            f[i] = 0.5 + 0.5 * _sin_half(max(0.5 * np.pi - r[i] * scale, -0.5 * np.pi))
    elif kind == TANH3:
        for i in range(len(r)):
            t = np.tanh(max(1 - r[i] / cutoff, 0.0))
            f[i] = t * t * t / _TANH1_CUBED
    elif kind == TANH3_PLAIN:
        for i in range(len(r)):
            t = np.tanh(max(1 - r[i] / cutoff, 0.0))
            f[i] = t * t * t
    else:
        for i in range(len(r)):
            # 1 - 35 x⁴ + 84 x⁵ - 70 x⁶ + 20 x⁷ in powers of u = 1 - x, without cancellation
            u = max(1 - r[i] / cutoff, 0.0)
            f[i] = (((-20 * u + 70) * u - 84) * u + 35) * u * u * u * u


@callee(cache=True, fastmath=FASTMATH)
def cutoff_slopes(kind, cutoff, r, df):
    """The derivative of `cutoff_values`."""
    if kind == COSINE:
        scale = np.pi / cutoff
        for i in range(len(r)):
            df[i] = -0.5 * scale * _cos_half(max(0.5 * np.pi - r[i] * scale, -0.5 * np.pi))
    elif kind == TANH3:
        for i in range(len(r)):
            t = np.tanh(max(1 - r[i] / cutoff, 0.0))
            df[i] = -3 * t * t * (1 - t * t) / (cutoff * _TANH1_CUBED)
    elif kind == TANH3_PLAIN:
        for i in range(len(r)):
            t = np.tanh(max(1 - r[i] / cutoff, 0.0))
            df[i] = -3 * t * t * (1 - t * t) / cutoff
    else:
        for i in range(len(r)):
            x = min(r[i] / cutoff, 1.0)
            u = 1 - x
            df[i] = -140 / cutoff * x * x * x * u * u * u
