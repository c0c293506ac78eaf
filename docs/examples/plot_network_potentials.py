"""
Sampled networks, and a leak
============================

Networks whose hidden weights are drawn from pairs of training points need no training but a linear
solve. The potentials of `skatom.network_potentials` differ in what the network sees of the
molecule. The order of their errors, and how small these are, depends on the protocol.
"""

# %%
# Frames of the test come from another part of the trajectory than those of the training.
import matplotlib.pyplot as plt
import numpy as np

from skatom import Targets
from skatom import network_potentials as potentials
from skatom.datasets import load_ethanol
from skatom.metrics import neg_energy_mae

data = load_ethanol()
n, rng = len(data.structures), np.random.default_rng(0)
train, test = np.arange(0, n // 2, n // 160), np.arange(n // 2 + 50, n, n // 80)
settings = {"n_features": 500, "random_state": 0}
models = {
    "Cartesian": potentials.cartesian_potential(**settings),
    "Coulomb matrix": potentials.isometric_potential(**settings),
    "eigenvalues": potentials.permutation_invariant_potential(**settings),
    "singular values": potentials.permutation_invariant_potential(
        order="singular values", **settings
    ),
    "angles": potentials.higher_order_potential(**settings),
    "triplets": potentials.higher_order_potential(kind="gaussians", **settings),
    "nested sets": potentials.shallow_set_potential(n_functions=30, **settings),
    "flat sets": potentials.shallow_set_potential(
        layout="flat", n_functions=30, **settings
    ),
    "extensive": potentials.extensive_potential(100, random_state=0),
}


def energy_error(model, train, test):
    """Mean absolute error in meV of a model of energies alone, as in the thesis."""
    model.fit(data.structures[train], Targets(energy=data.targets.energy[train]))
    return -1000 * neg_energy_mae(model, data.structures[test], data.targets[test])


clean = [energy_error(model, train, test) for model in models.values()]

# %%
# The leak: frames are drawn with replacement from a short window of the trajectory, and then
# divided at random. About half of the frames of the test are also in the training, and the others
# are close to one of it.
window = rng.choice(150, 120)
mixed = rng.permutation(window)
leaking = [energy_error(model, mixed[:84], mixed[84:]) for model in models.values()]
shared = np.isin(mixed[84:], mixed[:84]).mean()
print(f"{100 * shared:.0f} % of the test frames are training frames")

# %%
# With the leak nearly all errors are smaller, some by a factor of three, although the models learn
# from half as many frames; the order of the models is another one, too.
fig, ax = plt.subplots(figsize=(7, 4))
places = np.arange(len(models))
ax.bar(places - 0.2, clean, 0.4, label="other frames")
ax.bar(places + 0.2, leaking, 0.4, label="with the leak")
ax.set_xticks(places, models, rotation=30, ha="right")
ax.set_ylabel("energy MAE (meV)")
ax.set_yscale("log")
ax.legend()
fig.tight_layout()
plt.show()
for name, a, b in zip(models, clean, leaking, strict=True):
    print(f"{name:16} {a:6.1f} {b:6.1f}")
