"""Graphs of molecules: which atoms have edges, and what is known of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skatom.bonds import BOND_KINDS, check_not_periodic
from skatom.elements import species_index
from skatom.models.neural.graph_operators import operators
from skatom.models.neural.graphs import Graphs, centred
from skatom.structures import offsets_from_counts

# Bins of the distances of atoms that are not bonded, in Å: below 2, eight from 2 to 6, beyond.
_BINS = np.linspace(2, 6, 9)
OPERATORS = ("spectral", "chebyshev", "renormalized")
# Edges that need bonds.
BONDED = ("bonds", *OPERATORS)
# Edges that are no smooth functions of where atoms are: no forces.
DISCRETE = ("bins", *BONDED)


def n_edge_numbers(a):
    """What is known of an edge beside its distance."""
    if a.edges in OPERATORS:
        return a.order
    n_bonds = len(BOND_KINDS) if a.has_bonds else 0
    return n_bonds + (len(_BINS) + 1 if a.edges == "bins" else 0) + bool(a.virtual_edges)


def molecular_graphs(a, structures, species):
    """The `Graphs` of some structures for a `MessagePassingArchitecture`."""
    bonds = structures.known_bonds if a.has_bonds else None
    if a.has_bonds:
        check_not_periodic(structures)
    atom_numbers = _atom_numbers(bonds, a.n_atom_numbers) if a.n_atom_numbers else None
    if a.edges in OPERATORS:
        return _of_operators(a, structures, species, bonds, atom_numbers)
    if a.edges == "bonds":
        pairs = _all_pairs(structures.n_atoms) if a.virtual_edges else bonds.pairs.T
        graphs = _of_pairs(structures, species, *pairs)
    else:
        graphs = Graphs.of(structures, species, a.cutoff)
    edge_numbers = _edge_numbers(a, graphs, bonds) if n_edge_numbers(a) else None
    return replace(graphs, edge_numbers=edge_numbers, atom_numbers=atom_numbers, tabled=True)


def _atom_numbers(bonds, n):
    found = bonds.atom_features
    n_found = 0 if found is None else found.shape[1]
    if n_found != n:
        raise ValueError(
            f"the bonds have {n_found} atom_features, and the network learnt from {n}: give the "
            "same to Bonds as in fit"
        )
    return found


def _edge_numbers(a, graphs, bonds):
    """One 1 for the kind of each edge: of bond, of distance, or none of these."""
    kinds = np.full(len(graphs.first), -1)
    if bonds is not None:
        kinds = _kinds_of_bonds(graphs, bonds)
    width = n_edge_numbers(a)
    others = kinds < 0
    if a.edges == "bins":
        bins = np.searchsorted(_BINS, np.linalg.norm(graphs.vectors, axis=1), side="right")
        kinds = np.where(others, width - len(_BINS) - 1 + bins, kinds)
    elif a.virtual_edges:
        kinds = np.where(others, width - 1, kinds)
    return (kinds[:, None] == np.arange(width)).astype(float)


def _kinds_of_bonds(graphs, bonds):
    """The kind of the bond of each edge, -1 where there is none."""
    n_atoms = graphs.offsets[-1]
    first, second = graphs.ends()
    if not len(bonds.pairs):
        return np.full(len(first), -1)
    keys = bonds.pairs[:, 0] * n_atoms + bonds.pairs[:, 1]
    of_edges = first * n_atoms + second
    at = np.minimum(np.searchsorted(keys, of_edges), len(keys) - 1)
    return np.where(keys[at] == of_edges, bonds.kinds()[at], -1)


def _of_pairs(structures, species, first, second):
    """Graphs whose edges are given, first < second, in order of the first atoms."""
    kinds = species_index(structures, species)
    edge_offsets = np.searchsorted(first, structures.offsets)
    starts = np.repeat(structures.offsets[:-1], np.diff(edge_offsets))
    vectors = structures.positions[second] - structures.positions[first]
    return Graphs(
        kinds, structures.offsets, edge_offsets, first - starts, second - starts, vectors,
        centred(structures),
    )  # fmt: skip


def _all_pairs(n_atoms):
    """All atoms i < j of each structure."""
    starts = offsets_from_counts(n_atoms)
    parts = [np.triu_indices(n, 1) for n in n_atoms]
    return [np.concatenate([p[k] + s for p, s in zip(parts, starts, strict=False)]) for k in (0, 1)]


def _of_operators(a, structures, species, bonds, atom_numbers):
    """Graphs whose edges are the elements of `operators`; those of atoms come last."""
    pairs, values, diagonals = [], [], []
    for s, start in enumerate(structures.offsets[:-1]):
        own, n = bonds[s].pairs, structures.n_atoms[s]
        adjacency = np.zeros((n, n), bool)
        adjacency[own[:, 0], own[:, 1]] = adjacency[own[:, 1], own[:, 0]] = True
        found = operators(a.edges, adjacency, a.order)
        first, second = np.nonzero(np.triu((found != 0).any(axis=0), 1))
        pairs.append(start + np.array([first, second]))
        values.append(found[:, first, second].T)
        diagonals.append(np.diagonal(found, axis1=1, axis2=2).T)
    numbers = np.concatenate(diagonals)
    if atom_numbers is not None:
        numbers = np.concatenate([atom_numbers, numbers], axis=1)
    graphs = _of_pairs(structures, species, *np.concatenate(pairs, axis=1))
    return replace(graphs, edge_numbers=np.concatenate(values), atom_numbers=numbers, tabled=True)
