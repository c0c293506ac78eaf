"""Features of the pairs of an environment of FCHL18, and their derivatives.

An environment is a run of pairs, ``starts[e]:starts[e + 1]``, of vectors to its neighbours, whose
elements are channels 0, 1, …. Features of a pair are its two-body weight and, for every channel,
the harmonics of the angles to the other neighbours of that element: (1 + 2 n_fourier n_channels)
numbers.
"""

from typing import NamedTuple

import numpy as np

from skatom._numba import callee, njit

# Below this sine an angle counts as straight, where its sine has a cusp.
_STRAIGHT = 1e-8


class Terms(NamedTuple):
    """The scaling functions."""

    cutoff: float
    cut_start: float  # Å
    decay2: float
    decay3: float
    scale2: float
    scale3: np.ndarray  # of each harmonic


@callee(cache=True)
def _cut(r, cutoff, start):
    """The cutoff function and its slope."""
    if r >= cutoff:
        return 0.0, 0.0
    if r <= start:
        return 1.0, 0.0
    scale = 1 / (cutoff - start)
    x = (cutoff - r) * scale
    return x * x * x * (10 - 15 * x + 6 * x * x), -30 * scale * x * x * (1 - x) * (1 - x)


@callee(cache=True)
def _damped(r, power, cutoff, start):
    """f(r) / r^power and its slope."""
    f, df = _cut(r, cutoff, start)
    inverse = r**-power
    return f * inverse, (df - power * f / r) * inverse


@callee(cache=True)
def _radial(vectors, power, cutoff, start, distances, values, slopes):
    for i in range(len(vectors)):
        x, y, z = vectors[i, 0], vectors[i, 1], vectors[i, 2]
        distances[i] = np.sqrt(x * x + y * y + z * z)
        values[i], slopes[i] = _damped(distances[i], power, cutoff, start)


@callee(cache=True)
def _between(vectors, i, j):
    """|r_i - r_j|² and |r_i × r_j|²."""
    x1, y1, z1 = vectors[i, 0], vectors[i, 1], vectors[i, 2]
    x2, y2, z2 = vectors[j, 0], vectors[j, 1], vectors[j, 2]
    dx, dy, dz = x1 - x2, y1 - y2, z1 - z2
    nx, ny, nz = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
    return dx * dx + dy * dy + dz * dz, nx * nx + ny * ny + nz * nz


@callee(cache=True)
def _cosines(a, b, c):
    """Cosines of the angles between a and b, a and c, b and c."""
    aa, bb, cc = a * a, b * b, c * c
    return (aa + bb - cc) / (2 * a * b), (aa + cc - bb) / (2 * a * c), (bb + cc - aa) / (2 * b * c)


@njit(cache=True, nogil=True)
def pair_features(starts, vectors, channels, terms, out):
    """Features of the pairs of environments, which are zero before."""
    n_fourier, cutoff, begin = len(terms.scale3), terms.cutoff, terms.cut_start
    most = 0
    for e in range(len(starts) - 1):
        most = max(most, starts[e + 1] - starts[e])
    d, f, unused = np.empty(most), np.empty(most), np.empty(most)
    for e in range(len(starts) - 1):
        start, n = starts[e], starts[e + 1] - starts[e]
        r, z, features = vectors[start:], channels[start:], out[start:]
        _radial(r[:n], terms.decay2, cutoff, begin, d, f, unused)
        for i in range(n):
            features[i, 0] = terms.scale2 * f[i]
        _radial(r[:n], terms.decay3, cutoff, begin, d, f, unused)
        for i in range(n):
            for j in range(i):
                square, cross = _between(r, i, j)
                c = np.sqrt(square)
                if c >= cutoff:
                    continue
                fc, _ = _damped(c, terms.decay3, cutoff, begin)
                cos0, cos1, cos2 = _cosines(d[i], d[j], c)
                xi = f[i] * f[j] * fc * (1 + 3 * cos0 * cos1 * cos2)
                sin0 = np.sqrt(cross) / (d[i] * d[j])
                cos_m, sin_m = cos0, sin0
                turn_cos, turn_sin = 1 - 2 * sin0 * sin0, 2 * sin0 * cos0
                for m in range(n_fourier):
                    weight = xi * terms.scale3[m]
                    at_i, at_j = 1 + 2 * (z[j] * n_fourier + m), 1 + 2 * (z[i] * n_fourier + m)
                    features[i, at_i] += weight * cos_m
                    features[i, at_i + 1] += weight * sin_m
                    features[j, at_j] += weight * cos_m
                    features[j, at_j + 1] += weight * sin_m
                    cos_m, sin_m = (
                        cos_m * turn_cos - sin_m * turn_sin,
                        sin_m * turn_cos + cos_m * turn_sin,
                    )


@njit(cache=True, nogil=True)
def field_features(starts, vectors, channels, neighbors, dipoles, terms, out):
    """Derivatives (n_pairs, 3, n_features) of the pairs' features along a field, zero before.

    ``dipoles`` (n, 3): -ε (r_a - r_c) q_a of the centre of each environment; ``neighbors``: the
    environment around each neighbour.
    """
    n_fourier, cutoff, begin = len(terms.scale3), terms.cutoff, terms.cut_start
    mu, d, f = np.empty(3), np.empty(len(vectors)), np.empty(len(vectors))
    _radial(vectors, 0.0, cutoff, begin, d, f, np.empty(len(vectors)))
    for e in range(len(starts) - 1):
        own = dipoles[e]
        for i in range(starts[e], starts[e + 1]):
            for a in range(3):
                out[i, a, 0] += terms.scale2 * f[i] * (own[a] + dipoles[neighbors[i], a])
            for j in range(starts[e], i):
                square, cross = _between(vectors, i, j)
                c = np.sqrt(square)
                if c >= cutoff:
                    continue
                fff = f[i] * f[j] * _cut(c, cutoff, begin)[0]
                for a in range(3):
                    mu[a] = fff * (own[a] + dipoles[neighbors[i], a] + dipoles[neighbors[j], a])
                sine = np.sqrt(cross) / (d[i] * d[j])
                theta = np.arctan2(sine, _cosines(d[i], d[j], c)[0])
                for m in range(n_fourier):
                    cos_m = terms.scale3[m] * np.cos((2 * m + 1) * theta)
                    sin_m = terms.scale3[m] * np.sin((2 * m + 1) * theta)
                    at_i = 1 + 2 * (channels[j] * n_fourier + m)
                    at_j = 1 + 2 * (channels[i] * n_fourier + m)
                    for a in range(3):
                        out[i, a, at_i] += mu[a] * cos_m
                        out[i, a, at_i + 1] += mu[a] * sin_m
                        out[j, a, at_j] += mu[a] * cos_m
                        out[j, a, at_j + 1] += mu[a] * sin_m


@callee(cache=True)
def _add_slope(x, y, z, column, vectors, row, strain, out):
    """Add ∂/∂vector of a row to a column of derivatives along atoms, or along strains."""
    if strain:
        for b in range(3):
            out[b, column] += x * vectors[row, b]
            out[3 + b, column] += y * vectors[row, b]
            out[6 + b, column] += z * vectors[row, b]
    else:
        center, row = 3 * len(vectors), 3 * row
        out[row, column] += x
        out[row + 1, column] += y
        out[row + 2, column] += z
        out[center, column] -= x
        out[center + 1, column] -= y
        out[center + 2, column] -= z


@njit(cache=True, nogil=True)
def feature_slopes(r, z, strain, terms, features, out):
    """Derivatives of the features of one environment, and of its distances.

    Column i (n_features + 1) + f of ``out``, zero before, is feature f of pair i, or for
    f = n_features its distance. The rows are xyz of the neighbours and then of the centre, or the
    nine strains. The last row is no derivative but the features themselves.
    """
    n, n_features = features.shape
    n_fourier, width = len(terms.scale3), n_features + 1
    cutoff, begin = terms.cutoff, terms.cut_start
    d, f, df = np.empty(n), np.empty(n), np.empty(n)
    _radial(r, terms.decay2, cutoff, begin, d, f, df)
    for i in range(n):
        slope = terms.scale2 * df[i]
        for column in range(i * width, (i + 1) * width, n_features):
            x, y, w = slope * r[i, 0] / d[i], slope * r[i, 1] / d[i], slope * r[i, 2] / d[i]
            _add_slope(x, y, w, column, r, i, strain, out)
            slope = 1.0
        for k in range(n_features):
            out[-1, i * width + k] = features[i, k]
    _radial(r, terms.decay3, cutoff, begin, d, f, df)
    for i in range(n):
        for j in range(i):
            square, cross = _between(r, i, j)
            a, b, c = d[i], d[j], np.sqrt(square)
            if c >= cutoff:
                continue
            fc, dfc = _damped(c, terms.decay3, cutoff, begin)
            cos0, cos1, cos2 = _cosines(a, b, c)
            # slopes of the three cosines along the three distances
            a0, b0, c0 = 1 / b - cos0 / a, 1 / a - cos0 / b, -c / (a * b)
            a1, b1, c1 = 1 / c - cos1 / a, -b / (a * c), 1 / a - cos1 / c
            a2, b2, c2 = -a / (b * c), 1 / c - cos2 / b, 1 / b - cos2 / c
            fff, angular = f[i] * f[j] * fc, 1 + 3 * cos0 * cos1 * cos2
            xi = fff * angular
            p0, p1, p2 = 3 * fff * cos1 * cos2, 3 * fff * cos0 * cos2, 3 * fff * cos0 * cos1
            xi_a = df[i] * f[j] * fc * angular + p0 * a0 + p1 * a1 + p2 * a2
            xi_b = f[i] * df[j] * fc * angular + p0 * b0 + p1 * b1 + p2 * b2
            xi_c = f[i] * f[j] * dfc * angular + p0 * c0 + p1 * c1 + p2 * c2
            sin0 = np.sqrt(cross) / (a * b)
            inverse = 1 / sin0 if sin0 > _STRAIGHT else 0.0
            theta = np.arctan2(sin0, cos0)
            for m in range(n_fourier):
                order = 2 * m + 1
                cos_m = terms.scale3[m] * np.cos(order * theta)
                sin_m = terms.scale3[m] * np.sin(order * theta)
                at_i = i * width + 1 + 2 * (z[j] * n_fourier + m)
                at_j = j * width + 1 + 2 * (z[i] * n_fourier + m)
                for s in range(2):
                    g = cos_m if s == 0 else sin_m
                    dg = xi * order * inverse * (sin_m if s == 0 else -cos_m)
                    ga = (xi_a * g + dg * a0) / a
                    gb = (xi_b * g + dg * b0) / b
                    gc = (xi_c * g + dg * c0) / c
                    for end in range(2):
                        k, other, along = (i, j, ga) if end == 0 else (j, i, gb)
                        x = along * r[k, 0] + gc * (r[k, 0] - r[other, 0])
                        y = along * r[k, 1] + gc * (r[k, 1] - r[other, 1])
                        w = along * r[k, 2] + gc * (r[k, 2] - r[other, 2])
                        _add_slope(x, y, w, at_i + s, r, k, strain, out)
                        _add_slope(x, y, w, at_j + s, r, k, strain, out)
