"""Base class of descriptors that are a matrix of all pairs of atoms of a structure."""

from __future__ import annotations

from collections import deque
from numbers import Integral
from typing import Any, Self

import numpy as np
from ase.units import Bohr
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, StructuresLike
from skatom.descriptors._cpu.pair_matrices import arrange
from skatom.descriptors.base import StructureDescriptor
from skatom.memory import check_memory
from skatom.parallel import ThreadTeam, available_threads, split_rows
from skatom.structures import as_structures, structure_of

# Elements of the matrices that a thread works on at once, and of those with derivatives.
_ELEMENTS = 2**15
_ELEMENTS_WITH_SLOPES = 2**13
# Structures that a thread works on at once in `in_pieces`.
_STRUCTURES = 64

LENGTHS = {"angstrom": 1.0, "bohr": Bohr}


class PairMatrix(StructureDescriptor):
    """Base class of matrices C_ij of the atoms of a structure, padded with zeros.

    A subclass has the parameters ``permutation``, ``n_realizations``, ``noise``, ``max_atoms``,
    ``unit`` and ``random_state`` and implements

    - ``_check_structures(structures)``, which calls that of this class;
    - ``_filler(structures)``: a function (rows, matrices, slopes, strains) that calls the compiled
      one, see `skatom.descriptors._cpu.pair_matrices`, for a slice of the structures.
    """

    _parameter_constraints = {
        "permutation": [StrOptions({"none", "sorted", "random", "eigenvalues", "singular_values"})],
        "n_realizations": [Interval(Integral, 1, None, closed="left")],
        "noise": [POSITIVE],
        "max_atoms": [Interval(Integral, 1, None, closed="left"), None],
        "unit": [StrOptions(set(LENGTHS))],
        "random_state": ["random_state"],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: StructuresLike, y: Any = None) -> Self:
        """Learn the size of the matrices, and draw the noise of random orders.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The structures.
        y : ignored

        Returns
        -------
        self
        """
        structures = as_structures(X)
        largest = int(structures.n_atoms.max())
        self.max_atoms_ = largest if self.max_atoms is None else int(self.max_atoms)
        noise = np.zeros((1, self.max_atoms_))
        if self.permutation == "random":
            size = (self.n_realizations, self.max_atoms_)
            noise = check_random_state(self.random_state).normal(0, self.noise, size)
        self.noise_ = noise
        self._check_structures(structures)
        return self

    @property
    def n_features_out_(self) -> Any:
        """Number of features."""
        check_is_fitted(self)
        n = self.max_atoms_
        return n if self._has_spectrum else len(self.noise_) * (n * (n + 1) // 2)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``C[0,2]``, ``C3[0,2]`` of realisation 3, ``eigenvalue[0]``."""
        check_is_fitted(self)
        if self._has_spectrum:
            name = self.permutation.removesuffix("s")
            return np.array([f"{name}[{k}]" for k in range(self.max_atoms_)], object)
        many = self.permutation == "random"
        letters = [f"C{q}" if many else "C" for q in range(len(self.noise_))]
        pairs = list(zip(*np.triu_indices(self.max_atoms_), strict=True))
        return np.array([f"{c}[{i},{j}]" for c in letters for i, j in pairs], object)

    @property
    def _has_spectrum(self):
        return self.permutation in ("eigenvalues", "singular_values")

    def _check_structures(self, structures):
        largest = int(structures.n_atoms.argmax())
        n_atoms = structures.n_atoms[largest]
        if n_atoms > self.max_atoms_:
            raise ValueError(
                f"structure {largest} has {n_atoms} atoms, but the matrices are for at most "
                f"{self.max_atoms_}: fit on the largest structures, too, or set "
                f"max_atoms={n_atoms}"
            )

    def _values(self, structures):
        n_rows = len(structures)
        check_memory(
            8.0 * n_rows * self.n_features_out_,
            f"the array of {n_rows} x {self.n_features_out_} features",
            "transform fewer structures at a time, or use permutation='eigenvalues'",
        )
        values = np.empty((n_rows, self.n_features_out_))

        fill = self._filler(structures)
        n_atoms = structures.n_atoms

        def work(rows):
            matrices, _, _ = self._matrices(structures, fill, rows, False)
            if self._has_spectrum:
                values[rows] = self._ordered(np.linalg.eigvalsh(matrices))[0]
            else:
                self._orders(n_atoms[rows], matrices, values[rows])

        self._share(work, n_rows, _ELEMENTS)
        return values

    def _pullback(self, structures, cotangent):
        offsets = structures.offsets
        gradient = np.zeros((len(structures.numbers), 3))
        virial = np.zeros((len(structures), 3, 3))
        fill, n_atoms = self._filler(structures), structures.n_atoms

        def work(rows):
            matrices, slopes, strains = self._matrices(structures, fill, rows, True)
            weights = self._weights(n_atoms[rows], matrices, cotangent[rows])
            along = weights[:, :, :, None] * slopes
            on_rows = along.sum(axis=1) - along.sum(axis=2)
            for s, on_atoms in zip(range(rows.start, rows.stop), on_rows, strict=True):
                gradient[offsets[s] : offsets[s + 1]] = on_atoms[: offsets[s + 1] - offsets[s]]
            virial[rows] = np.einsum("nij,nijxy->nxy", weights, strains)

        self._share(work, len(structures), _ELEMENTS_WITH_SLOPES)
        return gradient, virial

    def _jacobian(self, structures, needed):
        n, offsets = self.n_features_out_, structures.offsets
        gradients = np.zeros((len(structures.numbers), 3, n))
        strains = np.zeros((len(structures), 3, 3, n))
        fill, n_atoms = self._filler(structures), structures.n_atoms
        for s in range(len(structures)):
            rows, atoms = slice(s, s + 1), slice(offsets[s], offsets[s + 1])
            matrix, slopes, bends = self._matrices(structures, fill, rows, True)
            if self._has_spectrum:
                on_rows, strains[s] = self._spectral_jacobian(matrix, slopes[0], bends[0])
            else:
                orders = self._orders(n_atoms[rows], matrix, np.empty((0, 0)))
                on_rows, strains[s] = _jacobian_in_order(orders[0], slopes[0], bends[0])
            gradients[atoms] = on_rows[: n_atoms[s]]
        return gradients, strains

    def _spectral_jacobian(self, matrix, slopes, strains):
        """Of one structure: (max_atoms, 3, max_atoms) and (3, 3, max_atoms)."""
        (signs,), (vectors,) = self._spectrum(matrix)
        products = signs * vectors[:, None] * vectors[None]  # (i, j, k)
        upper = 2 * np.triu(np.ones(products.shape[:2]), 1) + np.eye(len(products))
        products *= upper[:, :, None]
        along = np.einsum("ijk,ijx->ijxk", products, slopes)
        return along.sum(axis=0) - along.sum(axis=1), np.einsum("ijk,ijxy->xyk", products, strains)

    def _share(self, work, n_rows, elements):
        """Call ``work`` on slices of the structures, in threads."""
        size = max(1, elements // self.max_atoms_**2)
        # a matrix, and with derivatives its slopes, strains and weights, beside products of them
        arrays = 2 if elements == _ELEMENTS else 24
        check_memory(
            8.0 * arrays * size * self.max_atoms_**2 * min(n_rows, available_threads()),
            f"a matrix of {self.max_atoms_} x {self.max_atoms_} pairs of atoms a thread",
            "describe smaller structures, or use fewer threads",
        )
        with ThreadTeam(available_threads()) as team:
            deque(team.map(work, split_rows(n_rows, size)), 0)

    def _matrices(self, structures, fill, rows, with_derivatives):
        """Matrices of a slice of the structures, their slopes and strains."""
        n = rows.stop - rows.start
        shape = (self.max_atoms_, self.max_atoms_)
        matrices, m = np.zeros((n, *shape)), n if with_derivatives else 0
        slopes, strains = np.zeros((m, *shape, 3)), np.zeros((m, *shape, 3, 3))
        check_places(structures, fill(rows, matrices, slopes, strains))
        return matrices, slopes, strains

    def _orders(self, n_atoms, matrices, out):
        """The rows of the matrices in the order of every realisation; their values to ``out``."""
        orders = np.empty((len(matrices), *self.noise_.shape), np.int64)
        by_norm = self.permutation != "none"
        arrange(matrices, n_atoms, by_norm, self.noise_, orders, out)
        return orders

    def _ordered(self, eigenvalues):
        """The features of a spectrum, their signs as functions of it, and their places in it."""
        places = np.argsort(-np.abs(eigenvalues), axis=1, kind="stable")
        found = np.take_along_axis(eigenvalues, places, axis=1)
        signs = np.ones(found.shape)
        if self.permutation == "singular_values":
            signs = np.sign(found)
        return signs * found, signs, places

    def _spectrum(self, matrices):
        """Signs (n, k) and eigenvectors (n, i, k) in the order of the features."""
        eigenvalues, vectors = np.linalg.eigh(matrices)
        _, signs, places = self._ordered(eigenvalues)
        return signs, np.take_along_axis(vectors, places[:, None], axis=2)

    def _weights(self, n_atoms, matrices, cotangent):
        """dE/dC_ij of the elements with i <= j, zeros below, (n, max_atoms, max_atoms)."""
        if self._has_spectrum:
            signs, vectors = self._spectrum(matrices)
            weights = np.einsum("nik,nk,njk->nij", vectors, signs * cotangent, vectors)
        else:
            orders = self._orders(n_atoms, matrices, np.empty((0, 0)))
            first, second = np.triu_indices(self.max_atoms_)
            weights = np.zeros(matrices.shape)
            each = np.arange(len(matrices))[:, None]
            for q, part in enumerate(np.split(cotangent, len(self.noise_), axis=1)):
                weights[each, orders[:, q, first], orders[:, q, second]] += 0.5 * part
            # half of an element is above the diagonal, half below
            weights += weights.transpose(0, 2, 1).copy()
        diagonal = np.einsum("nii->ni", weights)
        return np.triu(2 * weights, 1) + diagonal[:, :, None] * np.eye(self.max_atoms_)


def half_charge_power(numbers):
    """The energies ½ Z^2.4 of atoms, the diagonal of a Coulomb matrix."""
    return 0.5 * numbers**2.4


def _jacobian_in_order(orders, slopes, strains):
    """Derivatives of the elements of one matrix in the orders (realisations, max_atoms)."""
    size = len(slopes)
    first, second = np.triu_indices(size)
    i, j = orders[:, first].ravel(), orders[:, second].ravel()
    i, j = np.minimum(i, j), np.maximum(i, j)
    gradients = np.zeros((size, 3, len(i)))
    columns, along = np.arange(len(i)), slopes[i, j]
    gradients[j, :, columns] += along
    gradients[i, :, columns] -= along
    return gradients, np.moveaxis(strains[i, j], 0, 2)


def in_pieces(function, structures, *arguments):
    """Call ``function(first, last, offsets, *arguments)`` on pieces of the structures, in threads.

    Returns the first pair of atoms at the same place that it found, or (-1, -1).
    """

    def work(rows):
        return function(rows.start, rows.stop, structures.offsets, *arguments)

    with ThreadTeam(available_threads()) as team:
        found = list(team.map(work, split_rows(len(structures), _STRUCTURES)))
    return next((pair for pair in found if pair[0] >= 0), (-1, -1))


def check_places(structures, pair):
    """Raise a ValueError if a compiled function found a pair of atoms at the same place."""
    first, second = pair
    if first < 0:
        return
    s = structure_of(structures.offsets, first)
    begin = structures.offsets[s]
    raise ValueError(
        f"atoms {first - begin} and {second - begin} of structure {s} are at the same place, less "
        "than 0.001 Å apart: remove one or repair the structure"
    )


def check_molecules(structures, name):
    """Raise a ValueError for structures that are periodic."""
    periodic = np.flatnonzero(structures.pbc.any(axis=1))
    if len(periodic):
        raise ValueError(
            f"structure {periodic[0]} is periodic, but {name} is for molecules: set pbc=False, or "
            "for crystals take SineMatrix, EwaldMatrix or ExtendedCoulombMatrix"
        )


def check_crystals(structures, name):
    """Raise a ValueError for structures that are not periodic in three directions."""
    others = np.flatnonzero(~structures.pbc.all(axis=1))
    if len(others):
        raise ValueError(
            f"structure {others[0]} has pbc={structures.pbc[others[0]].tolist()}, but {name} is "
            "for crystals: set a cell and pbc=True, or for molecules take CoulombMatrix"
        )
