"""Kernels of neighbours that are averaged over rotations: invariant, and covariant."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import Options, StrOptions

from skatom._cpu.voigt import FROM_VOIGT
from skatom._intervals import POSITIVE
from skatom._typing import Array, FeaturesLike, StructuresLike
from skatom.base import Predictor, TupleKeys
from skatom.kernels.nbody import centered, harmonics, nplets
from skatom.kernels.nbody.base import PletKernel
from skatom.structures import as_structures

# The largest ratio of the cutoff to sigma: the number of features grows with its third power.
_LONGEST = 15.0


class AveragedKernel(PletKernel):
    """Base class of kernels that are averages over rotations, dot products of features.

    A subclass implements ``rows`` and ``_features``.
    """

    _parameter_constraints = {
        "order": [Options(Integral, {2, 3})],
        "sigma": [POSITIVE],
        "cutoff": [POSITIVE],
        "cutoff_function": [StrOptions({"cosine", "exponential"})],
        "cutoff_width": [POSITIVE],
        "amplitude": [POSITIVE],
    }

    def __init__(
        self,
        order: int = 3,
        sigma: float = 0.6,
        cutoff: float = 4.0,
        cutoff_function: str = "cosine",
        cutoff_width: float = 1.0,
        amplitude: float = 1.0,
    ) -> None:
        self.order = order
        self.sigma = sigma
        self.cutoff = cutoff
        self.cutoff_function = cutoff_function
        self.cutoff_width = cutoff_width
        self.amplitude = amplitude

    @property
    def transition(self) -> Any:
        """The cutoff function: a callable that gives values and slopes."""
        return nplets.Cutoff(self.cutoff, self.cutoff_width, self.cutoff_function)

    @property
    def smallest_sigma(self) -> Any:
        """A length scale that is long enough for all distances up to the cutoff."""
        return self.cutoff / _LONGEST

    def _basis(self, key, rows):
        if self.sigma < self.smallest_sigma:
            raise ValueError(
                f"sigma={self.sigma:.3g} Å is too short for a cutoff of {self.cutoff:.3g} Å: raise "
                f"it to {self.smallest_sigma:.3g} Å at least, or lower the cutoff"
            )
        return harmonics.harmonic_basis(float(self.cutoff), float(self.sigma), self.order - 1)

    def expand(self, rows: list, coefficients: list) -> FeatureExpansion:
        """The mean of a Gaussian process with this kernel.

        Parameters
        ----------
        rows : list of NPletRows
            The training data.
        coefficients : list of ndarray of float, shapes (n_groups, n_rows)
            The weight of each row.

        Returns
        -------
        FeatureExpansion
        """
        return FeatureExpansion(self, rows, coefficients)


class HaarNBody(AveragedKernel):
    r"""Kernel of the neighbours of atoms, averaged over all rotations.

    .. math::

        k(S, S') = \delta^2 \sum_{i \in S} \sum_{i' \in S'} \int \mathrm{d}R\; k_2(\rho_i,
        R \rho_{i'})^{n - 1}, \qquad k_2(\rho, \rho') = \sum_{j j'} f_c(r_j) f_c(r_{j'})\,
        e^{-|r_j - r_{j'}|^2 / 2 \sigma^2}

    with the normalised measure of rotations. Only atoms of the same element are compared, as
    centres and as neighbours. A Gaussian process with this kernel is a sum over atoms of functions
    of one distance (``order=2``) or of two distances and the angle between them (``order=3``)
    [1]_. The average is taken in closed form: it is a dot product of features, radial functions
    times Legendre polynomials, as many as double precision needs. With ``order=3`` it is the limit
    of infinite expansions of the kernel of `SOAP` vectors, which are cheaper.

    `haar_kernel` gives higher orders of two environments; the powers of this kernel,
    ``ManyBody(HaarNBody(order=3), Polynomial(zeta=2))``, have forces, too.

    Parameters
    ----------
    order : {2, 3}, default=3
        Order n: the centre and n − 1 neighbours.
    sigma : float, default=0.6
        Length scale σ in Å.
    cutoff : float, default=4.0
        Cutoff radius in Å, the longest distance from an atom to its neighbours.
    cutoff_function : {"cosine", "exponential"}, default="cosine"
        As in `NBody`.
    cutoff_width : float, default=1.0
        Width in Å of the transition.
    amplitude : float, default=1.0
        Amplitude δ in eV.

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), eqs. 5.21 and 5.26.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.kernels import HaarNBody, covariance
    >>> kernel = HaarNBody(order=3, sigma=0.8)
    >>> kernel([molecule("H2O"), molecule("CH4")]).shape
    (2, 2)
    >>> covariance(kernel, [molecule("H2O")], [molecule("CH4")]).shape
    (10, 16)
    """

    def _plets(self, structures):
        find = centered.neighbors_by_distance if self.order == 2 else centered.neighbors_two_by_two
        return find(structures, self.transition)

    def rows(self, structures: StructuresLike, what: Any, atoms: Any = None) -> Any:
        """The neighbours of some rows of a kernel matrix, see `NBody.rows`."""
        return self._plets(structures).rows(structures, what, atoms)

    def slopes(self, structures: StructuresLike, what: Any, atoms: Any = None) -> Any:
        """Derivatives of each environment, see `NBody.slopes`."""
        return self._plets(structures).slopes(structures, what, atoms)

    def _features(self, part, key, basis):
        return harmonics.invariants(part, key, basis)


class CovariantNBody(AveragedKernel):
    r"""Matrix-valued kernel of the forces on atoms, which rotate with their neighbours.

    .. math::

        K(\rho, \rho') = \delta^2 \int \mathrm{d}R\; R\, k_2(\rho, R \rho')^{n - 1}, \qquad
        K(S \rho, S' \rho') = S\, K(\rho, \rho')\, S'^\top

    with :math:`k_2` and the rest as in `HaarNBody`. It is the covariance of the forces on two atoms
    of the same element [1]_. A Gaussian process with this kernel learns forces from the neighbours
    of single atoms and predicts forces; they are not the derivatives of an energy, so the model has
    neither energies nor stresses, and dynamics do not conserve energy.

    Parameters
    ----------
    order : {2, 3}, default=3
        Order n: the centre and n − 1 neighbours. Forces of order 2 are sums of forces towards each
        neighbour.
    sigma : float, default=0.6
        Length scale σ in Å.
    cutoff : float, default=4.0
        Cutoff radius in Å, the longest distance from an atom to its neighbours.
    cutoff_function : {"cosine", "exponential"}, default="cosine"
        As in `NBody`.
    cutoff_width : float, default=1.0
        Width in Å of the transition.
    amplitude : float, default=1.0
        Amplitude δ in eV/Å.

    References
    ----------
    .. [1] A. Glielmo, P. Sollich, A. De Vita, Phys. Rev. B 95, 214302 (2017).

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.kernels import CovariantNBody
    >>> from skatom.models import NBodyGaussianProcess
    >>> from skatom import Targets
    >>> data = load_ethanol()
    >>> structures, forces = data.structures[:40:4], data.targets[:40:4].forces
    >>> model = NBodyGaussianProcess(CovariantNBody(order=2), noise_forces=0.1)
    >>> model = model.fit(structures, Targets(forces=forces, offsets=structures.offsets))
    >>> model.predict(data.structures[2:4]).shape
    (18, 3)
    """

    has_energies = False

    def __call__(self, X: StructuresLike, Y: StructuresLike | None = None) -> Array:
        """Covariances of the forces on all atoms.

        Parameters
        ----------
        X, Y : Structures or list of ase.Atoms
            Structures with n_atoms and m_atoms atoms in all. Y=None: X.

        Returns
        -------
        ndarray of float, shape (3 n_atoms, 3 m_atoms), eV²/Å²
        """
        self.check_parameters()
        return self.covariance_blocks(X, Y, ("forces",), ("forces",))

    def diagonal(self, X: FeaturesLike) -> Any:
        """Variances of the components of all forces, shape (3 n_atoms,), eV²/Å²."""
        self.check_parameters()
        blocks = self.diagonal_blocks(self.rows(as_structures(X), "forces"))
        return np.diagonal(blocks, axis1=1, axis2=2).ravel()

    def rows(self, structures: Any, what: str, atoms: Array | None = None) -> Any:
        """The environments of the atoms whose forces are the rows.

        Parameters
        ----------
        structures : Structures
        what : {"forces"}
        atoms : ndarray of int, default=None
            The atoms of the batch. None: all.

        Returns
        -------
        NPletRows
        """
        if what != "forces":
            raise ValueError(
                f"CovariantNBody is a kernel of forces and has no covariances of {what}: learn "
                "and predict forces alone, or use HaarNBody"
            )
        return centered.vector_rows(structures, self.order, self.transition, atoms)

    def _features(self, part, key, basis):
        return harmonics.vectors(part, key, basis)


class FeatureExpansion(TupleKeys, Predictor):
    """The mean of a Gaussian process with a kernel that is a dot product of features.

    Parameters
    ----------
    kernel : AveragedKernel
    rows : list of NPletRows
        The training data.
    coefficients : list of ndarray of float, shapes (n_groups, n_rows)
        The weight of each row.
    """

    _keyed_by_tuples = ("weights",)

    def __init__(self, kernel, rows, coefficients):
        self.kernel = clone(kernel)
        alpha = np.concatenate([part.ravel() for part in coefficients])
        self.weights = {}
        for key in set().union(*(block.parts for block in rows)):
            blocks = kernel.features_of_blocks(rows, key, kernel._basis(key, rows))
            total = sum(alpha[places] @ values for places, values in blocks)
            self.weights[key] = kernel.amplitude**2 * total

    def energies(self, X):
        """Energies of structures, shape (n,)."""
        return self._sum(X, "energy")

    def forces(self, X):
        """Forces on all atoms, shape (n_atoms, 3)."""
        return self._sum(X, "forces").reshape(-1, 3)

    def differentiate(self, X):
        """Energies (n,), ∂E/∂R (n_atoms, 3) and ∂E/∂strain (n, 3, 3)."""
        virial = self._sum(X, "virial").reshape(-1, 6)[:, FROM_VOIGT]
        return self.energies(X), -self.forces(X), virial

    def _sum(self, structures, what):
        rows = self.kernel.rows(structures, what)
        total = np.zeros(rows.n_groups * rows.n_rows)
        for key in rows.parts.keys() & self.weights.keys():
            basis = self.kernel._basis(key, [rows])
            for places, values in self.kernel.features_of_blocks([rows], key, basis):
                total[places] += values @ self.weights[key]
        return total
