"""
A ternary phase diagram, predicted and computed
===============================================

A model learns energies of small ordered alloys and predicts those of larger ones; the convex hull
says which of them are stable. The best candidates are computed again.
"""

# %%
# Decorations of the face-centred cubic lattice with silver, aluminium and gold. Their energies are
# those of ASE's EMT potential at the best lattice constant.
from itertools import product

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from scipy.optimize import minimize_scalar

METALS = ["Ag", "Al", "Au"]


def alloy(symbols):
    """An alloy of 4 or 8 atoms at the mean lattice constant of the pure metals."""
    atoms = bulk("Al", a=4.08, cubic=True).repeat((1, 1, len(symbols) // 4))
    atoms.symbols = symbols
    return atoms


def energy(atoms):
    """The lowest energy as a function of the lattice constant."""
    atoms, cell = atoms.copy(), atoms.cell.array
    atoms.calc = EMT()

    def scaled(factor):
        atoms.set_cell(factor * cell, scale_atoms=True)
        return atoms.get_potential_energy()

    return minimize_scalar(scaled, bracket=(0.98, 1.02), tol=1e-3).fun


small = [alloy(list(symbols)) for symbols in product(METALS, repeat=4)]
energies = np.array([energy(atoms) for atoms in small])
rng = np.random.default_rng(0)
large = [alloy(rng.choice(METALS, size=8)) for _ in range(100)]
print(len(small), "known alloys,", len(large), "candidates")

# %%
# The phase diagram of what is known, which has the pure metals among its entries.
from skatom.plotting import PhaseDiagramDisplay
from skatom.stability import PhaseDiagram, screen

diagram = PhaseDiagram().fit(small, energies)
PhaseDiagramDisplay(diagram).plot()

# %%
# A Gaussian process on averaged SOAP predicts the formation energies of the candidates, with
# standard deviations; `screen` ranks these by the probability to be on the hull, or nearly.
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.pipeline import make_pipeline

from skatom.descriptors import SOAP, FeatureScaler

kernel = ConstantKernel(10.0) * RBF(100.0)
model = make_pipeline(
    SOAP(cutoff=5.0, n_max=4, l_max=3, pool="mean"),
    FeatureScaler("standard", out_of_range="ignore"),
    GaussianProcessRegressor(kernel, alpha=1e-8, normalize_y=True),
)
model.fit(small, diagram.formation_energies_)
predicted, deviations = model.predict(large, return_std=True)

hull = PhaseDiagram(references=0.0, per_atom=True).fit(
    small, diagram.formation_energies_
)
found = screen(hull, large, predicted, within=0.002, deviations=deviations)
print(len(found.indices), "candidates within 2 meV/atom of the hull")

# %%
# These are computed, and what the prediction said of them is checked.
computed = np.array([energy(large[k]) for k in found.indices])
distances = diagram.distances([large[k] for k in found.indices], computed)
for k in np.argsort(distances)[:5]:
    formula = large[found.indices[k]].get_chemical_formula("metal")
    print(
        f"{formula:12} predicted {found.distances[k]:.4f}, computed {distances[k]:.4f} eV/atom"
    )

# %%
# With the computed candidates the diagram has further phases and tie lines.
new = diagram.with_entries([large[k] for k in found.indices], computed)
PhaseDiagramDisplay(new).plot()
