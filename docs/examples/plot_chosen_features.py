"""
The features of a sparse model
==============================

The name of a feature of wavelet scattering says which density it is made of, at which scales, and
which power is integrated. The features that a greedy model chooses show what the energy depends on.
"""

# %%
# Strained and rattled crystals of boron nitride, and their energies per atom.
import matplotlib.pyplot as plt
from sklearn.pipeline import make_pipeline

from skatom.datasets import load_boron_nitride
from skatom.descriptors import WaveletScattering
from skatom.models import BaggedGreedyOLS
from skatom.plotting import ChosenFeaturesDisplay, GreedyPathDisplay

data = load_boron_nitride()
structures, energies = data.structures[:240:3], data.targets.energy[:240:3] / 64

# %%
# Ten members, each fitted to a bootstrap sample and stopped where its error is lowest on the
# structures that it has not seen.
model = make_pipeline(
    WaveletScattering(order=1, alias=1e-3),
    BaggedGreedyOLS(n_estimators=10, max_terms=40, random_state=0),
)
model.fit(structures[::2], energies[::2])
print(f"R² of unseen structures: {model.score(structures[1::2], energies[1::2]):.4f}")
GreedyPathDisplay.from_estimator(model, name="energy RMSE (eV/atom)")
plt.show()

# %%
# How often each channel, scale and exponent was chosen.
ChosenFeaturesDisplay.from_estimator(model)
plt.show()
