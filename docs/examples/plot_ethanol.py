"""
A force field of ethanol
========================

The shortest way from a trajectory to a force field: load frames, choose those to learn from, fit,
and look at the errors on the others.
"""

# %%
# The embedded trajectory has 2,500 frames of ethanol at 500 K with energies and forces from
# GFN2-xTB. `Structures` and `Targets` are sliced together, like arrays.
from skatom.datasets import load_ethanol

data = load_ethanol()
print(data.structures)
print(data.targets)

# %%
# Draw 200 frames to learn from and 1,000 to test on. Both samples keep the distribution of the
# energies, so the rare hot frames are in both.
from skatom.model_selection import energy_stratified_sample

train = energy_stratified_sample(data.targets, 200, random_state=0)
test = energy_stratified_sample(data.targets, 1000, exclude=train, random_state=0)

# %%
# Fit sGDML. It learns from the forces, and finds the permutational symmetry: of the three hydrogens
# of the methyl group, and of the two of the CH₂ group.
from skatom.models import SGDML

model = SGDML(sigma=20, random_state=0).fit(data.structures[train], data.targets[train])
print(model.permutations_)

# %%
# All errors at once, in eV and eV/Å. `force_angle_error` is a fraction of 180°.
from skatom.metrics import evaluate

for name, value in evaluate(model, data.structures[test], data.targets[test]).items():
    print(f"{name:24}{value:.5f}")

# %%
# Forces first: 27,000 components, most of them within the width of the line. The energies come
# from the same model by integration; their zero is one constant, fitted at the end.
import matplotlib.pyplot as plt

from skatom.plotting import ParityDisplay

figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.2), layout="constrained")
for quantity, ax in zip(["forces", "energy"], axes, strict=True):
    ParityDisplay.from_estimator(
        model, data.structures[test], data.targets[test], quantity=quantity, ax=ax
    )
plt.show()
