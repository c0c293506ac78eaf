"""Base classes of descriptors, of atomic environments and of whole structures."""

from __future__ import annotations

import copy
from functools import partial
from importlib import import_module
from numbers import Integral
from typing import Any, Self

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._device import device_of, resolve
from skatom._typing import StructuresLike
from skatom.base import BaseEstimator
from skatom.descriptors.atomic_derivatives import SMALL_LIST, AtomicDerivatives
from skatom.descriptors.atomic_features import AtomicFeatures, pool_atoms
from skatom.descriptors.feature_transformer import in_container
from skatom.descriptors.structure_derivatives import GlobalDerivatives, PooledDerivatives
from skatom.descriptors.structure_features import StructureFeatures
from skatom.elements import species_index
from skatom.memory import check_memory
from skatom.neighbors import concatenate, neighbor_list
from skatom.parallel import map_jobs, run_in_threads
from skatom.structures import as_structures, groups_by_size

# Size of the features of one batch: small compared with the memory of a laptop, large compared
# with the overhead of a call.
_BATCH_BYTES = 2**28
# The same where only sums over atoms are kept.
_POOLED_BATCH_BYTES = 2**25
# Bytes of a neighbour list from which on they count: a look at the free memory takes 50 µs.
_COUNTED = 2**20


class _Transformer:
    """``fit_transform`` of structures.

    It comes before TransformerMixin in the bases, which would wrap AtomicFeatures in a data frame
    where ``set_output`` or the global configuration asks for one; see `in_container`.
    """

    def fit_transform(self, X: StructuresLike, y: Any = None) -> Any:
        """Fit to structures and compute their features.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The structures.
        y : ignored

        Returns
        -------
        AtomicFeatures or StructureFeatures, as from ``transform``
        """
        X = as_structures(X)
        return self.fit(X).transform(X)


class _GlobalTransform(_Transformer):
    def transform(self, X: StructuresLike) -> StructureFeatures:
        """Compute the features.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n structures.

        Returns
        -------
        StructureFeatures of shape (n, n_features)
        """
        check_is_fitted(self)
        structures = as_structures(X)
        self._check_structures(structures)
        values = self._values(structures)
        derivatives = GlobalDerivatives(structures, copy.copy(self), device=device_of(values))
        return in_container(self, StructureFeatures(values, derivatives), X)


class StructureDescriptor(_GlobalTransform, TransformerMixin, BaseEstimator):
    """Base class of descriptors of whole structures.

    A subclass implements

    - ``_check_structures(structures)``: raises an error for structures that it cannot describe;
    - ``_values(structures)``: their features (n, n_features);
    - ``_pullback(structures, cotangent)``: gradient and virial, see `StructureFeatures.pullback`,
      for a cotangent (n, n_features);
    - ``_jacobian(structures, needed)``, if it can be faster than one pullback for each feature:
      the gradients and strains of a `StructureJacobian`, which may be zero for features that the
      mask ``needed`` leaves out;
    - ``n_features_out_`` and ``get_feature_names_out()``.
    """

    def _jacobian(self, structures, needed):
        return None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


class _AtomicTransform(_Transformer):
    def transform(self, X: StructuresLike, neighbors: Any = None) -> Any:
        """Compute the features.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n structures.
        neighbors : NeighborList, default=None
            Neighbour list of these structures, with a cutoff at least as long as the cutoff of the
            descriptor; for example of a simulation engine, see `NeighborList.from_pairs`. None:
            it is computed.

        Returns
        -------
        AtomicFeatures, or StructureFeatures of shape (n, n_features) if ``pool`` is given
        """
        check_is_fitted(self)
        structures = as_structures(X)
        device = self._device()
        if device is None and self._can_wait and len(self._batches(structures)) == 1:
            return self._transform_later(structures, neighbors)
        if device is None:
            values, neighbors = self._compute(structures, neighbors)
        else:
            values, neighbors = self._compute_on(device, structures, neighbors)
        make = self._derivatives_on(device)
        derivatives = make(structures, copy.copy(self), neighbors, values.nbytes)
        if self.pool is None:
            return AtomicFeatures(values, derivatives)
        features = StructureFeatures(values, PooledDerivatives(derivatives, self.pool))
        return in_container(self, features, X)

    @property
    def _can_wait(self):
        """Whether values of one batch may be computed when they are used."""
        alone = self.pool is None and not self.verbose and effective_n_jobs(self.n_jobs) == 1
        return self._gives_products and alone

    def _transform_later(self, structures, neighbors):
        self._species_index(structures)  # raises for species not seen in fit
        n_rows = len(structures.numbers)
        self._check_memory(n_rows, 0)
        if neighbors is None:
            neighbors = self._neighbors(structures)
        else:
            neighbors = self._checked_neighbors(structures, neighbors)
        limit = 8.0 * n_rows * self._n_features()
        return AtomicFeatures(
            None, AtomicDerivatives(structures, copy.copy(self), neighbors, limit)
        )

    def _compute(self, structures, neighbors=None):
        """The features, and the neighbour list if it was given or is smaller than the features."""
        self._species_index(structures)  # raises for species not seen in fit
        if neighbors is not None:
            neighbors = self._checked_neighbors(structures, neighbors)
        n_rows = len(structures.numbers) if self.pool is None else len(structures)
        self._check_memory(n_rows, 0)
        batches = self._batches(structures)
        offsets = structures.offsets if self.pool is None else np.arange(n_rows + 1)
        values = np.empty((n_rows, self._n_features()))
        rows = [values[offsets[batch.start] : offsets[batch.stop]] for batch in batches]
        # one job writes where it belongs and leaves its neighbours, others send their values
        alone = effective_n_jobs(self.n_jobs) == 1
        items = [
            (structures[batch], _part(neighbors, structures, batch), place if alone else None)
            for batch, place in zip(batches, rows, strict=True)
        ]
        parts = map_jobs(
            partial(_batch_values, self), items, self.n_jobs, verbose=self.verbose,
            desc=type(self).__name__, unit="batch",
        )  # fmt: skip
        found = _Found()
        for place, (part, pairs) in zip(rows, parts, strict=True):
            if part is not place:
                place[:] = part
            if pairs is not None:
                found.add(pairs, max(values.nbytes, SMALL_LIST))
        if neighbors is None and alone:
            neighbors = found.joined()
        return values, neighbors

    def _compute_on(self, device, structures, neighbors):
        """The features as a tensor on a device, and the neighbour list."""
        species = self._species_index(structures)
        if neighbors is None:
            neighbors = self._neighbors_on(device, structures)
        else:
            neighbors = self._checked_neighbors(structures, neighbors)
            neighbors = _tensor_module("neighbors").NeighborTensors.of(neighbors, device)
        n_rows = len(structures.numbers)
        self._check_memory(n_rows, 0, device.check_memory)
        loops = _tensor_module("features").TensorLoops
        values = loops(self, neighbors, species, device).values()
        if self.pool is not None:
            values = pool_atoms(values, structures.offsets, self.pool)
        return values, neighbors

    def _check_memory(self, n_rows, n_pairs, check=check_memory):
        """Raise a MemoryError if so many rows, and what loops need of pairs, do not fit."""
        n_features = self._n_features()
        check(
            8.0 * (n_rows * n_features + n_pairs),
            f"the array of {n_rows} x {n_features} features",
            f"transform fewer structures at a time, or reduce {self._size_parameters}",
        )

    def _checked_neighbors(self, structures, neighbors):
        n_atoms = len(structures.numbers)
        if not np.array_equal(neighbors.atoms, np.arange(n_atoms)):
            raise ValueError(
                f"neighbors has {len(neighbors.atoms)} centres, but the structures have {n_atoms} "
                "atoms: give the list of all atoms of these structures"
            )
        return neighbors.within(self._cutoff())

    def _batches(self, structures):
        """Slices of consecutive structures, at least one for each job."""
        n_atoms = len(structures.numbers)
        n_bytes = _BATCH_BYTES if self.pool is None else _POOLED_BATCH_BYTES
        size = max(1, n_bytes // (8 * self._n_features()))
        size = min(size, -(-n_atoms // effective_n_jobs(self.n_jobs)))
        return groups_by_size(structures.offsets, size)


class _Found:
    """The neighbour lists of batches, kept while all together take less than ``limit`` bytes."""

    def __init__(self):
        self.lists = []
        self.n_bytes = 0

    def add(self, pairs, limit):
        self.n_bytes += pairs.n_bytes
        if self.lists is not None:
            self.lists.append(pairs)
        if self.n_bytes > limit:
            self.lists = None

    def joined(self):
        """The list of all batches, or None if it is too long."""
        return None if self.lists is None else concatenate(self.lists)


class AtomicDescriptor(_AtomicTransform, TransformerMixin, BaseEstimator):
    """Base class of descriptors of atomic environments within a cutoff.

    A subclass has the parameters ``cutoff``, ``pool``, ``n_jobs`` and ``verbose`` and implements

    - ``_loops``: the module of its compiled functions ``values``, ``pair_gradients`` and
      ``pair_jacobian``, see `_run`;
    - ``_compiled()``: the tuple of parameters of these functions;
    - ``_prepare(structures)``: what ``fit`` does besides learning ``species_``;
    - ``_n_features()``, the length of a row, and ``get_feature_names_out()``;
    - for a parameter ``device``, ``_tensor_loops``: the name of the module of the same functions on
      tensors, see `skatom.descriptors._torch`.
    """

    _parameter_constraints = {
        "pool": [StrOptions({"sum", "mean"}), None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }
    device = "cpu"
    _tensor_loops = None
    # Whether ``pair_gradients`` has one more array, the products of values and cotangents. Linear
    # models then need no values, which are computed when something else asks for them.
    _gives_products = False
    # named where features do not fit in memory
    _size_parameters = "the number of features"

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: StructuresLike, y: Any = None) -> Self:
        """Learn the species.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The structures.
        y : ignored

        Returns
        -------
        self
        """
        structures = as_structures(X)
        self.species_ = structures.species
        self._prepare(structures)
        return self

    def _device(self):
        """The `Device` of the features, None for numpy."""
        return resolve(self.device, self.n_jobs)

    def _values(self, pairs, species, out):
        """Features of all atoms into ``out`` (n_atoms, n_features)."""
        self._run(self._loops.values, pairs, species, out)

    def _pair_gradients(self, pairs, species, cotangent, out):
        """dE/dr_ij of all pairs, (n_pairs, 3), for a cotangent of one row or one for each atom.

        The products of values and cotangents (n_atoms,), if the loops give them.
        """
        more = (np.empty(len(pairs.atoms)),) if self._gives_products else ()
        self._run(self._loops.pair_gradients, pairs, species, cotangent, out, *more)
        return more[0] if more else None

    def _pair_jacobian(self, pairs, species, out):
        """d values_i / dr_ij into ``out`` (n_pairs, 3, n_features)."""
        self._run(self._loops.pair_jacobian, pairs, species, out)

    def _jacobian_of_runs(self, pairs, species):
        """``function(run, out)``, which does the same for a slice of the centres of a list."""
        prepared = self._prepared()
        return lambda run, out: prepared._pair_jacobian(pairs.run(run), species, out)

    def _prepared(self):
        """A copy for many calls of the loops, whose parameters are made now."""
        prepared = copy.copy(self)
        if hasattr(self, "_compiled"):
            parameters = self._compiled()
            prepared._compiled = lambda: parameters
        return prepared

    def _run(self, loop, pairs, species, *arrays):
        """Call a compiled function on all centres of a neighbour list, in threads.

        It has the signature ``(first, last, offsets, vectors, centers, neighbors, parameters,
        *arrays)`` and writes the results of the centres first … last - 1 and of their pairs.
        ``centers`` (n_centers,) and ``neighbors`` (n_pairs,) are the indices of their species.
        """
        neighbors = np.empty(len(pairs.indices), species.dtype)
        arguments = (
            pairs.offsets, pairs.vectors, species[pairs.atoms], neighbors, self._compiled(),
            *arrays,
        )  # fmt: skip

        def work(first, last):  # each thread looks up the neighbours of its own centres
            own = slice(pairs.offsets[first], pairs.offsets[last])
            np.take(species, pairs.indices[own], out=neighbors[own], mode="clip")
            loop(first, last, *arguments)

        run_in_threads(work, len(pairs.atoms))

    @property
    def n_features_out_(self) -> Any:
        """Number of features."""
        check_is_fitted(self)
        return self._n_features()

    # whether the features of an atom depend only on the pairs with its own neighbours
    _is_function_of_pairs = True
    # whether ``_pooled_jacobian(pairs, species, weights)`` gives the derivatives of weighted sums
    # over the atoms of a structure, (n_atoms, 3, n_features) and (3, 3, n_features)
    _pools_jacobian = False

    def _cutoff(self):
        """Cutoff radius in Å."""
        return self.cutoff

    def _neighbors(self, structures):
        return neighbor_list(structures, self._cutoff())

    def _derivatives_on(self, device):
        """The class of the derivatives on a `Device`, or of numpy where it is None."""
        if device is None:
            return AtomicDerivatives
        return _tensor_module("derivatives").TensorDerivatives

    def _neighbors_on(self, device, structures):
        """The neighbours on a device, or on the CPU if there they are found."""
        return _tensor_module("neighbors").find_neighbors(structures, self._cutoff(), device)

    def _species_index(self, structures):
        """Index of every atom's species in ``species_``; a ValueError for unseen species."""
        return species_index(structures, self.species_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _tensor_module(name):
    return import_module(f"skatom.descriptors._torch.{name}")


def _part(neighbors, structures, batch):
    """The neighbour list of a batch of structures, or None if it is not known."""
    return None if neighbors is None else neighbors.of_structures(structures.offsets, batch)


def _batch_values(descriptor, item):
    """Features of a batch, pooled if the descriptor pools.

    The item is the structures, their neighbour list or None, and the array to write to or None.
    If there is such an array, the neighbour list is returned too.
    """
    structures, pairs, out = item
    n_atoms, pool = len(structures.numbers), descriptor.pool
    direct = pool is None and out is not None
    values = out if direct else np.empty((n_atoms, descriptor._n_features()))
    pairs = descriptor._neighbors(structures) if pairs is None else pairs
    if pairs.n_bytes > _COUNTED:  # their number was not known, and they have taken some of it
        descriptor._check_memory(n_atoms, len(pairs))
    descriptor._values(pairs, descriptor._species_index(structures), values)
    if pool is not None:
        values = pool_atoms(values, structures.offsets, pool)
    return values, None if out is None else pairs
