"""Derivatives of features of structures: of a descriptor or pooled atoms, and maps applied."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from ase.data import chemical_symbols

from skatom._cpu.pairs import collect_jacobian
from skatom._device import beside, is_tensor, moved, namespace, resolve
from skatom.descriptors.atomic_derivatives import degrees_of, with_device
from skatom.descriptors.chain import NO_MAPS
from skatom.elements import species_index, symbols
from skatom.memory import check_memory
from skatom.structures import groups_by_size

# Number of cotangents of the atoms of pooled features that are made at a time.
_BATCH_BYTES = 2**26
# Derivatives along the pairs of some structures, before they are collected, also on a device.
_SLOPES_BYTES, _DEVICE_BYTES = 2**26, 2**30


@dataclass(frozen=True)
class StructureJacobian:
    """Derivatives dx_s/dR and dx_s/dε of features of structures with respect to atoms and strain.

    Features do not depend on atoms of other structures: the dense Jacobian of structure s is
    ``gradients[offsets[s]:offsets[s + 1]]``.

    Attributes
    ----------
    offsets : ndarray of int, shape (n + 1,)
        Index of the first atom of each structure, and the number of atoms at the end.
    gradients : ndarray of float, shape (n_atoms, 3, n_features)
        d values[s] / dR_k.
    strains : ndarray of float, shape (n, 3, 3, n_features)
        d values[s] / dε, R → (1 + ε) R and cell vectors likewise.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import InverseDistances
    >>> features = InverseDistances().fit_transform([molecule("H2O")] * 2)
    >>> jacobian = features.jacobian(slice(None))
    >>> jacobian.gradients.shape, jacobian.strains.shape
    ((6, 3, 3), (2, 3, 3, 3))
    """

    offsets: np.ndarray
    gradients: np.ndarray
    strains: np.ndarray


class StructureDerivatives:
    """Base class of the derivatives of features of structures.

    A subclass implements ``_own_features``, ``_own_names()``, ``_own_degrees()``,
    ``_pullback(cotangent)`` and ``_select(key)`` for the features before the first map and, if it
    can be faster than one pullback for each feature, ``_jacobian(needed)``.
    """

    def __init__(self, structures, chain=NO_MAPS):
        self.structures = structures
        self.chain = chain

    def __getstate__(self):
        return {**vars(self), "chain": self.chain.to(None)}

    def mapped(self, feature_map, values):
        """The derivatives after one more map; ``values`` are the features it is applied to."""
        return self._with(self.chain.append(feature_map, values))

    def select(self, key):
        """The derivatives of some structures."""
        rows = np.atleast_1d(np.arange(len(self.structures))[key])
        return self._select(key, self.chain.select(rows))

    @property
    def steps(self):
        """What was done to the features of the descriptor, in turn; a sum or mean in words."""
        return self.chain.maps

    @property
    def n_features(self):
        return self.chain.n_features(self._own_features)

    def names(self):
        return self.chain.names(self._own_names())

    def degrees(self):
        return self.chain.degrees(self._own_degrees())

    def pullback(self, cotangent):
        """dE/dR (n_atoms, 3) and dE/dε (n, 3, 3) for a cotangent of each structure, or one."""
        cotangent = self.chain.pullback(cotangent, len(self.structures))
        if not is_tensor(cotangent):
            cotangent = np.require(cotangent, float, ["C", "W"])
        return self._pullback(cotangent)

    def jacobian(self):
        """The `StructureJacobian` of all structures."""
        x = self.structures
        n_features = max(self._own_features, self.n_features)
        check_memory(
            8.0 * (3 * len(x.numbers) + 9 * len(x)) * n_features,
            f"the Jacobian of {len(x)} structures and {n_features} features",
            "take fewer structures at a time",
        )
        needed = self.chain.depends_on(self._own_features)
        found = self._jacobian(needed)
        if found is None:
            return self._by_pullbacks(needed)
        return self._mapped_jacobian(*found)

    def _mapped_jacobian(self, gradients, strains):
        """The Jacobian after the maps, from that before them."""
        x = self.structures
        if self.chain:
            owners = np.repeat(np.arange(len(x)), x.n_atoms)
            gradients = self.chain.pushforward(gradients, owners)
            strains = strains.reshape(len(x), 9, -1)
            strains = self.chain.pushforward(strains, np.arange(len(x)))
            strains = strains.reshape(len(x), 3, 3, -1)
        return StructureJacobian(x.offsets, gradients, strains)

    def _by_pullbacks(self, needed):
        """One pullback for each feature before or after the maps, whichever are fewer."""
        if self.n_features <= needed.sum():
            gradients, strains = self._pulled(
                self.pullback, range(self.n_features), self.n_features
            )
            return StructureJacobian(self.structures.offsets, gradients, strains)
        pulled = self._pulled(self._pullback, np.flatnonzero(needed), self._own_features)
        return self._mapped_jacobian(*pulled)

    def _pulled(self, pullback, features, n_features):
        x = self.structures
        gradients = np.zeros((len(x.numbers), 3, n_features))
        strains = np.zeros((len(x), 3, 3, n_features))
        for f in features:
            one = np.zeros((1, n_features))
            one[0, f] = 1.0
            gradients[:, :, f], strains[:, :, :, f] = pullback(one)
        return gradients, strains

    def _jacobian(self, needed):
        """Gradients and strains of the features before the maps; None: by pullbacks.

        Features that are not needed, a mask, may be zero.
        """


class GlobalDerivatives(StructureDerivatives):
    """The derivatives of features of a descriptor of whole structures.

    Parameters
    ----------
    structures : Structures
        The structures.
    descriptor : StructureDescriptor
        The fitted descriptor.
    chain : Chain
        Maps applied to the features.
    device : Device or None
        Where the features are. None: they are arrays of numpy, as after pickling.
    """

    def __init__(self, structures, descriptor, chain=NO_MAPS, device=None):
        super().__init__(structures, chain)
        self.descriptor = descriptor
        self.device = device

    def __getstate__(self):
        return {**super().__getstate__(), "device": None}

    def to(self, device):
        """The derivatives on another device, a value of the parameter ``device``."""
        descriptor = with_device(self.descriptor, device)
        place = resolve(device)
        return GlobalDerivatives(self.structures, descriptor, self.chain.to(place), place)

    def _with(self, chain):
        return GlobalDerivatives(self.structures, self.descriptor, chain, self.device)

    def _select(self, key, chain):
        return GlobalDerivatives(self.structures[key], self.descriptor, chain, self.device)

    @property
    def _own_features(self):
        return self.descriptor.n_features_out_

    def _own_names(self):
        return self.descriptor.get_feature_names_out()

    def _own_degrees(self):
        return degrees_of(self.descriptor)

    def _pullback(self, cotangent):
        shape = (len(self.structures), cotangent.shape[1])
        cotangent = namespace(cotangent).broadcast_to(cotangent, shape)
        return self.descriptor._pullback(self.structures, cotangent)

    def _jacobian(self, needed):
        found = self.descriptor._jacobian(self.structures, needed)
        return found and tuple(moved(array, self.device) for array in found)


class PooledDerivatives(StructureDerivatives):
    """The derivatives of sums or means over the atoms of each structure.

    Parameters
    ----------
    atomic : AtomicDerivatives
        The derivatives of the features of the atoms.
    how : {"sum", "mean"}
        How they are pooled.
    chain : Chain
        Maps applied to the pooled features.
    species : ndarray of int, default=None
        Atomic numbers, each of whose atoms have a block of columns. None: atoms share the columns.
    """

    def __init__(self, atomic, how, chain=NO_MAPS, species=None):
        super().__init__(atomic.structures, chain)
        self.atomic = atomic
        self.how = how
        self.species = species

    @property
    def descriptor(self):
        return self.atomic.descriptor

    @property
    def device(self):
        return self.atomic.device

    def to(self, device):
        """The derivatives on another device, a value of the parameter ``device``."""
        atomic = self.atomic.to(device)
        return PooledDerivatives(atomic, self.how, self.chain.to(atomic.device), self.species)

    @property
    def steps(self):
        whose = "atoms" if self.species is None else f"the atoms of each of {symbols(self.species)}"
        return [*self.atomic.steps, f"the {self.how} over {whose}", *super().steps]

    def _with(self, chain):
        return PooledDerivatives(self.atomic, self.how, chain, self.species)

    def _select(self, key, chain):
        return PooledDerivatives(self.atomic.select(key), self.how, chain, self.species)

    @property
    def _own_features(self):
        return self.atomic.n_features * (1 if self.species is None else len(self.species))

    def _own_names(self):
        names = self.atomic.names()
        if self.species is None:
            return names
        symbols = (chemical_symbols[number] for number in self.species)
        return np.array([f"{symbol}:{name}" for symbol in symbols for name in names], object)

    def _own_degrees(self):
        degrees = self.atomic.degrees()
        if degrees is None or self.species is None:
            return degrees
        return np.tile(degrees, len(self.species))

    def _blocks(self):
        """The block of columns of every atom: zeros where atoms share the columns."""
        if self.species is None:
            return np.zeros(len(self.structures.numbers), np.int64)
        return species_index(self.structures, self.species)

    def _pullback(self, cotangent):
        if self.how == "sum" and len(cotangent) == 1 and self.species is None:
            return self.atomic.pullback(cotangent)
        x, xp = self.structures, namespace(cotangent)
        cotangent = xp.broadcast_to(cotangent, (len(x), cotangent.shape[1]))
        if self.how == "mean":
            cotangent = cotangent / beside(x.n_atoms[:, None], cotangent)
        owners, blocks = np.repeat(np.arange(len(x)), x.n_atoms), self._blocks()
        cotangent = cotangent.reshape(len(x), -1, self.atomic.n_features)
        batches = groups_by_size(x.offsets, max(1, _BATCH_BYTES // (8 * cotangent.shape[2])))
        parts = []
        for batch in batches:
            atoms = slice(x.offsets[batch.start], x.offsets[batch.stop])
            rows = cotangent[owners[atoms], blocks[atoms]]
            parts.append(self.atomic.select(batch).pullback(rows))
        return tuple(xp.concatenate(same) for same in zip(*parts, strict=True))

    def _jacobian(self, needed):
        pooled = self.descriptor._pools_jacobian and self.atomic.chain.linear
        if not pooled and not self.descriptor._is_function_of_pairs:
            return None
        x = self.structures
        device = self.atomic.device
        shapes = (len(x.numbers), 3, self._own_features), (len(x), 3, 3, self._own_features)
        zeros = np.zeros if device is None else lambda shape: device.zeros(*shape)
        gradients, strains = map(zeros, shapes)
        weights = np.ones(len(x)) if self.how == "sum" else 1 / x.n_atoms
        blocks = self._blocks()
        if not pooled:
            self._add_along_pairs(weights, blocks, gradients, strains)
            return gradients, strains
        for s, weight in enumerate(weights):
            atoms = slice(*x.offsets[s : s + 2])
            own = self.atomic.select(s)
            for block in np.unique(blocks[atoms]):
                columns = slice(block * own.n_features, (block + 1) * own.n_features)
                _add_pooled(
                    own, weight * (blocks[atoms] == block), gradients[atoms, :, columns],
                    strains[s, :, :, columns],
                )  # fmt: skip
        return gradients, strains

    def _add_along_pairs(self, weights, blocks, gradients, strains):
        """Add the Jacobians of Σ_i x_i of the structures, collected from the pairs of atoms."""
        x, pairs, device = self.structures, self.atomic.neighbors(), self.atomic.device
        edges, columns = pairs.offsets[x.offsets], blocks * self.atomic.n_features
        n_bytes = gradients.nbytes + strains.nbytes if device is None else 0
        for group in self._groups(edges, n_bytes):
            # a descriptor's fixed cost is paid once for a group
            own_pairs = pairs.of_structures(x.offsets, group)
            slopes = self.atomic.select(group).along_pairs(own_pairs)
            atoms = slice(x.offsets[group.start], x.offsets[group.stop])
            own_edges = edges[group.start : group.stop + 1] - edges[group.start]
            if device is not None:
                collect = import_module("skatom.descriptors._torch.features").collect_jacobians
                owners = np.repeat(np.arange(len(own_edges) - 1), np.diff(own_edges))
                first_columns = columns[atoms][own_pairs.centers]
                of_pairs = owners, weights[group][owners], first_columns, slopes
                collect(own_pairs, *of_pairs, gradients[atoms], strains[group])
                continue
            for s in range(group.start, group.stop):
                first, atoms = x.offsets[s], slice(*x.offsets[s : s + 2])
                own = slice(*edges[s : s + 2])
                here = slice(*own_edges[s - group.start : s - group.start + 2])
                collect_jacobian(
                    pairs.centers[own] - first, pairs.indices[own] - first, pairs.vectors[own],
                    slopes[here], weights[s], columns[pairs.centers[own]], gradients[atoms],
                    strains[s],
                )  # fmt: skip

    def _groups(self, edges, n_bytes):
        """Structures whose pairs, which begin at ``edges``, fit in memory beside ``n_bytes``."""
        device = self.atomic.device
        # maps come after the derivatives of all features, as a second array
        width = self.descriptor.n_features_out_ + bool(self.atomic.chain) * self.atomic.n_features
        at_once = _SLOPES_BYTES if device is None else _DEVICE_BYTES
        groups = groups_by_size(edges, max(1, at_once // (24 * width)))
        most = max((edges[group.stop] - edges[group.start] for group in groups), default=0)
        check = check_memory if device is None else device.check_memory
        check(
            24.0 * most * width + n_bytes,  # zeros take memory once something is added to them
            f"the Jacobian of {most} pairs and {width} features",
            "take smaller structures, or reduce the number of features",
        )
        return groups


def _add_pooled(atomic, weights, gradients, strain):
    """The same, from the pooled Jacobian of the descriptor, for maps that are linear."""
    numbers = atomic.structures.numbers
    groups = np.unique(numbers[weights != 0]) if atomic.chain.by_species else [None]
    for number in groups:
        own = weights if number is None else np.where(numbers == number, weights, 0.0)
        found = atomic.pooled_jacobian(own)
        for place, part in zip((gradients, strain), found, strict=True):
            species = None if number is None else np.full(len(part), number)
            place += atomic.chain.pushforward(part, None, species)
