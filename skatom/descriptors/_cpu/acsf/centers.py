"""Symmetry functions of all centres, and the way back to dE/dr_ij."""

import numpy as np

from skatom._numba import njit
from skatom.descriptors._cpu.acsf.gradients import angular_gradients, radial_gradients
from skatom.descriptors._cpu.acsf.neighborhoods import gather
from skatom.descriptors._cpu.acsf.tables import F, X, most_neighbors, neighborhood, triplets
from skatom.descriptors._cpu.acsf.triplets import collect, evaluate
from skatom.descriptors._cpu.acsf.values import angular_values, radial_values


def values(first, last, starts, vectors, centers, species, functions, out):
    """Features of the atoms first … last - 1 into ``out`` (n_atoms, n_features)."""
    _evaluate(first, last, starts, vectors, species, functions, np.empty((0, 0)), out)


def pair_gradients(first, last, starts, vectors, centers, species, functions, cotangent, out):
    """dE/dr_ij, into (n_pairs, 3), for dE/d features, (n_atoms, n_features) or (1, n_features)."""
    _evaluate(first, last, starts, vectors, species, functions, cotangent, out)


@njit(cache=True, nogil=True)
def _evaluate(first, last, starts, vectors, species, functions, cotangent, out):
    """`values` without a cotangent, `pair_gradients` with one.

    What they share, the triplets and their Gaussians, takes longest to compile.
    """
    n_max, has_cotangent = most_neighbors(first, last, starts), len(cotangent) > 0
    n_derivatives = n_max if has_cotangent else 0
    per_channel = len(functions.radial) + len(functions.kappa)
    n_radial = functions.n_channels * per_channel
    hood, t = neighborhood(n_max, functions), triplets(n_max, n_derivatives, functions)
    state, gradient = np.empty(3, np.int64), np.empty((n_derivatives, 4))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        n_neighbors = gather(vectors[a:b], species[a:b], functions, has_cotangent, hood)
        if has_cotangent:
            row = cotangent[min(i, len(cotangent) - 1)]
            gradient[:n_neighbors] = 0.0
            radial_gradients(functions.n_channels, hood.edges[0], hood.slopes, row, gradient)
        else:
            row = out[i]
            row[:] = 0.0
            radial_values(functions.n_channels, hood.edges[0], hood.rows[F], hood.radial, row)
        state[:] = 0
        while len(functions.terms) > 0 and state[0] < functions.n_channels:
            n, n_runs = collect(state, functions, hood, t)
            evaluate(n, functions, has_cotangent, hood, t)
            if has_cotangent:
                angular_gradients(n, n_runs, functions, hood, t, row[n_radial:], gradient)
            else:
                angular_values(
                    n_runs, t.runs, functions.terms, functions.scale, t.a, t.b, row[n_radial:]
                )
        if has_cotangent:
            for k in range(n_neighbors):
                for axis in range(3):
                    along = gradient[k, 0] * hood.rows[X + axis, k]
                    out[a + hood.order[0, k], axis] = along + gradient[k, 1 + axis]
