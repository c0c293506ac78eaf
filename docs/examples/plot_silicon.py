"""
A silicon potential and its elastic constants
=============================================

A sparse Gaussian process of SOAP environments learns the energies, forces and stresses of silicon
crystals. The labels here come from Tersoff's potential instead of a quantum-chemical code, so that
the true value of everything that the model predicts is known.
"""

# %%
# Training data
# -------------
#
# Cells of eight atoms, each strained and rattled.
import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.calculators.tersoff import Tersoff, TersoffParameters

# Tersoff, Phys. Rev. B 38, 9902 (1988): Si(C)
silicon = TersoffParameters(
    A=1830.8, B=471.18, lambda1=2.4799, lambda2=1.7322, lambda3=0.0, beta=1.1e-6, gamma=1.0, m=3,
    n=0.78734, c=100390.0, d=16.217, h=-0.59825, R=2.85, D=0.15,
)  # fmt: skip
reference = Tersoff({("Si", "Si", "Si"): silicon})


def rattled(n, amplitude, rng):
    images = []
    for _ in range(n):
        atoms = bulk("Si", "diamond", a=5.432, cubic=True)
        strain = np.eye(3) + rng.normal(scale=0.015, size=(3, 3))
        atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
        atoms.rattle(amplitude, rng=rng)
        atoms.calc = reference
        atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **reference.results)
        images.append(atoms)
    return images


from skatom import Structures, Targets

rng = np.random.RandomState(0)
images = [
    atoms for amplitude in (0.01, 0.04, 0.08) for atoms in rattled(30, amplitude, rng)
]
structures, targets = Structures.from_ase(images), Targets.from_ase(images)
print(structures, targets, sep="\n")

# %%
# The model
# ---------
#
# Two steps, as in any Pipeline. The noises say how closely each kind of label is to be
# reproduced: 0.5 meV per atom for energies, 0.02 eV/Å for forces.
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skatom.descriptors import SOAP
from skatom.kernels import Cosine
from skatom.metrics import evaluate
from skatom.models import SparseGaussianProcess

train_X, test_X, train_y, test_y = train_test_split(
    structures, targets, test_size=0.2, random_state=0
)
model = make_pipeline(
    SOAP(cutoff=4.5, n_max=8, l_max=6, sigma=0.4),
    SparseGaussianProcess(
        3.0 * Cosine(zeta=4), n_sparse=200, noise_energy=5e-4, noise_forces=0.02,
        noise_virial=5e-3, random_state=0,
    ),
)  # fmt: skip
model.fit(train_X, train_y)
for name, value in evaluate(model, test_X, test_y).items():
    print(f"{name:24}{value:.5f}")

# %%
# Elastic constants
# -----------------
#
# The stress of a crystal under a small strain, its atoms relaxed, gives the elastic constants. The
# same function is called with the model and with Tersoff's potential.
from ase import units
from ase.optimize import BFGS

from skatom.calculators import SkatomCalculator


def stress_of(strain, calculator, a):
    """Stress (GPa, Voigt order) of a strained cell whose atoms are relaxed."""
    atoms = bulk("Si", "diamond", a=a, cubic=True)
    xx, yy, zz, yz, xz, xy = strain
    matrix = np.array(
        [[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]]
    )
    atoms.set_cell(atoms.cell @ (np.eye(3) + matrix), scale_atoms=True)
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=2e-4, steps=100)
    return atoms.get_stress() / units.GPa


def elastic_constants(calculator, a, h=2e-3):
    """C11, C12 and C44 in GPa, by central differences."""
    along = stress_of([h, 0, 0, 0, 0, 0], calculator, a) - stress_of(
        [-h, 0, 0, 0, 0, 0], calculator, a
    )
    shear = stress_of([0, 0, 0, h, 0, 0], calculator, a) - stress_of(
        [0, 0, 0, -h, 0, 0], calculator, a
    )
    return np.array([along[0], along[1], shear[3]]) / (2 * h)


calculator = SkatomCalculator(model)
truth = elastic_constants(reference, 5.432)
found = elastic_constants(calculator, 5.432)
for name, one, other in zip(("C11", "C12", "C44"), truth, found, strict=True):
    print(f"{name}: Tersoff {one:6.1f} GPa, model {other:6.1f} GPa")

# %%
# Energy and volume
# -----------------
#
# The energy of the crystal with its standard deviation, which grows outside the volumes of the
# training data.
import matplotlib.pyplot as plt

lengths = np.linspace(4.9, 6.1, 25)
crystals = [bulk("Si", "diamond", a=a, cubic=True) for a in lengths]
energies, std = model.predict(crystals, return_std=True)
exact = []
for atoms in crystals:
    atoms.calc = reference
    exact.append(atoms.get_potential_energy())

sampled = np.linalg.det(structures.cells) / 8
volumes = lengths**3 / 8
plt.fill_between(
    volumes, (energies - 2 * std) / 8, (energies + 2 * std) / 8, alpha=0.3, lw=0
)
plt.plot(volumes, energies / 8, label="model ± 2 std")
plt.plot(volumes, np.array(exact) / 8, "k--", lw=1, label="Tersoff")
plt.axvspan(
    sampled.min(), sampled.max(), color="0.92", zorder=-1, label="volumes in the data"
)
plt.xlabel("volume per atom (Å³)")
plt.ylabel("energy per atom (eV)")
plt.legend()
plt.show()
