"""Symmetry functions of every centre."""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.acsf.arithmetic import dot
from skatom.descriptors._cpu.acsf.neighborhoods import gather
from skatom.descriptors._cpu.acsf.tables import F, most_neighbors, neighborhood, triplets
from skatom.descriptors._cpu.acsf.triplets import collect, evaluate


@callee(cache=True, fastmath=FASTMATH)
def radial_values(n_channels, edges, f, e, out):
    """Radial functions of one centre, (n_channels, n_radial) flat."""
    n_radial = e.shape[1]
    for channel in range(n_channels):
        row = out[channel * n_radial : (channel + 1) * n_radial]
        for i in range(edges[2 * channel], edges[2 * channel + 2]):
            weight, source = f[i], e[i]
            for m in range(n_radial):
                row[m] += weight * source[m]


@callee(cache=True, fastmath=FASTMATH)
def angular_values(n_runs, runs, terms, scale, a, b, out):
    """Add the triplets to the angular functions of one centre, (n_blocks, n_angular) flat."""
    for run in range(n_runs):
        i, j = runs[1, run], runs[1, run + 1]
        row = out[runs[0, run] * len(terms) :]
        for m in range(len(terms)):
            row[m] += scale[m] * dot(a[terms[m, 0], i:j], b[terms[m, 1], i:j])


@njit(cache=True, nogil=True)
def values(first, last, starts, vectors, centers, species, functions, out):
    """Features of the atoms first … last - 1 into ``out`` (n_atoms, n_features)."""
    n_max = most_neighbors(first, last, starts)
    n_radial = functions.n_channels * (len(functions.radial) + len(functions.kappa))
    hood, t = neighborhood(n_max, functions), triplets(n_max, np.int64(0), functions)
    state = np.empty(3, np.int64)
    for i in range(first, last):
        row = out[i]
        row[:] = 0.0
        a, b = starts[i], starts[i + 1]
        n = gather(vectors[a:b], species[a:b], functions, t.q.shape[1] > 0, hood)
        radial_values(functions.n_channels, hood.edges[0], hood.rows[F], hood.radial, row)
        state[:] = 0
        while len(functions.terms) > 0 and state[0] < functions.n_channels:
            n, n_runs = collect(state, functions, hood, t)
            evaluate(n, functions, hood, t)
            angular_values(
                n_runs, t.runs, functions.terms, functions.scale, t.a, t.b, row[n_radial:]
            )
