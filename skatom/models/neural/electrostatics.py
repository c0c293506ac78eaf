r"""Energies of charges of atoms, in molecules or in crystals by Ewald's sum, and their derivatives.

.. math::
    E = \frac{k}{2} \sum_{i,j} A_{ij} q_i q_j, \qquad
    A_{ij} = \sum_{\mathbf L} \frac{\mathrm{erf}(b |\mathbf r_{ij} + \mathbf L|)}
        {|\mathbf r_{ij} + \mathbf L|}, \qquad b = \frac{1}{2 \sigma}

for Gaussian charges of the width σ. The limit :math:`2 b / \sqrt\pi` at r = 0 is the energy of a
charge within itself, which keeps the sum small where charges of both signs are neighbours, so that
it is easy to learn; points (σ = 0, b infinite) have none.
In a crystal the sum is divided into one of short range, with
:math:`\mathrm{erf}(b r) - \mathrm{erf}(a r)`, and one over waves; none of both is left of a wide
charge in a small cell. A charged cell has a uniform background.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from ase import units
from scipy.special import erf

from skatom._cpu.voigt import VOIGT
from skatom.memory import check_memory
from skatom.neighbors import neighbor_list
from skatom.parallel import threads_over_blas

COULOMB = units.Hartree * units.Bohr  # e²/4πε₀, eV Å
# Where both sums end: exp(-_REACH²) of their first terms is left.
_REACH = 4.9
# How much longer a pair takes than a wave of an atom.
_PAIR_COST = 3.0
# Products of atoms and waves in memory at once.
_TOGETHER = 2**20
_TWO_OVER_ROOT_PI = 2 / np.sqrt(np.pi)


def check_directions(structures, owner):
    """Raise a ValueError unless each structure is periodic in three directions or in none."""
    n = structures.pbc.sum(axis=1)
    bad = np.flatnonzero((n != 0) & (n != 3))
    if len(bad):
        raise ValueError(
            f"structure {bad[0]} is periodic in {n[bad[0]]} of three directions, and the charges "
            f"of {owner} need none or all: set pbc=True with vacuum, or pbc=False"
        )


def with_total(charges, offsets, total):
    """Charges of atoms with the same number added to all of a structure, whose sum is the total."""
    n = np.diff(offsets)
    return charges + np.repeat((total - np.add.reduceat(charges, offsets[:-1])) / n, n)


def less_mean(numbers, offsets):
    """Numbers of atoms less their mean in each structure: what `with_total` makes of changes."""
    return with_total(numbers, offsets, 0.0)


class ChargePairs:
    """The terms of A of one structure.

    Parameters
    ----------
    structure : Structures
        One of them.
    width : float
        σ in Å; 0: points.

    Attributes
    ----------
    n : int
        Number of atoms.
    centers, indices : ndarray of int, shape (n_pairs,)
        Both atoms of each pair, which is there from both ends.
    values, slopes : ndarray of float, shape (n_pairs,)
        What a pair adds to A, and the derivative by its distance, divided by the distance.
    vectors : ndarray of float, shape (n_pairs, 3)
    waves : ndarray of float, shape (n_waves, 3)
        One of G and -G.
    weights, turns : ndarray of float, shape (n_waves,)
        Factors w of the waves, and c in dw/dε = w (c G G - 1).
    own, background : float
        What is added to the diagonal, and to all of A.
    """

    def __init__(self, structure, width):
        self.n, self.positions = len(structure.numbers), structure.positions
        sharpness = 0.5 / width if width > 0 else np.inf
        if structure.pbc.any():
            self._of_crystal(structure, sharpness)
        else:
            self._of_molecule(sharpness)

    def _of_molecule(self, sharpness):
        self.centers, self.indices = np.nonzero(~np.eye(self.n, dtype=bool))
        self.vectors = self.positions[self.indices] - self.positions[self.centers]
        self._of_pairs(sharpness, 0.0)
        self.waves, self.weights, self.turns = np.zeros((0, 3)), np.zeros(0), np.zeros(0)
        self.own, self.background = _within_itself(sharpness), 0.0

    def _of_crystal(self, structure, sharpness):
        volume = structure.volumes()[0]
        a = min(np.sqrt(np.pi) * (_PAIR_COST * self.n / volume**2) ** (1 / 6), sharpness)
        if a < sharpness:
            pairs = neighbor_list(structure, _REACH / a)
            self.centers, self.indices, self.vectors = pairs.centers, pairs.indices, pairs.vectors
        else:
            self.centers = self.indices = np.zeros(0, int)
            self.vectors = np.zeros((0, 3))
        self._of_pairs(sharpness, a)
        self.waves = _waves(structure.cells[0], 2 * a * _REACH)
        squares = np.sum(self.waves**2, axis=1)
        self.weights = 8 * np.pi / volume * np.exp(-squares / (4 * a * a)) / squares
        self.turns = 2 * (1 / squares + 1 / (4 * a * a))
        self.own = _within_itself(sharpness) - _TWO_OVER_ROOT_PI * a
        self.background = -np.pi / volume * (1 / a**2 - 1 / sharpness**2)

    def _of_pairs(self, b, a):
        r = np.linalg.norm(self.vectors, axis=1)
        if len(r) and r.min() < 1e-3:
            k = int(r.argmin())
            raise ValueError(
                f"atoms {self.centers[k]} and {self.indices[k]} of a structure are at the same "
                "place: their charges have no energy; remove one"
            )
        broad = erf(a * r)
        sharp = np.ones_like(r) if np.isinf(b) else erf(b * r)
        self.values = (sharp - broad) / r
        slopes = _TWO_OVER_ROOT_PI * (_bell(b, r) - _bell(a, r)) - self.values
        self.slopes = slopes / r**2

    @cached_property
    def phases(self):
        """Cosines and sines of the waves at the atoms, each (n, n_waves)."""
        check_memory(
            32.0 * self.n * len(self.waves),
            f"the phases of {len(self.waves)} waves at {self.n} atoms",
            "take smaller structures",
        )
        angles = self.positions @ self.waves.T
        return np.cos(angles), np.sin(angles)

    def matrix(self):
        """A (n, n)."""
        cosines, sines = self.phases
        found = (cosines * self.weights) @ cosines.T + (sines * self.weights) @ sines.T
        found += self._scattered(self.values) + self.background
        found[np.diag_indices(self.n)] += self.own
        return found

    def slopes_by_vectors(self):
        """∂A_ij/∂(r_j - r_i), (3, n, n)."""
        cosines, sines = self.phases
        found = np.empty((3, self.n, self.n))
        for axis in range(3):
            weights = self.weights * self.waves[:, axis]
            half = (sines * weights) @ cosines.T
            found[axis] = half - half.T
            found[axis] += self._scattered(self.slopes * self.vectors[:, axis])
        return found

    def slopes_by_strain(self):
        """∂A/∂ε in the components xx, yy, zz, yz, xz, xy, (6, n, n)."""
        cosines, sines = self.phases
        found = np.empty((6, self.n, self.n))
        for k, (p, q) in enumerate(zip(*VOIGT, strict=True)):
            weights = self.weights * (self.turns * self.waves[:, p] * self.waves[:, q] - (p == q))
            found[k] = (cosines * weights) @ cosines.T + (sines * weights) @ sines.T
            found[k] += self._scattered(self.slopes * self.vectors[:, p] * self.vectors[:, q])
            found[k] -= self.background * (p == q)
        return found

    def _scattered(self, values):
        places = self.centers * self.n + self.indices
        return np.bincount(places, values, self.n**2).reshape(self.n, self.n)

    def sums(self, charges, derivatives):
        """A q (n,), ∂E/∂R (n, 3) and ∂E/∂ε (3, 3) of E = ½ q A q, the latter two if wanted."""
        q = charges
        potentials = self.own * q + self.background * q.sum()
        potentials += np.bincount(self.centers, self.values * q[self.indices], self.n)
        gradient, virial = np.zeros((self.n, 3)), np.zeros((3, 3))
        if derivatives:
            pulls = (self.slopes * q[self.centers] * q[self.indices])[:, None] * self.vectors
            for axis in range(3):
                gradient[:, axis] = -np.bincount(self.centers, pulls[:, axis], self.n)
            virial = 0.5 * self.vectors.T @ pulls
            virial -= 0.5 * self.background * q.sum() ** 2 * np.eye(3)
        step = max(1, _TOGETHER // self.n)
        for start in range(0, len(self.waves), step):
            self._add_waves(
                slice(start, start + step), q, potentials, gradient, virial, derivatives
            )
        return potentials, gradient, virial

    def _add_waves(self, some, q, potentials, gradient, virial, derivatives):
        waves, weights = self.waves[some], self.weights[some]
        angles = self.positions @ waves.T
        cosines, sines = np.cos(angles), np.sin(angles)
        real, imaginary = q @ cosines, q @ sines
        potentials += cosines @ (weights * real) + sines @ (weights * imaginary)
        if not derivatives:
            return
        along = cosines * (weights * imaginary) - sines * (weights * real)
        gradient += q[:, None] * (along @ waves)
        energies = 0.5 * weights * (real**2 + imaginary**2)
        virial += (waves * (energies * self.turns[some])[:, None]).T @ waves
        virial -= energies.sum() * np.eye(3)


def _within_itself(sharpness):
    return 0.0 if np.isinf(sharpness) else _TWO_OVER_ROOT_PI * sharpness


def _bell(a, r):
    """a exp(-(a r)²), zero for points."""
    return np.zeros_like(r) if np.isinf(a) else a * np.exp(-((a * r) ** 2))


def _waves(cell, longest):
    """Vectors of the reciprocal lattice that are not longer, one of G and -G, (n_waves, 3)."""
    reciprocal = 2 * np.pi * np.linalg.inv(cell).T
    high = np.floor(longest * np.linalg.norm(cell, axis=1) / (2 * np.pi)).astype(int)
    count = float(np.prod(2.0 * high + 1))
    check_memory(24 * count, f"{count:.0f} waves of a cell", "give primitive cells, and in Å")
    grids = np.meshgrid(*(np.arange(-h, h + 1) for h in high), indexing="ij")
    steps = np.stack([g.ravel() for g in grids], axis=1)[len(grids[0].ravel()) // 2 + 1 :]
    waves = steps @ reciprocal
    return waves[np.sum(waves**2, axis=1) <= longest**2]


def electrostatic_sums(structures, charges, width, derivatives):
    """Potentials and derivatives of charges of the atoms of structures.

    Parameters
    ----------
    structures : Structures
    charges : ndarray of float, shape (n_atoms,), e
    width : float
    derivatives : bool

    Returns
    -------
    potentials : ndarray of float, shape (n_atoms,), eV/e
        E is half of the sum of charge times potential.
    gradient : ndarray of float, shape (n_atoms, 3), eV/Å
        ∂E/∂R of constant charges; zeros if not wanted.
    virial : ndarray of float, shape (n, 3, 3), eV
    """

    def of(s):
        own = slice(*structures.offsets[s : s + 2])
        return ChargePairs(structures[s], width).sums(charges[own], derivatives)

    with threads_over_blas() as team:
        found = list(team.map(of, range(len(structures))))
    potentials, gradients, virials = zip(*found, strict=True)
    return (
        COULOMB * np.concatenate(potentials), COULOMB * np.concatenate(gradients),
        COULOMB * np.stack(virials),
    )  # fmt: skip
