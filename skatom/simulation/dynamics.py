"""Molecular dynamics that goes on after an interruption as if there had been none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import GPa, fs

from skatom._progress import tqdm
from skatom._typing import Estimator, PathLike
from skatom.calculators import as_calculator
from skatom.simulation.integrators import ENSEMBLES, draw_momenta, integrator, state_of
from skatom.simulation.trajectory import TrajectoryFile
from skatom.simulation.watch import DeviationWatch

# A temperature in K that no simulation of matter has on purpose.
_HOTTEST = 1e5


@dataclass(frozen=True)
class Dynamics:
    """What molecular dynamics gave.

    Attributes
    ----------
    atoms : ase.Atoms
        The last structure, with momenta and calculator.
    steps : ndarray of int, shape (n_frames,)
        Steps of the frames; those before an interruption included, as in all arrays but the last.
    times : ndarray of float, shape (n_frames,)
        Times in ps.
    potential, kinetic : ndarray of float, shape (n_frames,)
        Energies in eV.
    temperatures : ndarray of float, shape (n_frames,)
        Temperatures in K.
    volumes, pressures : ndarray of float, shape (n_frames,)
        Volumes in Å³ and pressures in GPa, kinetic part included; NaN where there is no volume or
        the model has no stress.
    largest_stds : ndarray of float
        Largest standard deviations, if ``max_std`` was given, of the frames since the last
        interruption.
    """

    atoms: Any
    steps: np.ndarray
    times: np.ndarray
    potential: np.ndarray
    kinetic: np.ndarray
    temperatures: np.ndarray
    volumes: np.ndarray
    pressures: np.ndarray
    largest_stds: np.ndarray

    @property
    def drift(self):
        """Largest change of the total energy since the first frame, in eV an atom."""
        total = self.potential + self.kinetic
        return float(np.abs(total - total[0]).max() / len(self.atoms))


def molecular_dynamics(
    model: Estimator,
    atoms: Any,
    steps: int,
    *,
    timestep: float = 1.0,
    ensemble: str = "nve",
    temperature: float | None = None,
    pressure: float = 0.0,
    thermostat_time: float = 100.0,
    barostat_time: float = 1000.0,
    seed: int = 0,
    interval: int = 10,
    trajectory: str | PathLike | None = None,
    resume: bool = False,
    max_std: float | None = None,
    verbose: int = 0,
) -> Dynamics:
    r"""Molecular dynamics at constant energy, temperature or pressure.

    .. math:: m \ddot R = -\frac{\partial E}{\partial R} - \frac{m}{\tau} \dot R
        + \sqrt{\frac{2 m k T}{\tau}}\, \xi(t)

    without the last two terms at constant energy. Frames have momenta and the state of the
    barostat, and the random numbers of a step depend on the seed and the step alone, so a run that
    goes on from its last frame has the frames of one that was not interrupted.

    Parameters
    ----------
    model : fitted estimator, Pipeline, search, or ASE calculator
        A model that predicts energies and forces, and for ``"npt"`` stresses. One that learns
        meanwhile, such as `skatom.active.LearningOnTheFly`, may know more after an interruption.
    atoms : ase.Atoms
        The structure, which is not changed. If it has momenta, it begins with them, unless
        ``"nve"`` is given a temperature.
    steps : int
        Number of steps in all, those before an interruption included.
    timestep : float, default=1.0
        Time of a step in fs.
    ensemble : {"nve", "nvt", "npt"}, default="nve"
        Constant energy by velocity Verlet, constant temperature by Langevin dynamics [1]_, or
        constant temperature and pressure with a cell that keeps its shape [2]_.
    temperature : float, default=None
        Temperature in K; for ``"nve"`` that of the first momenta. None, for ``"nve"`` alone: the
        structure's momenta, or at rest.
    pressure : float, default=0.0
        Pressure in GPa, for ``"npt"``.
    thermostat_time, barostat_time : float, default=100.0 and 1000.0
        Times τ in fs in which momenta and the volume relax.
    seed : int, default=0
        Seed of the random numbers.
    interval : int, default=10
        Number of steps from frame to frame.
    trajectory : str or path-like, default=None
        File of the frames, a name in .traj.
    resume : bool, default=False
        Whether to go on from the last frame of ``trajectory``, if there is such a file.
    max_std : float, default=None
        Warn when the standard deviation of a force component in a frame exceeds this many eV/Å (for
        models with deviations of energies alone: of the energy, in eV an atom).
    verbose : int, default=0
        Whether to show a progress bar on stderr.

    Returns
    -------
    Dynamics

    Raises
    ------
    ValueError
        If a parameter is out of its range, the trajectory belongs to something else, deviations are
        missing, or the temperature exceeds 100,000 K, where no model knows anything.
    ImportError
        If ASE is too old for ``"npt"``.

    References
    ----------
    .. [1] E. Vanden-Eijnden, G. Ciccotti, Chem. Phys. Lett. 429, 310 (2006).
    .. [2] D. Quigley, M. I. J. Probert, J. Chem. Phys. 120, 11432 (2004).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skatom.simulation import molecular_dynamics
    >>> copper = bulk("Cu", cubic=True) * 2
    >>> found = molecular_dynamics(EMT(), copper, 50, timestep=2.0, temperature=600)
    >>> bool(found.drift < 1e-3)
    True
    >>> float(found.times[-1])
    0.1
    """
    settings = {
        "kind": "dynamics", "ensemble": ensemble, "timestep": float(timestep),
        "temperature": None if temperature is None else float(temperature),
        "pressure": float(pressure), "thermostat_time": float(thermostat_time),
        "barostat_time": float(barostat_time), "seed": int(seed),
    }  # fmt: skip
    _check(settings, steps, interval, atoms)
    original, calculator = atoms, as_calculator(model)
    watch = DeviationWatch(calculator, max_std)
    with TrajectoryFile(trajectory, settings, resume) as file:
        file.check_begin(original)
        atoms, begin, state = _first(original, file, settings)
        atoms.calc = calculator
        if file.before and not getattr(calculator, "learns", False):
            file.check_model(atoms)
        method = integrator(atoms, settings, begin, state)
        log = _Frames(file, atoms, watch, method, steps, interval, verbose)
        method.attach(log)
        with log.bar:
            method.run(steps=max(steps - begin, 0))
    return log.result()


def _first(original, file, settings):
    """The structure to begin with, the number of its step, and the state of the integrator."""
    if file.before:
        atoms = file.before[-1].copy()
        known, atoms.info = atoms.info, dict(original.info)
        return atoms, known["step"], known.get("barostat")
    atoms, temperature = original.copy(), settings["temperature"]
    if temperature is not None and (settings["ensemble"] == "nve" or not atoms.has("momenta")):
        draw_momenta(atoms, temperature, settings["seed"])
    return atoms, 0, None


class _Frames:
    """Writes frames, and looks after the simulation."""

    def __init__(self, file, atoms, watch, method, steps, interval, verbose):
        self.file, self.atoms, self.watch, self.method = file, atoms, watch, method
        self.steps, self.interval = steps, interval
        self.rows = [_row(frame, frame.info["step"]) for frame in file.before]
        self.bar = tqdm(
            total=steps, desc="dynamics", unit=" steps", initial=method.nsteps, disable=not verbose
        )

    def __call__(self):
        step = self.method.nsteps
        temperature = self.atoms.get_temperature()
        self.bar.set_postfix_str(f"{temperature:.0f} K", refresh=False)
        self.bar.update(step - self.bar.n)
        if not temperature < _HOTTEST:
            raise ValueError(
                f"step {step}: the temperature is {temperature:.3g} K: the structure has left what "
                f"the model knows, or the time step of {self.method.dt / fs:g} fs is too long"
            )
        if step % self.interval and step != self.steps:
            return
        if self.rows and self.rows[-1][0] == step:
            return  # it went on from the first frame, which ASE shows again
        info = {**state_of(self.method), **self.watch.look(self.atoms, f"step {step}")}
        self.file.write(self.atoms, step=step, **info)
        self.rows.append(_row(self.atoms, step))

    def result(self):
        steps, *columns = np.array(self.rows).T
        times = steps * self.method.dt / (1000 * fs)
        return Dynamics(self.atoms, steps.astype(int), times, *columns, np.array(self.watch.values))


def _row(atoms, step):
    """Step, energies, temperature, volume and pressure of a frame."""
    kinetic = atoms.get_kinetic_energy()
    volume = atoms.get_volume() if atoms.cell.rank == 3 else np.nan
    stress = atoms.calc.results.get("stress") if atoms.pbc.all() else None
    pressure = np.nan
    if stress is not None:
        pressure = (2 * kinetic / (3 * volume) - np.mean(stress[:3])) / GPa
    return (
        step, atoms.get_potential_energy(), kinetic, atoms.get_temperature(), volume, pressure
    )  # fmt: skip


def _check(settings, steps, interval, atoms):
    ensemble, temperature = settings["ensemble"], settings["temperature"]
    if ensemble not in ENSEMBLES:
        raise ValueError(f"ensemble={ensemble!r}: choose from {', '.join(ENSEMBLES)}")
    if ensemble != "nve" and temperature is None:
        raise ValueError(f"ensemble={ensemble!r} needs a temperature in K")
    if temperature is not None and not temperature >= 0:
        raise ValueError(f"temperature={temperature:g} K must not be negative")
    for name in ("timestep", "thermostat_time", "barostat_time"):
        if not settings[name] > 0:
            raise ValueError(f"{name}={settings[name]:g} fs must be positive")
    if settings["pressure"] and ensemble != "npt":
        raise ValueError(
            f"pressure={settings['pressure']:g} GPa acts on the cell: take ensemble='npt'"
        )
    if ensemble == "npt" and not atoms.pbc.all():
        raise ValueError("ensemble='npt' needs a structure that is periodic in three directions")
    if steps < 1 or interval < 1:
        raise ValueError(f"steps={steps} and interval={interval} must be 1 or more")
