"""Relaxation of atoms and cells."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.units import GPa

from skatom._progress import tqdm
from skatom._typing import Estimator, PathLike
from skatom.calculators import as_calculator
from skatom.simulation.trajectory import TrajectoryFile
from skatom.simulation.watch import DeviationWatch

OPTIMIZERS = {"bfgs": BFGS, "fire": FIRE, "lbfgs": LBFGS}


@dataclass(frozen=True)
class Relaxation:
    """What a relaxation found.

    Attributes
    ----------
    atoms : ase.Atoms
        The last structure, with its calculator.
    converged : bool
        Whether all forces, and with ``cell`` the forces on the cell, are below ``fmax``.
    steps : int
        Number of steps, those before an interruption included.
    energies, largest_forces : ndarray of float, shape (steps + 1,)
        Energy (eV) and length of the largest force on an atom (eV/Å) of the first structure and
        after each step.
    largest_stds : ndarray of float
        Largest standard deviations, if ``max_std`` was given, of the steps since the last
        interruption.
    """

    atoms: Any
    converged: bool
    steps: int
    energies: np.ndarray
    largest_forces: np.ndarray
    largest_stds: np.ndarray


def relax(
    model: Estimator,
    atoms: Any,
    *,
    fmax: float = 0.05,
    max_steps: int = 500,
    optimizer: str = "bfgs",
    cell: bool = False,
    pressure: float = 0.0,
    trajectory: str | PathLike | None = None,
    resume: bool = False,
    max_std: float | None = None,
    verbose: int = 0,
) -> Relaxation:
    r"""Relax a structure to a minimum of the energy, or of the enthalpy at a pressure.

    .. math:: \min_{R} E(R) \qquad\text{or, with ``cell``,}\qquad \min_{R, h} E(R, h) + p V(h)

    Parameters
    ----------
    model : fitted estimator, Pipeline, search, or ASE calculator
        A model that predicts energies and forces, and for ``cell`` stresses.
    atoms : ase.Atoms
        The structure, which is not changed. Atoms that a constraint holds stay where they are.
    fmax : float, default=0.05
        The largest force on an atom, in eV/Å, at which the relaxation ends.
    max_steps : int, default=500
        Largest number of steps.
    optimizer : {"bfgs", "fire", "lbfgs"}, default="bfgs"
        The method of ASE. The time of a step of BFGS grows with the cube of the number of atoms:
        take another for more than some hundred.
    cell : bool, default=False
        Whether to relax the cell, too, of a structure that is periodic in three directions.
    pressure : float, default=0.0
        Pressure in GPa, for ``cell``.
    trajectory : str or path-like, default=None
        File of all steps, a name in .traj.
    resume : bool, default=False
        Whether to go on from the last structure of ``trajectory``, if there is such a file. The
        optimiser begins anew there, so the steps are others than without the interruption.
    max_std : float, default=None
        Warn when the standard deviation of a force component exceeds this many eV/Å (for models
        with deviations of energies alone: of the energy, in eV an atom).
    verbose : int, default=0
        Whether to count the steps on stderr.

    Returns
    -------
    Relaxation

    Raises
    ------
    ValueError
        If ``optimizer`` is unknown, ``cell`` is requested of a structure that is not periodic in
        three directions, the trajectory belongs to something else, or deviations are missing.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skatom.simulation import relax
    >>> found = relax(EMT(), bulk("Cu", a=3.5), cell=True, fmax=1e-4)
    >>> round(float(found.atoms.cell[0, 1]) * 2, 2)  # the lattice constant in Å
    3.59
    """
    _check(optimizer, cell, pressure, atoms)
    original, atoms, calculator = atoms, atoms.copy(), as_calculator(model)
    watch = DeviationWatch(calculator, max_std)
    settings = {"kind": "relaxation", "cell": cell, "pressure_GPa": float(pressure)}
    with TrajectoryFile(trajectory, settings, resume) as file:
        file.check_begin(original)
        begin = 0
        if file.before:
            begin = file.before[-1].info["step"]
            atoms.set_cell(file.before[-1].cell)
            atoms.positions = file.before[-1].positions
        atoms.calc = calculator
        if file.before:
            file.check_model(atoms)
        method = OPTIMIZERS[optimizer](_filtered(atoms, cell, pressure), logfile=None)
        log = _Log(file, atoms, watch, method, begin, verbose)
        with log.bar, warnings.catch_warnings():
            # the cell filter's matrix logarithm is exact to the last digits but two
            warnings.filterwarnings("ignore", "logm result may be inaccurate")
            converged = method.run(fmax=fmax, steps=max(max_steps - begin, 0))
    energies, forces = np.array(log.rows).T
    return Relaxation(
        atoms, bool(converged), begin + method.nsteps, energies, forces, np.array(watch.values)
    )


class _Log:
    """Writes and counts the steps of an optimiser."""

    def __init__(self, file, atoms, watch, method, begin, verbose):
        self.file, self.atoms, self.watch = file, atoms, watch
        self.method, self.begin, self.known = method, begin, bool(file.before)
        self.rows = [_row(frame) for frame in file.before]
        self.bar = tqdm(desc="relaxation", unit=" steps", initial=begin, disable=not verbose)
        method.attach(self)

    def __call__(self):
        step = self.begin + self.method.nsteps
        if self.known and self.method.nsteps == 0:
            return  # the last frame of the file
        info = self.watch.look(self.atoms, f"step {step}")
        self.file.write(self.atoms, step=step, **info)
        self.rows.append(_row(self.atoms))
        energy, largest = self.rows[-1]
        self.bar.set_postfix_str(
            f"E {energy:.4f} eV, largest force {largest:.4f} eV/Å", refresh=False
        )
        self.bar.update(step - self.bar.n)


def _row(atoms):
    forces = np.linalg.norm(atoms.get_forces(), axis=1)
    return atoms.get_potential_energy(), forces.max()


def _filtered(atoms, cell, pressure):
    return FrechetCellFilter(atoms, scalar_pressure=pressure * GPa) if cell else atoms


def _check(optimizer, cell, pressure, atoms):
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r}: choose from {', '.join(OPTIMIZERS)}")
    if cell and not atoms.pbc.all():
        raise ValueError(
            "the cell of a structure that is not periodic in three directions cannot be relaxed: "
            "leave cell out"
        )
    if pressure and not cell:
        raise ValueError(f"pressure={pressure:g} GPa acts on the cell: set cell, too")
