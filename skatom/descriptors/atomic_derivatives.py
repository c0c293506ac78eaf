"""Derivatives of features of atoms: of a descriptor, its neighbours, and maps applied to it."""

import copy
from dataclasses import dataclass

import numpy as np

from skatom._cpu.pairs import collect
from skatom.descriptors.chain import NO_MAPS
from skatom.neighbors import NeighborList
from skatom.structures import select

# A neighbour list that is no larger is kept whatever the size of the features: 16 MiB, half a
# million pairs, which take longer to find than the loops of small descriptors.
SMALL_LIST = 2**24


@dataclass(frozen=True)
class PairJacobian:
    """Derivatives of atomic features along the vectors r_ij = r_j − r_i of all neighbour pairs.

        d values[i] / dR_k = Σ_{pairs (i, j), j = k} J_ij − δ_ik Σ_{pairs (i, j)} J_ij

    where the sums run over all periodic images, each of which is a separate pair. The derivative
    with respect to a strain is Σ_pairs J_ij ⊗ r_ij.

    Attributes
    ----------
    pairs : NeighborList
        The centres, neighbours and vectors.
    values : ndarray of float, shape (n_pairs, 3, n_features)
        J_ij = d values[i] / d r_ij.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import SOAP
    >>> features = SOAP(n_max=2, l_max=1).fit_transform([molecule("H2O"), molecule("CH4")])
    >>> jacobian = features.jacobian(0)
    >>> len(jacobian.pairs.indices), jacobian.values.shape
    (6, (6, 3, 42))
    """

    pairs: NeighborList
    values: np.ndarray


def with_device(descriptor, device):
    """A copy of a fitted descriptor with another parameter ``device``."""
    copied = copy.copy(descriptor)
    if "device" in descriptor.get_params(deep=False):
        copied.device = device
    elif device != "cpu":
        raise ValueError(
            f"{type(descriptor).__name__} has no parameter device: SOAP, FCHL19, ACSF, "
            "AtomicClusterExpansion, InverseDistances and WaveletScattering have"
        )
    return copied


def degrees_of(descriptor):
    """Degrees of the features of a descriptor; None if it has none."""
    known = getattr(descriptor, "feature_degrees", None)
    return None if known is None else known()


def species_of(descriptor):
    """Which features a descriptor says are of which species; None if it does not tell."""
    known = getattr(descriptor, "feature_species", None)
    return None if known is None else known()


class AtomicDerivatives:
    """The derivatives of features of atoms.

    Parameters
    ----------
    structures : Structures
        The structures of the atoms.
    descriptor : AtomicDescriptor
        The fitted descriptor.
    neighbors : NeighborList, default=None
        Neighbour list of the structures. None: it is computed when it is needed.
    limit : float, default=0
        Largest size in bytes of a neighbour list that is kept, if it is more than `SMALL_LIST`.
    chain : Chain
        Maps applied to the features of the descriptor.
    """

    # the `Device` of the derivatives, None for numpy
    device = None

    def __init__(self, structures, descriptor, neighbors=None, limit=0, chain=NO_MAPS):
        self.structures = structures
        self.descriptor = descriptor
        self.limit = limit
        self.chain = chain
        self._keep(neighbors)

    def _keep(self, neighbors):
        fits = neighbors is not None and neighbors.n_bytes <= max(self.limit, SMALL_LIST)
        self._kept = neighbors if fits else None

    def __getstate__(self):
        return {**self.__dict__, "_kept": None}

    @property
    def has_neighbors(self):
        return self._kept is not None

    def neighbors(self):
        """The neighbour list, computed if it was not kept."""
        if self._kept is not None:
            return self._kept
        found = self.descriptor._neighbors(self.structures)
        self._keep(found)
        return found

    def with_neighbors(self):
        """The same derivatives with a neighbour list that is kept whatever its size."""
        return type(self)(self.structures, self.descriptor, self.neighbors(), np.inf, self.chain)

    def to(self, device):
        """The derivatives on another device, a value of the parameter ``device``."""
        descriptor = with_device(self.descriptor, device)
        place = descriptor._device()
        return descriptor._derivatives_on(place)(
            self.structures, descriptor, self.neighbors() if self.has_neighbors else None,
            self.limit, self.chain.to(place),
        )  # fmt: skip

    def limited(self, limit):
        """The same derivatives with a neighbour list that is kept up to ``limit`` bytes."""
        return type(self)(self.structures, self.descriptor, self._kept, limit, self.chain)

    def mapped(self, feature_map, values, limit):
        """The derivatives after one more map; ``values`` are the features it is applied to."""
        chain = self.chain.append(feature_map, values)
        return type(self)(self.structures, self.descriptor, self._kept, limit, chain)

    def select(self, key):
        """The derivatives of some structures."""
        _, atoms, _ = select(self.structures.offsets, key)
        limit = self.limit * len(atoms) / len(self.structures.numbers)
        kept = self._kept
        if kept is not None:
            kept = kept.of_structures(self.structures.offsets, key)
            limit = max(limit, kept.n_bytes)  # of a dense structure, or one without neighbours
        return type(self)(
            self.structures[key], self.descriptor, kept, limit, self.chain.select(atoms)
        )

    @property
    def steps(self):
        """What was done to the features of the descriptor, in turn."""
        return self.chain.maps

    @property
    def n_features(self):
        return self.chain.n_features(self.descriptor.n_features_out_)

    def names(self):
        return self.chain.names(self.descriptor.get_feature_names_out())

    def degrees(self):
        return self.chain.degrees(degrees_of(self.descriptor))

    def feature_species(self):
        return None if self.chain else species_of(self.descriptor)

    @property
    def gives_products(self):
        """Whether a pullback gives the products of values and cotangents on the way."""
        return self.device is None and self.descriptor._gives_products and not self.chain

    def values(self):
        """The features (n_atoms, n_features) before maps; neighbours are kept as far as allowed."""
        values, neighbors = self.descriptor._compute(self.structures, self._kept)
        if self._kept is None:
            self._keep(neighbors)
        return values

    def pullback(self, cotangent):
        """dE/dR (n_atoms, 3) and dE/dε (n, 3, 3) for a cotangent of each atom, or one for all."""
        return self.products_and_pullback(cotangent)[1:]

    def products_and_pullback(self, cotangent):
        """Products of values and cotangents (n_atoms,), or None, and what `pullback` gives."""
        x, pairs = self.structures, self.neighbors()
        cotangent = self.chain.pullback(cotangent, len(x.numbers), x.numbers)
        # writeable too: compiled code is specialised to it
        cotangent = np.require(cotangent, float, ["C", "W"])
        gradients = np.empty((len(pairs), 3))
        species = self.descriptor._species_index(x)
        products = self.descriptor._pair_gradients(pairs, species, cotangent, gradients)
        collected = collect(pairs.offsets, pairs.indices, pairs.vectors, gradients, x.offsets)
        return products, *collected

    def along_pairs(self, pairs):
        """J_ij (n_pairs, 3, n_features) of some or all centres."""
        species = self.descriptor._species_index(self.structures)
        values = np.empty((len(pairs), 3, self.descriptor.n_features_out_))
        self.descriptor._pair_jacobian(pairs, species, values)
        if not self.chain:
            return values
        return self.chain.pushforward(values, pairs.centers, self.structures.numbers[pairs.centers])

    def runs_along_pairs(self, pairs, runs):
        """`along_pairs` of consecutive centres of a list, run after run, in the same memory.

        Parameters
        ----------
        pairs : NeighborList
            Of some or all centres.
        runs : list of slice
            Positions of the centres in the list.

        Yields
        ------
        ndarray of float, shape (n_pairs, 3, n_features)
            Valid until the next run.
        """
        species = self.descriptor._species_index(self.structures)
        evaluate = self.descriptor._jacobian_of_runs(pairs, species)
        n_pairs = [pairs.offsets[run.stop] - pairs.offsets[run.start] for run in runs]
        memory = np.empty((max(n_pairs, default=0), 3, self.descriptor.n_features_out_))
        for run, n in zip(runs, n_pairs, strict=True):
            values = memory[:n]
            evaluate(run, values)
            if self.chain:
                first = pairs.offsets[run.start]
                centers = pairs.centers[first : first + n]
                values = self.chain.pushforward(values, centers, self.structures.numbers[centers])
            yield values

    def pooled_jacobian(self, weights):
        """Σ_i weights_i dx_i/dR (n_atoms, 3, …) and /dε (3, 3, …) of one structure, before maps."""
        species = self.descriptor._species_index(self.structures)
        return self.descriptor._pooled_jacobian(self.neighbors(), species, weights)

    def pairs_of(self, centers):
        """The neighbour list of some atoms, computed for their structures if it was not kept."""
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
