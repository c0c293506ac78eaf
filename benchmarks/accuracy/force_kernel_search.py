"""What a search of FCHL19's settings buys: force errors on published data, before and after.

    python -m benchmarks force_kernel_search --device cuda        all data, in 150 s on an H100
    python -m benchmarks force_kernel_search acac --device cuda     some of them
    python -m benchmarks force_kernel_search --frames 60 --device torch     a small check

The model is FCHL19 with `ForceKernelRidge`. Its settings begin with those that were chosen for
aspirin of rMD17 (`force_kernels`), and are searched within the training frames alone: one after
the other is multiplied by its factor while the error of frames that were left out falls. A search
stops when its seconds are over; that of each data set begins anew. Then the model with the best
settings, with ``--before`` also that with the first ones, learns from all training frames, and is
judged on the test frames, which took no part. Errors are those that others publish for the data:
mean absolute for rMD17, root mean square for the others, in meV/Å.
"""

import time
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import ShuffleSplit
from sklearn.pipeline import make_pipeline

from benchmarks.harness import DATA, table
from skatom.datasets import read
from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian
from skatom.metrics import evaluate
from skatom.model_selection import SharedGridSearchCV
from skatom.models import ForceKernelRidge

FIRST = {
    "sigma": 2.0, "alpha_forces": 1e-8, "cutoff": 8.0, "cutoff3": 6.0, "n_r2": 24, "n_r3": 20,
    "eta2": 0.32, "eta3": 5.0, "decay2": 1.44, "decay3": 0.57, "weight3": 0.23, "zeta": 0.5,
    "n_fourier": 2,
}  # fmt: skip
# The factor of each setting, in the order in which they are tried.
STEPS = {
    "sigma": 1.6, "cutoff": 0.8, "cutoff3": 0.8, "weight3": 2.0, "n_fourier": 1.5, "eta3": 1.5,
    "decay3": 1.4, "n_r2": 1.4, "n_r3": 1.4, "eta2": 0.6, "decay2": 1.25, "zeta": 1.4,
}  # fmt: skip
_WHOLE = ("n_r2", "n_r3", "n_fourier")
# Regularisations that are tried with every setting, relative to the best so far.
_ALPHAS = (0.1, 1.0, 10.0)
# A step is kept if it lowers the error to this fraction: less is noise, and features cost time.
_GAIN = 0.995
_SHARPEST = 2400.0  # of eta3 cutoff3², see FCHL19


@dataclass(frozen=True)
class Case:
    """Training frames, test files by name, the error that is published, aims, search sizes."""

    train: str
    n_train: int
    tests: dict  # name of a file: aim in meV/Å; None for the other frames of the training file
    metric: str
    search: tuple  # frames of the split, to train and to test on
    seconds: float


CASES = {
    "ethanol": Case(
        "rmd17_ethanol_train", 1000, {"rmd17_ethanol_test": 4.0}, "mae", (400, 200), 20.0
    ),
    "aspirin": Case(
        "rmd17_aspirin_train", 1000, {"rmd17_aspirin_test": 17.9}, "mae", (250, 100), 40.0
    ),
    "acac": Case(
        "acac_train_300K", 500, {"acac_test_MD_300K": 5.9, "acac_train_600K": 20.0}, "rmse",
        (250, 150), 25.0,
    ),
    "3bpa": Case("3bpa_train_300K", 400, {None: 40.0}, "rmse", (200, 100), 30.0),
}  # fmt: skip


def model_of(settings, device):
    """The estimator with these settings."""
    descriptor = dict(settings)
    sigma, alpha = descriptor.pop("sigma"), descriptor.pop("alpha_forces")
    return make_pipeline(
        FCHL19(**descriptor, device=device),
        ForceKernelRidge(Gaussian(sigma), alpha=0.1 * alpha, alpha_forces=alpha),
    )


class Search:
    """Settings that lower the error of frames that were left out, one after the other.

    Parameters
    ----------
    X, y : Structures, Targets
        Training frames.
    case : Case
    sizes : (int, int)
        Frames to train and to test on.
    device : str
    seconds : float
    """

    def __init__(self, X, y, case, sizes, device, seconds):
        self.X, self.y, self.device = X, y, device
        self.split = ShuffleSplit(1, train_size=sizes[0], test_size=sizes[1], random_state=0)
        self.scoring = f"neg_force_{case.metric}"
        self.seconds, self.n_tried = seconds, 0

    def run(self, settings):
        """The best settings, and their error in eV/Å."""
        best, error = self.error_of(settings)
        # the first one waits for compilers
        self.end = time.perf_counter() + self.seconds
        print(f"  {1e3 * error:6.2f}  first settings", flush=True)
        while self.has_time():
            before = best
            for name in STEPS:
                best, error = self.climb(name, best, error)
            if best == before:
                break
        return best, error

    def climb(self, name, best, error):
        """Move one setting, downwards if it does not help upwards, while the error falls."""
        for power in (1, -1):
            moved = False
            while self.has_time():
                tried = stepped(best, name, power)
                if tried is None:
                    break
                found, found_error = self.error_of(tried)
                if found_error > _GAIN * error:
                    break
                best, error, moved = found, found_error, True
                print(f"  {1e3 * error:6.2f}  {name} {best[name]:.3g}", flush=True)
            if moved:
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
            model_of(settings, self.device), grid, scoring=self.scoring, cv=self.split, refit=False
        )
        try:
            with warnings.catch_warnings(action="ignore"):
                search.fit(self.X, self.y)
        except ValueError:  # not positive definite with any of them
            return settings, np.inf
        finally:
            self.n_tried += 1
            self.last = time.perf_counter() - begin
        return {**settings, "alpha_forces": alphas[search.best_index_]}, -search.best_score_

    def has_time(self):
        return time.perf_counter() + self.last / 2 < self.end


def stepped(settings, name, power):
    """Settings with one of them a step up or down, or None if this is not allowed."""
    value = settings[name] * STEPS[name] ** power
    if name in _WHOLE:
        value = max(1, round(value))
        if value == settings[name]:
            return None
    moved = {**settings, name: value}
    if moved["cutoff3"] > moved["cutoff"] or moved["eta3"] * moved["cutoff3"] ** 2 > _SHARPEST:
        return None
    return moved


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
    sizes = [n * len(X) // case.n_train for n in case.search]
    search = Search(X, y, case, sizes, device, case.seconds if seconds is None else seconds)
    begin = time.perf_counter()
    best, error = search.run(FIRST)
    print(
        f"  {search.n_tried} settings in {time.perf_counter() - begin:.0f} s, {1e3 * error:.2f} "
        f"meV/Å with {sizes[0]} frames: {changes(best)}",
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
    parser.add_argument("--seconds", type=float, help="of each search [20 to 40]")
    parser.add_argument("--before", action="store_true", help="judge the first settings, too")
    parser.add_argument("--frames", type=int, help="training frames at most, for small checks")


def run(options):
    rows, begin = [], time.perf_counter()
    for name in options.names or CASES:
        print(f"{name} ({time.perf_counter() - begin:.0f} s)", flush=True)
        case = CASES[name]
        found = measure(case, options.device, options.frames, options.seconds, options.before)
        for row in found:
            print(*row, flush=True)
        rows += found
    table(
        f"Force errors in meV/Å after a search, {time.perf_counter() - begin:.0f} s",
        ["test frames", "error", "trained", "first", "searched", "aim", "fit/s"],
        rows,
    )
