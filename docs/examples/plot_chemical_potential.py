"""
What a network sees around a molecule
=====================================

A network learns energies of whole molecules and has to divide them among the atoms by itself. What it
has found can be seen with a probe: one more atom, which feels the molecule and is not felt by it. Its
energy, on a surface around the molecule, shows which places the network takes to be alike.
"""

# %%
# SchNet learns ethanol and benzene together, from 75 frames of each.
import matplotlib.pyplot as plt
import numpy as np

from skatom import Structures, Targets
from skatom.attribution import bond_sensitivity, local_chemical_potential
from skatom.datasets import load_benzene, load_ethanol
from skatom.metrics import evaluate
from skatom.models import SchNet
from skatom.plotting import ChemicalPotentialDisplay, RankedRingsDisplay

ethanol, benzene = load_ethanol(), load_benzene()


def frames(start, stop, step):
    """Frames of both molecules, and their labels."""
    parts = [
        (data.structures[start:stop:step], data.targets[start:stop:step])
        for data in (ethanol, benzene)
    ]
    structures = Structures.concatenate([structures for structures, _ in parts])
    labels = {
        name: np.concatenate([getattr(targets, name) for _, targets in parts])
        for name in ("energy", "forces")
    }
    return structures, Targets(**labels, offsets=structures.offsets)


model = SchNet(
    n_features=24,
    n_interactions=2,
    batch_size=10,
    max_iter=40,
    learning_rate_init=3e-3,
    random_state=0,
).fit(*frames(0, 900, 12))
errors = evaluate(model, *frames(1000, 1500, 10))
print(
    f"energy: {1000 * errors['energy_mae_per_atom']:.1f} meV per atom, "
    f"forces: {errors['force_mae']:.2f} eV/Å"
)


# %%
# The energy of a carbon and of a hydrogen probe, close to the atoms. The rings of colour follow the
# symmetry of the molecule, which nobody told the network. Both probes receive the same messages, and
# differ in the vectors with which they begin.
def relaxed(data):
    """The frame of the lowest energy."""
    return data.structures[int(data.targets.energy.argmin())]


molecules = {"benzene": relaxed(benzene), "ethanol": relaxed(ethanol)}
fig, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
for row, (name, molecule) in zip(axes, molecules.items(), strict=True):
    for ax, probe in zip(row, ("H", "C"), strict=True):
        ChemicalPotentialDisplay.from_estimator(model, molecule, probe=probe, ax=ax)
        ax.set_title(name, fontsize=10)
plt.show()

# %%
# The same for hydrogen on planes above the ring, 1.5 and 0.5 Å.
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for ax, height in zip(axes, (1.5, 0.5), strict=True):
    ChemicalPotentialDisplay.from_estimator(
        model, molecules["benzene"], height=height, ax=ax
    )
    ax.set_title(f"{height} Å above the middle", fontsize=10)
plt.show()

# %%
# Along the line from a hydrogen atom of benzene outwards: a probe that is not felt, and the change of
# the whole energy, in which the others answer.
ring = molecules["benzene"].positions
outermost = np.linalg.norm(ring - ring.mean(axis=0), axis=1).argmax()
outwards = ring[outermost] - ring.mean(axis=0)
distances = np.linspace(0.6, 5.5, 60)
points = ring[outermost] + distances[:, None] * outwards / np.linalg.norm(outwards)
fig, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
for kind in ("probe", "insertion"):
    energies = local_chemical_potential(model, molecules["benzene"], points, kind=kind)
    ax.plot(distances, energies - energies[-1], label=kind)
ax.set(xlabel="distance from the hydrogen atom (Å)", ylabel="energy (eV)")
ax.legend(frameon=False)
plt.show()

# %%
# How far the network looks: how fast the features of an atom change with the distance of one other, above
# the distances in the training frames. It sees up to 5 Å, but within 2 Å, where bonds are, features change
# ten times as fast as beyond. Waves between are its own: there are gaps without any training distance.
r = np.linspace(0.8, 5.2, 120)
fig, axes = plt.subplots(
    2, 1, figsize=(6, 4.5), sharex=True, height_ratios=(2, 1), layout="constrained"
)
training, _ = frames(0, 900, 12)
for first, second in (("C", "H"), ("C", "C"), ("H", "H"), ("O", "H")):
    curve = bond_sensitivity(model, (first, second), r)
    (line,) = axes[0].plot(r, curve, label=f"{first} beside {second}")
    seen = [
        atoms.get_distance(i, j)
        for atoms in training.to_ase()
        for i in range(len(atoms))
        for j in range(len(atoms))
        if i != j and (atoms[i].symbol, atoms[j].symbol) == (first, second)
    ]
    axes[1].hist(seen, bins=r, histtype="step", density=True, color=line.get_color())
axes[0].set(ylabel="change of features (1/Å)", ylim=(0, None))
axes[0].legend(frameon=False)
axes[1].set(xlabel="distance (Å)", ylabel="frequency (1/Å)")
plt.show()

# %%
# The energies that the network gives to the six carbon atoms of a ring rank rings. Here they are those of 200
# frames of one molecule, from the most stable ring to the least stable one; with networks of many molecules
# the rings differ in what is bonded to them.
RankedRingsDisplay.from_estimator(model, benzene.structures[1000:2000:5])
plt.show()
