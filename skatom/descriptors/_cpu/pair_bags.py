"""Sums and bags of functions of the distances in molecules, by element."""

import numpy as np

from skatom._numba import njit

_COINCIDENT = 1e-6


@njit(cache=True, nogil=True)
def bonds(
    first, last, offsets, positions, species, charges, diagonal, bags, starts, scale, slots,
    values, cotangent, gradient, virial,
):  # fmt: skip
    """Z_i Z_j / r_ij of the pairs of every bag and ½ Z^2.4 of atoms, in the order of atoms.

    ``bags[a, b]`` is the bag of the species a and b, ``bags[a, -1]`` that of the atoms a. A
    cotangent in the same order has a gradient and a virial; without rows, there are values.
    ``slots`` (n, n_bags) is memory for counters. Two atoms at the same place are returned.
    """
    vector = np.empty(3)
    for s in range(first, last):
        for i in range(offsets[s], offsets[s + 1]):
            bag = bags[species[i], -1]
            if len(values) > 0:
                values[s, starts[bag] + slots[s, bag]] = diagonal[i]
            slots[s, bag] += 1
            for j in range(offsets[s], i):
                square = 0.0
                for a in range(3):
                    vector[a] = positions[i, a] - positions[j, a]
                    square += vector[a] * vector[a]
                if square < _COINCIDENT:
                    return j, i
                value = scale * charges[i] * charges[j] / np.sqrt(square)
                bag = bags[species[i], species[j]]
                place = starts[bag] + slots[s, bag]
                slots[s, bag] += 1
                if len(values) > 0:
                    values[s, place] = value
                if len(cotangent) > 0:
                    slope = -value / square * cotangent[s, place]
                    for a in range(3):
                        gradient[i, a] += slope * vector[a]
                        gradient[j, a] -= slope * vector[a]
                        for b in range(3):
                            virial[s, a, b] += slope * vector[a] * vector[b]
    return -1, -1


@njit(cache=True, nogil=True)
def powers(
    first, last, offsets, positions, species, radii, n_pairs, n_triples, pairs, triples,
    n_pair_features, values, cotangent, gradient, virial,
):  # fmt: skip
    """Sums of r^-m over pairs, and of r_ij^-m r_ik^-n r_jk^-p over triples, for each elements.

    ``pairs[a, b]`` and ``triples[a, b, c]`` are the blocks of species. The radii of bonds are
    infinite where all triples count. Values are added up, or, for a cotangent, its gradient and
    virial. Two atoms at the same place are returned.
    """
    size = 0
    for s in range(first, last):
        size = max(size, offsets[s + 1] - offsets[s])
    most = max(n_pairs, n_triples, 1)
    inverse = np.empty((size, size, most + 1))
    bonded = np.empty((size, size), np.bool_)
    pull = np.empty((size, size))
    for s in range(first, last):
        begin, n = offsets[s], offsets[s + 1] - offsets[s]
        for i in range(n):
            for j in range(i):
                square = 0.0
                for a in range(3):
                    x = positions[begin + i, a] - positions[begin + j, a]
                    square += x * x
                if square < _COINCIDENT:
                    return begin + j, begin + i
                r = np.sqrt(square)
                bond = r < radii[begin + i] + radii[begin + j]
                bonded[i, j] = bond
                bonded[j, i] = bond
                power = 1.0
                for m in range(most + 1):
                    inverse[i, j, m] = power
                    inverse[j, i, m] = power
                    power /= r
                pull[i, j] = 0.0
                pull[j, i] = 0.0
                column = pairs[species[begin + i], species[begin + j]] * n_pairs
                for m in range(1, n_pairs + 1):
                    if len(values) > 0:
                        values[s, column + m - 1] += inverse[i, j, m]
                    if len(cotangent) > 0:
                        pull[i, j] -= m * inverse[i, j, m] * cotangent[s, column + m - 1]
        if n_triples > 0:
            for i in range(n):
                a = species[begin + i]
                for j in range(n):
                    b = species[begin + j]
                    if j == i or b < a:
                        continue
                    for k in range(n):
                        c = species[begin + k]
                        if c < b or k == i:
                            continue
                        if k == j:
                            continue
                        near = int(bonded[i, j]) + int(bonded[i, k]) + int(bonded[j, k])
                        if near < 2:
                            continue
                        column = n_pair_features + triples[a, b, c]
                        for m in range(1, n_triples + 1):
                            for p in range(1, n_triples + 1):
                                two = inverse[i, j, m] * inverse[i, k, p]
                                for q in range(1, n_triples + 1):
                                    value = two * inverse[j, k, q]
                                    if len(values) > 0:
                                        values[s, column] += value
                                    if len(cotangent) > 0:
                                        value *= cotangent[s, column]
                                        pull[i, j] -= m * value
                                        pull[i, k] -= p * value
                                        pull[j, k] -= q * value
                                    column += 1
        if len(cotangent) > 0:
            for i in range(n):
                for j in range(i):
                    # pull is r dE/dr
                    slope = (pull[i, j] + pull[j, i]) * inverse[i, j, 1] * inverse[i, j, 1]
                    for a in range(3):
                        x = positions[begin + i, a] - positions[begin + j, a]
                        gradient[begin + i, a] += slope * x
                        gradient[begin + j, a] -= slope * x
                        for b in range(3):
                            y = positions[begin + i, b] - positions[begin + j, b]
                            virial[s, a, b] += slope * x * y
    return -1, -1
