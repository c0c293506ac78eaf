"""Kernels of whole atomic environments: functions of their n-body kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from skatom._intervals import POSITIVE
from skatom._typing import Array
from skatom.kernels.dot_kernel import DotKernel, Profile
from skatom.kernels.dot_product import Polynomial
from skatom.kernels.nbody import functionals
from skatom.kernels.nbody.averaged import HaarNBody
from skatom.kernels.nbody.base import NBodyKernel
from skatom.kernels.nbody.cartesian import CartesianPairs, RowExpansion
from skatom.kernels.nbody.sums import NBody
from skatom.memory import check_memory


class ManyBody(NBodyKernel):
    r"""Kernel of atomic environments that is a function of an n-body kernel.

    .. math::

        k(S, S') = \delta^2 \sum_{i \in S} \sum_{j \in S'} \varphi\big( k_n(\rho_i, \rho_j),\,
        k_n(\rho_i, \rho_i),\, k_n(\rho_j, \rho_j) \big)

    :math:`k_n` is the sum over the pairs or triangles around two atoms. Its power ζ,
    ``Polynomial(zeta)``, has the order (n − 1)ζ + 1: the square of the kernel of triangles is a
    5-body kernel. ``Gaussian(sigma)`` of the distance that :math:`k_n` defines is a kernel of all
    orders, and ``Cosine(zeta)`` normalises :math:`k_n`, so that atoms with many neighbours do not
    weigh more. With `CartesianPairs` these are kernels of the positions of the neighbours, not
    invariant under rotations.

    The cost is quadratic in the number of environments, each with its neighbours. The kernel is for
    molecules and clusters, and for testing whether a sum over triangles is enough.

    Parameters
    ----------
    kernel : NBody, HaarNBody or CartesianPairs, default=None
        The n-body kernel :math:`k_n`. None: ``NBody(order=3)``.
    function : DotKernel, default=None
        The function φ, as a kernel of the features whose dot product is ``kernel``: `Polynomial`,
        `Cosine`, `Gaussian`, … None: ``Polynomial(zeta=2)``.
    amplitude : float, default=1.0
        Amplitude δ in eV.

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), eqs. 5.26, 5.27, 5.30 and 5.31.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.kernels import Gaussian, ManyBody, NBody
    >>> kernel = ManyBody(NBody(order=3, cutoff=4.0), Gaussian(sigma=2.0))
    >>> kernel([molecule("H2O")], [molecule("CH4"), molecule("NH3")]).shape
    (1, 2)
    """

    _parameter_constraints = {
        "kernel": [NBody, HaarNBody, CartesianPairs, None],
        "function": [DotKernel, None],
        "amplitude": [POSITIVE],
    }

    def __init__(
        self,
        kernel: NBody | HaarNBody | CartesianPairs | None = None,
        function: DotKernel | None = None,
        amplitude: float = 1.0,
    ) -> None:
        self.kernel = kernel
        self.function = function
        self.amplitude = amplitude

    @property
    def n_derivatives(self) -> Any:
        return self._function.n_derivatives

    @property
    def _base(self):
        return NBody(order=3) if self.kernel is None else self.kernel

    @property
    def _function(self):
        return Polynomial(zeta=2) if self.function is None else self.function

    @property
    def scales(self) -> Any:
        """σ of the n-body kernel and δ, over which the marginal likelihood is maximised."""
        return self._base.sigma, self.amplitude

    @property
    def smallest_sigma(self) -> Any:
        """A length scale that is long enough for all distances up to the cutoff."""
        return self._base.smallest_sigma

    def rescaled(self, sigma: float, amplitude: float) -> Any:
        """A copy with other scales."""
        return ManyBody(clone(self._base).set_params(sigma=sigma), clone(self._function), amplitude)

    def rows(self, structures: Any, what: str, atoms: Array | None = None) -> EnvironmentRows:
        """The environments of some rows of a kernel matrix.

        Parameters
        ----------
        structures : Structures
        what : {"energy", "local", "forces", "virial"}
            Energies of structures or environments, forces, or derivatives of energies with respect
            to strains, six for each structure (xx, yy, zz, yz, xz, xy).
        atoms : ndarray of int, default=None
            With "forces", the atoms of the batch whose forces are the rows. None: all.

        Returns
        -------
        EnvironmentRows
        """
        base, n_atoms = self._base, len(structures.numbers)
        values = base.rows(structures, "local")
        owners = np.repeat(np.arange(len(structures)), structures.n_atoms)
        if what == "local":
            return EnvironmentRows(n_atoms, 1, values, np.arange(n_atoms))
        if what == "energy":
            return EnvironmentRows(len(structures), 1, values, owners)
        slopes, environments, targets = base.slopes(structures, what, atoms)
        n_groups = n_atoms if atoms is None else len(atoms)
        if what == "virial":
            n_groups = len(structures)
        own = base.paired_blocks(slopes, values, environments)[:, :, 0]
        return EnvironmentRows(
            n_groups, slopes.n_rows, values, owners, slopes, environments, targets, own
        )

    def diagonal_blocks(self, rows: Any) -> Any:
        """The kernel of each group of rows with itself, shape (n_groups, n_rows, n_rows)."""
        blocks = np.empty((rows.n_groups, rows.n_rows, rows.n_rows))
        for group in range(rows.n_groups):  # the environments of a group alone, not of all
            own = rows.of_group(group)
            blocks[group] = self._between(own, own)
        return blocks

    def expand(self, rows: list, coefficients: list) -> RowExpansion:
        """The mean of a Gaussian process with this kernel.

        Parameters
        ----------
        rows : list of EnvironmentRows
            The training data.
        coefficients : list of ndarray of float, shapes (n_groups, n_rows)
            The weight of each row.

        Returns
        -------
        RowExpansion
        """
        return RowExpansion(self, rows, coefficients)

    def _between(self, a, b):
        """φ and its derivatives by the chain rule, summed over environments."""
        base = self._base
        products = base.cross(a.blocks, b.blocks)
        n, m = a.values.n_groups, b.values.n_groups
        u, v = base.diagonal_blocks(a.values)[:, 0, 0], base.diagonal_blocks(b.values)[:, 0, 0]
        s = products[:n, :m]
        f = self._function
        if a.slopes is None and b.slopes is None:
            matrix = b.fold(a.fold(f.value(s, u[:, None], v)).T).T
            return self.amplitude**2 * matrix
        p = f.profile(s, u[:, None], v)
        p = Profile(*(np.broadcast_to(x, s.shape) for x in vars(p).values()))
        left, right = a.of_rows, b.of_rows
        along_x, along_y = products[n:, :m], products[:n, m:]
        if b.slopes is None:
            matrix = p.s[left] * along_x + 2 * p.u[left] * a.own.reshape(-1, 1)
        elif a.slopes is None:
            matrix = p.s[:, right] * along_y + 2 * p.v[:, right] * b.own.ravel()
        else:
            check_memory(
                32.0 * len(left) * len(right),
                f"the derivatives of {len(left)} x {len(right)} pairs of environments",
                "set n_environments, lower the cutoff or use fewer structures",
            )
            pairs = np.ix_(left, right)
            x, y = 2 * a.own.reshape(-1, 1), 2 * b.own.ravel()
            to_y, to_x = along_x[:, right], along_y[left]
            matrix = p.s[pairs]
            matrix *= products[n:, m:]
            for f, g, h in ((p.ss, to_y, to_x), (p.su, x, to_x), (p.sv, to_y, y), (p.uv, x, y)):
                term = f[pairs]
                term *= g
                term *= h
                matrix += term
        return self.amplitude**2 * b.fold(a.fold(matrix).T).T


@dataclass(frozen=True)
class EnvironmentRows:
    """Rows of a kernel matrix that are sums over environments.

    Attributes
    ----------
    n_groups, n_rows : int
        Numbers of groups and of rows in each, as in `NPletRows`.
    values : NPletRows
        The features of the environments.
    owners : ndarray of int
        The group of each environment, for energies.
    slopes : NPletRows or None
        Derivatives of the features; each group is of one environment.
    environments, targets : ndarray of int
        The environment of each group of ``slopes``, and the group to which it adds.
    own : ndarray of float, shape (groups of slopes, n_rows)
        Dot products of the slopes with the features of the same environment.
    """

    n_groups: int
    n_rows: int
    values: functionals.NPletRows
    owners: np.ndarray
    slopes: functionals.NPletRows | None = None
    environments: np.ndarray | None = None
    targets: np.ndarray | None = None
    own: np.ndarray | None = None

    @property
    def blocks(self):
        return [self.values] if self.slopes is None else [self.values, self.slopes]

    @property
    def of_rows(self):
        """The environment of each row of the derivatives."""
        return np.repeat(self.environments, self.n_rows) if self.slopes is not None else None

    def of_group(self, group):
        """The rows of one group, with the environments that it needs."""
        if self.slopes is None:
            chosen = np.flatnonzero(self.owners == group)
            return EnvironmentRows(1, 1, self.values.of_groups(chosen), np.zeros(len(chosen), int))
        chosen = np.flatnonzero(self.targets == group)
        used, environments = np.unique(self.environments[chosen], return_inverse=True)
        return EnvironmentRows(
            1, self.n_rows, self.values.of_groups(used), self.owners[used],
            self.slopes.of_groups(chosen), environments, np.zeros(len(chosen), int),
            self.own[chosen],
        )  # fmt: skip

    def fold(self, matrix):
        """Sum the rows of a matrix over environments."""
        if self.slopes is None:
            out = np.zeros((self.n_groups, matrix.shape[1]))
            np.add.at(out, self.owners, matrix)
            return out
        out = np.zeros((self.n_groups, self.n_rows, matrix.shape[1]))
        groups = matrix.reshape(len(self.targets), self.n_rows, matrix.shape[1])
        np.add.at(out, self.targets, groups)
        return out.reshape(self.n_groups * self.n_rows, matrix.shape[1])
