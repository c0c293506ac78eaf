"""Splits whose training samples are in the order of an active selection."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import BaseCrossValidator, check_cv
from sklearn.utils import _safe_indexing, check_random_state

from skatom._typing import ArrayLike, FeaturesLike, RandomState, TargetsLike
from skatom.descriptors.features import as_batch
from skatom.selection.novelty import Novelty
from skatom.structures import is_atoms


class ActiveSplit(BaseCrossValidator):
    r"""Splits whose training samples come in the order in which a measure of novelty chooses them.

    .. math::
        \underbrace{i_1 \ldots i_m}_{\text{random}},\;
        i_{n+1} = \arg\max_i\, \text{score}(x_i \mid x_{i_1} \ldots x_{i_n})

    The training part of each split is the pool. What scikit-learn does with the first samples of
    it is an active selection: ``learning_curve(model, X, y, cv=ActiveSplit(measure))`` and
    `skatom.plotting.LearningCurveDisplay` show the error against the number of labels, and with
    ``measure=None`` that of a random selection which begins with the same samples.

    Parameters
    ----------
    measure : measure of `skatom.selection`, default=None
        How new samples are, such as ``KernelVariance(kernel)``. None: a random order.
    cv : int or splitter, default=None
        Splits, as in scikit-learn; each sample is tested as it says. None: five folds.
    n_initial : int, default=5
        Number m of samples that are drawn at random.
    batch_size : int, default=None
        Number of samples that are chosen before the measure is fitted to them, with their labels.
        None: all at once, for measures that do not depend on labels.
    random_state : int, RandomState or None, default=None
        Seed of the first samples, and of the order of those that are not new.

    Raises
    ------
    ValueError
        In ``split``, if ``n_initial`` or ``batch_size`` is less than 1, or there are fewer training
        samples than ``n_initial``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import ShuffleSplit
    >>> from skatom.model_selection import ActiveSplit
    >>> from skatom.selection import NearestDistance
    >>> X = np.array([[0.0], [0.1], [0.2], [0.3], [5.0], [0.4]])
    >>> part = ShuffleSplit(1, train_size=5, random_state=1)
    >>> splits = ActiveSplit(NearestDistance(), part, n_initial=1, random_state=0)
    >>> ((train, test),) = splits.split(X)
    >>> train, test
    (array([0, 4, 5, 3, 1]), array([2]))
    """

    def __init__(
        self,
        measure: Novelty | None = None,
        cv: Any = None,
        *,
        n_initial: int = 5,
        batch_size: int | None = None,
        random_state: RandomState = None,
    ) -> None:
        self.measure = measure
        self.cv = cv
        self.n_initial = n_initial
        self.batch_size = batch_size
        self.random_state = random_state

    def split(
        self, X: FeaturesLike, y: TargetsLike | None = None, groups: ArrayLike | None = None
    ) -> Iterator:
        """Generate indices of samples to train and to test on.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, AtomicFeatures, StructureFeatures or array-like
            n samples, as the measure takes them.
        y : Targets or array-like of shape (n,), default=None
            Labels, for measures that are fitted to them.
        groups : array-like of shape (n,), default=None
            For splitters that need them.

        Yields
        ------
        train, test : ndarray of int
            Training samples in the order of selection.
        """
        if self.n_initial < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise ValueError(
                f"n_initial={self.n_initial}, batch_size={self.batch_size}: give at least 1"
            )
        X = as_batch(X) if is_atoms(X) else X
        random = check_random_state(self.random_state)
        for train, test in check_cv(self.cv).split(X, y, groups):
            if len(train) < self.n_initial:
                raise ValueError(
                    f"n_initial={self.n_initial} of {len(train)} training samples: lower it, or "
                    "give more samples"
                )
            yield self._ordered(X, y, random.permutation(train)), test

    def get_n_splits(
        self,
        X: FeaturesLike | None = None,
        y: TargetsLike | None = None,
        groups: ArrayLike | None = None,
    ) -> int:
        """The number of splits."""
        return check_cv(self.cv).get_n_splits(X, y, groups)

    def _ordered(self, X, y, train):
        """Training samples, which are in a random order, in that of selection."""
        if self.measure is None:
            return train
        chosen, rest = train[: self.n_initial], np.sort(train[self.n_initial :])
        size = self.batch_size or len(rest)
        while len(rest):
            labels = None if y is None else _safe_indexing(y, chosen)
            measure = clone(self.measure).fit(_safe_indexing(X, chosen), labels)
            found = _new_ones(measure, _safe_indexing(X, rest), min(size, len(rest)))
            if not len(found):
                break
            chosen, rest = np.append(chosen, rest[found]), np.delete(rest, found)
            if self.batch_size is None:
                break
        return np.append(chosen, train[~np.isin(train, chosen)])


def _new_ones(measure, pool, n):
    """What the measure selects; that others are not new is no news here: they come last."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "only .* of the pool are new")
        return measure.select(pool, n)
