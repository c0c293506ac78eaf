"""Spline tables of the energies of pairs and triangles, made from a kernel expansion."""

from itertools import product

import numpy as np
from scipy.interpolate import make_interp_spline

from skatom._cpu.pairs import collect
from skatom._warnings import warn
from skatom.base import Predictor
from skatom.kernels.nbody.features import RadialBasis
from skatom.kernels.nbody.nplets import find_pairs
from skatom.memory import check_memory
from skatom.models._cpu import splines as _cpu
from skatom.parallel import run_in_threads
from skatom.structures import structure_of

# Knots beyond both ends, which keep the end conditions of the spline out of the range.
_MARGIN = 10


class SplineTables:
    """The pairs or triangles of one kernel, a table for each combination of elements.

    Parameters
    ----------
    expansion : NPletExpansion
    species : ndarray of int
    r_min : float
        The first knot in Å; the last is at the cutoff.
    n_knots : int
    max_memory : float or None

    Attributes
    ----------
    coefficients : ndarray of float, shape (n_tables, n_knots + 2) or with three such axes
        B-spline coefficients of the smooth part S of the energy; E = F(T) S(T).
    which : ndarray of int, shape (n_species,) * order
        Index of the table of these species, -1 where there is none.
    places : ndarray of int, shape (n_species,) * 3 + (3,)
        The side of each coordinate of the table.
    grid : tuple of float
        The first knot and the spacing.
    """

    def __init__(self, expansion, species, r_min, n_knots, max_memory=None):
        self.order, self.cutoff = expansion.order, expansion.cutoff
        self.species = species
        step = (self.cutoff.radius - r_min) / (n_knots - 1)
        self.grid = float(r_min), float(step)
        elements = sorted(expansion.centers)
        n_sides = 1 if self.order == 2 else 3
        check_memory(
            8.0 * len(elements) * (n_knots + 2) ** n_sides,
            f"{len(elements)} tables of {n_knots} knots along each side",
            "lower n_knots_triangles" if n_sides == 3 else "lower n_knots_pairs", max_memory,
        )  # fmt: skip
        self.coefficients = np.empty((len(elements), *(n_knots + 2,) * n_sides))
        knots = r_min + step * np.arange(-_MARGIN, n_knots + _MARGIN)
        for k, key in enumerate(elements):
            sides = expansion.centers[key][:n_sides]
            limits = min(knots[0], sides.min()), max(knots[-1], sides.max())
            basis = RadialBasis(*limits, expansion.sigma)
            functions = make_interp_spline(knots, basis(knots)[0], k=3).c
            functions = functions[_MARGIN - 1 : _MARGIN + n_knots + 1]
            table = expansion.tensor(key, basis)
            for _ in range(n_sides - 1):
                table = np.tensordot(table, functions, axes=(0, 1))
            # the last side into its place, without a second table of this size
            out = self.coefficients[k].reshape(-1, len(functions))
            np.matmul(table.reshape(len(table), -1).T, functions.T, out=out)
        self._index(elements)

    def _index(self, elements):
        n = len(self.species)
        self.which = np.full((n,) * self.order, -1)
        self.places = np.zeros((*self.which.shape, 3), np.int64)
        numbers = {key: k for k, key in enumerate(elements)}
        for combination in product(range(n), repeat=self.order):
            order = np.argsort(combination, kind="stable")
            key = tuple(int(self.species[combination[k]]) for k in order)
            self.which[combination] = numbers.get(key, -1)
            self.places[combination][: self.order] = order

    def add(self, pairs, species, energies, gradients):
        """Add the energies of centres (n_atoms,) and dE/dr_ij of pairs (n_pairs, 3).

        Parameters
        ----------
        pairs : Pairs
            Each pair once.
        species : ndarray of int, shape (n_atoms,)
            Indices into the species of the tables.
        energies, gradients : ndarray of float
            Changed in place.
        """
        n_atoms = len(species)
        common = (self.coefficients, self.grid, self.cutoff.compiled, energies)
        if self.order == 2:
            slopes = np.zeros(len(pairs.distances))
            run_in_threads(
                _cpu.pair_splines, n_atoms, pairs.starts, pairs.neighbors, pairs.distances,
                species, self.which, *common, slopes,
            )  # fmt: skip
            gradients += (slopes / pairs.distances)[:, None] * pairs.vectors
        else:
            run_in_threads(
                _cpu.triangle_splines, n_atoms, pairs.starts, pairs.neighbors, pairs.vectors,
                pairs.distances, species, self.which, self.places, *common, gradients,
            )  # fmt: skip

    def single(self, species, sides):
        """Energies (n,) and slopes of n-plets of the same species.

        Parameters
        ----------
        species : sequence of int
            Indices of i, j and k.
        sides : ndarray of float, shape (n, 1), r_ij, or (n, 3), r_ij, r_ik and r_jk
        """
        energies, slopes = np.zeros(len(sides)), np.zeros_like(sides)
        k = self.which[tuple(species)]
        if k < 0:
            return energies, slopes
        table, cutoff = self.coefficients[k], self.cutoff.compiled
        if self.order == 2:
            _cpu.single_pairs(sides[:, 0], table, self.grid, cutoff, energies, slopes[:, 0])
            return energies, slopes
        columns = 2 - self.places[tuple(species)]
        sorted_slopes = np.empty_like(sides)
        ordered = np.ascontiguousarray(sides[:, columns])
        _cpu.single_triangles(ordered, table, self.grid, cutoff, energies, sorted_slopes)
        slopes[:, columns] = sorted_slopes
        return energies, slopes


class SplineExpansion(Predictor):
    """The sum of tables: energies of structures whose species are known.

    Parameters
    ----------
    tables : list of SplineTables
    species : ndarray of int
        Atomic numbers, sorted.
    """

    def __init__(self, tables, species):
        self.tables = tables
        self.species = species

    def energies(self, X):
        """Energies of structures, shape (n,)."""
        return self._sums(X)[0]

    def differentiate(self, X):
        """Energies (n,), ∂E/∂R (n_atoms, 3) and ∂E/∂strain (n, 3, 3)."""
        energies, pairs, gradients = self._sums(X)
        return energies, *collect(
            pairs.starts, pairs.neighbors, pairs.vectors, gradients, X.offsets
        )

    def _sums(self, structures):
        """Energies of structures, the pairs, and derivatives along these."""
        longest = max(float(table.cutoff.radius) for table in self.tables)
        pairs = find_pairs(structures, longest, half=True)
        self._warn_if_close(structures, pairs)
        species = np.searchsorted(self.species, structures.numbers)
        atomic, gradients = np.zeros(len(species)), np.zeros_like(pairs.vectors)
        for table in self.tables:
            table.add(pairs, species, atomic, gradients)
        return np.add.reduceat(atomic, structures.offsets[:-1]), pairs, gradients

    def _warn_if_close(self, structures, pairs):
        r_min = max(table.grid[0] for table in self.tables)
        shortest = pairs.distances.min(initial=np.inf)
        if shortest < r_min:
            atom = pairs.centers[np.argmin(pairs.distances)]
            warn(
                f"structure {structure_of(structures.offsets, atom)} has atoms {shortest:.3g} Å "
                f"apart, closer than r_min={r_min:.3g} Å, where the tables begin: energies are "
                "extrapolated linearly",
            )
