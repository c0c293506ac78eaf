"""
A map of atomic environments
============================

SOAP turns the surroundings of every atom into a vector. Seen along its two principal components,
the atoms of ethanol and benzene fall into groups that chemists have names for.
"""

# %%
# A few frames of both molecules in one batch. ``fit`` learns that there are H, C and O.
import matplotlib.pyplot as plt
import numpy as np
from ase.data import chemical_symbols
from ase.data.colors import jmol_colors
from sklearn.decomposition import PCA

from skatom.datasets import load_benzene, load_ethanol
from skatom.descriptors import SOAP

frames = [load().structures[::40] for load in (load_ethanol, load_benzene)]
structures = [atoms for part in frames for atoms in part.to_ase()]
features = SOAP(cutoff=4.0).fit_transform(structures)
print(features)

# %%
# ``features.values`` has a row for every atom and ``features.numbers`` says which element it is.
maps = PCA(n_components=2).fit_transform(features.values)
for z in features.species:
    plt.scatter(
        *maps[features.numbers == z].T, s=12, color=jmol_colors[z] * 0.85, ec="gray", lw=0.3,
        label=chemical_symbols[z],
    )  # fmt: skip
plt.xlabel("first principal component")
plt.ylabel("second principal component")
plt.legend()
plt.show()

# %%
# Derivatives are available without being stored. As an example of a property, take
# the sum of the first component over all atoms: its gradient says how each atom would have to move
# to change it.
component = PCA(n_components=1).fit(features.values).components_[0]
gradient, virial = features.pullback(component)
print("largest gradient", np.abs(gradient).max())
