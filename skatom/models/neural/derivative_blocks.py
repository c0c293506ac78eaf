"""Derivatives of the features that forces and virials are made of, kept for a fit."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from skatom._cpu.voigt import VOIGT
from skatom._device import beside, device_of, namespace, on_host
from skatom.memory import check_memory
from skatom.models._cpu.derivative_blocks import slopes_along, tangents_of
from skatom.models.neural.sums import sums_of
from skatom.structures import groups_by_size

# Jacobians that are in memory beside the blocks made of them.
_BATCH_BYTES = 2**26
_REMEDY = "take fewer structures or features, for example by PrincipalComponents or FeatureSelector"


@dataclass(frozen=True)
class DerivativeBlocks:
    """Derivatives of rows of features, without those that are zero.

    Attributes
    ----------
    values : ndarray of float, shape (n_blocks, k, n_features)
        The derivatives of a row with respect to k coordinates.
    rows : ndarray of int, shape (n_blocks,)
    outputs : ndarray of int, shape (n_blocks,)
        The first of the k coordinates, among those of all structures.
    offsets : ndarray of int, shape (n + 1,)
        Where the blocks of each structure begin.
    """

    values: np.ndarray
    rows: np.ndarray
    outputs: np.ndarray
    offsets: np.ndarray

    def of(self, chosen, starts, shifts):
        """The blocks of chosen structures.

        Parameters
        ----------
        chosen : ndarray of int, shape (m,)
        starts, shifts : ndarray of int, shape (m,)
            What the rows and the coordinates of each structure are less than in all data.
        """
        arrays = self.values, self.rows, self.outputs, self.offsets
        return SomeBlocks(arrays, (chosen, starts, shifts))


@dataclass(frozen=True)
class SomeBlocks:
    """The blocks of some structures: their arrays, and which structures and places these are."""

    arrays: tuple
    places: tuple

    def add_along(self, slopes, out):
        """Add the derivatives along the coordinates, times the slopes of their rows."""
        slopes_along(self.arrays, *self.places, slopes, out)

    def add_tangents(self, vector, out):
        """Add the changes of the rows along a vector of the coordinates."""
        tangents_of(self.arrays, *self.places, vector, out)


@dataclass(frozen=True)
class Coordinates:
    """The coordinates of each structure whose derivatives are labelled: atoms, then a strain.

    Attributes
    ----------
    has_forces, has_virial : ndarray of bool, shape (n,)
    n_atoms : ndarray of int, shape (n,)
    """

    has_forces: np.ndarray
    has_virial: np.ndarray
    n_atoms: np.ndarray

    @property
    def offsets(self):
        """Where the coordinates of each structure begin, (n + 1,)."""
        counts = 3 * self.n_atoms * self.has_forces + 6 * self.has_virial
        return np.concatenate([[0], np.cumsum(counts)])

    @property
    def of_strain(self):
        """The first component of the strain of each structure."""
        return self.offsets[:-1] + 3 * self.n_atoms * self.has_forces


def blocks_of(X, coordinates, n_groups, dtype=float):
    """The `DerivativeBlocks` of features of structures.

    Parameters
    ----------
    X : AtomicFeatures or StructureFeatures
    coordinates : Coordinates
    n_groups : int
        Number of rows that the features of a structure are divided into; 1 for atoms.
    dtype : {"float32", "float64"}
        Type of the values.

    Returns
    -------
    list of DerivativeBlocks, or of TensorBlocks for features on a device
    """
    if not (coordinates.has_forces | coordinates.has_virial).any():
        return []
    make = _OfAtoms if hasattr(X, "pool") else _OfStructures
    return make(X, coordinates, n_groups).blocks(np.dtype(dtype))


class _Blocks:
    """Blocks that are filled batch by batch.

    A subclass implements ``_counts()``, how many derivatives of a feature each kind of blocks has
    at most, ``_work()``, where the derivatives of each structure begin among those of all, and the
    bytes that each takes on its way, and ``_parts(batch)``, which yields ``(kind, values, rows,
    first coordinates)``, with rows in the order of structures.
    """

    def __init__(self, X, coordinates, n_groups):
        self.X, self.coordinates, self.n_groups = X, coordinates, n_groups
        self.starts, self.of_strain = coordinates.offsets[:-1], coordinates.of_strain
        self.width, self.device = X.n_features // n_groups, device_of(X.values)

    def blocks(self, dtype):
        sizes = float(dtype.itemsize) * self.width * np.array(self._counts())
        what = f"the derivatives of {self.X.n_features} features of {len(self.X)} structures"
        edges, n_bytes = self._work()
        # the parts of all kinds, and either what a batch takes or the whole of one kind
        size = sizes.sum() + max(sizes.max(), min(_BATCH_BYTES, n_bytes * int(edges[-1])))
        check = check_memory if self.device is None else self.device.check_memory
        check(size, what, _REMEDY)
        found = {}
        for batch in groups_by_size(edges, max(1, _BATCH_BYTES // n_bytes)):
            for kind, values, *places in self._parts(batch):
                found.setdefault(kind, []).append((_as_type(values, dtype), *places))
        row_offsets = self._row_offsets()
        return [self._joined(found.pop(kind), row_offsets) for kind in list(found)]

    def _joined(self, parts, row_offsets):
        values, rows, outputs = zip(*parts, strict=True)
        values, rows = namespace(values[0]).concatenate(values), np.concatenate(rows)
        places = rows, np.concatenate(outputs), np.searchsorted(rows, row_offsets)
        if self.device is None:
            return DerivativeBlocks(values, *places)
        blocks = import_module("skatom.models._torch.derivative_blocks").TensorBlocks
        return blocks(values, *places)


def _as_type(values, dtype):
    if device_of(values) is None:
        return values.astype(dtype, copy=False)
    return values.to(getattr(namespace(values), dtype.name))


class _OfAtoms(_Blocks):
    """Blocks of the features of atoms: a row is an atom, and moves with its neighbours."""

    def _row_offsets(self):
        return self.X.offsets

    def _counts(self):
        pairs, n = self.X.neighbors, len(self.X.numbers)
        keys = np.unique(pairs.centers.astype(np.int64) * n + pairs.indices)
        keys = keys[keys // n != keys % n]
        owners = np.repeat(np.arange(len(self.X)), self.X.n_atoms)
        c, n_atoms = self.coordinates, self.X.n_atoms
        return (
            3 * c.has_forces[owners[keys // n]].sum(),
            3 * n_atoms[c.has_forces].sum(),
            6 * n_atoms[c.has_virial].sum(),
        )

    def _work(self):
        return self.X.neighbors.offsets[self.X.offsets], 72 * self.width

    def _parts(self, batch):
        c, jacobian = self.coordinates, self.X.jacobian(batch)
        pairs, slopes = jacobian.pairs, jacobian.values
        if not len(pairs):
            return
        first = self.X.offsets[batch.start]
        n_atoms = self.X.n_atoms[batch]
        owners = np.repeat(np.arange(batch.start, batch.stop), n_atoms)
        places = np.arange(len(owners)) - np.repeat(self.X.offsets[batch] - first, n_atoms)
        outputs = self.starts[owners] + 3 * places
        moves = c.has_forces[owners][pairs.centers] & (pairs.centers != pairs.indices)
        if moves.any():
            yield "neighbours", *_between(pairs, slopes, moves, first, outputs)
            some = beside(np.flatnonzero(moves), slopes)
            sums, centers = _sums(slopes[some], pairs.centers[moves])
            yield "own", -sums, centers + first, outputs[centers]
        strained = c.has_virial[owners][pairs.centers]
        if strained.any():
            a, b = VOIGT
            some = beside(np.flatnonzero(strained), slopes)
            vectors = beside(pairs.vectors[strained][:, b, None], slopes)
            strains = slopes[some][:, a] * vectors
            sums, centers = _sums(strains, pairs.centers[strained])
            yield "strain", sums, centers + first, self.of_strain[owners[centers]]


def _between(pairs, slopes, moves, first, outputs):
    """Sums over the images of each neighbour of each centre."""
    n = len(outputs)
    keys = pairs.centers[moves].astype(np.int64) * n + pairs.indices[moves]
    order = np.argsort(keys, kind="stable")
    some = beside(np.flatnonzero(moves)[order], slopes)
    sums, keys = _sums(slopes[some], keys[order])
    return sums, keys // n + first, outputs[keys % n]


def _sums(values, keys):
    """Sums of values of equal keys, which follow each other, and the keys."""
    new = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return sums_of(values, np.append(new, len(keys))), keys[new]


class _OfStructures(_Blocks):
    """Blocks of groups of the features of structures: a row is one group of one structure."""

    def _row_offsets(self):
        return self.n_groups * np.arange(len(self.X) + 1)

    def _counts(self):
        c, g = self.coordinates, self.n_groups
        return 3 * g * c.n_atoms[c.has_forces].sum(), 6 * g * c.has_virial.sum()

    def _work(self):
        return self.X.structures.offsets, 72 * self.X.n_features

    def _parts(self, batch):
        c, jacobian = self.coordinates, self.X.jacobian(batch)
        owners = np.repeat(np.arange(batch.start, batch.stop), c.n_atoms[batch])
        places = np.arange(len(owners)) + jacobian.offsets[0]
        places = places - np.repeat(jacobian.offsets[:-1], c.n_atoms[batch])
        if len(chosen := np.flatnonzero(c.has_forces[owners])):
            outputs = self.starts[owners] + 3 * places
            slopes = beside(jacobian.gradients, self.X.values)
            slopes = slopes[beside(chosen, slopes)]
            yield "forces", *self._grouped(slopes, owners[chosen], outputs[chosen])
        some = np.arange(batch.start, batch.stop)
        if len(chosen := np.flatnonzero(c.has_virial[batch])):
            strains = beside(jacobian.strains, self.X.values)
            strains = strains[beside(chosen, strains)][:, *VOIGT]
            yield "strain", *self._grouped(strains, some[chosen], self.of_strain[some[chosen]])

    def _grouped(self, slopes, owners, outputs):
        """The slopes (n, k, n_features) of each group that has any, sorted by structure."""
        n, k, g = len(slopes), slopes.shape[1], self.n_groups
        slopes = slopes.reshape(n, k, g, self.width).swapaxes(1, 2)
        of, group = np.nonzero(on_host((slopes != 0).any(3).any(2)))
        rows = owners[of] * g + group
        order = np.argsort(rows, kind="stable")
        of, rows = of[order], rows[order]
        return slopes[beside(of, slopes), beside(group[order], slopes)], rows, outputs[of]
