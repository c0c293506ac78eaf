"""Spectra of functions of pairs and triples of atoms, one for each combination of elements."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement

import numpy as np
from scipy.special import ndtr

from skatom.descriptors._cpu.spectra import N_POWERS, spectra
from skatom.memory import check_memory
from skatom.neighbors import neighbor_list
from skatom.parallel import ThreadTeam, available_threads, split_rows
from skatom.structures import groups_by_size

# Where a Gaussian ends, in standard deviations; a 1e-15 of it is farther.
REACH = 8.0
# Distance of the places for which a cell's integral is expanded, in standard deviations.
_STEP = 1 / 64
# Atoms whose neighbours are known at a time, and structures that a thread works on.
_ATOMS, _STRUCTURES = 2**13, 16

_NOTHING = np.empty((0, 0))
_NO_VIRIAL, _NO_STRAINS = np.empty((0, 0, 0)), np.empty((0, 0, 0, 0))


@dataclass(frozen=True)
class SpectrumGrid:
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
        half = int(np.ceil(REACH / spread)) + 1
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
    grid : SpectrumGrid
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
    grid: SpectrumGrid
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
        for batch, run in self._batches(structures, species):
            run(values=values[batch])
        return values

    def pullback(self, structures, species, cotangent):
        """Gradient (n_atoms, 3) and virial (n, 3, 3) of Σ cotangent · values."""
        gradient = np.zeros((len(structures.numbers), 3))
        virial = np.zeros((len(structures), 3, 3))
        for batch, run in self._batches(structures, species):
            atoms = _atoms(structures, batch)
            own = np.require(cotangent[batch], float, ["C", "W"])
            run(cotangent=own, gradient=gradient[atoms], virial=virial[batch])
        return gradient, virial

    def jacobian(self, structures, species):
        """Gradients (n_atoms, 3, n_features) and strains (n, 3, 3, n_features)."""
        gradients = np.zeros((len(structures.numbers), 3, self.n_features))
        strains = np.zeros((len(structures), 3, 3, self.n_features))
        for batch, run in self._batches(structures, species):
            atoms = _atoms(structures, batch)
            run(gradients=gradients[atoms], strains=strains[batch])
        return gradients, strains

    def _batches(self, structures, species):
        """Batches of structures, and functions that run the compiled loop on them."""
        given = self.blocks()[0], self.function, self.weighting, self._numbers(), self.grid.table()
        for batch, x, pairs in neighbors_in_batches(structures, self.cutoff):
            own = species[_atoms(structures, batch)]
            neighbors = pairs.offsets, pairs.indices, pairs.vectors
            yield batch, partial(_run, len(x), x.offsets, own, *neighbors, *given, self.grid.n)

    def _numbers(self):
        grid = self.grid
        return np.array(
            [
                self.cutoff, self.decay, self.sharpness, grid.low - 0.5 * grid.spacing,
                1 / grid.spacing, grid.spacing / grid.sigma, 1 / grid.sigma,
            ]
        )  # fmt: skip


def _run(
    n, *given, values=_NOTHING, cotangent=_NOTHING, gradient=_NOTHING, virial=_NO_VIRIAL,
    gradients=_NO_VIRIAL, strains=_NO_STRAINS,
):  # fmt: skip
    """Call the compiled function on n structures, in threads."""

    def work(rows):
        arrays = values, cotangent, gradient, virial, gradients, strains
        spectra(rows.start, rows.stop, *given, *arrays)

    with ThreadTeam(available_threads()) as team:
        deque(team.map(work, split_rows(n, _STRUCTURES)), 0)


def neighbors_in_batches(structures, cutoff):
    """Batches of structures, as slices and `Structures`, and their neighbour lists.

    An infinite cutoff makes the lists of all pairs of molecules.
    """
    for batch in groups_by_size(structures.offsets, _ATOMS):
        x = structures[batch]
        within = _beyond_all(x) if np.isinf(cutoff) else cutoff
        try:
            pairs = neighbor_list(x, within)
        except ValueError:
            if batch.start > 0:  # once more for all, with the number of the structure
                neighbor_list(structures, within)
            raise
        yield batch, x, pairs


def _beyond_all(structures):
    """A distance beyond those of all pairs of atoms of a structure."""
    positions, starts = structures.positions, structures.offsets[:-1]
    low, high = (extreme.reduceat(positions, starts) for extreme in (np.minimum, np.maximum))
    return 1.001 * np.linalg.norm(high - low, axis=1).max() + 0.1


def counts_of_species(structures, species, n_species):
    """Number of atoms of every species in each structure, (n, n_species)."""
    owners = np.repeat(np.arange(len(structures)), structures.n_atoms)
    size = len(structures) * n_species
    counts = np.bincount(owners * n_species + species, minlength=size)
    return counts.reshape(-1, n_species).astype(float)


def _atoms(structures, batch):
    return slice(structures.offsets[batch.start], structures.offsets[batch.stop])
