"""Wavelets of one scale along one pair of atoms, and their gradients.

    ψ_wm(r) = G_w(r) Y_lm(r / r)

Wavelets of all (n, l) of a scale share the distance, the Gaussian and the harmonics of a pair.
"""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee
from skatom.descriptors._cpu.harmonics import harmonics, harmonics_with_gradients

# Wavelets end at this many standard deviations of their Gaussian, and fall to 0 over the last
# quarter of one: where they begin to fall, the Gaussian is 1.5e-8.
REACH, _FALL = 6.25, 0.25


class WaveletBank(NamedTuple):
    """The wavelets of one scale, for compiled code."""

    width: float  # standard deviation of the Gaussian, Å
    reach: float  # where the wavelets end, Å
    cutoff: float  # where the taper ends, Å; infinite: no taper
    cutoff_width: float
    norm: np.ndarray  # see harmonics.normalization
    degrees: np.ndarray  # l of each wavelet
    coefficients: np.ndarray  # (n_wavelets, n_max), of G in powers of r²/2 width², without r^l
    starts: np.ndarray  # (n_wavelets + 1,), its components m in f
    peaks: np.ndarray  # (n_wavelets,), the largest √(Σ_m |ψ_m|²)
    self_term: bool


@callee(cache=True, fastmath=FASTMATH)
def _taper(r, cutoff, cutoff_width):
    """1, falling as a cosine to 0 over the last ``cutoff_width``; and its derivative."""
    start = cutoff - cutoff_width
    if r <= start:
        return 1.0, 0.0
    x = np.pi * (r - start) / cutoff_width
    return 0.5 * (1 + np.cos(x)), -0.5 * np.pi / cutoff_width * np.sin(x)


@callee(cache=True, fastmath=FASTMATH)
def _radial(r, shape, degrees, coefficients, g, dg):
    """G_w(r) and G'_w(r) of all wavelets of the scale."""
    width, cutoff, cutoff_width = shape
    t, dt = 0.5 * (r / width) * (r / width), r / (width * width)
    one, slope = _taper(r, REACH * width, _FALL * width)
    f, df = _taper(r, cutoff, cutoff_width)
    f, df = f * one, df * one + f * slope
    gauss = np.exp(-t)
    for w in range(len(g)):
        row, l = coefficients[w], degrees[w]
        p, dp = 0.0, 0.0
        for k in range(len(row) - 1, -1, -1):
            dp = dp * t + p
            p = p * t + row[k]
        before, power = 0.0, gauss  # l r^(l-1) and r^l, times the Gaussian
        for step in range(1, l + 1):
            before, power = step * power, power * r
        g[w] = f * power * p
        dg[w] = f * (power * dt * (dp - p) + before * p) + df * power * p


@callee(allocates=True, cache=True)
def scratch(scale):
    l_max = 0
    for l in scale.degrees:
        l_max = max(l_max, l)
    n_lm = (l_max + 1) * (l_max + 1)
    recursion, y, gradients = np.empty((3, n_lm)), np.empty(n_lm), np.empty((3, n_lm))
    return l_max, recursion, y, gradients, np.empty((2, len(scale.degrees)))


# Loops over pairs unpack `WaveletBank` and their buffers first: to hand a tuple on means counting
# references to its arrays, which takes longer than the pair.


@callee(cache=True, fastmath=FASTMATH)
def wavelets(
    x, y, z, r, shape, degrees, coefficients, norm, l_max, recursion, harmonic, g, dg, psi
):
    """ψ_wm of one pair."""
    _radial(r, shape, degrees, coefficients, g, dg)
    harmonics(x / r, y / r, z / r, norm, l_max, recursion, harmonic)
    place = 0
    for w in range(len(g)):
        l = degrees[w]
        for lm in range(l * l, (l + 1) * (l + 1)):
            psi[place] = g[w] * harmonic[lm]
            place += 1


@callee(cache=True, fastmath=FASTMATH)
def wavelets_with_gradients(
    x, y, z, r, shape, degrees, coefficients, norm, l_max, recursion, harmonic, solid, g, dg, psi,
    dpsi,
):  # fmt: skip
    """ψ_wm of one pair and its gradients (3, n_components)."""
    x, y, z = x / r, y / r, z / r
    _radial(r, shape, degrees, coefficients, g, dg)
    harmonics_with_gradients(x, y, z, norm, l_max, recursion, harmonic, solid)
    place = 0
    for w in range(len(g)):
        l = degrees[w]
        turn, slope = g[w] / r, dg[w] - l * g[w] / r
        for lm in range(l * l, (l + 1) * (l + 1)):
            along = slope * harmonic[lm]
            psi[place] = g[w] * harmonic[lm]
            dpsi[0, place] = turn * solid[0, lm] + along * x
            dpsi[1, place] = turn * solid[1, lm] + along * y
            dpsi[2, place] = turn * solid[2, lm] + along * z
            place += 1


@callee(cache=True, fastmath=FASTMATH)
def add_scaled(factor, source, target):
    for c in range(len(target)):
        target[c] += factor * source[c]


@callee(cache=True, fastmath=FASTMATH)
def dot(a, b):
    total = 0.0
    for c in range(len(a)):
        total += a[c] * b[c]
    return total
