"""What a search of FCHL19's settings buys: force errors on published data, before and after.

    python -m benchmarks force_kernel_search --device cuda        all data, in 150 s on an H100
    python -m benchmarks force_kernel_search acac --device cuda     some of them
    python -m benchmarks force_kernel_search --frames 60 --device torch     a small check

The model is FCHL19 with `ForceKernelRidge`. Beside the settings of both, functions of neighbours of
an element are multiplied by a weight, those of two neighbours by both, and all features of the
centres of an element by another one; the weights of carbon are 1. The settings are searched by
cross-validation within the training frames alone: first with a few of these, where a step costs
little and many are tried, then, from the best few of all, with more of them. One setting after the
other is multiplied by its factor while the error of the frames that are left out falls; what a
round has changed is then tried once more, and factors become smaller. When the seconds of a data
set are over, the model with the best settings, with ``--before`` also that with the first ones,
learns from all training frames, and is judged on the test frames, which took no part. Errors are
those that others publish for the data: mean absolute for rMD17, root mean square for the others, in
meV/Å.
"""

import time
import warnings
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from benchmarks.harness import DATA, table
from skatom.datasets import read
from skatom.descriptors import FCHL19, Scale
from skatom.kernels import Gaussian
from skatom.metrics import evaluate
from skatom.model_selection import SharedGridSearchCV
from skatom.models import ForceKernelRidge

FIRST = {
    "sigma": 2.3, "alpha_forces": 1e-6, "cutoff": 8.0, "cutoff3": 7.0, "n_r2": 24, "n_r3": 20,
    "eta2": 0.32, "eta3": 3.0, "decay2": 1.44, "decay3": 0.57, "weight3": 0.35, "zeta": 0.5,
    "n_fourier": 3, "H": 0.45, "O": 0.85, "center_H": 1.0, "center_O": 1.0,
}  # fmt: skip
# The factor of each setting, in the order in which they are tried.
STEPS = {
    "H": 1.4, "sigma": 1.3, "weight3": 1.5, "O": 1.4, "cutoff3": 0.85, "eta3": 1.35, "decay3": 1.25,
    "center_H": 1.25, "decay2": 1.25, "zeta": 1.3, "eta2": 0.6, "center_O": 1.25, "n_r3": 1.3,
    "n_r2": 1.3, "cutoff": 0.85, "n_fourier": 1.5,
}  # fmt: skip
_WHOLE, _WEIGHTS = ("n_r2", "n_r3", "n_fourier"), ("H", "O", "center_H", "center_O")
# Regularisations that are tried with every setting, relative to the best so far.
_ALPHAS = (0.2, 1.0, 5.0)
# A step is kept if it lowers the error to this fraction: less is noise, and features cost time.
_GAIN = 0.998
_SMALLEST = 1.05  # of the largest factor
# Settings that go on to the next stage, and the time at which each stage ends.
_KEPT, _ENDS = 3, (0.45, 0.75, 1.0)
_SHARPEST = 2400.0  # of eta3 cutoff3², see FCHL19


@dataclass(frozen=True)
class Case:
    """Training frames, test files by name, the error that is published, aims, search sizes."""

    train: str
    n_train: int
    tests: dict  # name of a file: aim in meV/Å; None for the other frames of the training file
    metric: str
    search: tuple  # frames and folds of each stage
    share: float  # of all seconds


CASES = {
    "ethanol": Case(
        "rmd17_ethanol_train", 1000, {"rmd17_ethanol_test": 4.0}, "mae",
        ((200, 2), (400, 3), (800, 3)), 0.25,
    ),
    "aspirin": Case(
        "rmd17_aspirin_train", 1000, {"rmd17_aspirin_test": 17.9}, "mae",
        ((100, 2), (200, 3), (400, 3)), 0.35,
    ),
    "acac": Case(
        "acac_train_300K", 500, {"acac_test_MD_300K": 5.9, "acac_train_600K": 20.0}, "rmse",
        ((140, 2), (280, 3), (500, 3)), 0.25,
    ),
    "3bpa": Case(
        "3bpa_train_300K", 400, {None: 40.0}, "rmse", ((80, 2), (160, 3), (320, 3)), 0.2
    ),
}  # fmt: skip


def weighed(features, weights):
    """Features multiplied by the weights of the elements of their neighbours and centres."""
    names, species = features.descriptor.get_feature_names_out(), features.species
    factors = [np.prod([weights.get(part, 1.0) for part in name.split("_")]) for name in names]
    of_centers = [weights.get(f"center_{chemical_symbols[number]}", 1.0) for number in species]
    return features.map(Scale(0.0, 1 / np.outer(of_centers, factors), species))


def model_of(settings, device):
    """The estimator with these settings."""
    descriptor = dict(settings)
    sigma, alpha = descriptor.pop("sigma"), descriptor.pop("alpha_forces")
    weights = {name: descriptor.pop(name) for name in _WEIGHTS}
    return make_pipeline(
        FCHL19(**descriptor, device=device),
        FunctionTransformer(weighed, kw_args={"weights": weights}),
        ForceKernelRidge(Gaussian(sigma), alpha=0.1 * alpha, alpha_forces=alpha),
    )


class Search:
    """Settings that lower the error of frames that were left out, one after the other.

    Parameters
    ----------
    X, y : Structures, Targets
        Training frames.
    stages : list of (int, int)
        Frames and folds, of few frames first.
    metric : {"mae", "rmse"}
    device : str
    """

    def __init__(self, X, y, stages, metric, device):
        self.X, self.y, self.stages, self.device = X, y, stages, device
        self.scoring = f"neg_force_{metric}"
        self.n_tried, self.last = 0, 0.0

    def run(self, settings, seconds):
        """The best settings, and their error in eV/Å."""
        kept, steps = [settings], STEPS
        for number, (stage, end) in enumerate(zip(self.stages, _ENDS, strict=True)):
            self.begin_stage(stage)
            found = [self.error_of(kept[0])]
            if number == 0:  # the first one waits for compilers
                begin = time.perf_counter()
            self.end = begin + end * seconds
            found += [self.error_of(other) for other in kept[1:] if self.has_time()]
            best, error = min(found, key=lambda f: f[1])
            print(f"  {1e3 * error:6.2f}  {stage[0]} frames", flush=True)
            best, error = self.climb_all(best, error, steps)
            order = sorted(self.seen.values(), key=lambda f: f[1])
            kept, steps = [found for found, _ in order[:_KEPT]], _finer(STEPS)
        return best, error

    def begin_stage(self, stage):
        n, folds = stage
        chosen = np.sort(np.random.default_rng(0).permutation(len(self.X))[:n])
        self.part = self.X[chosen], self.y[chosen]
        self.folds = KFold(folds, shuffle=True, random_state=0)
        self.seen = {}

    def climb_all(self, best, error, steps):
        """Move one setting after the other, by smaller steps once none helps."""
        while self.has_time() and max(steps.values()) > _SMALLEST:
            before = best
            for name in steps:
                best, error = self.climb(name, steps[name], best, error)
            if best == before:
                steps = _finer(steps)
                continue
            further = moved(best, {name: best[name] / before[name] for name in STEPS})
            if further is not None and self.has_time():
                best, error = min((best, error), self.error_of(further), key=lambda f: f[1])
        return best, error

    def climb(self, name, factor, best, error):
        """Move one setting, downwards if it does not help upwards, while the error falls."""
        for step in (factor, 1 / factor):
            helps = False
            while self.has_time():
                tried = moved(best, {name: step})
                if tried is None or _key(tried) in self.seen:
                    break
                found, found_error = self.error_of(tried)
                if not found_error < _GAIN * error:
                    break
                best, error, helps = found, found_error, True
                print(f"  {1e3 * error:6.2f}  {name} {best[name]:.3g}", flush=True)
            if helps:
                break
        return best, error

    def error_of(self, settings):
        """The settings with the best regularisation near theirs, and their error."""
        begin = time.perf_counter()
        alphas = [settings["alpha_forces"] * factor for factor in _ALPHAS]
        grid = [
            {"forcekernelridge__alpha": [0.1 * a], "forcekernelridge__alpha_forces": [a]}
            for a in alphas
        ]
        search = SharedGridSearchCV(
            model_of(settings, self.device), grid, scoring=self.scoring, cv=self.folds, refit=False
        )
        found = settings, np.inf  # not positive definite with any of them
        try:
            with warnings.catch_warnings(action="ignore"):
                search.fit(*self.part)
            best = alphas[search.best_index_]
            found = {**settings, "alpha_forces": best}, -search.best_score_
        except ValueError:
            pass
        self.n_tried += 1
        self.last = time.perf_counter() - begin
        self.seen[_key(settings)] = found
        return found

    def has_time(self):
        return time.perf_counter() + self.last / 2 < self.end


def _key(settings):
    """What tells settings apart, whatever their regularisation, which follows."""
    return tuple(round(v, 9) for k, v in settings.items() if k != "alpha_forces")


def _finer(steps):
    return {name: factor**0.5 for name, factor in steps.items()}


def moved(settings, factors):
    """Settings, of which some are multiplied by factors, or None if this is not allowed."""
    found = {**settings, **{name: settings[name] * factor for name, factor in factors.items()}}
    found |= {name: max(1, round(found[name])) for name in _WHOLE}
    too_sharp = found["eta3"] * found["cutoff3"] ** 2 > _SHARPEST
    if found == settings or found["cutoff3"] > found["cutoff"] or too_sharp:
        return None
    return found


def load(case, limit):
    """Training structures and labels, and {name: (structures, labels)} to judge on."""
    data = _read(case.train)
    n = min(case.n_train, limit or case.n_train)
    order = np.random.default_rng(0).permutation(len(data.structures))
    if None not in case.tests:
        order = np.arange(len(order))
    train, rest = np.sort(order[:n]), np.sort(order[case.n_train :])
    tests = {}
    for name in case.tests:
        test = data if name is None else _read(name)
        rows = rest if name is None else np.arange(len(test.structures))
        rows = rows[: 2 * limit if limit else None]
        key = f"{case.train}, other frames" if name is None else name
        tests[key] = test.structures[rows], test.targets[rows]
    return data.structures[train], data.targets[train], tests


def _read(name):
    return read(DATA / "molecules" / f"{name}.npz")


def measure(case, device, limit, seconds, before):
    """Rows of the table, one for each test file."""
    X, y, tests = load(case, limit)
    stages = [(n * len(X) // case.n_train, folds) for n, folds in case.search]
    search = Search(X, y, stages, case.metric, device)
    begin = time.perf_counter()
    best, error = search.run(FIRST, seconds)
    print(
        f"  {search.n_tried} settings in {time.perf_counter() - begin:.0f} s, {1e3 * error:.2f} "
        f"meV/Å with {stages[-1][0]} frames: {changes(best)}",
        flush=True,
    )
    errors, times = [], []
    for settings in [FIRST, best] if before else [best]:
        begin = time.perf_counter()
        with warnings.catch_warnings(action="ignore"):
            model = model_of(settings, device).fit(X, y)
        times.append(time.perf_counter() - begin)
        errors.append([_error(model, case, test) for test in tests.values()])
    first = errors[0] if before else ["–"] * len(tests)
    return [
        [name, case.metric, str(len(X)), one, other, f"{aim:g}", f"{times[-1]:.1f}"]
        for name, one, other, aim in zip(tests, first, errors[-1], case.tests.values(), strict=True)
    ]  # fmt: skip


def _error(model, case, test):
    return f"{1e3 * evaluate(model, *test)[f'force_{case.metric}']:.2f}"


def changes(settings):
    """What was changed, in words."""
    return ", ".join(f"{k} {v:.3g}" for k, v in settings.items() if v != FIRST[k]) or "nothing"


def add_arguments(parser):
    parser.add_argument("names", nargs="*", help=f"data sets: {', '.join(CASES)} [all]")
    parser.add_argument("--device", default="cpu", help="of FCHL19 (default: cpu)")
    parser.add_argument(
        "--budget", type=float, default=110.0, help="seconds of all searches [110]; fits come after"
    )
    parser.add_argument("--before", action="store_true", help="judge the first settings, too")
    parser.add_argument("--frames", type=int, help="training frames at most, for small checks")


def run(options):
    rows, begin = [], time.perf_counter()
    names = options.names or list(CASES)
    whole = sum(CASES[name].share for name in names)
    for name in names:
        print(f"{name} ({time.perf_counter() - begin:.0f} s)", flush=True)
        case = CASES[name]
        seconds = options.budget * case.share / whole
        found = measure(case, options.device, options.frames, seconds, options.before)
        for row in found:
            print(*row, flush=True)
        rows += found
    table(
        f"Force errors in meV/Å after a search, {time.perf_counter() - begin:.0f} s",
        ["test frames", "error", "trained", "first", "searched", "aim", "fit/s"],
        rows,
    )
