"""
The symmetries of benzene, found in a trajectory
================================================

sGDML needs to know which atoms are alike *and* can take each other's place: a permutation of the
atoms that leaves every distance matrix of the molecule a possible one. skatom finds them in the
training frames. This page draws what it finds for benzene, whose group has twelve elements.
"""

# %%
# Two hundred frames at 500 K are enough. Frames are compared in pairs, so the cost is quadratic;
# beyond 1,000 frames a random part of them is used.
from skatom.datasets import load_benzene
from skatom.symmetry import find_permutations

data = load_benzene()
permutations = find_permutations(data.structures[::7][:200], random_state=0)
print(f"{len(permutations)} permutations of {len(permutations[0])} atoms")
print(permutations)

# %%
# A row q stands for the structure in which place a is taken by atom q[a] of the original. To name
# the operation, walk around the ring and see where the carbons have gone. If they follow each other
# in the same sense, the ring was turned; if not, it was reflected, through two atoms or through two
# bonds. (Turning benzene over is a reflection of the ring as well: as permutations they are the
# same.)
import numpy as np

frame = data.structures[0].to_ase()[0]
carbon = np.flatnonzero(frame.numbers == 6)
hydrogen = np.flatnonzero(frame.numbers == 1)

# flat coordinates: the two longest principal axes of the frame
centered = frame.positions - frame.positions[carbon].mean(axis=0)
axes = np.linalg.svd(centered)[2][:2]
flat = centered @ axes.T
angle = np.arctan2(flat[:, 1], flat[:, 0])
ring = carbon[np.argsort(angle[carbon])]
place = {atom: k for k, atom in enumerate(ring)}


def name(permutation):
    taken = [place[permutation[atom]] for atom in ring]
    if (taken[1] - taken[0]) % 6 == 1:
        turn = 60 * taken[0]
        return f"turned by {min(turn, 360 - turn)}°" if turn else "identity"
    fixed = sum(k == other for k, other in enumerate(taken))
    return "reflected through atoms" if fixed else "reflected through bonds"


names = [name(permutation) for permutation in permutations]
order = sorted(range(len(names)), key=lambda q: (len(names[q]), names[q], q))
for title in dict.fromkeys(names[q] for q in order):
    print(names.count(title), title)

# %%
# The twelve elements drawn. Colours and numbers belong to atoms, corners to places.
import matplotlib.pyplot as plt

partner = [hydrogen[np.argmin(frame.get_distances(atom, hydrogen))] for atom in ring]
color = {
    atom: plt.cm.twilight((k + 0.5) / 6)
    for atoms in (ring, partner)
    for k, atom in enumerate(atoms)
}
corner = np.radians(90 - 60 * np.arange(7))
corners = np.column_stack([np.cos(corner), np.sin(corner)])

figure, panels = plt.subplots(3, 4, figsize=(8.4, 6.9), layout="constrained")
for panel, permutation in zip(panels.flat, permutations[order], strict=True):
    panel.plot(*corners.T, color="0.6", lw=1.5, zorder=0)
    for xy, carbon_place, hydrogen_place in zip(
        corners[:6], ring, partner, strict=True
    ):
        panel.plot(*np.array([xy, 1.55 * xy]).T, color="0.8", lw=1.5, zorder=0)
        for at, seat, size in (
            (xy, carbon_place, 330),
            (1.55 * xy, hydrogen_place, 190),
        ):
            atom = permutation[seat]
            panel.scatter(*at, s=size, color=color[atom], edgecolors="k", lw=0.6)
            panel.text(
                *at, str(atom), ha="center", va="center_baseline", fontsize=8,
                color="k" if sum(color[atom][:3]) > 1.4 else "w",
            )  # fmt: skip
    panel.set_title(name(permutation), fontsize=9)
    panel.set(aspect="equal", xlim=(-1.9, 1.9), ylim=(-1.9, 1.9))
    panel.axis("off")
plt.show()

# %%
# A model that knows the group gives permuted structures the same energy, and permuted forces, up to
# rounding. A model that does not know it has to learn each copy of a geometry anew.
from skatom import Structures
from skatom.models import GDML, SGDML

train, test = slice(0, 1500, 15), data.structures[7]
images = Structures.from_frames(frame.numbers, test.positions[permutations])
for model in (GDML(), SGDML(random_state=0)):
    energies = model.fit(data.structures[train], data.targets[train]).predict(images)
    print(
        f"{type(model).__name__:6} spread of the 12 energies {np.ptp(energies):.1e} eV"
    )
