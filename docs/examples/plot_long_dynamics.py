"""
Ten picoseconds at constant energy
==================================

Forces that are the exact gradient of one smooth energy conserve it. A run of twenty thousand steps
shows this, and whether the model still knows the structures that the molecule reaches.
"""

# %%
# A model of 300 frames, and its softest structure: the coldest frame, relaxed.
import numpy as np

from skatom.datasets import load_ethanol
from skatom.model_selection import energy_stratified_sample
from skatom.models import SGDML
from skatom.simulation import molecular_dynamics, relax

data = load_ethanol()
train = energy_stratified_sample(data.targets, 300, random_state=0)
model = SGDML(random_state=0).fit(data.structures[train], data.targets[train])
coldest = data.structures[np.argmin(data.targets.energy)].to_ase()[0]
relaxed = relax(model, coldest, fmax=1e-3).atoms

# %%
# Momenta are drawn at 600 K, of which half becomes potential energy. A step of 0.5 fs is a
# seventeenth of the period of the fastest vibration, that of O-H.
run = molecular_dynamics(
    model, relaxed, 20_000, timestep=0.5, temperature=600, seed=1, interval=10
)
print(f"{run.times[-1]:.0f} ps, mean temperature {run.temperatures.mean():.0f} K")

# %%
# The total energy oscillates with the error of the time step. Its drift is the slope of a line
# through it.
total = run.potential + run.kinetic
drift = np.polyfit(run.times, total, 1)[0]
kcal = 23.0605  # kcal/mol in an eV
print(
    f"drift {kcal * drift:+.1e} kcal/mol per ps, deviation {1000 * total.std():.1f} meV"
)

# %%
# The same line without the oscillation, from means of half a picosecond.
import matplotlib.pyplot as plt

figure, (upper, lower) = plt.subplots(
    2, 1, figsize=(6.4, 5.0), sharex=True, layout="constrained"
)
upper.plot(run.times, run.potential - total.mean(), lw=0.4, label="potential energy")
upper.plot(run.times, total - total.mean(), lw=0.8, label="total energy")
upper.set(ylabel="energy − mean total (eV)")
upper.legend(frameon=False, loc="lower right", ncols=2)
means = (total[1:] - total.mean()).reshape(-1, 100).mean(axis=1)
lower.plot(run.times[1:].reshape(-1, 100).mean(axis=1), 1000 * means, "o-")
lower.plot(run.times, 1000 * drift * (run.times - run.times.mean()), "C3", lw=1)
lower.set(xlabel="time (ps)", ylabel="total energy (meV)", ylim=(-2, 2))
lower.set(xlim=(0, run.times[-1]))
plt.show()
