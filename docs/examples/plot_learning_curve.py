"""
What symmetry is worth
======================

GDML treats all atoms as different. sGDML has the symmetry of the hydrogens of a methyl group, so each
frame of ethanol counts as six. Both solve a linear system of the same size. The learning curves show
how many frames this saves.
"""

# %%
# Three splits, each with its own 240 training frames, of which the first 60, 90, 150 and 240 are
# used, and 500 frames to test on.
from skatom.datasets import load_ethanol
from skatom.model_selection import EnergyStratifiedSplit

SIZES = [60, 90, 150, 240]
data = load_ethanol()
splits = EnergyStratifiedSplit(
    n_splits=3, train_size=240, test_size=500, random_state=0
)

# %%
# One display for each model, both on the same axes. The dashed line is the power law through the
# mean errors.
import matplotlib.pyplot as plt

from skatom.models import GDML, SGDML
from skatom.plotting import LearningCurveDisplay

figure, ax = plt.subplots(figsize=(5.4, 4.0), layout="constrained")
displays = [
    LearningCurveDisplay.from_estimator(
        model,
        data.structures,
        data.targets,
        train_sizes=SIZES,
        cv=splits,
        ax=ax,
    )
    for model in (GDML(), SGDML(random_state=0))
]
ax.set_xticks(SIZES, SIZES)
ax.set_ylabel("force MAE on 500 other frames (eV/Å)")
plt.show()

# %%
# How many frames does GDML need for the error that sGDML has with 90? Read it off the power law
# :math:`a\,n^b`.
gdml, sgdml = displays
error = sgdml.errors[1].mean()
n = (error / gdml.prefactor_) ** (1 / gdml.slope_)
print(
    f"sGDML with 90 frames: {1000 * error:.0f} meV/Å; GDML reaches it with about {n:.0f}"
)
