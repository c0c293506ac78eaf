"""Searches of crystal structures: random starts, relaxed by a potential that learns of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cell import Cell
from ase.units import GPa

from skatom._warnings import warn
from skatom.active.adaptive_sampling import AdaptiveSampling
from skatom.simulation import relax

# Trials to place an atom, and cells to try, before there is no room.
_TRIALS, _CELLS = 200, 50
_IMAGES = np.array(list(product((-1, 0, 1), repeat=3)))
_SMALLEST_ANGLE, _LARGEST_RATIO = 60.0, 2.0


def random_crystals(
    symbols: str,
    n: int,
    *,
    volume: float,
    min_distance: float,
    seed: int = 0,
) -> list[Atoms]:
    r"""Cells of random shapes with atoms at random places, to begin a search with.

    .. math:: V = N v, \qquad |r_i - r_j - h\,m| \ge d \quad \text{for all images } m \in
        \{-1, 0, 1\}^3

    Angles are between 60° and 120°, edges within a factor of 2 before the cell is scaled. There is
    no symmetry but that of the lattice.

    Parameters
    ----------
    symbols : str
        The atoms of a cell, such as ``"Cu2Au2"``.
    n : int
        Number of cells.
    volume : float
        Volume v of an atom in Å³.
    min_distance : float
        Smallest distance d of two atoms in Å, images included.
    seed : int, default=0
        Seed of the random numbers.

    Returns
    -------
    list of ase.Atoms

    Raises
    ------
    ValueError
        If a number is not positive, or there is no room for the atoms.

    Examples
    --------
    >>> from skatom.active import random_crystals
    >>> crystals = random_crystals("Cu2Au2", 5, volume=15.0, min_distance=2.0)
    >>> len(crystals), round(float(crystals[0].get_volume()), 6)
    (5, 60.0)
    """
    if n < 1 or not volume > 0 or not min_distance > 0:
        raise ValueError(
            f"n={n}, volume={volume:g}, min_distance={min_distance:g}: all must be positive"
        )
    rng = np.random.default_rng(seed)
    return [_random_crystal(Atoms(symbols), volume, min_distance, rng) for _ in range(n)]


def find_minima(
    sampling: AdaptiveSampling,
    starts: Sequence,
    *,
    fmax: float = 0.05,
    max_steps: int = 500,
    optimizer: str = "bfgs",
    cell: bool = True,
    pressure: float = 0.0,
    max_rounds: int = 50,
    energy_tol: float = 1e-3,
    volume_tol: float = 0.02,
) -> list[Atoms]:
    r"""Relax many structures with a potential that learns of them, and keep the distinct minima.

    .. math:: \min_{R, h} E(R, h) + p V(h) \quad\text{from each start, stopped where }
        \text{score}(R, h) > \text{threshold}

    All starts are relaxed with the present model; those that are stopped give the next batch of
    labels; this is repeated until no relaxation is stopped [1]_. So no minimum is beyond what the
    model knows. Two minima are one if composition, energy and volume of an atom agree.

    Parameters
    ----------
    sampling : AdaptiveSampling
        The model, its reference and its labels, which learns.
    starts : list of ase.Atoms
        Structures to begin with, such as `random_crystals`.
    fmax : float, default=0.05
        The largest force on an atom, in eV/Å, at which a relaxation ends.
    max_steps : int, default=500
        Largest number of steps of a relaxation.
    optimizer : {"bfgs", "fire", "lbfgs"}, default="bfgs"
        The method of ASE.
    cell : bool, default=True
        Whether to relax the cells, too, of structures that are periodic in three directions.
    pressure : float, default=0.0
        Pressure in GPa, for ``cell``.
    max_rounds : int, default=50
        The most rounds.
    energy_tol : float, default=1e-3
        Difference in eV an atom below which energies agree.
    volume_tol : float, default=0.02
        Relative difference below which volumes agree, of periodic structures.

    Returns
    -------
    list of ase.Atoms
        The distinct minima, lowest energy (with a pressure: enthalpy) an atom first, with energy
        and forces of the model. ``info`` of each has the "starts" that led to it.

    Raises
    ------
    RuntimeError
        If the reference fails, or relaxations are still stopped after the last round.

    Warns
    -----
    UserWarning
        If relaxations have not come to an end after ``max_steps``; they are left out.

    References
    ----------
    .. [1] E. V. Podryabinkin, E. V. Tikhonov, A. V. Shapeev, A. R. Oganov, Phys. Rev. B 99, 064114
       (2019).

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.active import AdaptiveSampling, find_minima
    >>> from skatom.descriptors import MomentTensor
    >>> from skatom.models import LinearPotential
    >>> from skatom.selection import MaxVol
    >>> starts = [bulk("Cu", a=3.5), bulk("Cu", "bcc", a=2.9), bulk("Cu", a=3.7)]
    >>> tensors = MomentTensor(cutoff=5.0, level=8)
    >>> sampling = AdaptiveSampling(
    ...     make_pipeline(tensors, LinearPotential(alpha=1e-8)), EMT(),
    ...     MaxVol(tensors, rows="atom"), threshold=5.0, folder=mkdtemp(), initial=starts,
    ... )
    >>> [atoms.info["starts"] for atoms in find_minima(sampling, starts)]
    [[0, 2], [1]]
    """
    settings = {
        "fmax": fmax, "max_steps": max_steps, "optimizer": optimizer, "cell": cell,
        "pressure": pressure,
    }  # fmt: skip
    sampling.run([partial(_relaxed, start, settings) for start in starts], max_rounds=max_rounds)
    found = list(enumerate(sampling.results_))
    going = [k for k, (_, _, converged) in found if not converged]
    if going:
        warn(
            f"{len(going)} of {len(found)} relaxations have not come to an end after max_steps="
            f"{max_steps}, and are left out: starts {', '.join(map(str, going))}"
        )
    ended = [(enthalpy, atoms, k) for k, (enthalpy, atoms, converged) in found if converged]
    return _distinct(ended, energy_tol, volume_tol)


def _relaxed(start, settings, calculator):
    """Enthalpy of an atom, the last structure with its results, and whether it is a minimum."""
    found = relax(calculator, start, **settings)
    atoms = found.atoms.copy()
    results = {name: found.atoms.calc.get_property(name, atoms) for name in ("energy", "forces")}
    atoms.calc = SinglePointCalculator(atoms, **results)
    enthalpy = results["energy"]
    if settings["pressure"]:
        enthalpy += settings["pressure"] * GPa * atoms.get_volume()
    return enthalpy / len(atoms), atoms, found.converged


def _distinct(found, energy_tol, volume_tol):
    """Minima by enthalpy, each with the numbers of its starts."""
    minima = []
    for enthalpy, atoms, k in sorted(found, key=lambda each: each[0]):
        for known, other in minima:
            near = abs(enthalpy - known) < energy_tol
            if near and _is_like(atoms, other, volume_tol):
                other.info["starts"] = sorted([*other.info["starts"], k])
                break
        else:
            atoms.info["starts"] = [k]
            minima.append((enthalpy, atoms))
    return [atoms for _, atoms in minima]


def _is_like(atoms, other, volume_tol):
    """Whether composition and volume of an atom are the same."""
    shares, others = (
        np.bincount(each.numbers, minlength=119) / len(each) for each in (atoms, other)
    )
    if not np.allclose(shares, others):
        return False
    if not (atoms.cell.rank == other.cell.rank == 3):
        return len(atoms) == len(other)
    volumes = [each.get_volume() / len(each) for each in (atoms, other)]
    return abs(volumes[0] - volumes[1]) < volume_tol * max(volumes)


def _random_crystal(atoms, volume, min_distance, rng):
    for _ in range(_CELLS):
        cell = _random_cell(len(atoms) * volume, rng)
        positions = _random_places(cell, len(atoms), min_distance, rng)
        if positions is not None:
            return Atoms(atoms.numbers, positions, cell=cell, pbc=True)
    raise ValueError(
        f"{len(atoms)} atoms at least {min_distance:g} Å apart find no room in "
        f"{len(atoms) * volume:g} Å³: raise volume or lower min_distance"
    )


def _random_cell(volume, rng):
    """A cell that is not too skewed."""
    while True:
        edges = rng.uniform(1, _LARGEST_RATIO, 3)
        angles = rng.uniform(_SMALLEST_ANGLE, 180 - _SMALLEST_ANGLE, 3)
        if angles.sum() < 340:  # beyond, cells are nearly flat
            cell = Cell.fromcellpar([*edges, *angles])
            return np.array(cell) * (volume / cell.volume) ** (1 / 3)


def _random_places(cell, n, min_distance, rng):
    """Positions one after the other; None if there is no room."""
    images = _IMAGES @ cell
    own = np.linalg.norm(images, axis=1)
    if own[own > 0].min() < min_distance:
        return None
    positions = np.empty((0, 3))
    for _ in range(_TRIALS * n):
        trial = rng.uniform(size=3) @ cell
        distances = np.linalg.norm(positions[:, None] - trial + images, axis=2)
        if (distances >= min_distance).all():
            positions = np.concatenate([positions, trial[None]])
        if len(positions) == n:
            return positions
    return None
