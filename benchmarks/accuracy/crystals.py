"""Energies of crystals from one row of numbers each: learning curves on carbon and perovskites.

    python -m benchmarks crystals                  both data sets
    python -m benchmarks crystals perovskites      one of them

Kernel ridge regression of energies per atom with a Laplacian kernel. A quarter or less is held
out; the smaller training parts are parts of the larger ones. The order of the atoms in a matrix
(sorted or eigenvalues), the width of the kernel and the regularisation have the smallest error of a
fifth of the training part, learnt from at most 1,200 of the rest.

The prototype encoding knows which elements are on which sites, and not where the atoms are. A third
of the perovskites have mixed anions and are so far from the ideal positions that these do not tell
the sites: here the order of atoms in the data does. Last, the encoding beside what matrices know of
the relaxed crystal.
"""

import numpy as np
from ase.geometry import minkowski_reduce
from scipy.linalg import cho_factor, cho_solve
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import pairwise_distances

from benchmarks.harness import DATA, table
from skatom import Structures
from skatom.datasets import read
from skatom.descriptors import (
    SOAP,
    CompositionDescriptors,
    EwaldMatrix,
    ExtendedCoulombMatrix,
    PairDistances,
    PrototypeEncoder,
    SineMatrix,
)

NAMES = ("carbon", "perovskites")
MATRICES = {"sine": SineMatrix, "Ewald": EwaldMatrix, "extended": ExtendedCoulombMatrix}
SIZES = {"carbon": (200, 400, 800, 1500), "perovskites": (500, 1000, 2000, 3000)}
WIDTHS = (0.25, 1.0, 4.0, 16.0)  # times the median distance
ALPHAS = (1e-1, 1e-2, 1e-3, 1e-5)
SEARCHED = 1200


def matrices(structures):
    """{label: [features of each order of the atoms]}."""
    return {
        f"{label} matrix": [
            make(order).fit_transform(structures).values for order in ("sorted", "eigenvalues")
        ]
        for label, make in MATRICES.items()
    }


def reduced(structures):
    """The same crystals in reduced cells."""
    x = structures
    cells = np.array([minkowski_reduce(cell)[0] for cell in x.cells])
    return Structures(x.numbers, x.positions, x.offsets, cells, x.pbc)


def carbon():
    file = DATA / "periodic" / "carbon24_test.xyz.xz"
    data = read(file, keys={"energy": "energy_per_atom"})
    structures = reduced(data.structures)
    soap = SOAP(cutoff=5.0, n_max=6, l_max=4, pool="mean").fit_transform(structures).values
    return matrices(structures) | {"SOAP, mean of the atoms": [soap]}, data.targets.energy


def perovskites():
    data = np.load(DATA / "periodic" / "perov5_test.npz")
    numbers, n = data["z"].astype(int), len(data["z"])
    positions = (data["frac"] @ data["cell"]).reshape(-1, 3)
    rest = positions, 5 * np.arange(n + 1), data["cell"], np.ones((n, 3), bool)
    structures = Structures(numbers.ravel(), *rest)
    features = matrices(structures)
    prototype = PrototypeEncoder(mixed=True).fit_transform(numbers)
    # elements that name the sites: distances between sites
    sites = Structures(np.tile([38, 22, 7, 8, 9], n), *rest)
    distances = PairDistances().fit_transform(sites).values
    properties = ["row", "column", "valence", "mass", "covalent_radius"]
    features["composition"] = [CompositionDescriptors(properties).fit_transform(structures).values]
    features["prototype"] = [prototype]
    sine = features["sine matrix"]
    features["prototype, sine matrix"] = [np.hstack([prototype, x]) for x in sine]
    features["prototype, distances"] = [np.hstack([prototype, distances])]
    return features, data["heat_all"]


def curve(tables, y, train, sizes, test):
    """Mean absolute errors of the test part for training parts of some sizes."""
    best = None
    inner, outer = np.split(train, [4 * len(train) // 5])
    for x in tables:
        x = x[:, x.std(axis=0) > 1e-12 * np.abs(x).max()]
        distances = pairwise_distances(x / x[train].std(axis=0), metric="cityblock")
        median = np.median(distances[inner[:500]][:, inner[:500]])
        for width in WIDTHS:
            kernel = np.exp(distances * (-1 / (width * median)))
            for alpha in ALPHAS:
                score = error(kernel, y, inner[:SEARCHED], outer, alpha)
                if best is None or score < best[0]:
                    best = score, kernel, alpha
    _, kernel, alpha = best
    return [error(kernel, y, train[:size], test, alpha) for size in sizes]


def error(kernel, y, train, test, alpha):
    matrix, mean = kernel[np.ix_(train, train)], y[train].mean()
    matrix.flat[:: len(matrix) + 1] += alpha
    weights = cho_solve(cho_factor(matrix, overwrite_a=True, check_finite=False), y[train] - mean)
    return np.abs(kernel[np.ix_(test, train)] @ weights + mean - y[test]).mean()


def boosted(x, y, train, sizes, test):
    """The same with gradient boosting, which tells what is left to a better model."""
    errors = []
    for size in sizes:
        model = HistGradientBoostingRegressor(max_iter=500, max_leaf_nodes=16, random_state=0)
        model.fit(x[train[:size]], y[train[:size]])
        errors.append(np.abs(model.predict(x[test]) - y[test]).mean())
    return errors


def learning_curves(name):
    features, y = {"carbon": carbon, "perovskites": perovskites}[name]()
    sizes = SIZES[name]
    order = np.random.default_rng(0).permutation(len(y))
    train, test = np.split(order, [sizes[-1]])
    rows = {"mean": [np.abs(y[test] - y[train[:size]].mean()).mean() for size in sizes]}
    for label, tables in features.items():
        rows[label] = curve(tables, y, train, sizes, test)
    if "prototype" in features:
        rows["prototype, boosted trees"] = boosted(features["prototype"][0], y, train, sizes, test)
    table(
        f"{len(y)} crystals ({name}), MAE of {len(test)} in eV/atom",
        ["features", *map(str, sizes)],
        [[label, *(f"{e:.3f}" for e in errors)] for label, errors in rows.items()],
    )


def add_arguments(parser):
    parser.add_argument("names", nargs="*", choices=NAMES, default=NAMES)


def run(options):
    for name in options.names:
        learning_curves(name)
