"""Expansion of the neighbour density of one centre, and its transpose.

    c[lm, a n] = Σ_j w(r_j) G_nl(r_j) Y_lm(r_j / r_j)   over the neighbours j of channel a

and for a cotangent D = dE/dc the gradients dE/dr_j, in one pass over the neighbours.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from skatom.descriptors._cpu.harmonics import harmonics, harmonics_with_gradients

# Sums may be reordered and contracted; NaN and infinity keep their meaning.
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


class Density(NamedTuple):
    """What an expansion and its invariants need to know, for compiled code."""

    nu: int
    normalize: bool
    n_max: int
    l_max: int
    table: np.ndarray  # (n_intervals, 6, (l_max + 1) * n_max), see radial.spline_table
    spacing: float
    norm: np.ndarray  # see harmonics.normalization
    cutoff: float
    cutoff_width: float
    rate: float  # radial scaling rate / (rate + (r / scale)^exponent)
    scale: float
    exponent: float
    central_weight: float
    mixing: np.ndarray  # (n_channels, n_species); of length 0: every species is a channel


@njit(cache=True)
def neighbor_weight(r, density):
    """w(r), cosine cutoff times radial scaling, and its derivative."""
    u, du = 1.0, 0.0
    if density.exponent > 0:
        power = (r / density.scale) ** density.exponent
        u = density.rate / (density.rate + power)
        du = -u * density.exponent * power / (r * (density.rate + power))
    start = density.cutoff - density.cutoff_width
    if r <= start:
        return u, du
    x = np.pi * (r - start) / density.cutoff_width
    f, df = 0.5 * (1 + np.cos(x)), -0.5 * np.pi / density.cutoff_width * np.sin(x)
    return f * u, df * u + f * du


@njit(cache=True, fastmath=FASTMATH)
def radial_values(r, density, values):
    """G_nl(r), with l as the slow index."""
    k = min(int(r / density.spacing), len(density.table) - 1)
    x = r - k * density.spacing
    p = density.table[k]
    for f in range(p.shape[1]):
        values[f] = (
            ((((p[0, f] * x + p[1, f]) * x + p[2, f]) * x + p[3, f]) * x + p[4, f]) * x + p[5, f]
        )  # fmt: skip


@njit(cache=True, fastmath=FASTMATH)
def radial_derivatives(r, density, derivatives):
    """G'_nl(r)."""
    k = min(int(r / density.spacing), len(density.table) - 1)
    x = r - k * density.spacing
    p = density.table[k]
    for f in range(p.shape[1]):
        derivatives[f] = (
            ((5 * p[0, f] * x + 4 * p[1, f]) * x + 3 * p[2, f]) * x + 2 * p[3, f]
        ) * x + p[4, f]


@njit(cache=True)
def scratch(density):
    """Buffers of one thread for one neighbour at a time."""
    n_lm = (density.l_max + 1) ** 2
    n_radial = (density.l_max + 1) * density.n_max
    recursion, y, grad = np.empty((3, n_lm)), np.empty(n_lm), np.empty((3, n_lm))
    return recursion, y, grad, np.empty(n_radial), np.empty(n_radial)


@njit(cache=True, fastmath=FASTMATH)
def expand(vectors, indices, species, center, density, work, c):
    """c (n_lm, n_species * n_max) of one centre whose own species is ``center``."""
    recursion, y, _, g, _ = work
    n_max = density.n_max
    c[:] = 0.0
    for k in range(len(vectors)):
        dx, dy, dz = vectors[k]
        r = np.sqrt(dx * dx + dy * dy + dz * dz)
        w, _ = neighbor_weight(r, density)
        radial_values(r, density, g)
        harmonics(dx / r, dy / r, dz / r, density.norm, density.l_max, recursion, y)
        channel = species[indices[k]] * n_max
        for l in range(density.l_max + 1):
            for lm in range(l * l, (l + 1) * (l + 1)):
                wy = w * y[lm]
                for n in range(n_max):
                    c[lm, channel + n] += wy * g[l * n_max + n]
    at_zero = density.central_weight * density.norm[0]
    for n in range(n_max):
        c[0, center * n_max + n] += at_zero * density.table[0, 5, n]


@njit(cache=True, fastmath=FASTMATH)
def expansion_gradients(vectors, indices, species, density, work, dc, gradients):
    """dE/dr_j (n_neighbors, 3) for the cotangent dc (n_lm, n_species * n_max)."""
    recursion, y, grad, g, dg = work
    n_max = density.n_max
    for k in range(len(vectors)):
        dx, dy, dz = vectors[k]
        r = np.sqrt(dx * dx + dy * dy + dz * dz)
        dx, dy, dz = dx / r, dy / r, dz / r
        w, dw = neighbor_weight(r, density)
        radial_values(r, density, g)
        radial_derivatives(r, density, dg)
        harmonics_with_gradients(dx, dy, dz, density.norm, density.l_max, recursion, y, grad)
        channel = species[indices[k]] * n_max
        along, fx, fy, fz = 0.0, 0.0, 0.0, 0.0
        for l in range(density.l_max + 1):
            for lm in range(l * l, (l + 1) * (l + 1)):
                a, b = 0.0, 0.0
                for n in range(n_max):
                    a += dc[lm, channel + n] * g[l * n_max + n]
                    b += dc[lm, channel + n] * dg[l * n_max + n]
                along += y[lm] * ((dw - l * w / r) * a + w * b)
                fx += a * grad[0, lm]
                fy += a * grad[1, lm]
                fz += a * grad[2, lm]
        gradients[k, 0] = along * dx + w / r * fx
        gradients[k, 1] = along * dy + w / r * fy
        gradients[k, 2] = along * dz + w / r * fz


@njit(cache=True, fastmath=FASTMATH)
def neighbor_tangent(vector, density, work, tangent):
    """Derivative (3, n_lm, n_max) along its vector of what one neighbour adds to c."""
    recursion, y, grad, g, dg = work
    n_max = density.n_max
    r = np.sqrt((vector**2).sum())
    unit = vector / r
    w, dw = neighbor_weight(r, density)
    radial_values(r, density, g)
    radial_derivatives(r, density, dg)
    harmonics_with_gradients(
        unit[0], unit[1], unit[2], density.norm, density.l_max, recursion, y, grad
    )
    for axis in range(3):
        for l in range(density.l_max + 1):
            for lm in range(l * l, (l + 1) * (l + 1)):
                turn = w / r * (grad[axis, lm] - l * unit[axis] * y[lm]) + dw * unit[axis] * y[lm]
                along = w * unit[axis] * y[lm]
                for n in range(n_max):
                    tangent[axis, lm, n] = turn * g[l * n_max + n] + along * dg[l * n_max + n]


@njit(cache=True)
def mix(by_species, mixing, mixed):
    """mixed[lm, J n] = Σ_a U_Ja by_species[lm, a n]."""
    n_mixed, n_species = mixing.shape
    n_max = mixed.shape[1] // n_mixed
    mixed[:] = 0.0
    for lm in range(len(mixed)):
        for j in range(n_mixed):
            for a in range(n_species):
                for n in range(n_max):
                    mixed[lm, j * n_max + n] += mixing[j, a] * by_species[lm, a * n_max + n]


@njit(cache=True)
def unmix(mixed, mixing, by_species):
    """The transpose of `mix`."""
    n_mixed, n_species = mixing.shape
    n_max = mixed.shape[1] // n_mixed
    by_species[:] = 0.0
    for lm in range(len(mixed)):
        for j in range(n_mixed):
            for a in range(n_species):
                for n in range(n_max):
                    by_species[lm, a * n_max + n] += mixing[j, a] * mixed[lm, j * n_max + n]
