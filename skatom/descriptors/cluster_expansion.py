"""Products of projections of the neighbours on functions of one particle."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._intervals import POSITIVE
from skatom._typing import Array, ArrayLike
from skatom.descriptors._cpu import cluster_expansion as _cpu
from skatom.descriptors._cpu.harmonics import normalization
from skatom.descriptors.alchemy import mixing_matrix
from skatom.descriptors.base import AtomicDescriptor
from skatom.descriptors.cluster_basis import ClusterBasis, products, terms


class AtomicClusterExpansion(AtomicDescriptor):
    _loops = _cpu
    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        "cutoff": [POSITIVE],
        "degrees": ["array-like"],
        "l_weight": [Interval(Real, 0.1, None, closed="left")],
        "pair_cutoff": [POSITIVE, None],
        "species_compression": ["array-like", None],
    }
    _size_parameters = "degrees, or use species_compression"

    def __init__(
        self,
        cutoff: float = 4.5,
        degrees: ArrayLike = (12, 10, 8, 7),
        *,
        l_weight: float = 1.0,
        pair_cutoff: float | None = None,
        species_compression: ArrayLike | None = None,
        pool: str | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.cutoff = cutoff
        self.degrees = degrees
        self.l_weight = l_weight
        self.pair_cutoff = pair_cutoff
        self.species_compression = species_compression
        self.pool = pool
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self, structures):
        self.mixing_ = mixing_matrix(self.species_compression, self.species_)
        terms(self._basis())
        self.inner_ = self._smallest_distances(structures)

    def _smallest_distances(self, structures):
        n = len(self.species_)
        smallest = np.full((n, n), np.inf)
        for batch in self._batches(structures):
            part = structures[batch]
            pairs, species = self._neighbors(part), self._species_index(part)
            r = np.sqrt(np.einsum("pa,pa->p", pairs.vectors, pairs.vectors))
            centers = np.repeat(species[pairs.atoms], np.diff(pairs.offsets))
            np.minimum.at(smallest, (centers, species[pairs.indices]), r)
        smallest = np.minimum(smallest, smallest.T)
        return np.where(smallest < self.cutoff, smallest, 0.0)

    def _cutoff(self):
        return max(self.cutoff, self._pair_cutoff())

    def _pair_cutoff(self):
        return self.cutoff if self.pair_cutoff is None else self.pair_cutoff

    def _basis(self):
        return ClusterBasis(
            tuple(float(d) for d in self.degrees), float(self.l_weight), len(self.mixing_)
        )

    def _compiled(self):
        made = products(self._basis())
        return _cpu.Projections(
            float(self.cutoff), float(self._pair_cutoff()), self.inner_,
            normalization(len(made.n_radial) - 1), self.mixing_, *made,
        )  # fmt: skip

    def _n_features(self):
        return len(terms(self._basis()))

    def feature_degrees(self) -> Array:
        check_is_fitted(self)
        return np.array([sum(p.degree for p in t.factors) for t in terms(self._basis())])

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        check_is_fitted(self)
        channels = [chemical_symbols[z] for z in self.species_]
        if self.species_compression is not None:
            channels = [f"mix{j}-" for j in range(len(self.mixing_))]
        names = []
        for term in terms(self._basis()):
            parts = [f"{channels[p.channel]}{p.n}l{p.l}" for p in term.factors]
            names.append("_".join(["ace", *parts, *([f"L{term.L}"] if len(parts) == 4 else [])]))
        return np.array(names, object)
