"""
An infrared spectrum from dynamics
==================================

Light is absorbed by the dipole that changes as the atoms move. One model moves them, another gives
the dipole, as charges of the atoms that it learns from dipoles alone.
"""

# %%
# A force field of ethanol, and charges whose dipoles are those of 200 frames. The charges depend on
# the surroundings of each atom, and sum up to zero.
import numpy as np
from ase.optimize import BFGS
from ase.units import fs, kB
from sklearn.pipeline import make_pipeline

from skatom import Structures
from skatom.calculators import SkatomCalculator
from skatom.datasets import load_ethanol
from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian
from skatom.model_selection import energy_stratified_sample
from skatom.models import SGDML, LatentChargeRidge

data = load_ethanol()
train = energy_stratified_sample(data.targets, 200, random_state=0)
test = np.setdiff1d(np.arange(len(data.structures)), train)[::10]
force_field = SGDML(random_state=0).fit(data.structures[train], data.targets[train])
dipole_model = make_pipeline(
    FCHL19(n_r2=12, n_r3=10, cutoff=5.0),
    LatentChargeRidge(Gaussian(5.0), n_sparse=200, random_state=0),
)
dipole_model.fit(data.structures[train], data.targets[train])

dipoles, charges = dipole_model.predict(data.structures[test], return_charges=True)
errors = np.linalg.norm(dipoles - data.targets.dipole[test], axis=1)
lengths = np.linalg.norm(data.targets.dipole[test], axis=1)
print(f"error of dipoles: {errors.mean():.4f} e·Å of {lengths.mean():.3f}")
of_frames = charges.reshape(-1, 9)
for symbol, mean, spread in zip(
    data.structures[0].to_ase()[0].symbols,
    of_frames.mean(0),
    of_frames.std(0),
    strict=True,
):
    print(f"{symbol}  {mean:5.2f} ± {spread:.2f} e")

# %%
# The harmonic spectrum of the relaxed molecule: normal modes of the force field, and how the dipole
# changes along them.
from skatom.vibrations import infrared_intensities, normal_modes

atoms = data.structures[np.argmin(data.targets.energy)].to_ase()[0]
atoms.calc = SkatomCalculator(force_field)
BFGS(atoms, logfile=None).run(fmax=1e-4)
vibrations = normal_modes(force_field, atoms)
intensities = infrared_intensities(dipole_model, vibrations)

# %%
# Dynamics of 32 molecules at once, which begin as harmonic oscillators at 300 K: velocity Verlet,
# with the forces of all molecules in one prediction. `skatom.simulation.molecular_dynamics` moves a
# single structure, writes its frames and goes on after an interruption.
TEMPERATURE, TIMESTEP, N_MOLECULES = 300, 0.5, 32
rng = np.random.default_rng(0)
mass = atoms.get_masses()[:, None]
# angular frequencies in ASE's units, and the thermal spread of each normal coordinate
omega = 2 * np.pi * 2.99792458e-5 * vibrations.wavenumbers / fs
shifts, speeds = np.sqrt(kB * TEMPERATURE) * rng.normal(
    size=(2, N_MOLECULES, len(omega))
)
positions = atoms.positions + np.einsum("nk,kax->nax", shifts / omega, vibrations.modes)
velocities = np.einsum("nk,kax->nax", speeds, vibrations.modes)


def batch(positions):
    n = len(positions)
    return Structures(
        np.tile(atoms.numbers, n), positions.reshape(-1, 3), 9 * np.arange(n + 1)
    )


def forces(positions):
    found = force_field.predict(batch(positions), return_forces=True)[1]
    return found.reshape(positions.shape)


frames, step = [], TIMESTEP * fs
acceleration = forces(positions) / mass
for k in range(9000):
    velocities += 0.5 * step * acceleration
    positions = positions + step * velocities
    acceleration = forces(positions) / mass
    velocities += 0.5 * step * acceleration
    if k >= 1000 and k % 4 == 0:
        frames.append(positions)
print(
    f"{len(frames)} frames of {N_MOLECULES} molecules, {0.5 * 8000 / 1000:.0f} ps each"
)

# %%
# The spectrum is the Fourier transform of the correlation of the dipole's rate. It is absolute, in
# km/mol, as the harmonic lines are. Most bands are where these are. The torsion of the O-H group,
# the strongest line at the left, is far from harmonic: its band is broad and lies lower.
import matplotlib.pyplot as plt

from skatom.plotting import SpectrumDisplay
from skatom.simulation import infrared_spectrum

trajectories = [
    dipole_model.predict(batch(np.array(frames)[:, k])) for k in range(N_MOLECULES)
]
wavenumbers, absorption = infrared_spectrum(
    trajectories, 4 * TIMESTEP, TEMPERATURE, resolution=15
)
lines = SpectrumDisplay(vibrations.wavenumbers, intensities, width=15).plot(
    label="harmonic"
)
SpectrumDisplay(wavenumbers, absorption, width=None).plot(
    lines.ax_, label="dynamics, 300 K"
)
lines.ax_.set_xlim(0, 4200)
plt.show()

for low, high in ((0, 700), (700, 1600), (2500, 3300), (3300, 4200)):
    at = (wavenumbers >= low) & (wavenumbers < high)
    of_lines = (vibrations.wavenumbers >= low) & (vibrations.wavenumbers < high)
    area = np.trapezoid(absorption[at], wavenumbers[at])
    print(
        f"{low:4d} to {high} 1/cm: {area:5.0f} km/mol, {intensities[of_lines].sum():5.0f} harmonic"
    )
