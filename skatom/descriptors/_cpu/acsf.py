"""Atom-centred symmetry functions of every centre, and their derivatives along pair vectors.

Every angular function is a product of a power and a Gaussian, each shared by many functions:

    G_f = scale_f Σ_{j<k} x^ζ E w,     x = 1 + p cos θ + q sin θ,     w = f_c(r_ij) f_c(r_ik)
    G4:  E = exp{-η [(r_ij - R)² + (r_ik - R)² + (r_jk - R)²]},  times f_c(r_jk)
    G5:  E = exp{-η [(r_ij - R)² + (r_ik - R)²]}
    ANI: E = exp{-η [(r_ij + r_ik)/2 - R]²}

Triplets are listed in flat arrays, some hundred at a time so that these stay in the first cache,
sorted by the pair of channels (species) of j and k. The triplets of one such block are a run.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from skatom._cpu.elementwise import cutoff_slopes, cutoff_values, exponential
from skatom._cpu.fastmath import FASTMATH

_TRIPLETS = 256
# sin θ of a triplet that counts as straight: there G has a kink, whose mean slope is 0.
_STRAIGHT = 1e-10
_TINY = 1e-300


# Rows of Neighborhood.rows: distance and its inverse, unit vector, weight, both cutoff functions
# times the weight and their slopes, and scratch.
R, INVERSE, X, Y, Z, WEIGHT, F, DF, ANGULAR_F, ANGULAR_DF, WORK = range(11)
# Rows of Triplets.rows: cos θ, sin θ, r_jk, f_c(r_jk) and its slope, w, dE/dcos θ, the sums of
# `_sum_gaussian`, and scratch.
C, S, D, FD, DFD, W, DC, SUMS = range(8)
N_SUMS = 6
T_WORK = SUMS + N_SUMS


# Compiled functions receive every array of these tuples as seven numbers, which takes longer than
# the work of a short row of triplets: hence few arrays, and innermost functions of few arguments.


class Functions(NamedTuple):
    """What to compute, for compiled code."""

    cutoff: float
    angular_cutoff: float
    cutoff_kind: int
    n_channels: int
    channels: np.ndarray  # (n_species,), of each species
    weights: np.ndarray  # (n_species,), of a neighbour of each species
    # radial functions: Gaussians (η, R), then cosines κ
    radial: np.ndarray
    kappa: np.ndarray
    # Gaussians E (η, R) of the angular functions: n_g4 of kind G4, n_g5 of G5, the rest of ANI
    n_g4: int
    n_g5: int
    gaussians: np.ndarray
    # bases (p, q), and powers ζ of them; of each its base, and the power ζ/2 or -1
    bases: np.ndarray
    zeta: np.ndarray
    power_of: np.ndarray
    # angular functions: (power, Gaussian) and the factor 2^(1 - ζ)
    terms: np.ndarray
    scale: np.ndarray


class Neighborhood(NamedTuple):
    """The neighbours of one centre, sorted by channel, those within the angular cutoff first."""

    # of channel c: edges[0, 2c], edges[0, 2c + 1] (angular cutoff), edges[0, 2c + 2]
    edges: np.ndarray
    order: np.ndarray  # (2, n): which pair of the centre; key to sort by
    rows: np.ndarray
    e: np.ndarray  # (n_gauss, n): exp(-η (r - R)²) of G4 and G5
    radial: np.ndarray  # (n, n_radial): radial functions without cutoff, and their slopes
    slopes: np.ndarray
    exponents: np.ndarray  # at least n, and n * n_radial


class Triplets(NamedTuple):
    """Some triplets (i, j, k) of one centre i."""

    runs: np.ndarray  # (2, n_blocks + 1): pair of channels of a run, and where it starts
    jk: np.ndarray  # (2, n): positions of j and k in the neighbourhood
    rows: np.ndarray
    x: np.ndarray  # (n_bases, n)
    a: np.ndarray  # (n_powers, n): x^ζ
    e: np.ndarray  # (n_gauss, n): E
    b: np.ndarray  # (n_gauss, n): E with all cutoff functions
    exponents: np.ndarray
    # for derivatives
    q: np.ndarray  # (n_gauss, n): Σ cotangent x^ζ of the functions of one Gaussian
    p: np.ndarray  # (n_bases, n): dE/dx


@njit(cache=True)
def neighborhood(n_max, functions):
    """Buffers for up to n_max neighbours."""
    n_radial = len(functions.radial) + len(functions.kappa)
    return Neighborhood(
        np.empty((2, 2 * functions.n_channels + 1), np.int64),
        np.empty((2, n_max), np.int64),
        np.empty((WORK + 1, n_max)),
        np.empty((len(functions.gaussians), n_max)),
        np.empty((n_max, n_radial)),
        np.empty((n_max, n_radial)),
        np.empty(n_max * max(n_radial, 1), np.int64),
    )


@njit(cache=True)
def triplets(n_max, functions, with_derivatives):
    """Buffers; a row of triplets (one j, all k) always fits."""
    n = max(_TRIPLETS, n_max)
    m = n if with_derivatives else 0
    n_blocks = functions.n_channels * (functions.n_channels + 1) // 2
    n_gauss, n_bases = len(functions.gaussians), len(functions.bases)
    return Triplets(
        np.empty((2, n_blocks + 1), np.int64),
        np.empty((2, n), np.int64),
        np.empty((T_WORK + 1, n)),
        np.empty((n_bases, n)),
        np.empty((len(functions.zeta), n)),
        np.empty((n_gauss, n)),
        np.empty((n_gauss, n)),
        np.empty(n, np.int64),
        np.empty((n_gauss, m)),
        np.empty((n_bases, m)),
    )


# --- neighbours -------------------------------------------------------------------------------


@njit(cache=True, fastmath=FASTMATH)
def _sort(vectors, species, functions, edges, order, rows):
    """Fill the distances, unit vectors and weights of the neighbours, sorted."""
    n = len(vectors)
    counts, start = edges[0], edges[1]
    counts[:] = 0
    for k in range(n):
        dx, dy, dz = vectors[k]
        r = np.sqrt(dx * dx + dy * dy + dz * dz)
        rows[WORK, k] = r
        key = 2 * functions.channels[species[k]] + (r >= functions.angular_cutoff)
        order[1, k] = key
        counts[key + 1] += 1
    for key in range(1, len(counts)):
        counts[key] += counts[key - 1]
    start[:] = counts
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


@njit(cache=True, fastmath=FASTMATH)
def _multiply(a, b):
    for i in range(len(a)):
        a[i] *= b[i]


@njit(cache=True)
def gather(vectors, species, functions, with_slopes, hood):
    """Sort the neighbours of one centre and evaluate what depends on one of them; their number."""
    n = len(vectors)
    _sort(vectors, species, functions, hood.edges, hood.order, hood.rows)
    kind, rows, r = functions.cutoff_kind, hood.rows, hood.rows[R, :n]
    weight, work, exponents = rows[WEIGHT, :n], rows[WORK, :n], hood.exponents[:n]
    cutoff_values(kind, functions.cutoff, r, rows[F, :n])
    cutoff_values(kind, functions.angular_cutoff, r, rows[ANGULAR_F, :n])
    _multiply(rows[F, :n], weight)
    _multiply(rows[ANGULAR_F, :n], weight)
    if with_slopes:
        cutoff_slopes(kind, functions.cutoff, r, rows[DF, :n])
        cutoff_slopes(kind, functions.angular_cutoff, r, rows[ANGULAR_DF, :n])
        _multiply(rows[DF, :n], weight)
        _multiply(rows[ANGULAR_DF, :n], weight)
    for g in range(functions.n_g4 + functions.n_g5):
        eta, shift = functions.gaussians[g]
        gaussian(eta, shift, r, work, exponents, hood.e[g, :n])
    radial, kappa, e, scratch = functions.radial, functions.kappa, hood.radial[:n], hood.slopes[:n]
    radial_functions(r, radial, kappa, scratch, hood.exponents[: e.size], e)
    if with_slopes:
        radial_slopes(r, rows[F, :n], rows[DF, :n], radial, kappa, e, scratch)
    return n


@njit(cache=True, fastmath=FASTMATH)
def gaussian(eta, shift, r, work, exponents, out):
    """exp(-η (r - R)²)."""
    for i in range(len(r)):
        work[i] = -eta * (r[i] - shift) * (r[i] - shift)
    exponential(work, exponents, out)


@njit(cache=True, fastmath=FASTMATH)
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(cache=True, fastmath=FASTMATH)
def radial_functions(r, radial, kappa, work, exponents, e):
    """Gaussians and cosines of each neighbour, without cutoff, as rows of e (n, n_radial)."""
    n_gauss = len(radial)
    for i in range(len(r)):
        row = work[i]
        for m in range(n_gauss):
            row[m] = -radial[m, 0] * (r[i] - radial[m, 1]) * (r[i] - radial[m, 1])
        for m in range(len(kappa)):
            row[n_gauss + m] = 0.0
    exponential(work.ravel(), exponents, e.ravel())
    for i in range(len(r)):
        for m in range(len(kappa)):
            e[i, n_gauss + m] = np.cos(kappa[m] * r[i])


@njit(cache=True, fastmath=FASTMATH)
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


@njit(cache=True, fastmath=FASTMATH)
def radial_values(n_channels, edges, f, e, out):
    """Radial functions of one centre, (n_channels, n_radial) flat."""
    n_radial = e.shape[1]
    for channel in range(n_channels):
        row = out[channel * n_radial : (channel + 1) * n_radial]
        for i in range(edges[2 * channel], edges[2 * channel + 2]):
            weight, source = f[i], e[i]
            for m in range(n_radial):
                row[m] += weight * source[m]


@njit(cache=True, fastmath=FASTMATH)
def radial_gradients(n_channels, edges, slopes, cotangent, out):
    """Add to dE/dr_ij in the form of `_scatter`."""
    n_radial = slopes.shape[1]
    for channel in range(n_channels):
        row = cotangent[channel * n_radial : (channel + 1) * n_radial]
        for i in range(edges[2 * channel], edges[2 * channel + 2]):
            out[i, 0] += _dot(row, slopes[i])


# --- triplets ---------------------------------------------------------------------------------


@njit(cache=True)
def _list(state, capacity, n_channels, edges, first, second, runs):
    """The neighbours j and k of the next triplets; see `collect`."""
    n = n_runs = 0
    a, b, j = state[0], state[1], state[2]
    full = False
    while a < n_channels and not full:
        runs[0, n_runs] = a * n_channels - a * (a - 1) // 2 + b - a
        runs[1, n_runs] = n
        end, stop = edges[2 * a + 1], edges[2 * b + 1]
        while j < end:
            low = j + 1 if a == b else edges[2 * b]
            if n + stop - low > capacity:
                full = True
                break
            for k in range(low, stop):
                first[n] = j
                second[n] = k
                n += 1
            j += 1
        if n > runs[1, n_runs]:
            n_runs += 1
        if not full:
            b += 1
            if b == n_channels:
                a += 1
                b = a
            if a < n_channels:
                j = edges[2 * a]
    runs[1, n_runs] = n
    state[0], state[1], state[2] = a, b, j
    return n, n_runs


@njit(cache=True, fastmath=FASTMATH)
def _cosines(x, y, z, first, second, c):
    for i in range(len(c)):
        j, k = first[i], second[i]
        c[i] = x[j] * x[k] + y[j] * y[k] + z[j] * z[k]


@njit(cache=True, fastmath=FASTMATH)
def _squares(r, first, second, c, d):
    """r_jk², by the law of cosines."""
    for i in range(len(c)):
        j, k = first[i], second[i]
        d[i] = r[j] * r[j] + r[k] * r[k] - 2 * r[j] * r[k] * c[i]


@njit(cache=True, fastmath=FASTMATH)
def _sines(x, y, z, first, second, s):
    """|cross product|: exact for nearly straight triplets, unlike √(1 - cos²θ)."""
    for i in range(len(s)):
        j, k = first[i], second[i]
        sx = y[j] * z[k] - z[j] * y[k]
        sy = z[j] * x[k] - x[j] * z[k]
        sz = x[j] * y[k] - y[j] * x[k]
        s[i] = np.sqrt(sx * sx + sy * sy + sz * sz)


@njit(cache=True)
def _leave_out(limit, n_runs, runs, first, second, c, d):
    """Keep the triplets with r_jk² < limit, without a branch to mispredict; their number."""
    n = begin = 0
    for run in range(n_runs):
        end, kept = runs[1, run + 1], n
        for i in range(begin, end):
            square = d[i]
            first[n], second[n], c[n], d[n] = first[i], second[i], c[i], square
            n += square < limit
        runs[1, run] = kept
        begin = end
    runs[1, n_runs] = n
    return n


@njit(cache=True)
def collect(state, functions, hood, t):
    """The next triplets of a centre: how many, and in how many runs.

    ``state`` is the pair of channels (a, b) and the neighbour j where to go on; a = n_channels
    when all are done.
    """
    first, second, of, rows = t.jk[0], t.jk[1], hood.rows, t.rows
    n_gauss, n_g4 = len(functions.gaussians), functions.n_g4
    n, n_runs = _list(state, len(first), functions.n_channels, hood.edges[0], first, second, t.runs)
    x, y, z = of[X], of[Y], of[Z]
    _cosines(x, y, z, first, second, rows[C, :n])
    if n_g4 > 0:
        _squares(of[R], first, second, rows[C, :n], rows[D, :n])
    if n_g4 == n_gauss:
        limit = functions.angular_cutoff**2
        n = _leave_out(limit, n_runs, t.runs, first, second, rows[C], rows[D])
    if n_g4 + functions.n_g5 < n_gauss:
        _sines(x, y, z, first, second, rows[S, :n])
    return n, n_runs


@njit(cache=True, fastmath=FASTMATH)
def _power(x, zeta, work, out):
    """x^ζ, by repeated squaring for a whole number."""
    whole = int(zeta)
    if whole != zeta:
        for i in range(len(x)):
            out[i] = x[i] ** zeta
        return
    out[:] = 1.0
    work[:] = x
    while whole > 0:
        if whole % 2:
            for i in range(len(x)):
                out[i] *= work[i]
        whole //= 2
        if whole > 0:
            for i in range(len(x)):
                work[i] *= work[i]


@njit(cache=True, fastmath=FASTMATH)
def _root(d):
    for i in range(len(d)):
        d[i] = np.sqrt(d[i])


@njit(cache=True, fastmath=FASTMATH)
def _base(p, q, c, s, x):
    if q == 0.0:
        for i in range(len(x)):
            x[i] = max(1 + p * c[i], 0.0)
    else:
        for i in range(len(x)):
            x[i] = max(1 + p * c[i] + q * s[i], 0.0)


@njit(cache=True, fastmath=FASTMATH)
def _outer(values, first, second, out):
    """out = values_j values_k."""
    for i in range(len(out)):
        out[i] = values[first[i]] * values[second[i]]


@njit(cache=True, fastmath=FASTMATH)
def _mean(r, first, second, out):
    for i in range(len(out)):
        out[i] = 0.5 * (r[first[i]] + r[second[i]])


@njit(cache=True, fastmath=FASTMATH)
def _product(a, b, out):
    for i in range(len(out)):
        out[i] = a[i] * b[i]


@njit(cache=True)
def evaluate(n, functions, with_slopes, hood, t):
    """Bases, powers and Gaussians of n triplets."""
    first, second, rows = t.jk[0, :n], t.jk[1, :n], t.rows
    w, d, work, exponents = rows[W, :n], rows[D, :n], rows[T_WORK, :n], t.exponents[:n]
    n_g4, n_separable = functions.n_g4, functions.n_g4 + functions.n_g5
    _outer(hood.rows[ANGULAR_F], first, second, w)
    if n_g4 > 0:
        _root(d)
        cutoff_values(functions.cutoff_kind, functions.angular_cutoff, d, rows[FD, :n])
        if with_slopes:
            cutoff_slopes(functions.cutoff_kind, functions.angular_cutoff, d, rows[DFD, :n])
    for base in range(len(functions.bases)):
        p, q = functions.bases[base]
        _base(p, q, rows[C, :n], rows[S, :n], t.x[base, :n])
    for m in range(len(functions.zeta)):
        base, parent = functions.power_of[m]
        if parent >= 0:
            _product(t.a[parent, :n], t.a[parent, :n], t.a[m, :n])
        else:
            _power(t.x[base, :n], functions.zeta[m], work, t.a[m, :n])
    for g in range(len(functions.gaussians)):
        eta, shift = functions.gaussians[g]
        e, b = t.e[g, :n], t.b[g, :n]
        if g < n_g4:
            _outer(hood.e[g], first, second, b)
            gaussian(eta, shift, d, work, exponents, e)
            _multiply(e, b)
            _product(e, w, b)
            _multiply(b, rows[FD, :n])
            continue
        if g < n_separable:
            _outer(hood.e[g], first, second, e)
        else:
            _mean(hood.rows[R], first, second, b)
            gaussian(eta, shift, b, work, exponents, e)
        _product(e, w, b)


@njit(cache=True, fastmath=FASTMATH)
def angular_values(n_runs, runs, terms, scale, a, b, out):
    """Add the triplets to the angular functions of one centre, (n_blocks, n_angular) flat."""
    for run in range(n_runs):
        i, j = runs[1, run], runs[1, run + 1]
        row = out[runs[0, run] * len(terms) :]
        for m in range(len(terms)):
            row[m] += scale[m] * _dot(a[terms[m, 0], i:j], b[terms[m, 1], i:j])


@njit(cache=True, nogil=True)
def values(first, last, starts, vectors, centers, species, functions, out):
    """Features of the atoms first … last - 1 into ``out`` (n_atoms, n_features)."""
    n_max = np.max(starts[first + 1 : last + 1] - starts[first:last])
    n_radial = functions.n_channels * (len(functions.radial) + len(functions.kappa))
    hood, t = neighborhood(n_max, functions), triplets(n_max, functions, False)
    state = np.empty(3, np.int64)
    for i in range(first, last):
        row = out[i]
        row[:] = 0.0
        a, b = starts[i], starts[i + 1]
        n = gather(vectors[a:b], species[a:b], functions, False, hood)
        radial_values(functions.n_channels, hood.edges[0], hood.rows[F], hood.radial, row)
        state[:] = 0
        while len(functions.terms) > 0 and state[0] < functions.n_channels:
            n, n_runs = collect(state, functions, hood, t)
            evaluate(n, functions, False, hood, t)
            angular_values(
                n_runs, t.runs, functions.terms, functions.scale, t.a, t.b, row[n_radial:]
            )


# --- derivatives ------------------------------------------------------------------------------


@njit(cache=True, fastmath=FASTMATH)
def _weigh(weight, zeta, a, b, x, p, q):
    """Add weight times one function to dE/dx = Σ weight ζ x^(ζ-1) b and to q = Σ weight x^ζ."""
    for k in range(len(a)):
        q[k] += weight * a[k]
    weight *= zeta
    for k in range(len(a)):
        p[k] += weight * a[k] * b[k] / max(x[k], _TINY)


@njit(cache=True, fastmath=FASTMATH)
def _sum_gaussian(eta, shift, q, e, sums):
    """Add one Gaussian of G4 or G5 to the sums that the slopes along distances need.

    With M = q E and dE/dr = -2η(r - R) E the sums are ΣM, Σ-2ηM and Σ2ηRM: the slope along any
    distance r is (second sum) r + (third sum). The first three rows are for G4, whose factor
    f_c(r_jk) is still missing, the other three for the rest.
    """
    total, linear, constant = sums[0], sums[1], sums[2]
    for k in range(len(q)):
        total[k] += q[k] * e[k]
    for k in range(len(q)):
        linear[k] -= 2 * eta * q[k] * e[k]
    if shift != 0.0:
        for k in range(len(q)):
            constant[k] += 2 * eta * shift * q[k] * e[k]


@njit(cache=True, fastmath=FASTMATH)
def _sum_ani(eta, shift, r, first, second, q, e, sums):
    """The same of ANI, whose slope is equal along both distances."""
    total, constant = sums[0], sums[2]
    for k in range(len(q)):
        total[k] += q[k] * e[k]
    for k in range(len(q)):
        mean = 0.5 * (r[first[k]] + r[second[k]])
        constant[k] -= eta * (mean - shift) * q[k] * e[k]


@njit(cache=True, fastmath=FASTMATH)
def _sum_base(cosine, sine, p, c, s, dc):
    """Add dE/dx of a base to dE/dcos θ."""
    if sine == 0.0:
        for k in range(len(p)):
            dc[k] += cosine * p[k]
    else:
        for k in range(len(p)):
            tangent = c[k] / s[k] if s[k] > _STRAIGHT else 0.0
            dc[k] += (cosine - sine * tangent) * p[k]


@njit(cache=True)
def _sum(i, j, g, functions, hood, t):
    """Add the Gaussian g of the triplets i to j to their sums."""
    eta, shift = functions.gaussians[g]
    q, e = t.q[g, i:j], t.e[g, i:j]
    if g < functions.n_g4:
        _sum_gaussian(eta, shift, q, e, t.rows[SUMS:, i:j])
    elif g < functions.n_g4 + functions.n_g5:
        _sum_gaussian(eta, shift, q, e, t.rows[SUMS + 3 :, i:j])
    else:
        first, second = t.jk[0, i:j], t.jk[1, i:j]
        _sum_ani(eta, shift, hood.rows[R], first, second, q, e, t.rows[SUMS + 3 :, i:j])


@njit(cache=True, fastmath=FASTMATH)
def _ends(a, b, total, linear, constant, ratio, turn, w, of):
    """Slopes along the unit vectors of the neighbours a and b of one triplet, see `_scatter`."""
    ra, rb = of[R, a], of[R, b]
    slope_a = of[ANGULAR_DF, a] * of[ANGULAR_F, b] * total + w * (linear * ra + constant)
    slope_b = of[ANGULAR_F, a] * of[ANGULAR_DF, b] * total + w * (linear * rb + constant)
    return (
        slope_a + turn * of[INVERSE, a] + ratio * ra,
        slope_b + turn * of[INVERSE, b] + ratio * rb,
    )


@njit(cache=True, fastmath=FASTMATH)
def _scatter(n, has_g4, of, t, jk, out):
    """Add the slopes along the vectors of both neighbours of n triplets.

    ``of`` and ``t``: rows of the neighbourhood and of the triplets. ``out`` (n_neighbors, 4):
    along the unit vector of each neighbour, and along x, y, z. With u = dE/dr_ij and v = dE/dr_jk
    the gradient is, and likewise for k,

        dE/dr_j = [u - c/r_j dE/dc + v r_j/r_jk] ê_j + r_k X ê_k,
        X = dE/dc / (r_j r_k) - v / r_jk
    """
    for k in range(n):
        a, b = jk[0, k], jk[1, k]
        w, dc = t[W, k], t[DC, k]
        total, linear, constant = t[SUMS + 3, k], t[SUMS + 4, k], t[SUMS + 5, k]
        ratio = 0.0
        if has_g4:
            d, fd = t[D, k], t[FD, k]
            total += t[SUMS, k] * fd
            linear += t[SUMS + 1, k] * fd
            constant += t[SUMS + 2, k] * fd
            slope = t[SUMS, k] * t[DFD, k] + (t[SUMS + 1, k] * d + t[SUMS + 2, k]) * fd
            ratio = w * slope / d
        along_a, along_b = _ends(a, b, total, linear, constant, ratio, -t[C, k] * dc, w, of)
        cross = dc * of[INVERSE, a] * of[INVERSE, b] - ratio
        to_a, to_b = cross * of[R, b], cross * of[R, a]
        out[a, 0] += along_a
        out[b, 0] += along_b
        for axis in range(3):
            out[a, 1 + axis] += to_a * of[X + axis, b]
            out[b, 1 + axis] += to_b * of[X + axis, a]


@njit(cache=True)
def angular_gradients(n, n_runs, functions, hood, t, cotangent, out):
    """Add dE/dr_ij, in the form of `_scatter`, of n triplets."""
    n_angular, rows, terms = len(functions.terms), t.rows, functions.terms
    t.q[:, :n] = 0.0
    t.p[:, :n] = 0.0
    rows[DC : SUMS + N_SUMS, :n] = 0.0
    for run in range(n_runs):
        i, j = t.runs[1, run], t.runs[1, run + 1]
        row = cotangent[t.runs[0, run] * n_angular :]
        for m in range(n_angular):
            power, g = terms[m]
            base = functions.power_of[power, 0]
            _weigh(
                row[m] * functions.scale[m], functions.zeta[power], t.a[power, i:j],
                t.b[g, i:j], t.x[base, i:j], t.p[base, i:j], t.q[g, i:j],
            )  # fmt: skip
    for g in range(len(functions.gaussians)):
        _sum(0, n, g, functions, hood, t)
    for base in range(len(functions.bases)):
        p, q = functions.bases[base]
        _sum_base(p, q, t.p[base, :n], rows[C, :n], rows[S, :n], rows[DC, :n])
    _scatter(n, functions.n_g4 > 0, hood.rows, rows, t.jk, out)


@njit(cache=True, fastmath=FASTMATH)
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
        at_j[i], at_k[i] = _ends(a, b, total, linear, constant, ratio, 0.0, w, of)
        between[i] = ratio


@njit(cache=True, fastmath=FASTMATH)
def _power_slopes(zeta, p, q, a, x, c, s, out):
    """d(x^ζ)/dcos θ."""
    for i in range(len(a)):
        tangent = c[i] / s[i] if q != 0.0 and s[i] > _STRAIGHT else 0.0
        out[i] = zeta * a[i] / max(x[i], _TINY) * (p - q * tangent)


@njit(cache=True, fastmath=FASTMATH)
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


@njit(cache=True, fastmath=FASTMATH)
def _add(a, x, out):
    for i in range(len(out)):
        out[i] += a * x[i]


@njit(cache=True)
def angular_jacobian(n, n_runs, n_radial, functions, hood, t, da, db, slopes, out):
    """Add the derivatives of every function, (n_neighbors, 4, n_features), of n triplets."""
    n_angular, of, rows, jk = len(functions.terms), hood.rows, t.rows, t.jk
    for g in range(len(functions.gaussians)):
        kind = 0 if g < functions.n_g4 else 1 if g < functions.n_g4 + functions.n_g5 else 2
        eta, shift = functions.gaussians[g]
        _gaussian_slopes(
            kind, eta, shift, of, rows, jk, t.e[g, :n], db[0, g, :n], db[1, g, :n], db[2, g, :n]
        )
    for m in range(len(functions.zeta)):
        base = functions.power_of[m, 0]
        p, q = functions.bases[base]
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
            _add(1.0, slopes[0], out[a, 0, first:stop])
            _add(1.0, slopes[1], out[b, 0, first:stop])
            for axis in range(3):
                _add(of[R, b] * of[X + axis, b], slopes[2], out[a, 1 + axis, first:stop])
                _add(of[R, a] * of[X + axis, a], slopes[2], out[b, 1 + axis, first:stop])


@njit(cache=True, nogil=True)
def pair_gradients(first, last, starts, vectors, centers, species, functions, cotangent, out):
    """dE/dr_ij, into (n_pairs, 3), for dE/d features, (n_atoms, n_features) or (1, n_features)."""
    n_max = np.max(starts[first + 1 : last + 1] - starts[first:last])
    per_channel = len(functions.radial) + len(functions.kappa)
    n_radial = functions.n_channels * per_channel
    hood, t = neighborhood(n_max, functions), triplets(n_max, functions, True)
    state, gradient = np.empty(3, np.int64), np.empty((n_max, 4))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        row = cotangent[min(i, len(cotangent) - 1)]
        n_neighbors = gather(vectors[a:b], species[a:b], functions, True, hood)
        gradient[:n_neighbors] = 0.0
        radial_gradients(functions.n_channels, hood.edges[0], hood.slopes, row, gradient)
        state[:] = 0
        while len(functions.terms) > 0 and state[0] < functions.n_channels:
            n, n_runs = collect(state, functions, hood, t)
            evaluate(n, functions, True, hood, t)
            angular_gradients(n, n_runs, functions, hood, t, row[n_radial:], gradient)
        for k in range(n_neighbors):
            for axis in range(3):
                along = gradient[k, 0] * hood.rows[X + axis, k]
                out[a + hood.order[0, k], axis] = along + gradient[k, 1 + axis]


@njit(cache=True, nogil=True)
def pair_jacobian(first, last, starts, vectors, centers, species, functions, out):
    """d features_i / dr_ij: (n_pairs, 3, n_features)."""
    n_max = np.max(starts[first + 1 : last + 1] - starts[first:last])
    per_channel, n_features = len(functions.radial) + len(functions.kappa), out.shape[2]
    n_radial = functions.n_channels * per_channel
    hood, t = neighborhood(n_max, functions), triplets(n_max, functions, True)
    state, gradient = np.empty(3, np.int64), np.empty((n_max, 4, n_features))
    slopes = np.empty((3, len(functions.terms)))
    da, db = np.empty(t.a.shape), np.empty((3, *t.e.shape))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        n_neighbors = gather(vectors[a:b], species[a:b], functions, True, hood)
        gradient[:n_neighbors] = 0.0
        edges = hood.edges[0]
        for channel in range(functions.n_channels):
            for k in range(edges[2 * channel], edges[2 * channel + 2]):
                first = channel * per_channel
                gradient[k, 0, first : first + per_channel] = hood.slopes[k]
        state[:] = 0
        while len(functions.terms) > 0 and state[0] < functions.n_channels:
            n, n_runs = collect(state, functions, hood, t)
            evaluate(n, functions, True, hood, t)
            angular_jacobian(n, n_runs, n_radial, functions, hood, t, da, db, slopes, gradient)
        for k in range(n_neighbors):
            for axis in range(3):
                target = out[a + hood.order[0, k], axis]
                target[:] = gradient[k, 1 + axis]
                _add(hood.rows[X + axis, k], gradient[k, 0], target)
