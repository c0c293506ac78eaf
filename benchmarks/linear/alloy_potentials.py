"""Linear potentials of alloys, with stresses, beside SNAP: InP and NbMoTaW.

    python -m benchmarks alloy_potentials InP              one of them; both by default
    python -m benchmarks alloy_potentials InP --level 14   another level
    python -m benchmarks alloy_potentials NbMoTaW --every 2     half of the training structures

InP has moment tensors of each species. NbMoTaW has a cluster expansion of mixed species: the
training set has elements and binaries only, and the test set all four elements together, which no
products of separate species have seen.

The energies of InP's frames are learnt and, in five folds, left out and predicted. NbMoTaW has a
test set, and each of the binary alloys is left out and predicted by the others. The parts of a
training set are fitted once each; models of several are merged.
"""

import time
from functools import reduce

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold

from benchmarks.harness import DATA, table
from skatom.datasets import read
from skatom.descriptors import AtomicClusterExpansion, MomentTensor
from skatom.models import LinearPotential

_NAMES = ("InP", "NbMoTaW")
# SNAP's mean absolute errors in meV/atom and eV/Å
_PUBLISHED = {
    ("InP", "trained on"): (3.31, 0.0675),
    ("NbMoTaW", "trained on"): (4.3, 0.13),
    ("NbMoTaW", "test"): (5.1, 0.14),
}
_GPA = 160.21766


def add_arguments(parser):
    parser.add_argument("names", nargs="*", default=list(_NAMES))
    parser.add_argument("--level", type=int, default=12, help="of InP's moment tensors [12]")
    parser.add_argument("--every", type=int, default=1, help="which structures are learnt [1]")


def run(options):
    for name in options.names:
        begin, rows = time.perf_counter(), []
        for part, errors in _errors_of_parts(name, options.level, options.every):
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


def _errors_of_parts(name, level, every):
    descriptor, linear = _model(name, level)
    file = "InP_jpca2020" if name == "InP" else f"{name}_train"
    X, y = (part[np.arange(0, len(part), every)] for part in _read(file))
    features = descriptor.fit_transform(X)
    print(f"{name}: {len(X)} structures, {len(X.numbers)} atoms, {features.n_features} features")
    parts = _folds(X) if name == "InP" else _systems(X)
    models = [clone(linear).fit(features[part], y[part]) for part, _ in parts]
    whole = reduce(LinearPotential.merge, models)
    yield "trained on", _errors(whole, features, y)
    left_out = []
    for k, (_, held) in enumerate(parts):
        if len(held):
            others = reduce(LinearPotential.merge, models[:k] + models[k + 1 :])
            left_out.append(_errors(others, features[held], y[held]))
    yield "five folds" if name == "InP" else "binaries left out", np.mean(left_out, axis=0)
    if name == "NbMoTaW":
        test, labels = _read(f"{name}_test")
        features = descriptor.transform(test)
        yield "test", _errors(whole, features, labels)
        for n, part in _by_elements(test):
            yield f"of these, elements: {n}", _errors(whole, features[part], labels[part])


def _folds(X):
    """The structures of each of five folds, twice: they are fitted together, and left out."""
    return [(fold, fold) for _, fold in KFold(5, shuffle=True, random_state=0).split(X)]


def _systems(X):
    """The structures of each binary alloy, with one of each element, and the alloy's own; the rest.

    Models of other species cannot be merged.
    """
    systems = {}
    for s in range(len(X)):
        systems.setdefault(tuple(X[s].species), []).append(s)
    elements = [own for species, own in systems.items() if len(species) == 1]
    binaries = [own for species, own in systems.items() if len(species) == 2]
    parts = [(np.sort([*own, *(one.pop() for one in elements)]), own) for own in binaries]
    return [*parts, (np.sort(np.concatenate(elements)), [])]


def _model(name, level):
    if name == "InP":
        moments = MomentTensor(cutoff=5.2, level=level, mu_level=2, max_mu=10, by_center=False)
        return moments, LinearPotential()
    expansion = AtomicClusterExpansion(
        5.5, (12, 11, 8, 7), l_weight=0.5, product_cutoff=4.7, species_compression=2
    )
    return expansion, LinearPotential(1e-9, smoothness=2, scaling=0.0)


def _by_elements(X):
    """Numbers of elements in structures, and the structures that have so many."""
    found = np.array([len(X[s].species) for s in range(len(X))])
    return [(n, np.flatnonzero(found == n)) for n in np.unique(found)]


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
