"""The neighbours of one centre: sorted, and what depends on one of them."""

import numpy as np

from skatom._cpu.elementwise import cutoff_slopes, cutoff_values, exponential
from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee
from skatom.descriptors._cpu.acsf.arithmetic import multiply
from skatom.descriptors._cpu.acsf.tables import (
    ANGULAR_F,
    DF,
    INVERSE,
    WEIGHT,
    WORK,
    F,
    R,
    X,
)  # fmt: skip


@callee(cache=True, fastmath=FASTMATH)
def _sort(vectors, species, functions, edges, order, rows):
    """Fill the distances, unit vectors and weights of the neighbours, sorted."""
    n = len(vectors)
    counts, start = edges[0], edges[1]
    counts[:] = 0
    for k in range(n):
        dx, dy, dz = vectors[k, 0], vectors[k, 1], vectors[k, 2]
        r = np.sqrt(dx * dx + dy * dy + dz * dz)
        rows[WORK, k] = r
        key = 2 * functions.channels[species[k]] + (r >= functions.angular_cutoff)
        order[1, k] = key
        counts[key + 1] += 1
    start[0] = counts[0]
    for key in range(1, len(counts)):
        counts[key] += counts[key - 1]
        start[key] = counts[key]
    for k in range(n):
        key = order[1, k]
        i = start[key]
        start[key] += 1
        order[0, i] = k
        r = rows[WORK, k]
        rows[R, i] = r
        rows[INVERSE, i] = 1 / r
        for axis in range(3):
            rows[X + axis, i] = vectors[k, axis] / r
        rows[WEIGHT, i] = functions.weights[species[k]]


@callee(cache=True)
def gather(vectors, species, functions, with_slopes, hood):
    """Sort the neighbours of one centre and evaluate what depends on one of them; their number."""
    n = len(vectors)
    _sort(vectors, species, functions, hood.edges, hood.order, hood.rows)
    kind, rows, r = functions.cutoff_kind, hood.rows, hood.rows[R, :n]
    weight, work, exponents = rows[WEIGHT, :n], rows[WORK, :n], hood.exponents[:n]
    for at in range(F, ANGULAR_F + 1, ANGULAR_F - F):  # one call in a loop: one copy to compile
        cutoff = functions.cutoff if at == F else functions.angular_cutoff
        cutoff_values(kind, cutoff, r, rows[at, :n])
        multiply(rows[at, :n], weight)
        if with_slopes:
            cutoff_slopes(kind, cutoff, r, rows[at + 1, :n])
            multiply(rows[at + 1, :n], weight)
    for g in range(functions.n_g4 + functions.n_g5):
        eta, shift = functions.gaussians[g, 0], functions.gaussians[g, 1]
        gaussian(eta, shift, r, work, exponents, hood.e[g, :n])
    radial, kappa, e, scratch = functions.radial, functions.kappa, hood.radial[:n], hood.slopes[:n]
    radial_functions(r, radial, kappa, scratch, hood.exponents[: e.size], e)
    if with_slopes:
        radial_slopes(r, rows[F, :n], rows[DF, :n], radial, kappa, e, scratch)
    return n


@callee(cache=True, fastmath=FASTMATH)
def gaussian(eta, shift, r, work, exponents, out):
    """exp(-η (r - R)²)."""
    for i in range(len(r)):
        work[i] = -eta * (r[i] - shift) * (r[i] - shift)
    exponential(work, exponents, out)


@callee(cache=True, fastmath=FASTMATH)
def radial_functions(r, radial, kappa, work, exponents, e):
    """Gaussians and cosines of each neighbour, without cutoff, as rows of e (n, n_radial)."""
    n_gauss = len(radial)
    for i in range(len(r)):
        row = work[i]
        for m in range(n_gauss):
            row[m] = -radial[m, 0] * (r[i] - radial[m, 1]) * (r[i] - radial[m, 1])
        for m in range(len(kappa)):
            row[n_gauss + m] = 0.0
    exponential(work.reshape(e.size), exponents, e.reshape(e.size))
    for i in range(len(r)):
        for m in range(len(kappa)):
            e[i, n_gauss + m] = np.cos(kappa[m] * r[i])


@callee(cache=True, fastmath=FASTMATH)
def radial_slopes(r, f, df, radial, kappa, e, slopes):
    """d(e f_c)/dr of every function, (n, n_radial)."""
    n_gauss = len(radial)
    for i in range(len(r)):
        row, source = slopes[i], e[i]
        for m in range(n_gauss):
            log_slope = -2 * radial[m, 0] * (r[i] - radial[m, 1])
            row[m] = source[m] * (df[i] + log_slope * f[i])
        for m in range(len(kappa)):
            sine = kappa[m] * np.sin(kappa[m] * r[i])
            row[n_gauss + m] = source[n_gauss + m] * df[i] - sine * f[i]
