"""Covariant products of the density coefficients of every centre.

    F[μ; l q, l' q'] = √(8π²) Σ_mm' W[μ, m, m'] c[lm, q] c[l'm', q']

with the coupling W of length one. Products that differ only in the order of their factors are
kept once, times √2, as in the power spectrum.
"""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.density import EIGHT_PI2, Density, expand, mix, scratch
from skatom.descriptors._cpu.soap import _coefficient_buffers, _dot, _multiply, _product


class CovariantDensity(NamedTuple):
    """An expansion and how its coefficients couple."""

    density: Density
    pairs: np.ndarray  # (n_pairs, 2), l <= l'
    couplings: np.ndarray  # (n_pairs, 2λ + 1, 2 l_max + 1, 2 l_max + 1)
    normalize: bool


@callee(cache=True, fastmath=FASTMATH)
def _couple(coupling, c, l, l2, b):
    """b[l'm', q] = Σ_m W[m, m'] c[lm, q] of one μ."""
    for m2 in range(2 * l2 + 1):
        row = b[l2 * l2 + m2]
        row[:] = 0.0
        for m in range(2 * l + 1):
            weight = coupling[m, m2]
            if weight != 0.0:
                source = c[l * l + m]
                for q in range(len(row)):
                    row[q] += weight * source[q]


@callee(cache=True, fastmath=FASTMATH)
def covariants(c, n_mu, pairs, couplings, b, out):
    """F (2λ + 1, n_features) of one centre. ``b``: scratch like c."""
    n_channels = c.shape[1]
    begin = 0
    for p in range(len(pairs)):
        l, l2 = pairs[p, 0], pairs[p, 1]
        # l = l': symmetric in the channels for even λ, antisymmetric for odd
        skip = (n_mu // 2) % 2
        for mu in range(n_mu):
            _couple(couplings[p, mu], c, l, l2, b)
            stop = begin
            for q in range(n_channels):
                first = q + skip if l == l2 else 0
                start, stop = stop, stop + n_channels - first
                row = out[mu, start:stop]
                _product(b, q, c, first, l2, row)
                if l == l2 and skip == 0:
                    row[0] *= np.sqrt(0.5)
        begin = stop


@callee(cache=True, fastmath=FASTMATH)
def _inverse_density(c, l_max):
    """1/|p| of the power spectrum p, without p: Σ_qq' (Σ_m c_q c_q')² = Σ_mm' (Σ_q c_m c_m')²."""
    square = 0.0
    for l in range(l_max + 1):
        part = 0.0
        for lm in range(l * l, (l + 1) * (l + 1)):
            for other in range(l * l, (l + 1) * (l + 1)):
                product = _dot(c[lm], c[other])
                part += product * product
        square += EIGHT_PI2 / (2 * l + 1) * part
    return 1 / np.sqrt(square) if square > 0.0 else 0.0


@njit(cache=True, nogil=True)
def values(first, last, starts, vectors, centers, species, parameters, out):
    """Features of the atoms first ... last - 1 into ``out`` (n_atoms, (2λ + 1) n_features)."""
    density, pairs, couplings = parameters.density, parameters.pairs, parameters.couplings
    work = scratch(density)
    by_species, c = _coefficient_buffers(density)
    b = np.empty(c.shape)
    n_mu = couplings.shape[1]
    for i in range(first, last):
        start, stop = starts[i], starts[i + 1]
        expand(vectors[start:stop], species[start:stop], centers[i], density, work, by_species)
        mix(by_species, density.mixing, c)
        covariants(c, n_mu, pairs, couplings, b, out[i].reshape(n_mu, out.shape[1] // n_mu))
        if parameters.normalize:
            _multiply(out[i], _inverse_density(c, density.l_max), out[i])
