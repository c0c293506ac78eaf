"""
Why random folds are too optimistic
===================================

Frames that are close in time are nearly equal. If a random split puts one of two neighbours among
the training frames and the other among the test frames, the error says how well the model
interpolates between neighbours, not how well it does on a new trajectory.
"""

# %%
# Make a trajectory with closely spaced frames: a first model drives ethanol at 500 K, and a frame
# is kept every femtosecond. The first model's forces are the labels, so the truth is known
# everywhere.
import numpy as np
from ase import units
from ase.md.langevin import Langevin

from skatom import Structures, Targets
from skatom.calculators import SkatomCalculator
from skatom.datasets import load_ethanol
from skatom.model_selection import energy_stratified_sample
from skatom.models import SGDML

data = load_ethanol()
train = energy_stratified_sample(data.targets, 200, random_state=0)
teacher = SGDML(random_state=0).fit(data.structures[train], data.targets[train])

rng = np.random.default_rng(0)
atoms = data.structures[0].to_ase()[0]
atoms.calc = SkatomCalculator(teacher)
spread = np.sqrt(atoms.get_masses() * units.kB * 500)
atoms.set_momenta(spread[:, None] * rng.normal(size=(9, 3)))
dynamics = Langevin(
    atoms,
    0.5 * units.fs,
    temperature_K=500,
    friction=0.01 / units.fs,
    fixcm=False,
    rng=rng,
)
dynamics.run(2000)  # forget the start
frames = []
for _ in range(200):
    dynamics.run(2)
    frames.append(atoms.copy())


def labelled(structures):
    energy, forces = teacher.predict(structures, return_forces=True)
    return structures, Targets(energy=energy, forces=forces, offsets=structures.offsets)


X, y = labelled(Structures.from_ase(frames))
print(f"{len(X)} frames, 0.2 ps")

# %%
# Cross-validate the same model in three ways: shuffled folds, contiguous blocks, and blocks with a
# gap of 10 frames (10 fs, a period of the O-H stretch) left out on each side of the test block.
# Then fit to the whole trajectory and test on frames from all of the embedded 125 ps, which is what
# the model meets when it is used.
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_score

from skatom.metrics import neg_force_mae
from skatom.model_selection import BlockKFold

model = SGDML(permutations=teacher.permutations_)
folds = {
    "shuffled folds": KFold(5, shuffle=True, random_state=0),
    "blocks": BlockKFold(5),
    "blocks and gap": BlockKFold(5, gap=10),
}
errors = {
    name: -1000 * cross_val_score(model, X, y, cv=cv, scoring=neg_force_mae)
    for name, cv in folds.items()
}
elsewhere = np.setdiff1d(np.arange(0, 2500, 5), train)
new_X, new_y = labelled(data.structures[elsewhere])
truth = -1000 * neg_force_mae(clone(model).fit(X, y), new_X, new_y)

# %%
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
for place, values in enumerate(errors.values()):
    ax.barh(place, values.mean(), color="C0", alpha=0.35)
    ax.plot(values, np.full(len(values), place), "o", color="C0", ms=4)
ax.axvline(truth, color="C3", label="frames of the embedded 125 ps")
ax.set_yticks(range(len(errors)), errors)
ax.invert_yaxis()
ax.set_xlabel("force MAE (meV/Å); one point for each fold")
ax.legend(frameon=False, loc=(0.3, 0.86))
plt.show()

for name, values in errors.items():
    print(f"{name:16}{values.mean():6.1f} meV/Å")
print(f"{'other frames':16}{truth:6.1f} meV/Å")

# %%
# Shuffled folds are wrong by more than a factor of ten. Blocks come closer, and a gap closer still;
# but a trajectory of 0.2 ps does not contain all conformers, and no way to split it can show that.
