"""FCHL18: a kernel of atomic environments as continuous distributions."""

from __future__ import annotations

from math import pi
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skatom._cpu.voigt import VOIGT, voigt
from skatom._intervals import POSITIVE
from skatom._typing import Array, ArrayLike, FeaturesLike, StructuresLike
from skatom.kernels.base import Kernel
from skatom.kernels.blocks import kinds_of_rows
from skatom.kernels.charges import arms_of_atoms, fictitious_charges
from skatom.kernels.fchl18.assembly import Assembly
from skatom.kernels.fchl18.environments import FCHL18Environments, Form
from skatom.memory import check_memory

# What the kinds of rows of a covariance matrix are derivatives along.
_DERIVATIVES = {"energy": "energy", "forces": "positions", "virial": "strain"}


class FCHL18(Kernel):
    r"""Faber-Christensen-Huang-Lilienfeld kernel of 2018 between structures.

    An environment I is a distribution over elements, distances d and angles θ. The scalar product
    of two environments is

    .. math::
        \langle I, J \rangle = p_{IJ} \Big( 1 + \sum_{i \in I} \sum_{j \in J} p_{ij}\,
            e^{-(d_i - d_j)^2 / 4 \sigma_d^2} \Big[ \tfrac{w_2}{16}\, \xi_2(i)\, \xi_2(j)
            + \tfrac{w_3}{\sqrt 8} \sum_m s_m \sum_{Z Z'} p_{ZZ'}
            \big( C_{Zm}(i)\, C_{Z'm}(j) + S_{Zm}(i)\, S_{Z'm}(j) \big) \Big] \Big)

        C_{Zm}(i) + \mathrm{i}\, S_{Zm}(i) = 2 \sum_{j \in Z} \xi_3(i, j)\,
            e^{\mathrm{i} m \theta_{ij}}, \quad
        \xi_2 = \frac{f(d_i)}{d_i^{n_2}}, \quad
        \xi_3 = \frac{f(d_i) f(d_j) f(d_{ij})}{(d_i d_j d_{ij})^{n_3}}
            (1 + 3 \cos\theta_I \cos\theta_i \cos\theta_j)

    where i and j are neighbours, m = 1, 3, … is odd, :math:`s_m \propto
    e^{-(m \sigma_\theta)^2 / 2}`, the cosines are those of the triangle (I, i, j), and the overlap
    of the elements is

    .. math::
        p_{ZZ'} = \exp\Big( -\frac{(P - P')^2}{4 \sigma_P^2} - \frac{(G - G')^2}{4 \sigma_G^2} \Big)

    with the period P and the group G. Environments are compared by their distance, and structures
    by all their environments:

    .. math::
        \kappa(I, J) = \exp\Big( -\frac{\langle I, I \rangle + \langle J, J \rangle
            - 2 \langle I, J \rangle}{2 \sigma^2} \Big), \quad
        k(A, B) = \sum_{I \in A} \sum_{J \in B} \kappa(I, J)

    or, with ``scope="global"``, by the distance of the sums of their environments,

    .. math::
        k(A, B) = \exp\Big( -\frac{\langle A, A \rangle + \langle B, B \rangle
            - 2 \langle A, B \rangle}{2 \sigma^2} \Big), \quad
        \langle A, B \rangle = \sum_{I \in A} \sum_{J \in B} \langle I, J \rangle

    It does not change when a structure is translated, rotated or reflected, or when like atoms
    are exchanged. With ``cut_start=1`` it is discontinuous when an atom crosses the cutoff: use a
    smaller value to learn forces. Its derivatives are exact, except that the derivative of the cusp
    of sin θ at a straight angle is taken as zero.

    Parameters
    ----------
    sigma : float, default=2.5
        Width σ of the kernel.
    cutoff : float, default=5.0
        Cutoff radius in Å.
    cut_start : float, default=1.0
        Where the cutoff function begins to fall, as a fraction of the cutoff; 1: a step function.
    weight2, weight3 : float, default=√8 and 1.6
        Weights w₂ and w₃ of neighbours and of triangles.
    width2 : float, default=0.2
        Width σ_d of the distances in Å.
    width3 : float, default=π
        Width σ_θ of the angles.
    decay2, decay3 : float, default=4.0 and 2.0
        Exponents n₂ and n₃ by which the terms fall with the distances.
    n_fourier : int, default=1
        Number of harmonics m = 1, 3, …, 2 n_fourier − 1. With the default ``width3`` all but the
        first are nearly zero.
    alchemy : {"periodic-table", "off"} or array-like of shape (n, n), default="periodic-table"
        Overlap of the elements. "periodic-table": the formula above; "off": 1 for equal elements
        and 0 for others; or a symmetric, positive semidefinite matrix indexed by two atomic
        numbers.
    period_width, group_width : float, default=1.6
        Widths σ_P and σ_G in periods and groups, for ``alchemy="periodic-table"``.
    field : {"scaling", "charges"}, default="scaling"
        What an electric field acts on in `field_gradients`: the scaling functions, as published, or
        the atoms, whose charges a model then learns.
    field_scale : float, default=0.01
        Strength ε of the field on the scaling functions.
    scope : {"local", "global"}, default="local"
        Whether to compare all environments of two structures with each other, or their sums, for
        which σ must be larger: scalar products grow with the square of the number of atoms.
    verbose : int, default=0
        1 shows a progress bar.

    Notes
    -----
    The overlap of two Gaussians of distances is an integral over a point t between them, which
    the trapezoidal rule gives to 1e-14. Every environment therefore becomes a vector over grid
    points, elements and features, and all scalar products are one matrix product. The original
    program neglects pairs beyond 8 σ_d, whose Gaussian is below 1.2e-7; none are neglected here,
    so that the kernel is positive semidefinite and smooth. With ``alchemy="off"`` the scalar
    product of environments around unlike elements is 0, but their kernel is not.

    References
    ----------
    .. [1] F. A. Faber, A. S. Christensen, B. Huang, O. A. von Lilienfeld, J. Chem. Phys. 148,
       241717 (2018).
    .. [2] A. S. Christensen, F. A. Faber, O. A. von Lilienfeld, J. Chem. Phys. 150, 064105
       (2019), for the derivatives with respect to positions and fields.
    .. [3] M. Veit, D. M. Wilkins, Y. Yang, R. A. DiStasio Jr., M. Ceriotti, J. Chem. Phys. 153,
       024113 (2020), for charges that depend on the environment.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from sklearn.kernel_ridge import KernelRidge
    >>> from skatom.kernels import FCHL18
    >>> molecules = [molecule(name) for name in ("H2O", "CH3OH", "CH3CH2OH", "C2H6")]
    >>> kernel = FCHL18()
    >>> K = kernel(molecules)
    >>> K.shape
    (4, 4)
    >>> model = KernelRidge(kernel="precomputed", alpha=1e-8).fit(K, [-10.2, -22.5, -35.0, -30.9])
    >>> kernel.gradients(molecules, molecules).shape
    (78, 26)
    """

    _parameter_constraints = {
        "sigma": [POSITIVE],
        "cutoff": [POSITIVE],
        "cut_start": [Interval(Real, 0, 1, closed="both")],
        "weight2": [Interval(Real, 0, None, closed="left")],
        "weight3": [Interval(Real, 0, None, closed="left")],
        "width2": [POSITIVE],
        "width3": [POSITIVE],
        "decay2": [Interval(Real, 0, None, closed="left")],
        "decay3": [Interval(Real, 0, None, closed="left")],
        "n_fourier": [Interval(Integral, 1, None, closed="left")],
        "alchemy": [StrOptions({"periodic-table", "off"}), "array-like"],
        "period_width": [POSITIVE],
        "group_width": [POSITIVE],
        "field": [StrOptions({"scaling", "charges"})],
        "field_scale": [POSITIVE],
        "scope": [StrOptions({"local", "global"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        sigma: float = 2.5,
        cutoff: float = 5.0,
        *,
        cut_start: float = 1.0,
        weight2: float = 8**0.5,
        weight3: float = 1.6,
        width2: float = 0.2,
        width3: float = pi,
        decay2: float = 4.0,
        decay3: float = 2.0,
        n_fourier: int = 1,
        alchemy: str | ArrayLike = "periodic-table",
        period_width: float = 1.6,
        group_width: float = 1.6,
        field: str = "scaling",
        field_scale: float = 0.01,
        scope: str = "local",
        verbose: int = 0,
    ) -> None:
        self.sigma = sigma
        self.cutoff = cutoff
        self.cut_start = cut_start
        self.weight2 = weight2
        self.weight3 = weight3
        self.width2 = width2
        self.width3 = width3
        self.decay2 = decay2
        self.decay3 = decay3
        self.n_fourier = n_fourier
        self.alchemy = alchemy
        self.period_width = period_width
        self.group_width = group_width
        self.field = field
        self.field_scale = field_scale
        self.scope = scope
        self.verbose = verbose

    def environments(self, X: StructuresLike) -> FCHL18Environments:
        """Prepare structures for repeated use.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The structures.

        Returns
        -------
        FCHL18Environments
            All methods accept them instead of structures, as long as no parameter other than
            ``sigma``, ``field``, ``field_scale``, ``scope`` and ``verbose`` changes.

        Raises
        ------
        ValueError
            If a parameter is out of range.
        """
        return self._environments(X, self._form())

    def __call__(self, X: Any, Y: Any = None) -> Array:
        """The kernel k(A, B) of structures.

        Parameters
        ----------
        X : Structures, list of ase.Atoms or FCHL18Environments, of n structures
        Y : the same, of m structures, default=None
            Structures of the columns. None: X.

        Returns
        -------
        ndarray of float, shape (n, m)
            For scikit-learn's estimators with ``kernel="precomputed"``.

        Raises
        ------
        ValueError
            If a parameter is out of range, or environments were prepared with other parameters.
        MemoryError
            If the matrix would not fit in memory.
        """
        assembly = self._assembly(X, Y)
        return assembly.of_structures("energy", "energy", "the kernel matrix")

    def diagonal(self, X: Any) -> Array:
        """k(A, A) of each structure.

        Parameters
        ----------
        X : Structures, list of ase.Atoms or FCHL18Environments, of n structures

        Returns
        -------
        ndarray of float, shape (n,)
        """
        return self._assembly(X, None).diagonal()

    @property
    def n_derivatives(self) -> Any:
        return 2

    @property
    def has_virials(self) -> Any:
        return True

    def covariance_blocks(
        self, X: FeaturesLike, Y: Any, rows: tuple[str, ...], columns: tuple[str, ...]
    ) -> Array:
        X, Y = self._sides(X, Y)
        kind_of_row, kind_of_column = (
            kinds_of_rows(side.structures.n_atoms, kinds)
            for side, kinds in ((X, rows), (Y, columns))
        )
        shape, most = zip(
            *((len(kinds), np.bincount(kinds).max()) for kinds in (kind_of_row, kind_of_column)),
            strict=True,
        )
        check_memory(
            8.0 * (np.prod(shape) + np.prod(most)),
            f"the {shape[0]} x {shape[1]} covariance matrix",
            "use fewer structures",
        )
        out = np.empty(shape)
        for k, row in enumerate(rows):
            for m, column in enumerate(columns):
                place = np.ix_(kind_of_row == k, kind_of_column == m)
                out[place] = self._covariance(X, Y, row, column)
        return out

    def _covariance(self, X, Y, row, column):
        """All rows and columns of one kind; forces are the negative gradients."""
        assembly = Assembly(X, Y, self)
        matrix = assembly.of_structures(_DERIVATIVES[row], _DERIVATIVES[column])
        if (row == "forces") != (column == "forces"):
            np.negative(matrix, out=matrix)
        if row == "virial":
            matrix = voigt(matrix.reshape(len(X), 3, 3, -1)).reshape(6 * len(X), -1)
        if column == "virial":
            matrix = matrix.reshape(len(matrix), len(Y), 3, 3)[..., *VOIGT]
            matrix = matrix.reshape(len(matrix), -1)
        return matrix

    def atoms(self, X: Any, Y: Any = None) -> Array:
        """Σ κ(I, J) over the atoms I of each structure of X, for each atom J of Y.

        Parameters
        ----------
        X : Structures, list of ase.Atoms or FCHL18Environments, of n structures
        Y : the same, default=None
            Structures of the columns. None: X.

        Returns
        -------
        ndarray of float, shape (n, n_atoms of Y)
            The energy rows of operator learning.
        """
        self._check_local()
        return self._assembly(X, Y).of_atoms()

    def gradients(self, X: Any, Y: Any = None) -> Array:
        """The derivatives of `atoms` along the positions in X.

        Parameters
        ----------
        X : Structures, list of ase.Atoms or FCHL18Environments
        Y : the same, default=None
            Structures of the columns. None: X, with fixed positions as Y.

        Returns
        -------
        ndarray of float, shape (3 n_atoms of X, n_atoms of Y)
            Per Å; x, y and z of the first atom, of the second, …. Forces are the negative.
        """
        self._check_local()
        return self._assembly(X, Y).gradients("positions")

    def strain_gradients(self, X: Any, Y: Any = None) -> Array:
        """The derivatives of `atoms` along strains of the structures of X.

        Parameters
        ----------
        X : Structures, list of ase.Atoms or FCHL18Environments, of n structures
        Y : the same, default=None
            Structures of the columns. None: X, with fixed cells and positions as Y.

        Returns
        -------
        ndarray of float, shape (9 n, n_atoms of Y)
            Along ε_xx, ε_xy, …, ε_zz of each structure, where r → (1 + ε) r. The virial is the
            negative.
        """
        self._check_local()
        return self._assembly(X, Y).gradients("strain")

    def field_gradients(self, X: Any, Y: Any = None, charges: ArrayLike | None = None) -> Array:
        r"""The derivatives of `atoms` with respect to an electric field on X, at zero field.

        With ``field="scaling"`` the scaling functions in a field E are (reference 2 of the class)

        .. math::
            \xi_2 - \varepsilon f(d_i)\, E \cdot (\mu_I + \mu_i), \quad
            \xi_3 - \varepsilon f(d_i) f(d_j) f(d_{ij})\, E \cdot (\mu_I + \mu_i + \mu_j), \quad
            \mu_a = q_a (r_a - r_c)

        with fictitious charges q and the centre r_c of the nuclear charges of the molecule. With
        ``field="charges"`` the kernel in a field is

        .. math:: \kappa(I, J)\, \big(1 - E \cdot (r_I - r_c)\big)

        so that the dipole of a model is that of charges :math:`q_I = \sum_J \kappa(I, J)\,
        \alpha_J` at the atoms (reference 3). A model with it needs far fewer training molecules.

        Parameters
        ----------
        X : Structures, list of ase.Atoms or FCHL18Environments, of n molecules
        Y : the same, default=None
            Molecules of the columns, without a field. None: X.
        charges : array-like of float, shape (n_atoms of X,), default=None
            Fictitious charges in e. None: `skatom.kernels.charges.equalized_charges`.

        Returns
        -------
        ndarray of float, shape (3 n, n_atoms of Y)
            x, y and z of the first molecule, of the second, …. Dipoles are the negative.

        Raises
        ------
        ValueError
            If a structure of X is periodic; if charges are not finite, not one for each atom, or
            given with ``field="charges"``, where charges are learnt.
        """
        self._check_local()
        assembly, on_charges = self._assembly(X, Y), self.field == "charges"
        structures = assembly.X.structures
        arms = arms_of_atoms(structures)
        if not on_charges:
            arms *= -self.field_scale * fictitious_charges(structures, charges)[:, None]
        elif charges is not None:
            raise ValueError('charges are learnt with field="charges": give none')
        return assembly.field_gradients(arms, on_charges)

    def _check_local(self):
        if self.scope != "local":
            raise ValueError(
                'scope="global" compares whole structures, so there are no kernels of their atoms: '
                'use scope="local", or skatom.kernels.covariance'
            )

    def _assembly(self, X, Y):
        return Assembly(*self._sides(X, Y), self)

    def _sides(self, X, Y):
        form = self._form()
        X = self._environments(X, form)
        return X, X if Y is None else self._environments(Y, form)

    def _environments(self, X, form):
        if not isinstance(X, FCHL18Environments):
            return FCHL18Environments(X, form)
        if not X.form.same_as(form):
            raise ValueError(
                "the environments were prepared with other parameters than this kernel's: "
                "prepare them again with its method environments"
            )
        return X

    def _form(self):
        """The parameters as the compiled loops take them."""
        self.check_parameters()
        return Form.of(self)
