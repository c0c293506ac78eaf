"""Derivatives of features of structures: of a descriptor or pooled atoms, and maps applied."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from skatom._cpu.pairs import collect_jacobian
from skatom._device import beside, is_tensor, namespace
from skatom.descriptors.chain import NO_MAPS
from skatom.memory import check_memory
from skatom.structures import groups_by_size

# Number of cotangents of the atoms of pooled features that are made at a time.
_BATCH_BYTES = 2**28


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

    A subclass implements ``_own_features``, ``_own_names()``, ``_pullback(cotangent)`` and
    ``_select(key)`` for the features before the first map and, if it can be faster than one
    pullback for each feature, ``_jacobian()``.
    """

    def __init__(self, structures, chain=NO_MAPS):
        self.structures = structures
        self.chain = chain

    def mapped(self, feature_map, values):
        """The derivatives after one more map; ``values`` are the features it is applied to."""
        return self._with(self.chain.append(feature_map, values))

    def select(self, key):
        """The derivatives of some structures."""
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
        gradients, strains = self._jacobian()
        if self.chain:
            owners = np.repeat(np.arange(len(x)), x.n_atoms)
            gradients = self.chain.pushforward(gradients, owners)
            strains = strains.reshape(len(x), 9, -1)
            strains = self.chain.pushforward(strains, np.arange(len(x)))
            strains = strains.reshape(len(x), 3, 3, -1)
        return StructureJacobian(x.offsets, gradients, strains)

    def _jacobian(self):
        """The Jacobian by one pullback for each feature, of all structures at once."""
        x, n_features = self.structures, self._own_features
        gradients = np.empty((len(x.numbers), 3, n_features))
        strains = np.empty((len(x), 3, 3, n_features))
        for f, one in enumerate(np.eye(n_features)):
            gradients[:, :, f], strains[:, :, :, f] = self._pullback(one[None].copy())
        return gradients, strains


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
    """

    def __init__(self, structures, descriptor, chain=NO_MAPS):
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
        The derivatives of the features of the atoms.
    how : {"sum", "mean"}
        How they are pooled.
    chain : Chain
        Maps applied to the pooled features.
    """

    def __init__(self, atomic, how, chain=NO_MAPS):
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
        x, xp = self.structures, namespace(cotangent)
        cotangent = xp.broadcast_to(cotangent, (len(x), cotangent.shape[1]))
        if self.how == "mean":
            cotangent = cotangent / beside(x.n_atoms[:, None], cotangent)
        owners = np.repeat(np.arange(len(x)), x.n_atoms)
        batches = groups_by_size(x.offsets, max(1, _BATCH_BYTES // (8 * cotangent.shape[1])))
        parts = [
            self.atomic.select(batch).pullback(
                cotangent[owners[x.offsets[batch.start] : x.offsets[batch.stop]]]
            )
            for batch in batches
        ]
        return tuple(xp.concatenate(same) for same in zip(*parts, strict=True))

    def _jacobian(self):
        if not self.descriptor._is_function_of_pairs:
            return super()._jacobian()
        x = self.structures
        add, device = collect_jacobian, self.atomic.device
        shapes = (len(x.numbers), 3, self._own_features), (len(x), 3, 3, self._own_features)
        if device is None:
            gradients, strains = map(np.zeros, shapes)
        else:
            add = import_module("skatom.descriptors._torch.features").collect_jacobian
            gradients, strains = (device.zeros(*shape) for shape in shapes)
        weights = np.ones(len(x)) if self.how == "sum" else 1 / x.n_atoms
        for s, weight in enumerate(weights):
            one = self.atomic.select(s)
            pairs = one.neighbors()
            atoms = slice(*x.offsets[s : s + 2])
            add(
                pairs.centers, pairs.indices, pairs.vectors, one.along_pairs(pairs), weight,
                gradients[atoms], strains[s],
            )  # fmt: skip
        return gradients, strains
