"""Covariances of energies, forces and virials under any kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from skatom._typing import Array, FeaturesLike
from skatom.kernels.blocks import kinds_of_rows

# Kinds of rows and columns, in their order.
KINDS = ("energy", "forces", "virial")


def covariance(
    kernel: Any,
    X: FeaturesLike,
    Y: Any = None,
    rows: tuple = ("energy", "forces"),
    columns: tuple | None = None,
) -> Array:
    r"""Covariance matrix of the energies, forces and virials of structures.

    .. math::
        \mathrm{cov}(E, E') = K(S, S'), \quad
        \mathrm{cov}(F, E') = -\frac{\partial}{\partial R} K(S, S'), \quad
        \mathrm{cov}(F, F') = \frac{\partial^2}{\partial R\, \partial R'} K(S, S'), \quad
        \mathrm{cov}(V, E') = \frac{\partial}{\partial \varepsilon} K(S, S')

    with the kernel K of structures S at the positions R, and so on for the virials
    :math:`V = \partial E / \partial \varepsilon`, derivatives with respect to the strain
    :math:`R \to (1 + \varepsilon) R`. For a kernel k of atomic features q it is
    the sum over all atoms of the same element,
    :math:`K(S, S') = \sum_{I \in S} \sum_{J \in S'} \delta_{Z_I Z_J} k(q_I, q_J)`. Rows are
    ordered by structure: its energy, then its forces atom by atom, then the components xx, yy, zz,
    yz, xz, xy of its virial.

    Parameters
    ----------
    kernel : Kernel
        The kernel. Forces or virials in rows or in columns need one derivative
        (``kernel.n_derivatives``), those in both need two; virials need ``kernel.has_virials``.
    X : AtomicFeatures, StructureFeatures, Structures or list of ase.Atoms, n of them
        Structures of the rows: features or structures, as the kernel takes them.
    Y : the same, m of them, default=None
        Structures of the columns. None: X.
    rows : tuple of {"energy", "forces", "virial"}, default=("energy", "forces")
        Which rows to compute.
    columns : tuple of {"energy", "forces", "virial"}, default=None
        Which columns to compute. None: the same as ``rows``.

    Returns
    -------
    ndarray of float, shape (n + 3 n_atoms of X, m + 3 n_atoms of Y)
        Without the rows and columns that are left out, and with six more for each virial. The unit
        is that of the kernel (eV² for NBody), divided by Å for rows and for columns of forces.

    Raises
    ------
    ValueError
        If rows or columns are of another kind, the kernel lacks derivatives, or it does not
        compare objects such as X.
    MemoryError
        If the matrix would not fit in memory.

    References
    ----------
    A. S. Christensen, O. A. von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import FCHL19
    >>> from skatom.kernels import Gaussian, NBody, covariance
    >>> molecules = [molecule("H2O"), molecule("H2")]
    >>> covariance(Gaussian(20.0), FCHL19().fit_transform(molecules)).shape
    (17, 17)
    >>> covariance(NBody(), molecules, rows=("energy",), columns=("forces",)).shape
    (2, 15)
    """
    rows = _checked(rows, "rows")
    columns = rows if columns is None else _checked(columns, "columns")
    kernel.check_parameters()
    kernel.check_derivatives((rows != ("energy",)) + (columns != ("energy",)))
    if "virial" in rows + columns:
        kernel.check_virials()
    return kernel.covariance_blocks(X, Y, rows, columns)


def _checked(kinds, name):
    """The kinds of rows or columns in their order, without repetition."""
    if isinstance(kinds, str) or not kinds or not set(kinds) <= set(KINDS):
        raise ValueError(
            f"{name}={kinds!r} must be a tuple of some of 'energy', 'forces' and 'virial', such as "
            "('energy',)"
        )
    return tuple(kind for kind in KINDS if kind in kinds)


def by_structure(stacked, X, Y, rows, columns):
    """Reorder a matrix of all energies, all forces, all virials: each structure contiguous.

    Parameters
    ----------
    stacked : ndarray of float, shape (n_rows, n_columns)
        Both its rows and its columns are all energies, then all forces, then all virials.
    X, Y : Structures
        The structures of the rows and of the columns.
    rows, columns : tuple of str

    Returns
    -------
    ndarray of float, shape (n_rows, n_columns)
    """
    if len(rows) == len(columns) == 1:
        return stacked
    out = np.empty_like(stacked)
    out[np.ix_(_places(X.n_atoms, rows), _places(Y.n_atoms, columns))] = stacked
    return out


def _places(n_atoms, kinds):
    """Where all rows of the first kind, of the second, … are in the order of the structures."""
    return np.argsort(kinds_of_rows(n_atoms, kinds), kind="stable")
