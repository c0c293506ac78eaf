"""Loops of GDML and sGDML on plain arrays.

A structure is here a symmetric matrix of inverse distances x_ab with a zero diagonal, and an
antisymmetric matrix of pair gradients C_ab = (r_a - r_b) / d_ab³. Under a permutation q, x turns
into the matrix of entries x[q[a], q[b]].
"""

from math import exp, sqrt

import numpy as np
from numba import njit, prange

# Sums may be reordered and multiply-adds fused; NaN and infinity keep their meaning.
_FASTMATH = {"reassoc", "contract"}


@njit(cache=True, inline="always")
def matern_weights(squared_distance, sigma):
    """The weights (w1, w2) of the Matérn-5/2 Hessian kernel w1 I - w2 δδᵀ."""
    t = sqrt(5.0 * squared_distance) / sigma
    decay = exp(-t)
    w1 = 5.0 / (3.0 * sigma**2) * (1.0 + t) * decay
    w2 = 25.0 / (3.0 * sigma**4) * decay
    return w1, w2


@njit(cache=True, inline="always")
def matern(squared_distance, sigma):
    """The Matérn-5/2 kernel (1 + t + t²/3) exp(-t), t = √5|δ|/σ."""
    t = sqrt(5.0 * squared_distance) / sigma
    return (1.0 + t + t * t / 3.0) * exp(-t)


def force_kernel_columns(values, gradients, permutations, sigma, kept, rows, first, last, out):
    """Lower triangle of K_FF = Σ_q J_iᵀ (w1 I - w2 δδᵀ) P_q J_j for some column frames j.

    Parameters
    ----------
    values : ndarray, shape (M, N, N), x
    gradients : ndarray, shape (M, 3, N, N), C
    permutations : ndarray of int, shape (S, N), a group
    sigma : float
    kept : ndarray of int, shape (n,)
        The coordinates 3 a + axis that are rows of K, frame by frame.
    rows : ndarray of int, shape (M + 1,)
        Where the rows of each frame begin.
    first, last : int
        The column frames first … last - 1. They are worked on together, in the innermost
        dimension of every array, so that vector registers are full whatever the molecule's size:
        some 20 to 30 are best.
    out : ndarray, shape (n - rows[first], rows[last] - rows[first])
        Overwritten on and below its diagonal blocks.
    """
    _fill_columns(
        values,
        gradients,
        np.ascontiguousarray(np.moveaxis(values[first:last], 0, -1)),
        np.ascontiguousarray(np.moveaxis(gradients[first:last], 0, -1)),
        permutations,
        np.argsort(permutations, axis=1),
        sigma,
        kept,
        rows,
        first,
        out,
    )


@njit(cache=True, parallel=True)
def _fill_columns(
    values, gradients, column_values, column_gradients, permutations, inverses, sigma, kept, rows,
    first, out,
):  # fmt: skip
    n_frames, n_atoms, _ = values.shape
    n_permutations, n_columns = len(permutations), column_values.shape[2]
    for i in prange(first, n_frames):
        row_values = np.empty((n_permutations, n_atoms, n_atoms))
        row_gradients = np.empty((n_permutations, 3, n_atoms, n_atoms))
        for q in range(n_permutations):
            for a in range(n_atoms):
                for b in range(n_atoms):
                    at = permutations[q, a], permutations[q, b]
                    row_values[q, a, b] = values[i][at]
                    for x in range(3):
                        row_gradients[q, x, a, b] = gradients[i, x][at]
        w1 = np.empty((n_permutations, n_columns))
        row_projection = np.empty((n_permutations, 3, n_atoms, n_columns))
        column_projection = np.empty((n_permutations, 3, n_atoms, n_columns))
        for q in range(n_permutations):
            _project(
                row_values[q], row_gradients[q], column_values, column_gradients, sigma, w1[q],
                row_projection[q], column_projection[q],
            )  # fmt: skip
        kernel_row = np.empty((3, n_atoms, n_columns))
        for r in range(rows[i], rows[i + 1]):
            _kernel_row(
                kept[r] // 3, kept[r] % 3, inverses, row_gradients, column_gradients, w1,
                row_projection, column_projection, kernel_row,
            )  # fmt: skip
            for j in range(first, min(first + n_columns, i + 1)):
                for s in range(rows[j], rows[j + 1]):
                    out[r - rows[first], s - rows[first]] = kernel_row[
                        kept[s] % 3, kept[s] // 3, j - first
                    ]


@njit(cache=True, fastmath=_FASTMATH)
def _project(values, gradients, column_values, column_gradients, sigma, w1, left, right):
    """w1; the projections w2 J_iᵀδ and J_jᵀδ, where (Jᵀδ)_a = -Σ_b C_ab δ_ab."""
    n_atoms, n_columns = len(values), len(w1)
    squared = np.zeros(n_columns)
    delta = np.empty(n_columns)
    left[:] = 0.0
    right[:] = 0.0
    for a in range(n_atoms):
        for b in range(n_atoms):
            for j in range(n_columns):
                delta[j] = values[a, b] - column_values[a, b, j]
                squared[j] += delta[j] ** 2
            for x in range(3):
                for j in range(n_columns):
                    left[x, a, j] -= gradients[x, a, b] * delta[j]
                    right[x, a, j] -= column_gradients[x, a, b, j] * delta[j]
    for j in range(n_columns):  # each pair was counted twice
        w1[j], w2 = matern_weights(0.5 * squared[j], sigma)
        left[:, :, j] *= w2


@njit(cache=True, fastmath=_FASTMATH)
def _kernel_row(atom, x, inverses, gradients, column_gradients, w1, left, right, row):
    """One row of the blocks (i, j): force component x on an atom of i, all of those of each j.

    J_iᵀJ_j couples atoms through the pairs that they form: it is -C_ab ⊗ C_ab off the diagonal of
    atoms and Σ_b C_ab ⊗ C_ab on it. δ enters through its two
    projections only, of which ``left`` holds the factor w2.
    """
    n_atoms, n_columns = gradients.shape[2], w1.shape[1]
    total = np.empty(n_columns)
    row[:] = 0.0
    for q in range(len(inverses)):
        a = inverses[q, atom]
        for y in range(3):
            total[:] = 0.0
            for b in range(n_atoms):
                gradient = gradients[q, x, a, b]
                for j in range(n_columns):
                    product = w1[q, j] * gradient * column_gradients[y, a, b, j]
                    total[j] += product
                    row[y, b, j] -= product + left[q, x, a, j] * right[q, y, b, j]
            for j in range(n_columns):
                row[y, a, j] += total[j]


@njit(cache=True, nogil=True, fastmath=_FASTMATH)
def weigh_kernel(products, queries, squares, projections, energy_coefficients, sigma, sums):
    """Turn inner products into the weights of the predictor, in place; return energies.

    With δ = y - x_i: E = Σ_i β_i k - w1 δ·u_i, and -∂E/∂y = Σ_i w1 u_i + h_i x_i - y Σ_i h_i, where
    h_i = w2 δ·u_i - β_i w1. Working with |δ|² = y² + x² - 2 y·x is safe although it cancels: the
    kernel is even in |δ| up to third order, so an error ε of |δ|² changes it by ε only.

    Parameters
    ----------
    products : ndarray, shape (B, 2 M)
        y·x_i and y·u_i; on return h_i and w1.
    queries : ndarray, shape (B, D), y
    squares, projections : ndarray, shape (M,), x_i·x_i and x_i·u_i
    energy_coefficients : ndarray, shape (M,), β
    sigma : float
    sums : ndarray, shape (B,); on return Σ_i h_i

    Returns
    -------
    ndarray, shape (B,)
    """
    n_references = len(squares)
    energies = np.zeros(len(products))
    for row in range(len(products)):
        square = 0.0
        for p in range(queries.shape[1]):
            square += queries[row, p] ** 2
        total = 0.0
        for i in range(n_references):
            squared = max(square + squares[i] - 2.0 * products[row, i], 0.0)
            along = products[row, n_references + i] - projections[i]
            w1, w2 = matern_weights(squared, sigma)
            beta = energy_coefficients[i]
            energies[row] -= w1 * along
            if beta != 0.0:
                energies[row] += beta * matern(squared, sigma)
            h = w2 * along - beta * w1
            total += h
            products[row, i] = h
            products[row, n_references + i] = w1
        sums[row] = total
    return energies
