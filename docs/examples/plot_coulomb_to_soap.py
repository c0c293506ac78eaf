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
    ManyBodyExpansion,
)

data = load_ethanol()
order = np.random.default_rng(0).permutation(len(data.structures))
test, train = order[:300], order[300:1100]
energies = 1e3 * (data.targets.energy - data.targets.energy.mean())
print(f"spread {energies.std():.0f} meV")

# %%
# Laplacian kernels suit sorted features, which have kinks; Gaussian ones the others.
MODELS = {
    "eigenvalues": (CoulombMatrix("eigenvalues"), "sqeuclidean"),
    "sorted Coulomb matrix": (CoulombMatrix("sorted"), "cityblock"),
    "bag of bonds": (BagOfBonds(), "cityblock"),
    "plain Coulomb matrix": (CoulombMatrix("none"), "sqeuclidean"),
    "many-body sums": (ManyBodyExpansion(6, 3), "sqeuclidean"),
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
    x = descriptor.fit_transform(data.structures).values
    if isinstance(descriptor, ManyBodyExpansion):  # powers of many sizes
        x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)
    distances = pairwise_distances(x[order[:1100]], metric=metric)
    return distances / np.median(distances)


def learning_curve(distances):
    """Mean absolute errors of the test frames.

    The width of the kernel and the regularisation are chosen by folds of 400 training
    frames.
    """
    y = energies[order[:1100]]
    best = None
    for width in WIDTHS:
        kernel = np.exp(-distances / width)
        search = GridSearchCV(
            KernelRidge(kernel="precomputed"),
            GRID,
            cv=3,
            scoring="neg_mean_absolute_error",
        ).fit(kernel[300:700, 300:700], y[300:700])
        if best is None or search.best_score_ > best[0]:
            best = search.best_score_, kernel, search.best_estimator_
    _, kernel, model = best
    errors = []
    for size in SIZES:
        part = slice(300, 300 + size)
        model.fit(kernel[part, part], y[part])
        errors.append(np.abs(model.predict(kernel[:300, part]) - y[:300]).mean())
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
