"""The atomic environments of FCHL18: neighbours, their features, and scalar products with self."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skatom._typing import StructuresLike
from skatom.kernels._cpu.fchl18 import expansions
from skatom.kernels._cpu.fchl18.pairs import Terms, field_features, pair_features
from skatom.kernels.fchl18.overlaps import element_overlaps
from skatom.neighbors import neighbor_list
from skatom.parallel import threads_over_blas
from skatom.structures import as_structures

# Number of environments of a batch: matrix products of this size are fast and fit in the cache.
_BATCH = 256
# In widths: the spacing of the grid, how far it extends beyond the distances, and how far a
# Gaussian extends. The trapezoidal rule for the overlap of two Gaussians is then exact to 1e-14.
_SPACING, _REACH, _WINDOW = 0.55, 5.5, 8.0


class Form:
    """The parameters of an `FCHL18` except σ, in the form that the compiled loops take.

    Parameters
    ----------
    terms : Terms
        Scaling functions.
    width : float
        Width of the distances in Å.
    table : ndarray of float
        Overlap of the elements, indexed by atomic numbers.
    """

    def __init__(self, terms, width, table):
        self.terms = terms
        self.width = width
        self.table = table
        steps = np.arange(int(_WINDOW / _SPACING) + 1) * _SPACING
        self._window = np.sqrt(_SPACING / np.sqrt(np.pi)) * np.exp(-(steps**2) / 2)

    @classmethod
    def of(cls, kernel):
        """The parameters of an `FCHL18`."""
        m = 2 * np.arange(kernel.n_fourier) + 1
        weights = np.exp(-((m * kernel.width3) ** 2) / 2) / _angular_norm(kernel.width3)
        terms = Terms(
            cutoff=float(kernel.cutoff),
            cut_start=float(kernel.cut_start * kernel.cutoff),
            decay2=float(kernel.decay2),
            decay3=float(kernel.decay3),
            scale2=np.sqrt(kernel.weight2 / 16),
            scale3=2 * np.sqrt(kernel.weight3 / np.sqrt(8) * np.sqrt(2 * np.pi) * weights),
        )
        table = element_overlaps(kernel.alchemy, kernel.period_width, kernel.group_width)
        return cls(terms, float(kernel.width2), table)

    def same_as(self, other):
        return self.width == other.width and all(
            np.array_equal(a, b)
            for a, b in zip((*self.terms, self.table), (*other.terms, other.table), strict=True)
        )

    def overlap(self, rows, columns):
        """Overlaps pd(Z, Z') of the elements of rows and columns."""
        return self.table[np.ix_(rows, columns)]

    def grid(self, shortest, longest):
        """Points on which Gaussians overlap around some distances."""
        spacing, reach = _SPACING * self.width, _REACH * self.width
        first = int(np.floor((shortest - reach) / spacing))
        last = int(np.ceil((longest + reach) / spacing))
        return expansions.DistanceGrid(first, last - first + 1, spacing, self.width, self._window)

    def expanded(self, batch, mixing, grid, features=None):
        """Environments as vectors whose scalar products are those of FCHL18 without its constant.

        Elements are mixed into channels by ``mixing`` (n_channels, n_species). Shape
        (n, n_channels, n_features, n_points), where ``features`` (n_pairs, n_features) are those of
        the batch unless they are given, mixed too.
        """
        mixed = self.mixed(batch.features if features is None else features, mixing)
        out = np.empty((len(batch), len(mixing), mixed.shape[1], grid.size))
        expansions.expand(batch.starts, batch.distances, batch.channels, mixed, mixing, grid, out)
        return out

    def mixed(self, features, mixing):
        """Features of pairs (…, n_features), whose elements are mixed into channels."""
        harmonics = np.eye(2 * len(self.terms.scale3))
        angular = features[..., 1:] @ np.kron(mixing.T, harmonics)
        return np.concatenate([features[..., :1], angular], axis=-1)


@dataclass
class Batch:
    """Environments of structures that have the same elements, ordered by the centre's element.

    Attributes
    ----------
    species : ndarray of int
        Sorted atomic numbers; elements below are indices of it.
    structures : ndarray of int
        Indices of the structures in the input.
    atoms, owners, centers : ndarray of int, shape (n,)
        For each environment: the atom in the input, the structure (as an index of
        ``structures``) and the element of the centre.
    starts : ndarray of int, shape (n + 1,)
        Where its pairs begin; pairs of one environment are ordered by the neighbour's element.
    channels, neighbors : ndarray of int, shape (n_pairs,)
        For each pair: the neighbour's element, and the environment around the neighbour.
    vectors, distances, features : ndarray of float
        For each pair, in Å; shapes (n_pairs, 3), (n_pairs,), (n_pairs, n_features).
    self_products : ndarray of float, shape (n,)
        Scalar product of each environment with itself.
    """

    species: np.ndarray
    structures: np.ndarray
    atoms: np.ndarray
    owners: np.ndarray
    centers: np.ndarray
    starts: np.ndarray
    channels: np.ndarray
    neighbors: np.ndarray
    vectors: np.ndarray
    distances: np.ndarray
    features: np.ndarray
    self_products: np.ndarray

    def __len__(self):
        return len(self.centers)

    @cached_property
    def of_element(self):
        """Environments (a slice) around each element."""
        edges = np.searchsorted(self.centers, np.arange(len(self.species) + 1)).tolist()
        return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    def places(self, kind):
        """Rows of the batch in a matrix of all structures, with one row for each energy, each
        position coordinate ("positions") or each strain."""
        if kind == "energy":
            return self.structures
        owners, size = (self.atoms, 3) if kind == "positions" else (self.structures, 9)
        return (size * owners[:, None] + np.arange(size)).ravel()

    def field_features(self, dipoles, terms):
        """Derivatives of the features along a field, (n_pairs, 3, n_features)."""
        out = np.zeros((len(self.channels), 3, self.features.shape[1]))
        field_features(
            self.starts, self.vectors, self.channels, self.neighbors, dipoles, terms, out
        )
        return out

    @cached_property
    def span(self):
        """The shortest and the longest distance, or None where no atom has a neighbour."""
        return (self.distances.min(), self.distances.max()) if len(self.distances) else None


class FCHL18Environments:
    """Environments of structures, prepared for an `FCHL18`.

    `FCHL18.environments` returns them. The kernel accepts them instead of structures and does not
    prepare them again, which saves time for a model that predicts often.

    Attributes
    ----------
    structures : Structures
        The structures.
    form : Form
        Parameters of the kernel.
    batches : list of Batch
        The environments, in batches of structures with the same elements.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.kernels import FCHL18
    >>> kernel = FCHL18()
    >>> basis = kernel.environments([molecule("H2O"), molecule("CH4")])
    >>> kernel([molecule("NH3")], basis).shape
    (1, 2)
    """

    def __init__(self, structures: StructuresLike, form: Any) -> None:
        self.structures = as_structures(structures)
        self.form = form
        self._check_species()
        groups = _groups(self.structures)
        with threads_over_blas() as pool:
            self.batches = list(pool.map(self._prepare, groups))

    def __len__(self):
        return len(self.structures)

    def n_rows(self, kind: Any) -> Any:
        """Number of energies, position coordinates ("positions") or strains of all structures."""
        n = len(self.structures)
        return {"energy": n, "positions": 3 * len(self.structures.numbers), "strain": 9 * n}[kind]

    def _check_species(self):
        if self.structures.species[-1] >= len(self.form.table):
            raise ValueError(
                f"atomic number {self.structures.species[-1]} is beyond the matrix given as "
                f"alchemy, which ends at {len(self.form.table) - 1}: give a larger one"
            )

    def _prepare(self, rows):
        structures, terms = self.structures[rows], self.form.terms
        offsets = self.structures.offsets
        atoms = np.concatenate([np.arange(offsets[s], offsets[s + 1]) for s in rows])
        owners = np.repeat(np.arange(len(rows)), structures.n_atoms)
        species, elements = np.unique(structures.numbers, return_inverse=True)
        pairs = neighbor_list(structures, terms.cutoff)
        order = np.argsort(elements, kind="stable")
        rank = np.argsort(order)
        starts = np.append(0, np.cumsum(np.diff(pairs.offsets)[order]))
        by_element = np.lexsort((elements[pairs.indices], rank[pairs.centers]))
        vectors, channels = pairs.vectors[by_element], elements[pairs.indices[by_element]]
        features = np.zeros((len(vectors), 1 + 2 * len(terms.scale3) * len(species)))
        batch = Batch(
            species, rows, atoms[order], owners[order], elements[order], starts,
            channels, rank[pairs.indices[by_element]], vectors, np.linalg.norm(vectors, axis=1),
            features, None,
        )  # fmt: skip
        pair_features(starts, vectors, channels, terms, features)
        batch.self_products = self._self_products(batch)
        return batch

    def _self_products(self, batch):
        alike = self.form.overlap(batch.species, batch.species)
        products = np.ones(len(batch))
        if batch.span:
            grid = self.form.grid(*batch.span)
            plain = self.form.expanded(batch, np.eye(len(alike)), grid)
            unmixed = np.array_equal(alike, np.eye(len(alike)))
            mixed = plain if unmixed else self.form.expanded(batch, alike, grid)
            products += np.einsum("ezfk,ezfk->e", plain, mixed)
        return np.diag(alike)[batch.centers] * products


def _groups(structures):
    """Indices of structures with the same elements, of some `_BATCH` atoms together."""
    by_species = {}
    for s, (start, stop) in enumerate(
        zip(structures.offsets[:-1], structures.offsets[1:], strict=True)
    ):
        key = np.unique(structures.numbers[start:stop]).tobytes()
        by_species.setdefault(key, []).append(s)
    groups = []
    for rows in by_species.values():
        filled = np.cumsum(structures.n_atoms[rows])
        parts = (filled - structures.n_atoms[rows]) // _BATCH
        groups += np.split(np.array(rows), np.flatnonzero(np.diff(parts)) + 1)
    return groups


def _angular_norm(width):
    """2 √(π Σ_n e^{-(n σ_θ)²} (2 - 2 cos nπ)), in which even n vanish."""
    if width < 0.1:  # Σ over odd n is √π / 4σ but for exp(-(π / 2σ)²), by Poisson's summation
        return 2 * np.sqrt(np.pi * 2 * np.sqrt(np.pi) / width)
    odd = np.arange(1, 20 / width + 2, 2)
    return 2 * np.sqrt(np.pi * 8 * np.exp(-((odd * width) ** 2)).sum())
