"""Expansion of the neighbour density of one centre, and its transpose.

    c[lm, a n] = Σ_j w(r_j) G_nl(r_j) Y_lm(r_j / r_j)   over the neighbours j of channel a

and for a cotangent D = dE/dc the gradients dE/dr_j, in one pass over the neighbours.
"""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.harmonics import harmonics, harmonics_with_gradients

EIGHT_PI2 = 8 * np.pi**2


class Density(NamedTuple):
    """What an expansion and its invariants need to know, for compiled code."""

    nu: int
    normalize: bool
    n_max: int
    l_max: int
    table: np.ndarray  # (n_tables, n_intervals, 6, (l_max + 1) * n_max), see radial.spline_tables
    table_of: np.ndarray  # (n_species,): the table of each species
    spacing: float
    norm: np.ndarray  # see harmonics.normalization
    cutoff: float
    cutoff_width: float
    rate: float  # radial scaling rate / (rate + (r / scale)^exponent); exponent 0: none
    scale: float
    exponent: float
    central_weight: float
    mixing: np.ndarray  # (n_channels, n_species)
    mixes: bool  # False: the matrix is the identity
    coupling: tuple | None  # for nu = 3, see coupling.coupling_table; without it, not compiled


@callee(cache=True)
def neighbor_weight(r, parameters):
    """w(r), cosine cutoff times radial scaling, and its derivative."""
    cutoff, cutoff_width, rate, scale, exponent = parameters
    u, du = 1.0, 0.0
    if exponent > 0:
        power = (r / scale) ** exponent
        u = rate / (rate + power)
        du = -u * exponent * power / (r * (rate + power))
    start = cutoff - cutoff_width
    if r <= start:
        return u, du
    x = np.pi * (r - start) / cutoff_width
    f, df = 0.5 * (1 + np.cos(x)), -0.5 * np.pi / cutoff_width * np.sin(x)
    return f * u, df * u + f * du


@njit(cache=True, inline="always")
def weight_parameters(density):
    """What `neighbor_weight` takes."""
    return density.cutoff, density.cutoff_width, density.rate, density.scale, density.exponent


@callee(cache=True, fastmath=FASTMATH)
def radial_values(r, table, t, spacing, values):
    """G_nl(r) of the table t, flat, l being the slow index."""
    k = min(int(r / spacing), table.shape[1] - 1)
    x, p = r - k * spacing, table[t, k]
    for f in range(p.shape[1]):
        quintic = ((p[0, f] * x + p[1, f]) * x + p[2, f]) * x + p[3, f]
        values[f] = (quintic * x + p[4, f]) * x + p[5, f]


@callee(cache=True, fastmath=FASTMATH)
def radial_derivatives(r, table, t, spacing, derivatives):
    """G'_nl(r) of the table t."""
    k = min(int(r / spacing), table.shape[1] - 1)
    x, p = r - k * spacing, table[t, k]
    for f in range(p.shape[1]):
        quartic = ((5 * p[0, f] * x + 4 * p[1, f]) * x + 3 * p[2, f]) * x + 2 * p[3, f]
        derivatives[f] = quartic * x + p[4, f]


@callee(allocates=True, cache=True)
def scratch(density):
    """Buffers of one thread for one neighbour at a time."""
    n_lm = (density.l_max + 1) * (density.l_max + 1)
    radial = (density.l_max + 1, density.n_max)
    recursion, y, grad = np.empty((3, n_lm)), np.empty(n_lm), np.empty((3, n_lm))
    return recursion, y, grad, np.empty(radial), np.empty(radial)


# Loops over pairs unpack `Density` first: to hand it on means counting references to its arrays, at
# a quarter of the cost of a pair. The innermost loops take rows as slices: the compiler then sees
# unit strides and vectorises.


@callee(cache=True, fastmath=FASTMATH)
def _add_outer(w, y, g, c):
    """c[lm, n] += w Y[lm] G[l, n] for one neighbour and its channel."""
    for l in range(len(g)):
        gl = g[l]
        for lm in range(l * l, (l + 1) * (l + 1)):
            wy, row = w * y[lm], c[lm]
            for n in range(len(gl)):
                row[n] += wy * gl[n]


@callee(cache=True, fastmath=FASTMATH)
def _contract(dc, g, dg, a, b):
    """a[lm] = Σ_n D[lm, n] G[l, n], and b with G'."""
    for l in range(len(g)):
        gl, dgl = g[l], dg[l]
        for lm in range(l * l, (l + 1) * (l + 1)):
            total, slope, row = 0.0, 0.0, dc[lm]
            for n in range(len(gl)):
                total += row[n] * gl[n]
                slope += row[n] * dgl[n]
            a[lm], b[lm] = total, slope


@callee(cache=True, fastmath=FASTMATH)
def expand(vectors, species, center, density, work, c):
    """c (n_species, n_lm, n_max) of one centre whose own species is ``center``."""
    recursion, y, _, g, _ = work
    flat = g.reshape(g.size)
    table, table_of = density.table, density.table_of
    spacing, weight = density.spacing, weight_parameters(density)
    norm, l_max = density.norm, density.l_max
    c[:] = 0.0
    for k in range(len(vectors)):
        dx, dy, dz = vectors[k, 0], vectors[k, 1], vectors[k, 2]
        r = np.sqrt(dx * dx + dy * dy + dz * dz)
        w, _ = neighbor_weight(r, weight)
        radial_values(r, table, table_of[species[k]], spacing, flat)
        harmonics(dx / r, dy / r, dz / r, norm, l_max, recursion, y)
        _add_outer(w, y, g, c[species[k]])
    own = table[table_of[center], 0, 5]
    for n in range(density.n_max):
        c[center, 0, n] += density.central_weight * norm[0] * own[n]


@callee(cache=True, fastmath=FASTMATH)
def expansion_gradients(vectors, species, density, work, dc, gradients):
    """dE/dr_j (n_neighbors, 3) for the cotangent dc (n_species, n_lm, n_max)."""
    recursion, y, grad, g, dg = work
    flat, dflat = g.reshape(g.size), dg.reshape(g.size)
    a, b = recursion[0], recursion[1]  # free once the harmonics are there
    table, table_of = density.table, density.table_of
    spacing, weight = density.spacing, weight_parameters(density)
    norm, l_max = density.norm, density.l_max
    for k in range(len(vectors)):
        dx, dy, dz = vectors[k, 0], vectors[k, 1], vectors[k, 2]
        r = np.sqrt(dx * dx + dy * dy + dz * dz)
        dx, dy, dz = dx / r, dy / r, dz / r
        w, dw = neighbor_weight(r, weight)
        radial_values(r, table, table_of[species[k]], spacing, flat)
        radial_derivatives(r, table, table_of[species[k]], spacing, dflat)
        harmonics_with_gradients(dx, dy, dz, norm, l_max, recursion, y, grad)
        _contract(dc[species[k]], g, dg, a, b)
        along, fx, fy, fz = 0.0, 0.0, 0.0, 0.0
        for l in range(l_max + 1):
            for lm in range(l * l, (l + 1) * (l + 1)):
                along += y[lm] * ((dw - l * w / r) * a[lm] + w * b[lm])
                fx += a[lm] * grad[0, lm]
                fy += a[lm] * grad[1, lm]
                fz += a[lm] * grad[2, lm]
        gradients[k, 0] = along * dx + w / r * fx
        gradients[k, 1] = along * dy + w / r * fy
        gradients[k, 2] = along * dz + w / r * fz


@callee(cache=True, fastmath=FASTMATH)
def neighbor_tangent(vector, species, density, work, place, tangents):
    """Derivative along its vector of what one neighbour of a species adds to c.

    It is written to ``tangents[:, place]`` of (n_lm, n_neighbors, 3, n_max).
    """
    recursion, y, grad, g, dg = work
    flat, dflat = g.reshape(g.size), dg.reshape(g.size)
    table, t = density.table, density.table_of[species]
    spacing, weight = density.spacing, weight_parameters(density)
    dx, dy, dz = vector[0], vector[1], vector[2]
    r = np.sqrt(dx * dx + dy * dy + dz * dz)
    w, dw = neighbor_weight(r, weight)
    radial_values(r, table, t, spacing, flat)
    radial_derivatives(r, table, t, spacing, dflat)
    harmonics_with_gradients(
        dx / r, dy / r, dz / r, density.norm, density.l_max, recursion, y, grad
    )
    for l in range(density.l_max + 1):
        gl, dgl = g[l], dg[l]
        for lm in range(l * l, (l + 1) * (l + 1)):
            for axis in range(len(vector)):
                along = vector[axis] / r * y[lm]
                turn = w / r * (grad[axis, lm] - l * along) + dw * along
                row = tangents[lm, place, axis]
                for n in range(density.n_max):
                    row[n] = turn * gl[n] + w * along * dgl[n]


@callee(cache=True, fastmath=FASTMATH)
def mix(by_species, mixing, mixed):
    """mixed[lm, J n] = Σ_a U_Ja by_species[a, lm, n]."""
    n_species, n_lm, n_max = by_species.shape
    mixed[:] = 0.0
    for j in range(len(mixing)):
        for a in range(n_species):
            if mixing[j, a] == 0.0:
                continue
            for lm in range(n_lm):
                row, source = mixed[lm, j * n_max : (j + 1) * n_max], by_species[a, lm]
                for n in range(n_max):
                    row[n] += mixing[j, a] * source[n]


@callee(cache=True, fastmath=FASTMATH)
def unmix(mixed, mixing, by_species):
    """The transpose of `mix`."""
    n_species, n_lm, n_max = by_species.shape
    by_species[:] = 0.0
    for j in range(len(mixing)):
        for a in range(n_species):
            if mixing[j, a] == 0.0:
                continue
            for lm in range(n_lm):
                row, source = by_species[a, lm], mixed[lm, j * n_max : (j + 1) * n_max]
                for n in range(n_max):
                    row[n] += mixing[j, a] * source[n]


@njit(cache=True, nogil=True)
def coefficients(first, last, starts, vectors, centers, species, density, out):
    """c of the centres first ... last - 1 into ``out`` (last - first, n_species, n_lm, n_max)."""
    work = scratch(density)
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        expand(vectors[a:b], species[a:b], centers[i], density, work, out[i - first])
