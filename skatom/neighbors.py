"""Neighbour lists of a batch of structures."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skatom._cpu import neighbors as _cpu
from skatom.parallel import run_in_threads
from skatom.structures import as_structures, offsets_from_counts, structure_of


@dataclass(frozen=True)
class NeighborList:
    """All pairs (i, j) of a batch closer than the cutoff, sorted by centre i.

    Every pair appears from both ends, and every periodic image of a neighbour, the centre's own
    images included, is a pair of its own. Atom ``i`` owns the pairs
    ``offsets[i]:offsets[i + 1]``.

    Attributes
    ----------
    offsets : ndarray of int, shape (n_atoms + 1,)
    indices : ndarray of int, shape (n_pairs,)
        The neighbours j, as indices of atoms of the batch.
    vectors : ndarray of float, shape (n_pairs, 3)
        r_ij = r_j − r_i, the image of j included, in Å.
    """

    offsets: np.ndarray
    indices: np.ndarray
    vectors: np.ndarray

    @cached_property
    def centers(self):
        """The centres i: ndarray of int, shape (n_pairs,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def __len__(self):
        return len(self.indices)


def neighbor_list(structures, cutoff):
    """Find the neighbours of every atom within a distance.

    Linear in the number of atoms. The cutoff may be longer than the cell, which may be skewed,
    and periodic in any of its directions.

    Parameters
    ----------
    structures : Structures or list of ase.Atoms
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
    cutoff = float(cutoff)
    if not 0 < cutoff < np.inf:
        raise ValueError(f"cutoff={cutoff} must be a positive length in Å")
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
    return NeighborList(offsets, indices, vectors)


def _clash_message(structures, i, clashes):
    s = structure_of(structures.offsets, i)
    start = structures.offsets[s]
    a, b = i - start, clashes[i] - start
    which = f"atom {a} and its own periodic image" if a == b else f"atoms {a} and {b}"
    return f"structure {s}: {which} are at the same place; remove one of them or repair the frame"
