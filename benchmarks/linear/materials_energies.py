"""Energies of crystals: scattering with sparse linear models beside a sparse Gaussian process.

    python -m benchmarks materials_energies Li Si     elements of mlearn; all six by default
    python -m benchmarks materials_energies NbMoTaW   a part of its training set, its test set

All learn from energies alone, per atom. The numbers of terms and the ridge are chosen by five folds
of the training part; the Gaussian process has one setting for all.
"""

import time

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.harness import DATA, table
from skatom import Targets
from skatom.baseline import AtomicBaseline
from skatom.datasets import read
from skatom.descriptors import SOAP, WaveletScattering
from skatom.models import GreedyOLS, SparseGaussianProcess

_ELEMENTS = ("Ni", "Cu", "Li", "Mo", "Si", "Ge")
_ALLOY_TRAINED = 1000


def data_of(name):
    """Training and test structures, and their energies in eV."""
    if name == "NbMoTaW":
        folder, names = DATA / "periodic", ("NbMoTaW_train", "NbMoTaW_test")
    else:
        folder, names = DATA / "mlearn", (f"mlearn_{name}_train", f"mlearn_{name}_test")
    train, test = (read(folder / f"{part}.xyz.xz") for part in names)
    chosen = np.arange(len(train.structures))
    if name == "NbMoTaW":
        chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:_ALLOY_TRAINED])
    return (
        train.structures[chosen], train.targets.energy[chosen], test.structures,
        test.targets.energy,
    )  # fmt: skip


def models(n_species):
    folds = KFold(5, shuffle=True, random_state=0)
    channels = "total" if n_species == 1 else "auto"
    for order in (1, 2):
        scattering = WaveletScattering(order=order, alias=1e-4, channels=channels)
        yield (
            f"scattering to order {order}, greedy",
            make_pipeline(scattering, GreedyOLS(cv=folds, max_terms=150)),
        )
        yield (
            f"scattering to order {order}, ridge",
            make_pipeline(scattering, StandardScaler(), RidgeCV(np.logspace(-8, 2, 11), cv=folds)),
        )
    yield (
        "sparse Gaussian process on SOAP",
        make_pipeline(
            SOAP(cutoff=5.5, n_max=8, l_max=6, sigma=0.5),
            SparseGaussianProcess(n_sparse=500, noise_energy=1e-3, random_state=0),
        ),
    )


def add_arguments(parser):
    parser.add_argument("names", nargs="*", default=_ELEMENTS)


def run(options):
    rows = []
    for name in options.names:
        X, y, test_X, test_y = data_of(name)
        baseline = AtomicBaseline().fit(X, y)
        for title, model in models(len(X.species)):
            begin = time.perf_counter()
            if "Gaussian" in title:
                model.fit(X, Targets(energy=y))
                found = model.predict(test_X)
            else:
                model.fit(X, (y - baseline.predict(X)) / X.n_atoms)
                found = model.predict(test_X) * test_X.n_atoms + baseline.predict(test_X)
            error = mean_absolute_error(test_y / test_X.n_atoms, found / test_X.n_atoms)
            terms = getattr(model[-1], "n_terms_", "")
            rows.append([
                name, title, str(terms), f"{1e3 * error:.2f}", f"{time.perf_counter() - begin:.0f}"
            ])  # fmt: skip
            print(*rows[-1], flush=True)
    table(
        "Energies alone: MAE of the test set in meV/atom",
        ["data", "model", "terms", "MAE", "seconds"],
        rows,
    )
