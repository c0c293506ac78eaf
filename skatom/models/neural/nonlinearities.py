"""Activation functions of networks that are trained, with two derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from skatom._device import namespace


@dataclass(frozen=True)
class Nonlinearity:
    """An activation function ρ with its derivatives ρ′ and ρ″, of arrays or tensors.

    Attributes
    ----------
    both : callable
        ρ and ρ′ of z.
    curvature : callable
        ρ″ from ρ and ρ′, which takes no further exponentials.
    """

    both: Callable
    curvature: Callable

    def function(self, z):
        return self.both(z)[0]

    def slope(self, z):
        return self.both(z)[1]


def _tanh(z):
    t = namespace(z).tanh(z)
    return t, 1 - t * t


def _logistic(z):
    a = 0.5 * (1 + namespace(z).tanh(0.5 * z))
    return a, a * (1 - a)


def _relu(z):
    return 0.5 * (z + abs(z)), 0.5 * (1 + namespace(z).sign(z))


def _softplus(z, beta, shift):
    z, xp = beta * z, namespace(z)
    half, decay = 0.5 * abs(z), xp.exp(-abs(z))
    slope = 0.5 + xp.copysign(0.5 * (1 - decay) / (1 + decay), z)
    return (xp.log1p(decay) + half + 0.5 * z - shift) / beta, slope


def nonlinearity(name, beta):
    """The activation function of a name; ``beta`` is the sharpness of the softplus functions."""
    if name == "tanh":
        return Nonlinearity(_tanh, lambda a, s: -2 * a * s)
    if name == "logistic":
        return Nonlinearity(_logistic, lambda a, s: s * (1 - 2 * a))
    if name == "relu":
        return Nonlinearity(_relu, lambda a, s: namespace(a).zeros_like(a))
    shift = math.log(2) if name == "centered softplus" else 0.0
    return Nonlinearity(partial(_softplus, beta=beta, shift=shift), lambda a, s: beta * s * (1 - s))
