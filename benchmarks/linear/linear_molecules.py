"""Linear cluster expansions of molecules: errors beside those of linear ACE.

    python -m benchmarks linear_molecules             ethanol, aspirin, 3BPA with the recipe ``ace``
    python -m benchmarks linear_molecules ethanol --degrees 12 7 8 7 --l-weight 0.5
    python -m benchmarks linear_molecules --device cuda --threads 16                 on a card

The published errors are those of linear ACE (Kovács et al., J. Chem. Theory Comput. 17, 7696
(2021)): mean absolute ones of revised MD17 with 1,000 training frames, and root mean square ones of
3BPA with 500 frames at 300 K. Here 3BPA has 400 of these, and the other 100 are the test.
"""

import time

import numpy as np

from benchmarks.harness import DATA, table
from skatom import recipes
from skatom.datasets import read

_PUBLISHED = {"ethanol": "1.2, 7.3", "aspirin": "6.1, 17.9", "3bpa": "7.1, 27.1 (RMSE)"}


def add_arguments(parser):
    parser.add_argument("names", nargs="*", default=list(_PUBLISHED))
    parser.add_argument("--degrees", type=float, nargs="+", help="of products [the recipe's]")
    parser.add_argument("--l-weight", type=float, default=0.25)
    parser.add_argument("--device", default="cpu", help="of features and their sums [cpu]")
    parser.add_argument("--frames", type=int, default=1000, help="training frames at most [1000]")


def run(options):
    settings = {"expansion__l_weight": options.l_weight}
    if options.degrees:
        settings["expansion__degrees"] = tuple(options.degrees)
    rows = []
    for name in options.names:
        train, tests = _data(name)
        train = tuple(part[: options.frames] for part in train)
        rows += _errors(train, tests, settings, options.device)
    table(
        "energies in meV, forces in meV/Å",
        ["data", "columns", "MAE", "RMSE", "published", "fit, s"],
        rows,
    )


def _data(name):
    """Structures and targets to learn, and those of tests by name."""
    folder = DATA / "molecules"
    if name == "3bpa":
        X, y = _read(folder / "3bpa_train_300K.npz")
        order = np.random.default_rng(0).permutation(len(X))
        held, kept = np.sort(order[400:]), np.sort(order[:400])
        mixed = _read(folder / "3bpa_mixedT.npz")
        return (X[kept], y[kept]), {"3bpa": (X[held], y[held]), "3bpa, mixed temperatures": mixed}
    train, test = (_read(folder / f"rmd17_{name}_{part}.npz") for part in ("train", "test"))
    return train, {name: test}


def _read(path):
    data = read(path)
    return data.structures, data.targets


def _errors(train, tests, settings, device):
    begin = time.perf_counter()
    model = recipes.make("ace", train[0], device=device, **settings)
    model.fit(*train)
    seconds = time.perf_counter() - begin
    rows = []
    for test, (X, y) in tests.items():
        energy, forces = model.predict(X, return_forces=True)
        energy, forces = energy - y.energy, forces - y.forces
        mean = [1e3 * np.abs(e).mean() for e in (energy, forces)]
        root = [1e3 * np.sqrt((e**2).mean()) for e in (energy, forces)]
        rows.append([
            test, str(model[-1].coef_.size), "{:.2f}, {:.2f}".format(*mean),
            "{:.2f}, {:.2f}".format(*root), _PUBLISHED.get(test, ""), f"{seconds:.0f}",
        ])  # fmt: skip
        print(*rows[-1], flush=True)
    return rows
