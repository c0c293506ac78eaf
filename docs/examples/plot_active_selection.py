"""
Active against random selection
===============================

Labels cost time, so which structures of a pool should have them? There are 160 cells of copper, most
of them close to the perfect crystal and one of eight far from it. A measure of novelty puts
them into an order without their labels, and learning curves show what that is worth.
"""

# %%
# Labels come from EMT here, at once for the whole pool, so that both selections can be judged.
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from skatom import Structures, Targets

rng = np.random.RandomState(0)
frames = [bulk("Cu", a=3.6, cubic=True) for _ in range(160)]
for k, atoms in enumerate(frames):
    atoms.rattle(0.12 if k % 8 == 0 else 0.03, rng=rng)
    atoms.calc = EMT()
    atoms.get_forces()
structures = Structures.from_ase(frames)
targets = Targets.from_ase(frames)

# %%
# The model is a linear potential of moment tensors. Three measures put the pool of each split into
# an order: extrapolation grades, and the standard deviation of a Gaussian process, once by the
# largest and once by how much a label would lower the mean variance of the whole pool. The random
# order begins with the same five structures. All are splitters of scikit-learn, whose learning
# curves fit to the first structures of each order.
from sklearn.model_selection import ShuffleSplit, learning_curve

from skatom.descriptors import MomentTensor
from skatom.kernels import Cosine, StructureKernel
from skatom.metrics import neg_force_mae
from skatom.model_selection import ActiveSplit
from skatom.models import LinearPotential
from skatom.selection import KernelVariance, MaxVol

kernel = StructureKernel(Cosine(2), match="average")
measures = {
    "random": None,
    "grades": MaxVol(rows="atom"),
    "largest deviation": KernelVariance(kernel),
    "mean variance": KernelVariance(kernel, criterion="mean"),
}
features = MomentTensor(cutoff=5.5, level=14).fit_transform(structures)
splits = ShuffleSplit(5, test_size=50, random_state=0)
sizes = [10, 15, 25, 40, 60, 110]
errors = {}
for name, measure in measures.items():
    _, _, scores = learning_curve(
        LinearPotential(alpha=1e-8),
        features,
        targets,
        train_sizes=sizes,
        cv=ActiveSplit(measure, splits, random_state=0),
        scoring=neg_force_mae,
        error_score="raise",
    )
    errors[name] = -scores

# %%
# Lines are means of five splits, bands their standard errors; the dashed line is the error with the
# whole pool.
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(5.6, 4.0), layout="constrained")
for name, found in errors.items():
    mean = found.mean(axis=1)
    spread = found.std(axis=1, ddof=1) / np.sqrt(found.shape[1])
    (line,) = ax.loglog(sizes, mean, ".-", label=name)
    ax.fill_between(
        sizes, mean - spread, mean + spread, alpha=0.2, color=line.get_color(), lw=0
    )
whole = errors["random"][-1].mean()
ax.axhline(whole, color="0.4", ls="--", lw=1, label="the whole pool")
ax.set(xlabel="labelled structures", ylabel="force MAE on 50 others (eV/Å)")
ax.set_xticks(sizes, sizes)
ax.legend(frameon=False)
plt.show()

# %%
# How many labels reach an error that is a tenth above that of the whole pool?
for name, found in errors.items():
    reached = np.flatnonzero(found.mean(axis=1) <= 1.1 * whole)
    print(f"{name}: {sizes[reached[0]]} labels")
