"""Moment tensors of every centre, their contractions, and the way back.

A centre's moments are numbers, and its contractions sums of products of numbers (see
contractions.Program). Products are taken for a block of centres at a time, `LANES` of them side by
side in memory, so that one instruction serves several; the derivatives along pairs likewise.
"""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit

# Sums of products take 0.3 ns a product and centre; with 4 lanes, or 1, it is 2 or 10 times that.
LANES = 16


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


# --- one neighbour ------------------------------------------------------------------------------


@callee(cache=True, fastmath=FASTMATH)
def chebyshev(r, moments, f, df):
    """T_μ(ξ) (cutoff - r)² and its slope."""
    scale = 2 / (moments.cutoff - moments.r_min)
    x = scale * (r - moments.cutoff) + 1
    t, dt, before, dbefore = 1.0, 0.0, x, 1.0  # T_-1 = T_1
    gap = moments.cutoff - r
    for mu in range(len(f)):
        f[mu] = t * gap * gap
        df[mu] = scale * dt * gap * gap - 2 * t * gap
        dt, dbefore = 2 * (t + x * dt) - dbefore, dt
        t, before = 2 * x * t - before, t


@callee(cache=True, fastmath=FASTMATH)
def radial(r, moments, center, other, work):
    """f_μ(r) and f'_μ(r) of a neighbour; combinations of these where there are coefficients."""
    f, df = work[0], work[1]
    c = moments.coefficients
    if c.shape[3] == 0:
        chebyshev(r, moments, f, df)
        return
    q, dq = work[4], work[5]
    chebyshev(r, moments, q, dq)
    for mu in range(len(f)):
        value, slope = 0.0, 0.0
        for b in range(len(q)):
            factor = c[mu, center, other, b]
            value += factor * q[b]
            slope += factor * dq[b]
        f[mu], df[mu] = value, slope


@callee(cache=True, fastmath=FASTMATH)
def monomials(x, y, z, degree, out):
    """x^a y^b z^c, by degree, then by b + c, then by c."""
    out[0] = 1.0
    start, stop = 0, 1
    for n in range(1, degree + 1):
        lower, row = out[start:stop], out[stop:]
        size, last = len(lower), len(lower) - n
        for k in range(size):
            row[k] = x * lower[k]
        for k in range(last, size):
            row[k + n] = y * lower[k]
        row[size + n] = z * lower[size - 1]
        start, stop = stop, stop + size + n + 1


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
def scratch(moments):
    """Buffers of one thread for one neighbour at a time."""
    n_mu, size = len(moments.degrees), n_monomials(moments.degrees[0])
    q = np.empty(moments.coefficients.shape[3])
    return np.empty(n_mu), np.empty(n_mu), np.empty(size), np.empty(size), q, np.empty(len(q))


@callee(cache=True)
def _neighbor(vector, center, other, moments, work):
    """Radial functions and monomials of one neighbour; its distance and the monomials' vector."""
    values = work[2]
    x, y, z = vector[0], vector[1], vector[2]
    r = np.sqrt(x * x + y * y + z * z)
    radial(r, moments, center, other, work)
    if moments.unit_vectors:
        x, y, z = x / r, y / r, z / r
    monomials(x, y, z, moments.degrees[0], values)
    return r, x, y, z


@callee(cache=True, fastmath=FASTMATH)
def accumulate(vectors, center, species, moments, work, out):
    """M_μν (n_species, n_components) of one centre, of each species of neighbours."""
    f, values = work[0], work[2]
    out[:] = 0.0
    for k in range(len(vectors)):
        _neighbor(vectors[k], center, species[k], moments, work)
        channel = out[species[k]]
        stop = 0
        for mu in range(len(f)):
            start, stop = stop, stop + n_monomials(moments.degrees[mu])
            row, factor = channel[start:stop], f[mu]
            for m in range(len(row)):
                row[m] += factor * values[m]


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


@callee(cache=True, fastmath=FASTMATH)
def moment_gradients(vectors, center, species, moments, work, cotangent, slopes, gradients):
    """dE/dr_j (n_neighbors, 3) for dE/dM (n_species, n_components).

    ``slopes``: scratch (n_species, 3, n_components).
    """
    f, df, values = work[0], work[1], work[2]
    for s in range(len(cotangent)):
        differentiate(cotangent[s], moments.degrees, slopes[s])
    for k in range(len(vectors)):
        r, x, y, z = _neighbor(vectors[k], center, species[k], moments, work)
        weights, slope = cotangent[species[k]], slopes[species[k]]
        along, gx, gy, gz, start = 0.0, 0.0, 0.0, 0.0, 0
        for mu in range(len(f)):
            degree, width = moments.degrees[mu], n_monomials(moments.degrees[mu])
            along += df[mu] * _dot(values, weights[start : start + width])
            if degree > 0:
                stop = start + n_monomials(degree - 1)
                gx += f[mu] * _dot(values, slope[0, start:stop])
                gy += f[mu] * _dot(values, slope[1, start:stop])
                gz += f[mu] * _dot(values, slope[2, start:stop])
            start += width
        if moments.unit_vectors:
            # only the part across r turns the unit vector, by 1/r
            along -= (gx * x + gy * y + gz * z) / r
            gx, gy, gz = gx / r + along * x, gy / r + along * y, gz / r + along * z
        else:
            gx, gy, gz = gx + along * x / r, gy + along * y / r, gz + along * z / r
        gradients[k, 0], gradients[k, 1], gradients[k, 2] = gx, gy, gz


@callee(cache=True, fastmath=FASTMATH)
def _dot(a, b):
    """Over the length of b, the shorter."""
    total = 0.0
    for i in range(len(b)):
        total += a[i] * b[i]
    return total


@callee(cache=True, fastmath=FASTMATH)
def moment_tangent(vector, center, other, moments, work, tangent):
    """Derivative (3, n_components) along its vector of what one neighbour adds to M_μν."""
    f, df, values, weights = work[0], work[1], work[2], work[3]
    r, x, y, z = _neighbor(vector, center, other, moments, work)
    for axis in range(3):
        # forward through the recursion of the monomials, for a unit step along the axis
        dx, dy, dz = 1.0 * (axis == 0), 1.0 * (axis == 1), 1.0 * (axis == 2)
        along = _step(vector, r, x, y, z, dx, dy, dz, moments, values, weights)
        stop = 0
        for mu in range(len(f)):
            start, stop = stop, stop + n_monomials(moments.degrees[mu])
            row = tangent[axis, start:stop]
            for m in range(len(row)):
                row[m] = f[mu] * weights[m] + df[mu] * along * values[m]


@callee(cache=True, fastmath=FASTMATH)
def _step(vector, r, x, y, z, dx, dy, dz, moments, values, out):
    """Changes of the monomials and, returned, of the distance for a step of the neighbour."""
    along = (vector[0] * dx + vector[1] * dy + vector[2] * dz) / r
    if moments.unit_vectors:
        dx, dy, dz = (dx - along * x) / r, (dy - along * y) / r, (dz - along * z) / r
    _monomials_tangent(x, y, z, dx, dy, dz, moments.degrees[0], values, out)
    return along


@callee(cache=True, fastmath=FASTMATH)
def _monomials_tangent(x, y, z, dx, dy, dz, degree, values, out):
    """Change of the monomials for a step of x, y and z."""
    out[0] = 0.0
    start, stop = 0, 1
    for n in range(1, degree + 1):
        lower, dlower, row = values[start:stop], out[start:stop], out[stop:]
        size, last = len(lower), len(lower) - n
        for k in range(size):
            row[k] = x * dlower[k] + dx * lower[k]
        for k in range(last, size):
            row[k + n] = y * dlower[k] + dy * lower[k]
        row[size + n] = z * dlower[size - 1] + dz * lower[size - 1]
        start, stop = stop, stop + size + n + 1


# --- all contractions of a block of centres -----------------------------------------------------


@callee(cache=True, fastmath=FASTMATH)
def contract(moments, numbers):
    """From the moments, the first rows of ``numbers`` (n_numbers, lanes), all others."""
    first = len(numbers) - len(moments.starts) + 1
    for k in range(len(moments.starts) - 1):
        target = numbers[first + k]
        target[:] = 0.0
        for s in range(moments.starts[k], moments.starts[k + 1]):
            a, b, c = numbers[moments.left[s]], numbers[moments.right[s]], moments.factors[s]
            for i in range(len(target)):
                target[i] += c * a[i] * b[i]


@callee(cache=True, fastmath=FASTMATH)
def contract_pullback(moments, numbers, cotangent):
    """From dE/d contractions, in their rows of ``cotangent``, dE/d number for all others."""
    first = len(numbers) - len(moments.starts) + 1
    for k in range(len(moments.starts) - 2, -1, -1):
        source = cotangent[first + k]
        for s in range(moments.starts[k], moments.starts[k + 1]):
            left, right, c = moments.left[s], moments.right[s], moments.factors[s]
            # one after the other: they are the same row where a number is squared
            target, other = cotangent[left], numbers[right]
            for i in range(len(source)):
                target[i] += c * source[i] * other[i]
            target, other = cotangent[right], numbers[left]
            for i in range(len(source)):
                target[i] += c * source[i] * other[i]


@callee(cache=True, fastmath=FASTMATH)
def contract_tangent(moments, numbers, tangent, n_lanes):
    """From the changes of one centre's moments, the first rows (n_numbers, lanes), all others.

    ``numbers`` (n_numbers, 1); only the first lanes of the tangent are taken.
    """
    first = len(numbers) - len(moments.starts) + 1
    for k in range(len(moments.starts) - 1):
        target = tangent[first + k]
        target[:n_lanes] = 0.0
        for s in range(moments.starts[k], moments.starts[k + 1]):
            left, right, c = moments.left[s], moments.right[s], moments.factors[s]
            x, y, a, b = c * numbers[right, 0], c * numbers[left, 0], tangent[left], tangent[right]
            for i in range(n_lanes):
                target[i] += x * a[i] + y * b[i]


@callee(cache=True)
def _n_numbers(moments):
    return len(moments.mixing) * n_components(moments) + len(moments.starts) - 1


@callee(cache=True)
def _block_numbers(starts, vectors, centers, species, moments, work, by_species, numbers, a, b):
    """All numbers (n_numbers, lanes) of the centres a to b; those of empty lanes are zero."""
    n_moments = by_species.shape[1]
    numbers[: len(moments.mixing) * n_moments] = 0.0
    for i in range(a, b):
        i0, i1 = starts[i], starts[i + 1]
        accumulate(vectors[i0:i1], centers[i], species[i0:i1], moments, work, by_species)
        for j in range(len(moments.mixing)):
            for s in range(by_species.shape[0]):
                weight = moments.mixing[j, s]
                if weight != 0.0:
                    for m in range(n_moments):
                        numbers[j * n_moments + m, i - a] += weight * by_species[s, m]
    contract(moments, numbers)


@callee(cache=True)
def _unmix(cotangent, lane, mixing, by_species):
    """dE/dM of every species from that of the channels."""
    n_moments = by_species.shape[1]
    by_species[:] = 0.0
    for j in range(len(mixing)):
        for s in range(by_species.shape[0]):
            weight = mixing[j, s]
            if weight != 0.0:
                for m in range(n_moments):
                    by_species[s, m] += weight * cotangent[j * n_moments + m, lane]


@callee(allocates=True, cache=True)
def _own_features(row, center, moments):
    """The features of a row that are not zero for a centre of this species, without the bias."""
    n = len(moments.scalars) + moments.n_bias
    start = center * n if moments.by_center else 0
    return row[start + moments.n_bias : start + n]


@njit(cache=True, nogil=True)
def values(first, last, starts, vectors, centers, species, moments, out):
    """Features of the atoms first … last - 1 into ``out`` (n_atoms, n_features)."""
    work = scratch(moments)
    by_species = np.empty((moments.mixing.shape[1], n_components(moments)))
    numbers = np.empty((_n_numbers(moments), LANES))
    for a in range(first, last, LANES):
        b = min(a + LANES, last)
        _block_numbers(starts, vectors, centers, species, moments, work, by_species, numbers, a, b)
        for i in range(a, b):
            if moments.by_center:
                out[i] = 0.0
            row = _own_features(out[i], centers[i], moments)
            for k in range(len(row)):
                row[k] = numbers[moments.scalars[k], i - a]
            if moments.n_bias:
                out[i, centers[i] * (len(row) + 1) if moments.by_center else 0] = 1.0


@njit(cache=True, nogil=True)
def pair_gradients(first, last, starts, vectors, centers, species, moments, cotangent, out):
    """dE/dr_ij, into (n_pairs, 3), for dE/d features, (n_atoms, n_features) or (1, n_features)."""
    work = scratch(moments)
    by_species = np.empty((moments.mixing.shape[1], n_components(moments)))
    numbers = np.empty((_n_numbers(moments), LANES))
    adjoint = np.empty(numbers.shape)
    slopes = np.empty((by_species.shape[0], 3, by_species.shape[1]))
    for a in range(first, last, LANES):
        b = min(a + LANES, last)
        _block_numbers(starts, vectors, centers, species, moments, work, by_species, numbers, a, b)
        adjoint[:] = 0.0
        for i in range(a, b):
            row = _own_features(cotangent[min(i, len(cotangent) - 1)], centers[i], moments)
            for k in range(len(row)):
                adjoint[moments.scalars[k], i - a] += row[k]
        contract_pullback(moments, numbers, adjoint)
        for i in range(a, b):
            i0, i1 = starts[i], starts[i + 1]
            _unmix(adjoint, i - a, moments.mixing, by_species)
            moment_gradients(
                vectors[i0:i1], centers[i], species[i0:i1], moments, work, by_species, slopes,
                out[i0:i1],
            )  # fmt: skip


@njit(cache=True, nogil=True)
def pair_jacobian(first, last, starts, vectors, centers, species, moments, out):
    """d features_i / dr_ij, into (n_pairs, 3, n_features)."""
    work = scratch(moments)
    by_species = np.empty((moments.mixing.shape[1], n_components(moments)))
    numbers = np.empty((_n_numbers(moments), 1))
    tangent = np.empty((len(numbers), 3 * LANES))
    one = np.empty((3, by_species.shape[1]))
    for i in range(first, last):
        _block_numbers(
            starts, vectors, centers, species, moments, work, by_species, numbers, i, i + 1
        )
        for k0 in range(starts[i], starts[i + 1], LANES):
            k1 = min(k0 + LANES, starts[i + 1])
            for k in range(k0, k1):
                moment_tangent(vectors[k], centers[i], species[k], moments, work, one)
                _spread(one, moments.mixing[:, species[k]], k - k0, tangent)
            contract_tangent(moments, numbers, tangent, 3 * (k1 - k0))
            for k in range(k0, k1):
                for axis in range(3):
                    out[k, axis] = 0.0
                    row = _own_features(out[k, axis], centers[i], moments)
                    for q in range(len(row)):
                        row[q] = tangent[moments.scalars[q], 3 * (k - k0) + axis]


@callee(cache=True)
def _spread(one, weights, place, tangent):
    """The tangent (3, n_components) of one neighbour in all channels, at its place."""
    n_moments = one.shape[1]
    for j in range(len(weights)):
        for m in range(n_moments):
            for axis in range(3):
                tangent[j * n_moments + m, 3 * place + axis] = weights[j] * one[axis, m]
