"""Kernels of pairs and triangles of atoms."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Options, StrOptions

from skatom._intervals import POSITIVE
from skatom._typing import Array
from skatom.kernels.nbody import functionals, nplets
from skatom.kernels.nbody.base import PletKernel
from skatom.kernels.nbody.expansion import NPletExpansion
from skatom.kernels.nbody.features import RadialBasis, interval, part_features

# The largest ratio of a range of distances to sigma: the number of features of pairs grows with it,
# the number of features of triangles with its third power.
_LONGEST = {2: 500.0, 3: 45.0}


class NBody(PletKernel):
    r"""Kernel of pairs or triangles of atoms.

    .. math::

        k(S, S') = \delta^2 \sum_{T \in S} \sum_{T' \in S'} f_c(T)\, f_c(T')
        \sum_P \exp\left(-\frac{|T - P T'|^2}{2 \sigma^2}\right)

    T runs over the pairs (``order=2``: T is a distance) or the triangles (``order=3``: T are three
    sides) of a structure whose sides are all within the cutoff, each counted once. Only n-plets of
    the same elements are compared; P runs over the permutations of their like atoms.
    :math:`f_c(T)` is the product of the cutoff functions of all sides. A Gaussian process with
    this kernel is a sum of arbitrary smooth functions of pairs or triangles. The kernel does not
    change under translation, rotation, reflection or exchange of like atoms.

    Kernels can be added, ``NBody(order=2) + NBody(order=3, sigma=1.0)``.

    Parameters
    ----------
    order : {2, 3}, default=2
        Pairs (2) or triangles (3).
    sigma : float, default=0.5
        Length scale σ in Å; usually 0.3 to 0.6 for pairs and 0.5 to 1.5 for triangles.
    cutoff : float or None, default=5.0
        Cutoff radius in Å, the longest side of an n-plet. None: no limit, for molecules and
        clusters.
    cutoff_function : {"cosine", "exponential"}, default="cosine"
        "cosine" is 1 up to ``cutoff - cutoff_width`` and falls to 0 as half a cosine;
        "exponential" is exp(-cutoff_width/(cutoff - r)), with continuous derivatives of any order.
    cutoff_width : float, default=1.0
        Width in Å of the transition.
    amplitude : float, default=1.0
        Prior standard deviation δ of the energy of an n-plet, in eV.

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, A. De Vita, Phys. Rev. B 97, 184307 (2018).
    .. [2] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), eqs. 5.28, 5.29 and 5.34 to 5.37, there with a factor of 2 for pairs of
       like atoms, and without cutoff functions.

    Examples
    --------
    >>> from ase.build import bulk, molecule
    >>> from skatom.kernels import NBody, covariance
    >>> kernel = NBody(order=3, sigma=0.8, cutoff=4.0)
    >>> kernel([molecule("H2O"), molecule("CH4"), bulk("Si")]).shape
    (3, 3)
    >>> covariance(kernel, [molecule("H2O")], [molecule("CH4")]).shape
    (10, 16)
    >>> covariance(kernel, [molecule("H2O")], rows=("forces",)).shape
    (9, 9)
    """

    _parameter_constraints = {
        "order": [Options(Integral, {2, 3})],
        "sigma": [POSITIVE],
        "cutoff": [POSITIVE, None],
        "cutoff_function": [StrOptions({"cosine", "exponential"})],
        "cutoff_width": [POSITIVE],
        "amplitude": [POSITIVE],
    }

    def __init__(
        self,
        order: int = 2,
        sigma: float = 0.5,
        cutoff: float | None = 5.0,
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
        return 0.0 if self.cutoff is None else self.cutoff / _LONGEST[self.order]

    def rows(self, structures: Any, what: str, atoms: Array | None = None) -> Any:
        """The n-plets of some rows of a kernel matrix and their weights.

        Parameters
        ----------
        structures : Structures
        what : {"energy", "local", "forces", "virial"}
            Energies of structures, the sums around each atom, forces, or derivatives of energies
            with respect to strains, six for each structure (xx, yy, zz, yz, xz, xy).
        atoms : ndarray of int, default=None
            With "forces", the atoms of the batch whose forces are the rows. None: all.

        Returns
        -------
        NPletRows
        """
        if what == "forces":
            return functionals.force_rows(structures, self.order, self.transition, atoms)
        make = {
            "energy": functionals.energy_rows,
            "local": functionals.local_rows,
            "virial": functionals.virial_rows,
        }
        return make[what](structures, self.order, self.transition)

    def slopes(self, structures: Any, what: str, atoms: Array | None = None) -> tuple:
        """The derivatives of the sums around single atoms.

        Parameters
        ----------
        structures : Structures
        what : {"forces", "virial"}
        atoms : ndarray of int, default=None
            With "forces", the atoms of the batch that move. None: all.

        Returns
        -------
        rows : NPletRows
            Each group is of one atom's environment.
        environments : ndarray of int
            The atom of each group.
        targets : ndarray of int
            The moving atom (its place in ``atoms``) or the structure of each group.
        """
        plets = nplets.find_n_plets(structures, self.order, self.transition, half=False)
        n_atoms = len(structures.numbers)
        if what == "forces":
            atoms = np.arange(n_atoms) if atoms is None else atoms
            return functionals.force_slopes(plets, self.transition, n_atoms, atoms)
        directions = functionals.virial_directions(plets)
        rows = functionals.make_rows(plets, self.transition, plets.centers, n_atoms, directions)
        owners = np.repeat(np.arange(len(structures)), structures.n_atoms)
        return rows, np.arange(n_atoms), owners

    def _basis(self, elements, rows):
        """A basis for the distances that occur, or None if there are none."""
        limits = interval([(elements, r.parts[elements]) for r in rows if elements in r.parts])
        if limits is None:
            return None
        low, high = limits
        shortest = (high - low) / _LONGEST[self.order]
        if self.sigma < shortest:
            raise ValueError(
                f"sigma={self.sigma:.3g} Å is too short for distances from {low:.3g} to "
                f"{high:.3g} Å: raise it to {shortest:.3g} Å at least, or lower the cutoff"
            )
        return RadialBasis(low, high, float(self.sigma))

    def _features(self, part, elements, basis):
        return part_features(part, elements, basis)

    def expand(self, rows: list, coefficients: list) -> NPletExpansion:
        """The mean of a Gaussian process with this kernel.

        Parameters
        ----------
        rows : list of NPletRows
            The training data.
        coefficients : list of ndarray of float, shapes (n_groups, n_rows)
            The weight of each row.

        Returns
        -------
        NPletExpansion
        """
        return NPletExpansion(self, rows, coefficients)
