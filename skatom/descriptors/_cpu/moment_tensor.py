"""Contractions of the moment tensors of every centre, and the way back.

A centre's moments are numbers, and its contractions sums of products of numbers (see
contractions.Program). Products are taken for a block of centres at a time, `LANES` of them side by
side in memory, so that one instruction serves several; the derivatives along pairs likewise.
"""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.moment_neighbors import (
    Moments,
    empty_neighbors,
    moment_changes,
    moment_gradients,
    move_neighbors,
    n_components,
    place_neighbors,
    sum_moments,
)

__all__ = ["Moments", "pair_gradients", "pair_jacobian", "values"]

# Sums of products take 0.3 ns a product and centre; with 4 lanes, or 1, it is 2 or 10 times that.
LANES = 16


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

    ``numbers`` (n_numbers,) of the centre; only the first lanes of the tangent are taken.
    """
    first = len(numbers) - len(moments.starts) + 1
    for k in range(len(moments.starts) - 1):
        target = tangent[first + k]
        target[:n_lanes] = 0.0
        for s in range(moments.starts[k], moments.starts[k + 1]):
            left, right, c = moments.left[s], moments.right[s], moments.factors[s]
            x, y, a, b = c * numbers[right], c * numbers[left], tangent[left], tangent[right]
            for i in range(n_lanes):
                target[i] += x * a[i] + y * b[i]


@callee(cache=True)
def n_numbers(moments):
    """Length of the moments and all contractions of a centre."""
    return len(moments.mixing) * n_components(moments) + len(moments.starts) - 1


@callee(cache=True)
def block_numbers(starts, vectors, centers, species, moments, near, by_species, numbers, a, b):
    """All numbers (n_numbers, lanes) of the centres a to b; those of empty lanes are zero."""
    n_moments = by_species.shape[1]
    numbers[: len(moments.mixing) * n_moments] = 0.0
    for i in range(a, b):
        i0, i1 = starts[i], starts[i + 1]
        place_neighbors(vectors[i0:i1], centers[i], species[i0:i1], moments, near)
        sum_moments(near, moments.degrees, by_species)
        for j in range(len(moments.mixing)):
            for s in range(by_species.shape[0]):
                weight = moments.mixing[j, s]
                if weight != 0.0:
                    for m in range(n_moments):
                        numbers[j * n_moments + m, i - a] += weight * by_species[s, m]
    contract(moments, numbers)


@callee(cache=True)
def unmix(cotangent, lane, mixing, by_species):
    """The slopes of the sums of every species from those of the channels."""
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


def values(first, last, starts, vectors, centers, species, moments, out):
    """Features of the atoms first … last - 1 into ``out`` (n_atoms, n_features)."""
    none = np.empty((0, 0))
    _evaluate(first, last, starts, vectors, centers, species, moments, none, none, out, np.empty(0))


def pair_gradients(
    first, last, starts, vectors, centers, species, moments, cotangent, out, products
):  # fmt: skip
    """dE/dr_ij, into (n_pairs, 3), for dE/d features, (n_atoms, n_features) or (1, n_features).

    ``products`` (n_atoms,) receives the products of the features with their cotangents.
    """
    none = np.empty((0, 0))
    _evaluate(
        first, last, starts, vectors, centers, species, moments, cotangent, none, out, products
    )  # fmt: skip


def pair_jacobian(first, last, starts, vectors, centers, species, moments, out):
    """d features_i / dr_ij, into (n_pairs, 3, n_features)."""
    starts, centers, none = starts[first : last + 1], centers[first:last], np.empty((0, 0))
    first, n = 0, len(centers)
    n_moments = ((moments.degrees + 1) * (moments.degrees + 2) * (moments.degrees + 3) // 6).sum()
    n_all = len(moments.mixing) * n_moments + len(moments.starts) - 1
    numbers = np.empty((n, n_all))
    _evaluate(
        first, n, starts, vectors, centers, species, moments, none, numbers, none, np.empty(0)
    )
    _pair_jacobian(first, n, starts, vectors, centers, species, moments, numbers, out)


@njit(cache=True, nogil=True)
def _evaluate(
    first, last, starts, vectors, centers, species, moments, cotangent, all_numbers, out, products
):  # fmt: skip
    """`values` without a cotangent, `pair_gradients` with one: they share what they compile.

    With an array ``all_numbers`` (n_atoms, n_numbers) only the numbers of all centres, into it.
    """
    has_cotangent = len(cotangent) > 0
    near = empty_neighbors(first, last, starts, moments)
    by_species = np.empty((moments.mixing.shape[1], n_components(moments)))
    numbers = np.empty((n_numbers(moments), LANES))
    adjoint = np.empty((len(numbers) if has_cotangent else 0, LANES))
    slopes = np.empty((3, by_species.shape[1]))
    for a in range(first, last, LANES):
        b = min(a + LANES, last)
        block_numbers(starts, vectors, centers, species, moments, near, by_species, numbers, a, b)
        if has_cotangent:
            adjoint[:] = 0.0
            for i in range(a, b):
                whole = cotangent[min(i, len(cotangent) - 1)]
                row, total = _own_features(whole, centers[i], moments), 0.0
                if moments.n_bias:
                    total = whole[centers[i] * (len(row) + 1) if moments.by_center else 0]
                for k in range(len(row)):
                    adjoint[moments.scalars[k], i - a] += row[k]
                    total += row[k] * numbers[moments.scalars[k], i - a]
                products[i] = total
            contract_pullback(moments, numbers, adjoint)
            for i in range(a, b):
                i0, i1 = starts[i], starts[i + 1]
                unmix(adjoint, i - a, moments.mixing, by_species)
                place_neighbors(vectors[i0:i1], centers[i], species[i0:i1], moments, near)
                moment_gradients(near, moments, by_species, slopes, out[i0:i1])
        elif len(all_numbers) > 0:
            for i in range(a, b):
                for k in range(len(numbers)):
                    all_numbers[i, k] = numbers[k, i - a]
        else:
            for i in range(a, b):
                if moments.by_center:
                    out[i] = 0.0
                row = _own_features(out[i], centers[i], moments)
                for k in range(len(row)):
                    row[k] = numbers[moments.scalars[k], i - a]
                if moments.n_bias:
                    out[i, centers[i] * (len(row) + 1) if moments.by_center else 0] = 1.0


@njit(cache=True, nogil=True)
def _pair_jacobian(first, last, starts, vectors, centers, species, moments, numbers, out):
    """`pair_jacobian` for the numbers of the centres."""
    near = empty_neighbors(first, last, starts, moments)
    tangent = np.empty((numbers.shape[1], 3 * LANES))
    one = np.empty((3, len(near.lengths), n_components(moments)))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        place_neighbors(vectors[a:b], centers[i], species[a:b], moments, near)
        # the compiler would make three copies of what follows if it knew the number of axes
        for axis in range(len(one)):
            near.motions[:] = 0.0
            near.motions[axis] = 1.0
            move_neighbors(near, moments)
            moment_changes(near, moments.degrees, one[axis])
        for k0 in range(a, b, LANES):
            k1 = min(k0 + LANES, b)
            for k in range(k0, k1):
                _spread(one[:, near.places[k - a]], moments.mixing[:, species[k]], k - k0, tangent)
            contract_tangent(moments, numbers[i], tangent, 3 * (k1 - k0))
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
