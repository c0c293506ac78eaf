"""Density coefficients of atoms, the invariants of their averages, and the way back."""

import numpy as np

from skatom._numba import njit
from skatom.descriptors._cpu.density import expand, expansion_gradients, mix, scratch, unmix
from skatom.descriptors._cpu.soap import (
    _inverse_length,
    _project,
    features,
    features_cotangent,
    normalize,
)


@njit(cache=True, nogil=True)
def coefficients(first, last, starts, vectors, centers, species, density, out):
    """c of the atoms first … last - 1 into ``out`` (n_atoms, n_lm, n_channels)."""
    work = scratch(density)
    n_lm, n_species = (density.l_max + 1) * (density.l_max + 1), density.mixing.shape[1]
    by_species = np.empty((n_species, n_lm, density.n_max))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        expand(vectors[a:b], species[a:b], centers[i], density, work, by_species)
        mix(by_species, density.mixing, out[i])


@njit(cache=True)
def invariants(c, density, out):
    """Features (n, n_features) of the averages c (n, n_lm, n_channels)."""
    for s in range(len(c)):
        features(c[s], density.nu, density.l_max, density.coupling, out[s])
        if density.normalize:
            normalize(out[s])


@njit(cache=True)
def cotangents(c, density, cotangent, out):
    """dE/dc by species, into (m, n_species, n_lm, n_max), for rows (m, n_features) of dE/dp.

    ``c`` (m, n_lm, n_channels), or (1, n_lm, n_channels) for the same in all rows.
    """
    dc = np.empty(c.shape[1:])
    square = np.empty((c.shape[2], c.shape[2]))
    p = np.empty(cotangent.shape[1])
    for s in range(len(cotangent)):
        own = c[min(s, len(c) - 1)]
        row = cotangent[s]
        if density.normalize:
            features(own, density.nu, density.l_max, density.coupling, p)
            _project(p, _inverse_length(p), row, p)
            row = p
        features_cotangent(own, density.nu, density.l_max, density.coupling, row, square, dc)
        unmix(dc, density.mixing, out[s])


@njit(cache=True, nogil=True)
def pair_gradients(first, last, starts, vectors, species, density, owners, dc, out):
    """dE/dr_ij (n_pairs, 3) of the centres first … last - 1 for dE/dc of their ``owners``."""
    work = scratch(density)
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        expansion_gradients(vectors[a:b], species[a:b], density, work, dc[owners[i]], out[a:b])


@njit(cache=True, nogil=True)
def pair_jacobian(first, last, starts, vectors, species, density, dc, out):
    """dE/dr_ij (n_pairs, 3, m) of some centres for m cotangents dE/dc."""
    work = scratch(density)
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        gradients = np.empty((b - a, 3))
        for f in range(len(dc)):
            expansion_gradients(vectors[a:b], species[a:b], density, work, dc[f], gradients)
            for k in range(b - a):
                for axis in range(3):
                    out[a + k, axis, f] = gradients[k, axis]
