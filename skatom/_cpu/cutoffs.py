"""Cutoff functions of a distance and their slopes, for loops over pairs and triangles."""

import numpy as np

from skatom._numba import njit

NO_CUTOFF, COSINE, EXPONENTIAL = range(3)


@njit(cache=True, inline="always")
def cutoff_function(kind, cutoff, width, r):
    """f_c(r) and its slope."""
    if kind == NO_CUTOFF:
        return 1.0, 0.0
    if r >= cutoff:
        return 0.0, 0.0
    if kind == EXPONENTIAL:
        f = np.exp(-width / (cutoff - r))
        return f, -f * width / ((cutoff - r) * (cutoff - r))
    if r <= cutoff - width:
        return 1.0, 0.0
    phase = np.pi * (r - cutoff + width) / width
    return 0.5 * (1 + np.cos(phase)), -0.5 * np.pi / width * np.sin(phase)


@njit(cache=True)
def cutoff_functions(kind, cutoff, width, r):
    """f_c and its slopes of a flat array."""
    f, slopes = np.empty_like(r), np.empty_like(r)
    for i in range(len(r)):
        f[i], slopes[i] = cutoff_function(kind, cutoff, width, r[i])
    return f, slopes
