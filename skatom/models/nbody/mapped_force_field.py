"""N-body Gaussian processes as spline tables."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._typing import ArrayLike, PathLike, StructuresLike, TargetsLike
from skatom.elements import species_index
from skatom.kernels.nbody.expansion import NPletExpansion
from skatom.models._regressor import StructureRegressor
from skatom.models.nbody import lammps
from skatom.models.nbody.nbody_gaussian_process import NBodyGaussianProcess
from skatom.models.nbody.spline_tables import SplineExpansion, SplineTables
from skatom.structures import as_structures

# The first knot, in units of the shortest distance of the training set.
_MARGIN = 0.8


class MappedForceField(StructureRegressor):
    r"""Spline tables of the pairs and triangles of an n-body Gaussian process.

    .. math::

        \hat E = \sum_z N_z \varepsilon_z + \sum_{i<j} V_2(r_{ij})
        + \sum_{i<j<k} V_3(r_{ij}, r_{ik}, r_{jk})

    The mean of a Gaussian process with an n-body kernel is a sum of functions of one distance and
    of three distances. They are tabulated once, for each combination of elements, as cubic and
    tricubic splines [1]_. The cost of predictions then does not depend on the size of the training
    set. The tables hold the energy without its cutoff functions, which is as smooth as the kernel;
    the cutoff functions are evaluated exactly. Forces and stress are the derivatives of the
    splines, so energies are conserved.

    The variance of an energy is a sum over the pairs of n-plets of a structure,

    .. math::

        s^2 = \sum_{T T'} c(T, T'), \qquad
        c(T, T') = k(T, T') - k_T^\top (K + \Lambda)^{-1} k_{T'} \approx
        \sum_{pq} \varphi_p(T)\, C_{pq}\, \varphi_q(T'),

    and so are those of forces and stresses, with derivatives of c. The posterior covariance c of
    two n-plets is a function of two distances for pairs and of six for triangles [2]_. With
    ``map_variance`` it is tabulated as the matrix C in a basis of products of functions of one
    side, for all combinations of elements together. The functions :math:`\varphi` are the
    eigenfunctions of the kernel between ``r_min`` and the cutoff. Standard deviations are those of
    the process but for two approximations: functions are left out whose share of the prior variance
    is below 1e-12 of the largest, and below ``r_min`` the deviation is that of the linear
    extrapolation. Covariances between different n-plets are kept.

    Parameters
    ----------
    estimator : NBodyGaussianProcess, default=None
        The process that ``fit`` trains and tabulates. None: ``NBodyGaussianProcess()``.
        `from_fitted` tabulates a process that is fitted already.
    r_min : float, default=None
        The first knot in Å, below which energies are extrapolated linearly. None: 0.8 times the
        shortest distance in the training set.
    n_knots_pairs : int, default=512
        Number of knots of V₂ from ``r_min`` to the cutoff.
    n_knots_triangles : int, default=96
        Number of knots of V₃ along each side. The error of forces falls with the third power of the
        spacing over the ``sigma`` of the kernel.
    map_variance : bool, default=False
        Whether to tabulate the variance, too, for standard deviations.
    max_memory : float, default=None
        Memory limit of the tables of a kernel in GiB. None: the available memory.

    Attributes
    ----------
    expansion_ : SplineExpansion
        The tables of all kernels of the sum.
    variance_ : VarianceTable or None
        The table of the variance, with ``map_variance``.
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.
    baseline_ : Baseline or None
        The fitted baseline of the process.
    outputs_ : tuple of str
        Names of the properties that the model predicts.
    absolute_energies_ : bool
        Whether energies were learnt.

    Raises
    ------
    ValueError
        If the kernel is not a sum of pairs and triangles with a cutoff, a structure to predict has
        an element that was not in ``fit``, or standard deviations are requested without
        ``map_variance``.
    MemoryError
        If the tables would not fit in memory.

    Warns
    -----
    UserWarning
        If atoms come closer than ``r_min``.

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, A. De Vita, Phys. Rev. B 97, 184307 (2018).
    .. [2] Y. Xie, J. Vandermause, L. Sun, A. Cepellotti, B. Kozinsky, npj Comput. Mater. 7, 40
       (2021), where the variance of each environment is mapped.

    Examples
    --------
    >>> from skatom.datasets import load_boron_nitride
    >>> from skatom.kernels import NBody
    >>> from skatom.models import MappedForceField, NBodyGaussianProcess
    >>> data = load_boron_nitride()
    >>> process = NBodyGaussianProcess(NBody(cutoff=3.5), n_environments=40, random_state=0)
    >>> process = process.fit(data.structures[:60:6], data.targets[:60:6])
    >>> model = MappedForceField.from_fitted(process)
    >>> difference = model.predict(data.structures[:1]) - process.predict(data.structures[:1])
    >>> bool(abs(difference[0]) < 1e-4)
    True
    """

    gives = ("energy", "forces", "stress", "energy_std", "forces_std", "stress_std")
    learns = ("energy", "forces", "stress")

    _parameter_constraints = {
        "estimator": [NBodyGaussianProcess, None],
        "r_min": [Interval(Real, 0, None, closed="neither"), None],
        "n_knots_pairs": [Interval(Integral, 4, None, closed="left")],
        "n_knots_triangles": [Interval(Integral, 4, None, closed="left")],
        "map_variance": ["boolean"],
        "max_memory": [None, Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        estimator: NBodyGaussianProcess | None = None,
        r_min: float | None = None,
        n_knots_pairs: int = 512,
        n_knots_triangles: int = 96,
        max_memory: float | None = None,
        *,
        map_variance: bool = False,
    ) -> None:
        self.estimator = estimator
        self.r_min = r_min
        self.n_knots_pairs = n_knots_pairs
        self.n_knots_triangles = n_knots_triangles
        self.map_variance = map_variance
        self.max_memory = max_memory

    @classmethod
    def from_fitted(cls, estimator: Any, **parameters: Any) -> Any:
        """Tabulate a fitted Gaussian process.

        Parameters
        ----------
        estimator : NBodyGaussianProcess, fitted
            The process.
        **parameters
            Parameters of `MappedForceField`.

        Returns
        -------
        MappedForceField, fitted
        """
        model = cls(estimator, **parameters)
        model._validate_params()
        return model._tabulate(estimator)

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: StructuresLike, y: TargetsLike, **fit_params: Any) -> Self:
        """Train the Gaussian process and tabulate it.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n structures.
        y : Targets, or array-like of float, shape (n,), eV
            Energies, forces and stresses, or some of them.
        **fit_params
            ``configurations`` and ``sample_weight`` of `NBodyGaussianProcess.fit`.

        Returns
        -------
        self
        """
        process = NBodyGaussianProcess() if self.estimator is None else clone(self.estimator)
        return self._tabulate(process.fit(X, y, **fit_params))

    def _tabulate(self, process):
        check_is_fitted(process)
        for expansion in process.expansions_:
            if not isinstance(expansion, NPletExpansion) or expansion.cutoff.radius is None:
                raise ValueError(
                    f"the kernel {process.kernel_} cannot be tabulated: it must be a sum of "
                    "NBody(order=2) and NBody(order=3) with a cutoff"
                )
        r_min = self.r_min
        if r_min is None:
            r_min = _MARGIN * min(expansion.shortest for expansion in process.expansions_)
        tables = [self._table(process, expansion, r_min) for expansion in process.expansions_]
        self.species_, self.baseline_ = process.species_, process.baseline_
        self.absolute_energies_ = process.absolute_energies_
        self.expansion_ = SplineExpansion(tables, self.species_)
        self.variance_, self.outputs_ = None, self.gives[:3]
        if self.map_variance:
            self.variance_ = process.variance_table(r_min, self.max_memory)
            self.outputs_ = self.gives
        return self

    def _table(self, process, expansion, r_min):
        cutoff = expansion.cutoff.radius
        if np.isinf(r_min):
            raise ValueError(
                f"the training structures have no atoms within {cutoff} Å of each other: there is "
                "nothing to tabulate"
            )
        if not r_min < cutoff:
            raise ValueError(f"r_min={r_min:.3g} Å is not below the cutoff of {cutoff} Å")
        n_knots = self.n_knots_pairs if expansion.order == 2 else self.n_knots_triangles
        return SplineTables(expansion, process.species_, r_min, n_knots, self.max_memory)

    def _checked(self, X):
        structures = as_structures(X)
        species_index(structures, self.species_)  # raises for species not seen in fit
        return structures

    def _check_given(self, names):
        try:
            super()._check_given(names)
        except ValueError as error:
            if set(names) <= set(self.gives):
                raise ValueError(f"{error} (this one with map_variance=True)") from None
            raise

    def _evaluate(self, X, names):
        found = {} if self.variance_ is None else self.variance_.by_name(X, names)
        if {"gradient", "virial"}.isdisjoint(names):
            return {"energy": self.expansion_.energies(X), **found}
        parts = self.expansion_.differentiate(X)
        return {**dict(zip(("energy", "gradient", "virial"), parts, strict=True)), **found}

    def pair_energy(self, element: int, other: int, r: ArrayLike) -> tuple:
        """The pair energy V₂(r) and its derivative.

        Parameters
        ----------
        element, other : int
            Atomic numbers.
        r : array-like of float, shape (n,), Å

        Returns
        -------
        values : ndarray of float, shape (n,), eV
        slopes : ndarray of float, shape (n,), eV/Å
        """
        return self._of_single(2, (element, other), np.asarray(r, float)[:, None])

    def triangle_energy(self, elements: Sequence[int], sides: ArrayLike) -> tuple:
        """The triangle energy V₃(r_ij, r_ik, r_jk) and its derivatives.

        Parameters
        ----------
        elements : sequence of three int
            Atomic numbers of i, j and k.
        sides : array-like of float, shape (n, 3), Å
            r_ij, r_ik and r_jk.

        Returns
        -------
        values : ndarray of float, shape (n,), eV
        slopes : ndarray of float, shape (n, 3), eV/Å
        """
        return self._of_single(3, elements, np.asarray(sides, float))

    def write_lammps(self, prefix: str | PathLike, n_points: int = 20_000) -> list[str]:
        """Write the force field for LAMMPS.

        ``pair_style table`` reads V₂ from ``prefix.table`` and ``pair_style uf3``, of the package
        ML-UF3, reads V₃ from ``prefix.uf3``, as cubic B-splines of the three sides
        [3]_. Forces are the derivatives of both, and the force field runs on any number of ranks.
        The products of splines and cutoff functions are fitted again, with about a hundred knots
        along a side, which is what LAMMPS can read; the first line of the file has the largest
        error of the slopes of V₃. Coefficients are integers, to which ``pair_style hybrid/scaled``
        gives their unit. The energies of the elements are left out. Units are ``metal``.

        Parameters
        ----------
        prefix : str or path
            Beginning of the paths of the files; the file name must not contain spaces.
        n_points : int, default=20_000
            Number of distances in the tables of pairs.

        Returns
        -------
        list of str
            The commands for LAMMPS, with atom types in the order of ``species_``.

        Raises
        ------
        ValueError
            If the baseline has forces, such as a `PairRepulsion`.

        References
        ----------
        .. [3] S. R. Xie, M. Rupp, R. G. Hennig, npj Comput. Mater. 9, 162 (2023).
        """
        check_is_fitted(self)
        return lammps.write_potential(self, prefix, n_points)

    def _of_single(self, order, elements, sides):
        check_is_fitted(self)
        species = np.searchsorted(self.species_, elements)
        if not np.array_equal(self.species_.take(species, mode="clip"), elements):
            raise ValueError(f"the model knows the elements {self.species_}, not {list(elements)}")
        values, slopes = np.zeros(len(sides)), np.zeros_like(sides)
        for table in self.expansion_.tables:
            if table.order == order:
                energy, gradient = table.single(species, sides)
                values += energy
                slopes += gradient
        return values, slopes[:, 0] if order == 2 else slopes
