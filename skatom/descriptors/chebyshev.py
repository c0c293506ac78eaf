"""Chebyshev expansions of radial and angular distributions around atoms."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev, legendre
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._intervals import POSITIVE
from skatom._typing import Array
from skatom.descriptors._cpu import chebyshev as _cpu
from skatom.descriptors._cpu.harmonics import normalization
from skatom.descriptors.base import AtomicDescriptor


class ChebyshevFunctions(AtomicDescriptor):
    r"""Artrith–Urban–Ceder symmetry functions: Chebyshev expansions of distances and angles.

    Their number does not depend on the number of species. With the Chebyshev polynomials
    :math:`T_n` and the neighbours j, k of an atom,

    .. math::
        G^{rad}_n &= \sum_j w_j\, T_n(2 r_j / r_c - 1)\, f_c(r_j), \qquad n = 0, \dots, n_{rad}

        G^{ang}_n &= \sum_{j<k} w_j w_k\, T_n(\cos\theta_{jk})\, f_c(r_j)\, f_c(r_k),
        \qquad n = 0, \dots, n_{ang}

    once with :math:`w_j = 1` and, if there are several species, once more with :math:`w_j` of the
    species, the integers …, −1, 1, … of an even number of species sorted by their atomic numbers,
    and …, −1, 0, 1, … of an odd number. The cutoff function is :math:`f_c = (\cos \pi r / r_c +
    1)/2`. The angular sums are computed from spherical harmonics, in a time linear in the number
    of neighbours.

    Parameters
    ----------
    cutoff : float, default=6.0
        Cutoff radius of the radial functions in Å.
    radial_order : int, default=10
        Largest order of the radial polynomials; −1: none.
    angular_order : int, default=6
        Largest order of the angular polynomials; −1: none.
    angular_cutoff : float, default=None
        Cutoff radius of the angular functions in Å, at most ``cutoff``. None: ``cutoff``.
    pool : {"sum", "mean"}, default=None
        Sum or average the features over the atoms of each structure, as `StructureFeatures`.
        None: `AtomicFeatures`, one row for each atom.
    n_jobs : int, default=None
        Number of joblib jobs that share the structures, as for `ACSF`.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.

    Raises
    ------
    ValueError
        If the angular cutoff is larger than the cutoff, or there are no functions.

    References
    ----------
    N. Artrith, A. Urban, G. Ceder, Phys. Rev. B 96, 014112 (2017).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import ChebyshevFunctions
    >>> ChebyshevFunctions().fit_transform([molecule("H2O"), molecule("CH3OH")])
    AtomicFeatures(2 structures, 9 atoms, 36 features, species H C O)
    """

    _loops = _cpu
    _parameter_constraints = {
        **AtomicDescriptor._parameter_constraints,
        "cutoff": [POSITIVE],
        "radial_order": [Interval(Integral, -1, None, closed="left")],
        "angular_order": [Interval(Integral, -1, 30, closed="both")],
        "angular_cutoff": [POSITIVE, None],
    }
    _size_parameters = "radial_order or angular_order"

    def __init__(
        self,
        cutoff: float = 6.0,
        radial_order: int = 10,
        angular_order: int = 6,
        *,
        angular_cutoff: float | None = None,
        pool: str | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.cutoff = cutoff
        self.radial_order = radial_order
        self.angular_order = angular_order
        self.angular_cutoff = angular_cutoff
        self.pool = pool
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _prepare(self, structures):
        if self.angular_cutoff is not None and self.angular_cutoff > self.cutoff:
            raise ValueError(
                f"angular_cutoff={self.angular_cutoff} must not be larger than cutoff={self.cutoff}"
            )
        if self._n_features() == 0:
            raise ValueError("there are no functions: raise radial_order or angular_order above -1")

    def _compiled(self):
        return _cpu.Expansion(
            cutoff=float(self.cutoff),
            angular_cutoff=float(
                self.cutoff if self.angular_cutoff is None else self.angular_cutoff
            ),
            n_radial=self.radial_order + 1,
            weights=self._weights(),
            legendre=_chebyshev_in_legendre(self.angular_order),
            norm=normalization(max(self.angular_order, 0)),
        )

    def _weights(self):
        """Weights of each species, (1, 1) or (2, n_species)."""
        n = len(self.species_)
        if n == 1:
            return np.ones((1, 1))
        spins = np.arange(n, dtype=float) - n // 2
        if n % 2 == 0:
            spins[spins >= 0] += 1
        return np.stack([np.ones(n), spins])

    def _n_features(self):
        n_channels = 1 if len(self.species_) == 1 else 2
        return n_channels * (self.radial_order + 1 + self.angular_order + 1)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the features.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
            ``chebyshev_radial_0``, ``chebyshev_angular_0`` and, weighted by species,
            ``chebyshev_species_radial_0``, ….
        """
        check_is_fitted(self)
        channels = [""] if len(self.species_) == 1 else ["", "species_"]
        orders = {"radial": self.radial_order, "angular": self.angular_order}
        return np.array(
            [
                f"chebyshev_{channel}{kind}_{n}"
                for channel in channels
                for kind, order in orders.items()
                for n in range(order + 1)
            ],
            dtype=object,
        )


def _chebyshev_in_legendre(order):
    """4π/(2l + 1) t_nl with T_n = Σ_l t_nl P_l, (order + 1, order + 1)."""
    out = np.zeros((order + 1, max(order + 1, 1)))
    for n in range(order + 1):
        found = legendre.poly2leg(chebyshev.cheb2poly(np.eye(n + 1)[n]))
        out[n, : len(found)] = found
    return out * 4 * np.pi / (2 * np.arange(out.shape[1]) + 1)
