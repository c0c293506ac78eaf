"""Jacobians of atomic features along coordinates of structures, from those along pair vectors.

A pair vector r_kj = r_j - r_k moves with both of its ends, and with strains of the cell. Features
of an element do not change with atoms of another one, so only the features that are not zero for a
pair of elements are multiplied.
"""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._cpu.voigt import VOIGT
from skatom._numba import add_product, callee, njit

_AXES = np.array(VOIGT)


@njit(cache=True, nogil=True)
def add_jacobians(values, pairs, places, species, basis, side):
    """Add to the Jacobians of one species those along pair vectors.

    Parameters
    ----------
    values : ndarray of float, shape (n_pairs, 3, n_features)
    pairs : tuple of ndarray
        Centres k and indices j of the pairs, and their vectors (n_pairs, 3).
    places : tuple of ndarray
        Of all atoms the index of the species, the number within it and the structure, their own
        coordinates (n_atoms, 3) of the structure, -1 where there is none, and of all structures the
        coordinates (n, 6) that are components of the strain with the opposite sign, symmetrised.
    species : int
        The index of the species, whose rows are those of ``side``.
    basis : ndarray of float, shape (n_features, rank)
        The Jacobians are kept in this basis; that of no rows stands for the unit matrix.
    side : Side
    """
    centers, indices, vectors = pairs
    of_atom = places[0]
    n_features = values.shape[2]
    mine, used = np.empty(len(centers), np.int64), np.empty(n_features, np.int64)
    columns, row = np.empty(basis.shape[1], np.int64), np.empty(basis.shape[1])
    for other in range(np.max(of_atom) + 1):
        n = _pairs_of(centers, indices, of_atom, species, other, mine)
        if len(basis) == 0:
            for k in range(n):
                p = mine[k]
                for axis in range(vectors.shape[1]):
                    _add_pair(
                        centers[p], indices[p], vectors[p], axis, values[p, axis], places, side
                    )
            continue
        n_used = _used_features(values, mine[:n], used)
        n_columns = _used_columns(basis, used[:n_used], columns)
        if n_used == 0 or n_columns == 0:
            continue
        rows, part = np.empty(3 * n * n_used), np.empty(n_used * n_columns)
        products = np.empty(3 * n * n_columns)
        _gather(values, mine[:n], used[:n_used], rows)
        for u in range(n_used):
            for c in range(n_columns):
                part[u * n_columns + c] = basis[used[u], columns[c]]
        add_product(3 * n, n_columns, n_used, rows, part, False, 0.0, products, n_columns)
        for d in range(len(row)):
            row[d] = 0.0
        for k in range(n):
            p = mine[k]
            for axis in range(vectors.shape[1]):
                at = (3 * k + axis) * n_columns
                for c in range(n_columns):
                    row[columns[c]] = products[at + c]
                _add_pair(centers[p], indices[p], vectors[p], axis, row, places, side)


@callee(cache=True)
def _pairs_of(centers, indices, of_atom, species, other, found):
    """The pairs of a centre of one species with an atom of another, and their number."""
    n = 0
    for p in range(len(centers)):
        if of_atom[centers[p]] == species and of_atom[indices[p]] == other:
            found[n] = p
            n += 1
    return n


@callee(cache=True)
def _used_features(values, pairs, used):
    """The features that are not zero for all of some pairs, and their number."""
    for d in range(len(used)):
        used[d] = 0
    for p in pairs:
        for axis in range(3):
            row = values[p, axis]
            for d in range(len(row)):
                used[d] |= row[d] != 0.0
    n = 0
    for d in range(len(used)):
        if used[d] != 0:
            used[n] = d
            n += 1
    return n


@callee(cache=True)
def _used_columns(basis, used, columns):
    """The vectors of a basis that are not zero for all of some features, and their number."""
    for c in range(len(columns)):
        columns[c] = 0
    for d in used:
        row = basis[d]
        for c in range(len(row)):
            columns[c] |= row[c] != 0.0
    n = 0
    for c in range(len(columns)):
        if columns[c] != 0:
            columns[n] = c
            n += 1
    return n


@callee(cache=True)
def _gather(values, pairs, used, out):
    """Some features of some pairs, row after row."""
    at = 0
    for p in pairs:
        for axis in range(3):
            row = values[p, axis]
            for d in used:
                out[at] = row[d]
                at += 1


@callee(cache=True)
def _add_pair(k, j, vector, axis, row, places, side):
    """Add the derivative along one axis of r_kj to all coordinates with which it moves."""
    _, atom, structure, coordinate, strain = places
    s = structure[k]
    width = side.starts[s + 1] - side.starts[s]
    first = side.row_starts[s] + atom[k] - side.starts[s]
    # one loop for all rows to which a row is added: the compiler copies what is in it
    for target in range(-2, strain.shape[1]):
        if target == -2:
            at, weight = coordinate[j, axis], 1.0
        elif target == -1:
            at, weight = coordinate[k, axis], -1.0
        else:
            at, weight = strain[s, target], 0.0
            a, b = _AXES[0, target], _AXES[1, target]
            if a == axis:
                weight -= 0.5 * vector[b]
            if b == axis:
                weight -= 0.5 * vector[a]
        if at >= 0 and weight != 0.0:
            _add_row(weight, row, side.jacobians[first + at * width])


@callee(cache=True, fastmath=FASTMATH)
def _add_row(weight, row, out):
    for d in range(len(row)):
        out[d] += weight * row[d]


@njit(cache=True, nogil=True)
def fill_own(first, last, side):
    """Jᵀx and the support of some structures, once their Jacobians are complete."""
    for s in range(first, last):
        n_atoms = side.starts[s + 1] - side.starts[s]
        for run in range(side.run_starts[s], side.run_starts[s + 1]):
            support = side.support[side.runs[run, 2]]
            for c in range(side.runs[run, 0], side.runs[run, 1]):
                for j in range(n_atoms):
                    at = side.row_starts[s] + c * n_atoms + j
                    row = side.jacobians[at]
                    side.own[at] = _dot(row, side.projected[side.starts[s] + j])
                    for d in range(len(row)):
                        if row[d] != 0.0:
                            support[d] = 1.0  # as other threads may write, too


@callee(cache=True, fastmath=FASTMATH)
def _dot(x, y):
    total = 0.0
    for d in range(len(x)):
        total += x[d] * y[d]
    return total


@njit(cache=True, nogil=True)
def pair_grams(values, centers, others, n_species):
    """Σ JᵀJ of pairs, for each species of the centre and of the other atom.

    Parameters
    ----------
    values : ndarray of float, shape (n_pairs, 3, n_features)
    centers, others : ndarray of int, shape (n_pairs,)
        Indices of species.
    n_species : int

    Returns
    -------
    used : ndarray of bool, shape (n_species², n_features)
        The features that are not zero.
    grams : ndarray of float
        The matrices of these features, one after another.
    """
    n_features = values.shape[2]
    mine, some = np.empty(len(centers), np.int64), np.empty(n_features, np.int64)
    used = np.zeros((n_species * n_species, n_features), np.bool_)
    size = most = 0
    for both in range(len(used)):
        n = _pairs_between(centers, others, both // n_species, both % n_species, mine)
        n_used = _used_features(values, mine[:n], some)
        for u in range(n_used):
            used[both, some[u]] = True
        size, most = size + n_used * n_used, max(most, 3 * n * n_used)
    grams, rows, place = np.empty(size), np.empty(most), 0
    for both in range(len(used)):
        n = _pairs_between(centers, others, both // n_species, both % n_species, mine)
        n_used = _used_features(values, mine[:n], some)
        if n_used == 0:
            continue
        _gather_transposed(values, mine[:n], some[:n_used], rows)
        add_product(n_used, n_used, 3 * n, rows, rows, True, 0.0, grams[place:], n_used)
        place += n_used * n_used
    return used, grams


@callee(cache=True)
def _pairs_between(centers, others, one, other, found):
    n = 0
    for p in range(len(centers)):
        if centers[p] == one and others[p] == other:
            found[n] = p
            n += 1
    return n


@callee(cache=True)
def _gather_transposed(values, pairs, used, out):
    """Some features of some pairs, feature after feature."""
    n_rows, at = 3 * len(pairs), 0
    for p in pairs:
        for axis in range(3):
            row = values[p, axis]
            for u in range(len(used)):
                out[u * n_rows + at] = row[used[u]]
            at += 1
