"""How features are differentiated: a descriptor, its neighbours, and the maps that follow it."""

from dataclasses import dataclass

import numpy as np

from skatom._cpu.pairs import collect, collect_jacobian
from skatom.descriptors.maps import FeatureMap
from skatom.memory import check_memory
from skatom.neighbors import NeighborList
from skatom.structures import groups_by_size, select

# Cotangents of the atoms of pooled features that are made at a time.
_BATCH_BYTES = 2**28


@dataclass(frozen=True)
class PairJacobian:
    """Derivatives of atomic features along the vectors r_ij = r_j − r_i of all neighbour pairs.

        d values[i] / dR_k = Σ_{pairs (i, j), j = k} J_ij − δ_ik Σ_{pairs (i, j)} J_ij

    where the sums run over all periodic images, each of which is a pair of its own. The
    derivative with respect to a strain is Σ_pairs J_ij ⊗ r_ij.

    Attributes
    ----------
    pairs : NeighborList
        The centres, neighbours and vectors.
    values : ndarray of float, shape (n_pairs, 3, n_features)
        J_ij = d values[i] / d r_ij.
    """

    pairs: NeighborList
    values: np.ndarray


@dataclass(frozen=True)
class StructureJacobian:
    """Derivatives of the features of structures with respect to their own atoms and cells.

    Atom k belongs to one structure s, and other structures do not depend on it: the dense
    Jacobian of structure s is the part ``gradients[offsets[s]:offsets[s + 1]]``.

    Attributes
    ----------
    offsets : ndarray of int, shape (n + 1,)
        Where the atoms of each structure begin.
    gradients : ndarray of float, shape (n_atoms, 3, n_features)
        d values[s] / dR_k.
    strains : ndarray of float, shape (n, 3, 3, n_features)
        d values[s] / dε, R → (1 + ε) R and cell vectors likewise.
    """

    offsets: np.ndarray
    gradients: np.ndarray
    strains: np.ndarray


@dataclass(frozen=True)
class Link:
    """A map of a chain, and the rows that it was applied to unless it is linear."""

    map: FeatureMap
    inputs: np.ndarray | None

    @classmethod
    def make(cls, feature_map, values):
        return cls(feature_map, None if feature_map.linear else values)


class Chain:
    """Maps that follow each other.

    Parameters
    ----------
    links : iterable of Link
    """

    def __init__(self, links=()):
        self.links = list(links)

    def __len__(self):
        return len(self.links)

    def append(self, feature_map, values):
        """One more map, of features with these values."""
        return Chain([*self.links, Link.make(feature_map, values)])

    def select(self, rows):
        """The chain of some of the rows."""
        return Chain(
            Link(link.map, None if link.inputs is None else link.inputs[rows])
            for link in self.links
        )

    def n_features(self, n_features):
        """Features behind the last map, of so many before the first."""
        return self.links[-1].map.n_features_out if self.links else n_features

    def names(self, names):
        """Names of the features behind the last map."""
        for link in self.links:
            names = link.map.feature_names(names)
        return names

    def pullback(self, cotangent, n_rows, numbers=None):
        """Cotangents (n_rows or 1, …) before the first map, from those behind the last one."""
        maps = [link.map for link in self.links]
        if len(cotangent) == 1 and any(not m.linear or m.species is not None for m in maps):
            cotangent = np.broadcast_to(cotangent, (n_rows, cotangent.shape[1]))
        for link in reversed(self.links):
            cotangent = link.map.pullback(link.inputs, cotangent, numbers)
        return cotangent

    def pushforward(self, tangents, rows, numbers=None):
        """Tangents behind the last map; ``rows`` (n,): of which atom or structure each is one."""
        for link in self.links:
            x = None if link.inputs is None else link.inputs[rows]
            tangents = link.map.pushforward(x, tangents, numbers)
        return tangents


_NO_MAPS = Chain()


class AtomicDerivatives:
    """The derivatives of features of atoms.

    Parameters
    ----------
    structures : Structures
    descriptor : AtomicDescriptor
        Fitted.
    neighbors : NeighborList, default=None
        That of the structures. None: found when it is needed.
    limit : float, default=0
        Bytes up to which a list of neighbours is kept.
    chain : Chain
        Maps that follow the descriptor.
    """

    def __init__(self, structures, descriptor, neighbors=None, limit=0, chain=_NO_MAPS):
        self.structures = structures
        self.descriptor = descriptor
        self.limit = limit
        self.chain = chain
        self._keep(neighbors)

    def _keep(self, neighbors):
        fits = neighbors is not None and neighbors.n_bytes <= self.limit
        self._kept = neighbors if fits else None

    def __getstate__(self):
        return {**self.__dict__, "_kept": None}

    @property
    def has_neighbors(self):
        return self._kept is not None

    def neighbors(self):
        """The list of neighbours, found if it was not kept."""
        if self._kept is not None:
            return self._kept
        found = self.descriptor._neighbors(self.structures)
        self._keep(found)
        return found

    def with_neighbors(self):
        """The same, with the list of neighbours kept whatever its size."""
        return AtomicDerivatives(
            self.structures, self.descriptor, self.neighbors(), np.inf, self.chain
        )

    def limited(self, limit):
        """The same, with a list of neighbours kept up to so many bytes."""
        return AtomicDerivatives(self.structures, self.descriptor, self._kept, limit, self.chain)

    def mapped(self, feature_map, values, limit):
        """Behind one more map, of features with these values."""
        chain = self.chain.append(feature_map, values)
        return AtomicDerivatives(self.structures, self.descriptor, self._kept, limit, chain)

    def select(self, key):
        """Of some structures."""
        _, atoms, _ = select(self.structures.offsets, key)
        limit = self.limit * len(atoms) / len(self.structures.numbers)
        kept = self._kept
        if kept is not None:
            kept = kept.of_structures(self.structures.offsets, key)
            limit = max(limit, kept.n_bytes)  # of a dense structure, or one without neighbours
        return AtomicDerivatives(
            self.structures[key], self.descriptor, kept, limit, self.chain.select(atoms)
        )

    @property
    def n_features(self):
        return self.chain.n_features(self.descriptor.n_features_out_)

    def names(self):
        return self.chain.names(self.descriptor.get_feature_names_out())

    def pullback(self, cotangent):
        """dE/dR (n_atoms, 3) and dE/dε (n, 3, 3) for a cotangent of each atom, or one for all."""
        x, pairs = self.structures, self.neighbors()
        cotangent = self.chain.pullback(cotangent, len(x.numbers), x.numbers)
        # writeable too: compiled code is specialised to it
        cotangent = np.require(cotangent, float, ["C", "W"])
        gradients = np.empty((len(pairs), 3))
        species = self.descriptor._species_index(x)
        self.descriptor._pair_gradients(pairs, species, cotangent, gradients)
        return collect(pairs.offsets, pairs.indices, pairs.vectors, gradients, x.offsets)

    def along_pairs(self, pairs):
        """J_ij (n_pairs, 3, n_features) of some or all centres."""
        species = self.descriptor._species_index(self.structures)
        values = np.empty((len(pairs), 3, self.descriptor.n_features_out_))
        self.descriptor._pair_jacobian(pairs, species, values)
        if not self.chain:
            return values
        return self.chain.pushforward(values, pairs.centers, self.structures.numbers[pairs.centers])

    def pairs_of(self, centers):
        """The list of neighbours of some atoms; those of their structures are found, if need be."""
        if self.has_neighbors:
            return self._kept.take(centers)
        offsets = self.structures.offsets
        owners = np.searchsorted(offsets, centers, side="right") - 1
        rows, place = np.unique(owners, return_inverse=True)
        _, _, starts = select(offsets, rows)
        shifts = offsets[rows] - starts[:-1]
        found = self.descriptor._neighbors(self.structures[rows])
        taken = found.take(centers - shifts[place])
        shift = np.repeat(shifts[place], np.diff(taken.offsets))
        return NeighborList(
            taken.offsets, taken.indices + shift, taken.vectors, taken.cutoff, np.asarray(centers)
        )


class StructureDerivatives:
    """Base class of the derivatives of features of structures.

    A subclass writes ``_own_features``, ``_own_names()``, ``_pullback(cotangent)`` and
    ``_select(key)`` for the features before the first map, and, if it can do better than one
    pullback for each feature, ``_jacobian()``.
    """

    def __init__(self, structures, chain=_NO_MAPS):
        self.structures = structures
        self.chain = chain

    def mapped(self, feature_map, values):
        """Behind one more map, of features with these values."""
        return self._with(self.chain.append(feature_map, values))

    def select(self, key):
        """Of some structures."""
        rows = np.atleast_1d(np.arange(len(self.structures))[key])
        return self._select(key, self.chain.select(rows))

    @property
    def n_features(self):
        return self.chain.n_features(self._own_features)

    def names(self):
        return self.chain.names(self._own_names())

    def pullback(self, cotangent):
        """dE/dR (n_atoms, 3) and dE/dε (n, 3, 3) for a cotangent of each structure, or one."""
        cotangent = self.chain.pullback(cotangent, len(self.structures))
        return self._pullback(np.require(cotangent, float, ["C", "W"]))

    def jacobian(self):
        """The `StructureJacobian` of all structures."""
        x = self.structures
        n_features = max(self._own_features, self.n_features)
        check_memory(
            8.0 * (3 * len(x.numbers) + 9 * len(x)) * n_features,
            f"the Jacobian of {len(x)} structures and {n_features} features",
            "take fewer structures at a time",
        )
        gradients, strains = self._jacobian()
        if self.chain:
            owners = np.repeat(np.arange(len(x)), x.n_atoms)
            gradients = self.chain.pushforward(gradients, owners)
            strains = strains.reshape(len(x), 9, -1)
            strains = self.chain.pushforward(strains, np.arange(len(x)))
            strains = strains.reshape(len(x), 3, 3, -1)
        return StructureJacobian(x.offsets, gradients, strains)

    def _jacobian(self):
        """One pullback for each feature: structures do not know of each other."""
        x, n_features = self.structures, self._own_features
        gradients = np.empty((len(x.numbers), 3, n_features))
        strains = np.empty((len(x), 3, 3, n_features))
        for f, one in enumerate(np.eye(n_features)):
            gradients[:, :, f], strains[:, :, :, f] = self._pullback(one[None].copy())
        return gradients, strains


class GlobalDerivatives(StructureDerivatives):
    """The derivatives of features that a descriptor gives of whole structures.

    Parameters
    ----------
    structures : Structures
    descriptor : StructureDescriptor
        Fitted.
    chain : Chain
    """

    def __init__(self, structures, descriptor, chain=_NO_MAPS):
        super().__init__(structures, chain)
        self.descriptor = descriptor

    def _with(self, chain):
        return GlobalDerivatives(self.structures, self.descriptor, chain)

    def _select(self, key, chain):
        return GlobalDerivatives(self.structures[key], self.descriptor, chain)

    @property
    def _own_features(self):
        return self.descriptor.n_features_out_

    def _own_names(self):
        return self.descriptor.get_feature_names_out()

    def _pullback(self, cotangent):
        shape = (len(self.structures), cotangent.shape[1])
        return self.descriptor._pullback(self.structures, np.broadcast_to(cotangent, shape))

    def _jacobian(self):
        jacobian = self.descriptor._jacobian(self.structures)
        return super()._jacobian() if jacobian is None else jacobian


class PooledDerivatives(StructureDerivatives):
    """The derivatives of sums or means over the atoms of each structure.

    Parameters
    ----------
    atomic : AtomicDerivatives
    how : {"sum", "mean"}
    chain : Chain
    """

    def __init__(self, atomic, how, chain=_NO_MAPS):
        super().__init__(atomic.structures, chain)
        self.atomic = atomic
        self.how = how

    @property
    def descriptor(self):
        return self.atomic.descriptor

    def _with(self, chain):
        return PooledDerivatives(self.atomic, self.how, chain)

    def _select(self, key, chain):
        return PooledDerivatives(self.atomic.select(key), self.how, chain)

    @property
    def _own_features(self):
        return self.atomic.n_features

    def _own_names(self):
        return self.atomic.names()

    def _pullback(self, cotangent):
        if self.how == "sum" and len(cotangent) == 1:
            return self.atomic.pullback(cotangent)
        x = self.structures
        cotangent = np.broadcast_to(cotangent, (len(x), cotangent.shape[1]))
        if self.how == "mean":
            cotangent = cotangent / x.n_atoms[:, None]
        batches = groups_by_size(x.offsets, max(1, _BATCH_BYTES // (8 * cotangent.shape[1])))
        parts = [
            self.atomic.select(batch).pullback(
                np.repeat(cotangent[batch], x.n_atoms[batch], axis=0)
            )
            for batch in batches
        ]
        return tuple(np.concatenate(same) for same in zip(*parts, strict=True))

    def _jacobian(self):
        if not self.descriptor._is_function_of_pairs:
            return super()._jacobian()
        x = self.structures
        gradients = np.zeros((len(x.numbers), 3, self._own_features))
        strains = np.zeros((len(x), 3, 3, self._own_features))
        weights = np.ones(len(x)) if self.how == "sum" else 1 / x.n_atoms
        for s, weight in enumerate(weights):
            one = self.atomic.select(s)
            pairs = one.neighbors()
            atoms = slice(*x.offsets[s : s + 2])
            collect_jacobian(
                pairs.centers, pairs.indices, pairs.vectors, one.along_pairs(pairs), weight,
                gradients[atoms], strains[s],
            )  # fmt: skip
        return gradients, strains
