"""Short-range repulsion of nuclei."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval

from skatom._cpu.pairs import collect
from skatom._intervals import POSITIVE
from skatom._typing import FeaturesLike
from skatom.baseline.base import Baseline
from skatom.neighbors import neighbor_list
from skatom.structures import as_structures

_COULOMB = 14.399645  # e² / 4πε₀ in eV Å
_BOHR = 0.529177211
_AMPLITUDES = np.array([0.18175, 0.50986, 0.28022, 0.02817])
_RATES = np.array([3.19980, 0.94229, 0.40290, 0.20162])


class PairRepulsion(Baseline):
    r"""Screened Coulomb repulsion of nuclei of Ziegler, Biersack and Littmark (ZBL).

    .. math::
        E = \sum_{i<j} \frac{e^2}{4 \pi \varepsilon_0} \frac{Z_i Z_j}{r_{ij}}\,
            \Phi\!\left(\frac{r_{ij}}{a_{ij}}\right) S(r_{ij}), \qquad
        a_{ij} = \frac{0.8854\, a_0}{Z_i^{0.23} + Z_j^{0.23}}

    with the universal screening function Φ and a switching function S that falls from 1 at
    ``inner`` to 0 at ``cutoff`` with two continuous derivatives. As the baseline of a model it
    makes atoms repel each other at distances that the training set does not cover.

    Parameters
    ----------
    cutoff : float, default=2.0
        Cutoff radius in Å; shorter than the bonds in the data, which the model is to learn.
    inner : float, default=1.0
        Distance in Å, shorter than ``cutoff``, below which the repulsion is not switched off.

    Raises
    ------
    ValueError
        In ``fit``, if ``inner`` is not smaller than ``cutoff``.

    References
    ----------
    .. [1] J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Matter,
       Pergamon (1985).

    Examples
    --------
    >>> from ase import Atoms
    >>> from skatom import Structures
    >>> from skatom.baseline import PairRepulsion
    >>> dimer = Structures.from_ase([Atoms("Si2", [[0, 0, 0], [0, 0, 0.5]])])
    >>> repulsion = PairRepulsion(cutoff=2.0, inner=1.0).fit(dimer)
    >>> repulsion.local_energies(dimer).round(1)
    array([235.3, 235.3])
    >>> energies, gradient, virial = repulsion.differentiate(dimer)
    """

    _parameter_constraints = {
        "cutoff": [POSITIVE],
        "inner": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, cutoff: float = 2.0, inner: float = 1.0) -> None:
        self.cutoff = cutoff
        self.inner = inner

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters; there is nothing to learn.

        Parameters
        ----------
        X, y : ignored

        Returns
        -------
        self
        """
        if self.inner >= self.cutoff:
            raise ValueError(f"inner={self.inner} must be smaller than cutoff={self.cutoff}")
        self.fitted_ = True
        return self

    def local_energies(self, X: FeaturesLike) -> Any:
        """Half of the energy of each pair on each of its atoms, shape (n_atoms,), eV."""
        structures = as_structures(X)
        return self._of_atoms(structures, *self._pairs(structures)[:2])

    def differentiate(self, X: FeaturesLike) -> Any:
        """Energies, gradient and virial."""
        structures = as_structures(X)
        pairs, energy, slope, r = self._pairs(structures)
        local = self._of_atoms(structures, pairs, energy)
        gradients = (0.5 * slope / r)[:, None] * pairs.vectors
        derivatives = collect(
            pairs.offsets, pairs.indices, pairs.vectors, gradients, structures.offsets
        )
        return np.add.reduceat(local, structures.offsets[:-1]), *derivatives

    def _pairs(self, structures):
        """The neighbours, their energies, slopes and distances."""
        pairs = neighbor_list(structures, self.cutoff)
        r = np.linalg.norm(pairs.vectors, axis=1)
        z, other = structures.numbers[pairs.centers], structures.numbers[pairs.indices]
        return pairs, *self._pair(r, z, other), r

    def _of_atoms(self, structures, pairs, energy):
        return np.bincount(pairs.centers, 0.5 * energy, len(structures.numbers))

    def _pair(self, r, z, other):
        """The energy of a pair and its derivative with respect to the distance."""
        length = 0.8854 * _BOHR / (z**0.23 + other**0.23)
        terms = _AMPLITUDES * np.exp(-_RATES * (r / length)[:, None])
        screening, slope = terms.sum(axis=1), -(terms @ _RATES) / length
        t = np.clip((r - self.inner) / (self.cutoff - self.inner), 0.0, 1.0)
        switch = 1 - t**3 * (10 - 15 * t + 6 * t**2)
        falling = -30 * t**2 * (1 - t) ** 2 / (self.cutoff - self.inner)
        bare = _COULOMB * z * other / r
        energy = bare * screening * switch
        return energy, bare * (slope * switch + screening * falling) - energy / r
