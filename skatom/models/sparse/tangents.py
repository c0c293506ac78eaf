"""Tangents of features: how they change when an atom moves, or a cell is strained.

The derivative of the energy along a direction is the sum over some centres, the *rows* of a target,
of t_i · ∂E/∂x_i. The targets are atoms, each with three axes, or structures with the six components
of their strain.
"""

from dataclasses import dataclass

import numpy as np

from skatom.models._cpu import tangents as _cpu
from skatom.models.sparse.centers import WholeStructures, symmetrised
from skatom.models.sparse.rows import pieces

# Size of the tangents that are made at a time.
_BYTES = 2**26


@dataclass(frozen=True)
class Tangents:
    """The tangents of several targets.

    Attributes
    ----------
    starts : ndarray of int, shape (n_targets + 1,)
        First row of each target.
    centers : ndarray of int, shape (n_rows,)
        Index of the centre whose features change.
    values : ndarray of float, shape (n_rows, n_axes, n_features)
        The changes t of its features.
    """

    starts: np.ndarray
    centers: np.ndarray
    values: np.ndarray

    def part(self, targets):
        """The tangents of a slice of the targets."""
        starts = self.starts[targets.start : targets.stop + 1]
        rows = slice(starts[0], starts[-1])
        return Tangents(starts - starts[0], self.centers[rows], self.values[rows])


def chunks(sizes, limit=_BYTES):
    """Slices of consecutive targets whose tangents, of ``sizes`` bytes each, fit ``limit``."""
    edges, total = [0], 0
    for k, size in enumerate(sizes):
        if total and total + size > limit:
            edges.append(k)
            total = 0
        total += size
    return [slice(a, b) for a, b in zip(edges, [*edges[1:], len(sizes)], strict=True)]


def force_bytes(features):
    """Memory of the tangents of each atom."""
    if isinstance(features, WholeStructures):
        return np.full(len(features.structures.numbers), 24 * features.n_features)
    return 24 * features.n_features * (1 + np.diff(features.neighbors.offsets))


def force_tangents(features, number, atoms, pool):
    """Derivatives of the features of the atoms of one species as other atoms move.

    Parameters
    ----------
    features : AtomicFeatures or WholeStructures
        Features of a batch, with their neighbour list.
    number : int
        Atomic number of the centres.
    atoms : slice
        The atoms that move.
    pool : ThreadTeam

    Returns
    -------
    Tangents
        The targets are the atoms.
    """
    if isinstance(features, WholeStructures):
        return _of_atoms_in_whole(features, atoms)
    pairs, mine = features.neighbors, features.numbers == number
    wanted = (pairs.indices >= atoms.start) & (pairs.indices < atoms.stop)
    seen = np.flatnonzero(wanted & mine[pairs.centers])
    own = atoms.start + np.flatnonzero(mine[atoms])
    moving = np.concatenate([pairs.indices[seen], own])
    centers = np.concatenate([pairs.centers[seen], own])
    order = np.argsort(moving, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    slots, own_slots = np.full(len(pairs), -1), np.full(len(mine), -1)
    slots[seen], own_slots[own] = place[: len(seen)], place[len(seen) :]
    values = np.empty((len(order), 3, features.n_features))

    def fill(some):
        jacobian = features.derivatives.along_pairs(pairs.take(some))
        _cpu.by_neighbors(some, pairs.offsets, slots, own_slots, jacobian, values)

    list(pool.map(fill, pieces(np.unique(centers), pairs, features.n_features)))
    starts = np.searchsorted(moving[order], np.arange(atoms.start, atoms.stop + 1))
    return Tangents(starts, centers[order], values)


def _of_atoms_in_whole(features, atoms):
    offsets = features.structures.offsets
    owners = np.searchsorted(offsets, np.arange(atoms.start, atoms.stop), side="right") - 1
    needed = slice(owners[0], owners[-1] + 1)
    first = atoms.start - offsets[owners[0]]
    values = features.jacobian(needed).gradients[first : first + len(owners)]
    return Tangents(np.arange(len(owners) + 1), owners, np.ascontiguousarray(values))


def strain_bytes(features):
    """Memory of the tangents of each structure."""
    return 48 * features.n_features * features.n_atoms


def strain_tangents(features, number, structures, pool):
    """Derivatives of the features of the atoms of one species as their cell is strained.

    Parameters
    ----------
    features : AtomicFeatures or WholeStructures
        Features of a batch, with their neighbour list.
    number : int
        Atomic number of the centres.
    structures : slice
        The structures.
    pool : ThreadTeam

    Returns
    -------
    Tangents
        The targets are the structures, the axes xx, yy, zz, yz, xz and xy.
    """
    if isinstance(features, WholeStructures):
        centers = np.arange(structures.start, structures.stop)
        values = symmetrised(features.jacobian(structures).strains)
        return Tangents(np.arange(len(centers) + 1), centers, np.ascontiguousarray(values))
    offsets = features.offsets[structures.start : structures.stop + 1]
    centers = offsets[0] + np.flatnonzero(features.numbers[offsets[0] : offsets[-1]] == number)
    values = np.empty((len(centers), 6, features.n_features))

    def fill(some):
        mine = features.neighbors.take(some)
        first = np.searchsorted(centers, some[0])
        _cpu.by_strains(
            mine.offsets, mine.vectors, features.derivatives.along_pairs(mine),
            values[first : first + len(some)],
        )  # fmt: skip

    list(pool.map(fill, pieces(centers, features.neighbors, features.n_features)))
    return Tangents(np.searchsorted(centers, offsets), centers, values)
