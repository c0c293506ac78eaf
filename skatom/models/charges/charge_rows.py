"""Rows of the least squares of charges and of their dipoles, structure by structure."""

import numpy as np
from ase.data import atomic_masses

from skatom.memory import check_memory
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


def weighted_rows(basis, X, target, roots):
    """The rows of all labels times the roots of their weights, shape (n_labels, n_columns).

    Parameters
    ----------
    basis : ChargeBasis
    X : AtomicFeatures
    target : {"dipole", "charges"}
    roots : ndarray of float, shape (n_labels,)

    Returns
    -------
    ndarray of float
    """
    n, least = basis.n_columns, min(basis.n_columns, len(roots))
    in_batch = min(_BATCH_BYTES, 8 * n * len(X.numbers))
    # the rows and a few of their functions, then the singular vectors of both sides
    check_memory(
        8.0 * n * len(roots) + max(2.0 * in_batch, 8.0 * least * (len(roots) + 4 * least)),
        f"the least squares of {n} coefficients and {len(roots)} labels",
        "take fewer features, for example by FeatureSelector, or a smaller n_sparse",
    )
    ends = X.offsets if target == "charges" else 3 * np.arange(len(X) + 1)
    rows = np.empty((len(roots), n))
    for batch in groups_by_size(X.offsets, max(1, _BATCH_BYTES // (8 * n))):
        part, place = X[batch], slice(ends[batch.start], ends[batch.stop])
        rows[place] = ROWS[target](basis.functions(part), part.structures)
        rows[place] *= roots[place, None]
    return rows
