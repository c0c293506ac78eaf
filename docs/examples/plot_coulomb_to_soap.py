"""
Learning curves from the Coulomb matrix to SOAP
===============================================

Descriptors of whole structures, one row of numbers a molecule, in the order of their history. All
learn the same energies by kernel ridge regression; what differs is what they know of the molecule.
The guide shows in its page "From the Coulomb matrix to SOAP" why.
"""

# %%
# Frames of ethanol, in which hydrogen atoms change their places, and energies in meV.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV

from skatom.datasets import load_ethanol
from skatom.descriptors import (
    SOAP,
    BagOfBonds,
    CoulombMatrix,
    DescriptorUnion,
    GeneralizedCoulombMatrix,
    ManyBodyExpansion,
    ManyBodyTensor,
)

data = load_ethanol()
chosen = np.random.default_rng(0).permutation(len(data.structures))[:1000]
structures = data.structures[chosen]  # the first 200 are for the test
energies = 1e3 * (data.targets.energy[chosen] - data.targets.energy.mean())
print(f"spread {energies.std():.0f} meV")

# %%
# Laplacian kernels suit sorted features, which have kinks; Gaussian ones the others. The settings of
# the many-body tensor are those that suit the molecules of QM7.
DECAYS = {"weighting": "exp", "decay": 1.5}
TENSOR = DescriptorUnion(
    [
        (
            "pairs",
            ManyBodyTensor(
                "inverse_distance", grid=(0.0, 1.2, 120), sigma=0.02, **DECAYS
            ),
        ),
        ("angles", ManyBodyTensor("angle", grid=(0, 180, 60), sigma=12.0, **DECAYS)),
    ],
    {"angles": 2e4},
)
MODELS = {
    "eigenvalues": (CoulombMatrix("eigenvalues"), "sqeuclidean"),
    "sorted Coulomb matrix": (CoulombMatrix("sorted"), "cityblock"),
    "bag of bonds": (BagOfBonds(), "cityblock"),
    "plain Coulomb matrix": (CoulombMatrix("none"), "sqeuclidean"),
    "matrix and triples": (GeneralizedCoulombMatrix(), "sqeuclidean"),
    "many-body sums": (ManyBodyExpansion(6, 3), "sqeuclidean"),
    "many-body tensor": (TENSOR, "sqeuclidean"),
    "SOAP, mean of atoms": (
        SOAP(cutoff=5.0, n_max=6, l_max=4, pool="mean"),
        "sqeuclidean",
    ),
}
SIZES = [50, 100, 200, 400, 800]
GRID = {"alpha": [1e-9, 1e-7, 1e-5, 1e-3]}
WIDTHS = [1, 8, 64, 512]


def distances_of(descriptor, metric):
    """Distances between all frames, in units of their median."""
    x = descriptor.fit_transform(structures).values
    if isinstance(descriptor, ManyBodyExpansion):  # powers of many sizes
        x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)
    distances = pairwise_distances(x, metric=metric)
    return distances / np.median(distances)


def learning_curve(distances):
    """Mean absolute errors of the test frames.

    The width of the kernel and the regularisation are chosen by folds of 400 training
    frames.
    """
    best = None
    for width in WIDTHS:
        kernel = np.exp(-distances / width)
        search = GridSearchCV(
            KernelRidge(kernel="precomputed"),
            GRID,
            cv=3,
            scoring="neg_mean_absolute_error",
        ).fit(kernel[200:600, 200:600], energies[200:600])
        if best is None or search.best_score_ > best[0]:
            best = search.best_score_, kernel, search.best_estimator_
    _, kernel, model = best
    errors = []
    for size in SIZES:
        part = slice(200, 200 + size)
        model.fit(kernel[part, part], energies[part])
        errors.append(np.abs(model.predict(kernel[:200, part]) - energies[:200]).mean())
    return errors


# %%
# Descriptors that do not know the numbering of atoms are ahead as long as data are few. Then what
# they lost counts: nine eigenvalues are far fewer than 21 internal coordinates, and sorted
# features have jumps and kinks. Smooth functions of three atoms at a time go on learning.
fig, ax = plt.subplots(figsize=(6, 4.5), layout="constrained")
for name, (descriptor, metric) in MODELS.items():
    errors = learning_curve(distances_of(descriptor, metric))
    ax.loglog(SIZES, errors, "o-", markersize=4, label=name)
    print(f"{name:22}", *(f"{error:7.1f}" for error in errors))
ax.set(xlabel="training frames", ylabel="mean absolute error (meV)")
ax.set_xticks(SIZES, map(str, SIZES), minor=False)
ax.minorticks_off()
ax.set_yticks([10, 20, 50, 100], ["10", "20", "50", "100"])
ax.grid(alpha=0.3, linewidth=0.5)
ax.legend(fontsize=8)
plt.show()
