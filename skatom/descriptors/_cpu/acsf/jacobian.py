"""Derivatives of every symmetry function along the vectors of its pairs."""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.acsf.arithmetic import add
from skatom.descriptors._cpu.acsf.gradients import slopes_at_ends
from skatom.descriptors._cpu.acsf.neighborhoods import gather
from skatom.descriptors._cpu.acsf.tables import (
    DFD,
    FD,
    INVERSE,
    STRAIGHT,
    TINY,
    C,
    D,
    R,
    S,
    W,
    X,
    most_neighbors,
    neighborhood,
    triplets,
)  # fmt: skip
from skatom.descriptors._cpu.acsf.triplets import collect, evaluate


@callee(cache=True, fastmath=FASTMATH)
def _gaussian_slopes(kind, eta, shift, of, t, jk, e, at_j, at_k, between):
    """Slopes of E with all cutoff functions along r_ij, r_ik and r_jk, the last over r_jk."""
    for i in range(len(e)):
        a, b, w = jk[0, i], jk[1, i], t[W, i]
        total, ratio = e[i], 0.0
        linear, constant = -2 * eta * total, 2 * eta * shift * total
        if kind == 0:
            d, f = t[D, i], t[FD, i]
            ratio = w * (total * t[DFD, i] + (linear * d + constant) * f) / d
            total, linear, constant = total * f, linear * f, constant * f
        elif kind == 2:
            linear, constant = 0.0, -eta * (0.5 * (of[R, a] + of[R, b]) - shift) * total
        at_j[i], at_k[i] = slopes_at_ends(a, b, total, linear, constant, ratio, 0.0, w, of)
        between[i] = ratio


@callee(cache=True, fastmath=FASTMATH)
def _power_slopes(zeta, p, q, a, x, c, s, out):
    """d(x^ζ)/dcos θ."""
    for i in range(len(a)):
        tangent = c[i] / s[i] if q != 0.0 and s[i] > STRAIGHT else 0.0
        out[i] = zeta * a[i] / max(x[i], TINY) * (p - q * tangent)


@callee(cache=True, fastmath=FASTMATH)
def _function_slopes(k, c, inverse_j, inverse_k, terms, scale, a, b, da, db, slopes):
    """Slopes (3, n_angular) of every function on one triplet: at both ends, and X of `_scatter`.

    ``da``: d(x^ζ)/dcos θ; ``db`` (3, n_gauss, n): from `_gaussian_slopes`.
    """
    inverse = inverse_j * inverse_k
    for m in range(len(terms)):
        power, g = terms[m, 0], terms[m, 1]
        value, dc = scale[m] * a[power, k], scale[m] * da[power, k] * b[g, k]
        slopes[0, m] = value * db[0, g, k] - c * dc * inverse_j
        slopes[1, m] = value * db[1, g, k] - c * dc * inverse_k
        slopes[2, m] = dc * inverse - value * db[2, g, k]


@callee(cache=True)
def angular_jacobian(n, n_runs, n_radial, functions, hood, t, da, db, slopes, out):
    """Add the derivatives of every function, (n_neighbors, 4, n_features), of n triplets."""
    n_angular, of, rows, jk = len(functions.terms), hood.rows, t.rows, t.jk
    for g in range(len(functions.gaussians)):
        kind = 0 if g < functions.n_g4 else 1 if g < functions.n_g4 + functions.n_g5 else 2
        eta, shift = functions.gaussians[g, 0], functions.gaussians[g, 1]
        _gaussian_slopes(
            kind, eta, shift, of, rows, jk, t.e[g, :n], db[0, g, :n], db[1, g, :n], db[2, g, :n]
        )
    for m in range(len(functions.zeta)):
        base = functions.power_of[m, 0]
        p, q = functions.bases[base, 0], functions.bases[base, 1]
        _power_slopes(
            functions.zeta[m], p, q, t.a[m, :n], t.x[base, :n], rows[C, :n], rows[S, :n], da[m, :n]
        )
    for run in range(n_runs):
        first = n_radial + t.runs[0, run] * n_angular
        stop = first + n_angular
        for k in range(t.runs[1, run], t.runs[1, run + 1]):
            a, b = jk[0, k], jk[1, k]
            _function_slopes(
                k, rows[C, k], of[INVERSE, a], of[INVERSE, b], functions.terms, functions.scale,
                t.a, t.b, da, db, slopes,
            )  # fmt: skip
            add(1.0, slopes[0], out[a, 0, first:stop])
            add(1.0, slopes[1], out[b, 0, first:stop])
            for axis in range(3):
                add(of[R, b] * of[X + axis, b], slopes[2], out[a, 1 + axis, first:stop])
                add(of[R, a] * of[X + axis, a], slopes[2], out[b, 1 + axis, first:stop])


@njit(cache=True, nogil=True)
def pair_jacobian(first, last, starts, vectors, centers, species, functions, out):
    """d features_i / dr_ij: (n_pairs, 3, n_features)."""
    n_max = most_neighbors(first, last, starts)
    per_channel, n_features = len(functions.radial) + len(functions.kappa), out.shape[2]
    n_radial = functions.n_channels * per_channel
    hood, t = neighborhood(n_max, functions), triplets(n_max, n_max, functions)
    with_slopes = t.q.shape[1] > 0
    state, gradient = np.empty(3, np.int64), np.empty((n_max, 4, n_features))
    slopes = np.empty((3, len(functions.terms)))
    da, db = np.empty(t.a.shape), np.empty((3, *t.e.shape))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        n_neighbors = gather(vectors[a:b], species[a:b], functions, with_slopes, hood)
        gradient[:n_neighbors] = 0.0
        edges = hood.edges[0]
        for channel in range(functions.n_channels):
            for k in range(edges[2 * channel], edges[2 * channel + 2]):
                first = channel * per_channel
                for m in range(per_channel):
                    gradient[k, 0, first + m] = hood.slopes[k, m]
        state[:] = 0
        while len(functions.terms) > 0 and state[0] < functions.n_channels:
            n, n_runs = collect(state, functions, hood, t)
            evaluate(n, functions, with_slopes, hood, t)
            angular_jacobian(n, n_runs, n_radial, functions, hood, t, da, db, slopes, gradient)
        for k in range(n_neighbors):
            for axis in range(3):
                target = out[a + hood.order[0, k], axis]
                for m in range(n_features):
                    target[m] = gradient[k, 1 + axis, m]
                add(hood.rows[X + axis, k], gradient[k, 0], target)
