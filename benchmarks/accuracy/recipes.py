"""Recipes of `skatom train`: errors on published data with the default settings, or tuned.

    python -m benchmarks recipes                    all data sets, for hours
    python -m benchmarks recipes Si InP             some of them
    python -m benchmarks recipes Si --model greedy  one recipe
    python -m benchmarks recipes Ge --tune 0        without a search
    python -m benchmarks recipes --tune 5           with searches of this many minutes for all

Training parts alone choose labels and settings. Published errors stand beside those measured, in
the same unit. Times are those that were estimated for the fit, of the fit, and of search and fit
together, and processor time, which depends less on what else the machine does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import DATA, table
from benchmarks.sparse._search import read_grouped
from skatom import recipes
from skatom.datasets import read
from skatom.metrics import evaluate
from skatom.recipes.estimates import estimate
from skatom.recipes.facts import Facts
from skatom.recipes.fitting import fit
from skatom.recipes.labels import labels_to_learn, only
from skatom.recipes.tuning import search_of

# how energies and forces are compared: keys of `evaluate`, and factors to the units shown
_MATERIAL = ("energy_mae_per_atom", "force_mae", 1e3, 1.0, "MAE, meV/atom, eV/Å")
_MOLECULE = ("energy_mae", "force_mae", 1e3, 1e3, "MAE, meV, meV/Å")
_ROOT = ("energy_rmse", "force_rmse", 1e3, 1e3, "RMSE, meV, meV/Å")


@dataclass(frozen=True)
class Case:
    """Data, how errors are shown, and published ones by recipe."""

    load: Callable
    figures: tuple
    published: dict
    models: tuple = ("gap", "greedy", "mtp", "nbody")
    minutes: float | None = None


def _element(name):
    parts = [read_grouped(DATA / "mlearn" / f"mlearn_{name}_{p}.xyz.xz") for p in ("train", "test")]
    return (*parts[0], *parts[1][:2])


def _grouped(structures, targets, test_structures, test_targets):
    return structures, targets, None, test_structures, test_targets


def _rmd17(name):
    train, test = (read(DATA / "molecules" / f"{name}_{part}.npz") for part in ("train", "test"))
    return _grouped(train.structures, train.targets, test.structures, test.targets)


def _acceptance(n_train=400):
    data = read(DATA / "molecules" / "3bpa_train_300K.npz")
    order = np.random.default_rng(0).permutation(len(data.structures))
    train, held = order[:n_train], order[n_train:]
    return _grouped(
        data.structures[train], data.targets[train], data.structures[held], data.targets[held]
    )


def _indium_phosphide():
    """All frames, on which the published model was trained and judged, but two.

    Frame 10 has the energy of InP and indium atoms alone; in frame 634 species have changed places.
    """
    data = read(DATA / "periodic" / "InP_jpca2020.xyz.xz")
    kept = np.setdiff1d(np.arange(len(data.structures)), [10, 634])
    X, y = data.structures[kept], data.targets[kept]
    return _grouped(X, y, X, y)


def _alloys():
    train, test = (read(DATA / "periodic" / f"NbMoTaW_{part}.xyz.xz") for part in ("train", "test"))
    return _grouped(train.structures, train.targets, test.structures, test.targets)


_OF_ELEMENTS = ("gap", "greedy", "mtp", "hdnnp", "nbody")
# Zuo et al., J. Phys. Chem. A 124, 731 (2020)
_GAP = {
    "Ni": (0.42, 0.02), "Cu": (0.46, 0.01), "Li": (0.49, 0.01), "Mo": (2.24, 0.09),
    "Si": (2.91, 0.07), "Ge": (2.06, 0.05),
}  # fmt: skip
CASES = {
    "ethanol": Case(
        lambda: _rmd17("rmd17_ethanol"), _MOLECULE,
        {"sgdml": (2.4, 16.0), "gap": (3.5, 18.1), "fchl19": (0.9, 6.2)},
        ("sgdml", "gap", "fchl19", "greedy"),
    ),
    "3BPA": Case(_acceptance, _ROOT, {"sgdml": (9.1, 46.2), "gap": (22.8, 87.3)}, ("sgdml", "gap")),
    **{
        name: Case(
            lambda name=name: _element(name), _MATERIAL, {"gap": published}, _OF_ELEMENTS, 5.0
        )
        for name, published in _GAP.items()
    },
    "InP": Case(_indium_phosphide, _MATERIAL, {"gap": (3.31, 0.0675)}),
    "NbMoTaW": Case(_alloys, _MATERIAL, {"gap": (5.1, 0.14)}, ("gap", "greedy")),
}  # fmt: skip


def measure(case, model, minutes):
    """Errors of energies and forces, and times.

    Returns
    -------
    energy, force : float
        In the units of the case.
    estimated, of_fit, seconds, processor : float
        Seconds that were estimated for the fit and that it took, and those of search, estimate and
        fit together.
    """
    X, y, groups, test_X, test_y = case.load()
    begin, processor = time.perf_counter(), time.process_time()
    recipe, facts = recipes.find(model), Facts.of(X)
    names, _ = labels_to_learn(X, y)
    y = y if recipe.one_molecule else only(y, names)
    settings = recipe.settings(facts)
    if minutes:
        search = search_of(recipe)(recipe, facts, X, y, 60 * minutes, groups, report=_say)
        settings = search.run(settings).settings
    estimated = estimate(recipe, settings, X, y, groups).seconds or float("nan")
    start = time.perf_counter()
    fitted = fit(recipe.make(settings), X, y, groups)
    of_fit = time.perf_counter() - start
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    errors = evaluate(fitted, test_X, test_y)
    energy, force, of_energy, of_force, _ = case.figures
    errors = errors[energy] * of_energy, errors[force] * of_force
    return *errors, estimated, of_fit, seconds, processor


def _say(line):
    print(f"  {line}", flush=True)


def add_arguments(parser):
    parser.add_argument("names", nargs="*", help=f"data sets: {', '.join(CASES)} [all]")
    parser.add_argument("--model", help="one recipe [those of the table]")
    parser.add_argument("--tune", type=float, help="minutes of a search [5 for gap on elements]")


def run(options):
    rows = []
    for name in options.names or CASES:
        case = CASES[name]
        for model in (options.model,) if options.model else case.models:
            minutes = case.minutes if options.tune is None and model == "gap" else options.tune
            energy, force, *times = measure(case, model, minutes)
            published = case.published.get(model, ("–", "–"))
            rows.append([
                name, model, f"{minutes:g} min" if minutes else "no", case.figures[-1],
                f"{energy:.3g}", f"{published[0]}", f"{force:.3g}", f"{published[1]}",
                *(f"{seconds:.1f}" for seconds in times),
            ])  # fmt: skip
            print(*rows[-1], flush=True)
    header = ["data", "model", "tuned", "errors", "energy", "published", "forces", "published"]
    header += ["estimated s", "fit s", "all s", "processor s"]
    table("Errors of recipes on test structures", header, rows)
