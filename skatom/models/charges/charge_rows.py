"""Rows of the least squares of charges and of their dipoles, structure by structure."""

import numpy as np
from ase.data import atomic_masses

from skatom.memory import check_memory
from skatom.parallel import serial_blas
from skatom.solvers import StreamedQR
from skatom.structures import groups_by_size

# Bytes of the rows of functions of atoms that are made at once.
_BATCH_BYTES = 2**26


def sums_of_atoms(values, offsets):
    """Sums over the atoms of each structure."""
    return np.add.reduceat(values, offsets[:-1])


def without_mean(values, structures):
    """Values of atoms less their mean in each structure."""
    means = (sums_of_atoms(values, structures.offsets).T / structures.n_atoms).T
    return values - np.repeat(means, structures.n_atoms, axis=0)


def masses_of(structures):
    """Masses of the atoms in amu."""
    return atomic_masses[structures.numbers]


def dipole_of_shared_charge(structures, total_charge):
    """The dipole about the centre of mass of a charge that all atoms share, shape (n, 3)."""
    mass = masses_of(structures)[:, None]
    heavy = sums_of_atoms(mass * structures.positions, structures.offsets)
    heavy /= sums_of_atoms(mass, structures.offsets)
    center = sums_of_atoms(structures.positions, structures.offsets) / structures.n_atoms[:, None]
    return total_charge * (center - heavy)


def dipole_rows(functions, structures):
    """Σ_i φ_i (r_i − r̄) of each structure and direction, shape (3 n, n_columns)."""
    arms, first = without_mean(structures.positions, structures), structures.offsets[:-1]
    rows = np.empty((len(structures), 3, functions.shape[1]))
    for axis in range(3):
        rows[:, axis] = np.add.reduceat(functions * arms[:, axis, None], first, axis=0)
    return rows.reshape(-1, functions.shape[1])


# Rows of charges are the functions less their means.
ROWS = {"dipole": dipole_rows, "charges": without_mean}


def least_squares(basis, X, target, labels, weights):
    """The rows of all structures and the labels, or as few as say the same.

    Parameters
    ----------
    basis : ChargeBasis
    X : AtomicFeatures
    target : {"dipole", "charges"}
    labels : ndarray of float, shape (n_rows,)
    weights : ndarray of float, shape (n_rows,)

    Returns
    -------
    rows : ndarray of float, shape (n_kept, n_columns)
    targets : ndarray of float, shape (n_kept,)
    rest : float
        The part of the sum of squares of the labels that the targets do not have.
    """
    n = basis.n_columns
    check_memory(
        8.0 * n * 4 * min(n, len(labels)) + 3 * _BATCH_BYTES,
        f"the least squares of {n} coefficients and {len(labels)} labels",
        "take fewer features, for example by FeatureSelector, or a smaller n_sparse",
    )
    roots = np.sqrt(weights)
    of_atoms = X.offsets if target == "charges" else 3 * np.arange(len(X) + 1)
    sums, kept = StreamedQR(n), []
    few = len(labels) <= n
    for batch in groups_by_size(X.offsets, max(1, _BATCH_BYTES // (8 * n))):
        part = X[batch]
        place = slice(of_atoms[batch.start], of_atoms[batch.stop])
        rows = ROWS[target](basis.functions(part), part.structures) * roots[place, None]
        if few:
            kept.append(rows)
            continue
        with serial_blas():
            sums.update(rows, roots[place] * labels[place])
    if few:
        return np.concatenate(kept), roots * labels, 0.0
    return sums.triangle, sums.projections[:, 0], float(sums.residuals[0])
