"""
Relaxation, vibrations and dynamics
===================================

A fitted model is an ASE calculator, so everything that ASE does with energies and forces works:
here a relaxation, a vibrational spectrum and a molecular dynamics run at constant energy.
"""

# %%
# A model of 300 frames.
from skatom.calculators import SkatomCalculator
from skatom.datasets import load_ethanol
from skatom.model_selection import energy_stratified_sample
from skatom.models import SGDML

data = load_ethanol()
train = energy_stratified_sample(data.targets, 300, random_state=0)
model = SGDML(random_state=0).fit(data.structures[train], data.targets[train])

# %%
# Relaxation
# ----------
#
# Start from the coldest frame.
import numpy as np
from ase.optimize import BFGS

atoms = data.structures[np.argmin(data.targets.energy)].to_ase()[0]
atoms.calc = SkatomCalculator(model)
before = atoms.get_potential_energy()
BFGS(atoms, logfile=None).run(fmax=1e-4)
print(f"{before:.4f} eV before, {atoms.get_potential_energy():.4f} eV after")
print(f"C-C {atoms.get_distance(0, 1):.3f} Å, C-O {atoms.get_distance(1, 2):.3f} Å")

# %%
# Vibrations
# ----------
#
# ``hessian`` is analytical: no displaced structures are needed. Weighted with the masses, its
# eigenvalues are the squared frequencies. Translations and rotations come out at zero.
from ase import units
from ase.vibrations import VibrationsData

vibrations = VibrationsData.from_2d(atoms, model.hessian([atoms])[0])
frequencies = vibrations.get_frequencies()  # 1/cm; imaginary ones as complex numbers
print("rigid motions", np.abs(frequencies[:6]).round(1), "1/cm")
print("vibrations   ", frequencies[6:].real.round().astype(int), "1/cm")
print(f"zero-point energy {vibrations.get_zero_point_energy():.3f} eV")

# %%
# Dynamics
# --------
#
# Two picoseconds at constant energy. Velocities are drawn at 500 K, without the rigid motions. The
# forces are the exact derivative of the energy, so the total energy oscillates with the time step's
# error but does not drift.
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet

rng = np.random.default_rng(1)
spread = np.sqrt(
    atoms.get_masses() * 2 * units.kB * 500
)  # half of it becomes potential energy
atoms.set_momenta(spread[:, None] * rng.normal(size=(len(atoms), 3)))
Stationary(atoms)
ZeroRotation(atoms)

steps, step = 4000, 0.5  # fs
history = np.empty((steps, 2))
velocities = np.empty((steps, len(atoms), 3))
dynamics = VelocityVerlet(atoms, step * units.fs)
for n in range(steps):
    dynamics.run(1)
    history[n] = atoms.get_potential_energy(), atoms.get_total_energy()
    velocities[n] = atoms.get_velocities()

# %%
# The velocities' power spectrum, weighted with the masses, has its peaks near the frequencies of
# the Hessian, shifted by anharmonicity.
import matplotlib.pyplot as plt
from scipy.ndimage import gaussian_filter1d

times = step * np.arange(steps) / 1000
potential, total = (history - history[:, 1].mean()).T

window = np.hanning(steps)[:, None, None]
power = (np.abs(np.fft.rfft(window * velocities, axis=0)) ** 2).sum(
    axis=2
) @ atoms.get_masses()
wavenumbers = np.fft.rfftfreq(steps, step * 1e-15) / (100 * units._c)  # 1/cm
power = gaussian_filter1d(power, 1.0)

figure, (upper, lower) = plt.subplots(2, 1, figsize=(6.4, 5.6), layout="constrained")
upper.plot(times, potential, lw=0.6, label="potential energy")
upper.plot(times, total, lw=1.2, label="total energy")
upper.set(xlabel="time (ps)", ylabel="energy − mean total (eV)")
upper.set(xlim=(0, times[-1]), ylim=(-1.1, 0.1))
upper.legend(frameon=False, loc="lower right", ncols=2)
lower.plot(wavenumbers, np.sqrt(power / power.max()), lw=1, label="dynamics at 500 K")
for frequency in frequencies[6:].real:
    lower.axvline(frequency, ymax=0.12, color="C3", lw=1.2)
lower.plot([], [], color="C3", lw=1.2, label="Hessian")
lower.set(
    xlim=(0, 4000),
    ylim=(0, None),
    xlabel="wavenumber (1/cm)",
    ylabel="√ power (scaled)",
)
lower.legend(frameon=False, loc="upper right")
plt.show()

drift = np.polyfit(times, total, 1)[0]
print(
    f"total energy: deviation {1000 * total.std():.2f} meV, drift {1000 * drift:.2f} meV/ps"
)
