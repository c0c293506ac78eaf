"""The base class of measures of how new structures are to what is known."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skatom._typing import Array, FeaturesLike
from skatom._warnings import warn
from skatom.base import BaseEstimator
from skatom.descriptors.features import Features, as_batch
from skatom.structures import Structures, is_atoms


class Novelty(BaseEstimator):
    """Base class of measures of how new structures are.

    All have the methods `score`, which says how new each structure is, and `select`, which chooses
    a batch of structures; ``fit`` and ``partial_fit`` learn what is known. A structure with atoms
    of a species that is not known is infinitely new.

    A subclass has the attribute ``species_``, the atomic numbers that are known, or None, and
    implements

    - ``scores_atoms_``: whether it looks at atoms;
    - ``_described(X)``: what the next two take;
    - ``_scores(X)``: how new each structure is, (n,), or each atom, (n_atoms,);
    - ``_choose(X, n)``: indices of at most n structures, in the order of choice.
    """

    # what scores by atom need, for a message
    _how_by_atom = "features of atoms"

    def score(self, X: FeaturesLike, y: Any = None, *, by_atom: bool = False) -> Array:
        """How new structures are: the larger the newer.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, AtomicFeatures, StructureFeatures or array-like
            n structures.
        y : ignored
        by_atom : bool, default=False
            Whether to say it of each atom, for measures that look at atoms.

        Returns
        -------
        ndarray of float, shape (n,) or (n_atoms,)
            Of structures; infinite for those with a species that `fit` has not seen.
        """
        check_is_fitted(self)
        if by_atom and not self.scores_atoms_:
            raise ValueError(
                f"this {type(self).__name__} looks at structures as a whole: by_atom=True needs "
                f"{self._how_by_atom}"
            )
        known, structures = self._known(X)
        n_atoms = None if structures is None else structures.n_atoms
        if not known.all():
            X = X[np.flatnonzero(known)] if isinstance(X, Features) else structures[known]
        found = self._scores(self._described(X)) if known.any() else np.empty(0)
        if by_atom:
            return _filled(found, np.repeat(known, n_atoms))
        if self.scores_atoms_ and len(found):
            offsets = np.concatenate([[0], np.cumsum(n_atoms[known])])
            found = np.maximum.reduceat(found, offsets[:-1])
        return _filled(found, known)

    def select(self, X: FeaturesLike, n: int) -> Array:
        """Choose a batch of structures that are new to what is known and to each other.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, AtomicFeatures, StructureFeatures or array-like
            The pool.
        n : int
            Size of the batch.

        Returns
        -------
        ndarray of int, shape (n_selected,)
            Indices in the pool, in the order of selection; those with a species that is not known
            first. A warning says if they are fewer than n because the others are not new.
        """
        check_is_fitted(self)
        known, structures = self._known(X)
        if n < 1 or n > len(known):
            raise ValueError(
                f"n={n} of a pool of {len(known)}: choose at least 1 and at most all of them"
            )
        unseen, rest = np.flatnonzero(~known), np.flatnonzero(known)
        if len(unseen) >= n or not len(rest):
            return unseen[:n]
        if len(unseen):
            X = X[rest] if isinstance(X, Features) else structures[rest]
        chosen = self._choose(self._described(X), n - len(unseen))
        if len(unseen) + len(chosen) < n:
            warn(
                f"only {len(unseen) + len(chosen)} of {len(known)} structures of the pool are new "
                f"to {type(self).__name__}, of {n} asked for: stop here, or give another pool"
            )
        return np.concatenate([unseen, rest[chosen]])

    def _known(self, X):
        """Which structures have known species alone, and the structures, None for an array."""
        structures = structures_of(X)
        if structures is None:
            return np.ones(len(X), bool), None
        if self.species_ is None:
            return np.ones(len(structures), bool), structures
        strange = ~np.isin(structures.numbers, self.species_)
        of_structure = np.add.reduceat(strange, structures.offsets[:-1]) if len(strange) else []
        return np.asarray(of_structure) == 0, structures

    @property
    @abstractmethod
    def scores_atoms_(self):
        """Whether `score` can say how new each atom is."""

    @abstractmethod
    def _described(self, X):
        """Checked features, or structures."""

    @abstractmethod
    def _scores(self, X):
        """How new rows, structures or atoms are."""

    @abstractmethod
    def _choose(self, X, n):
        """Indices of at most n that are new to each other, too."""


def structures_of(X):
    """The structures that X are, or describe; None for an array."""
    if isinstance(X, Features):
        return X.structures
    return as_batch(X) if isinstance(X, Structures) or is_atoms(X) else None


def _filled(found, known):
    """Infinity where something is not known."""
    out = np.full(len(known), np.inf)
    out[known] = found
    return out
