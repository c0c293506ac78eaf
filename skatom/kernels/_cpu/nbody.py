"""Pairs, triangles and squared-exponential kernels between them, on plain arrays.

An n-plet is the vector T of its sides, padded with zeros to three, so that pairs and triangles go
through the same loops. A *row* is a linear functional of a function S of the sides,

    L S = Σ_T [a_T S(T) + c_T · ∂S/∂T],

the energy of a structure or a component of the force on an atom: cutoff functions and unit vectors
are in the coefficients a and c, and what remains is the plain kernel exp(-|T - T'|²/2l²). Rows of
the same n-plets (three components of a force) make a *group*.
"""

import numpy as np

from skatom._cpu.elementwise import exponential
from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit

# Training n-plets that are worked on at once: their weights and exponentials stay in the cache.
_CHUNK = 1024


@njit(cache=True, nogil=True)
def count_triangles(first, last, starts, vectors, cutoff, counts):
    """Triangles (i; j, k), j before k in the list of i, whose third side is within the cutoff."""
    for i in range(first, last):
        count = 0
        for p in range(starts[i], starts[i + 1]):
            for q in range(p + 1, starts[i + 1]):
                x = vectors[q, 0] - vectors[p, 0]
                y = vectors[q, 1] - vectors[p, 1]
                z = vectors[q, 2] - vectors[p, 2]
                if x * x + y * y + z * z < cutoff * cutoff:
                    count += 1
        counts[i] = count


@njit(cache=True, nogil=True)
def fill_triangles(first, last, starts, vectors, cutoff, offsets, slots):
    """The pairs (i, j) and (i, k) of each triangle that `count_triangles` counts."""
    for i in range(first, last):
        n = offsets[i]
        for p in range(starts[i], starts[i + 1]):
            for q in range(p + 1, starts[i + 1]):
                x = vectors[q, 0] - vectors[p, 0]
                y = vectors[q, 1] - vectors[p, 1]
                z = vectors[q, 2] - vectors[p, 2]
                if x * x + y * y + z * z < cutoff * cutoff:
                    slots[n, 0] = p
                    slots[n, 1] = q
                    n += 1


@callee(cache=True, fastmath=FASTMATH)
def _kernel_row(x, y, z, sides, begin, end, length_scale, powers, kernel):
    """kernel = exp(-|T - T'|²/2l²) for T = (x, y, z) and the T' from ``begin`` to ``end``."""
    scale = -0.5 / (length_scale * length_scale)
    sx, sy, sz = sides[0, begin:end], sides[1, begin:end], sides[2, begin:end]
    for u in range(len(sx)):
        dx, dy, dz = x - sx[u], y - sy[u], z - sz[u]
        kernel[u] = scale * (dx * dx + dy * dy + dz * dz)
    exponential(kernel, powers, kernel)


@callee(cache=True, fastmath=FASTMATH)
def _row_sums(x, y, z, kernel, sides, coefficients, begin, end, length_scale, sums):
    """Sums over T' of k s, d k s and k c', with d = (T - T')/l² and s = a' + c'·d."""
    scale = 1 / (length_scale * length_scale)
    sx, sy, sz = sides[0, begin:end], sides[1, begin:end], sides[2, begin:end]
    a, cx = coefficients[0, begin:end], coefficients[1, begin:end]
    cy, cz = coefficients[2, begin:end], coefficients[3, begin:end]
    value = bx = by = bz = gx = gy = gz = 0.0
    for u in range(len(sx)):
        dx, dy, dz = (x - sx[u]) * scale, (y - sy[u]) * scale, (z - sz[u]) * scale
        ks = kernel[u] * (a[u] + cx[u] * dx + cy[u] * dy + cz[u] * dz)
        value += ks
        bx += dx * ks
        by += dy * ks
        bz += dz * ks
        gx += kernel[u] * cx[u]
        gy += kernel[u] * cy[u]
        gz += kernel[u] * cz[u]
    sums[0] = value
    sums[1] = gx * scale - bx
    sums[2] = gy * scale - by
    sums[3] = gz * scale - bz


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def add_products(starts, coefficients, values, slopes, out):
    """Sums over the triangles of each group of products of basis functions.

    out[g, r, p, q, s] = Σ_T [a + c_1 ∂_1 + c_2 ∂_2 + c_3 ∂_3] φ_p(T_1) φ_q(T_2) φ_s(T_3);
    ``values`` and ``slopes`` of the basis have the shape (3, n_triangles, n_basis).
    """
    n_basis = values.shape[2]
    first, second, third = values[0], values[1], values[2]
    d_first, d_second, d_third = slopes[0], slopes[1], slopes[2]
    for g in range(len(starts) - 1):
        for r in range(len(coefficients)):
            a, c1 = coefficients[r, 0], coefficients[r, 1]
            c2, c3 = coefficients[r, 2], coefficients[r, 3]
            for p in range(n_basis):
                slab = out[g, r, p]
                for t in range(starts[g], starts[g + 1]):
                    x = a[t] * first[t, p] + c1[t] * d_first[t, p]
                    y, z = c2[t] * first[t, p], c3[t] * first[t, p]
                    row, d_row = third[t], d_third[t]
                    for q in range(n_basis):
                        u = x * second[t, q] + y * d_second[t, q]
                        v = z * second[t, q]
                        line = slab[q]
                        for s in range(n_basis):
                            line[s] += u * row[s] + v * d_row[s]


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def contract(tensor, values, slopes, out):
    """S = Σ_pqs w_pqs φ_p(T_1) φ_q(T_2) φ_s(T_3) of triangles and its gradient: ``out`` (4, n).

    ``values`` and ``slopes`` of the basis have the shape (3, n, n_basis).
    """
    n_basis = len(tensor)
    for t in range(values.shape[1]):
        one, two, three = values[0, t], values[1, t], values[2, t]
        d_one, d_two, d_three = slopes[0, t], slopes[1, t], slopes[2, t]
        s = s_one = s_two = s_three = 0.0
        for p in range(n_basis):
            v = v_two = v_three = 0.0
            for q in range(n_basis):
                line = tensor[p, q]
                u = d_u = 0.0
                for k in range(n_basis):
                    u += line[k] * three[k]
                    d_u += line[k] * d_three[k]
                v += two[q] * u
                v_two += d_two[q] * u
                v_three += two[q] * d_u
            s += one[p] * v
            s_one += d_one[p] * v
            s_two += one[p] * v_two
            s_three += one[p] * v_three
        out[0, t] = s
        out[1, t] = s_one
        out[2, t] = s_two
        out[3, t] = s_three


@njit(cache=True, nogil=True)
def expansion(first, last, sides, centers, weights, length_scale, out):
    """The function S(T) = Σ_T' [w_0 + w · ∂'] k(T, T') and its gradient: ``out`` (4, n)."""
    n = centers.shape[1]
    kernel, powers = np.empty(_CHUNK), np.empty(_CHUNK, np.int64)
    sums = np.empty(4)
    for t in range(first, last):
        x, y, z = sides[0, t], sides[1, t], sides[2, t]
        out[:, t] = 0
        for begin in range(0, n, _CHUNK):
            end = min(begin + _CHUNK, n)
            row = kernel[: end - begin]
            _kernel_row(x, y, z, centers, begin, end, length_scale, powers[: end - begin], row)
            _row_sums(x, y, z, row, centers, weights, begin, end, length_scale, sums)
            for k in range(4):
                out[k, t] += sums[k]


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def add_harmonic_products(
    starts, coefficients, angular, d_angular, first, d_first, second, d_second, out
):
    """Sums over the pairs of neighbours of each group of products of functions of one degree.

    out[g, r, p, q] = Σ_T [a + c_1 ∂_1 + c_2 ∂_2 + c_3 ∂_3] φ_p(T_1) χ_q(T_2) P(T_3).
    """
    n_first, n_second = first.shape[1], second.shape[1]
    for g in range(len(starts) - 1):
        for r in range(len(coefficients)):
            a, c1 = coefficients[r, 0], coefficients[r, 1]
            c2, c3 = coefficients[r, 2], coefficients[r, 3]
            for t in range(starts[g], starts[g + 1]):
                whole = a[t] * angular[t] + c3[t] * d_angular[t]
                along_first, along_second = c1[t] * angular[t], c2[t] * angular[t]
                row, d_row = second[t], d_second[t]
                for p in range(n_first):
                    x = whole * first[t, p] + along_first * d_first[t, p]
                    y = along_second * first[t, p]
                    line = out[g, r, p]
                    for q in range(n_second):
                        line[q] += x * row[q] + y * d_row[q]


@callee(cache=True, fastmath=FASTMATH)
def _add_sums(a_begin, a_end, T, a, b_begin, b_end, U, b, length_scale, out):
    """Add the kernel of two groups: out[r, q] += Σ_TU [a + c · ∂_T] [b + d · ∂_U] k(T, U)."""
    scale = 1 / (length_scale * length_scale)
    for t in range(a_begin, a_end):
        for u in range(b_begin, b_end):
            x, y, z = T[0, t] - U[0, u], T[1, t] - U[1, u], T[2, t] - U[2, u]
            k = np.exp(-0.5 * scale * (x * x + y * y + z * z))
            x, y, z = scale * x, scale * y, scale * z
            for r in range(len(a)):
                left = a[r, 0, t] - a[r, 1, t] * x - a[r, 2, t] * y - a[r, 3, t] * z
                for q in range(len(b)):
                    right = b[q, 0, u] + b[q, 1, u] * x + b[q, 2, u] * y + b[q, 3, u] * z
                    both = a[r, 1, t] * b[q, 1, u] + a[r, 2, t] * b[q, 2, u]
                    both += a[r, 3, t] * b[q, 3, u]
                    out[r, q] += k * (left * right + scale * both)


@njit(cache=True, nogil=True)
def sums_between(first, last, starts, T, a, other_starts, U, b, length_scale, out):
    """Add the kernel of all pairs of groups to ``out`` (n, n_rows, m, m_rows)."""
    for g in range(first, last):
        for h in range(len(other_starts) - 1):
            _add_sums(
                starts[g], starts[g + 1], T, a, other_starts[h], other_starts[h + 1], U, b,
                length_scale, out[g, :, h],
            )  # fmt: skip


@njit(cache=True, nogil=True)
def paired_sums(starts, T, a, other_starts, U, b, partners, length_scale, out):
    """Add the kernel of each group and its partner to ``out`` (n, n_rows, m_rows)."""
    for g in range(len(partners)):
        h = partners[g]
        _add_sums(
            starts[g], starts[g + 1], T, a, other_starts[h], other_starts[h + 1], U, b,
            length_scale, out[g],
        )  # fmt: skip
