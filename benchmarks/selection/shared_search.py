"""A grid search that shares work beside scikit-learn's: time and the largest difference.

    python -m benchmarks shared_search                 all cases, for some minutes
    python -m benchmarks shared_search sgdml --device cuda

Both searches try the same candidates on the same folds of ethanol; the peer is scikit-learn's
`GridSearchCV` with the same models. Seconds of the processor depend less on what else the machine
does. Scores are compared relative to themselves, forces relative to their root mean square.
"""

import time
import warnings

import numpy as np
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from benchmarks.harness import table
from skatom.datasets import load_ethanol
from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian
from skatom.metrics import neg_force_rmse
from skatom.model_selection import SharedGridSearchCV
from skatom.models import GDML, SGDML, ForceKernelRidge

_ALPHAS = [1e-10, 1e-8, 1e-6]


def _ridge(device):
    return make_pipeline(FCHL19(device=device), ForceKernelRidge(Gaussian(2.0)))


# model, grid, training frames
_CASES = {
    "gdml": (
        lambda device: GDML(device=device), {"sigma": [5.0, 10.0, 20.0], "alpha": _ALPHAS}, 120
    ),
    "sgdml": (
        lambda device: SGDML(device=device, random_state=0),
        {"sigma": [5.0, 10.0, 20.0], "alpha": _ALPHAS}, 120,
    ),
    "ridge": (
        _ridge,
        {
            "forcekernelridge__kernel__sigma": [1.0, 2.0, 4.0],
            "forcekernelridge__alpha": [1e-8, 1e-7, 1e-6],
        }, 60,
    ),
    "ridge-safe": (
        _ridge, {"forcekernelridge__alpha": [1e-4, 1e-3, 1e-2]}, 60,
    ),
}  # fmt: skip


def measure(name, n_frames, device, n_folds):
    """A row of the table."""
    make, grid, default = _CASES[name]
    data = load_ethanol()
    n_frames = n_frames or default
    frames = slice(None, None, len(data.structures) // n_frames)
    X, y = data.structures[frames][:n_frames], data.targets[frames][:n_frames]
    splitter = KFold(n_folds, shuffle=True, random_state=0)
    options = {"scoring": neg_force_rmse, "cv": splitter, "error_score": "raise"}
    with warnings.catch_warnings(action="ignore"):
        make(device).fit(X[:10], y[:10])  # compilation
    found, seconds, processor = [], [], []
    for kind in (SharedGridSearchCV, GridSearchCV):
        begin, before = time.perf_counter(), time.process_time()
        with warnings.catch_warnings(action="ignore"):
            found.append(kind(make(device), grid, **options).fit(X, y))
        seconds.append(time.perf_counter() - begin)
        processor.append(time.process_time() - before)
    ours, theirs = (search.cv_results_["mean_test_score"] for search in found)
    test = data.structures[1::100]
    forces = [search.best_estimator_.predict(test, return_forces=True)[1] for search in found]
    difference = np.abs(forces[0] - forces[1]).max() / np.sqrt(np.mean(forces[1] ** 2))
    return [
        name, str(n_frames), str(len(ours) * n_folds), f"{seconds[0]:.1f}", f"{seconds[1]:.1f}",
        f"{seconds[1] / seconds[0]:.1f}", f"{processor[1] / processor[0]:.1f}",
        f"{np.abs(ours / theirs - 1).max():.0e}", f"{difference:.0e}",
        "yes" if found[0].best_params_ == found[1].best_params_ else "no",
    ]  # fmt: skip


def add_arguments(parser):
    parser.add_argument("names", nargs="*", help=f"cases: {', '.join(_CASES)} [all]")
    parser.add_argument("--frames", type=int, help="training frames [120, ridge 60]")
    parser.add_argument("--folds", type=int, default=5, help="folds (default: 5)")
    parser.add_argument("--device", default="cpu", help="of the models (default: cpu)")


def run(options):
    rows = []
    for name in options.names or _CASES:
        rows.append(measure(name, options.frames, options.device, options.folds))
        print(*rows[-1], flush=True)
    table(
        "Searches of a grid, shared and by scikit-learn",
        ["model", "frames", "fits", "shared/s", "sklearn/s", "ratio", "processor", "scores",
         "forces", "same best"],
        rows,
    )  # fmt: skip
