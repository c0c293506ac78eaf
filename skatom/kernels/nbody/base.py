"""The base classes of kernels that are sums over n-plets or environments, and their sum."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.base import clone

from skatom._typing import Array, FeaturesLike, StructuresLike
from skatom.kernels.atom_sums import mirrored
from skatom.kernels.base import Kernel
from skatom.kernels.covariances import by_structure
from skatom.memory import check_memory
from skatom.parallel import split_rows
from skatom.structures import as_structures

# Rows whose dot products with all others are in memory beside the matrix.
_ROWS = 128


class NBodyKernel(Kernel):
    """Base class of kernels of structures that are sums over their n-plets or environments.

    A subclass implements ``rows(structures, what, atoms=None)``, which prepares the rows
    ``"energy"`` of structures, ``"local"`` of atoms, ``"forces"`` of atoms or ``"virial"`` of
    structures, ``diagonal_blocks``, and ``_between(a, b)``, the kernel matrix between two
    preparations of rows, or all of ``cross``. Kernels add up: ``NBody(order=2) +
    NBody(order=3)``.
    """

    # whether energies have covariances; if not, forces alone
    has_energies = True

    @property
    def terms(self) -> Any:
        """The kernels whose sum this is."""
        return [self]

    def __add__(self, other):
        return NBodySum(self, other) if isinstance(other, NBodyKernel) else super().__add__(other)

    def __call__(self, X: StructuresLike, Y: StructuresLike | None = None) -> Array:
        """Covariances of the energies of structures.

        Parameters
        ----------
        X, Y : Structures or list of ase.Atoms, n and m of them
            Y=None: X.

        Returns
        -------
        ndarray of float, shape (n, m), eV²
        """
        self.check_parameters()
        return self.covariance_blocks(X, Y, ("energy",), ("energy",))

    def diagonal(self, X: FeaturesLike) -> Any:
        """Variances of the energies of structures, shape (n,), eV²."""
        self.check_parameters()
        return self.diagonal_blocks(self.rows(as_structures(X), "energy"))[:, 0, 0]

    @property
    def n_derivatives(self) -> Any:
        return 2

    def covariance_blocks(
        self, X: FeaturesLike, Y: Any, rows: tuple[str, ...], columns: tuple[str, ...]
    ) -> Array:
        X = as_structures(X)
        Y = X if Y is None else as_structures(Y)
        _check_matrix(self, X, Y, rows, columns)
        left = [self.rows(X, what) for what in rows]
        same = Y is X and rows == columns
        stacked = self.cross(left, None if same else [self.rows(Y, what) for what in columns])
        return by_structure(stacked, X, Y, rows, columns)

    def cross(self, rows: list, others: list | None = None) -> Array:
        """The kernel matrix between rows.

        Parameters
        ----------
        rows, others : list of NPletRows or EnvironmentRows
            others=None: the rows themselves.

        Returns
        -------
        ndarray of float, shape (n, m)
        """
        others = rows if others is None else others
        left, right = ([block.n_groups * block.n_rows for block in side] for side in (rows, others))
        check_memory(
            8.0 * (sum(left) * sum(right) + max(left) * max(right)),
            f"the {sum(left)} x {sum(right)} kernel matrix",
            "set n_environments or use fewer structures",
        )
        matrix = np.empty((sum(left), sum(right)))
        for a, x in zip(rows, _slices(left), strict=True):
            for b, y in zip(others, _slices(right), strict=True):
                matrix[x, y] = self._between(a, b)
        return matrix

    def local(self, X: StructuresLike, Y: StructuresLike | None = None) -> Array:
        """Covariances of the environments of single atoms.

        Parameters
        ----------
        X, Y : Structures or list of ase.Atoms
            Structures with n_atoms and m_atoms atoms in all. Y=None: X.

        Returns
        -------
        ndarray of float, shape (n_atoms, m_atoms), eV²
        """
        self.check_parameters()
        rows = [self.rows(as_structures(X), "local")]
        return self.cross(rows, None if Y is None else [self.rows(as_structures(Y), "local")])


class PletKernel(NBodyKernel):
    """Base class of kernels of n-plets that are dot products of features.

    A subclass implements ``rows``; ``slopes(structures, what, atoms=None)``, the derivatives of
    single environments that `ManyBody` needs; ``_basis(key, rows)``, the functions of the sides of
    the n-plets of some elements, or None if there are none; and ``_features(part, key, basis)``.
    It has the parameters ``sigma`` and ``amplitude``.
    """

    @property
    def scales(self) -> Any:
        """σ and δ, over which the marginal likelihood is maximised."""
        return self.sigma, self.amplitude

    def rescaled(self, sigma: float, amplitude: float) -> Any:
        """A copy with other scales."""
        return clone(self).set_params(sigma=sigma, amplitude=amplitude)

    @abstractmethod
    def _basis(self, key, rows):
        """A basis for the sides that occur in rows, or None if there are none."""

    @abstractmethod
    def _features(self, part, key, basis):
        """Groups (n,) and their features (n, n_rows, n_features)."""

    def cross(self, rows: list, others: list | None = None) -> Array:
        """The kernel matrix between rows.

        Parameters
        ----------
        rows, others : list of NPletRows
            others=None: the rows themselves.

        Returns
        -------
        ndarray of float, shape (n, m)
        """
        columns = rows if others is None else others
        matrix = np.zeros((_count(rows), _count(columns)))
        for key in _combinations(rows) & _combinations(columns):
            basis = self._basis(key, [*rows, *columns])
            if basis is None:
                continue
            self._add(matrix, key, basis, rows, others)
        if others is None:
            mirrored(matrix)
        matrix *= self.amplitude**2
        return matrix

    def _add(self, matrix, key, basis, rows, others):
        """Add what the n-plets of one key contribute, of rows alone the upper triangle."""
        left = list(self.features_of_blocks(rows, key, basis))
        right = left if others is None else list(self.features_of_blocks(others, key, basis))
        for k, block in enumerate(left):
            for other in right[k:] if others is None else right:
                _add_products(matrix, block, other)

    def features_of_blocks(self, rows: list, key: Any, basis: Any) -> Iterator:
        """The places and features of the rows of each block that are not zero.

        Yields
        ------
        places : ndarray of int, shape (n,)
            Places of the rows among those of all blocks, ascending.
        features : ndarray of float, shape (n, n_features)
        """
        begin = 0
        for block in rows:
            if key in block.parts:
                groups, values = self._features(block.parts[key], key, basis)
                places = begin + groups[:, None] * block.n_rows + np.arange(block.n_rows)
                yield places.ravel(), values.reshape(places.size, values.shape[-1])
            begin += block.n_groups * block.n_rows

    def diagonal_blocks(self, rows: Any) -> Any:
        """The kernel of each group of rows with itself, shape (n_groups, n_rows, n_rows)."""
        blocks = np.zeros((rows.n_groups, rows.n_rows, rows.n_rows))
        for key, part in rows.parts.items():
            basis = self._basis(key, [rows])
            if basis is not None:
                groups, features = self._features(part, key, basis)
                blocks[groups] += np.matmul(features, features.transpose(0, 2, 1))
        blocks *= self.amplitude**2
        return blocks

    def paired_blocks(self, rows: Any, others: Any, partners: Array) -> Array:
        """The kernel of each group of rows with one of others, (n_groups, n_rows, m_rows).

        Parameters
        ----------
        rows, others : NPletRows
        partners : ndarray of int, shape (n_groups,)
            The group of ``others`` for each group of ``rows``.

        Returns
        -------
        ndarray of float, shape (n_groups, n_rows, m_rows)
        """
        blocks = np.zeros((rows.n_groups, rows.n_rows, others.n_rows))
        for key in rows.parts.keys() & others.parts.keys():
            basis = self._basis(key, [rows, others])
            if basis is None:
                continue
            groups, features = self._features(rows.parts[key], key, basis)
            known, other_features = self._features(others.parts[key], key, basis)
            place = np.searchsorted(known, partners[groups])
            place[place == len(known)] = 0
            met = known[place] == partners[groups] if len(known) else np.zeros(len(groups), bool)
            right = other_features[place[met]].transpose(0, 2, 1)
            blocks[groups[met]] += np.matmul(features[met], right)
        blocks *= self.amplitude**2
        return blocks


class NBodySum(NBodyKernel):
    """The sum of two kernels of structures, k₁(S, S') + k₂(S, S'), written ``left + right``.

    Parameters
    ----------
    left, right : NBody, ManyBody, HaarNBody, CovariantNBody or NBodySum
        The two kernels.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.kernels import NBody
    >>> kernel = NBody(order=2) + NBody(order=3, sigma=1.0)
    >>> kernel([molecule("H2O"), molecule("CH4")]).shape
    (2, 2)
    """

    _parameter_constraints = {"left": [NBodyKernel], "right": [NBodyKernel]}

    def __init__(self, left: Any, right: Any) -> None:
        self.left = left
        self.right = right

    @property
    def terms(self) -> Any:
        return [*self.left.terms, *self.right.terms]

    @property
    def has_energies(self) -> Any:
        return self.left.has_energies and self.right.has_energies

    @property
    def n_derivatives(self) -> Any:
        return min(self.left.n_derivatives, self.right.n_derivatives)

    def rows(self, structures: StructuresLike, what: Any, atoms: Any = None) -> Any:
        """The rows of each term, in a tuple."""
        return tuple(term.rows(structures, what, atoms) for term in self.terms)

    def cross(self, rows: list, others: list | None = None) -> Any:
        """The sum of the kernel matrices of all terms."""
        total = 0.0
        for k, term in enumerate(self.terms):  # two matrices at a time, not one of each term
            total += term.cross(
                [r[k] for r in rows], None if others is None else [r[k] for r in others]
            )
        return total

    def diagonal_blocks(self, rows: Any) -> Any:
        """The sum of the diagonal blocks of all terms."""
        return sum(term.diagonal_blocks(a) for term, a in zip(self.terms, rows, strict=True))


def _check_matrix(kernel, X, Y, rows, columns):
    n, m = (
        len(side) * ("energy" in kinds)
        + 3 * len(side.numbers) * ("forces" in kinds)
        + 6 * len(side) * ("virial" in kinds)
        for side, kinds in ((X, rows), (Y, columns))
    )
    # terms are added one by one, and kinds are put together by structure in a second matrix
    copies = 2 if len(kernel.terms) > 1 or len(rows) > 1 or len(columns) > 1 else 1
    check_memory(8.0 * copies * n * m, f"the {n} x {m} covariance matrix", "use fewer structures")


def _slices(sizes):
    """Where consecutive blocks of these sizes are."""
    edges = np.append(0, np.cumsum(sizes))
    return [slice(*pair) for pair in pairwise(edges)]


def _add_products(matrix, block, other):
    """Add the dot products of the rows of two blocks; of a block with itself the upper triangle."""
    (places, features), (columns, others) = block, other
    for part in split_rows(len(places), _ROWS):
        first = part.start if features is others else 0
        products = features[part] @ others[first:].T
        matrix[np.ix_(places[part], columns[first:])] += products


def _combinations(rows):
    return set().union(*(block.parts for block in rows))


def _count(rows):
    return sum(block.n_groups * block.n_rows for block in rows)
