"""Neighbour lists of a batch of structures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skatom._cpu import neighbors as _cpu
from skatom._pair_checks import (
    check_both_ends,
    check_lengths,
    check_owners,
    checked_atoms,
    lattice_shifts,
)
from skatom._typing import Array, ArrayLike, StructuresLike
from skatom.memory import check_memory
from skatom.parallel import run_in_threads
from skatom.structures import as_structures, offsets_from_counts, select, structure_of

# Memory of the index and the vector of a pair.
_PAIR_BYTES = 32
# Bins around one atom that are searched at most: 0.01 s. A grid that reaches less far than _FAR in
# any direction is below it.
_MOST_SEARCHED, _FAR = 1_000_000, 50
# Atoms in 1 Å³: fifty times as many as in diamond. Below the number, an atom's neighbours are not
# judged: short cutoffs contain few.
_DENSEST, _FEW = 10.0, 1000
# Atoms whose neighbours are found by one thread at least: finding them takes 0.2 µs.
_SMALLEST = 256


@dataclass(frozen=True)
class NeighborList:
    """All pairs (i, j) of a batch closer than the cutoff radius, sorted by centre i.

    Every pair appears from both ends, and every periodic image of a neighbour, including images of
    the centre itself, is a separate pair. The centre ``atoms[k]`` owns the pairs
    ``offsets[k]:offsets[k + 1]``. `neighbor_list` makes such a list; `from_pairs` makes one from
    the list of a simulation engine.

    Attributes
    ----------
    offsets : ndarray of int, shape (n_centers + 1,)
        Where the pairs of each centre begin.
    indices : ndarray of int, shape (n_pairs,)
        The neighbours j, as indices of atoms of the batch.
    vectors : ndarray of float, shape (n_pairs, 3)
        r_ij = r_j − r_i, the image of j included, in Å.
    cutoff : float
        Cutoff radius in Å; the list has all pairs closer than it.
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
    def from_pairs(
        cls,
        structures: StructuresLike,
        centers: ArrayLike,
        indices: ArrayLike,
        vectors: ArrayLike,
        cutoff: float,
    ) -> NeighborList:
        """Make a neighbour list of known pairs, for example those of a simulation engine.

        The pairs may come in any order; they are sorted by centre. They are checked, except that a
        pair which is missing from both ends is not noticed: only a search could tell.

        Parameters
        ----------
        structures : Structures or list of ase.Atoms
        centers, indices : array-like of int, shape (n_pairs,)
            The centre i and the neighbour j of each pair, as indices of atoms of the batch.
        vectors : array-like of float, shape (n_pairs, 3)
            r_ij = r_j − r_i, the image of j included, in Å.
        cutoff : float
            Cutoff radius in Å: the given pairs are all pairs closer than it, and no others.

        Returns
        -------
        NeighborList

        Raises
        ------
        ValueError
            If a pair vector is not finite, longer than the cutoff or zero; if a pair joins two
            structures, is given twice or from one end only; or if its vector is not the difference
            of the positions up to lattice vectors of the periodic directions.

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
            checked_atoms(ends, len(vectors), n_atoms) for ends in (centers, indices)
        )
        check_lengths(vectors, cutoff)
        owners = np.repeat(np.arange(len(structures)), structures.n_atoms)
        check_owners(owners, centers, indices)
        images = lattice_shifts(structures, owners, centers, indices, vectors)
        check_both_ends(centers, indices, images)
        order = np.argsort(centers, kind="stable")
        offsets = offsets_from_counts(np.bincount(centers, minlength=n_atoms))
        return cls(offsets, indices[order], vectors[order], cutoff)

    @cached_property
    def centers(self):
        """The centre i of each pair: ndarray of int, shape (n_pairs,)."""
        return np.repeat(self.atoms, np.diff(self.offsets))

    @property
    def n_bytes(self) -> Any:
        """Memory of the arrays."""
        arrays = (self.offsets, self.indices, self.vectors, self.atoms)
        return sum(array.nbytes for array in arrays)

    def __len__(self):
        return len(self.indices)

    def take(self, centers: ArrayLike) -> NeighborList:
        """The list of some of the centres.

        Parameters
        ----------
        centers : array-like of int
            Positions of the centres in the list: the indices of the atoms if it has all of them.

        Returns
        -------
        NeighborList
            Its ``indices`` still count the atoms of the whole batch.
        """
        centers = np.asarray(centers)
        counts = np.diff(self.offsets)[centers]
        offsets = offsets_from_counts(counts)
        pairs = np.arange(offsets[-1]) + np.repeat(self.offsets[centers] - offsets[:-1], counts)
        return NeighborList(
            offsets, self.indices[pairs], self.vectors[pairs], self.cutoff, self.atoms[centers]
        )

    def run(self, centers: slice) -> NeighborList:
        """The list of consecutive centres, whose pairs are not copied.

        Parameters
        ----------
        centers : slice
            Positions of the centres in the list, with a start and a stop.

        Returns
        -------
        NeighborList
            Its ``indices`` still count the atoms of the whole batch.

        Examples
        --------
        >>> from ase.build import molecule
        >>> from skatom.neighbors import neighbor_list
        >>> pairs = neighbor_list([molecule("H2O")], cutoff=1.2)
        >>> pairs.run(slice(1, 3)).indices
        array([0, 0])
        """
        edges = self.offsets[centers.start : centers.stop + 1]
        pairs = slice(edges[0], edges[-1])
        return NeighborList(
            edges - edges[0], self.indices[pairs], self.vectors[pairs], self.cutoff,
            self.atoms[centers],
        )  # fmt: skip

    def within(self, cutoff: float) -> NeighborList:
        """The pairs closer than a smaller cutoff radius.

        Parameters
        ----------
        cutoff : float
            Cutoff radius in Å.

        Returns
        -------
        NeighborList

        Raises
        ------
        ValueError
            If the cutoff is larger than the cutoff of the list.
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

    def of_structures(self, offsets: Array, key: slice | ArrayLike) -> NeighborList:
        """The list of some of the structures, with their atoms renumbered.

        Parameters
        ----------
        offsets : ndarray of int, shape (n + 1,)
            Offsets of the structures of the batch. The list must have all atoms as centres.
        key : int, slice, mask or index array
            The structures to keep.

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
    """The neighbour list of a batch, from the lists of its parts in order.

    Parameters
    ----------
    lists : list of NeighborList
        Lists with equal cutoffs.

    Returns
    -------
    NeighborList
    """
    if len(lists) == 1:
        return lists[0]
    n_pairs = sum(len(part) for part in lists)
    check_memory(
        _PAIR_BYTES * n_pairs,
        f"the list of {n_pairs} pairs of neighbours within {lists[0].cutoff:g} Å",
        "lower the cutoff or take fewer structures at a time",
    )
    starts = offsets_from_counts([len(part.atoms) for part in lists])
    return NeighborList(
        offsets_from_counts(np.concatenate([np.diff(part.offsets) for part in lists])),
        np.concatenate([part.indices + n for part, n in zip(lists, starts, strict=False)]),
        np.concatenate([part.vectors for part in lists]),
        lists[0].cutoff,
    )


def neighbor_list(structures: StructuresLike, cutoff: float) -> NeighborList:
    """Find the neighbours of every atom within a cutoff radius.

    The cost is linear in the number of atoms. Cells may be skewed, shorter than the cutoff, and
    periodic in any of their directions.

    Parameters
    ----------
    structures : Structures or list of ase.Atoms
        Structures that already have a neighbour list (`Structures.with_neighbors`) are not
        searched.
    cutoff : float
        Cutoff radius in Å; pairs at exactly this distance are excluded.

    Returns
    -------
    NeighborList

    Raises
    ------
    ValueError
        If the cutoff is not positive and finite, two atoms are at the same place, or atoms are
        denser than 10 in 1 Å³, as where lengths are not in Å.
    MemoryError
        If the pairs would not fit in memory.

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
    check_reach(structures, cutoff, grids[3])
    n_atoms = len(structures.numbers)
    counts, clashes = np.empty((2, n_atoms), np.int64)
    nothing = np.empty(0, np.int64), np.empty((0, 3))

    def search(starts, indices, vectors):
        run_in_threads(
            _cpu.find_neighbors, n_atoms, grids, structures.pbc, cutoff, starts, counts, clashes,
            indices, vectors, smallest=_SMALLEST,
        )  # fmt: skip

    search(nothing[0], *nothing)
    if clashes.max() >= 0:
        raise ValueError(_clash_message(structures, int(np.argmax(clashes >= 0)), clashes))
    check_density(structures, counts, cutoff)
    offsets = offsets_from_counts(counts)
    check_memory(
        _PAIR_BYTES * offsets[-1],
        f"the list of {offsets[-1]} pairs of neighbours within {cutoff:g} Å",
        "lower the cutoff or take fewer structures at a time",
    )
    indices, vectors = np.empty(offsets[-1], np.int64), np.empty((offsets[-1], 3))
    search(offsets, indices, vectors)
    return NeighborList(offsets, indices, vectors, cutoff)


def check_reach(structures, cutoff, reach):
    """ValueError where a cell is so small that a search would never end."""
    if reach.max() < _FAR:
        return
    searched = (2.0 * reach + 1.0).prod(axis=1)
    s = int(np.argmax(searched))
    if searched[s] > _MOST_SEARCHED:
        lengths = np.linalg.norm(structures.cells[s][structures.pbc[s]], axis=1)
        raise ValueError(
            f"structure {s}: within {cutoff:g} Å of an atom there are more than "
            f"{_MOST_SEARCHED:,} periodic images of its cell, whose lattice vectors are "
            f"{', '.join(f'{length:.3g}' for length in lengths)} Å long: check the unit of the "
            "cell, or lower the cutoff"
        )


def check_density(structures, counts, cutoff):
    """ValueError where atoms are so dense that work with pairs of neighbours would not end."""
    atom = int(np.argmax(counts))
    if counts[atom] > max(_FEW, _DENSEST * 4 / 3 * np.pi * cutoff**3):
        s = structure_of(structures.offsets, atom)
        raise ValueError(
            f"structure {s}: atom {atom - structures.offsets[s]} has {counts[atom]} neighbours "
            f"within {cutoff:g} Å, more than {_DENSEST:g} in 1 Å³: convert positions and cell to "
            "Å, or remove the structure"
        )


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
