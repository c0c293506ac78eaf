"""Repulsion of nuclei at short range."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from skatom._cpu.pairs import collect
from skatom.base import BaseEstimator
from skatom.neighbors import neighbor_list

_COULOMB = 14.399645  # e² / 4πε₀ in eV Å
_BOHR = 0.529177211
_AMPLITUDES = np.array([0.18175, 0.50986, 0.28022, 0.02817])
_RATES = np.array([3.19980, 0.94229, 0.40290, 0.20162])


class PairRepulsion(BaseEstimator):
    r"""The screened Coulomb repulsion of nuclei, after Ziegler, Biersack and Littmark.

    .. math::
        E = \sum_{i<j} \frac{e^2}{4 \pi \varepsilon_0} \frac{Z_i Z_j}{r_{ij}}\,
            \Phi\!\left(\frac{r_{ij}}{a_{ij}}\right) S(r_{ij}), \qquad
        a_{ij} = \frac{0.8854\, a_0}{Z_i^{0.23} + Z_j^{0.23}}

    with the universal screening function Φ and a switch S that falls from 1 at ``inner`` to 0 at
    ``cutoff`` with two continuous derivatives. It is added to a model that learns the rest, so
    that atoms repel each other at distances of which there are no data.

    Parameters
    ----------
    cutoff : float, default=2.0
        Å; shorter than the bonds in the data, so that they are learnt freely.
    inner : float, default=1.0
        Å, shorter than ``cutoff``.

    References
    ----------
    .. [1] J. F. Ziegler, J. P. Biersack, U. Littmark, The Stopping and Range of Ions in Matter,
       Pergamon (1985).

    Examples
    --------
    >>> from ase import Atoms
    >>> from skatom import Structures
    >>> from skatom.models import PairRepulsion
    >>> dimer = Structures.from_ase([Atoms("Si2", [[0, 0, 0], [0, 0, 0.5]])])
    >>> energies, forces, virial = PairRepulsion(cutoff=2.0, inner=1.0).evaluate(dimer)
    >>> energies.round(1)
    array([235.3, 235.3])
    """

    _parameter_constraints = {
        "cutoff": [Interval(Real, 0, None, closed="neither")],
        "inner": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, cutoff=2.0, inner=1.0):
        self.cutoff = cutoff
        self.inner = inner

    def evaluate(self, structures):
        """Energies and their derivatives.

        Parameters
        ----------
        structures : Structures

        Returns
        -------
        energies : ndarray of float, shape (n_atoms,), eV
            Half of that of each pair on each of its atoms.
        forces : ndarray of float, shape (n_atoms, 3), eV/Å
        virial : ndarray of float, shape (n, 3, 3), eV
            The derivative dE/dε by the strain.
        """
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(), type(self).__name__
        )
        if self.inner >= self.cutoff:
            raise ValueError(f"inner={self.inner} must be smaller than cutoff={self.cutoff}")
        pairs = neighbor_list(structures, self.cutoff)
        r = np.linalg.norm(pairs.vectors, axis=1)
        z, other = structures.numbers[pairs.centers], structures.numbers[pairs.indices]
        energy, slope = self._pair(r, z, other)
        energies = np.bincount(pairs.centers, 0.5 * energy, len(structures.numbers))
        gradients = (0.5 * slope / r)[:, None] * pairs.vectors
        gradient, virial = collect(
            pairs.offsets, pairs.indices, pairs.vectors, gradients, structures.offsets
        )
        return energies, -gradient, virial

    def _pair(self, r, z, other):
        """The energy of a pair and its derivative by the distance."""
        length = 0.8854 * _BOHR / (z**0.23 + other**0.23)
        terms = _AMPLITUDES * np.exp(-_RATES * (r / length)[:, None])
        screening, slope = terms.sum(axis=1), -(terms @ _RATES) / length
        t = np.clip((r - self.inner) / (self.cutoff - self.inner), 0.0, 1.0)
        switch = 1 - t**3 * (10 - 15 * t + 6 * t**2)
        falling = -30 * t**2 * (1 - t) ** 2 / (self.cutoff - self.inner)
        bare = _COULOMB * z * other / r
        energy = bare * screening * switch
        return energy, bare * (slope * switch + screening * falling) - energy / r
