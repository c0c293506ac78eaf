"""
Torsions: turning the hydroxyl and the methyl group
===================================================

Two rotors make up the soft motions of ethanol. A relaxed scan fixes one dihedral angle, lets
everything else relax, and so maps the path over each barrier.
"""

# %%
# A model of 300 frames, and the relaxed molecule. Atom 0 is the carbon of the methyl group with
# hydrogens 6, 7 and 8, 1 the other carbon, 2 oxygen and 3 the hydrogen on it.
import numpy as np
from ase.constraints import FixInternals
from ase.optimize import BFGS

from skatom.calculators import SkatomCalculator
from skatom.datasets import load_ethanol
from skatom.model_selection import energy_stratified_sample
from skatom.models import SGDML

data = load_ethanol()
train = energy_stratified_sample(data.targets, 300, random_state=0)
model = SGDML(random_state=0).fit(data.structures[train], data.targets[train])

start = data.structures[np.argmin(data.targets.energy)].to_ase()[0]
start.calc = SkatomCalculator(model)
BFGS(start, logfile=None).run(fmax=1e-3)

# %%
# `ase.constraints.FixInternals` keeps the dihedral angle while the rest relaxes. Each angle starts
# from the geometry of the one before.


def scan(dihedral, turned, angles):
    """Relaxed energies (eV) at the given angles (°) of a dihedral; ``turned`` move with it."""
    atoms = start.copy()
    atoms.calc = SkatomCalculator(model)
    energies = []
    for angle in angles:
        atoms.set_constraint()
        atoms.set_dihedral(*dihedral, angle, indices=turned)
        atoms.set_constraint(FixInternals(dihedrals_deg=[[angle, dihedral]]))
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
        energies.append(atoms.get_potential_energy())
    return np.array(energies)


angles = np.arange(0, 361, 10)
rotors = {
    "hydroxyl, C-C-O-H": scan([0, 1, 2, 3], [3], angles),
    "methyl, O-C-C-H": scan([2, 1, 0, 6], [6, 7, 8], angles),
}
lowest = min(energies.min() for energies in rotors.values())

# %%
# The angles that occur in the training frames, to see where the model has data.


def occurring(a, b, c, d):
    return np.array(
        [atoms.get_dihedral(a, b, c, d) for atoms in data.structures[train].to_ase()]
    )


seen = {
    "hydroxyl, C-C-O-H": occurring(0, 1, 2, 3),
    "methyl, O-C-C-H": np.concatenate([occurring(2, 1, 0, h) for h in (6, 7, 8)]),
}

# %%
# The curves are the relaxed energies, the grey columns count the training frames at each angle.
# The methyl group has three equal minima and three equal barriers, because the model is symmetric
# under its rotation. The hydroxyl group has a minimum at 180° (trans) and two at 60° and 300°
# (gauche), which are mirror images. GFN2-xTB, which labelled the data, puts gauche below trans, and
# the trajectory agrees: it visits gauche more often. There are few frames on the barriers, so
# the model is less certain there than in the minima.
import matplotlib.pyplot as plt

figure, panels = plt.subplots(
    1, 2, figsize=(8.4, 3.6), sharey=True, layout="constrained"
)
for panel, (title, energies) in zip(panels, rotors.items(), strict=True):
    panel.plot(angles, 1000 * (energies - lowest), "o-", ms=3)
    panel.set(title=title, xlabel="dihedral angle (°)", xticks=range(0, 361, 60))
    histogram = panel.twinx()
    histogram.hist(seen[title], bins=np.arange(0, 361, 10), color="0.85", zorder=0)
    histogram.set(yticks=[])
    panel.set_zorder(histogram.get_zorder() + 1)
    panel.patch.set_visible(False)
panels[0].set_ylabel("relaxed energy (meV)")
plt.show()
