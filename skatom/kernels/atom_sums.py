"""Sums over the atoms of structures, element by element, of a kernel of their features."""

from importlib import import_module

import numpy as np

from skatom._device import check_together, is_tensor, namespace
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.origin import check_same_origin
from skatom.memory import check_memory
from skatom.parallel import split_rows, threads_over_blas
from skatom.structures import groups_by_size, offsets_from_counts

# Number of atoms of the rows and of the columns in one piece: its kernel values stay in the cache.
_ROWS, _COLUMNS = 128, 1024
# Number of structures compared with each other where only the diagonal is wanted.
_STRUCTURES = 16


def sums_of_atoms(matrix, X, Y=None, factors=None):
    """Σ_IJ k(q_I, q_J) over atoms of the same element, for all pairs of structures.

    Parameters
    ----------
    matrix : callable
        Function that gives the kernel values (n, m) of two arrays (n, n_features) and
        (m, n_features).
    X : AtomicFeatures of n structures
    Y : AtomicFeatures of m structures, default=None
        The columns. None: X.
    factors : dict of int to float, default=None
        Factors of the sums of each element. None: 1.

    Returns
    -------
    ndarray of float, or tensor for features on a device, shape (n, m)
    """
    check_atomic_features(X, Y)
    symmetric = Y is None
    Y = X if symmetric else Y
    check_kernel_matrix(len(X), len(Y))
    check_together(Y.values, X.values, "Y")
    if is_tensor(X.values):
        tensors = import_module("skatom.kernels._torch.atom_sums")
        return tensors.sums_of_atoms(matrix, X, Y, factors)
    out = np.zeros((len(X), len(Y)))
    of_x, of_y = _by_species(X), _by_species(Y)

    def work(rows):
        first = rows.start if symmetric else 0
        for z in of_x.keys() & of_y.keys():
            x, row_starts, row_places = _part(*of_x[z], rows)
            if len(x) == 0:
                continue
            for columns in groups_by_size(Y.offsets, _COLUMNS, first):
                y, starts, places = _part(*of_y[z], columns)
                if len(y):
                    pairs = np.add.reduceat(matrix(x, y), row_starts, axis=0)
                    if factors is not None:
                        pairs *= factors[z]
                    out[np.ix_(row_places, places)] += np.add.reduceat(pairs, starts, axis=1)

    with threads_over_blas() as pool:
        list(pool.map(work, groups_by_size(X.offsets, _ROWS)))
    return mirrored(out) if symmetric else out


def own_sums(matrix, X, factors=None):
    """The diagonal of `sums_of_atoms`, shape (n,)."""
    pieces = split_rows(len(X), _STRUCTURES)
    sums = [sums_of_atoms(matrix, X[piece], None, factors).diagonal() for piece in pieces]
    return namespace(X.values).concatenate([X.values.sum(1)[:0], *sums])


def check_atomic_features(*sides):
    """Raise a ValueError if a side is not None and not AtomicFeatures."""
    for side in sides:
        if side is not None and not isinstance(side, AtomicFeatures):
            raise ValueError(
                "structures are compared by AtomicFeatures under this kernel, not by "
                f"{type(side).__name__}: transform them by a descriptor first"
            )
    check_same_origin(*sides)


def check_kernel_matrix(n, m):
    """Raise a MemoryError if the matrix of n and m structures would not fit."""
    check_memory(8.0 * n * m, f"the kernel matrix of {n} x {m} structures", "use fewer structures")


def mirrored(matrix):
    """The symmetric matrix of which only the upper triangle is given, in its place."""
    for part in split_rows(len(matrix), _ROWS):
        block = matrix[part, part]
        below = np.tril_indices(len(block), -1)
        block[below] = block.T[below]
        matrix[part.stop :, part] = matrix[part, part.stop :].T
    return matrix


def _by_species(features):
    """The features of each species, and where the atoms of each structure begin among them."""
    structure_of_atom = np.repeat(np.arange(len(features)), features.n_atoms)
    found = {}
    for z in features.species:
        mine = features.numbers == z
        counts = np.bincount(structure_of_atom[mine], minlength=len(features))
        found[z] = (features.values[mine], offsets_from_counts(counts))
    return found


def _part(values, starts, structures):
    """The atoms of some structures, where the atoms of each begin, and their structures."""
    edges = starts[structures.start : structures.stop + 1]
    present = np.flatnonzero(np.diff(edges))
    return (
        values[edges[0] : edges[-1]],
        edges[present] - edges[0],
        structures.start + present,
    )
