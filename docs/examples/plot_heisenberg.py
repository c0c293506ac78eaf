"""
An order parameter from the other side of the transition
========================================================

Free energies of the Heisenberg model in mean field are learnt above the critical temperature, where
the magnetisation is zero, and tell the magnetisation below.
"""

# %%
# There are 330 samples of the free energy :math:`f(T, m)`, all of the paramagnet, and simple kernels.
# The one of the largest Bayesian information criterion is chosen.

import matplotlib.pyplot as plt
import numpy as np

from skatom.datasets import heisenberg_free_energy
from skatom.gaussian_process import KernelSearch, extrapolation_stability

critical = 1.25
T, m = (
    a.ravel()
    for a in np.meshgrid(
        np.linspace(1.47, 2.08, 11), np.linspace(-1.25, 1.25, 30), indexing="ij"
    )
)
X, y = np.stack([T, m], axis=1), heisenberg_free_energy(T, m, critical)

models = {
    name: KernelSearch((name,), ard=False, max_level=0, n_restarts=0).fit(X, y)
    for name in ("RQ", "RBF", "MAT")
}
for name, model in models.items():
    print(f"{name:3s} {model.bic_:8.1f}")

# %%
# The order parameter is the magnetisation of the smallest predicted free energy. It is known in closed
# form, :math:`m_0 = \sqrt 3\, (T / T_c) \sqrt{1 - T / T_c}`.

temperatures, grid = np.linspace(0.8, 1.5, 29), np.linspace(0, 1.25, 251)


def order(model):
    inputs = np.stack(np.meshgrid(temperatures, grid, indexing="ij"), axis=-1).reshape(
        -1, 2
    )
    return grid[model.predict(inputs).reshape(len(temperatures), -1).argmin(axis=1)]


ratio = np.minimum(temperatures / critical, 1)
exact = np.sqrt(3) * ratio * np.sqrt(1 - ratio)
ax = plt.subplots(figsize=(4.8, 3.6), dpi=150, layout="constrained")[1]
ax.plot(temperatures, exact, color="0.6", lw=3, label="exact")
for name, model in models.items():
    error = np.abs(order(model) - exact).mean()
    ax.plot(temperatures, order(model), "--", label=f"{name}, mean error {error:.3f}")
ax.axvspan(X[:, 0].min(), temperatures[-1], color="0.9", label="samples from here on")
ax.set(xlabel="temperature", ylabel="order parameter")
ax.legend(frameon=False, loc="lower left")

# %%
# The critical temperature moves little if models learn from random halves of the samples.


def critical_temperature(model):
    return temperatures[np.argmax(order(model) < 0.02)]


found = extrapolation_stability(
    models["RBF"],
    X,
    y,
    critical_temperature,
    n_splits=5,
    train_size=0.5,
    random_state=0,
)
print(
    f"critical temperature {found.mean():.2f} ± {found.std():.2f}, exactly {critical}"
)
plt.show()
