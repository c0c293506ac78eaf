"""What all descriptors of atomic environments share."""

import copy
from functools import partial
from numbers import Integral

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import check_is_fitted

from skatom.base import BaseEstimator
from skatom.descriptors.atomic_features import AtomicFeatures, pool_atoms
from skatom.elements import species_index
from skatom.memory import check_memory
from skatom.neighbors import neighbor_list
from skatom.parallel import map_jobs, run_in_threads
from skatom.structures import as_structures, groups_by_size

# Features of one batch: small against the memory of a laptop, large against the cost of a call.
_BATCH_BYTES = 2**28


class _Batches:
    """The ``transform`` of descriptors.

    It is kept out of `TransformerMixin`'s reach, which would wrap AtomicFeatures in a data frame
    where ``set_output`` or the global configuration asks for one; only pooled features, a
    table, are wrapped.
    """

    def fit_transform(self, X, y=None):
        """Learn the species and compute the features of the same structures.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
        y : Ignored

        Returns
        -------
        AtomicFeatures, or ndarray of float, shape (n, n_features), if ``pool`` is given
        """
        X = as_structures(X)
        return self.fit(X).transform(X)

    def transform(self, X):
        """Compute the features.

        Parameters
        ----------
        X : Structures or list of ase.Atoms

        Returns
        -------
        AtomicFeatures, or ndarray of float, shape (n, n_features), if ``pool`` is given
        """
        check_is_fitted(self)
        structures = as_structures(X)
        self._species_index(structures)
        values = self._batched_values(structures)
        if self.pool is None:
            return AtomicFeatures(values, structures, copy.copy(self))
        return _wrap_data_with_container("transform", values, X, self)

    def _batched_values(self, structures):
        n_rows = len(structures.numbers) if self.pool is None else len(structures)
        check_memory(
            8.0 * n_rows * self._n_features(),
            f"the array of {n_rows} x {self._n_features()} features",
            f"transform fewer structures at a time, or reduce {self._size_parameters}",
        )
        batches = self._batches(structures)
        offsets = structures.offsets if self.pool is None else np.arange(n_rows + 1)
        values = np.empty((n_rows, self._n_features()))
        rows = [values[offsets[batch.start] : offsets[batch.stop]] for batch in batches]
        # one job writes where it belongs, others send what they find
        places = rows if effective_n_jobs(self.n_jobs) == 1 else [None] * len(rows)
        found = map_jobs(
            partial(_batch_values, self),
            [(structures[batch], place) for batch, place in zip(batches, places, strict=True)],
            self.n_jobs, verbose=self.verbose, desc=type(self).__name__, unit="batch",
        )  # fmt: skip
        for place, part in zip(rows, found, strict=True):
            if part is not place:
                place[:] = part
        return values

    def _batches(self, structures):
        """Slices of consecutive structures, at least one for each job."""
        n_atoms = len(structures.numbers)
        size = max(1, _BATCH_BYTES // (8 * self._n_features()))
        size = min(size, -(-n_atoms // effective_n_jobs(self.n_jobs)))
        return groups_by_size(structures.offsets, size)


class AtomicDescriptor(_Batches, TransformerMixin, BaseEstimator):
    """Base class of descriptors of atomic environments within a cutoff.

    A subclass has the parameters ``cutoff``, ``pool``, ``n_jobs`` and ``verbose`` and writes

    - ``_loops``: the module of its compiled functions ``values``, ``pair_gradients`` and
      ``pair_jacobian``, see `_run`;
    - ``_compiled()``: the tuple of parameters that they take;
    - ``_prepare(structures)``: what ``fit`` does beyond learning ``species_``;
    - ``_n_features()`` and ``get_feature_names_out()``.
    """

    _parameter_constraints = {
        "pool": [StrOptions({"sum", "mean"}), None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }
    # named where features do not fit in memory
    _size_parameters = "the number of features"

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the species.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
        y : Ignored

        Returns
        -------
        self
        """
        structures = as_structures(X)
        self.species_ = structures.species
        self._prepare(structures)
        return self

    def _values(self, pairs, species, out):
        """Features of all atoms into ``out`` (n_atoms, n_features)."""
        self._run(self._loops.values, pairs, species, out)

    def _pair_gradients(self, pairs, species, cotangent, out):
        """dE/dr_ij of all pairs, (n_pairs, 3), for a cotangent of one row or one for each atom."""
        self._run(self._loops.pair_gradients, pairs, species, cotangent, out)

    def _pair_jacobian(self, pairs, species, out):
        """d values_i / dr_ij into ``out`` (n_pairs, 3, n_features)."""
        self._run(self._loops.pair_jacobian, pairs, species, out)

    def _run(self, loop, pairs, species, *arrays):
        """Call a compiled function on all centres, in threads.

        It has the signature ``(first, last, offsets, indices, vectors, species, parameters,
        *arrays)`` and writes what belongs to the atoms first … last - 1 and to their pairs. The
        pairs may be those of the first atoms alone.
        """
        run_in_threads(
            loop, len(pairs.offsets) - 1, pairs.offsets, pairs.indices, pairs.vectors, species,
            self._compiled(), *arrays,
        )  # fmt: skip

    def _neighbors(self, structures):
        return neighbor_list(structures, self.cutoff)

    def _species_index(self, structures):
        """Index of every atom's species in ``species_``, or an error for unseen ones."""
        return species_index(structures, self.species_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _batch_values(descriptor, batch):
    """Features of ``(structures, out)``, pooled if the descriptor pools, in ``out`` if given."""
    structures, out = batch
    n_atoms, pool = len(structures.numbers), descriptor.pool
    direct = pool is None and out is not None
    values = out if direct else np.empty((n_atoms, descriptor._n_features()))
    descriptor._values(
        descriptor._neighbors(structures), descriptor._species_index(structures), values
    )
    return values if pool is None else pool_atoms(values, structures.offsets, pool)
