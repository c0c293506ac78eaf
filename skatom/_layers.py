"""The layers of a fitted model, from rows of features to a prediction, as attribution sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


def _same(t):
    return t


@dataclass(frozen=True)
class DenseLayer:
    r"""A layer of a network, :math:`a = \rho(x W + b)`.

    Attributes
    ----------
    weights : ndarray of float, shape (n_in, n_out)
        W.
    biases : ndarray of float, shape (n_out,)
        b.
    function, slope : callable
        ρ and ρ′ of an array. By default the layer is linear.
    oscillates : bool
        Whether ρ is a wave, so that a share of its value is not a share of its argument.
    """

    weights: np.ndarray
    biases: np.ndarray
    function: Callable = _same
    slope: Callable = field(default=np.ones_like)
    oscillates: bool = False


@dataclass(frozen=True)
class LayeredRows:
    """Rows that pass through the same layers, the last of which has one output.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Which of all rows these are.
    layers : list of DenseLayer
        From the features to the output.
    constants : ndarray of float, shape (n,)
        Added to the output, whatever the features are.
    """

    rows: np.ndarray
    layers: list
    constants: np.ndarray
