"""
Extrapolation across transitions of a polaron
=============================================

The momentum of a polaron on a chain jumps or slides at couplings that no training sample has: a
composite kernel, grown step by step, predicts the dispersions beyond, and the transitions in them.
"""

# %%
# Samples are dispersions :math:`E(K)` at couplings λ below 0.2, where the lowest energy is at
# :math:`K = \pi`. In this model the momentum leaves π at λ = 0.2 and reaches zero at λ = 1; energies
# are smooth functions of both, and transitions only appear where the minimum is looked for.

import matplotlib.pyplot as plt
import numpy as np

from skatom.datasets import polaron_dispersion
from skatom.gaussian_process import KernelSearch, extrapolation_stability

momenta, couplings = np.linspace(0, np.pi, 13), np.linspace(0.02, 0.18, 6)
K, coupling = (a.ravel() for a in np.meshgrid(momenta, couplings, indexing="ij"))
X = np.stack([K, 10 * coupling], axis=1)  # both of order 1
y = polaron_dispersion(K, coupling, ratio=3.0)

# %%
# The search starts with one base kernel and adds, or multiplies with, another one as long as the
# Bayesian information criterion grows.

search = KernelSearch(max_level=2, alpha=1e-6, n_restarts=0, random_state=0).fit(X, y)
for tried in search.path_:
    print(tried.level, f"{tried.expression:15s} {tried.bic:10.1f}")
print("chosen:", search.expression_)

# %%
# A kernel that is grown at random, with hyperparameters of the largest likelihood all the same, and
# the best simple kernel are controls: what matters is the criterion, and the product.

fine, range_of = np.linspace(0, np.pi, 181), np.linspace(0.05, 1.4, 55)
simple = KernelSearch(("RBF",), max_level=0, alpha=1e-6, n_restarts=0).fit(X, y)
random = KernelSearch(
    max_level=2, alpha=1e-6, n_restarts=0, selection="random", random_state=1
)
random.fit(X, y)


def ground_states(predict):
    """The momentum of the lowest energy at each coupling, in units of π."""
    grid = np.stack(np.meshgrid(fine, 10 * range_of, indexing="ij"), axis=-1).reshape(
        -1, 2
    )
    return fine[predict(grid).reshape(len(fine), -1).argmin(axis=0)] / np.pi


def truth(grid):
    return polaron_dispersion(grid[:, 0], grid[:, 1] / 10, ratio=3.0)


fig, (left, right) = plt.subplots(
    1, 2, figsize=(8.0, 3.2), dpi=150, layout="constrained"
)
for value in (0.1, 0.4, 0.8, 1.2):
    (line,) = left.plot(
        fine / np.pi, polaron_dispersion(fine, value, ratio=3.0), lw=3, alpha=0.3
    )
    found = search.predict(np.stack([fine, np.full_like(fine, 10 * value)], axis=1))
    left.plot(fine / np.pi, found, "--", color=line.get_color(), label=f"λ = {value}")
left.set(xlabel="momentum / π", ylabel="energy")
left.legend(frameon=False)
right.axvspan(couplings[0], couplings[-1], color="0.9", label="samples")
right.plot(range_of, ground_states(truth), color="0.6", lw=3, label="exact")
for model, style in ((search, "C0--"), (simple, "C1:"), (random, "C2:")):
    right.plot(range_of, ground_states(model.predict), style, label=model.expression_)
right.set(xlabel="coupling λ", ylabel="momentum of the ground state / π")
right.legend(frameon=False, fontsize=7)

# %%
# Beyond the samples no error can be measured. If a prediction does not move with the samples, it may
# be believed: here is the momentum at λ = 0.8, four times the largest coupling of the samples, by
# models that learn from random parts of these.


def far_momentum(model):
    return ground_states(model.predict)[np.argmin(abs(range_of - 0.8))]


for model in (search, simple):
    found = extrapolation_stability(
        model, X, y, far_momentum, n_splits=5, random_state=0
    )
    print(f"{model.expression_:10s} {found.mean():.2f} ± {found.std():.2f} π")
print(f"exact      {ground_states(truth)[np.argmin(abs(range_of - 0.8))]:.2f} π")
plt.show()
