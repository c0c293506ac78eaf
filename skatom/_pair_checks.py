"""Checks of pairs of neighbours that another program found."""

import numpy as np

from skatom._cpu.neighbors import complete_lattice

# How far (Å) a given pair vector may be from a difference of positions and lattice vectors.
_AGREEMENT = 1e-5
# Two atoms closer than this (Å) are at the same place, as in the search itself.
_COINCIDENT = 1e-3


def checked_atoms(atoms, n_pairs, n_atoms):
    atoms = np.asarray(atoms)
    if atoms.shape != (n_pairs,) or (n_pairs and atoms.dtype.kind not in "iu"):
        raise ValueError(
            f"centers and indices must be {n_pairs} integers, one for each vector, but have the "
            f"shape {atoms.shape} and the type {atoms.dtype}"
        )
    bad = np.flatnonzero((atoms < 0) | (atoms >= n_atoms))
    if len(bad):
        raise ValueError(
            f"pair {bad[0]} names atom {atoms[bad[0]]}, but there are {n_atoms} atoms: number "
            "the atoms of the batch from 0, and name periodic images by the atom they belong to"
        )
    return atoms.astype(np.int64)


def check_lengths(vectors, cutoff):
    lengths = np.sqrt(np.einsum("px,px->p", vectors, vectors))
    bad = np.flatnonzero(~((lengths < cutoff) & (lengths > _COINCIDENT)))
    if len(bad):
        raise ValueError(
            f"the vector of pair {bad[0]} is {vectors[bad[0]]}, of length {lengths[bad[0]]:.6g} Å: "
            f"give the pairs closer than cutoff={cutoff} and no others, none of length zero"
        )


def check_owners(owners, centers, indices):
    bad = np.flatnonzero(owners[centers] != owners[indices])
    if len(bad):
        i, j = centers[bad[0]], indices[bad[0]]
        raise ValueError(
            f"pair {bad[0]} joins atoms {i} and {j}, of the structures {owners[i]} and "
            f"{owners[j]}: leave out pairs of different structures"
        )


def lattice_shifts(structures, owners, centers, indices, vectors):
    """How many lattice vectors (n_pairs, 3) lie between the image of j and j itself."""
    lattices = np.empty(structures.cells.shape)
    for cell, pbc, lattice in zip(structures.cells, structures.pbc, lattices, strict=True):
        complete_lattice(cell, pbc, lattice)
    inverses, owners = np.linalg.inv(lattices), owners[centers]
    apart = vectors - (structures.positions[indices] - structures.positions[centers])
    images = np.rint(np.einsum("px,pxy->py", apart, inverses[owners]))
    images[~structures.pbc[owners]] = 0.0
    rest = np.abs(apart - np.einsum("px,pxy->py", images, lattices[owners])).max(axis=1, initial=0)
    bad = np.flatnonzero(rest > _AGREEMENT)
    if len(bad):
        p = bad[0]
        raise ValueError(
            f"the vector of pair {p}, {vectors[p]}, is not that from atom {centers[p]} to atom "
            f"{indices[p]} or an image of it, by {rest[p]:.3g} Å: give r_j − r_i for the "
            "positions of these structures"
        )
    return images.astype(np.int64)


def check_both_ends(centers, indices, images):
    there = np.column_stack([centers, indices, images])
    back = np.column_stack([indices, centers, -images])
    order, reverse = np.lexsort(there.T), np.lexsort(back.T)
    there, back = there[order], back[reverse]
    twice = np.flatnonzero((there[1:] == there[:-1]).all(axis=1))
    if len(twice):
        raise ValueError(
            f"the pair of atoms {there[twice[0], 0]} and {there[twice[0], 1]} is given twice: give "
            "every pair once from each of its ends"
        )
    alone = np.flatnonzero((there != back).any(axis=1))
    if len(alone):
        # the first difference of two sorted lists is in only one of them
        i, j = min(there[alone[0]].tolist(), back[alone[0]].tolist(), key=lambda row: row[::-1])[:2]
        raise ValueError(
            f"a pair of atoms {i} and {j} is given from one end only: give every pair from both "
            "ends, as a full list of neighbours does"
        )
