"""Maps of the inverse distances of a molecule: Coulomb matrices, triplets, sets of rows."""

from __future__ import annotations

from abc import abstractmethod
from itertools import combinations

import numpy as np

from skatom._typing import Array, ArrayLike
from skatom.descriptors.maps import FeatureMap


class MatrixMap(FeatureMap):
    r"""Base class of functions of the Coulomb matrix of a molecule.

    .. math:: C_{ab} = \frac{Z_a Z_b}{|r_a - r_b|}, \qquad C_{aa} = \tfrac12 Z_a^{2.4}

    A subclass implements ``_values(matrix)``, features (n, n_features_out) of matrices (n, N, N),
    ``_cotangents(matrix, cotangent)``, the (n, N, N) derivatives of sums of features, and
    ``_tangents(matrix, tangents)``, derivatives of the features along (n, k, N, N).

    Parameters
    ----------
    numbers : ndarray of int, shape (N,)
        Atomic numbers of the molecule.
    """

    def __init__(self, numbers: ArrayLike) -> None:
        self.numbers = np.asarray(numbers)
        self.pairs = np.tril_indices(len(self.numbers), k=-1)  # as those of InverseDistances
        self.charges = (self.numbers[:, None] * self.numbers)[self.pairs].astype(float)
        self.n_features_in = len(self.charges)

    @abstractmethod
    def _values(self, matrix):
        """Features of matrices."""

    @abstractmethod
    def _cotangents(self, matrix, cotangent):
        """Derivatives of sums of features with respect to the numbers of the matrix."""

    @abstractmethod
    def _tangents(self, matrix, tangents):
        """Derivatives of features along directions."""

    def matrices(self, x: Array) -> Array:
        """The matrices (n, N, N) of rows of inverse distances."""
        matrix = self._symmetric(x * self.charges)
        matrix += np.diag(0.5 * self.numbers**2.4)
        return matrix

    def value(self, x: Array, numbers: ArrayLike | None = None) -> Array:
        return self._values(self.matrices(x))

    def pullback(self, x: Array, cotangent: Array, numbers: ArrayLike | None = None) -> Array:
        found = self._cotangents(self.matrices(x), cotangent)
        first, second = self.pairs
        return (found[:, first, second] + found[:, second, first]) * self.charges

    def pushforward(self, x: Array, tangents: Array, numbers: ArrayLike | None = None) -> Array:
        return self._tangents(self.matrices(x), self._symmetric(tangents * self.charges))

    def _symmetric(self, values):
        """Symmetric matrices (…, N, N) with zero diagonals from values of the pairs."""
        n = len(self.numbers)
        matrix = np.zeros((*values.shape[:-1], n, n))
        matrix[..., self.pairs[0], self.pairs[1]] = values
        matrix[..., self.pairs[1], self.pairs[0]] = values
        return matrix


class SortedCoulombMatrix(MatrixMap):
    """The lower triangle of the Coulomb matrix, its rows and columns sorted by falling norms.

    It does not depend on the order of the atoms, and has a step where two norms are equal.

    Parameters
    ----------
    numbers : ndarray of int, shape (N,)
        Atomic numbers of the molecule.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import InverseDistances
    >>> from skatom.random_features import SortedCoulombMatrix
    >>> features = InverseDistances().fit_transform([molecule("H2O")])
    >>> features.map(SortedCoulombMatrix([8, 1, 1])).values.round(2)
    array([[73.52,  8.26,  0.5 ,  8.26,  0.66,  0.5 ]])
    """

    def __init__(self, numbers: ArrayLike) -> None:
        super().__init__(numbers)
        self.triangle = np.tril_indices(len(self.numbers))
        self.n_features_out = len(self.triangle[0])

    def _values(self, matrix: Array) -> Array:
        first, second = self._chosen(matrix)
        return np.take_along_axis(matrix[np.arange(len(matrix))[:, None], first], second[..., None],
                                  axis=2)[..., 0]  # fmt: skip

    def _cotangents(self, matrix: Array, cotangent: Array) -> Array:
        first, second = self._chosen(matrix)
        found = np.zeros_like(matrix)
        found[np.arange(len(matrix))[:, None], first, second] = cotangent
        return found

    def _tangents(self, matrix: Array, tangents: Array) -> Array:
        first, second = self._chosen(matrix)
        rows = np.arange(len(matrix))[:, None]
        return np.moveaxis(tangents[rows, :, first, second], 1, 2)

    def _chosen(self, matrix):
        """Row and column (n, n_features_out) of each feature."""
        order = np.argsort(-np.linalg.norm(matrix, axis=2), axis=1, kind="stable")
        return order[:, self.triangle[0]], order[:, self.triangle[1]]


class CoulombSpectrum(MatrixMap):
    r"""Eigenvalues of the Coulomb matrix, falling, or its singular values.

    They do not depend on the order of the atoms. N numbers tell less than the matrix: different
    geometries may share them.

    Parameters
    ----------
    numbers : ndarray of int, shape (N,)
        Atomic numbers of the molecule.
    singular : bool, default=False
        Whether to take the absolute values, sorted.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import InverseDistances
    >>> from skatom.random_features import CoulombSpectrum
    >>> features = InverseDistances().fit_transform([molecule("H2O")])
    >>> features.map(CoulombSpectrum([8, 1, 1])).values.round(2)
    array([[75.36, -0.16, -0.68]])
    """

    def __init__(self, numbers: ArrayLike, singular: bool = False) -> None:
        super().__init__(numbers)
        self.singular = singular
        self.n_features_out = len(self.numbers)

    def _values(self, matrix: Array) -> Array:
        values, _, _ = self._decomposed(matrix)
        return values

    def _cotangents(self, matrix: Array, cotangent: Array) -> Array:
        _, signs, vectors = self._decomposed(matrix)
        return np.einsum("nak,nk,nbk->nab", vectors, signs * cotangent, vectors, optimize=True)

    def _tangents(self, matrix: Array, tangents: Array) -> Array:
        _, signs, vectors = self._decomposed(matrix)
        along = np.einsum("nak,ndab,nbk->ndk", vectors, tangents, vectors, optimize=True)
        return along * signs[:, None]

    def _decomposed(self, matrix):
        """Values in their order, the signs of their derivatives, and eigenvectors (n, N, N)."""
        values, vectors = np.linalg.eigh(matrix)
        signs = np.where(values < 0, -1.0, 1.0) if self.singular else np.ones_like(values)
        order = np.argsort(-signs * values, axis=1, kind="stable")
        values, signs = (np.take_along_axis(a, order, 1) for a in (signs * values, signs))
        return values, signs, np.take_along_axis(vectors, order[:, None], axis=2)


class SetsOfRows(MatrixMap):
    r"""Means of functions of the elements of the Coulomb matrix, which is seen as a set.

    .. math::
        y = \frac1N \sum_a \varphi(\mathrm{sort}\, C_a) \quad\text{(nested)}, \qquad
        y = \frac1{N^2} \sum_{ab} \varphi(C_{ab}) \quad\text{(flat)}

    The elements of a nested set are the rows, each of which is sorted, so that it does not depend
    on the order of the columns. Both forms are independent of the order of the atoms.

    Parameters
    ----------
    numbers : ndarray of int, shape (N,)
        Atomic numbers of the molecule.
    function : FeatureMap
        The function φ of N numbers, or of one if the set is flat.
    nested : bool, default=True
        The form.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import molecule
    >>> from skatom.descriptors import InverseDistances, Linear
    >>> from skatom.random_features import SetsOfRows
    >>> features = InverseDistances().fit_transform([molecule("H2O")])
    >>> features.map(SetsOfRows([8, 1, 1], Linear(np.eye(3)))).values.round(2)
    array([[30.01,  3.19,  3.09]])
    """

    def __init__(self, numbers: ArrayLike, function: FeatureMap, nested: bool = True) -> None:
        super().__init__(numbers)
        self.function = function
        self.nested = nested
        self.n_features_out = function.n_features_out

    def elements(self, matrix: Array) -> tuple:
        """Elements (n · n_elements, width) of the sets, and how rows were sorted, or None."""
        if not self.nested:
            return matrix.reshape(-1, 1), None
        order = np.argsort(-matrix, axis=2, kind="stable")
        return np.take_along_axis(matrix, order, axis=2).reshape(-1, matrix.shape[2]), order

    def _values(self, matrix: Array) -> Array:
        elements, _ = self.elements(matrix)
        found = self.function.value(elements)
        return found.reshape(len(matrix), -1, self.n_features_out).mean(axis=1)

    def _cotangents(self, matrix: Array, cotangent: Array) -> Array:
        elements, order = self.elements(matrix)
        size = len(elements) // len(matrix)
        found = self.function.pullback(elements, np.repeat(cotangent / size, size, axis=0))
        found = found.reshape(matrix.shape)
        if order is None:
            return found
        unsorted = np.empty_like(found)
        np.put_along_axis(unsorted, order, found, axis=2)
        return unsorted

    def _tangents(self, matrix: Array, tangents: Array) -> Array:
        elements, order = self.elements(matrix)
        n, k, n_atoms, _ = tangents.shape
        if order is None:
            along = tangents.reshape(n, k, n_atoms**2, 1)
        else:
            along = np.take_along_axis(tangents, order[:, None], axis=3)
        along = np.moveaxis(along, 2, 1)  # elements before directions
        found = self.function.pushforward(elements, along.reshape(len(elements), k, -1))
        return found.reshape(n, -1, k, self.n_features_out).mean(axis=1)


class TripletFunctions(FeatureMap):
    r"""Functions of the three atoms of every triangle, from inverse distances.

    .. math::
        \cos\theta_a = \frac{r_{ab}^2 + r_{ac}^2 - r_{bc}^2}{2\, r_{ab}\, r_{ac}}, \qquad
        G_{abc} = \exp\!\left(-\frac{r_{ab}^2 + r_{bc}^2 + r_{ca}^2}{\sigma^2}\right)

    The features of the pairs stand before those of the triangles a < b < c: without distances,
    angles do not see a molecule expand.

    Parameters
    ----------
    n_atoms : int
        Number of atoms.
    sigma : float, default=None
        Width σ of the Gaussians in Å. None: the cosines of the three angles instead.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import InverseDistances
    >>> from skatom.random_features import TripletFunctions
    >>> features = InverseDistances().fit_transform([molecule("H2O")])
    >>> features.map(TripletFunctions(3)).values.round(2)
    array([[ 1.03,  1.03,  0.66, -0.24,  0.79,  0.79]])
    """

    def __init__(self, n_atoms: int, sigma: float | None = None) -> None:
        self.sigma = sigma
        first, second = np.tril_indices(n_atoms, k=-1)
        self.n_features_in = len(first)
        place = np.zeros((n_atoms, n_atoms), int)
        place[first, second] = place[second, first] = np.arange(len(first))
        triangles = np.array([*combinations(range(n_atoms), 3)]).reshape(-1, 3)
        a, b, c = triangles.T
        # the side that is opposite of each corner
        self.sides = np.stack([place[b, c], place[a, c], place[a, b]], axis=1)
        n_each = 3 if sigma is None else 1
        self.n_features_out = self.n_features_in + n_each * len(self.sides)

    def value(self, x: Array, numbers: ArrayLike | None = None) -> Array:
        return np.concatenate([x, self._functions(x)[0]], axis=1)

    def pullback(self, x: Array, cotangent: Array, numbers: ArrayLike | None = None) -> Array:
        slopes = self._functions(x)[1]
        own = cotangent[:, self.n_features_in :].reshape(len(x), *slopes.shape[1:3])
        found = cotangent[:, : self.n_features_in].copy()
        along = np.einsum("nto,ntos->nts", own, slopes)
        np.add.at(found, (slice(None), self.sides), along)
        return found

    def pushforward(self, x: Array, tangents: Array, numbers: ArrayLike | None = None) -> Array:
        slopes = self._functions(x)[1]
        along = np.einsum("ntos,nkts->nkto", slopes, tangents[:, :, self.sides])
        return np.concatenate([tangents, along.reshape(*tangents.shape[:2], -1)], axis=2)

    def _functions(self, x):
        """Functions of triangles (n, …), and their slopes (n, n_triangles, n_each, 3)."""
        r = 1 / x[:, self.sides]
        if self.sigma is not None:
            bell = np.exp(-(r * r).sum(axis=2) / self.sigma**2)
            # along 1/r: dr = −r² d(1/r)
            return bell, (2 / self.sigma**2 * bell[:, :, None] * r**3)[:, :, None]
        cosines, slopes = np.empty_like(r), np.empty((*r.shape, 3))
        for corner in range(3):
            left, right = (corner + 1) % 3, (corner + 2) % 3
            p, q, s = r[:, :, corner], r[:, :, left], r[:, :, right]
            cosine = (q * q + s * s - p * p) / (2 * q * s)
            cosines[:, :, corner] = cosine
            slopes[:, :, corner, corner] = p**3 / (q * s)
            slopes[:, :, corner, left] = -q * q * (1 / s - cosine / q)
            slopes[:, :, corner, right] = -s * s * (1 / q - cosine / s)
        return cosines.reshape(len(x), -1), slopes
