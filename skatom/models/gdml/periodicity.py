"""Checks of the cells of frames whose distances are those of nearest images."""

import itertools

import numpy as np
from ase.geometry.minkowski_reduction import minkowski_reduce

from skatom.descriptors.inverse_distances import pair_indices, pair_vectors

# Cells of the same lattice agree to this fraction of a lattice vector.
_EQUAL = 1e-6
# The second image of two neighbours must be farther away than the first by this factor.
_FARTHER = 1.2


def check_cells(structures):
    """Raise a ValueError unless nearest images describe the frames.

    Frames must be periodic in the same directions and have one lattice, whatever cells describe
    it, because forces tell nothing of how the energy depends on the cell. The nearest neighbours of
    an atom must have one image that is clearly nearer than the others, or the energy has kinks
    where bonds are.

    Parameters
    ----------
    structures : Structures of one composition
    """
    pbc = structures.pbc
    other = np.flatnonzero((pbc != pbc[0]).any(axis=1))
    if len(other):
        raise ValueError(
            f"frame {other[0]} is periodic in {_directions(pbc[other[0]])} and frame 0 in "
            f"{_directions(pbc[0])}: give all frames the same pbc, none for a molecule"
        )
    if not pbc[0].any():
        return
    lattice = minkowski_reduce(structures.cells[0], pbc[0])[0]
    axes = np.flatnonzero(pbc[0])
    # the coefficients of the cells in the lattice; what is not periodic does not matter
    inverse = np.linalg.pinv(lattice[axes])
    coefficients = structures.cells[:, axes] @ inverse
    whole = np.round(coefficients)
    off = np.abs(structures.cells[:, axes] - whole @ lattice[axes]).max(axis=(1, 2))
    unlike = (off > _EQUAL * np.abs(lattice).max()) | (np.abs(np.linalg.det(whole)) != 1)
    if unlike.any():
        s = int(np.flatnonzero(unlike)[0])
        raise ValueError(
            f"frame {s} has another lattice than frame 0: GDML and SGDML learn one cell, as forces "
            "tell nothing of the cell; set pbc=False for a molecule in a box, or learn stresses by "
            "a model of atoms, such as SparseGaussianProcess"
        )
    _check_images(structures, lattice[axes])


def _check_images(structures, lattice):
    """Raise a ValueError if neighbours are seen in two images."""
    n_atoms = structures.n_atoms[0]
    first, second = pair_indices(n_atoms)
    vectors = pair_vectors(structures)
    distances = np.linalg.norm(vectors, axis=2)
    square = np.full((len(vectors), n_atoms, n_atoms), np.inf)
    square[:, first, second] = square[:, second, first] = distances
    nearest = square.min(axis=2)
    bonded = (distances <= nearest[:, first]) | (distances <= nearest[:, second])
    frames, pairs = np.nonzero(bonded)
    moves = [m for m in itertools.product((-1, 0, 1), repeat=len(lattice)) if any(m)]
    shifts = np.array(moves, float) @ lattice
    images = vectors[frames, pairs][:, None] + shifts
    others = np.linalg.norm(images, axis=2).min(axis=1)
    near = distances[frames, pairs]
    worst = (others / near).argmin()
    if others[worst] < _FARTHER * near[worst]:
        pair = pairs[worst]
        raise ValueError(
            f"atoms {second[pair]} and {first[pair]} of frame {frames[worst]} are neighbours at "
            f"{near[worst]:.2f} Å, and in another image at {others[worst]:.2f} Å: the cell is too "
            "small for distances to nearest images; repeat it, or use a model of atoms, such as "
            "SparseGaussianProcess"
        )


def _directions(pbc):
    return "".join("xyz"[axis] for axis in np.flatnonzero(pbc)) or "no direction"
