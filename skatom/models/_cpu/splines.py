"""Cubic splines of pairs and triangles of atoms on uniform grids, evaluated on plain arrays.

A table holds the smooth part S of the energy of an n-plet, the factor of the cutoff functions F
left out: E = Σ F(T) S(T). B-spline coefficient m belongs to knot m - 1, so that four of them from m
on make the spline between the knots m and m + 1. Below the first knot S is extrapolated linearly.
"""

import numpy as np

from skatom._cpu.cutoffs import cutoff_function
from skatom._numba import njit


@njit(cache=True, inline="always")
def _weights(r, low, step, last, values, slopes):
    """The four B-splines at r and their slopes; returns the index of the first."""
    x = (r - low) / step
    cell = min(max(int(x), 0), last)
    beyond = min(x, 0.0)
    t = max(x - cell, 0.0)
    s = 1 - t
    values[0] = s * s * s / 6
    values[1] = (3 * t * t * t - 6 * t * t + 4) / 6
    values[2] = (3 * s * s * s - 6 * s * s + 4) / 6
    values[3] = t * t * t / 6
    slopes[0] = -0.5 * s * s / step
    slopes[1] = (1.5 * t * t - 2 * t) / step
    slopes[2] = (2 * s - 1.5 * s * s) / step
    slopes[3] = 0.5 * t * t / step
    for k in range(4):
        values[k] += beyond * step * slopes[k]
    return cell


@njit(cache=True, nogil=True)
def pair_splines(
    first, last, starts, neighbors, distances, species, which, coefficients, grid, cutoff, energies,
    slopes,
):  # fmt: skip
    """Add the energies of the pairs of each centre, and dE/dr of each pair.

    ``which`` (species, species) is the table of two species, -1 where there is none; ``grid`` is
    the first knot and the spacing; ``cutoff`` is kind, radius and width.
    """
    low, step = grid
    kind, radius, width = cutoff
    b, db = np.empty(4), np.empty(4)
    last_cell = coefficients.shape[1] - 4
    for i in range(first, last):
        for p in range(starts[i], starts[i + 1]):
            table = which[species[i], species[neighbors[p]]]
            r = distances[p]
            if table < 0 or r >= radius:
                continue
            f, df = cutoff_function(kind, radius, width, r)
            m = _weights(r, low, step, last_cell, b, db)
            value = slope = 0.0
            for k in range(4):
                value += coefficients[table, m + k] * b[k]
                slope += coefficients[table, m + k] * db[k]
            energies[i] += f * value
            slopes[p] += df * value + f * slope


@njit(cache=True, inline="always")
def _contract(table, m0, m1, m2, b0, b1, b2, d0, d1, d2, out):
    """S and ∂S/∂T of a tricubic spline."""
    out[:] = 0
    for a in range(4):
        v0 = v1 = v2 = 0.0
        for b in range(4):
            row = table[m0 + a, m1 + b]
            value = row[m2] * b2[0] + row[m2 + 1] * b2[1]
            value += row[m2 + 2] * b2[2] + row[m2 + 3] * b2[3]
            slope = row[m2] * d2[0] + row[m2 + 1] * d2[1]
            slope += row[m2 + 2] * d2[2] + row[m2 + 3] * d2[3]
            v0 += b1[b] * value
            v1 += d1[b] * value
            v2 += b1[b] * slope
        out[0] += b0[a] * v0
        out[1] += d0[a] * v0
        out[2] += b0[a] * v1
        out[3] += b0[a] * v2


@njit(cache=True, nogil=True)
def triangle_splines(
    first, last, starts, neighbors, vectors, distances, species, which, places, coefficients, grid,
    cutoff, energies, gradients,
):  # fmt: skip
    """Add the energies of the triangles of each centre, and dE/dr_ij (n_pairs, 3).

    ``which`` and ``places`` (species, species, species) are the table of the species of i, j and k
    and which side is which of its coordinates: 0 is r_jk, 1 is r_ik, 2 is r_ij.
    """
    low, step = grid
    kind, radius, width = cutoff
    largest = 0
    for i in range(first, last):
        largest = max(largest, starts[i + 1] - starts[i])
    cells = np.empty(largest + 1, np.int64)  # of the pairs, and last of r_jk
    b, db = np.empty((largest + 1, 4)), np.empty((largest + 1, 4))
    f, df = np.empty(largest + 1), np.empty(largest + 1)
    entry = np.empty(3, np.int64)
    s, slopes, unit = np.empty(4), np.empty(3), np.empty(3)
    last_cell = coefficients.shape[1] - 4
    for i in range(first, last):
        begin, n = starts[i], starts[i + 1] - starts[i]
        for p in range(n):
            r = distances[begin + p]
            f[p], df[p] = cutoff_function(kind, radius, width, r)
            cells[p] = _weights(r, low, step, last_cell, b[p], db[p])
        for p in range(n):
            if distances[begin + p] >= radius:
                continue
            for q in range(p + 1, n):
                if distances[begin + q] >= radius:
                    continue
                square = 0.0
                for x in range(3):
                    unit[x] = vectors[begin + q, x] - vectors[begin + p, x]
                    square += unit[x] * unit[x]
                if square >= radius * radius:
                    continue
                sj, sk = species[neighbors[begin + p]], species[neighbors[begin + q]]
                table = which[species[i], sj, sk]
                if table < 0:
                    continue
                r = np.sqrt(square)
                f[n], df[n] = cutoff_function(kind, radius, width, r)
                cells[n] = _weights(r, low, step, last_cell, b[n], db[n])
                entry[0], entry[1], entry[2] = n, q, p
                place = places[species[i], sj, sk]
                u, v, w = entry[place[0]], entry[place[1]], entry[place[2]]
                _contract(
                    coefficients[table], cells[u], cells[v], cells[w], b[u], b[v], b[w], db[u],
                    db[v], db[w], s,
                )  # fmt: skip
                energies[i] += f[u] * f[v] * f[w] * s[0]
                slopes[place[0]] = f[v] * f[w] * (df[u] * s[0] + f[u] * s[1])
                slopes[place[1]] = f[u] * f[w] * (df[v] * s[0] + f[v] * s[2])
                slopes[place[2]] = f[u] * f[v] * (df[w] * s[0] + f[w] * s[3])
                to_j = slopes[2] / distances[begin + p]
                to_k = slopes[1] / distances[begin + q]
                between = slopes[0] / r
                for x in range(3):
                    pull = between * unit[x]
                    gradients[begin + p, x] += to_j * vectors[begin + p, x] - pull
                    gradients[begin + q, x] += to_k * vectors[begin + q, x] + pull


@njit(cache=True, nogil=True)
def single_pairs(r, table, grid, cutoff, energies, slopes):
    """E and dE/dr (n,) of pairs at distances r (n,)."""
    low, step = grid
    kind, radius, width = cutoff
    b, db = np.empty(4), np.empty(4)
    for n in range(len(r)):
        f, df = cutoff_function(kind, radius, width, r[n])
        m = _weights(r[n], low, step, len(table) - 4, b, db)
        value = slope = 0.0
        for k in range(4):
            value += table[m + k] * b[k]
            slope += table[m + k] * db[k]
        energies[n] = f * value
        slopes[n] = df * value + f * slope


@njit(cache=True, nogil=True)
def single_triangles(sides, table, grid, cutoff, energies, slopes):
    """E (n,) and dE/dT (n, 3) of triangles with the sides T (n, 3), in the order of the table."""
    low, step = grid
    kind, radius, width = cutoff
    b, db = np.empty((3, 4)), np.empty((3, 4))
    f, df, s = np.empty(3), np.empty(3), np.empty(4)
    cells = np.empty(3, np.int64)
    for n in range(len(sides)):
        for k in range(3):
            f[k], df[k] = cutoff_function(kind, radius, width, sides[n, k])
            cells[k] = _weights(sides[n, k], low, step, len(table) - 4, b[k], db[k])
        _contract(table, cells[0], cells[1], cells[2], b[0], b[1], b[2], db[0], db[1], db[2], s)
        energies[n] = f[0] * f[1] * f[2] * s[0]
        slopes[n, 0] = f[1] * f[2] * (df[0] * s[0] + f[0] * s[1])
        slopes[n, 1] = f[0] * f[2] * (df[1] * s[0] + f[1] * s[2])
        slopes[n, 2] = f[0] * f[1] * (df[2] * s[0] + f[2] * s[3])
