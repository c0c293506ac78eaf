"""Loops of GDML and sGDML on plain arrays.

A structure is here a symmetric matrix of inverse distances x_ab with a zero diagonal, and an
antisymmetric matrix of pair gradients C_ab = (r_a - r_b) / d_ab³. Under a permutation q, x turns
into the matrix of entries x[q[a], q[b]].
"""

from math import exp, sqrt

import numpy as np

from skatom._cpu.elementwise import exponential
from skatom._numba import add_product, callee, njit
from skatom.parallel import split_rows, threads_over_blas

# Sums may be reordered and multiply-adds fused; NaN and infinity keep their meaning.
_FASTMATH = {"reassoc", "contract"}

# Frames whose rows of the kernel one thread makes at a time.
_ROW_FRAMES = 8
# Frames whose columns are made together where only some columns are.
_COLUMN_FRAMES = 24


@njit(cache=True, inline="always")
def matern_weights(squared_distance, sigma):
    """The weights (w1, w2) of the Matérn-5/2 Hessian kernel w1 I - w2 δδᵀ."""
    t = sqrt(5.0 * squared_distance) / sigma
    decay = exp(-t)
    w1 = 5.0 / (3.0 * sigma * sigma) * (1.0 + t) * decay
    w2 = 25.0 / (3.0 * sigma * sigma * sigma * sigma) * decay
    return w1, w2


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
    column_values = np.ascontiguousarray(np.moveaxis(values[first:last], 0, -1))
    column_gradients = np.ascontiguousarray(np.moveaxis(gradients[first:last], 0, -1))
    inverses = np.argsort(permutations, axis=1)
    places = kept % 3 * values.shape[1] + kept // 3  # in arrays (3, N) instead of (N, 3)

    def work(rows_of_frames):
        _fill_rows(
            values, gradients, column_values, column_gradients, permutations, inverses, sigma,
            places, rows, first, first + rows_of_frames.start, first + rows_of_frames.stop, out,
        )  # fmt: skip

    with threads_over_blas() as pool:
        list(pool.map(work, split_rows(len(values) - first, _ROW_FRAMES)))


@njit(cache=True, nogil=True)
def _fill_rows(
    values, gradients, column_values, column_gradients, permutations, inverses, sigma, places, rows,
    first, start, stop, out,
):  # fmt: skip
    """`force_kernel_columns` for the row frames start … stop - 1."""
    n_atoms = values.shape[1]
    n_permutations, n_columns = len(permutations), column_values.shape[2]
    row_values = np.empty((n_permutations, n_atoms, n_atoms))
    row_gradients = np.empty((n_permutations, 3, n_atoms, n_atoms))
    w1 = np.empty((n_permutations, n_columns))
    row_projection = np.empty((n_permutations, 3, n_atoms, n_columns))
    column_projection = np.empty((n_permutations, 3, n_atoms, n_columns))
    kernel_row = np.empty((3, n_atoms, n_columns))
    flat_row = kernel_row.reshape(3 * n_atoms, n_columns)
    for i in range(start, stop):
        for q in range(n_permutations):
            _permute(values[i], gradients[i], permutations[q], row_values[q], row_gradients[q])
            _project(
                row_values[q], row_gradients[q], column_values, column_gradients, sigma, w1[q],
                row_projection[q], column_projection[q],
            )  # fmt: skip
        for r in range(rows[i], rows[i + 1]):
            _kernel_row(
                places[r] % n_atoms, places[r] // n_atoms, inverses, row_gradients,
                column_gradients, w1, row_projection, column_projection, kernel_row,
            )  # fmt: skip
            for j in range(first, min(first + n_columns, i + 1)):
                for s in range(rows[j], rows[j + 1]):
                    out[r - rows[first], s - rows[first]] = flat_row[places[s], j - first]


def some_force_kernel_columns(values, gradients, permutations, sigma, kept, rows, index, out):
    """Some columns of K_FF, with all of its rows.

    Parameters
    ----------
    values, gradients, permutations, sigma, kept, rows : as in `force_kernel_columns`
    index : ndarray of int, shape (m,), sorted
        The columns.
    out : ndarray, shape (n, m)
        Overwritten.
    """
    places = kept % 3 * values.shape[1] + kept // 3  # in arrays (3, N) instead of (N, 3)
    frames = np.searchsorted(rows, index, side="right") - 1
    with threads_over_blas() as pool:
        for first in range(0, len(values), _COLUMN_FRAMES):
            columns = slice(*np.searchsorted(frames, [first, first + _COLUMN_FRAMES]))
            if columns.start == columns.stop:
                continue
            last = min(first + _COLUMN_FRAMES, len(values))
            column_values = np.ascontiguousarray(np.moveaxis(values[first:last], 0, -1))
            column_gradients = np.ascontiguousarray(np.moveaxis(gradients[first:last], 0, -1))
            arguments = (
                values, gradients, column_values, column_gradients, permutations, sigma, places,
                rows, first, frames[columns], places[index[columns]], out[:, columns],
            )  # fmt: skip

            def work(some, arguments=arguments):
                _fill_some_columns(*arguments, some.start, some.stop)

            list(pool.map(work, split_rows(len(values), _ROW_FRAMES)))


@njit(cache=True, nogil=True, fastmath=_FASTMATH)
def _fill_some_columns(
    values, gradients, column_values, column_gradients, permutations, sigma, places, rows, first,
    frames, column_places, out, start, stop,
):  # fmt: skip
    """`some_force_kernel_columns` for the row frames start … stop - 1 and some column frames."""
    n_atoms = values.shape[1]
    n_permutations, n_columns = len(permutations), column_values.shape[2]
    row_values = np.empty((n_permutations, n_atoms, n_atoms))
    row_gradients = np.empty((n_permutations, 3, n_atoms, n_atoms))
    w1 = np.empty((n_permutations, n_columns))
    left = np.empty((n_permutations, 3, n_atoms, n_columns))
    right = np.empty((n_permutations, 3, n_atoms, n_columns))
    column = np.empty(3 * n_atoms)
    for i in range(start, stop):
        for q in range(n_permutations):
            _permute(values[i], gradients[i], permutations[q], row_values[q], row_gradients[q])
            _project(
                row_values[q], row_gradients[q], column_values, column_gradients, sigma, w1[q],
                left[q], right[q],
            )  # fmt: skip
        for c in range(len(frames)):
            j, b, y = frames[c], column_places[c] % n_atoms, column_places[c] // n_atoms
            column[:] = 0.0
            for q in range(n_permutations):
                weight, along = w1[q, j - first], right[q, y, b, j - first]
                for x in range(3):
                    total = 0.0
                    for a in range(n_atoms):
                        product = weight * row_gradients[q, x, b, a] * gradients[j, y, b, a]
                        total += product
                        place = x * n_atoms + permutations[q, a]
                        column[place] -= product + left[q, x, a, j - first] * along
                    column[x * n_atoms + permutations[q, b]] += total
            for r in range(rows[i], rows[i + 1]):
                out[r, c] = column[places[r]]


@callee(cache=True)
def _permute(values, gradients, permutation, permuted_values, permuted_gradients):
    n_atoms = len(permutation)
    for a in range(n_atoms):
        for b in range(n_atoms):
            permuted_values[a, b] = values[permutation[a], permutation[b]]
            for x in range(3):
                permuted_gradients[x, a, b] = gradients[x, permutation[a], permutation[b]]


@callee(allocates=True, cache=True, fastmath=_FASTMATH)
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
                squared[j] += delta[j] * delta[j]
            for x in range(3):
                for j in range(n_columns):
                    left[x, a, j] -= gradients[x, a, b] * delta[j]
                    right[x, a, j] -= column_gradients[x, a, b, j] * delta[j]
    for j in range(n_columns):  # each pair was counted twice
        w1[j], w2 = matern_weights(0.5 * squared[j], sigma)
        for x in range(3):
            for a in range(n_atoms):
                left[x, a, j] *= w2


@callee(allocates=True, cache=True, fastmath=_FASTMATH)
def _kernel_row(atom, x, inverses, gradients, column_gradients, w1, left, right, row):
    """One row of the blocks (i, j): force component x on an atom of i, all of those of each j.

    J_iᵀJ_j couples atoms through the pairs that they form: it is -C_ab ⊗ C_ab off the diagonal of
    atoms and Σ_b C_ab ⊗ C_ab on it. δ enters through its two projections only, of which ``left``
    holds the factor w2.
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
def expand(
    first, last, size, values, center, permutations, inverses, references, squares, projections,
    energy_coefficients, sigma, energies, slopes,
):  # fmt: skip
    """Energies and slopes of an expansion in references, see `KernelExpansion`.

    With y the images of a descriptor, δ = y - x_i: E = Σ_i β_i k - w1 δ·u_i, and
    -∂E/∂y = Σ_i w1 u_i + h_i x_i - y Σ_i h_i, where h_i = w2 δ·u_i - β_i w1.

    Parameters
    ----------
    first, last : int
        The descriptors first … last - 1 are evaluated, ``size`` at a time.
    values : ndarray, shape (n, D)
        Descriptors.
    center : ndarray, shape (D,)
        Subtracted from them.
    permutations, inverses : ndarray of int, shape (S, D)
        The group, acting on the pairs, and the inverses of its members.
    references : ndarray, shape (2 M, D), x_i and u_i
    squares, projections : ndarray, shape (M,), x_i·x_i and x_i·u_i
    energy_coefficients : ndarray, shape (M,), β
    sigma : float
    energies : ndarray, shape (n,)
    slopes : ndarray, shape (n, D)
        ∂E/∂x.
    """
    n_permutations, n_pairs = permutations.shape
    n_references, most = len(squares), min(size, last - first) * n_permutations
    queries, gradients = np.empty((most, n_pairs)), np.empty((most, n_pairs))
    weights = np.empty((most, 2 * n_references))
    t, decay = np.empty(n_references), np.empty(n_references)
    powers = np.empty(n_references, np.int64)
    for start in range(first, last, size):
        stop = min(start + size, last)
        n = (stop - start) * n_permutations
        for row in range(n):
            value = values[start + row // n_permutations]
            places = permutations[row % n_permutations]
            for p in range(n_pairs):
                queries[row, p] = value[places[p]] - center[places[p]]
        width = 2 * n_references
        add_product(n, width, n_pairs, queries, references, True, 0.0, weights, width)
        for s in range(start, stop):
            energies[s] = 0.0
            for p in range(n_pairs):
                slopes[s, p] = 0.0
        for row in range(n):
            _distances(weights[row], queries[row], squares, sigma, t)
            exponential(t, powers, decay)
            energy, total = _weigh(weights[row], t, decay, projections, energy_coefficients, sigma)
            energies[start + row // n_permutations] += energy
            for p in range(n_pairs):
                queries[row, p] *= total
        add_product(n, n_pairs, width, weights, references, False, 0.0, gradients, n_pairs)
        for row in range(n):
            slope, places = slopes[start + row // n_permutations], inverses[row % n_permutations]
            for p in range(n_pairs):
                slope[p] += queries[row, places[p]] - gradients[row, places[p]]


@callee(cache=True, fastmath=_FASTMATH)
def _distances(products, query, squares, sigma, t):
    """-√5|y - x_i|/σ from inner products y·x_i.

    |y - x|² = y² + x² - 2 y·x is safe although it cancels: the kernel is even in |δ| up to third
    order, so an error ε of |δ|² changes it by ε only.
    """
    scale, square = 5.0 / (sigma * sigma), 0.0
    for p in range(len(query)):
        square += query[p] * query[p]
    for i in range(len(squares)):
        squared = square + squares[i] - 2.0 * products[i]
        t[i] = -sqrt(scale * max(squared, 0.0))


@callee(cache=True, fastmath=_FASTMATH)
def _weigh(products, t, decay, projections, energy_coefficients, sigma):
    """E and Σ_i h_i; the products y·x_i and y·u_i become h_i and w1. ``t``: see `_distances`."""
    a = 5.0 / (3.0 * sigma * sigma)
    b = 25.0 / (3.0 * sigma * sigma * sigma * sigma)
    n = len(t)
    left, right = products[:n], products[n:]
    energy, total = 0.0, 0.0
    for i in range(n):
        w1 = a * (1.0 - t[i]) * decay[i]
        kernel = (1.0 - t[i] + t[i] * t[i] / 3.0) * decay[i]
        energy += energy_coefficients[i] * kernel - w1 * (right[i] - projections[i])
    for i in range(n):
        w1 = a * (1.0 - t[i]) * decay[i]
        left[i] = b * decay[i] * (right[i] - projections[i]) - energy_coefficients[i] * w1
        right[i] = w1
    for i in range(n):
        total += left[i]
    return energy, total


@njit(cache=True, nogil=True, fastmath=_FASTMATH)
def pull_on_atoms(first, last, slopes, values, gradients, on_atoms, on_strain):
    """∂E/∂R (n, N, 3) and ∂E/∂ε (n, 3, 3) of the frames first … last - 1, from slopes ∂E/∂x (n, D).

    ``gradients``: see `PairFeatures`. ``on_strain`` may be empty.
    """
    n_atoms = on_atoms.shape[1]
    for s in range(first, last):
        gradient, p = on_atoms[s], 0
        for a in range(n_atoms):
            for axis in range(3):
                gradient[a, axis] = 0.0
            for b in range(a):
                for axis in range(3):
                    pull = slopes[s, p] * gradients[s, p, axis]
                    gradient[a, axis] -= pull
                    gradient[b, axis] += pull
                p += 1
        if len(on_strain) > 0:
            _strain(slopes[s], values[s], gradients[s], on_strain[s])


@callee(cache=True, fastmath=_FASTMATH)
def _strain(slopes, values, gradients, out):
    xx = yy = zz = yz = xz = xy = 0.0
    for p in range(len(slopes)):
        x, y, z = gradients[p, 0], gradients[p, 1], gradients[p, 2]
        f = -slopes[p] / (values[p] * values[p] * values[p])
        xx += f * x * x
        yy += f * y * y
        zz += f * z * z
        yz += f * y * z
        xz += f * x * z
        xy += f * x * y
    out[0, 0], out[1, 1], out[2, 2] = xx, yy, zz
    out[1, 2] = out[2, 1] = yz
    out[0, 2] = out[2, 0] = xz
    out[0, 1] = out[1, 0] = xy
