"""The base class of measures of novelty of features."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted, validate_data

from skatom._device import on_host
from skatom._typing import FeaturesLike
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.features import Features
from skatom.descriptors.origin import check_origin, origin_of
from skatom.selection.novelty import Novelty, structures_of
from skatom.structures import Structures, is_atoms


class FeatureNovelty(Novelty):
    """Base class of measures of how new features are to those given to ``fit``.

    A subclass has the parameter ``descriptor`` and implements ``_scores`` and ``_choose`` of
    features or an array, and

    - ``_learn(X)``: from features or an array, replacing what was learnt;
    - ``_learn_more(X)``: from more of them, changing nothing if there is an error.
    """

    _parameter_constraints = {"descriptor": [HasMethods(["fit", "transform"]), None]}

    def fit(self, X: FeaturesLike, y: Any = None) -> Self:
        """Learn what is known.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, AtomicFeatures, StructureFeatures or array-like
            The known structures; those of ase.Atoms need a ``descriptor``.
        y : ignored

        Returns
        -------
        self
        """
        self._validate_params()
        X = self._start(X)
        self._origin = origin_of(X)
        self._of_atoms = isinstance(X, AtomicFeatures)
        self._learn(X)
        self.n_structures_seen_ = len(X)
        return self

    def partial_fit(self, X: FeaturesLike, y: Any = None) -> Self:
        """Learn that more structures are known; the first call is a `fit`.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, AtomicFeatures, StructureFeatures or array-like
            More known structures.
        y : ignored

        Returns
        -------
        self
        """
        if not hasattr(self, "n_structures_seen_"):
            return self.fit(X)
        X = self._described(X)
        self._learn_more(X)
        self.n_structures_seen_ += len(X)
        return self

    @property
    def scores_atoms_(self):
        """Whether `score` can say how new each atom is."""
        return self._of_atoms

    def _start(self, X):
        """The features of X, with a descriptor that is fitted if it was not."""
        structures = structures_of(X)
        if self.descriptor is None:
            self.descriptor_ = None
        elif structures is None:
            raise ValueError(
                "X are structures if there is a descriptor: give structures, or descriptor=None"
            )
        else:
            self.descriptor_ = _fitted(self.descriptor, structures)
        features = self._described(X, reset=True)
        self.species_ = None
        if structures is not None:
            told = getattr(getattr(features, "descriptor", None), "species_", None)
            self.species_ = structures.species if told is None else np.asarray(told)
        return features

    def _described(self, X, reset=False):
        """Features of structures, features as they are, or a checked array."""
        if isinstance(X, Structures) or is_atoms(X):
            if self.descriptor_ is None:
                raise ValueError(
                    "X are structures: give features of them, or a descriptor, such as "
                    f"{type(self).__name__}(SOAP())"
                )
            X = self.descriptor_.transform(X)
        if isinstance(X, Features):
            values = on_host(X.values)
            validate_data(self, values, reset=reset, skip_check_array=True)
            if not reset:
                check_origin(self, X)
            return X
        return validate_data(self, X, dtype=float, reset=reset)

    @abstractmethod
    def _learn(self, X):
        """Learn what is known."""

    @abstractmethod
    def _learn_more(self, X):
        """Learn that more is known."""


def _fitted(descriptor, structures):
    """The descriptor if it is fitted, or a copy that is fitted now."""
    try:
        check_is_fitted(descriptor)
    except NotFittedError:
        return clone(descriptor).fit(structures)
    return descriptor


def table_of(X):
    """The rows of features, of structures or of atoms, or of an array."""
    return on_host(X.values) if isinstance(X, Features) else X


def owners_of(X):
    """The structure that each atom belongs to, or the samples themselves."""
    return (
        np.repeat(np.arange(len(X)), X.n_atoms)
        if isinstance(X, AtomicFeatures)
        else np.arange(len(X))
    )
