"""Coordinates of structures with respect to which derivatives are taken, and their order."""

import numpy as np

from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.structures import offsets_from_counts

# The features of an element that does not move are known to be zero where so many coordinates of a
# structure on average are of one element: products of fewer are slower than those of zeros.
_SHORTEST = 8


def coordinates_of(forces, virial, n_atoms):
    """The coordinates of the derivatives that are forces, the virial, or both.

    Parameters
    ----------
    forces : bool, or ndarray of int
        Whether forces are wanted, or which of their 3N components.
    virial : bool
    n_atoms : int

    Returns
    -------
    ndarray of int
    """
    if isinstance(forces, np.ndarray):
        positions = forces
    else:
        positions = np.arange(3 * n_atoms if forces else 0)
    return np.append(positions, 3 * n_atoms + np.arange(6 if virial else 0))


def by_element(positions, numbers):
    """Coordinates of positions in order of the elements of their atoms: runs are long then."""
    return positions[np.argsort(numbers[positions // 3], kind="stable")]


def runs_of_classes(features, coordinates):
    """Consecutive coordinates of each structure that are of atoms of one element.

    Parameters
    ----------
    features : AtomicFeatures or StructureFeatures
    coordinates : list of ndarray of int
        The coordinates of each structure.

    Returns
    -------
    starts : ndarray of int, shape (n + 1,)
        Where the runs of each structure begin.
    runs : ndarray of int, shape (n_runs, 3)
        The first coordinate, the one after the last, and the class, the last of which is that of
        all strains and elements that have few coordinates.
    n_classes : int
    """
    n_dof = np.array([len(c) for c in coordinates], np.int64)
    structure, flat = np.repeat(np.arange(len(n_dof)), n_dof), np.concatenate(coordinates)
    rest = len(features.species) if isinstance(features, AtomicFeatures) else 0
    classes = np.full(len(flat), rest)
    if rest:
        moves = flat < 3 * features.n_atoms[structure]
        atoms = features.offsets[structure[moves]] + flat[moves] // 3
        classes[moves] = np.searchsorted(features.species, features.numbers[atoms])
        often = np.bincount(classes, minlength=rest + 1) >= _SHORTEST * max(len(n_dof), 1)
        classes[~often[classes]] = rest
    starts = offsets_from_counts(n_dof)
    place = np.arange(len(flat)) - starts[structure]
    begins = np.flatnonzero((place == 0) | (np.diff(classes, prepend=-1) != 0))
    counts = np.bincount(structure[begins], minlength=len(n_dof))
    if rest and (scattered := counts > 2 * (rest + 1)).any():
        classes[scattered[structure]] = rest
        begins = np.flatnonzero((place == 0) | (np.diff(classes, prepend=-1) != 0))
        counts = np.bincount(structure[begins], minlength=len(n_dof))
    ends = np.append(begins[1:], len(flat))[: len(begins)]
    runs = np.stack([place[begins], place[begins] + ends - begins, classes[begins]], axis=1)
    return offsets_from_counts(counts), runs, rest + 1
