"""
Vibrations and infrared intensities
===================================

Normal modes are eigenvectors of the second derivatives of the energy; how strongly a mode absorbs
light depends on the derivative of the dipole along it. One model gives the energy, another the
dipole.
"""

# %%
# A force field of 300 frames of ethanol, and the relaxed molecule.
import numpy as np
from ase.optimize import BFGS

from skatom import Targets
from skatom.calculators import SkatomCalculator
from skatom.datasets import load_ethanol
from skatom.kernels import FCHL18
from skatom.model_selection import energy_stratified_sample
from skatom.models import SGDML, ForceKernelRidge
from skatom.vibrations import infrared_intensities, normal_modes

data = load_ethanol()
train = energy_stratified_sample(data.targets, 300, random_state=0)
force_field = SGDML(random_state=0).fit(data.structures[train], data.targets[train])

atoms = data.structures[np.argmin(data.targets.energy)].to_ase()[0]
atoms.calc = SkatomCalculator(force_field)
BFGS(atoms, logfile=None).run(fmax=1e-4)

# %%
# A dipole is the response of the energy to an electric field. `FCHL18` describes how its
# environments respond, here as charges that depend on the surroundings, so that the vectors
# themselves are learnt, not only their lengths, and from few frames.
few = train[:60]
dipoles = Targets(dipole=data.targets.dipole[few])
dipole_model = ForceKernelRidge(FCHL18(field="charges"), basis="operators", alpha=1e-8)
dipole_model.fit(data.structures[few], dipoles)

test = np.setdiff1d(np.arange(len(data.structures)), train)[:200]
predicted = dipole_model.predict(data.structures[test])
error = np.linalg.norm(predicted - data.targets.dipole[test], axis=1).mean()
size = np.linalg.norm(data.targets.dipole[test], axis=1).mean()
print(f"error of dipoles: {error:.4f} e·Å of {size:.3f}")

# %%
# Wavenumbers, and intensities in km/mol.
vibrations = normal_modes(force_field, atoms)
intensities = infrared_intensities(dipole_model, vibrations)
for wavenumber, intensity in zip(vibrations.wavenumbers, intensities, strict=True):
    print(f"{wavenumber:7.1f} 1/cm  {intensity:6.1f} km/mol")

# %%
# The harmonic spectrum, each line broadened: torsions at the left, bending and C-O stretching
# between 800 and 1500, C-H stretching at 3000, O-H stretching at the right.
import matplotlib.pyplot as plt

from skatom.plotting import SpectrumDisplay

SpectrumDisplay(vibrations.wavenumbers, intensities).plot()
plt.show()
