"""Folds of trajectories, in blocks, and of paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d
from sklearn.model_selection import (
    BaseCrossValidator,
    StratifiedKFold,
)
from sklearn.utils import check_consistent_length, indexable

from skatom._typing import Array, ArrayLike, FeaturesLike, RandomState, TargetsLike
from skatom.baseline import count_species
from skatom.structures import as_structures


class BlockKFold(BaseCrossValidator):
    """K folds made of contiguous blocks of a trajectory.

    Consecutive frames of molecular dynamics are nearly equal. A random split puts them on both
    sides and so underestimates the error for new trajectories. Here whole blocks go to one side,
    and frames at their borders can be left out. To keep whole trajectories or molecules together,
    scikit-learn's `GroupKFold` is enough.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    block_size : int, default=None
        Number of frames in a block. Blocks are dealt to the folds in turn, so that each fold
        covers the whole trajectory. None: one block of each trajectory for each fold.
    gap : int, default=0
        Number of training frames to drop on both sides of each test block; about the correlation
        time of the trajectory, in frames.

    Raises
    ------
    ValueError
        In ``split``, if a parameter is out of range, or a fold has nothing to test or train on.

    Examples
    --------
    >>> from skatom.model_selection import BlockKFold
    >>> for train, test in BlockKFold(n_splits=2, block_size=3, gap=1).split(range(12)):
    ...     print(train, test)
    [ 4 10 11] [0 1 2 6 7 8]
    [0 1 7] [ 3  4  5  9 10 11]
    """

    def __init__(self, n_splits: int = 5, *, block_size: int | None = None, gap: int = 0) -> None:
        self.n_splits = n_splits
        self.block_size = block_size
        self.gap = gap

    def split(self, X: Any, y: Any = None, groups: ArrayLike | None = None) -> Iterator:
        """Generate indices of frames to train and to test on.

        Parameters
        ----------
        X : Structures, list of ase.Atoms or array, n of them
            Frames in the order of time.
        y : ignored
        groups : array-like of shape (n,), default=None
            Which trajectory each frame belongs to. No block or gap reaches from one into another.

        Yields
        ------
        train, test : ndarray of int
            Sorted.
        """
        self._check_parameters()
        X, groups = indexable(X, groups)
        trajectories = _members(len(X), groups)
        folds = np.concatenate([self._folds(len(frames)) for frames in trajectories])
        frames = np.concatenate(trajectories)
        starts = np.cumsum([len(frames) for frames in trajectories])[:-1]
        for fold in range(self.n_splits):
            test = folds == fold
            near = np.concatenate(
                [
                    maximum_filter1d(part, 2 * self.gap + 1, mode="constant")
                    for part in np.split(test, starts)
                ]
            )
            if not test.any() or near.all():
                side = "train" if near.all() else "test"
                raise ValueError(
                    f"fold {fold} has no frames to {side} on with {len(frames)} frames, "
                    f"n_splits={self.n_splits}, block_size={self.block_size}, gap={self.gap}: make "
                    "one of the three smaller or give more frames"
                )
            yield np.sort(frames[~near]), np.sort(frames[test])

    def get_n_splits(
        self,
        X: FeaturesLike | None = None,
        y: TargetsLike | None = None,
        groups: ArrayLike | None = None,
    ) -> int:
        """The number of folds."""
        return self.n_splits

    def _folds(self, n_frames):
        """The fold of each frame of one trajectory."""
        frames = np.arange(n_frames)
        if self.block_size is None:
            return frames * self.n_splits // n_frames
        return frames // self.block_size % self.n_splits

    def _check_parameters(self):
        smallest = {"n_splits": 2, "block_size": 1, "gap": 0}
        for name, minimum in smallest.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise ValueError(f"{name}={value}: it must be at least {minimum}")


class StratifiedPathKFold(BaseCrossValidator):
    """K folds of whole trajectories, each with the same share of every composition.

    Frames of one relaxation or simulation resemble each other, so a whole path goes to one side.
    The numbers of paths of a composition in two folds differ by at most one. Within a composition
    paths are dealt as in scikit-learn's `StratifiedKFold`; its `StratifiedGroupKFold` balances the
    numbers of frames instead.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=True
        Whether to deal the paths at random rather than in their sorted order.
    random_state : int, RandomState or None, default=None

    Raises
    ------
    ValueError
        In ``split``, if a path has frames of several compositions, or no composition has as many
        paths as there are folds.

    See Also
    --------
    sklearn.model_selection.GroupKFold : Folds of whole paths, whatever their composition.

    References
    ----------
    Sinz et al., J. Chem. Phys. 153, 084109 (2020), https://doi.org/10.1063/5.0016020

    Examples
    --------
    >>> from ase import Atoms
    >>> from skatom.model_selection import StratifiedPathKFold
    >>> structures = [Atoms("LiSi")] * 4 + [Atoms("Li2Si")] * 4
    >>> paths = [0, 0, 1, 1, 2, 2, 3, 3]
    >>> for train, test in StratifiedPathKFold(2, shuffle=False).split(structures, groups=paths):
    ...     print(train, test)
    [2 3 6 7] [0 1 4 5]
    [0 1 4 5] [2 3 6 7]
    """

    def __init__(
        self, n_splits: int = 5, *, shuffle: bool = True, random_state: RandomState = None
    ) -> None:
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def split(
        self,
        X: FeaturesLike,
        y: Any = None,
        groups: ArrayLike | None = None,
        strata: ArrayLike | None = None,
    ) -> Iterator:
        """Generate indices of frames to train and to test on.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, AtomicFeatures or array, n of them
        y : ignored
        groups : array-like of shape (n,), default=None
            The path of each structure. None: each structure is a path of its own.
        strata : array-like of shape (n,), default=None
            The stratum of each structure. None: its composition, see `composition_strata`.

        Yields
        ------
        train, test : ndarray of int
            Sorted.
        """
        strata = composition_strata(X) if strata is None else np.asarray(strata)
        groups = np.arange(len(strata)) if groups is None else np.asarray(groups)
        check_consistent_length(strata, groups)
        paths, first, path = np.unique(groups, return_index=True, return_inverse=True)
        mixed = np.flatnonzero(strata != strata[first][path])
        if len(mixed):
            raise ValueError(
                f"path {groups[mixed[0]]} has structures of more than one stratum (structures "
                f"{first[path[mixed[0]]]} and {mixed[0]}): give each composition paths of its own"
            )
        folds = StratifiedKFold(
            self.n_splits,
            shuffle=self.shuffle,
            random_state=self.random_state if self.shuffle else None,
        )
        for _, test in folds.split(paths, strata[first]):
            tested = np.isin(path, test)
            yield np.flatnonzero(~tested), np.flatnonzero(tested)

    def get_n_splits(
        self,
        X: FeaturesLike | None = None,
        y: TargetsLike | None = None,
        groups: ArrayLike | None = None,
    ) -> int:
        """The number of folds."""
        return self.n_splits


def composition_strata(X: FeaturesLike) -> Array:
    """Number the compositions: structures with equal fractions of all elements have one number.

    Si₂Li₄ counts as SiLi₂. For ``y`` in scikit-learn's `StratifiedKFold` and
    `StratifiedGroupKFold`, and for `StratifiedPathKFold`.

    Parameters
    ----------
    X : Structures, list of ase.Atoms, or AtomicFeatures, n of them

    Returns
    -------
    ndarray of int, shape (n,)

    Examples
    --------
    >>> from ase import Atoms
    >>> from skatom.model_selection import composition_strata
    >>> composition_strata([Atoms("LiSi"), Atoms("Li2Si"), Atoms("Li2Si2")])
    array([0, 1, 0])
    """
    if isinstance(X, np.ndarray):
        raise ValueError(
            "an array of features does not tell the compositions: give the structures, as in "
            "cv=list(StratifiedPathKFold().split(structures, groups=paths)), or strata="
        )
    structures = as_structures(getattr(X, "structures", X))
    counts = count_species(structures, structures.species).astype(int)
    reduced = counts // np.gcd.reduce(counts, axis=1)[:, None]
    return np.unique(reduced, axis=0, return_inverse=True)[1].ravel()


def _members(n_frames, groups):
    """Indices of the frames of each trajectory, in the order of time."""
    if groups is None:
        return [np.arange(n_frames)]
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.split(np.argsort(numbers, kind="stable"), np.cumsum(counts)[:-1])
