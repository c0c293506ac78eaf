"""From dE/d features of one centre to dE/dr_ij of its pairs."""

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee
from skatom.descriptors._cpu.acsf.arithmetic import dot
from skatom.descriptors._cpu.acsf.tables import (
    ANGULAR_DF,
    ANGULAR_F,
    DC,
    DFD,
    FD,
    INVERSE,
    N_SUMS,
    STRAIGHT,
    SUMS,
    TINY,
    C,
    D,
    R,
    S,
    W,
    X,
)  # fmt: skip


@callee(cache=True, fastmath=FASTMATH)
def radial_gradients(n_channels, edges, slopes, cotangent, out):
    """Add to dE/dr_ij in the form of `_scatter`."""
    n_radial = slopes.shape[1]
    for channel in range(n_channels):
        row = cotangent[channel * n_radial : (channel + 1) * n_radial]
        for i in range(edges[2 * channel], edges[2 * channel + 2]):
            out[i, 0] += dot(row, slopes[i])


@callee(cache=True, fastmath=FASTMATH)
def _weigh(weight, zeta, a, b, x, p, q):
    """Add weight times one function to dE/dx = Σ weight ζ x^(ζ-1) b and to q = Σ weight x^ζ."""
    for k in range(len(a)):
        q[k] += weight * a[k]
    weight *= zeta
    for k in range(len(a)):
        p[k] += weight * a[k] * b[k] / max(x[k], TINY)


@callee(cache=True, fastmath=FASTMATH)
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


@callee(cache=True, fastmath=FASTMATH)
def _sum_ani(eta, shift, r, first, second, q, e, sums):
    """The same of ANI, whose slope is equal along both distances."""
    total, constant = sums[0], sums[2]
    for k in range(len(q)):
        total[k] += q[k] * e[k]
    for k in range(len(q)):
        mean = 0.5 * (r[first[k]] + r[second[k]])
        constant[k] -= eta * (mean - shift) * q[k] * e[k]


@callee(cache=True, fastmath=FASTMATH)
def _sum_base(cosine, sine, p, c, s, dc):
    """Add dE/dx of a base to dE/dcos θ."""
    if sine == 0.0:
        for k in range(len(p)):
            dc[k] += cosine * p[k]
    else:
        for k in range(len(p)):
            tangent = c[k] / s[k] if s[k] > STRAIGHT else 0.0
            dc[k] += (cosine - sine * tangent) * p[k]


@callee(cache=True, fastmath=FASTMATH)
def slopes_at_ends(a, b, total, linear, constant, ratio, turn, w, of):
    """Slopes along the unit vectors of the neighbours a and b of one triplet, see `_scatter`."""
    ra, rb = of[R, a], of[R, b]
    slope_a = of[ANGULAR_DF, a] * of[ANGULAR_F, b] * total + w * (linear * ra + constant)
    slope_b = of[ANGULAR_F, a] * of[ANGULAR_DF, b] * total + w * (linear * rb + constant)
    return (
        slope_a + turn * of[INVERSE, a] + ratio * ra,
        slope_b + turn * of[INVERSE, b] + ratio * rb,
    )


@callee(cache=True, fastmath=FASTMATH)
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
        along_a, along_b = slopes_at_ends(
            a, b, total, linear, constant, ratio, -t[C, k] * dc, w, of
        )
        cross = dc * of[INVERSE, a] * of[INVERSE, b] - ratio
        to_a, to_b = cross * of[R, b], cross * of[R, a]
        out[a, 0] += along_a
        out[b, 0] += along_b
        for axis in range(3):
            out[a, 1 + axis] += to_a * of[X + axis, b]
            out[b, 1 + axis] += to_b * of[X + axis, a]


@callee(cache=True)
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
            power, g = terms[m, 0], terms[m, 1]
            base = functions.power_of[power, 0]
            _weigh(
                row[m] * functions.scale[m], functions.zeta[power], t.a[power, i:j],
                t.b[g, i:j], t.x[base, i:j], t.p[base, i:j], t.q[g, i:j],
            )  # fmt: skip
    g4, others = rows[SUMS:, :n], rows[SUMS + 3 :, :n]
    for g in range(len(functions.gaussians)):
        eta, shift = functions.gaussians[g, 0], functions.gaussians[g, 1]
        q, e = t.q[g, :n], t.e[g, :n]
        if g < functions.n_g4 + functions.n_g5:
            _sum_gaussian(eta, shift, q, e, g4 if g < functions.n_g4 else others)
        else:
            _sum_ani(eta, shift, hood.rows[R], t.jk[0, :n], t.jk[1, :n], q, e, others)
    for base in range(len(functions.bases)):
        p, q = functions.bases[base, 0], functions.bases[base, 1]
        _sum_base(p, q, t.p[base, :n], rows[C, :n], rows[S, :n], rows[DC, :n])
    _scatter(n, functions.n_g4 > 0, hood.rows, rows, t.jk, out)
