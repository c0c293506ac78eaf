"""The functions of FCHL19, and what all loops over neighbours share."""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee

# Checks for a division by zero would keep loops from being vectorised; no two atoms are at the same
# place, so there is none.
LOOPS = {"cache": True, "fastmath": FASTMATH, "error_model": "numpy"}


class FCHL19Functions(NamedTuple):
    """The functions of FCHL19, for compiled code."""

    n_species: int
    cutoff: float
    eta2: float
    decay2: float
    log_shells2: np.ndarray  # (n_r2,)
    inverse_shells2: np.ndarray
    cutoff3: float
    eta3: float
    decay3: float
    shells3: np.ndarray  # ρ_l, (n_r3,)
    gaussians3: np.ndarray  # exp(-½ η ρ_l²)
    harmonics: np.ndarray  # factors of cos mθ and sin mθ for m = 1, 3, ..., (n_fourier,)


@callee(cache=True)
def most_neighbors(starts):
    most = 0
    for i in range(len(starts) - 1):
        most = max(most, starts[i + 1] - starts[i])
    return most


@callee(cache=True)
def length(vectors, k):
    x, y, z = vectors[k, 0], vectors[k, 1], vectors[k, 2]
    return np.sqrt(x * x + y * y + z * z)


@callee(**LOOPS)
def cutoff_value(r, cutoff):
    """½(1 + cos πr/R)."""
    cosine = np.cos(0.5 * np.pi * r / cutoff)
    return cosine * cosine


@callee(**LOOPS)
def cutoff_slope(r, cutoff):
    """The derivative of its logarithm."""
    return -np.pi / cutoff * np.tan(0.5 * np.pi * r / cutoff)
