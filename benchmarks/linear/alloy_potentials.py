"""Linear moment tensor potentials of alloys, with stresses, beside SNAP: InP and NbMoTaW.

    python -m benchmarks alloy_potentials InP              one of them; both by default
    python -m benchmarks alloy_potentials InP --level 14   another level

The energies of InP's frames are learnt and, in five folds, left out and predicted; NbMoTaW has a
test set. The parts of a training set are fitted once each; models of several are merged.
"""

import time
from functools import reduce

import numpy as np
from sklearn.model_selection import KFold

from benchmarks.harness import DATA, table
from skatom.datasets import read
from skatom.descriptors import MomentTensor
from skatom.models import LinearPotential

# cutoff in Å, level, steps of μ in the level; SNAP's mean absolute errors in meV/atom and eV/Å
_SETTINGS = {"InP": (5.2, 12, 2), "NbMoTaW": (5.0, 10, 3)}
_PUBLISHED = {
    ("InP", "trained on"): (3.31, 0.0675),
    ("NbMoTaW", "trained on"): (4.3, 0.13),
    ("NbMoTaW", "test"): (5.1, 0.14),
}
_GPA = 160.21766


def add_arguments(parser):
    parser.add_argument("names", nargs="*", default=list(_SETTINGS))
    parser.add_argument("--level", type=int, help="level of the moment tensors")


def run(options):
    for name in options.names:
        begin, rows = time.perf_counter(), []
        for part, errors in _errors_of_parts(name, options.level):
            snap = _PUBLISHED.get((name, part), ("", ""))
            rows.append([
                part, f"{1e3 * errors[0]:.2f}", str(snap[0]), f"{errors[1]:.4f}", str(snap[1]),
                f"{errors[2]:.3f}",
            ])  # fmt: skip
        table(
            f"{name}, MAE, {time.perf_counter() - begin:.0f} s",
            ["", "meV/atom", "SNAP", "eV/Å", "SNAP", "stress, GPa"],
            rows,
        )


def _errors_of_parts(name, level):
    cutoff, default, mu_level = _SETTINGS[name]
    moments = MomentTensor(
        cutoff=cutoff, level=level or default, mu_level=mu_level, max_mu=10, by_center=False
    )
    file = "InP_jpca2020" if name == "InP" else f"{name}_train"
    X, y = _read(file)
    features = moments.fit_transform(X)
    print(f"{name}: {len(X)} structures, {len(X.numbers)} atoms, {features.n_features} features")
    folds = [fold for _, fold in KFold(5, shuffle=True, random_state=0).split(X)]
    models = [LinearPotential().fit(features[fold], y[fold]) for fold in folds]
    whole = reduce(LinearPotential.merge, models)
    yield "trained on", _errors(whole, features, y)
    if name == "InP":
        of_folds = []
        for k, fold in enumerate(folds):
            others = reduce(LinearPotential.merge, models[:k] + models[k + 1 :])
            of_folds.append(_errors(others, features[fold], y[fold]))
        yield "five folds", np.mean(of_folds, axis=0)
    else:
        test, labels = _read(f"{name}_test")
        yield "test", _errors(whole, moments.transform(test), labels)


def _read(name):
    data = read(DATA / "periodic" / f"{name}.xyz.xz")
    return data.structures, data.targets


def _errors(model, features, y):
    """Mean absolute errors of energies per atom, forces and stresses."""
    energy, forces, stress = model.predict(features, return_forces=True, return_stress=True)
    return (
        np.abs((energy - y.energy) / features.n_atoms).mean(),
        np.abs(forces - y.forces).mean(),
        _GPA * np.abs(stress - y.stress).mean(),
    )
