"""Neighbour lists of a batch of structures."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skatom._cpu import neighbors as _cpu
from skatom.parallel import run_in_threads
from skatom.structures import as_structures, offsets_from_counts, select, structure_of

# How far (Å) a vector of a given list may be from a difference of positions and lattice vectors.
_AGREEMENT = 1e-5
# Closer than this (Å) two atoms are at the same place, as in the search itself.
_COINCIDENT = 1e-3


@dataclass(frozen=True)
class NeighborList:
    """All pairs (i, j) of a batch closer than the cutoff, sorted by centre i.

    Every pair appears from both ends, and every periodic image of a neighbour, the centre's own
    images included, is a pair of its own. The centre ``atoms[k]`` owns the pairs
    ``offsets[k]:offsets[k + 1]``. `neighbor_list` makes one, `from_pairs` turns the list of a
    simulation engine into one.

    Attributes
    ----------
    offsets : ndarray of int, shape (n_centers + 1,)
    indices : ndarray of int, shape (n_pairs,)
        The neighbours j, as indices of atoms of the batch.
    vectors : ndarray of float, shape (n_pairs, 3)
        r_ij = r_j − r_i, the image of j included, in Å.
    cutoff : float
        All pairs closer than this are there, Å.
    atoms : ndarray of int, shape (n_centers,), default=None
        The centres, as indices of atoms of the batch. None: all atoms, in their order.
    """

    offsets: np.ndarray
    indices: np.ndarray
    vectors: np.ndarray
    cutoff: float
    atoms: np.ndarray = None

    def __post_init__(self):
        if self.atoms is None:
            object.__setattr__(self, "atoms", np.arange(len(self.offsets) - 1))

    @classmethod
    def from_pairs(cls, structures, centers, indices, vectors, cutoff):
        """A list made of pairs that are known already, for example to a simulation engine.

        The pairs may come in any order; they are sorted by centre. They are checked, except for
        one thing: that no pair is missing from both ends, which only a search could tell.

        Parameters
        ----------
        structures : Structures or list of ase.Atoms
        centers, indices : array-like of int, shape (n_pairs,)
            The centre i and the neighbour j of each pair, as indices of atoms of the batch.
        vectors : array-like of float, shape (n_pairs, 3)
            r_ij = r_j − r_i, the image of j included, in Å.
        cutoff : float
            All pairs closer than this are given, and no others, Å.

        Returns
        -------
        NeighborList

        Raises
        ------
        ValueError
            If a pair is not finite, too long, of length zero or of two structures, is given twice
            or from one end only, or if its vector is not the difference of the positions up to
            lattice vectors of the periodic directions.

        Examples
        --------
        >>> from ase.build import molecule
        >>> from skatom.neighbors import NeighborList
        >>> hydrogen = molecule("H2")
        >>> apart = hydrogen.positions[1] - hydrogen.positions[0]
        >>> len(NeighborList.from_pairs([hydrogen], [1, 0], [0, 1], [-apart, apart], cutoff=2.0))
        2
        """
        structures = as_structures(structures)
        cutoff = _checked_cutoff(cutoff)
        n_atoms = len(structures.numbers)
        vectors = np.ascontiguousarray(vectors, dtype=float).reshape(-1, 3)
        centers, indices = (
            _checked_atoms(ends, len(vectors), n_atoms) for ends in (centers, indices)
        )
        _check_lengths(vectors, cutoff)
        owners = np.repeat(np.arange(len(structures)), structures.n_atoms)
        _check_owners(owners, centers, indices)
        images = _lattice_shifts(structures, owners, centers, indices, vectors)
        _check_both_ends(centers, indices, images)
        order = np.argsort(centers, kind="stable")
        offsets = offsets_from_counts(np.bincount(centers, minlength=n_atoms))
        return cls(offsets, indices[order], vectors[order], cutoff)

    @cached_property
    def centers(self):
        """The centre i of each pair: ndarray of int, shape (n_pairs,)."""
        return np.repeat(self.atoms, np.diff(self.offsets))

    @property
    def n_bytes(self):
        """Memory of the arrays."""
        arrays = (self.offsets, self.indices, self.vectors, self.atoms)
        return sum(array.nbytes for array in arrays)

    def __len__(self):
        return len(self.indices)

    def take(self, centers):
        """The list of some of the centres alone.

        Parameters
        ----------
        centers : array-like of int
            Rows of the list: atoms of the batch, if it has all of them.

        Returns
        -------
        NeighborList
            Its ``indices`` are still those of atoms of the batch.
        """
        centers = np.asarray(centers)
        counts = np.diff(self.offsets)[centers]
        offsets = offsets_from_counts(counts)
        pairs = np.arange(offsets[-1]) + np.repeat(self.offsets[centers] - offsets[:-1], counts)
        return NeighborList(
            offsets, self.indices[pairs], self.vectors[pairs], self.cutoff, self.atoms[centers]
        )

    def within(self, cutoff):
        """The pairs closer than a smaller cutoff.

        Parameters
        ----------
        cutoff : float
            Å.

        Returns
        -------
        NeighborList

        Raises
        ------
        ValueError
            If the cutoff is larger than that of the list.
        """
        if cutoff == self.cutoff:
            return self
        if not 0 < cutoff < self.cutoff:
            raise ValueError(
                f"the pairs within {cutoff} Å are not in a list of neighbours within "
                f"{self.cutoff} Å: find the neighbours with a cutoff of at least {cutoff} Å"
            )
        near = np.einsum("px,px->p", self.vectors, self.vectors) < cutoff**2
        offsets = np.concatenate([[0], np.cumsum(near)])[self.offsets]
        return NeighborList(
            offsets, self.indices[near], self.vectors[near], float(cutoff), self.atoms
        )

    def of_structures(self, offsets, key):
        """The list of some of the structures, whose atoms are numbered anew.

        Parameters
        ----------
        offsets : ndarray of int, shape (n + 1,)
            Those of the structures of the batch, all of whose atoms the list has.
        key : int, slice, mask or index array
            Which structures.

        Returns
        -------
        NeighborList
        """
        _, atoms, _ = select(offsets, key)
        if len(atoms) and atoms[-1] - atoms[0] == len(atoms) - 1 and (np.diff(atoms) == 1).all():
            start, stop = atoms[0], atoms[-1] + 1
            edges = self.offsets[start : stop + 1]
            pairs = slice(edges[0], edges[-1])
            return NeighborList(
                edges - edges[0], self.indices[pairs] - start, self.vectors[pairs], self.cutoff
            )
        taken = self.take(atoms)
        shifts = np.repeat(np.arange(len(atoms)) - atoms, np.diff(taken.offsets))
        return NeighborList(taken.offsets, taken.indices + shifts, taken.vectors, self.cutoff)


def concatenate(lists):
    """The list of a batch from those of its parts, in their order.

    Parameters
    ----------
    lists : list of NeighborList
        With one cutoff.

    Returns
    -------
    NeighborList
    """
    if len(lists) == 1:
        return lists[0]
    starts = offsets_from_counts([len(part.atoms) for part in lists])
    return NeighborList(
        offsets_from_counts(np.concatenate([np.diff(part.offsets) for part in lists])),
        np.concatenate([part.indices + n for part, n in zip(lists, starts, strict=False)]),
        np.concatenate([part.vectors for part in lists]),
        lists[0].cutoff,
    )


def neighbor_list(structures, cutoff):
    """Find the neighbours of every atom within a distance.

    Linear in the number of atoms. The cutoff may be longer than the cell, which may be skewed,
    and periodic in any of its directions.

    Parameters
    ----------
    structures : Structures or list of ase.Atoms
        Those that have a list of neighbours already (`Structures.with_neighbors`) are not
        searched.
    cutoff : float
        Largest distance in Å, itself excluded.

    Returns
    -------
    NeighborList

    Raises
    ------
    ValueError
        If the cutoff is not positive and finite, or two atoms are at the same place.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skatom.neighbors import neighbor_list
    >>> pairs = neighbor_list([bulk("Si")], cutoff=3.0)
    >>> len(pairs), pairs.indices
    (8, array([1, 1, 1, 1, 0, 0, 0, 0]))
    """
    structures = as_structures(structures)
    cutoff = _checked_cutoff(cutoff)
    if structures.known_neighbors is not None:
        return structures.known_neighbors.within(cutoff)
    grids = _cpu.build_grids(
        structures.positions, structures.offsets, structures.cells, structures.pbc, cutoff
    )
    n_atoms = len(structures.numbers)
    counts, clashes = np.empty((2, n_atoms), np.int64)
    search = (grids, structures.pbc, cutoff)
    run_in_threads(_cpu.count_neighbors, n_atoms, *search, counts, clashes)
    if clashes.max() >= 0:
        raise ValueError(_clash_message(structures, int(np.argmax(clashes >= 0)), clashes))
    offsets = offsets_from_counts(counts)
    indices, vectors = np.empty(offsets[-1], np.int64), np.empty((offsets[-1], 3))
    run_in_threads(_cpu.fill_neighbors, n_atoms, *search, offsets, indices, vectors)
    return NeighborList(offsets, indices, vectors, cutoff)


def _clash_message(structures, i, clashes):
    s = structure_of(structures.offsets, i)
    start = structures.offsets[s]
    a, b = i - start, clashes[i] - start
    which = f"atom {a} and its own periodic image" if a == b else f"atoms {a} and {b}"
    return f"structure {s}: {which} are at the same place; remove one of them or repair the frame"


def _checked_cutoff(cutoff):
    cutoff = float(cutoff)
    if not 0 < cutoff < np.inf:
        raise ValueError(f"cutoff={cutoff} must be a positive length in Å")
    return cutoff


def _checked_atoms(atoms, n_pairs, n_atoms):
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


def _check_lengths(vectors, cutoff):
    lengths = np.sqrt(np.einsum("px,px->p", vectors, vectors))
    bad = np.flatnonzero(~((lengths < cutoff) & (lengths > _COINCIDENT)))
    if len(bad):
        raise ValueError(
            f"the vector of pair {bad[0]} is {vectors[bad[0]]}, of length {lengths[bad[0]]:.6g} Å: "
            f"give the pairs closer than cutoff={cutoff} and no others, none of length zero"
        )


def _check_owners(owners, centers, indices):
    bad = np.flatnonzero(owners[centers] != owners[indices])
    if len(bad):
        i, j = centers[bad[0]], indices[bad[0]]
        raise ValueError(
            f"pair {bad[0]} joins atoms {i} and {j}, of the structures {owners[i]} and "
            f"{owners[j]}: leave out pairs of different structures"
        )


def _lattice_shifts(structures, owners, centers, indices, vectors):
    """How many lattice vectors (n_pairs, 3) lie between the image of j and j itself."""
    lattices = np.array(
        [_cpu.complete_lattice(*box) for box in zip(structures.cells, structures.pbc, strict=True)]
    )
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


def _check_both_ends(centers, indices, images):
    there = np.column_stack([centers, indices, images])
    back = np.column_stack([indices, centers, -images])
    order, reverse = np.lexsort(there.T), np.lexsort(back.T)
    there, back = there[order], back[reverse]
    twice = np.flatnonzero((there[1:] == there[:-1]).all(axis=1))
    if len(twice):
        raise ValueError(
            f"the pair of atoms {there[twice[0], 0]} and {there[twice[0], 1]} is there twice: give "
            "every pair once from each of its ends"
        )
    alone = np.flatnonzero((there != back).any(axis=1))
    if len(alone):
        # the first difference of two sorted lists stands in one of them alone
        i, j = min(there[alone[0]].tolist(), back[alone[0]].tolist(), key=lambda row: row[::-1])[:2]
        raise ValueError(
            f"a pair of atoms {i} and {j} is given from one end only: give every pair from both "
            "ends, as a full list of neighbours does"
        )
