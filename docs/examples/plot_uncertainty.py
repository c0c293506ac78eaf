"""
Uncertainty along a path
========================

An atom leaves its site in a silicon crystal. The training set has atoms that were displaced a
little. How far along the path is the model accurate, and does its standard deviation show it?
"""

# %%
# Labels come from Tersoff's potential, so that the true error is known at every point of the path.
import numpy as np
from ase.build import bulk
from ase.calculators.tersoff import Tersoff, TersoffParameters

silicon = TersoffParameters(
    A=1830.8, B=471.18, lambda1=2.4799, lambda2=1.7322, lambda3=0.0, beta=1.1e-6, gamma=1.0, m=3,
    n=0.78734, c=100390.0, d=16.217, h=-0.59825, R=2.85, D=0.15,
)  # fmt: skip
reference = Tersoff({("Si", "Si", "Si"): silicon})


def label(images):
    """Structures and targets of a list of ase.Atoms."""
    energies, forces = [], []
    for atoms in images:
        atoms.calc = reference
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
    structures = Structures.from_ase(images)
    return structures, Targets(
        energies, np.concatenate(forces), offsets=structures.offsets
    )


# %%
# Training cells are rattled by 0.1 Å. The path takes one atom from its site away from one of its
# neighbours, through the open channel of the crystal.
from skatom import Structures, Targets

rng = np.random.RandomState(0)
crystal = bulk("Si", "diamond", a=5.432, cubic=True)
rattled = [crystal.copy() for _ in range(40)]
for atoms in rattled:
    atoms.rattle(0.1, rng=rng)
structures, targets = label(rattled)

distances = np.linspace(0.05, 1.2, 24)
path = [crystal.copy() for _ in distances]
for atoms, distance in zip(path, distances, strict=True):
    atoms.positions[0] -= distance * np.ones(3) / np.sqrt(3)
path_structures, path_targets = label(path)

# %%
# ``return_std=True`` adds the standard deviations of the energies, and ``return_forces_std=True``
# those of every component of the forces.
from sklearn.pipeline import make_pipeline

from skatom.descriptors import SOAP
from skatom.kernels import Cosine
from skatom.models import SparseGaussianProcess

model = make_pipeline(
    SOAP(cutoff=4.5, n_max=8, l_max=6, sigma=0.4),
    SparseGaussianProcess(
        3.0 * Cosine(zeta=4), n_sparse=200, noise_forces=0.03, random_state=0
    ),
).fit(structures, targets)
energies, forces, energy_std, force_std = model.predict(
    path_structures, return_forces=True, return_std=True, return_forces_std=True
)

# %%
# Error and standard deviation stay small up to the displacements of the training data, and grow
# together beyond them. From 0.6 Å on a bond is broken, which the data do not contain. The standard
# deviation assumes that the kernel is right: it says that the model fails there, but not by how
# much. Check its scale on test data, as below; rely on the order of its values, for example to
# choose which structures to compute next.
import matplotlib.pyplot as plt

error = np.abs(energies - path_targets.energy)
force_error = np.linalg.norm(
    (forces - path_targets.forces).reshape(len(path), -1, 3)[:, 0], axis=1
)
force_scale = np.linalg.norm(force_std.reshape(len(path), -1, 3)[:, 0], axis=1)
seen = np.linalg.norm(
    structures.positions.reshape(-1, 8, 3) - crystal.positions, axis=2
).max()

figure, (upper, lower) = plt.subplots(
    2, 1, sharex=True, figsize=(6, 6), layout="constrained"
)
upper.plot(
    distances,
    path_targets.energy - path_targets.energy[0],
    "k--",
    lw=1,
    label="Tersoff",
)
upper.plot(distances, energies - path_targets.energy[0], label="model")
upper.fill_between(
    distances, *(energies - path_targets.energy[0] + s * 2 * energy_std for s in (-1, 1)),
    alpha=0.3, lw=0, label="± 2 std",
)  # fmt: skip
upper.set(ylabel="energy (eV)")
upper.legend()
lower.semilogy(distances, force_error, "k.", label="error of the atom's force")
lower.semilogy(distances, force_scale, label="its std")
lower.set(xlabel="displacement (Å)", ylabel="eV/Å")
lower.axvspan(0, seen, color="0.92", zorder=-1, label="displacements in the data")
lower.legend()
plt.show()

# %%
# On rattled cells that were not in training, errors beside standard deviations.
fresh = [crystal.copy() for _ in range(10)]
for atoms in fresh:
    atoms.rattle(0.1, rng=rng)
test_structures, test_targets = label(fresh)
energies, forces, energy_std, force_std = model.predict(
    test_structures, return_forces=True, return_std=True, return_forces_std=True
)
from scipy.stats import spearmanr

ratio = np.std((forces - test_targets.forces) / force_std)
print(f"errors of forces are {ratio:.1f} times their standard deviations")
rank = spearmanr(force_error, force_scale).statistic
print(f"rank correlation of errors and standard deviations along the path: {rank:.2f}")
