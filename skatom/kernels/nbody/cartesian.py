"""The kernel of the positions of neighbours, which is not invariant under rotations."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import StrOptions

from skatom._cpu.voigt import FROM_VOIGT
from skatom._intervals import POSITIVE
from skatom._typing import StructuresLike
from skatom.base import Predictor
from skatom.kernels._cpu import nbody as _cpu
from skatom.kernels.nbody import centered, nplets
from skatom.kernels.nbody.base import NBodyKernel
from skatom.parallel import run_in_threads


class CartesianPairs(NBodyKernel):
    r"""Kernel of the positions of the neighbours of atoms, not invariant under rotations.

    .. math::

        k(S, S') = \delta^2 \sum_{i \in S} \sum_{i' \in S'} \sum_{j j'} f_c(r_{ij}) f_c(r_{i'j'})\,
        e^{-|r_{ij} - r_{i'j'}|^2 / 2 \sigma^2}

    Only atoms of the same element are compared, as centres i and as neighbours j. A Gaussian
    process with this kernel is a sum over atoms of functions of the vector to one neighbour.
    `ManyBody` makes functions of all neighbours of it: its power, ``ManyBody(CartesianPairs(),
    Polynomial(zeta=n - 1))``, has order n, and ``ManyBody(CartesianPairs(), Gaussian(theta))`` has
    all orders [1]_. Structures must have a common orientation; `HaarNBody` is the average over all
    of them. The virial is the derivative with respect to symmetric strains.

    Parameters
    ----------
    sigma : float, default=0.5
        Length scale σ in Å.
    cutoff : float or None, default=4.0
        Cutoff radius in Å. None: no limit, for molecules and clusters.
    cutoff_function : {"cosine", "exponential"}, default="cosine"
        As in `NBody`.
    cutoff_width : float, default=1.0
        Width in Å of the transition.
    amplitude : float, default=1.0
        Prior standard deviation δ in eV of the energy of an atom with one neighbour.

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), eqs. 5.25 to 5.27.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.kernels import CartesianPairs, ManyBody, Polynomial
    >>> kernel = ManyBody(CartesianPairs(), Polynomial(zeta=2))
    >>> kernel([molecule("H2O"), molecule("CH4")]).shape
    (2, 2)
    """

    _parameter_constraints = {
        "sigma": [POSITIVE],
        "cutoff": [POSITIVE, None],
        "cutoff_function": [StrOptions({"cosine", "exponential"})],
        "cutoff_width": [POSITIVE],
        "amplitude": [POSITIVE],
    }

    def __init__(
        self,
        sigma: float = 0.5,
        cutoff: float | None = 4.0,
        cutoff_function: str = "cosine",
        cutoff_width: float = 1.0,
        amplitude: float = 1.0,
    ) -> None:
        self.sigma = sigma
        self.cutoff = cutoff
        self.cutoff_function = cutoff_function
        self.cutoff_width = cutoff_width
        self.amplitude = amplitude

    # any length scale is long enough for any distance
    smallest_sigma = 0.0

    @property
    def scales(self) -> Any:
        """σ and δ, over which the marginal likelihood is maximised."""
        return self.sigma, self.amplitude

    def rescaled(self, sigma: float, amplitude: float) -> Any:
        """A copy with other scales."""
        return clone(self).set_params(sigma=sigma, amplitude=amplitude)

    def _plets(self, structures):
        cutoff = nplets.Cutoff(self.cutoff, self.cutoff_width, self.cutoff_function)
        return centered.neighbors_by_vector(structures, cutoff)

    def rows(self, structures: StructuresLike, what: Any, atoms: Any = None) -> Any:
        """The neighbours of some rows of a kernel matrix, see `NBody.rows`."""
        return self._plets(structures).rows(structures, what, atoms)

    def slopes(self, structures: StructuresLike, what: Any, atoms: Any = None) -> Any:
        """Derivatives of each environment, see `NBody.slopes`."""
        return self._plets(structures).slopes(structures, what, atoms)

    def diagonal_blocks(self, rows: Any) -> Any:
        """The kernel of each group of rows with itself, shape (n_groups, n_rows, n_rows)."""
        return self.paired_blocks(rows, rows, np.arange(rows.n_groups))

    def paired_blocks(self, rows: Any, others: Any, partners: Any) -> Any:
        """The kernel of each group of rows with one of others, (n_groups, n_rows, m_rows)."""
        blocks = np.zeros((rows.n_groups, rows.n_rows, others.n_rows))
        for key in rows.parts.keys() & others.parts.keys():
            _cpu.paired_sums(
                *_arrays(rows.parts[key]), *_arrays(others.parts[key]), partners,
                float(self.sigma), blocks,
            )  # fmt: skip
        blocks *= self.amplitude**2
        return blocks

    def _between(self, a, b):
        matrix = np.zeros((a.n_groups, a.n_rows, b.n_groups, b.n_rows))
        for key in a.parts.keys() & b.parts.keys():
            run_in_threads(
                _cpu.sums_between, a.n_groups, *_arrays(a.parts[key]), *_arrays(b.parts[key]),
                float(self.sigma), matrix,
            )  # fmt: skip
        matrix *= self.amplitude**2
        return matrix.reshape(a.n_groups * a.n_rows, b.n_groups * b.n_rows)

    def expand(self, rows: list, coefficients: list) -> RowExpansion:
        """The mean of a Gaussian process with this kernel.

        Parameters
        ----------
        rows : list of NPletRows
            The training data.
        coefficients : list of ndarray of float, shapes (n_groups, n_rows)
            The weight of each row.

        Returns
        -------
        RowExpansion
        """
        return RowExpansion(self, rows, coefficients)


def _arrays(part):
    return part.starts, np.ascontiguousarray(part.sides), np.ascontiguousarray(part.coefficients)


class RowExpansion(Predictor):
    """The mean of a Gaussian process as a sum over the rows of its training set.

    Parameters
    ----------
    kernel : ManyBody or CartesianPairs
    rows : list of rows of the kernel
        The training data.
    coefficients : list of ndarray of float, shapes (n_groups, n_rows)
        The weight of each row.
    """

    def __init__(self, kernel, rows, coefficients):
        self.kernel = clone(kernel)
        self.rows = rows
        self.weights = np.concatenate([alpha.ravel() for alpha in coefficients])

    def energies(self, X):
        """Energies of structures, shape (n,)."""
        return self._sum(X, "energy")

    def differentiate(self, X):
        """Energies (n,), ∂E/∂R (n_atoms, 3) and ∂E/∂strain (n, 3, 3)."""
        gradient, virial = np.empty((len(X.numbers), 3)), np.empty((len(X), 3, 3))
        for s in range(len(X)):  # matrices grow with the square of the batch
            atoms = slice(X.offsets[s], X.offsets[s + 1])
            gradient[atoms] = -self._sum(X[s], "forces").reshape(-1, 3)
            virial[s] = self._sum(X[s], "virial")[FROM_VOIGT]
        return self.energies(X), gradient, virial

    def _sum(self, structures, what):
        return self.kernel.cross([self.kernel.rows(structures, what)], self.rows) @ self.weights
