"""Derivatives of kernels of FCHL18 from scalar products, summed over environments."""

import numpy as np

from skatom._cpu.elementwise import exponential
from skatom._cpu.fastmath import FASTMATH
from skatom._numba import njit


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def field_sums(products, slopes, overlap, own, others, sums, sums_others, self_slopes, precision,
               rows, out):  # fmt: skip
    """out[rows[e], a, j] += ∂κ(e, j)/∂E_a; slopes (3, n, m) are those of the products."""
    n = products.shape[1]
    x, kappa, powers = np.empty(n), np.empty(n), np.empty(n, np.int64)
    for e in range(len(products)):
        alike = overlap[own[e]]
        for j in range(n):
            x[j] = 2 * alike[others[j]] * (1 + products[e, j]) - sums[e] - sums_others[j]
            x[j] = min(precision * x[j], 0.0)
        exponential(x, powers, kappa)
        for a in range(3):
            row, slope, self_slope = out[rows[e], a], slopes[a, e], self_slopes[e, a]
            for j in range(n):
                row[j] += 2 * precision * kappa[j] * (alike[others[j]] * slope[j] - self_slope)


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def gradient_sums(block, first, alike, norm, sums_others, self_slopes, precision, rows, out):
    """out[rows[r], j] += ∂κ(e, j)/∂x_r of one environment e.

    The columns of ``block`` are those of ``out`` from ``first`` on; all others have no scalar
    product with e. Its last row holds products, the others their slopes. ``alike`` (m,): overlap
    of the centres' elements.
    """
    n, last = len(sums_others), first + block.shape[1]
    x, kappa, powers = np.empty(n), np.empty(n), np.empty(n, np.int64)
    for j in range(n):
        x[j] = -precision * (norm + sums_others[j])
    product = block[-1]
    for j in range(first, last):
        x[j] += 2 * precision * alike[j] * (1 + product[j - first])
    for j in range(n):
        x[j] = min(x[j], 0.0)
    exponential(x, powers, kappa)
    for j in range(n):
        kappa[j] *= 2 * precision
    weight = x[first:last]
    for j in range(last - first):
        weight[j] = kappa[first + j] * alike[first + j]
    for r in range(len(rows)):
        row, slope, self_slope = out[rows[r]], block[r], self_slopes[r]
        for j in range(n):
            row[j] -= kappa[j] * self_slope
        part = row[first:last]
        for j in range(last - first):
            part[j] += weight[j] * slope[j]


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def expansion_sums(products, along, alike, norms, others, coefficients, constants, precision,
                   energies, weights, pulls, selves):  # fmt: skip
    """Energies of environments e, and their derivatives with respect to scalar products.

    energies[e] = Σ_j κ(e, j) b, b = coefficients[j] + 2 precision (alike ⟨e, v_j⟩ - constants[j]),
    with products = ⟨e, j⟩ and along = ⟨e, v_j⟩. ``weights`` and ``pulls`` are ∂E/∂⟨e, j⟩ and
    ∂E/∂⟨e, v_j⟩, and ``selves`` is -∂E/∂⟨e, e⟩ times 2.
    """
    n = products.shape[1]
    rate = 2 * precision
    for e in range(len(products)):
        energy = 0.0
        for j in range(n):
            p = alike[e, j]
            x = precision * (2 * p * (1 + products[e, j]) - norms[e] - others[j])
            kappa = np.exp(min(x, 0.0))
            b = coefficients[j] + rate * (p * along[e, j] - constants[j])
            weights[e, j] = kappa * b
            pulls[e, j] = rate * p * kappa
        for j in range(n):
            energy += weights[e, j]
        for j in range(n):
            weights[e, j] *= rate * alike[e, j]
        energies[e] += energy
        selves[e] += rate * energy


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def second_sums(mixed, left, right, product, alike, norm, norms, self_left, self_right, precision,
                starts, rows, columns, out):  # fmt: skip
    """out[rows[x], columns[y]] += ∂²κ(e, j)/∂x∂y of one environment e and all j.

    Without the overlap ``alike`` (m,) of the centres, ``mixed`` (n_x, n_y) are ∂²⟨e, j⟩/∂x∂y,
    ``left`` (n_x, m) are ∂⟨e, j⟩/∂x and ``right`` (n_y,) are ∂⟨e, j⟩/∂y, where the y of j are
    starts[j] … starts[j + 1] − 1; ``self_left``, ``self_right``: half of ∂⟨e, e⟩/∂x, ∂⟨j, j⟩/∂y.
    """
    for j in range(len(product)):
        exponent = precision * (2 * alike[j] * (1 + product[j]) - norm - norms[j])
        kappa = np.exp(min(exponent, 0.0)) * 2 * precision
        for x in range(len(rows)):
            slope = 2 * precision * (alike[j] * left[x, j] - self_left[x])
            row = out[rows[x]]
            for y in range(starts[j], starts[j + 1]):
                along = alike[j] * right[y] - self_right[y]
                row[columns[y]] += kappa * (alike[j] * mixed[x, y] + slope * along)
