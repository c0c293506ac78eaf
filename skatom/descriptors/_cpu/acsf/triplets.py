"""The triplets of one centre: listed by channels, with their bases, powers and Gaussians."""

import numpy as np

from skatom._cpu.elementwise import cutoff_slopes, cutoff_values
from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee
from skatom.descriptors._cpu.acsf.arithmetic import multiply, product
from skatom.descriptors._cpu.acsf.neighborhoods import gaussian
from skatom.descriptors._cpu.acsf.tables import (
    ANGULAR_F,
    DFD,
    FD,
    T_WORK,
    C,
    D,
    R,
    S,
    W,
    X,
    Y,
    Z,
)  # fmt: skip


@callee(cache=True)
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


@callee(cache=True, fastmath=FASTMATH)
def _cosines(x, y, z, first, second, c):
    for i in range(len(c)):
        j, k = first[i], second[i]
        c[i] = x[j] * x[k] + y[j] * y[k] + z[j] * z[k]


@callee(cache=True, fastmath=FASTMATH)
def _squares(r, first, second, c, d):
    """r_jk², by the law of cosines."""
    for i in range(len(c)):
        j, k = first[i], second[i]
        d[i] = r[j] * r[j] + r[k] * r[k] - 2 * r[j] * r[k] * c[i]


@callee(cache=True, fastmath=FASTMATH)
def _sines(x, y, z, first, second, s):
    """|cross product|: exact for nearly straight triplets, unlike √(1 - cos²θ)."""
    for i in range(len(s)):
        j, k = first[i], second[i]
        sx = y[j] * z[k] - z[j] * y[k]
        sy = z[j] * x[k] - x[j] * z[k]
        sz = x[j] * y[k] - y[j] * x[k]
        s[i] = np.sqrt(sx * sx + sy * sy + sz * sz)


@callee(cache=True)
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


@callee(cache=True)
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
        limit = functions.angular_cutoff * functions.angular_cutoff
        n = _leave_out(limit, n_runs, t.runs, first, second, rows[C], rows[D])
    if n_g4 + functions.n_g5 < n_gauss:
        _sines(x, y, z, first, second, rows[S, :n])
    return n, n_runs


@callee(cache=True, fastmath=FASTMATH)
def _power(x, zeta, work, out):
    """x^ζ, by repeated squaring for a whole number."""
    whole = int(zeta)
    if whole != zeta:
        for i in range(len(x)):
            out[i] = x[i] ** zeta
        return
    for i in range(len(x)):
        out[i] = 1.0
        work[i] = x[i]
    while whole > 0:
        if whole % 2:
            for i in range(len(x)):
                out[i] *= work[i]
        whole //= 2
        if whole > 0:
            for i in range(len(x)):
                work[i] *= work[i]


@callee(cache=True, fastmath=FASTMATH)
def _root(d):
    for i in range(len(d)):
        d[i] = np.sqrt(d[i])


@callee(cache=True, fastmath=FASTMATH)
def _base(p, q, c, s, x):
    if q == 0.0:
        for i in range(len(x)):
            x[i] = max(1 + p * c[i], 0.0)
    else:
        for i in range(len(x)):
            x[i] = max(1 + p * c[i] + q * s[i], 0.0)


@callee(cache=True, fastmath=FASTMATH)
def _outer(values, first, second, out):
    """out = values_j values_k."""
    for i in range(len(out)):
        out[i] = values[first[i]] * values[second[i]]


@callee(cache=True, fastmath=FASTMATH)
def _mean(r, first, second, out):
    for i in range(len(out)):
        out[i] = 0.5 * (r[first[i]] + r[second[i]])


@callee(cache=True)
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
        p, q = functions.bases[base, 0], functions.bases[base, 1]
        _base(p, q, rows[C, :n], rows[S, :n], t.x[base, :n])
    for m in range(len(functions.zeta)):
        base, parent = functions.power_of[m, 0], functions.power_of[m, 1]
        if parent >= 0:
            product(t.a[parent, :n], t.a[parent, :n], t.a[m, :n])
        else:
            _power(t.x[base, :n], functions.zeta[m], work, t.a[m, :n])
    for g in range(len(functions.gaussians)):
        eta, shift = functions.gaussians[g, 0], functions.gaussians[g, 1]
        e, b = t.e[g, :n], t.b[g, :n]
        if n_g4 <= g < n_separable:
            _outer(hood.e[g], first, second, e)
        else:
            distances = d
            if g >= n_separable:
                _mean(hood.rows[R], first, second, b)
                distances = b
            gaussian(eta, shift, distances, work, exponents, e)
        if g < n_g4:
            _outer(hood.e[g], first, second, b)
            multiply(e, b)
        product(e, w, b)
        if g < n_g4:
            multiply(b, rows[FD, :n])
