"""
Where a network sees the energy
===============================

A network that shares its weights among the parts of a system learns from fewer data than one of the
whole, and layer-wise relevance propagation shows what each of them built its prediction on. The system
of the first part is a chain whose true energy is known pair by pair, that of the second is ethanol.
"""

# %%
# Eight points in the plane move along smooth paths. Their energy is a sum over windows of three
# consecutive points, of their distances a, b between neighbours and c between next neighbours.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatom.attribution import energy_by_atom, relevance
from skatom.datasets import load_ethanol
from skatom.descriptors import FCHL19, FeatureScaler, InverseDistances
from skatom.models import LinearPotential, StructuredMLPRegressor
from skatom.plotting import RelevanceDisplay
from skatom.random_features import PrincipalComponents

warnings.simplefilter("ignore", ConvergenceWarning)
first, second = np.triu_indices(8, k=1)
pair = {(i, j): p for p, (i, j) in enumerate(zip(first, second, strict=True))}
windows = np.array(
    [[pair[m, m + 1], pair[m + 1, m + 2], pair[m, m + 2]] for m in range(6)]
)


def chain(n_paths, seed, n_steps=25):
    """Distances of all pairs along paths, the energy, and the energy of each pair."""
    rng, times = (
        np.random.default_rng(seed),
        np.linspace(0, 2 * np.pi, n_steps, endpoint=False),
    )
    points = np.zeros((n_paths, n_steps, 8, 2))
    points[..., 0] = np.arange(8)
    for k in (1, 2, 3):
        waves = rng.normal(scale=0.25 / k, size=(2, n_paths, 1, 8, 2))
        points += waves[0] * np.cos(k * times)[:, None, None]
        points += waves[1] * np.sin(k * times)[:, None, None]
    points = points.reshape(-1, 8, 2)
    d = np.linalg.norm(points[:, first] - points[:, second], axis=2)
    of_pairs = np.zeros_like(d)
    for a, b, c in windows:
        of_pairs[:, a] += (d[:, a] - 1) ** 2
        of_pairs[:, b] += (d[:, b] - 1) ** 2
        of_pairs[:, c] += 0.5 * (d[:, c] - 2) ** 2
    return d, of_pairs.sum(axis=1), of_pairs


X, y, _ = chain(6, seed=0)
X_test, y_test, true = chain(20, seed=1)

# %%
# The plain network takes all 28 distances. The structured one applies a small network to the three
# distances of each window and adds the outputs; the columns of the table are repeated for it. It is
# trained with rectifiers, too, whose forces have steps.
kinds = {
    "plain": (np.arange(28), None, "centered softplus"),
    "structured": (windows.ravel(), 6, "centered softplus"),
    "structured, rectifiers": (windows.ravel(), 6, "relu"),
    "plain, rectifiers": (np.arange(28), None, "relu"),
}
models = {}
for name, (columns, n_groups, activation) in kinds.items():
    network = StructuredMLPRegressor(
        activation=activation, n_groups=n_groups, max_iter=150, random_state=0
    )
    models[name] = make_pipeline(StandardScaler(), network).fit(X[:, columns], y)
    print(f"{name:23} R² = {models[name].score(X_test[:, columns], y_test):.3f}")

# %%
# Prediction along two paths of the test:
fig, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
for ax, name in zip(axes, ("plain", "structured"), strict=True):
    predicted = models[name].predict(X_test[:50, kinds[name][0]])
    ax.plot(y_test[:50], "k:", label="true")
    ax.plot(predicted, label=name)
    ax.fill_between(np.arange(50), y_test[:50], predicted, alpha=0.3)
    ax.set_ylabel("energy")
    ax.legend(frameon=False, loc="upper right")
axes[-1].set_xlabel("step")
plt.show()


# %%
# The relevance of each pair, as a share of the energy, summed over the test. The network of windows
# cannot use far pairs. The plain one does, since all distances together are more than enough to know
# the points, although these pairs have no energy. The rest belongs to biases.
def shares(name):
    """Relevances of pairs, summed over the test, relative to the energy."""
    columns = kinds[name][0]
    found = relevance(models[name], X_test[:, columns]).by_structure().sum(axis=0)
    return np.bincount(columns, found, 28) / y_test.sum()


found = {"true": true.sum(axis=0) / y_test.sum()}
found |= {
    name: shares(name) for name in ("plain, rectifiers", "structured, rectifiers")
}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for ax, (name, values) in zip(axes, found.items(), strict=True):
    sizes, colors = 1500 * np.abs(values), np.where(values > 0, "C3", "C0")
    ax.scatter(first + 1, second + 1, sizes, colors, edgecolors="0.3", linewidths=0.5)
    ax.set_title(f"{name}: {100 * values.sum():.0f} % of the energy", fontsize=9)
    ax.set(xlim=(0.3, 8.7), ylim=(8.7, 0.3), xlabel="point", aspect="equal")
axes[0].set_ylabel("point")
plt.show()
for name, values in found.items():
    far = np.abs(values[second - first > 2]).sum() / np.abs(values).sum()
    print(f"{name:23} far pairs have {100 * far:.0f} % of all shares")

# %%
# Ethanol, with a network for the atoms of each element: the energy is a sum over atoms.
data = load_ethanol()
train, test = slice(0, 1200, 12), slice(1300, 2400, 20)
atomic = make_pipeline(
    FCHL19(cutoff=4.0, n_r2=10, n_r3=6),
    FeatureScaler("standard", out_of_range="ignore"),
    PrincipalComponents(24),
    FeatureScaler("standard", out_of_range="ignore"),
    StructuredMLPRegressor(solver="lbfgs", max_iter=150, random_state=0),
).fit(data.structures[train], data.targets[train])
print(
    f"R² of test energies: {atomic.score(data.structures[test], data.targets[test]):.3f}"
)

# %%
# Energies of atoms differ between elements by an arbitrary constant. What is left when the mean of
# each atom is taken off shows where the energy of one frame is: here the hottest one of the test.
local = energy_by_atom(atomic, data.structures[test]).reshape(-1, 9)
hottest = data.targets.energy[test].argmax()
excess = local[hottest] - local.mean(axis=0)
one = data.structures[test][hottest]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
RelevanceDisplay(one, excess, name="energy above the mean (eV)").plot(axes[0])

# %%
# A linear model of inverse distances attributes the energy to pairs of atoms, relative to the mean
# distance. It is a crude model, and strong pairs of opposite sign, which move together, cancel: a
# share is what the model used, not what the molecule is.
pairs = make_pipeline(
    InverseDistances(),
    FeatureScaler("standard", out_of_range="ignore"),
    LinearPotential(),
).fit(data.structures[train], data.targets[train])
RelevanceDisplay.from_estimator(pairs, one, ax=axes[1])
plt.show()
