"""Activation functions and their slopes, of arrays and tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from skatom._device import namespace

# of the approximation of the Gaussian error linear unit by a hyperbolic tangent
_ROOT, _CUBIC = math.sqrt(2 / math.pi), 0.044715


@dataclass(frozen=True)
class Activation:
    """An activation function of a network whose weights are sampled from data.

    Attributes
    ----------
    function, slope : callable
        σ and σ′ of an array or a tensor.
    outward, inward : tuple of float
        The constants (α, β) of the weights for each orientation of a pair.
    """

    function: Callable
    slope: Callable
    outward: tuple[float, float]
    inward: tuple[float, float]


def _tanh(t):
    return namespace(t).tanh(t)


def _tanh_slope(t):
    return 1 - namespace(t).tanh(t) ** 2


def _gelu(t):
    return 0.5 * t * (1 + namespace(t).tanh(_ROOT * (t + _CUBIC * t**3)))


def _gelu_slope(t):
    bend = namespace(t).tanh(_ROOT * (t + _CUBIC * t**3))
    return 0.5 * (1 + bend) + 0.5 * t * (1 - bend**2) * _ROOT * (1 + 3 * _CUBIC * t**2)


def _softplus(t):
    xp = namespace(t)
    return xp.log1p(xp.exp(-xp.abs(t))) + 0.5 * (t + xp.abs(t))


def _softplus_slope(t):
    return 0.5 * (1 + namespace(t).tanh(0.5 * t))


def _relu(t):
    return 0.5 * (t + namespace(t).abs(t))


def _relu_slope(t):
    return 0.5 * (1 + namespace(t).sign(t))


ACTIVATIONS = {
    "tanh": Activation(
        _tanh, _tanh_slope, (2 * math.log(1.5), math.log(1.5)), (math.log(3), 0.5 * math.log(3))
    ),
    "gelu": Activation(_gelu, _gelu_slope, (1.0, 0.0), (1.0, 0.0)),
    "softplus": Activation(_softplus, _softplus_slope, (1.0, 0.0), (1.0, 0.0)),
    "relu": Activation(_relu, _relu_slope, (1.0, 0.0), (1.0, 0.0)),
}
