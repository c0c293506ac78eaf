"""Structures as graphs: every pair of neighbours once, in flat arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skatom.elements import species_index
from skatom.neighbors import neighbor_list
from skatom.structures import offsets_from_counts

# Components of vectors between images of one atom that count as zero, relative to the length.
_ZERO = 1e-6


@dataclass(frozen=True)
class Graphs:
    """The atoms and pairs of n structures; each pair of neighbours is one edge.

    Attributes
    ----------
    kinds : ndarray of int, shape (n_atoms,)
        Index of each atom's element.
    offsets, edge_offsets : ndarray of int, shape (n + 1,)
        Where the atoms and the edges of each structure begin.
    first, second : ndarray of int, shape (n_edges,)
        The atoms i and j of each edge, numbered within their structure.
    vectors : ndarray of float, shape (n_edges, 3)
        r_j − r_i, the image of j included, in Å.
    positions : ndarray of float, shape (n_atoms, 3)
        Relative to the mean of the atoms of the structure, in Å.
    edge_numbers : ndarray of float, shape (n_edges, n_edge_numbers), or None
        What an architecture is told of each edge beside its vector, such as the kind of a bond.
    atom_numbers : ndarray of float, shape (n_atoms, n_atom_numbers), or None
        The same of each atom beside its element.
    tabled : bool
        Whether batches have the table of the neighbours of each atom, see `NeighborTable`.
    one_way : ndarray of bool, shape (n_edges,), or None
        Edges whose first atom has the second one as a neighbour, but not the other way round.
        Batches of such graphs must be sorted. None: all edges are mutual.
    shares : ndarray of float, shape (n_atoms, n_species), or None
        Shares of the elements in each atom. None: each is of one kind.
    presence : ndarray of float, shape (n_atoms, 1), or None
        How much of each atom its neighbours see, from 0 to 1. None: all.
    """

    kinds: np.ndarray
    offsets: np.ndarray
    edge_offsets: np.ndarray
    first: np.ndarray
    second: np.ndarray
    vectors: np.ndarray
    positions: np.ndarray
    edge_numbers: np.ndarray | None = None
    atom_numbers: np.ndarray | None = None
    tabled: bool = False
    one_way: np.ndarray | None = None
    shares: np.ndarray | None = None
    presence: np.ndarray | None = None

    @classmethod
    def of(cls, structures, species, cutoff):
        """The graphs of some structures.

        Parameters
        ----------
        structures : Structures
        species : ndarray of int, shape (n_species,)
            Sorted atomic numbers.
        cutoff : float
            Atoms closer than this are neighbours, in Å.

        Raises
        ------
        ValueError
            If there is an element that is not among the species.
        """
        kinds = species_index(structures, species)
        pairs = neighbor_list(structures, cutoff)
        once = _once(pairs)
        first, second = pairs.centers[once], pairs.indices[once]
        edge_offsets = np.searchsorted(first, structures.offsets)
        starts = np.repeat(structures.offsets[:-1], np.diff(edge_offsets))
        return cls(
            kinds, structures.offsets, edge_offsets, first - starts, second - starts,
            pairs.vectors[once], centred(structures),
        )  # fmt: skip

    def __len__(self):
        return len(self.offsets) - 1

    @property
    def n_edges(self):
        return np.diff(self.edge_offsets)

    @property
    def n_atoms(self):
        return np.diff(self.offsets)

    def __getitem__(self, chosen):
        """The graphs of the structures with these indices."""
        atoms, offsets = ranges(self.offsets, chosen)
        edges, edge_offsets = ranges(self.edge_offsets, chosen)
        return Graphs(
            self.kinds[atoms], offsets, edge_offsets, self.first[edges], self.second[edges],
            self.vectors[edges], self.positions[atoms], _rows(self.edge_numbers, edges),
            _rows(self.atom_numbers, atoms), self.tabled, _rows(self.one_way, edges),
            _rows(self.shares, atoms), _rows(self.presence, atoms),
        )  # fmt: skip

    def with_table(self):
        """The same graphs, whose batches have the table of neighbours."""
        return replace(self, tabled=True)

    def ends(self):
        """The atoms of each edge, numbered through the batch: two ndarrays of shape (n_edges,)."""
        starts = np.repeat(self.offsets[:-1], self.n_edges)
        return self.first + starts, self.second + starts

    def degrees(self, n_atoms):
        """The number of neighbours of each atom, and of others that have none."""
        return np.bincount(self._directed()[0], minlength=n_atoms)

    def seen_degrees(self, n_atoms):
        """The same with neighbours that are seen in part counted in part."""
        if self.presence is None:
            return self.degrees(n_atoms)
        atoms, neighbors = self._directed()
        return np.bincount(atoms, self.presence[neighbors, 0], n_atoms)

    def _directed(self):
        """Atoms and their neighbours, for each edge from both sides."""
        first, second = self.ends()
        mutual = slice(None) if self.one_way is None else ~self.one_way
        return np.concatenate([first, second[mutual]]), np.concatenate([second, first[mutual]])


def _rows(array, chosen):
    return None if array is None else array[chosen]


def centred(structures):
    """Positions relative to the mean of the atoms of each structure."""
    n = structures.n_atoms
    means = np.add.reduceat(structures.positions, structures.offsets[:-1]) / n[:, None]
    return structures.positions - np.repeat(means, n, axis=0)


def _once(pairs):
    """Which pairs (i, j) of a list, which has both ends, are edges: those with i < j.

    Of the two pairs between an atom and opposite images of itself, it is that whose first
    component other than zero is positive.
    """
    centers, indices, vectors = pairs.centers, pairs.indices, pairs.vectors
    once = centers < indices
    own = np.flatnonzero(centers == indices)
    if len(own):
        v = vectors[own]
        tiny = np.abs(v) <= _ZERO * np.linalg.norm(v, axis=1)[:, None]
        leading = np.argmin(tiny, axis=1)
        once[own] = v[np.arange(len(own)), leading] > 0
    return once


def ranges(offsets, chosen):
    """Indices offsets[s] … offsets[s + 1] - 1 of the chosen s, and where those of each begin."""
    counts = np.diff(offsets)[chosen]
    starts = offsets_from_counts(counts)
    return np.arange(starts[-1]) + np.repeat(offsets[chosen] - starts[:-1], counts), starts
