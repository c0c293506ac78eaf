"""Gaussians of functions of pairs and triples of atoms, added up on grids.

A term is c, the value of a function of two or three atoms, and its weight w. The grid has cells of
one width; u is c in cells from the beginning of the first one. A Gaussian is integrated over each
cell. These integrals are polynomials in the distance of u to the nearest of some places in a cell,
for which ``table`` (places, powers, cells) has the coefficients.

``numbers`` are the cutoff (Å), the decay and the sharpness of weights, the beginning of the grid,
the inverse width of a cell, that width in standard deviations, and their inverse.
"""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit

DISTANCE, INVERSE_DISTANCE, ANGLE, COSINE = range(4)
UNITY, EXPONENTIAL, INVERSE_SQUARE, SMOOTH_CUTOFF = range(4)
# Coefficients of a cell.
N_POWERS = 6

_CUTOFF, _DECAY, _SHARPNESS, _BEGIN, _CELLS, _SPREADS, _RATE = range(7)
_DEGREES = 180 / np.pi
# Below this sine three atoms are on a line, where an angle has no direction in which it grows.
_ON_A_LINE = 1e-7


@njit(cache=True, nogil=True)
def spectra(
    first, last, offsets, species, pair_offsets, indices, vectors, blocks, function, weighting,
    numbers, table, n_grid, values, cotangent, gradient, virial, gradients, strains,
):  # fmt: skip
    """Values of the structures first … last - 1, or gradients and virials for a cotangent.

    ``blocks[b, a, c]`` is the block of the grid of the species a and c, around b in a triple; of
    pairs, b is 0. Which arrays have rows says what is computed: with those of ``gradients``
    (atoms, 3, features) and ``strains`` (structures, 3, 3, features) it is the Jacobian.
    """
    most = 0
    for i in range(offsets[first], offsets[last]):
        most = max(most, pair_offsets[i + 1] - pair_offsets[i])
    lengths, own, slopes = np.empty(most), np.empty(most), np.empty(most)
    # of both vectors of a term, of its weight and of its value
    pulls, sums = np.zeros((2, 2, 3)), np.empty((2, table.shape[2]))
    ends = np.zeros((2, 2), np.int64)
    with_slopes, n_vectors = len(values) == 0, 1 if function < ANGLE else 2
    for s in range(first, last):
        for i in range(offsets[s], offsets[s + 1]):
            begin, n = pair_offsets[i], pair_offsets[i + 1] - pair_offsets[i]
            for p in range(n):
                x, y, z = vectors[begin + p, 0], vectors[begin + p, 1], vectors[begin + p, 2]
                r = np.sqrt(x * x + y * y + z * z)
                lengths[p] = r
                own[p], slopes[p] = _weight(r, weighting, numbers)
            for p in range(n):
                j, n_second = indices[begin + p], p
                if function < ANGLE:  # a term of one vector
                    if j < i:
                        continue
                    n_second = 1
                for q in range(n_second):
                    if function < ANGLE:
                        k, center = i, 0
                        # its own images come in both directions
                        half = 0.5 if j == i else 1.0
                        c, w = _pair(
                            begin + p, lengths[p], half * own[p], half * slopes[p], vectors,
                            function, numbers, pulls,
                        )  # fmt: skip
                    else:
                        k, center = indices[begin + q], species[i]
                        c, w = _triple(
                            begin + p, begin + q, lengths[p], lengths[q], own[p], own[q],
                            slopes[p], slopes[q], vectors, function, weighting, numbers,
                            with_slopes, pulls,
                        )  # fmt: skip
                        if w == 0.0:
                            continue
                    ends[0, 0], ends[0, 1], ends[1, 0], ends[1, 1] = i, j, i, k
                    u = (c - numbers[_BEGIN]) * numbers[_CELLS]
                    column = n_grid * blocks[center, species[j], species[k]]
                    _use(
                        s, n_vectors, u, w, column, n_grid, numbers[_SPREADS], table, values,
                        cotangent, vectors, begin + p, begin + q, pulls, ends, sums, gradient,
                        virial, gradients, strains,
                    )  # fmt: skip


@callee(cache=True)
def _pair(p, r, weight, slope, vectors, function, numbers, pulls):
    """The value and the weight of a pair, and what pulls at its vector."""
    c, along = r, weight * numbers[_RATE]
    if function == INVERSE_DISTANCE:
        c = 1 / r
        along *= -c * c
    for a in range(3):
        pulls[0, 0, a] = slope * vectors[p, a] / r
        pulls[0, 1, a] = along * vectors[p, a] / r
    return c, weight


@callee(cache=True)
def _weight(r, weighting, numbers):
    """The weight of a distance, and its slope."""
    if weighting == EXPONENTIAL:
        w = np.exp(-numbers[_DECAY] * r)
        return w, -numbers[_DECAY] * w
    if weighting == INVERSE_SQUARE:
        w = 1 / (r * r)
        return w, -2 * w / r
    if weighting == SMOOTH_CUTOFF:
        y, x = numbers[_SHARPNESS], r / numbers[_CUTOFF]
        power = x ** (y - 1)
        w = 1 + (y * x - (y + 1)) * x * power
        return w, y * (y + 1) * (x - 1) * power / numbers[_CUTOFF]
    return 1.0, 0.0


@callee(cache=True)
def _triple(
    p, q, r, t, own, other, slope, other_slope, vectors, function, weighting, numbers,
    with_slopes, pulls,
):  # fmt: skip
    """The value and the weight of the vectors p and q of one atom, and what pulls at them."""
    dot, square, cross = 0.0, 0.0, 0.0
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        dot += vectors[p, a] * vectors[q, a]
        across = vectors[p, a] - vectors[q, a]
        square += across * across
        normal = vectors[p, b] * vectors[q, c] - vectors[p, c] * vectors[q, b]
        cross += normal * normal
    cosine = dot / (r * t)
    w, across = own * other, 0.0
    if weighting == EXPONENTIAL:
        across = np.sqrt(square)
        if r + t + across > 2 * numbers[_CUTOFF]:
            return 0.0, 0.0
        w *= np.exp(-numbers[_DECAY] * across)
    value, along = cosine, 1.0
    if function == ANGLE:  # next to 0 and 180 degrees an arc cosine would have few digits
        cross = np.sqrt(cross)
        value = _DEGREES * np.arctan2(cross, dot)
        along = -_DEGREES * (r * t) / cross if cross > _ON_A_LINE * (r * t) else 0.0
    if with_slopes:
        along *= w * numbers[_RATE]
        of_p, of_q = slope * other, other_slope * own
        if weighting == EXPONENTIAL:
            of_p = of_q = -numbers[_DECAY] * w
        for a in range(3):
            x, y = vectors[p, a], vectors[q, a]
            pulls[0, 1, a] = along * (y / t - cosine * x / r) / r
            pulls[1, 1, a] = along * (x / r - cosine * y / t) / t
            pulls[0, 0, a] = of_p * x / r
            pulls[1, 0, a] = of_q * y / t
            if weighting == EXPONENTIAL:
                pull = of_p * (x - y) / across
                pulls[0, 0, a] += pull
                pulls[1, 0, a] -= pull
    return value, w


@callee(cache=True)
def _use(
    s, n_vectors, u, weight, column, n_grid, spreads, table, values, cotangent, vectors, p, q,
    pulls, ends, sums, gradient, virial, gradients, strains,
):  # fmt: skip
    """Add what a term gives to the arrays that have rows."""
    half = table.shape[2] // 2
    if not -half - 1 < u < n_grid + half + 1:
        return
    cell = int(np.floor(u))
    place = int((u - cell) * len(table) + 0.5)
    delta = (u - cell - place / len(table)) * spreads
    if place == len(table):
        cell, place = cell + 1, 0
    first, last = max(0, cell - half), min(n_grid, cell + half + 1)
    if first >= last:
        return
    begin, end = column + first, column + last
    shift = half - cell
    rows = table[place]
    if len(values) > 0:
        _add_cells(rows, first + shift, last + shift, weight, delta, values[s, begin:end])
        return
    if len(cotangent) > 0:
        of_weight, of_value = _sum_cells(
            rows, first + shift, last + shift, delta, cotangent[s, begin:end]
        )
        for v in range(n_vectors):
            here = p if v == 0 else q
            for a in range(3):
                pull = of_weight * pulls[v, 0, a] + of_value * pulls[v, 1, a]
                gradient[ends[v, 0], a] -= pull
                gradient[ends[v, 1], a] += pull
                for b in range(3):
                    virial[s, a, b] += pull * vectors[here, b]
        return
    _write_cells(rows, first + shift, last + shift, delta, sums)
    for v in range(n_vectors):
        here = p if v == 0 else q
        for a in range(3):
            of_weight, of_value = pulls[v, 0, a], pulls[v, 1, a]
            _add_rows(sums, -of_weight, -of_value, gradients[ends[v, 0], a, begin:end])
            _add_rows(sums, of_weight, of_value, gradients[ends[v, 1], a, begin:end])
            for b in range(3):
                x = vectors[here, b]
                _add_rows(sums, of_weight * x, of_value * x, strains[s, a, b, begin:end])


@callee(cache=True, fastmath=FASTMATH)
def _add_cells(rows, first, last, weight, x, out):
    """Add the integrals of a Gaussian over some cells to ``out``."""
    t0, t1, t2 = rows[0, first:last], rows[1, first:last], rows[2, first:last]
    t3, t4, t5 = rows[3, first:last], rows[4, first:last], rows[5, first:last]
    c1 = weight * x
    c2 = c1 * x
    c3 = c2 * x
    c4 = c3 * x
    c5 = c4 * x
    for k in range(len(out)):
        low = weight * t0[k] + c1 * t1[k] + c2 * t2[k]
        out[k] += low + (c3 * t3[k] + c4 * t4[k] + c5 * t5[k])


@callee(cache=True, fastmath=FASTMATH)
def _sum_cells(rows, first, last, x, cotangent):
    """The sum of these integrals times the cotangent, and its slope along x."""
    t0, t1, t2 = rows[0, first:last], rows[1, first:last], rows[2, first:last]
    t3, t4, t5 = rows[3, first:last], rows[4, first:last], rows[5, first:last]
    s0, s1, s2, s3, s4, s5 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(len(cotangent)):
        c = cotangent[k]
        s0 += c * t0[k]
        s1 += c * t1[k]
        s2 += c * t2[k]
        s3 += c * t3[k]
        s4 += c * t4[k]
        s5 += c * t5[k]
    value = s0 + x * (s1 + x * (s2 + x * (s3 + x * (s4 + x * s5))))
    return value, s1 + x * (2 * s2 + x * (3 * s3 + x * (4 * s4 + x * 5 * s5)))


@callee(cache=True, fastmath=FASTMATH)
def _write_cells(rows, first, last, x, sums):
    """The integrals over some cells, and their slopes along x."""
    for k in range(last - first):
        m = first + k
        t3, t4, t5 = rows[3, m], rows[4, m], rows[5, m]
        high = t3 + x * (t4 + x * t5)
        sums[0, k] = rows[0, m] + x * (rows[1, m] + x * (rows[2, m] + x * high))
        high = 3 * t3 + x * (4 * t4 + x * 5 * t5)
        sums[1, k] = rows[1, m] + x * (2 * rows[2, m] + x * high)


@callee(cache=True, fastmath=FASTMATH)
def _add_rows(sums, of_weight, of_value, out):
    for k in range(len(out)):
        out[k] += of_weight * sums[0, k] + of_value * sums[1, k]
