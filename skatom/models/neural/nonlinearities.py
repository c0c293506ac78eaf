"""Activation functions of networks that are trained, with two derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from skatom.random_features.activations import ACTIVATIONS


@dataclass(frozen=True)
class Nonlinearity:
    """An activation function ρ with its derivatives ρ′ and ρ″, of arrays."""

    function: Callable
    slope: Callable
    curvature: Callable


def _tanh_curvature(z):
    t = np.tanh(z)
    return -2 * t * (1 - t * t)


def _softplus(z, beta, shift):
    return (ACTIVATIONS["softplus"].function(beta * z) - shift) / beta


def _softplus_slope(z, beta):
    return ACTIVATIONS["softplus"].slope(beta * z)


def _softplus_curvature(z, beta):
    s = _softplus_slope(z, beta)
    return beta * s * (1 - s)


def nonlinearity(name, beta):
    """The activation function of a name; ``beta`` is the sharpness of the softplus functions."""
    if name == "tanh":
        return Nonlinearity(
            ACTIVATIONS["tanh"].function, ACTIVATIONS["tanh"].slope, _tanh_curvature
        )
    if name == "relu":
        return Nonlinearity(ACTIVATIONS["relu"].function, ACTIVATIONS["relu"].slope, np.zeros_like)
    shift = math.log(2) if name == "centered softplus" else 0.0
    return Nonlinearity(
        partial(_softplus, beta=beta, shift=shift),
        partial(_softplus_slope, beta=beta),
        partial(_softplus_curvature, beta=beta),
    )
