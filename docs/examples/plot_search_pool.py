"""
A search over a pool
====================

Which ordered alloy of four atoms in a cubic cell is the most stable one? There are 210 of seven
metals. A search that learns from every energy finds it with a few of them.
"""

# %%
# The pool: all sets of four of seven elements. The energy of mixing is that of the cell less those
# of the elements, with EMT, and with the mean of their lattice constants. Here all are computed, so
# that the search can be judged; the search itself asks for each only when it wants it.
from itertools import combinations_with_replacement

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.data import atomic_numbers, reference_states

METALS = ["Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"]


def lattice_constant(element):
    return reference_states[atomic_numbers[element]]["a"]


def energy(elements):
    """Energy of a cell in eV."""
    a = np.mean([lattice_constant(element) for element in elements])
    atoms = bulk("Cu", a=a, cubic=True)
    atoms.symbols = elements
    atoms.calc = EMT()
    return atoms.get_potential_energy()


alone = {element: energy([element] * 4) / 4 for element in METALS}


def mixing(elements):
    """Energy of mixing in meV for each atom."""
    return 250 * (energy(elements) - sum(alone[element] for element in elements))


pool = list(combinations_with_replacement(METALS, 4))
values = np.array([mixing(elements) for elements in pool])

# %%
# A candidate is described by how many atoms of each element it has. The model is a Gaussian process
# of scikit-learn; the expected improvement says which candidate is next, after eight at random.
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from skatom.active import BayesianSearch

counts = np.array([[cell.count(element) for element in METALS] for cell in pool])
process = GaussianProcessRegressor(
    Matern(4.0, nu=2.5), alpha=1e-4, normalize_y=True, optimizer=None
)


def search(acquisition, seed):
    found = BayesianSearch(
        process, counts, acquisition=acquisition, n_initial=8, random_state=seed
    )
    while len(found.values_) < 50:
        which = found.ask()
        found.tell(which, values[which])
    return found


one = search("expected_improvement", 0)
best = pool[one.best_index_]
print(
    f"{'-'.join(best)} has {one.best_value_:.0f} meV, the best of all {values.min():.0f}"
)

# %%
# Values in the order of their evaluation, beside a search at random.
import matplotlib.pyplot as plt

from skatom.plotting import SearchDisplay

figure, ax = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
name = "energy of mixing (meV/atom)"
for acquisition in ("random", "expected_improvement"):
    words = acquisition.replace("_", " ")
    found = search(acquisition, 0)
    SearchDisplay(found.values_, found.best_values_, name).plot(ax, label=words)
ax.axhline(values.min(), color="0.4", ls="--", lw=1)
plt.show()

# %%
# Ten searches of each: how many evaluations until the best of the pool is found?
for acquisition in ("random", "expected_improvement"):
    needed = []
    for seed in range(10):
        found = search(acquisition, seed).values_ == values.min()
        needed.append(np.argmax(found) + 1 if found.any() else 51)
    print(f"{acquisition}: median {np.median(needed):.0f}, 51 if not within 50")
