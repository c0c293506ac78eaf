"""
Polarisabilities that rotate with the molecule
==============================================

A polarisability is a tensor: it rotates with the molecule. A model of λ-SOAP kernels has this
symmetry exactly.
"""

# %%
# The labels come from a classical model: every atom of ethanol is polarisable, and the dipoles
# that an external field induces act on each other, less so where atoms overlap [1]_. Every frame
# is turned at random, so that nothing can be learnt from how it lies.
#
# .. [1] B. T. Thole, Chem. Phys. 59, 341 (1981).
import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.transform import Rotation
from sklearn.pipeline import make_pipeline

from skatom.datasets import load_ethanol
from skatom.descriptors import LambdaSOAP
from skatom.models import TensorKernelRidge

OF_ATOMS = {1: 0.514, 6: 1.405, 8: 0.862}  # Å³
DAMPING = 1.662


def polarizability(atoms):
    n = len(atoms)
    alone = np.array([OF_ATOMS[z] for z in atoms.numbers])
    vectors = atoms.positions[:, None] - atoms.positions
    distances = np.linalg.norm(vectors, axis=2) + np.eye(n)
    overlap = np.minimum(distances / (DAMPING * np.outer(alone, alone) ** (1 / 6)), 1)
    along = 3 * overlap**4 / distances**5
    across = (4 * overlap**3 - 3 * overlap**4) / distances**3
    matrix = np.einsum("ab,xy->axby", across, np.eye(3))
    matrix -= np.einsum("ab,abx,aby->axby", along, vectors, vectors)
    matrix[np.arange(n), :, np.arange(n)] = np.eye(3) / alone[:, None, None]
    return (
        np.linalg.inv(matrix.reshape(3 * n, 3 * n)).reshape(n, 3, n, 3).sum(axis=(0, 2))
    )


molecules = load_ethanol().structures[::5].to_ase()
for atoms, rotation in zip(
    molecules, Rotation.random(len(molecules), np.random.default_rng(0)), strict=True
):
    atoms.positions = rotation.apply(atoms.positions)
tensors = np.array([polarizability(atoms) for atoms in molecules])
print(len(molecules), "molecules; the first tensor in Å³:", tensors[0], sep="\n")

# %%
# One estimator learns the isotropic and the anisotropic part, each with its own kernel.
model = make_pipeline(
    LambdaSOAP(cutoff=4.0), TensorKernelRidge("polarizability", alpha=1e-6)
)
sizes, scores = [10, 30, 100], []
for size in sizes:
    model.fit(molecules[:size], tensors[:size])
    scores.append(model.score(molecules[300:], tensors[300:]))
errors = np.sqrt(1 - np.array(scores))

figure, ax = plt.subplots(figsize=(5.0, 3.8), layout="constrained")
ax.loglog(sizes, errors, "o-")
ax.set_xticks(sizes, sizes)
ax.set_yticks([0.02, 0.05, 0.1], ["2 %", "5 %", "10 %"])
ax.minorticks_off()
ax.set_xlabel("molecules to learn from")
ax.set_ylabel("error / error of the mean isotropic tensor")
plt.show()

# %%
# A molecule is rotated by one whole revolution. The model follows the curves of the elements of its
# tensor: it was trained on other molecules, but rotations need not be learnt.
angles = np.linspace(0, 360, 61)
turning = [molecules[300].copy() for _ in angles]
for atoms, angle in zip(turning, angles, strict=True):
    atoms.rotate(angle, "z")
predicted = model.predict(turning)
true = np.array([polarizability(atoms) for atoms in turning])
figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for (i, j), name in {(0, 0): "xx", (0, 1): "xy", (2, 2): "zz"}.items():
    (line,) = ax.plot(angles, predicted[:, i, j], label=f"$\\alpha_{{{name}}}$")
    ax.plot(angles[::5], true[::5, i, j], "o", color=line.get_color(), ms=4)
ax.set_xlabel("angle of rotation about z (°)")
ax.set_xticks(range(0, 361, 60))
ax.set_ylabel("polarisability (Å³); points: reference")
ax.legend(ncols=3)
plt.show()
