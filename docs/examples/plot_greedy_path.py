"""
How many terms a linear model needs
===================================

`GreedyOLS` chooses features one by one and keeps every model on the way. The error against the
number of terms shows where the model begins to fit what does not repeat in other data. It depends
on the choice of held-out frames whether one sees that.
"""

# %%
# The data are relaxations of disordered copper-gold crystals in the EMT potential: five
# compositions, eight paths of each, 15 frames a path. Frames of one path are nearly equal.
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import FIRE

from skatom import Structures


def crystal(n_gold, rng):
    """A rattled crystal of 32 atoms at about the volume of the mixture."""
    a = 3.6 + 0.46 * n_gold / 32
    atoms = bulk("Cu", a=a, cubic=True) * 2
    atoms.symbols[rng.permutation(32)[:n_gold]] = "Au"
    atoms.positions += rng.normal(scale=0.15, size=(32, 3))
    return atoms


def relax(atoms, steps=15):
    """Frames of a relaxation and their energies in eV an atom."""
    atoms.calc = EMT()
    images, energies = [], []
    for _ in FIRE(atoms, logfile=None, maxstep=0.1).irun(fmax=0.01, steps=steps - 1):
        images.append(atoms.copy())
        energies.append(atoms.get_potential_energy() / len(atoms))
    return images, energies


rng = np.random.default_rng(0)
images, energies, paths = [], [], []
for path in range(40):
    frames, labels = relax(crystal(4 + 6 * (path % 5), rng))
    images += frames
    energies += labels
    paths += [path] * len(frames)
structures, energies, paths = (
    Structures.from_ase(images),
    np.array(energies),
    np.array(paths),
)
print(structures)

# %%
# Every fifth path of each composition is kept for the test. Features are SOAP, averaged over the
# atoms.
from skatom.descriptors import SOAP
from skatom.model_selection import StratifiedPathKFold

soap = SOAP(cutoff=5.0, n_max=4, l_max=3, pool="mean")
X = soap.fit_transform(structures)
train, test = next(
    StratifiedPathKFold(5, random_state=0).split(structures, groups=paths)
)
print(
    X.shape[1],
    "features,",
    len(train),
    "frames of",
    len(set(paths[train])),
    "paths to train on",
)

# %%
# The number of terms is chosen twice: by held-out frames drawn at random, and by held-out paths.
# The training error keeps falling. The error of random frames falls with it; that of whole paths
# follows the error of the test.
import matplotlib.pyplot as plt
from sklearn.model_selection import GroupKFold, KFold

from skatom.models import GreedyOLS
from skatom.plotting import GreedyPathDisplay

folds = {
    "random frames": KFold(5, shuffle=True, random_state=0),
    "whole paths": GroupKFold(5),
}
figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), sharey=True, layout="constrained")
models = {}
for ax, (name, cv) in zip(axes, folds.items(), strict=True):
    groups = paths[train] if name == "whole paths" else None
    models[name] = GreedyOLS(cv=cv, max_terms=140).fit(
        X[train], energies[train], groups=groups
    )
    GreedyPathDisplay.from_estimator(
        models[name], X[test], energies[test], name="RMSE (eV/atom)", ax=ax
    )
    ax.set_title(f"held out: {name}")
plt.show()

# %%
# The mean of many models, each of other paths and of candidates drawn at random, has the smallest
# error on new paths. Strained crystals are a harder test, since no path contains any: there the
# model with the many terms that random frames asked for fails badly.
from skatom.models import BaggedGreedyOLS

models["bagged"] = BaggedGreedyOLS(n_estimators=50, max_terms=140, random_state=0)
models["bagged"].fit(X[train], energies[train], groups=paths[train])

strained, truth = [], []
for last in np.flatnonzero(np.diff(paths, append=-1)):
    for strain in (-0.03, 0.03):
        atoms = images[last].copy()
        atoms.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
        atoms.calc = EMT()
        strained.append(atoms)
        truth.append(atoms.get_potential_energy() / len(atoms))
new_X = soap.transform(strained)


def rmse(model, X, y):
    return 1000 * np.sqrt(np.mean((model.predict(X) - y) ** 2))


print(f"{'':16}{'terms':>6}{'test paths':>12}{'strained':>10}   (meV/atom)")
for name, model in models.items():
    terms = np.median(model.n_terms_)
    errors = rmse(model, X[test], energies[test]), rmse(model, new_X, np.array(truth))
    print(f"{name:16}{terms:6.0f}{errors[0]:12.2f}{errors[1]:10.1f}")
