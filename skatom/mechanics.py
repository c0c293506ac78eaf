"""Bulk moduli, barriers and supercells: tests of a model beyond single energies and forces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.eos import EquationOfState
from ase.optimize import FIRE
from ase.units import GPa

from skatom._typing import Estimator, PathLike, StructuresLike
from skatom._warnings import warn
from skatom.calculators import SkatomCalculator, as_calculator
from skatom.simulation.band import ElasticBand
from skatom.simulation.trajectory import TrajectoryFile, frozen
from skatom.structures import Structures, as_structures
from skatom.targets import Targets, as_targets

__all__ = ["BulkModulus", "ReactionPath", "barrier", "bulk_modulus", "tile"]


@dataclass(frozen=True)
class BulkModulus:
    """The equation of state of a crystal or a glass.

    Attributes
    ----------
    value : float
        Bulk modulus in GPa at the volume of the lowest energy.
    volume : float
        That volume in Å³.
    energy : float
        The lowest energy in eV.
    volumes, energies : ndarray of float, shape (n,)
        The points of the curve.
    images : list of ase.Atoms
        Their structures, with their energies.
    equation : str
        Name of the equation of state.
    """

    value: float
    volume: float
    energy: float
    volumes: np.ndarray
    energies: np.ndarray
    images: list
    equation: str


def bulk_modulus(
    model: Estimator,
    atoms: Any,
    strain: float = 0.03,
    n_points: int = 9,
    equation: str = "birchmurnaghan",
) -> BulkModulus:
    r"""Bulk modulus of the energy of a model or a calculator.

    .. math:: K = V \frac{\partial^2 E}{\partial V^2}

    at the lowest energy, by an equation of state through energies at several volumes. All cell
    vectors are scaled by the same factor; atoms keep their places in units of the cell.

    Parameters
    ----------
    model : fitted estimator, Pipeline, search, or ASE calculator
        A model that predicts energies.
    atoms : ase.Atoms
        A structure that is periodic in three directions, near its lowest energy.
    strain : float, default=0.03
        Largest change of the edges, relative: the volume changes by three times as much.
    n_points : int, default=9
        Number of volumes, at least 5.
    equation : str, default="birchmurnaghan"
        Equation of state, a name that `ase.eos.EquationOfState` knows.

    Returns
    -------
    BulkModulus

    Raises
    ------
    ValueError
        If the structure is not periodic, there are too few points, or the energy has no minimum
        between the smallest and the largest volume.

    References
    ----------
    F. Birch, Phys. Rev. 71, 809 (1947).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skatom.mechanics import bulk_modulus
    >>> round(bulk_modulus(EMT(), bulk("Cu", a=3.6)).value)
    134
    """
    if not atoms.pbc.all():
        raise ValueError(
            "a bulk modulus needs a structure that is periodic in three directions: set pbc=True "
            "and a cell"
        )
    if n_points < 5 or not 0 < strain < 0.5:
        raise ValueError(
            f"n_points={n_points} and strain={strain} must be at least 5 and between 0 and 0.5"
        )
    factors = 1 + np.linspace(-strain, strain, n_points)
    images = [_scaled(atoms, factor, as_calculator(model)) for factor in factors]
    volumes = np.array([image.get_volume() for image in images])
    energies = np.array([image.get_potential_energy() for image in images])
    lowest = int(np.argmin(energies))
    if lowest in (0, n_points - 1):
        raise ValueError(
            f"the energy has no minimum between the volumes {volumes[0]:.4g} and "
            f"{volumes[-1]:.4g} Å³, it is lowest at {volumes[lowest]:.4g} Å³: relax the cell "
            "first, or raise strain"
        )
    offset = energies[lowest]  # small numbers make good first guesses of the fit
    volume, energy, value = EquationOfState(volumes, energies - offset, eos=equation).fit()
    return BulkModulus(
        float(value / GPa), float(volume), float(energy + offset), volumes, energies, images,
        equation,
    )  # fmt: skip


def _scaled(atoms, factor, calculator):
    """A copy with all cell vectors scaled, whose energy was computed."""
    image = atoms.copy()
    image.set_cell(factor * atoms.cell, scale_atoms=True)
    image.calc = calculator
    image.get_potential_energy()
    return frozen(image)


@dataclass(frozen=True)
class ReactionPath:
    """The path of lowest energy between two minima.

    Attributes
    ----------
    forward, backward : float
        Barriers in eV: the highest energy less that of the first or of the last image.
    energies : ndarray of float, shape (n_images,)
        Energies in eV.
    images : list of ase.Atoms
        The structures along the path, with their calculators.
    converged : bool
        Whether the forces on the path are below ``fmax``.
    """

    forward: float
    backward: float
    energies: np.ndarray
    images: list
    converged: bool


def barrier(
    model: Estimator,
    initial: Any,
    final: Any,
    n_images: int = 7,
    fmax: float = 0.05,
    max_steps: int = 300,
    spring: float = 0.1,
    *,
    trajectory: str | PathLike | None = None,
    resume: bool = False,
    verbose: int = 0,
) -> ReactionPath:
    """Barrier between two minima of the energy of a model or a calculator.

    The two structures are relaxed at fixed cells, joined by a nudged elastic band, and the band is
    relaxed, too, in the end with a climbing image [1]_. Images of molecules may turn and move.

    Parameters
    ----------
    model : fitted estimator, Pipeline, search, or ASE calculator
        A model that predicts energies and forces.
    initial, final : ase.Atoms
        The structures, with their atoms in the same order. They are not changed.
    n_images : int, default=7
        Number of images, the two ends included, at least 3.
    fmax : float, default=0.05
        Largest force in eV/Å at which relaxations end.
    max_steps : int, default=300
        Largest number of steps of each relaxation.
    spring : float, default=0.1
        Spring constant of the band in eV/Å².
    trajectory : str or path-like, default=None
        File of the band's images after each step, a name in .traj.
    resume : bool, default=False
        Whether to go on from the last band of ``trajectory``, if there is such a file.
    verbose : int, default=0
        Whether to count the steps on stderr.

    Returns
    -------
    ReactionPath

    Raises
    ------
    ValueError
        If there are fewer than 3 images, the structures have different atoms, or the trajectory
        belongs to something else.

    Warns
    -----
    UserWarning
        If the band is not converged.

    References
    ----------
    .. [1] G. Henkelman, B. P. Uberuaga, H. Jónsson, J. Chem. Phys. 113, 9901 (2000).

    Examples
    --------
    An atom that passes between three others:

    >>> from ase import Atoms
    >>> from ase.calculators.morse import MorsePotential
    >>> from skatom.mechanics import barrier
    >>> base = [[1, 0, 0], [-0.5, 0.87, 0], [-0.5, -0.87, 0]]
    >>> ends = [Atoms("Ar4", [*base, [0, 0, z]]) for z in (-1.4, 1.4)]
    >>> path = barrier(MorsePotential(r0=1.7), *ends)
    >>> bool(abs(path.forward - path.backward) < 0.01 < path.forward)
    True
    """
    if n_images < 3:
        raise ValueError(f"n_images={n_images} must be 3 or more: two ends and one between them")
    if not np.array_equal(initial.numbers, final.numbers):
        raise ValueError(
            f"the structures have the atoms {initial.symbols} and {final.symbols}: give the same "
            "atoms in the same order"
        )
    images = [initial.copy() for _ in range(n_images - 1)] + [final.copy()]
    calculator = as_calculator(model)
    for image in images:
        image.calc = SkatomCalculator(model) if calculator is not model else calculator
    settings = {"kind": "band", "n_images": n_images, "symbols": str(initial.symbols)}
    with TrajectoryFile(trajectory, settings, resume, n_together=n_images) as file:
        band = ElasticBand(images, spring, file, verbose)
        if band.is_new:
            _relax_ends(images, fmax, max_steps)
        else:
            file.check_model(images[-1])
        converged = band.relax(fmax, max_steps)
    if not converged:
        warn(
            f"the band is not converged to fmax={fmax} eV/Å in {max_steps} steps: raise max_steps",
        )
    energies = np.array([image.get_potential_energy() for image in images])
    forward, backward = energies.max() - energies[[0, -1]]
    return ReactionPath(float(forward), float(backward), energies, images, converged)


def _relax_ends(images, fmax, max_steps):
    for end in (images[0], images[-1]):
        FIRE(end, logfile=None).run(fmax=fmax, steps=max_steps)
    for image in images[1:-1]:
        image.positions[:] = images[0].positions


def tile(
    X: StructuresLike, y: Targets | None = None, repeats: tuple[int, ...] = (2, 1, 1)
) -> Structures | tuple:
    """Supercells of periodic structures, with their labels.

    A model whose energies are sums over atoms has the same errors for each cell of a supercell; one
    whose energies are not shows it here. Energies are multiplied by the number of cells, forces are
    repeated, and stresses stay the same.

    Parameters
    ----------
    X : Structures or list of ase.Atoms
        The n structures.
    y : Targets, default=None
        Labels: energies, forces and stresses.
    repeats : tuple of three int, default=(2, 1, 1)
        Number of cells along each cell vector.

    Returns
    -------
    Structures, or tuple of Structures and Targets
        The supercells, cell after cell, and their labels if ``y`` is given.

    Raises
    ------
    ValueError
        If a structure is repeated along a direction in which it is not periodic, or there are
        other labels.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.datasets import load_boron_nitride
    >>> from skatom.mechanics import tile
    >>> data = load_boron_nitride()
    >>> structures, targets = tile(data.structures[:2], data.targets[:2])
    >>> structures.n_atoms, bool(np.all(targets.energy == 2 * data.targets[:2].energy))
    (array([128, 128]), True)
    """
    structures, repeats = as_structures(X), np.asarray(repeats)
    if repeats.shape != (3,) or repeats.dtype.kind != "i" or (repeats < 1).any():
        raise ValueError(f"repeats={repeats.tolist()} must be three integers of at least 1")
    open_ends = (~structures.pbc & (repeats > 1)).any(axis=1)
    if open_ends.any():
        raise ValueError(
            f"structure {np.argmax(open_ends)} is not periodic along a direction in which it is to "
            f"be repeated: lower repeats={tuple(repeats.tolist())} there to 1"
        )
    tiled = Structures.from_ase([atoms.repeat(repeats) for atoms in structures.to_ase()])
    return tiled if y is None else (tiled, _tiled_labels(as_targets(y, structures), tiled, repeats))


def _tiled_labels(targets, tiled, repeats):
    others = sorted(set(targets.names) - {"energy", "forces", "stress"})
    if others:
        raise ValueError(
            f"labels of {', '.join(others)} cannot be repeated: give Targets of energies, forces "
            "and stresses alone"
        )
    n = int(np.prod(repeats))
    found = {name: getattr(targets, name) for name in targets.names}
    if "energy" in found:
        found["energy"] = n * found["energy"]
    if "forces" in found:
        edges = targets.offsets
        parts = [found["forces"][a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
        found["forces"] = np.concatenate([np.tile(part, (n, 1)) for part in parts])
    return Targets(**found, offsets=tiled.offsets)
