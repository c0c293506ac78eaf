"""Invariants of the density coefficients of every centre, and the way back.

The channel q of c[lm, q] runs over (species, n). The power spectrum keeps q <= q' and multiplies
q < q' by √2, so that dot products are those of the full square.
"""

import numpy as np
from numba import njit, prange

from skatom.descriptors._cpu.density import (
    FASTMATH,
    expand,
    expansion_gradients,
    mix,
    neighbor_tangent,
    scratch,
    unmix,
)

# Work is handed to threads in this many pieces: enough to even out, few enough to share buffers.
_PIECES = 64


@njit(cache=True)
def _weight(l):
    return np.sqrt(8 * np.pi**2 / (2 * l + 1))


@njit(cache=True, fastmath=FASTMATH)
def power_spectrum(c, l_max, out):
    """p[l, q <= q'] = √(8π²/(2l+1)) Σ_m c_q c_q' of one centre."""
    n_channels = c.shape[1]
    stop = 0
    for l in range(l_max + 1):
        for q in range(n_channels):
            start, stop = stop, stop + n_channels - q
            row = out[start:stop]
            row[:] = 0.0
            for lm in range(l * l, (l + 1) * (l + 1)):
                other = c[lm, q:]
                factor = np.sqrt(2.0) * _weight(l) * c[lm, q]
                for i in range(len(row)):
                    row[i] += factor * other[i]
            row[0] *= np.sqrt(0.5)


@njit(cache=True, fastmath=FASTMATH)
def power_spectrum_cotangent(c, l_max, cotangent, square, dc):
    """dE/dc of one centre for dE/dp. ``square``: scratch (n_channels, n_channels)."""
    n_channels = c.shape[1]
    stop = 0
    dc[:] = 0.0
    for l in range(l_max + 1):
        for q in range(n_channels):
            start, stop = stop, stop + n_channels - q
            row = cotangent[start:stop]
            factor = np.sqrt(2.0) * _weight(l)
            square[q, q] = np.sqrt(2.0) * factor * row[0]
            for i in range(1, len(row)):
                square[q, q + i] = factor * row[i]
                square[q + i, q] = factor * row[i]
        for q in range(n_channels):
            for lm in range(l * l, (l + 1) * (l + 1)):
                for i in range(n_channels):
                    dc[lm, i] += c[lm, q] * square[q, i]


@njit(cache=True, fastmath=FASTMATH)
def power_spectrum_tangent(c, dc, low, high, l_max, out):
    """dp of one centre for dc, which is zero outside the channels low ... high - 1."""
    n_channels = c.shape[1]
    stop = 0
    for l in range(l_max + 1):
        factor = np.sqrt(2.0) * _weight(l)
        for q in range(n_channels):
            start, stop = stop, stop + n_channels - q
            row = out[start:stop]
            row[:] = 0.0
            for lm in range(l * l, (l + 1) * (l + 1)):
                if low <= q < high:
                    for i in range(n_channels - q):
                        row[i] += factor * dc[lm, q] * c[lm, q + i]
                for i in range(max(low - q, 0), high - q):
                    row[i] += factor * c[lm, q] * dc[lm, q + i]
            row[0] *= np.sqrt(0.5)


@njit(cache=True)
def features(c, density, out):
    """Unnormalised features of one centre."""
    if density.nu == 1:
        out[:] = np.sqrt(8 * np.pi**2) * c[0]
    else:
        power_spectrum(c, density.l_max, out)


@njit(cache=True)
def features_cotangent(c, density, cotangent, square, dc):
    """dE/dc of one centre for dE/d features."""
    if density.nu == 1:
        dc[:] = 0.0
        dc[0] = np.sqrt(8 * np.pi**2) * cotangent
    else:
        power_spectrum_cotangent(c, density.l_max, cotangent, square, dc)


@njit(cache=True)
def features_tangent(c, dc, low, high, density, out):
    """d features of one centre for dc."""
    if density.nu == 1:
        out[:] = np.sqrt(8 * np.pi**2) * dc[0]
    else:
        power_spectrum_tangent(c, dc, low, high, density.l_max, out)


@njit(cache=True, fastmath=FASTMATH)
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(cache=True, fastmath=FASTMATH)
def _project(p, scale, row, out):
    """out = scale (row - p (p · row) / |p|²): the transpose, and itself, of d(p / |p|) / dp."""
    along = scale**2 * _dot(p, row)
    for i in range(len(row)):
        out[i] = scale * (row[i] - along * p[i])


@njit(cache=True)
def _inverse_length(p):
    """1/|p|, and 0 for the empty environment, whose normalised features are 0."""
    length = np.sqrt(_dot(p, p))
    return 1 / length if length > 0 else 0.0


@njit(cache=True)
def _coefficients(vectors, indices, species, center, density, work, by_species, c):
    """c of one centre, in mixed channels."""
    expand(vectors, indices, species, center, density, work, by_species)
    if len(density.mixing):
        mix(by_species, density.mixing, c)


@njit(cache=True)
def _coefficient_buffers(density, n_species):
    """c by species, and c in the mixed channels, which is the same array where nothing mixes."""
    n_lm = (density.l_max + 1) ** 2
    by_species = np.empty((n_lm, n_species * density.n_max))
    if len(density.mixing):
        return by_species, np.empty((n_lm, len(density.mixing) * density.n_max))
    return by_species, by_species


@njit(cache=True, parallel=True)
def values(starts, indices, vectors, species, n_species, density, out):
    """Features of every atom into ``out`` (n_atoms, n_features)."""
    n_atoms = len(species)
    for piece in prange(_PIECES):
        work = scratch(density)
        by_species, c = _coefficient_buffers(density, n_species)
        for i in range(piece * n_atoms // _PIECES, (piece + 1) * n_atoms // _PIECES):
            a, b = starts[i], starts[i + 1]
            _coefficients(
                vectors[a:b], indices[a:b], species, species[i], density, work, by_species, c
            )
            features(c, density, out[i])
            if density.normalize:
                out[i] *= _inverse_length(out[i])


@njit(cache=True, parallel=True)
def pair_gradients(starts, indices, vectors, species, n_species, density, cotangent):
    """dE/dr_ij (n_pairs, 3) for dE/d features, (n_atoms, n_features) or (1, n_features)."""
    n_atoms, n_features = len(species), cotangent.shape[1]
    gradients = np.empty(vectors.shape)
    for piece in prange(_PIECES):
        work = scratch(density)
        by_species, c = _coefficient_buffers(density, n_species)
        dc_by_species, dc = _coefficient_buffers(density, n_species)
        square = np.empty((c.shape[1], c.shape[1]))
        p = np.empty(n_features)
        for i in range(piece * n_atoms // _PIECES, (piece + 1) * n_atoms // _PIECES):
            a, b = starts[i], starts[i + 1]
            _coefficients(
                vectors[a:b], indices[a:b], species, species[i], density, work, by_species, c
            )
            row = cotangent[min(i, len(cotangent) - 1)]
            if density.normalize:
                features(c, density, p)
                _project(p, _inverse_length(p), row, p)
                row = p
            features_cotangent(c, density, row, square, dc)
            if len(density.mixing):
                unmix(dc, density.mixing, dc_by_species)
            expansion_gradients(
                vectors[a:b], indices[a:b], species, density, work, dc_by_species, gradients[a:b]
            )
    return gradients


@njit(cache=True, parallel=True)
def pair_jacobian(starts, indices, vectors, species, n_species, density, n_features):
    """d features_i / dr_ij: (n_pairs, 3, n_features)."""
    n_atoms = len(species)
    jacobian = np.empty((len(indices), 3, n_features))
    for piece in prange(_PIECES):
        work = scratch(density)
        by_species, c = _coefficient_buffers(density, n_species)
        tangent = np.empty((3, len(c), density.n_max))
        dc = np.zeros(c.shape)
        p = np.empty(n_features)
        for i in range(piece * n_atoms // _PIECES, (piece + 1) * n_atoms // _PIECES):
            a, b = starts[i], starts[i + 1]
            _coefficients(
                vectors[a:b], indices[a:b], species, species[i], density, work, by_species, c
            )
            scale = 0.0
            if density.normalize:
                features(c, density, p)
                scale = _inverse_length(p)
            for k in range(a, b):
                neighbor_tangent(vectors[k], density, work, tangent)
                for axis in range(3):
                    low, high = _spread(tangent[axis], species[indices[k]], density, dc)
                    row = jacobian[k, axis]
                    features_tangent(c, dc, low, high, density, row)
                    if density.normalize:
                        _project(p, scale, row, row)
                dc[:, low:high] = 0.0
    return jacobian


@njit(cache=True)
def _spread(tangent, channel, density, dc):
    """Put the tangent (n_lm, n_max) of one neighbour into its channels; returns their range."""
    n_max = density.n_max
    if len(density.mixing) == 0:
        low = channel * n_max
        dc[:, low : low + n_max] = tangent
        return low, low + n_max
    for mixed in range(len(density.mixing)):
        low = mixed * n_max
        dc[:, low : low + n_max] = density.mixing[mixed, channel] * tangent
    return 0, dc.shape[1]
