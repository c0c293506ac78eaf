"""Generate the embedded data sets: ``python -m skatom.datasets.generate NAME``.

Needs tblite (``pip install skatom[generate]``), the extended tight-binding program that labels the
structures. Every set has its own function here, with its settings and its seed. Trajectories are
chaotic, so another processor or another version of tblite gives other frames of the same
distribution, with labels that are as consistent as those shipped.

Positions are rounded to a multiple of 2⁻¹⁷ Å *before* they are labelled: such numbers end in
zeros in binary and compress well, and the label belongs to exactly the position that is stored.
Each file also holds, for a few frames, energies of slightly displaced (and strained) copies, so
that anybody can check that forces and stress are the derivatives of the energy.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk, molecule
from ase.md.langevin import Langevin
from tqdm import tqdm, trange

GRID = 2.0**-17  # Å, of positions and cells
FORCE_GRID = 2.0**-20  # eV/Å
DIPOLE_GRID = 2.0**-20  # e·Å
STRESS_GRID = 2.0**-27  # eV/Å³
# Å (length of the displacement of all atoms), or strain: small, since the energy of a crystal has
# steps of some 1e-5 eV where a pair crosses a cutoff, and one of them would hide the slope.
CHECK_STEP = 2e-4
N_CHECKS = 8


def calculator(method, accuracy):
    """A tblite calculator that starts each self-consistent cycle afresh."""
    try:
        from tblite.ase import TBLite
    except ImportError as error:
        raise SystemExit("generating data needs tblite: pip install skatom[generate]") from error

    return TBLite(method=method, accuracy=accuracy, cache_api=False, verbosity=0)


def dynamics(atoms, method, *, temperature, timestep, warmup, interval, n_frames, rng):
    """Frames ``interval`` steps of ``timestep`` fs apart of a Langevin trajectory (10 ps⁻¹)."""
    atoms.calc = calculator(method, accuracy=1.0)
    # Twice the temperature: half of it turns into potential energy within a vibration.
    spread = np.sqrt(atoms.get_masses() * 2 * units.kB * temperature)
    atoms.set_momenta(spread[:, None] * rng.normal(size=(len(atoms), 3)))
    langevin = Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=temperature,
        friction=0.01 / units.fs,
        fixcm=False,
        rng=rng,
    )
    langevin.run(warmup)
    frames, temperatures = [], []
    for _ in trange(n_frames, desc="dynamics", mininterval=10):
        langevin.run(interval)
        frames.append(atoms.copy())
        temperatures.append(atoms.get_temperature())
    print(f"mean kinetic temperature {np.mean(temperatures):.0f} K")
    return frames


def rounded(values, grid):
    """``values`` to the nearest multiple of ``grid``, a power of two."""
    return np.round(np.asarray(values) / grid) * grid


def label(frames, method):
    """Arrays of a data file: rounded geometries, then their energies, forces and so on.

    Crystals have stresses, molecules dipoles.
    """
    calc = calculator(method, accuracy=1e-3)
    periodic = frames[0].pbc.all()
    names = ["R", "E", "F", *(["lattice", "stress"] if periodic else ["dipole"])]
    arrays = {name: [] for name in names}
    for atoms in tqdm(frames, desc="labels", mininterval=10):
        atoms.set_cell(rounded(atoms.cell.array, GRID))
        atoms.positions = rounded(atoms.positions, GRID)
        atoms.calc = calc
        arrays["R"].append(atoms.positions)
        arrays["E"].append(atoms.get_potential_energy())
        arrays["F"].append(rounded(atoms.get_forces(), FORCE_GRID))
        if periodic:
            arrays["lattice"].append(atoms.cell.array.T)  # vectors as columns, as sGDML does
            arrays["stress"].append(rounded(atoms.get_stress(voigt=False), STRESS_GRID))
        else:
            arrays["dipole"].append(rounded(atoms.get_dipole_moment(), DIPOLE_GRID))
    return {"z": frames[0].numbers} | {name: np.array(value) for name, value in arrays.items()}


def displaced(atoms, displacement):
    """A copy whose atoms are moved."""
    copy = atoms.copy()
    copy.positions += displacement
    return copy


def strained(atoms, strain):
    """A copy whose cell and positions are deformed by ``strain`` (3, 3)."""
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def finite_difference_energies(frames, method):
    """Energies at plus and minus a random step, for a few of the frames, to check derivatives."""
    rng = np.random.default_rng(0)
    calc = calculator(method, accuracy=1e-3)
    chosen = np.linspace(0, len(frames) - 1, N_CHECKS).astype(int)

    def random_steps(shape):
        steps = rng.normal(size=(N_CHECKS, *shape))
        if shape == (3, 3):
            steps += steps.transpose(0, 2, 1)
        return steps * CHECK_STEP / np.linalg.norm(steps, axis=(1, 2), keepdims=True)

    def energies(move, steps):
        return [
            [calc.get_potential_energy(move(frames[i], sign * step)) for sign in (1, -1)]
            for i, step in zip(chosen, steps, strict=True)
        ]

    checks = {"check_frame": chosen, "check_displacement": random_steps((len(frames[0]), 3))}
    checks["check_energy"] = np.array(energies(displaced, checks["check_displacement"]))
    if frames[0].pbc.all():
        checks["check_strain"] = random_steps((3, 3))
        checks["check_strain_energy"] = np.array(energies(strained, checks["check_strain"]))
    return checks


def report_checks(arrays):
    """Print the largest deviation of forces and stress from the finite differences."""
    chosen = arrays["check_frame"]
    slope = np.einsum("kia,kia->k", arrays["F"][chosen], arrays["check_displacement"])
    difference = (arrays["check_energy"][:, 1] - arrays["check_energy"][:, 0]) / 2
    error = np.abs(slope - difference).max() / CHECK_STEP
    print(f"forces against finite differences: {error:.1e} eV/Å of {slope.std() / CHECK_STEP:.2f}")
    if "stress" not in arrays:
        return
    volume = np.abs(np.linalg.det(arrays["lattice"][chosen]))
    slope = volume * np.einsum("kab,kab->k", arrays["stress"][chosen], arrays["check_strain"])
    difference = (arrays["check_strain_energy"][:, 0] - arrays["check_strain_energy"][:, 1]) / 2
    error = np.abs((slope - difference) / volume).max() / CHECK_STEP
    size = (slope / volume).std() / CHECK_STEP
    print(f"stress against finite differences: {error:.1e} eV/Å³ of {size:.3f}")


def write(path, frames, name, method):
    """Label ``frames`` and write them to ``path`` in the sGDML layout, in eV and Å."""
    arrays = label(frames, method)
    arrays |= finite_difference_energies(frames, method)
    np.savez_compressed(path, name=name, theory=method, r_unit="Ang", e_unit="eV", **arrays)
    print(f"{path}: {len(frames)} frames, {path.stat().st_size / 1e6:.2f} MB")
    report_checks(arrays)


def molecule_at_500_kelvin(path, name, formula, n_frames, seed):
    """One molecule at 500 K: 10 ps to thermalise, then a frame every 50 fs."""
    rng = np.random.default_rng(seed)
    frames = dynamics(
        molecule(formula),
        "GFN2-xTB",
        temperature=500,
        timestep=0.5,
        warmup=20_000,
        interval=100,
        n_frames=n_frames,
        rng=rng,
    )
    for atoms in frames:
        atoms.positions -= atoms.get_center_of_mass()
    write(path, frames, name, "GFN2-xTB")


def ethanol(path):
    """2,500 frames of ethanol."""
    molecule_at_500_kelvin(path, "ethanol", "CH3CH2OH", n_frames=2500, seed=1)


def benzene(path):
    """1,500 frames of benzene."""
    molecule_at_500_kelvin(path, "benzene", "C6H6", n_frames=1500, seed=2)


def boron_nitride_crystal(linear_strain):
    """64 atoms of zinc-blende boron nitride; GFN1-xTB is in equilibrium at 3.614 Å."""
    return bulk("BN", "zincblende", a=3.614 * (1 + linear_strain), cubic=True) * (2, 2, 2)


def rattled_boron_nitride(amplitude, rng):
    """A uniform and a general strain, up to 3 % each, and normal displacements in Å."""
    atoms = boron_nitride_crystal(rng.uniform(-0.03, 0.03))
    strain = rng.uniform(-0.03, 0.03, (3, 3))
    atoms = strained(atoms, (strain + strain.T) / 2)
    atoms.positions += rng.normal(scale=amplitude, size=(len(atoms), 3))
    return atoms


def boron_nitride(path):
    """360 frames of cubic boron nitride: 240 strained and rattled, then 120 of dynamics."""
    rng = np.random.default_rng(3)
    amplitudes = np.repeat([0.02, 0.04, 0.07, 0.10], 60)
    frames = [rattled_boron_nitride(amplitude, rng) for amplitude in amplitudes]
    for temperature, linear_strain in ((300, 0.0), (1000, 0.005), (2000, 0.01)):
        frames += dynamics(
            boron_nitride_crystal(linear_strain),
            "GFN1-xTB",
            temperature=temperature,
            timestep=1.0,
            warmup=60,
            interval=5,
            n_frames=40,
            rng=rng,
        )
    write(path, frames, "boron_nitride", "GFN1-xTB")


SETS = {"ethanol": ethanol, "benzene": benzene, "boron_nitride": boron_nitride}


def main():
    """Parse the command line and generate one set."""
    parser = argparse.ArgumentParser(prog="python -m skatom.datasets.generate", description=__doc__)
    parser.add_argument("name", choices=SETS)
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "data", help="folder to write to"
    )
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    SETS[arguments.name](arguments.output / f"{arguments.name}.npz")


if __name__ == "__main__":
    main()
