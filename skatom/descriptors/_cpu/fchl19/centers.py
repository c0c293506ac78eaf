"""FCHL19 features of all centres, and their derivatives along pairs."""

import numpy as np

from skatom._numba import njit
from skatom.descriptors._cpu.fchl19.functions import most_neighbors
from skatom.descriptors._cpu.fchl19.three_body import (
    three_body,
    three_body_gradients,
    three_body_jacobian,
)
from skatom.descriptors._cpu.fchl19.triplets import SortedNeighbors, arrange
from skatom.descriptors._cpu.fchl19.two_body import (
    LogNormals,
    log_normals,
    two_body,
    two_body_gradients,
    two_body_jacobian,
)


def values(first, last, starts, vectors, centers, species, basis, out):
    """Features of the atoms first … last - 1 into ``out`` (n_atoms, n_features)."""
    memory = _memory_of_one(starts[first : last + 1], basis)
    _evaluate(first, last, starts, vectors, species, basis, np.empty((0, 0)), *memory, out)


def pair_gradients(first, last, starts, vectors, centers, species, basis, cotangent, out):
    """dE/dr_ij, into (n_pairs, 3), for dE/d features, (n_atoms, n_features) or (1, n_features)."""
    memory = _memory_of_one(starts[first : last + 1], basis)
    _evaluate(first, last, starts, vectors, species, basis, cotangent, *memory, out)


def pair_jacobian(first, last, starts, vectors, centers, species, basis, out):
    """d features_i / dr_ij: (n_pairs, 3, n_features)."""
    all_of_them, starts, nothing = (0, last - first), starts[first : last + 1], np.empty((0, 0))
    memory = _memory(starts[-1] - starts[0], last - first, basis)
    _evaluate(*all_of_them, starts, vectors, species, basis, nothing, *memory, nothing)
    _pair_jacobian(starts, vectors, species, basis, *memory, out)


def _memory_of_one(starts, basis):
    """Memory for one centre after another."""
    return _memory(np.max(starts[1:] - starts[:-1], initial=0), 1, basis)


def _memory(n_pairs, n_centers, basis):
    """Memory for the functions of the pairs of some centres."""
    n_r2, n_r3 = len(basis.log_shells2), len(basis.shells3)
    radial = LogNormals(
        np.empty((n_pairs, n_r2)), *np.empty((2, n_pairs)), np.empty(n_pairs * n_r2, np.int64)
    )
    return radial, SortedNeighbors(
        np.empty((n_centers, basis.n_species + 1), np.int64), np.empty(n_pairs, np.int64),
        np.empty((n_pairs, 7)), np.empty((n_pairs, n_r3)),
    )  # fmt: skip


@njit(cache=True, inline="always")
def _at(radial, env, center, begin, end):
    """The memory of one centre."""
    return LogNormals(
        radial.values[begin:end], radial.mu[begin:end], radial.s[begin:end], radial.powers
    ), SortedNeighbors(
        env.first[center], env.pair[begin:end], env.near[begin:end], env.a[begin:end]
    )


@njit(cache=True, nogil=True)
def _evaluate(first, last, starts, vectors, species, basis, cotangent, all_radial, all_env, out):
    """`values` without a cotangent, `pair_gradients` with one: they share what they compile.

    With memory for all centres, the functions of their pairs are kept there; without ``out``,
    nothing else is done.
    """
    has_cotangent, n_two = len(cotangent) > 0, basis.n_species * len(basis.log_shells2)
    width, most = 2 * len(basis.harmonics), most_neighbors(starts[first : last + 1])
    keeps = len(all_env.first) > 1
    reach, block = np.empty(most), np.empty((width, len(basis.shells3)))
    forth = (reach, np.empty((most, width)), block)
    rows = np.empty((2 * width, len(basis.shells3)))
    dots, sums = np.empty((most, 2 * width)), np.empty((most, 3))
    back = (reach, block, rows, dots, sums, np.empty((most, 3)))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        center, at = (i - first, a - starts[first]) if keeps else (0, 0)
        radial, env = _at(all_radial, all_env, center, at, at + b - a)
        log_normals(vectors[a:b], basis, radial)
        arrange(vectors[a:b], species[a:b], basis, env)
        if has_cotangent:
            row = cotangent[min(i, len(cotangent) - 1)]
            two_body_gradients(vectors[a:b], species[a:b], basis, row, radial, out[a:b])
            three_body_gradients(env, basis, row[n_two:], back, out[a:b])
        elif len(out) > 0:
            two_body(species[a:b], radial, out[i, :n_two])
            three_body(env, basis, forth, out[i, n_two:])


@njit(cache=True, nogil=True)
def _pair_jacobian(starts, vectors, species, basis, all_radial, all_env, out):
    """`pair_jacobian` with the functions of all pairs."""
    n_two = basis.n_species * len(basis.log_shells2)
    width, most = 2 * len(basis.harmonics), most_neighbors(starts)
    buffers = (np.empty(most), np.empty((most, 2 * width)), np.empty((most, 3)))
    for i in range(len(starts) - 1):
        a, b = starts[i], starts[i + 1]
        at = a - starts[0]
        radial, env = _at(all_radial, all_env, i, at, at + b - a)
        out[a:b] = 0.0
        two_body_jacobian(vectors[a:b], species[a:b], basis, radial, out[a:b])
        three_body_jacobian(env, basis, buffers, out[a:b, :, n_two:])
