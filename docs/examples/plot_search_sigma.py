"""
Searching the length scale
==========================

``sigma`` is the one parameter of sGDML that has to be found for each molecule. It is a parameter
like any other, and `SharedGridSearchCV` searches it as scikit-learn's `GridSearchCV` would, in less
time. The score is the negative force error.
"""

# %%
# Five folds of 120 frames. The folds are contiguous blocks of the trajectory, so no test frame has
# its neighbour in time among the training frames.
from skatom.datasets import load_ethanol
from skatom.model_selection import BlockKFold, SharedGridSearchCV
from skatom.models import SGDML

data = load_ethanol()
every_20th = slice(0, 2400, 20)
search = SharedGridSearchCV(
    SGDML(random_state=0),
    {"sigma": [2.5, 5, 10, 20, 40, 80, 160]},
    scoring="neg_force_mae",
    cv=BlockKFold(n_splits=5),
)
search.fit(data.structures[every_20th], data.targets[every_20th])
print(search.best_params_)

# %%
# Each point is the mean of five folds, each bar their standard deviation. The minimum is broad: a
# factor of two in ``sigma`` costs little. A best value at the edge of the grid is a warning: extend
# the grid.
import matplotlib.pyplot as plt

sigmas = search.cv_results_["param_sigma"].astype(float)
mean = -1000 * search.cv_results_["mean_test_score"]
spread = 1000 * search.cv_results_["std_test_score"]

figure, ax = plt.subplots(figsize=(5.0, 3.6), layout="constrained")
ax.errorbar(sigmas, mean, spread, fmt="o-", capsize=3)
ax.plot(
    sigmas[search.best_index_],
    mean[search.best_index_],
    "o",
    ms=11,
    mfc="none",
    color="C3",
)
ax.annotate(
    f"sigma {sigmas[search.best_index_]:g}",
    (sigmas[search.best_index_], mean[search.best_index_]),
    xytext=(0, -45),
    textcoords="offset points",
    ha="center",
    color="C3",
)
ax.set(xscale="log", xlabel="sigma (1/Å)", ylabel="force MAE (meV/Å)", ylim=(0, None))
ax.set_xticks(sigmas, [f"{sigma:g}" for sigma in sigmas])
ax.minorticks_off()
ax.grid(True, alpha=0.3, linewidth=0.5)
plt.show()

# %%
# The search has fitted the best model to all 120 frames, and predicts by it.
new = data.structures[10:13]
energy, forces = search.predict(new, return_forces=True)
print(energy.shape, forces.shape)
