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


@njit(cache=True, inline="always")
def _cut(r, terms):
    """The cutoff function and its slope."""
    if r >= terms.cutoff:
        return 0.0, 0.0
    if r <= terms.cut_start:
        return 1.0, 0.0
    scale = 1 / (terms.cutoff - terms.cut_start)
    x = (terms.cutoff - r) * scale
    return x * x * x * (10 - 15 * x + 6 * x * x), -30 * scale * x * x * (1 - x) * (1 - x)


@njit(cache=True, inline="always")
def _damped(r, power, terms):
    """f(r) / r^power and its slope."""
    f, df = _cut(r, terms)
    inverse = r**-power
    return f * inverse, (df - power * f / r) * inverse


@callee(cache=True)
def _radial(vectors, power, terms, distances, values, slopes):
    for i in range(len(vectors)):
        x, y, z = vectors[i, 0], vectors[i, 1], vectors[i, 2]
        distances[i] = np.sqrt(x * x + y * y + z * z)
        values[i], slopes[i] = _damped(distances[i], power, terms)


@njit(cache=True, inline="always")
def _sine(u, v):
    """|u × v|."""
    x = u[1] * v[2] - u[2] * v[1]
    y = u[2] * v[0] - u[0] * v[2]
    z = u[0] * v[1] - u[1] * v[0]
    return np.sqrt(x * x + y * y + z * z)


@njit(cache=True, inline="always")
def _length(u):
    return np.sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2])


@njit(cache=True, inline="always")
def _distance(u, v):
    x, y, z = u[0] - v[0], u[1] - v[1], u[2] - v[2]
    return np.sqrt(x * x + y * y + z * z)


@njit(cache=True, inline="always")
def _cosines(a, b, c):
    """Cosines of the angles between a and b, a and c, b and c."""
    aa, bb, cc = a * a, b * b, c * c
    return (aa + bb - cc) / (2 * a * b), (aa + cc - bb) / (2 * a * c), (bb + cc - aa) / (2 * b * c)


@njit(cache=True, nogil=True)
def pair_features(starts, vectors, channels, terms, out):
    """Features of the pairs of environments, which are zero before."""
    n_fourier = len(terms.scale3)
    most = 0
    for e in range(len(starts) - 1):
        most = max(most, starts[e + 1] - starts[e])
    d, f, unused = np.empty(most), np.empty(most), np.empty(most)
    for e in range(len(starts) - 1):
        start, n = starts[e], starts[e + 1] - starts[e]
        r, z, features = vectors[start:], channels[start:], out[start:]
        _radial(r[:n], terms.decay2, terms, d, f, unused)
        for i in range(n):
            features[i, 0] = terms.scale2 * f[i]
        _radial(r[:n], terms.decay3, terms, d, f, unused)
        for i in range(n):
            for j in range(i):
                c = _distance(r[i], r[j])
                if c >= terms.cutoff:
                    continue
                fc, _ = _damped(c, terms.decay3, terms)
                cos0, cos1, cos2 = _cosines(d[i], d[j], c)
                xi = f[i] * f[j] * fc * (1 + 3 * cos0 * cos1 * cos2)
                sin0 = _sine(r[i], r[j]) / (d[i] * d[j])
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
    n_fourier = len(terms.scale3)
    mu = np.empty(3)
    for e in range(len(starts) - 1):
        own = dipoles[e]
        for i in range(starts[e], starts[e + 1]):
            d_i = _length(vectors[i])
            f_i, _ = _cut(d_i, terms)
            for a in range(3):
                out[i, a, 0] += terms.scale2 * f_i * (own[a] + dipoles[neighbors[i], a])
            for j in range(starts[e], i):
                c = _distance(vectors[i], vectors[j])
                if c >= terms.cutoff:
                    continue
                d_j = _length(vectors[j])
                f = f_i * _cut(d_j, terms)[0] * _cut(c, terms)[0]
                for a in range(3):
                    mu[a] = f * (own[a] + dipoles[neighbors[i], a] + dipoles[neighbors[j], a])
                sine = _sine(vectors[i], vectors[j]) / (d_i * d_j)
                theta = np.arctan2(sine, _cosines(d_i, d_j, c)[0])
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


@njit(cache=True, inline="always")
def _add_slope(x, y, z, column, row, center, vector, strain, out):
    """Add ∂/∂vector to a column of derivatives along atoms, or along strains."""
    if strain:
        for b in range(3):
            out[b, column] += x * vector[b]
            out[3 + b, column] += y * vector[b]
            out[6 + b, column] += z * vector[b]
    else:
        row, center = 3 * row, 3 * center
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
    d, f, df = np.empty(n), np.empty(n), np.empty(n)
    _radial(r, terms.decay2, terms, d, f, df)
    for i in range(n):
        x, y, w = r[i, 0] / d[i], r[i, 1] / d[i], r[i, 2] / d[i]
        slope = terms.scale2 * df[i]
        _add_slope(slope * x, slope * y, slope * w, i * width, i, n, r[i], strain, out)
        _add_slope(x, y, w, i * width + n_features, i, n, r[i], strain, out)
        for k in range(n_features):
            out[-1, i * width + k] = features[i, k]
    _radial(r, terms.decay3, terms, d, f, df)
    for i in range(n):
        for j in range(i):
            a, b, c = d[i], d[j], _distance(r[i], r[j])
            if c >= terms.cutoff:
                continue
            fc, dfc = _damped(c, terms.decay3, terms)
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
            sin0 = _sine(r[i], r[j]) / (a * b)
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
                    x = ga * r[i, 0] + gc * (r[i, 0] - r[j, 0])
                    y = ga * r[i, 1] + gc * (r[i, 1] - r[j, 1])
                    w = ga * r[i, 2] + gc * (r[i, 2] - r[j, 2])
                    _add_slope(x, y, w, at_i + s, i, n, r[i], strain, out)
                    _add_slope(x, y, w, at_j + s, i, n, r[i], strain, out)
                    x = gb * r[j, 0] + gc * (r[j, 0] - r[i, 0])
                    y = gb * r[j, 1] + gc * (r[j, 1] - r[i, 1])
                    w = gb * r[j, 2] + gc * (r[j, 2] - r[i, 2])
                    _add_slope(x, y, w, at_i + s, j, n, r[j], strain, out)
                    _add_slope(x, y, w, at_j + s, j, n, r[j], strain, out)
