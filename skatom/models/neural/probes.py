"""Graphs of a structure with probes: atoms that feel the structure and are not felt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skatom.models.neural.graphs import Graphs
from skatom.neighbors import neighbor_list
from skatom.structures import Structures, offsets_from_counts


def with_probe(structure, points, number):
    """Copies of a structure, each with one atom more, its last one.

    Parameters
    ----------
    structure : Structures
        One structure.
    points : ndarray of float, shape (n, 3)
        Where the additional atoms are, in Å.
    number : int
        Their atomic number.

    Returns
    -------
    Structures
    """
    n, size = len(points), len(structure.numbers) + 1
    positions = np.empty((n, size, 3))
    positions[:, :-1], positions[:, -1] = structure.positions, points
    return Structures(
        np.tile(np.append(structure.numbers, number), n), positions.reshape(-1, 3),
        offsets_from_counts(np.full(n, size)), np.repeat(structure.cells, n, axis=0),
        np.repeat(structure.pbc, n, axis=0),
    )  # fmt: skip


def probe_graphs(structure, points, kind, species, cutoff):
    """The graph of a structure and of probes behind its atoms.

    Probes have the atoms of the structure and their images as neighbours, and are neighbours of
    none.

    Parameters
    ----------
    structure : Structures
        One structure.
    points : ndarray of float, shape (n, 3)
    kind : int
        Index of the probes' element among the species.
    species : ndarray of int, shape (n_species,)
    cutoff : float

    Returns
    -------
    Graphs
    """
    own = Graphs.of(structure, species, cutoff)
    n_atoms, n = len(own.kinds), len(points)
    first, second, vectors = _edges_of_probes(structure, points, species[kind], cutoff)
    edges = len(own.first) + len(first)
    return replace(
        own, kinds=np.append(own.kinds, np.full(n, kind)), offsets=np.array([0, n_atoms + n]),
        edge_offsets=np.array([0, edges]), first=np.append(own.first, n_atoms + first),
        second=np.append(own.second, second), vectors=np.concatenate([own.vectors, vectors]),
        positions=np.concatenate([own.positions, points - structure.positions.mean(axis=0)]),
        one_way=np.arange(edges) >= len(own.first),
    )  # fmt: skip


def _edges_of_probes(structure, points, number, cutoff):
    """The probe and the atom of each edge, and the vector from one to the other."""
    pairs = neighbor_list(with_probe(structure, points, number), cutoff)
    size = len(structure.numbers) + 1
    of_probe = pairs.centers % size == size - 1
    atoms = pairs.indices % size
    # in a crystal a probe would also see its own images
    chosen = np.flatnonzero(of_probe & (atoms < size - 1))
    return pairs.centers[chosen] // size, atoms[chosen], pairs.vectors[chosen]
