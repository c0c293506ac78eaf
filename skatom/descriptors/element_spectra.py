"""Spectra of functions of pairs and triples of atoms, one for each combination of elements."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from scipy.special import ndtr

from skatom.descriptors._cpu.spectra import N_POWERS, spectra
from skatom.memory import check_memory
from skatom.neighbors import neighbor_list
from skatom.parallel import ThreadTeam, available_threads, split_rows
from skatom.structures import groups_by_size

# Where a Gaussian ends, in standard deviations; a 1e-15 of it is farther.
_REACH = 8.0
# Distance of the places for which a cell's integral is expanded, in standard deviations.
_STEP = 1 / 64
# Atoms whose neighbours are known at a time, and structures that a thread works on.
_ATOMS, _STRUCTURES = 2**16, 16

_NOTHING = np.empty((0, 0))
_NO_JACOBIAN = np.empty((0, 0, 0)), np.empty((0, 0, 0, 0))


@dataclass(frozen=True)
class Grid:
    """Points of a spectrum and the width of the Gaussians on it.

    Attributes
    ----------
    low, high : float
        The first and the last point.
    n : int
        Number of points.
    sigma : float
        Standard deviation of the Gaussians.
    """

    low: float
    high: float
    n: int
    sigma: float

    @property
    def spacing(self):
        return (self.high - self.low) / (self.n - 1)

    @property
    def points(self):
        return np.linspace(self.low, self.high, self.n)

    def integrals(self, centers):
        """Means over the cells around the points of Gaussians with centres (n,), (n, n_points)."""
        edges = self.low + self.spacing * (np.arange(self.n + 1) - 0.5)
        t = (edges - np.asarray(centers, float)[:, None]) / self.sigma
        return _normal_between(t[:, :-1], t[:, 1:]) / self.spacing

    def table(self):
        """Coefficients of these means, (places, N_POWERS, cells), see `_cpu.spectra`."""
        spread = self.spacing / self.sigma
        places = max(1, int(np.ceil(spread / _STEP)))
        half = int(np.ceil(_REACH / spread)) + 1
        check_memory(
            8.0 * places * N_POWERS * (2 * half + 1),
            f"the table of Gaussians with sigma={self.sigma:g} on a grid of spacing "
            f"{self.spacing:g}",
            "take a sigma of the size of a few spacings",
        )
        starts = np.arange(-half, half + 1) - np.arange(places)[:, None] / places
        low, high = starts * spread, (starts + 1) * spread
        table = np.empty((places, N_POWERS, 2 * half + 1))
        table[:, 0] = _normal_between(low, high)
        for p, (above, below) in enumerate(
            zip(_densities(high), _densities(low), strict=True), start=1
        ):
            table[:, p] = below - above
        return table / self.spacing


def _normal_between(low, high):
    """Integrals of the normal density, without cancellation in its upper tail."""
    return np.where(low > 0, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))


def _densities(t):
    """He_{p-1}(t) φ(t) / p! for p = 1 … N_POWERS - 1, with Hermite polynomials He."""
    density = np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi)
    before, polynomial, factorial = np.zeros_like(t), np.ones_like(t), 1.0
    for p in range(1, N_POWERS):
        factorial *= p
        yield polynomial * density / factorial
        before, polynomial = polynomial, t * polynomial - (p - 1) * before


@dataclass(frozen=True)
class Spectra:
    """What is added up on a grid: a function of pairs or triples, and their weights.

    Attributes
    ----------
    function, weighting : int
        Constants of `skatom.descriptors._cpu.spectra`.
    grid : Grid
        The grid.
    n_species : int
        Number of elements.
    cutoff : float
        Cutoff of pairs in Å; infinite: none.
    decay, sharpness : float
        Of the weights.
    """

    function: int
    weighting: int
    grid: Grid
    n_species: int
    cutoff: float
    decay: float = 0.0
    sharpness: float = 2.0

    def blocks(self):
        """The block of the grid of the species (b, a, c), and their number; b = 0 for pairs."""
        n = self.n_species
        ends = np.empty((n, n), np.int64)
        for k, (a, c) in enumerate(combinations_with_replacement(range(n), 2)):
            ends[a, c] = ends[c, a] = k
        n_pairs = n * (n + 1) // 2
        centers = np.arange(n if self.is_of_triples else 1)
        return centers[:, None, None] * n_pairs + ends, len(centers) * n_pairs

    @property
    def is_of_triples(self):
        return self.function > 1

    @property
    def n_features(self):
        n = self.n_species
        return n * (n + 1) // 2 * (n if self.is_of_triples else 1) * self.grid.n

    def values(self, structures, species):
        """The spectra (n, n_features)."""
        values = np.zeros((len(structures), self.n_features))
        for batch in self._batches(structures):
            self._run(structures, species, batch, values[batch], _NOTHING)
        return values

    def pullback(self, structures, species, cotangent):
        """Gradient (n_atoms, 3) and virial (n, 3, 3) of Σ cotangent · values."""
        gradient = np.zeros((len(structures.numbers), 3))
        virial = np.zeros((len(structures), 3, 3))
        cotangent = np.ascontiguousarray(cotangent)
        for batch in self._batches(structures):
            atoms = _atoms(structures, batch)
            self._run(
                structures, species, batch, _NOTHING, cotangent[batch], gradient[atoms],
                virial[batch],
            )  # fmt: skip
        return gradient, virial

    def jacobian(self, structures, species):
        """Gradients (n_atoms, 3, n_features) and strains (n, 3, 3, n_features)."""
        gradients = np.zeros((len(structures.numbers), 3, self.n_features))
        strains = np.zeros((len(structures), 3, 3, self.n_features))
        for batch in self._batches(structures):
            atoms = _atoms(structures, batch)
            self._run(
                structures, species, batch, _NOTHING, _NOTHING, _NOTHING, _NO_JACOBIAN[0],
                gradients[atoms], strains[batch],
            )  # fmt: skip
        return gradients, strains

    def _batches(self, structures):
        return groups_by_size(structures.offsets, _ATOMS)

    def _run(
        self, structures, species, batch, values, cotangent, gradient=_NOTHING,
        virial=_NO_JACOBIAN[0], gradients=_NO_JACOBIAN[0], strains=_NO_JACOBIAN[1],
    ):  # fmt: skip
        """Call the compiled function on a batch of structures, in threads."""
        x = structures[batch]
        pairs = self._neighbors(structures, x, batch)
        arguments = (
            x.offsets, species[_atoms(structures, batch)], pairs.offsets, pairs.indices,
            pairs.vectors, self.blocks()[0], self.function, self.weighting, self._numbers(),
            self.grid.table(), self.grid.n, values, cotangent, gradient, virial, gradients,
            strains,
        )  # fmt: skip

        def work(rows):
            spectra(rows.start, rows.stop, *arguments)

        with ThreadTeam(available_threads()) as team:
            deque(team.map(work, split_rows(len(x), _STRUCTURES)), 0)

    def _numbers(self):
        grid = self.grid
        return np.array(
            [
                self.cutoff, self.decay, self.sharpness, grid.low - 0.5 * grid.spacing,
                1 / grid.spacing, grid.spacing / grid.sigma, 1 / grid.sigma,
            ]
        )  # fmt: skip

    def _neighbors(self, structures, x, batch):
        """Neighbours of a batch; all pairs of molecules if there is no cutoff."""
        cutoff = self.cutoff
        if np.isinf(cutoff):
            starts = x.offsets[:-1]
            extent = np.maximum.reduceat(x.positions, starts) - np.minimum.reduceat(
                x.positions, starts
            )
            cutoff = 1.001 * np.linalg.norm(extent, axis=1).max() + 0.1
        try:
            return neighbor_list(x, cutoff)
        except ValueError:
            if batch.start > 0:  # once more for all, with the number of the structure
                neighbor_list(structures, cutoff)
            raise


def _atoms(structures, batch):
    return slice(structures.offsets[batch.start], structures.offsets[batch.stop])
