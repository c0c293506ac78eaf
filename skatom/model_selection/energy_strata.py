"""Training frames with the distribution of the energies of all frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import BaseShuffleSplit, ShuffleSplit
from sklearn.utils import check_random_state

from skatom._typing import Array, ArrayLike, RandomState, TargetsLike


def energy_stratified_sample(
    energies: ArrayLike,
    n_samples: int,
    exclude: ArrayLike | None = None,
    random_state: RandomState = None,
) -> Array:
    r"""Draw frames so that the sample has the energy distribution of the whole data set.

    The energies are sorted into bins of the Freedman-Diaconis width for the sample's size n,

    .. math:: h = 2\,\mathrm{IQR}(E)\,n^{-1/3} ,

    with at most n/2 bins. Each bin contributes frames in proportion to its size, but at least one,
    so that the tails of the energy distribution are always represented. Within a bin, frames are
    drawn uniformly.

    Parameters
    ----------
    energies : array-like of shape (n,) or Targets
        One energy per frame, in any unit.
    n_samples : int
        Number of frames to draw.
    exclude : array-like of int, default=None
        Indices of frames that must not be drawn, for example those already used for training.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    ndarray of int, shape (n_samples,)
        Distinct indices in random order, so that the first ones are a random subset.

    Raises
    ------
    ValueError
        If an energy is not finite or fewer than ``n_samples`` frames can be drawn.

    References
    ----------
    Chmiela et al., Comput. Phys. Commun. 240, 38 (2019),
    https://doi.org/10.1016/j.cpc.2019.02.007

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.model_selection import energy_stratified_sample
    >>> energies = np.random.default_rng(0).normal(size=2000)
    >>> train = energy_stratified_sample(energies, 500, random_state=0)
    >>> test = energy_stratified_sample(energies, 1000, exclude=train, random_state=0)
    >>> len(np.intersect1d(train, test))
    0
    """
    energies = np.asarray(energies, dtype=float)
    _check_energies(energies)
    free = np.ones(len(energies), bool)
    if exclude is not None:
        free[np.asarray(exclude, dtype=int)] = False
    if not 1 <= n_samples <= free.sum():
        left_out = f" after leaving out {(~free).sum()}" if not free.all() else ""
        raise ValueError(
            f"cannot draw {n_samples} frames: {free.sum()} are available{left_out}; ask for 1 to "
            f"{free.sum()}, or give more data"
        )
    rng = check_random_state(random_state)
    bins = np.digitize(energies, _bin_edges(energies, n_samples))
    counts = np.bincount(bins[free])
    shares = _shares(counts, n_samples, rng)
    chosen = [
        rng.choice(np.flatnonzero(free & (bins == b)), shares[b], replace=False)
        for b in np.flatnonzero(counts)
    ]
    return rng.permutation(np.concatenate(chosen))


class EnergyStratifiedSplit(BaseShuffleSplit):
    """Random splits whose two sides both have the energy distribution of the whole data set.

    `energy_stratified_sample` draws each side, by the energies of ``y``. For ``cv=`` in
    scikit-learn.

    Parameters
    ----------
    n_splits : int, default=10
        Number of splits.
    test_size : float or int, default=None
        Fraction or number of frames to test on. None: the rest beside ``train_size``, or 0.1.
    train_size : float or int, default=None
        Fraction or number of frames to train on. None: the rest beside ``test_size``.
    random_state : int, RandomState or None, default=None

    Raises
    ------
    ValueError
        In ``split``, if ``y`` has no energies or the two sizes exceed the data.

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.model_selection import EnergyStratifiedSplit
    >>> ethanol = load_ethanol()
    >>> cv = EnergyStratifiedSplit(n_splits=1, train_size=200, test_size=500, random_state=0)
    >>> train, test = next(cv.split(ethanol.structures, ethanol.targets))
    >>> len(train), len(test)
    (200, 500)
    """

    def split(self, X: Any, y: TargetsLike, groups: Any = None) -> Any:
        """Generate indices of frames to train and to test on.

        Parameters
        ----------
        X : Structures, list of ase.Atoms or array, n of them
        y : Targets with energies, or array-like of shape (n,)
        groups : ignored

        Yields
        ------
        train, test : ndarray of int
        """
        return super().split(X, y, groups)

    def _iter_indices(self, X, y, groups=None):
        energies = np.asarray(y, dtype=float)
        # scikit-learn's rules for the two sizes, and its errors
        sizes = ShuffleSplit(1, test_size=self.test_size, train_size=self.train_size)
        n_train, n_test = map(len, next(sizes.split(energies)))
        rng = check_random_state(self.random_state)
        for _ in range(self.n_splits):
            train = energy_stratified_sample(energies, n_train, random_state=rng)
            yield train, energy_stratified_sample(energies, n_test, train, random_state=rng)


def _check_energies(energies):
    if energies.ndim != 1:
        raise ValueError(f"energies have the shape {energies.shape}: give one for each frame")
    bad = np.flatnonzero(~np.isfinite(energies))
    if len(bad):
        raise ValueError(
            f"the energy of frame {bad[0]} is {energies[bad[0]]} ({len(bad)} are not finite): "
            "leave such frames out"
        )


def _bin_edges(energies, n_samples):
    """Lower edges of the energy bins, Freedman-Diaconis with the size of the sample."""
    low, high = energies.min(), energies.max()
    width = 2.0 * np.subtract(*np.percentile(energies, [75, 25])) / n_samples ** (1 / 3)
    n_bins = min(np.ceil((high - low) / width), n_samples // 2) if width > 0 else 1
    return np.linspace(low, high, max(int(n_bins), 1), endpoint=False)


def _shares(counts, n_samples, rng):
    """Number of frames from each bin: in proportion, at least one from each occupied bin.

    Proportions are rounded up, so no bin is asked for more than it has, and the excess is taken
    from bins drawn in proportion to what they can spare. At most n_samples / 2 bins are occupied,
    so there is always enough to take.
    """
    shares = -(-n_samples * counts // counts.sum())  # integer ceiling
    while shares.sum() > n_samples:
        spare = np.maximum(shares - 1, 0)
        shares[rng.choice(len(shares), p=spare / spare.sum())] -= 1
    return shares
