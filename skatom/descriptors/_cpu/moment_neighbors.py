"""The neighbours of one centre side by side: radial functions, monomials, moments, the way back.

Row m of an array has one quantity of all neighbours, so that one instruction serves several. Those
of a species are together, and begin at a multiple of `SIDE`; places that are left between have
neighbours at the cutoff, whose radial functions are zero.
"""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee

SIDE = 8


class Moments(NamedTuple):
    """What moments and their contractions need to know, for compiled code."""

    cutoff: float
    r_min: float
    unit_vectors: bool
    by_center: bool  # a block of features for every species of the centre
    n_bias: int  # 1: a feature that is 1, before the contractions
    mixing: np.ndarray  # (n_channels, n_species)
    # of radial functions, (n_mu, n_species, n_species, n_radial), by centre and neighbour; or none
    coefficients: np.ndarray
    # see contractions.Program
    degrees: np.ndarray
    starts: np.ndarray
    left: np.ndarray
    right: np.ndarray
    factors: np.ndarray
    scalars: np.ndarray


class Neighbors(NamedTuple):
    """The neighbours of one centre, with places for the most that a centre has."""

    first: np.ndarray  # (n_species + 1,), the first place of each species
    places: np.ndarray  # (n_neighbors,)
    ends: np.ndarray  # (3, width): of what monomials are taken, unit vectors or vectors
    lengths: np.ndarray  # (width,)
    f: np.ndarray  # (n_mu, width): radial functions, and their slopes
    df: np.ndarray
    values: np.ndarray  # (n_monomials, width)
    q: np.ndarray  # (n_radial, width): polynomials, and their slopes
    dq: np.ndarray
    motions: np.ndarray  # (3, width): changes of the ends
    along: np.ndarray  # (width,): changes of the lengths
    changes: np.ndarray  # (n_monomials, width): changes of the monomials
    spare: np.ndarray  # (width,)


@callee(cache=True)
def n_monomials(degree):
    """Monomials of degree up to ``degree``."""
    return (degree + 1) * (degree + 2) * (degree + 3) // 6


@callee(cache=True)
def n_components(moments):
    """Components of all moments of one channel."""
    total = 0
    for degree in moments.degrees:
        total += n_monomials(degree)
    return total


@callee(allocates=True, cache=True)
def empty_neighbors(first, last, starts, moments):
    """Memory for the neighbours of any of the centres first … last - 1."""
    most = 0
    for i in range(first, last):
        most = max(most, starts[i + 1] - starts[i])
    n_species = moments.mixing.shape[1]
    width = (most + SIDE - 1) // SIDE * SIDE + SIDE * (n_species - 1)
    n_mu, size, n_radial = len(moments.degrees), n_monomials(moments.degrees[0]), 0
    n_radial = moments.coefficients.shape[3]
    return Neighbors(
        np.empty(n_species + 1, np.int64), np.empty(most, np.int64), np.empty((3, width)),
        np.empty(width), np.empty((n_mu, width)), np.empty((n_mu, width)),
        np.empty((size, width)), np.empty((n_radial, width)), np.empty((n_radial, width)),
        np.empty((3, width)), np.empty(width), np.empty((size, width)), np.empty(width),
    )  # fmt: skip


@callee(cache=True)
def place_neighbors(vectors, center, species, moments, near):
    """The neighbours of a centre side by side, with radial functions and monomials."""
    width = _sort(vectors, species, moments.cutoff, near.first, near.places, near.ends)
    x, y, z = near.ends[0, :width], near.ends[1, :width], near.ends[2, :width]
    lengths = near.lengths[:width]
    _measure(x, y, z, lengths)
    if moments.unit_vectors:
        _divide(x, lengths)
        _divide(y, lengths)
        _divide(z, lengths)
    _radial(center, moments, near, lengths)
    _monomials(x, y, z, moments.degrees[0], near.values)


@callee(cache=True)
def _sort(vectors, species, cutoff, first, places, ends):
    """Place the vectors by species; returns the number of places."""
    n_species = len(first) - 1
    first[:] = 0
    for k in range(len(vectors)):
        places[k] = first[species[k] + 1]  # among those of its species
        first[species[k] + 1] += 1
    for s in range(n_species):
        first[s + 1] = first[s] + (first[s + 1] + SIDE - 1) // SIDE * SIDE
    for i in range(first[n_species]):
        ends[0, i], ends[1, i], ends[2, i] = cutoff, 0.0, 0.0
    for k in range(len(vectors)):
        place = first[species[k]] + places[k]
        places[k] = place
        ends[0, place], ends[1, place], ends[2, place] = (
            vectors[k, 0],
            vectors[k, 1],
            vectors[k, 2],
        )
    return first[n_species]


@callee(cache=True, fastmath=FASTMATH)
def _measure(x, y, z, lengths):
    for i in range(len(lengths)):
        lengths[i] = np.sqrt(x[i] * x[i] + y[i] * y[i] + z[i] * z[i])


@callee(cache=True, fastmath=FASTMATH)
def _divide(row, by):
    for i in range(len(by)):
        row[i] /= by[i]


@callee(cache=True)
def _radial(center, moments, near, lengths):
    """f_μ(r) and f'_μ(r); combinations of polynomials where there are coefficients."""
    c = moments.coefficients
    if c.shape[3] == 0:
        _chebyshev(lengths, moments.cutoff, moments.r_min, near.spare, near.f, near.df)
        return
    _chebyshev(lengths, moments.cutoff, moments.r_min, near.spare, near.q, near.dq)
    for s in range(c.shape[2]):
        a, b = near.first[s], near.first[s + 1]
        for mu in range(c.shape[0]):
            combine(c[mu, center, s], near.q, a, near.f[mu, a:b])
            combine(c[mu, center, s], near.dq, a, near.df[mu, a:b])


@callee(cache=True, fastmath=FASTMATH)
def _chebyshev(lengths, cutoff, r_min, x, f, df):
    """T_μ(ξ) (cutoff - r)² and its slope, by the recursion of T, which is linear."""
    scale, width = 2 / (cutoff - r_min), len(lengths)
    for i in range(width):
        x[i] = 1 - scale * (cutoff - lengths[i])
    for i in range(width):
        f[0, i] = (cutoff - lengths[i]) * (cutoff - lengths[i])
    for i in range(width):
        df[0, i] = -2 * (cutoff - lengths[i])
    if len(f) > 1:
        t, dt, above, dabove = f[0], df[0], f[1], df[1]
        for i in range(width):
            above[i] = x[i] * t[i]
        for i in range(width):
            dabove[i] = x[i] * dt[i] + scale * t[i]
    for mu in range(1, len(f) - 1):
        t, dt, above, dabove = f[mu], df[mu], f[mu + 1], df[mu + 1]
        below, dbelow = f[mu - 1], df[mu - 1]
        for i in range(width):
            above[i] = 2 * x[i] * t[i] - below[i]
        for i in range(width):
            dabove[i] = 2 * (x[i] * dt[i] + scale * t[i]) - dbelow[i]


@callee(cache=True, fastmath=FASTMATH)
def _monomials(x, y, z, degree, values):
    """x^a y^b z^c, by degree, then by b + c, then by c."""
    for i in range(len(x)):
        values[0, i] = 1.0
    start, stop = 0, 1
    for n in range(1, degree + 1):
        size = stop - start
        for k in range(size):
            _multiply(x, values[start + k], values[stop + k])
        for k in range(size - n, size):
            _multiply(y, values[start + k], values[stop + k + n])
        _multiply(z, values[stop - 1], values[stop + size + n])
        start, stop = stop, stop + size + n + 1


@callee(cache=True, fastmath=FASTMATH)
def _multiply(a, b, out):
    """Over the length of a, the shortest."""
    for i in range(len(a)):
        out[i] = a[i] * b[i]


@callee(cache=True, fastmath=FASTMATH)
def combine(weights, rows, start, out):
    """Σ_m weights_m rows_m of the places from ``start`` on."""
    n, width = len(weights), len(out)
    for i in range(width):
        out[i] = 0.0
    for m in range(0, n - 3, 4):  # what is read and written once for four takes half the time
        a, b = rows[m, start : start + width], rows[m + 1, start : start + width]
        c, d = rows[m + 2, start : start + width], rows[m + 3, start : start + width]
        wa, wb, wc, wd = weights[m], weights[m + 1], weights[m + 2], weights[m + 3]
        for i in range(width):
            out[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i]
    for m in range(n - n % 4, n):
        a, wa = rows[m, start : start + width], weights[m]
        for i in range(width):
            out[i] += wa * a[i]


# --- moments ------------------------------------------------------------------------------------


@callee(cache=True)
def sum_moments(near, degrees, out):
    """M_μν (n_species, n_components) of the centre, of each species of neighbours."""
    for s in range(len(out)):
        a, b = near.first[s], near.first[s + 1]
        place = 0
        for mu in range(len(degrees)):
            f = near.f[mu, a:b]
            for m in range(n_monomials(degrees[mu])):
                out[s, place] = _dot(f, near.values[m, a:b])
                place += 1


@callee(cache=True, fastmath=FASTMATH)
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@callee(cache=True)
def differentiate(weights, degrees, out):
    """From W, the weights of monomials, those (3, n_components) of their gradients.

    Σ_m W_m ∂(x^a y^b z^c)/∂x = Σ_m' (a' + 1) W_m x^a' y^b' z^c',  m = (a' + 1, b', c').
    """
    offset = 0
    for degree in degrees:
        place, above = offset, offset + 1  # of x^a' y^b' z^c', and of the first one degree higher
        for n in range(degree):
            for s in range(n + 1):
                row = above + (s + 1) * (s + 2) // 2
                for c in range(s + 1):
                    out[0, place] = (n - s + 1) * weights[above + s * (s + 1) // 2 + c]
                    out[1, place] = (s - c + 1) * weights[row + c]
                    out[2, place] = (c + 1) * weights[row + c + 1]
                    place += 1
            above += (n + 2) * (n + 3) // 2
        offset = above


@callee(cache=True)
def moment_gradients(near, moments, cotangent, slopes, out):
    """dE/dr_j (n_neighbors, 3) for dE/dM (n_species, n_components).

    ``slopes``: scratch (3, n_components).
    """
    pull, along = near.motions, near.along
    width = near.first[len(cotangent)]
    pull[:, :width] = 0.0
    along[:width] = 0.0
    for s in range(len(cotangent)):
        a, b = near.first[s], near.first[s + 1]
        if a == b:
            continue
        differentiate(cotangent[s], moments.degrees, slopes)
        spare, start = near.spare[a:b], 0
        for mu in range(len(moments.degrees)):
            degree = moments.degrees[mu]
            stop = start + n_monomials(degree)
            combine(cotangent[s, start:stop], near.values, a, spare)
            _add_product(near.df[mu, a:b], spare, along[a:b])
            if degree > 0:
                below = start + n_monomials(degree - 1)
                for axis in range(3):
                    combine(slopes[axis, start:below], near.values, a, spare)
                    _add_product(near.f[mu, a:b], spare, pull[axis, a:b])
            start = stop
    for k in range(len(out)):
        p = near.places[k]
        x, y, z, r = near.ends[0, p], near.ends[1, p], near.ends[2, p], near.lengths[p]
        gx, gy, gz, g = pull[0, p], pull[1, p], pull[2, p], along[p]
        if moments.unit_vectors:
            # only the part across r turns the unit vector, by 1/r
            g -= (gx * x + gy * y + gz * z) / r
            gx, gy, gz = gx / r, gy / r, gz / r
        else:
            g /= r
        out[k, 0], out[k, 1], out[k, 2] = gx + g * x, gy + g * y, gz + g * z


@callee(cache=True, fastmath=FASTMATH)
def _add_product(a, b, out):
    for i in range(len(out)):
        out[i] += a[i] * b[i]


# --- changes ------------------------------------------------------------------------------------


@callee(cache=True, fastmath=FASTMATH)
def move_neighbors(near, moments):
    """Changes of lengths and monomials for ``near.motions``, which become those of the ends."""
    width = near.first[len(near.first) - 1]
    for i in range(width):
        x, y, z, r = near.ends[0, i], near.ends[1, i], near.ends[2, i], near.lengths[i]
        dx, dy, dz = near.motions[0, i], near.motions[1, i], near.motions[2, i]
        along = x * dx + y * dy + z * dz
        if moments.unit_vectors:
            near.motions[0, i] = (dx - along * x) / r
            near.motions[1, i] = (dy - along * y) / r
            near.motions[2, i] = (dz - along * z) / r
        else:
            along /= r
        near.along[i] = along
    _monomial_changes(near.ends, near.motions, moments.degrees[0], width, near.values, near.changes)


@callee(cache=True)
def _monomial_changes(ends, motions, degree, width, values, out):
    """Changes of the monomials for those of x, y and z."""
    for i in range(width):
        out[0, i] = 0.0
    start, stop = 0, 1
    for n in range(1, degree + 1):
        size = stop - start
        for k in range(size + n + 1):
            # the rows below of x, of y and of z
            axis, below = 0, start + k
            if k >= size:
                axis, below = 1, start + k - n
            if k == size + n:
                axis, below = 2, stop - 1
            _product_rule(
                ends[axis, :width], motions[axis], values[below], out[below], out[stop + k]
            )
        start, stop = stop, stop + size + n + 1


@callee(cache=True, fastmath=FASTMATH)
def _product_rule(a, da, b, db, out):
    """Over the length of a, the shortest."""
    for i in range(len(a)):
        out[i] = a[i] * db[i] + da[i] * b[i]


@callee(cache=True)
def moment_changes(near, degrees, out):
    """Changes (width, n_components) of what each neighbour adds to the moments."""
    for i in range(near.first[len(near.first) - 1]):
        along, place = near.along[i], 0
        for mu in range(len(degrees)):
            f, slope = near.f[mu, i], near.df[mu, i] * along
            for m in range(n_monomials(degrees[mu])):
                out[i, place] = f * near.changes[m, i] + slope * near.values[m, i]
                place += 1
