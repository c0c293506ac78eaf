"""FCHL19 features of all centres, and their derivatives along pairs."""

import numpy as np

from skatom._numba import njit
from skatom.descriptors._cpu.fchl19.functions import most_neighbors
from skatom.descriptors._cpu.fchl19.three_body import (
    three_body,
    three_body_gradients,
    three_body_jacobian,
)
from skatom.descriptors._cpu.fchl19.triplets import arrange, sorted_neighbors
from skatom.descriptors._cpu.fchl19.two_body import (
    log_normal_buffers,
    log_normals,
    two_body,
    two_body_gradients,
    two_body_jacobian,
)


def values(first, last, starts, vectors, centers, species, basis, out):
    """Features of the atoms first … last - 1 into ``out`` (n_atoms, n_features)."""
    _evaluate(first, last, starts, vectors, species, basis, np.empty((0, 0)), out)


def pair_gradients(first, last, starts, vectors, centers, species, basis, cotangent, out):
    """dE/dr_ij, into (n_pairs, 3), for dE/d features, (n_atoms, n_features) or (1, n_features)."""
    _evaluate(first, last, starts, vectors, species, basis, cotangent, out)


@njit(cache=True, nogil=True)
def _evaluate(first, last, starts, vectors, species, basis, cotangent, out):
    """`values` without a cotangent, `pair_gradients` with one: they share what they compile."""
    has_cotangent, n_two = len(cotangent) > 0, basis.n_species * len(basis.log_shells2)
    width, most = 2 * len(basis.harmonics), most_neighbors(starts[first : last + 1])
    radial, env = log_normal_buffers(most, basis), sorted_neighbors(most, basis)
    reach, block = np.empty(most), np.empty((width, len(basis.shells3)))
    forth = (reach, np.empty((most, width)), block)
    rows = np.empty((2 * width, len(basis.shells3)))
    dots, sums = np.empty((most, 2 * width)), np.empty((most, 3))
    back = (reach, block, rows, dots, sums, np.empty((most, 3)))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        log_normals(vectors[a:b], basis, radial)
        arrange(vectors[a:b], species[a:b], basis, env)
        if has_cotangent:
            row = cotangent[min(i, len(cotangent) - 1)]
            two_body_gradients(vectors[a:b], species[a:b], basis, row, radial, out[a:b])
            three_body_gradients(env, basis, row[n_two:], back, out[a:b])
        else:
            two_body(species[a:b], radial, out[i, :n_two])
            three_body(env, basis, forth, out[i, n_two:])


@njit(cache=True, nogil=True)
def pair_jacobian(first, last, starts, vectors, centers, species, basis, out):
    """d features_i / dr_ij: (n_pairs, 3, n_features)."""
    n_two = basis.n_species * len(basis.log_shells2)
    width, most = 2 * len(basis.harmonics), most_neighbors(starts[first : last + 1])
    radial, env = log_normal_buffers(most, basis), sorted_neighbors(most, basis)
    buffers = (np.empty(most), np.empty((most, 2 * width)), np.empty((most, 3)))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        out[a:b] = 0.0
        log_normals(vectors[a:b], basis, radial)
        two_body_jacobian(vectors[a:b], species[a:b], basis, radial, out[a:b])
        arrange(vectors[a:b], species[a:b], basis, env)
        three_body_jacobian(env, basis, buffers, out[a:b, :, n_two:])
