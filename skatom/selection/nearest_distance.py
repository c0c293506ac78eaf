"""The distance from what is known as a measure of novelty."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.parallel import split_rows
from skatom.selection.feature_novelty import FeatureNovelty, owners_of, table_of

# Distances that are known at a time.
_NUMBERS = 2**22


class NearestDistance(FeatureNovelty):
    r"""Distance of features from the nearest known ones.

    .. math:: d(x) = \min_{j \in \text{known}} |x - x_j|

    Atoms are compared with known atoms of their species, and a structure is as new as the newest of
    its atoms. `select` takes the structure that is farthest, counts it as known and goes on, which
    is farthest point sampling.

    Parameters
    ----------
    descriptor : transformer or Pipeline, default=None
        Makes features of structures; used as it is if it is fitted. None: X are features already.
        Features of different units should be scaled before.

    Attributes
    ----------
    known_ : dict of ndarray
        The known rows by atomic number; 0 for those of structures or of an array.
    species_ : ndarray of int, or None
        Atomic numbers of the species that are known.
    n_structures_seen_ : int
        Number of known structures.

    References
    ----------
    .. [1] J. P. Janet et al., Chem. Sci. 10, 7913 (2019).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import SOAP
    >>> from skatom.selection import NearestDistance
    >>> measure = NearestDistance(SOAP(n_max=4, l_max=3)).fit([molecule("C2H6"), molecule("H2O")])
    >>> measure.score([molecule("C2H6"), molecule("C2H4")]).round(2)
    array([0.  , 0.37])
    >>> measure.score([molecule("NH3")])
    array([inf])
    """

    def __init__(self, descriptor: Any = None) -> None:
        self.descriptor = descriptor

    def _learn(self, X):
        self.known_ = {}
        self._learn_more(X)

    def _learn_more(self, X):
        known = dict(self.known_)
        for key, rows in _rows_by_species(X):
            more = table_of(X)[rows]
            known[key] = np.vstack([known[key], more]) if key in known else more.copy()
        self.known_ = known

    def _scores(self, X):
        table = table_of(X)
        found = np.full(len(table), np.inf)
        for key, rows in _rows_by_species(X):
            if key in self.known_:
                found[rows] = _nearest(table[rows], self.known_[key])
        return found

    def _choose(self, X, n):
        table, nearest = table_of(X), self._scores(X)
        owners, parts, chosen = owners_of(X), dict(_rows_by_species(X)), []
        keys = X.structures.numbers if isinstance(X, AtomicFeatures) else np.zeros(len(X), int)
        while len(chosen) < n:
            row = int(nearest.argmax())
            if nearest[row] <= 0.0:
                break
            chosen.append(int(owners[row]))
            for new in np.flatnonzero(owners == owners[row]):
                same = parts[int(keys[new])]
                distances = np.linalg.norm(table[same] - table[new], axis=1)
                nearest[same] = np.minimum(nearest[same], distances)
        return np.array(chosen, int)


def _rows_by_species(X):
    """Pairs of an atomic number and the rows of its atoms; of 0 and all rows, if not of atoms."""
    if not isinstance(X, AtomicFeatures):
        return [(0, np.arange(len(X)))]
    numbers = X.structures.numbers
    return [(int(z), np.flatnonzero(numbers == z)) for z in np.unique(numbers)]


def _nearest(rows, known):
    out = np.empty(len(rows))
    for piece in split_rows(len(rows), max(1, _NUMBERS // len(known))):
        out[piece] = cdist(rows[piece], known).min(axis=1)
    return out
