"""Matrices whose elements are functions of two atoms, and the derivatives of these elements.

Every function fills the matrices of the structures first … last - 1, both triangles, and returns
the indices of two atoms at the same place, or -1, -1. For j < i, ``slopes[s, j, i]`` is the
derivative with respect to r_i, of which that with respect to r_j is the negative, and
``strains[s, j, i]`` that with respect to the strain, for j = i too. Without derivatives ``slopes``
and ``strains`` have no rows.
"""

import math

import numpy as np

from skatom._numba import njit

# squared distance (Å²) of two atoms that count as one
_COINCIDENT = 1e-6
_INVERSE_ROOT_PI = 1 / math.sqrt(math.pi)


@njit(cache=True, nogil=True)
def coulomb(first, last, offsets, positions, charges, diagonal, scale, matrices, slopes, strains):
    """Z_i Z_j / r_ij."""
    for s in range(first, last):
        row, begin, end = s - first, offsets[s], offsets[s + 1]
        for i in range(begin, end):
            matrices[row, i - begin, i - begin] = diagonal[i]
            for j in range(begin, i):
                x = positions[i, 0] - positions[j, 0]
                y = positions[i, 1] - positions[j, 1]
                z = positions[i, 2] - positions[j, 2]
                square = x * x + y * y + z * z
                if square < _COINCIDENT:
                    return j, i
                value = scale * charges[i] * charges[j] / np.sqrt(square)
                matrices[row, i - begin, j - begin] = value
                matrices[row, j - begin, i - begin] = value
                if len(slopes) > 0:
                    vector = (x, y, z)
                    for a in range(3):
                        slope = -value / square * vector[a]
                        slopes[row, j - begin, i - begin, a] = slope
                        for b in range(3):
                            strains[row, j - begin, i - begin, a, b] = slope * vector[b]
    return -1, -1


@njit(cache=True, nogil=True)
def sine(
    first, last, offsets, positions, charges, diagonal, scale, cells, inverses,
    matrices, slopes, strains,
):  # fmt: skip
    """Z_i Z_j / |Σ_k a_k sin²(π s_k)|, s the fractional coordinates of r_i - r_j."""
    v, near, bend, pull = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for s in range(first, last):
        row, begin, end = s - first, offsets[s], offsets[s + 1]
        for i in range(begin, end):
            matrices[row, i - begin, i - begin] = diagonal[i]
            for j in range(begin, i):
                for a in range(3):
                    v[a] = 0.0
                    near[a] = 0.0
                for k in range(3):
                    f = 0.0
                    for a in range(3):
                        f += (positions[i, a] - positions[j, a]) * inverses[s, a, k]
                    f -= np.round(f)
                    sine = np.sin(np.pi * f)
                    bend[k] = 2 * np.pi * sine * np.cos(np.pi * f)
                    for a in range(3):
                        v[a] += cells[s, k, a] * sine * sine
                        near[a] += cells[s, k, a] * f
                if near[0] * near[0] + near[1] * near[1] + near[2] * near[2] < _COINCIDENT:
                    return j, i
                square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
                value = scale * charges[i] * charges[j] / np.sqrt(square)
                matrices[row, i - begin, j - begin] = value
                matrices[row, j - begin, i - begin] = value
                if len(slopes) > 0:
                    for a in range(3):
                        pull[a] = -value / square * v[a]
                        slopes[row, j - begin, i - begin, a] = 0.0
                        for b in range(3):
                            strains[row, j - begin, i - begin, a, b] = pull[a] * v[b]
                    for k in range(3):
                        along = 0.0
                        for a in range(3):
                            along += pull[a] * cells[s, k, a] * bend[k]
                        for a in range(3):
                            slopes[row, j - begin, i - begin, a] += along * inverses[s, a, k]
    return -1, -1


@njit(cache=True, nogil=True)
def images(
    first, last, offsets, positions, charges, diagonal, scale, cells, inverses, rates, cutoffs,
    screened, matrices, slopes, strains,
):  # fmt: skip
    """Sums over all images within the cutoff of their structure, for a ``rates`` p of each.

    Of Z_i Z_j exp(-p r) f(r) / r, f the cosine cutoff function, if ``screened``; of
    Z_i Z_j erfc(p r) / r otherwise, where the atom itself has half of its own images.
    """
    f, vector = np.empty(3), np.empty(3)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for s in range(first, last):
        row, begin, end = s - first, offsets[s], offsets[s + 1]
        rate, cutoff = rates[s], cutoffs[s]
        for i in range(begin, end):
            for j in range(begin, i + 1):
                total = 0.0
                if len(slopes) > 0:
                    for a in range(3):
                        slopes[row, j - begin, i - begin, a] = 0.0
                        for b in range(3):
                            strains[row, j - begin, i - begin, a, b] = 0.0
                for k in range(3):
                    f[k] = 0.0
                    norm = 0.0
                    for a in range(3):
                        f[k] += (positions[i, a] - positions[j, a]) * inverses[s, a, k]
                        norm += inverses[s, a, k] * inverses[s, a, k]
                    f[k] -= np.round(f[k])
                    low[k] = int(np.ceil(-cutoff * np.sqrt(norm) - f[k]))
                    high[k] = int(np.floor(cutoff * np.sqrt(norm) - f[k]))
                weight = scale * charges[i] * charges[j]
                if i == j and not screened:
                    weight *= 0.5
                for l in range(low[0], high[0] + 1):
                    for m in range(low[1], high[1] + 1):
                        for n in range(low[2], high[2] + 1):
                            if i == j and l == 0 and m == 0 and n == 0:
                                continue
                            square = 0.0
                            for a in range(3):
                                vector[a] = (
                                    (f[0] + l) * cells[s, 0, a]
                                    + (f[1] + m) * cells[s, 1, a]
                                    + (f[2] + n) * cells[s, 2, a]
                                )
                                square += vector[a] * vector[a]
                            if square < _COINCIDENT:
                                return j, i
                            if square >= cutoff * cutoff:
                                continue
                            r = np.sqrt(square)
                            if screened:
                                angle = np.pi * r / cutoff
                                decay = weight * np.exp(-rate * r) / r
                                value = decay * 0.5 * (np.cos(angle) + 1)
                                slope = -value * (rate + 1 / r)
                                slope -= decay * 0.5 * np.pi / cutoff * np.sin(angle)
                            else:
                                value = weight * math.erfc(rate * r) / r
                                slope = -value / r
                                if len(slopes) > 0:
                                    decay = 2 * rate * _INVERSE_ROOT_PI / r
                                    slope -= weight * decay * np.exp(-rate * rate * square)
                            total += value
                            if len(slopes) > 0:
                                for a in range(3):
                                    along = slope / r * vector[a]
                                    if i != j:
                                        slopes[row, j - begin, i - begin, a] += along
                                    for b in range(3):
                                        part = along * vector[b]
                                        strains[row, j - begin, i - begin, a, b] += part
                if i == j:
                    total += diagonal[i]
                matrices[row, i - begin, j - begin] = total
                matrices[row, j - begin, i - begin] = total
    return -1, -1


@njit(cache=True, nogil=True)
def add_waves(
    first, last, offsets, positions, charges, scale, cells, inverses, volumes, rates, cutoffs,
    matrices, slopes, strains,
):  # fmt: skip
    """Add the reciprocal sums of Ewald and the background; the diagonal has half of them."""
    size = matrices.shape[1]
    cosines, sines = np.empty(size), np.empty(size)
    wave, high = np.empty(3), np.empty(3, np.int64)
    for s in range(first, last):
        row, begin, end = s - first, offsets[s], offsets[s + 1]
        width = 1 / (4 * rates[s] * rates[s])
        background = -4 * np.pi * width / volumes[s]
        for k in range(3):
            norm = 0.0
            for a in range(3):
                norm += cells[s, k, a] * cells[s, k, a]
            high[k] = int(cutoffs[s] * np.sqrt(norm) / (2 * np.pi))
        for l in range(high[0] + 1):
            for m in range(-high[1], high[1] + 1):
                for n in range(-high[2], high[2] + 1):
                    # one of G and -G; G = 0 stands for the background
                    if l == 0 and (m < 0 or (m == 0 and n < 0)):
                        continue
                    nothing = l == 0 and m == 0 and n == 0
                    square = 0.0
                    for a in range(3):
                        wave[a] = (
                            2
                            * np.pi
                            * (
                                l * inverses[s, a, 0]
                                + m * inverses[s, a, 1]
                                + n * inverses[s, a, 2]
                            )
                        )
                        square += wave[a] * wave[a]
                    if square > cutoffs[s] * cutoffs[s]:
                        continue
                    factor, turn = background, 0.0
                    if not nothing:
                        factor = 8 * np.pi / volumes[s] * np.exp(-width * square) / square
                        turn = 2 * (1 / square + width)
                    for i in range(end - begin):
                        angle = 0.0
                        for a in range(3):
                            angle += wave[a] * positions[begin + i, a]
                        cosines[i] = np.cos(angle)
                        sines[i] = np.sin(angle)
                    for i in range(end - begin):
                        for j in range(i + 1):
                            weight = scale * factor * charges[begin + i] * charges[begin + j]
                            if i == j:
                                weight *= 0.5
                            value = weight * (cosines[i] * cosines[j] + sines[i] * sines[j])
                            matrices[row, i, j] += value
                            if i != j:
                                matrices[row, j, i] += value
                            if len(slopes) > 0:
                                slope = weight * (cosines[i] * sines[j] - sines[i] * cosines[j])
                                for a in range(3):
                                    slopes[row, j, i, a] += slope * wave[a]
                                    strains[row, j, i, a, a] -= value
                                    for b in range(3):
                                        part = value * turn * wave[a] * wave[b]
                                        strains[row, j, i, a, b] += part


@njit(cache=True, nogil=True)
def arrange(matrices, n_atoms, by_norm, noise, orders, out):
    """Upper triangles of matrices whose rows and columns are in the order of their norms.

    A realisation adds its own ``noise[q, k]`` to the k-th largest norm. ``orders[s, q]`` are the
    rows in the order of realisation q; ``out`` (n, realisations × elements) may have no rows.
    """
    size = matrices.shape[1]
    norms, keys, ranks = np.empty(size), np.empty(size), np.empty(size, np.int64)
    for s in range(len(matrices)):
        n = n_atoms[s]
        for i in range(n):
            norm = 0.0
            for j in range(n):
                norm += matrices[s, i, j] * matrices[s, i, j]
            norms[i] = np.sqrt(norm)
        column = 0
        for q in range(len(noise)):
            for i in range(size):
                orders[s, q, i] = i
            # by the norm itself, then by the norm with the noise of its place
            for turn in range(2):
                if not by_norm:
                    continue
                for k in range(n):
                    i = orders[s, q, k]
                    ranks[k] = i
                    keys[k] = norms[i] + turn * noise[q, k]
                for k in range(n):
                    key, i = keys[k], ranks[k]
                    place = k
                    # norms that differ by rounding alone keep their order
                    while place > 0 and keys[place - 1] < key - 1e-9 * abs(key):
                        keys[place] = keys[place - 1]
                        orders[s, q, place] = orders[s, q, place - 1]
                        place -= 1
                    keys[place] = key
                    orders[s, q, place] = i
            if len(out) > 0:
                for k in range(size):
                    for m in range(k, size):
                        out[s, column] = matrices[s, orders[s, q, k], orders[s, q, m]]
                        column += 1
