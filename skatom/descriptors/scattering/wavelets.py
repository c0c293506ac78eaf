"""Atomic-orbital wavelets: closed forms, and the scales and spacing that suit them."""

from math import ceil, factorial, log, log2, pi, sqrt
from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import eval_genlaguerre

# How much denser points must be for the modulus than for the field of a wavelet of l = 0, 1 and
# more, whose kinks are surfaces, or points from which it grows linearly; and octaves of refinement
# for each octave of the scale, since fewer points average over errors. Found by comparison with
# converged grids, these leave relative errors of 1e-4 in cells of a few atoms.
_REFINEMENTS = (2.8, 2.1, 1.4)
_REFINED_OCTAVES = (0.5, 0.5, 0.75)
# Where spectra are cut at these heights, grids are not refined, and fully.
_ROUGH, _FINE = 1e-3, 1e-6


class Wavelet(NamedTuple):
    """A wavelet ψ_nlj; all its m together make one map."""

    n: int
    l: int
    j: float

    @property
    def power(self):
        """p of |ω|^p exp(−β²|ω|²/2)."""
        return 2 * (self.n - 1) - self.l

    def refinement(self, octaves):
        """log2 of how much denser points must be for the kinks of the modulus than for the field.

        ``octaves``: log2 of the spacing that resolves the field.
        """
        if self.n == 1:  # nowhere negative, hence without kinks
            return 0.0
        l = min(self.l, 2)
        return log2(_REFINEMENTS[l]) + _REFINED_OCTAVES[l] * octaves

    def __str__(self):
        return f"n{self.n}l{self.l}j{self.j:g}"


def orbital_pairs(orbitals):
    """The pairs (n, l) of a parameter ``orbitals``: an int n stands for all l < n."""
    items = [orbitals] if isinstance(orbitals, Integral) else list(orbitals)
    pairs = []
    for item in items:
        if isinstance(item, Integral):
            found = [(int(item), l) for l in range(item)]
        else:
            pair = np.ravel(item).tolist()
            found = [tuple(pair)] if all(isinstance(k, int) for k in pair) else []
        if any(len(pair) != 2 or not 0 <= pair[1] < pair[0] for pair in found) or not found:
            raise ValueError(
                f"orbitals contain {item!r}; each must be an n >= 1, for all l < n, or a pair "
                "(n, l) with 0 <= l < n"
            )
        pairs += found
    if not pairs or len(set(pairs)) < len(pairs):
        raise ValueError(f"orbitals={orbitals!r} must name at least one (n, l), and none twice")
    return pairs


def radial_function(n, l, beta, r):
    """Q_nl(r) of ψ_nl^m = Q_nl(r) Y_lm, in Å^(-p-3).

    Parameters
    ----------
    n, l : int
    beta : float
        Width of the base Gaussian, Å.
    r : array-like of float
        Distances, Å.

    Returns
    -------
    ndarray of float
    """
    k = n - l - 1
    norm = (
        2**k * factorial(k) / ((2 * pi) ** 1.5 * beta ** (2 * n + 1)) * sqrt(4 * pi / (2 * l + 1))
    )
    x = np.asarray(r, float) ** 2 / (2 * beta**2)
    return norm * np.asarray(r, float) ** l * eval_genlaguerre(k, l + 0.5, x) * np.exp(-x)


def base_width(nearest, overlap):
    """β at which two base Gaussians, ``nearest`` Å apart, meet halfway at height ``overlap``."""
    return 0.5 * nearest / sqrt(2 * log(1 / overlap))


def largest_scale(half_edge, beta):
    """J at which two standard deviations of the widest Gaussian reach half the box."""
    return max(0, ceil(log2(half_edge / (2 * beta))))


def alias_free_spacing(pairs, beta, alias):
    """The largest spacing whose grid cuts the spectra where they are below alias · maximum."""
    powers = {2 * (n - 1) - l for n, l in pairs}
    return min(pi * beta / _tail(p, alias) for p in powers)


def fineness(alias):
    """How far, 0 to 1, grids are refined for the kinks of moduli."""
    return float(np.clip(log(alias / _ROUGH) / log(_FINE / _ROUGH), 0.0, 1.0))


def _tail(p, alias):
    """x beyond the maximum √p where x^p exp(−x²/2) has fallen to ``alias`` of it."""

    def excess(x):
        height = 0.5 * p * (log(p) - 1) if p else 0.0
        return p * log(x) - 0.5 * x * x - height - log(alias)

    return brentq(excess, max(sqrt(p), 1e-3), 100.0)
