"""Chebyshev expansions of the distances and angles around every centre.

Sums over pairs of neighbours factorise: with T_n = Σ_l t_nl P_l and the addition theorem,

    Σ_{j<k} w_j w_k f_j f_k T_n(cos θ_jk)
        = ½ [Σ_l t_nl 4π/(2l + 1) Σ_m (Σ_j w_j f_j Y_lm(r_j))² − Σ_j (w_j f_j)²],

so that no loop over pairs of neighbours is needed.
"""

from typing import NamedTuple

import numpy as np

from skatom._numba import callee, njit
from skatom.descriptors._cpu.harmonics import harmonics, harmonics_with_gradients


class Expansion(NamedTuple):
    """The parameters in the form that the loops take."""

    cutoff: float
    angular_cutoff: float
    n_radial: int
    weights: np.ndarray  # (n_channels, n_species)
    legendre: np.ndarray  # (n_angular, l_max + 1), 4π/(2l + 1) t_nl
    norm: np.ndarray


@njit(cache=True, inline="always")
def _cosine(r, cutoff):
    """The cosine cutoff function and its slope."""
    if r >= cutoff:
        return 0.0, 0.0
    x = np.pi * r / cutoff
    return 0.5 * (np.cos(x) + 1), -0.5 * np.pi / cutoff * np.sin(x)


@njit(cache=True, inline="always")
def _length(vectors, j):
    x, y, z = vectors[j, 0], vectors[j, 1], vectors[j, 2]
    return np.sqrt(x * x + y * y + z * z)


@callee(cache=True)
def _polynomials(x, t, dt):
    """T_n(x) and their slopes."""
    for n in range(len(t)):
        if n == 0:
            t[n], dt[n] = 1.0, 0.0
        elif n == 1:
            t[n], dt[n] = x, 1.0
        else:
            t[n] = 2 * x * t[n - 1] - t[n - 2]
            dt[n] = 2 * t[n - 1] + 2 * x * dt[n - 1] - dt[n - 2]


@callee(cache=True)
def _moments(vectors, species, expansion, work, y, moments, squares):
    """Σ_j w_j f_j Y_lm (n_channels, n_lm) and Σ_j (w_j f_j)² of one centre; the number of j."""
    moments[:] = 0.0
    squares[:] = 0.0
    n = 0
    l_max = expansion.legendre.shape[1] - 1
    for j in range(len(vectors)):
        r = _length(vectors, j)
        f, _ = _cosine(r, expansion.angular_cutoff)
        if f == 0.0:
            continue
        n += 1
        ux, uy, uz = vectors[j, 0] / r, vectors[j, 1] / r, vectors[j, 2] / r
        harmonics(ux, uy, uz, expansion.norm, l_max, work, y)
        for channel in range(len(moments)):
            weight = f * expansion.weights[channel, species[j]]
            squares[channel] += weight * weight
            for k in range(len(y)):
                moments[channel, k] += weight * y[k]
    return n


@callee(allocates=True, cache=True)
def _scratch(expansion):
    n_channels, n_l = len(expansion.weights), expansion.legendre.shape[1]
    n_lm = n_l * n_l
    return (
        np.empty((3, n_lm)), np.empty(n_lm), np.empty((n_channels, n_lm)), np.empty(n_channels),
        np.empty((2, max(1, expansion.n_radial))),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def values(first, last, starts, vectors, centers, species, expansion, out):
    """Features of the centres, into (n_centers, n_features)."""
    work, y, moments, squares, t = _scratch(expansion)
    n_radial, n_angular = expansion.n_radial, len(expansion.legendre)
    for i in range(first, last):
        pairs = slice(starts[i], starts[i + 1])
        row = out[i]
        row[:] = 0.0
        for j in range(starts[i], starts[i + 1]):
            r = _length(vectors, j)
            f, _ = _cosine(r, expansion.cutoff)
            _polynomials(2 * r / expansion.cutoff - 1, t[0], t[1])
            for channel in range(len(moments)):
                weight = f * expansion.weights[channel, species[j]]
                for n in range(n_radial):
                    row[channel * (n_radial + n_angular) + n] += weight * t[0, n]
        n_sides = _moments(vectors[pairs], species[pairs], expansion, work, y, moments, squares)
        if n_sides < 2:  # there are no angles, and differences would leave 1e-16
            continue
        for channel in range(len(moments)):
            begin = channel * (n_radial + n_angular) + n_radial
            for n in range(n_angular):
                row[begin + n] -= 0.5 * squares[channel]
            for l in range(expansion.legendre.shape[1]):
                power = 0.0
                for k in range(l * l, (l + 1) * (l + 1)):
                    power += 0.5 * moments[channel, k] * moments[channel, k]
                for n in range(n_angular):
                    row[begin + n] += expansion.legendre[n, l] * power


@callee(cache=True)
def _pair_slopes(vector, weight, expansion, moments, work, y, gradients, along):
    """∂(Σ_m moments²/2)/∂r of one pair and channel for every l, (n_l, 3), and (w f)² / 2.

    The last row of ``along`` is the slope of the square.
    """
    r = np.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
    f, df = _cosine(r, expansion.angular_cutoff)
    along[:] = 0.0
    if f == 0.0:
        return
    ux, uy, uz, n_l = vector[0] / r, vector[1] / r, vector[2] / r, expansion.legendre.shape[1]
    harmonics_with_gradients(ux, uy, uz, expansion.norm, n_l - 1, work, y, gradients)
    for l in range(n_l):
        value, gx, gy, gz = 0.0, 0.0, 0.0, 0.0
        for k in range(l * l, (l + 1) * (l + 1)):
            value += moments[k] * y[k]
            gx += moments[k] * gradients[0, k]
            gy += moments[k] * gradients[1, k]
            gz += moments[k] * gradients[2, k]
        radial = weight * (df - f * l / r) * value
        along[l, 0] = radial * ux + weight * f / r * gx
        along[l, 1] = radial * uy + weight * f / r * gy
        along[l, 2] = radial * uz + weight * f / r * gz
    square = weight * weight * f * df
    along[n_l, 0], along[n_l, 1], along[n_l, 2] = square * ux, square * uy, square * uz


@njit(cache=True, nogil=True)
def pair_gradients(first, last, starts, vectors, centers, species, expansion, cotangent, out):
    """dE/dr_ij, into (n_pairs, 3), for dE/d features, (n_atoms, n_features) or (1, n_features)."""
    work, y, moments, squares, t = _scratch(expansion)
    n_radial, (n_angular, n_l) = expansion.n_radial, expansion.legendre.shape
    gradients, along = np.empty((3, n_l * n_l)), np.empty((n_l + 1, 3))
    pulls = np.empty((len(moments), n_l + 1))
    for i in range(first, last):
        pairs = slice(starts[i], starts[i + 1])
        row = cotangent[min(i, len(cotangent) - 1)].reshape(len(moments), n_radial + n_angular)
        _moments(vectors[pairs], species[pairs], expansion, work, y, moments, squares)
        for channel in range(len(moments)):
            angular = row[channel, n_radial:]
            for l in range(n_l + 1):
                pulls[channel, l] = 0.0
            for n in range(n_angular):
                for l in range(n_l):
                    pulls[channel, l] += angular[n] * expansion.legendre[n, l]
                pulls[channel, n_l] -= angular[n]
        for j in range(starts[i], starts[i + 1]):
            r = _length(vectors, j)
            f, df = _cosine(r, expansion.cutoff)
            _polynomials(2 * r / expansion.cutoff - 1, t[0], t[1])
            slope = 0.0
            out[j] = 0.0
            for channel in range(len(moments)):
                weight = expansion.weights[channel, species[j]]
                for n in range(n_radial):
                    rate = df * t[0, n] + 2 / expansion.cutoff * f * t[1, n]
                    slope += weight * row[channel, n] * rate
                if n_angular:
                    _pair_slopes(
                        vectors[j], weight, expansion, moments[channel], work, y, gradients, along
                    )
                    for l in range(n_l + 1):
                        for axis in range(3):
                            out[j, axis] += pulls[channel, l] * along[l, axis]
            for axis in range(3):
                out[j, axis] += slope * vectors[j, axis] / r


@njit(cache=True, nogil=True)
def pair_jacobian(first, last, starts, vectors, centers, species, expansion, out):
    """d features_i / dr_ij: (n_pairs, 3, n_features)."""
    work, y, moments, squares, t = _scratch(expansion)
    n_radial, (n_angular, n_l) = expansion.n_radial, expansion.legendre.shape
    gradients, along = np.empty((3, n_l * n_l)), np.empty((n_l + 1, 3))
    for i in range(first, last):
        pairs = slice(starts[i], starts[i + 1])
        _moments(vectors[pairs], species[pairs], expansion, work, y, moments, squares)
        for j in range(starts[i], starts[i + 1]):
            r = _length(vectors, j)
            f, df = _cosine(r, expansion.cutoff)
            _polynomials(2 * r / expansion.cutoff - 1, t[0], t[1])
            for channel in range(len(moments)):
                weight = expansion.weights[channel, species[j]]
                begin = channel * (n_radial + n_angular)
                for n in range(n_radial):
                    rate = weight * (df * t[0, n] + 2 / expansion.cutoff * f * t[1, n]) / r
                    for axis in range(3):
                        out[j, axis, begin + n] = rate * vectors[j, axis]
                if n_angular == 0:
                    continue
                _pair_slopes(
                    vectors[j], weight, expansion, moments[channel], work, y, gradients, along
                )
                for n in range(n_angular):
                    for axis in range(3):
                        total = -along[n_l, axis]
                        for l in range(n_l):
                            total += expansion.legendre[n, l] * along[l, axis]
                        out[j, axis, begin + n_radial + n] = total
