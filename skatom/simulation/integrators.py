"""ASE's integrators of the equations of motion, whose random numbers depend on the step alone."""

import ase
import numpy as np
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet
from ase.units import GPa, fs, kB

ENSEMBLES = ("nve", "nvt", "npt")


def integrator(atoms, settings, begin, state):
    """The integrator of an ensemble, as it was after so many steps.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator and momenta.
    settings : dict
        ``ensemble`` and its parameters, see `molecular_dynamics`.
    begin : int
        Number of steps taken before.
    state : list of float, or None
        What `state_of` gave then.

    Returns
    -------
    ase.md.md.MolecularDynamics
    """
    make = {"nve": _constant_energy, "nvt": _langevin, "npt": _barostat}[settings["ensemble"]]
    found = make(atoms, settings)
    found.nsteps = begin
    if settings["ensemble"] != "nve":
        found.rng = StepwiseNoise(settings["seed"], found)
    if state is not None:
        found.p_eps, found.force_eps = state
    return found


def state_of(method):
    """What an integrator knows beside the atoms: momentum of the cell and force on it."""
    if not hasattr(method, "p_eps"):
        return {}
    return {"barostat": [float(method.p_eps), float(method.force_eps)]}


class StepwiseNoise:
    """Random numbers of each step from a generator of its own.

    A run that goes on from any step has the numbers of one that was not interrupted.

    Parameters
    ----------
    seed : int
    method : ase.md.md.MolecularDynamics
        The integrator, which counts its steps.
    """

    def __init__(self, seed, method):
        self.seed, self.method, self.step = seed, method, None

    def normal(self, size=None):
        """Normal random numbers of the next step."""
        if self.method.nsteps != self.step:
            self.step = self.method.nsteps
            self.generator = np.random.default_rng([self.seed, self.step])
        return self.generator.normal(size=size)

    standard_normal = normal


def draw_momenta(atoms, temperature, seed):
    """Momenta of a temperature in K, without motion or, for molecules, rotation of the whole."""
    widths = np.sqrt(atoms.get_masses() * kB * temperature)
    atoms.set_momenta(widths[:, None] * np.random.default_rng(seed).normal(size=(len(atoms), 3)))
    if len(atoms) > 1 and not atoms.constraints:
        Stationary(atoms, preserve_temperature=False)
        if not atoms.pbc.any() and len(atoms) > 2:
            ZeroRotation(atoms, preserve_temperature=False)
    if temperature > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature / atoms.get_temperature()))


def _constant_energy(atoms, settings):
    return VelocityVerlet(atoms, settings["timestep"] * fs)


def _langevin(atoms, settings):
    return Langevin(
        atoms,
        settings["timestep"] * fs,
        temperature_K=settings["temperature"],
        friction=1.0 / (settings["thermostat_time"] * fs),
        fixcm=False,
        rng=np.random.default_rng(0),
    )


def _barostat(atoms, settings):
    try:
        from ase.md.langevinbaoab import LangevinBAOAB
    except ImportError as error:
        raise ImportError(
            f"ensemble='npt' needs ase.md.langevinbaoab, which ASE {ase.__version__} lacks: "
            "install a later ASE"
        ) from error
    # the mass of Martyna, Tobias and Klein, J. Chem. Phys. 101, 4177 (1994), (3N + 3) kT τ²
    tau = settings["barostat_time"] * fs
    mass = 3 * (len(atoms) + 1) * kB * settings["temperature"] * tau**2
    return LangevinBAOAB(
        atoms,
        settings["timestep"] * fs,
        temperature_K=settings["temperature"],
        externalstress=-settings["pressure"] * GPa,
        hydrostatic=True,
        T_tau=settings["thermostat_time"] * fs,
        P_tau=tau,
        P_mass=mass,
        rng=np.random.default_rng(0),
    )
