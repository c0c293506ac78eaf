"""Potentials of sampled networks by a clean protocol, beside kernel ridge on the same features.

    python -m benchmarks network_potentials                        three sets of data
    python -m benchmarks network_potentials rmd17_aspirin --frames 100
    python -m benchmarks network_potentials md17_ethanol --only "Coulomb matrix" angles

Training, validation and test frames are disjoint, without equal frames, and those of the test come
from another file or, of MD17 ethanol, from the other half of one. All models learn energies and
forces together and predict conservative forces. The regularisation of the networks is that of the
largest evidence; the width and the regularisation of the kernels are chosen by errors of the
validation frames, after fits to the first quarter of the training frames. No choice sees the test.
"""

import itertools
import time
import warnings

import numpy as np
from sklearn.pipeline import Pipeline

from benchmarks.harness import DATA, table
from skatom import network_potentials as potentials
from skatom.datasets import read
from skatom.kernels import Gaussian
from skatom.metrics import evaluate
from skatom.models import ForceKernelRidge

# file of training and validation frames, file of test frames, training frames
_SETS = {
    "md17_ethanol": ("md17_ethanol", None, 200),
    "rmd17_ethanol": ("rmd17_ethanol_train", "rmd17_ethanol_test", 200),
    "rmd17_aspirin": ("rmd17_aspirin_train", "rmd17_aspirin_test", 60),
}
_VALIDATION, _TEST = 50, 200
# Widths in roots of the number of features, which have the variance 1, and regularisations.
_WIDTHS, _ALPHAS = (0.5, 2.0, 8.0), (1e-9, 1e-6)
# Widths for FCHL19, whose features are not scaled.
_ATOMIC_WIDTHS = (2.0, 6.0, 20.0)


def add_arguments(parser):
    parser.add_argument("sets", nargs="*", help=f"sets of data: {', '.join(_SETS)} (all)")
    parser.add_argument("--frames", type=int, help="training frames (ethanol 200, aspirin 60)")
    parser.add_argument("--features", type=int, default=1000, help="neurons (default: 1000)")
    parser.add_argument("--only", nargs="+", help="names of models (default: all)")


def models(n_features):
    """The potentials by name."""
    given = {"n_features": n_features, "random_state": 0}
    invariant, sets = potentials.permutation_invariant_potential, potentials.shallow_set_potential
    return {
        "Cartesian": potentials.cartesian_potential(**given),
        "Coulomb matrix": potentials.isometric_potential(**given),
        "sorted Coulomb matrix": invariant(order="sorted", **given),
        "eigenvalues": invariant(**given),
        "singular values": invariant(order="singular values", **given),
        "angles": potentials.higher_order_potential(**given),
        "triplets": potentials.higher_order_potential(kind="gaussians", **given),
        **{
            f"{layout} sets, {projection}": sets(layout=layout, projection=projection, **given)
            for layout in ("flat", "nested")
            for projection in ("normal", "sampled")
        },
        "extensive, FCHL19": potentials.extensive_potential(-(-n_features // 3), random_state=0),
    }


def load(name, n_frames):
    """Training, validation and test parts, each structures and targets."""
    train, test, n = _SETS[name]
    n = n_frames or n
    known = read(DATA / "molecules" / f"{train}.npz")
    unknown = known if test is None else read(DATA / "molecules" / f"{test}.npz")
    half = len(known.structures) // 2 if test is None else len(known.structures)
    if n + _VALIDATION > half:
        raise SystemExit(f"--frames {n}: at most {half - _VALIDATION} of {name}")
    first = half if test is None else 0
    parts = [
        (known, np.arange(n)),
        (known, np.arange(n, n + _VALIDATION)),
        (unknown, np.linspace(first, len(unknown.structures) - 1, _TEST).astype(int)),
    ]
    parts = [(data.structures[chosen], data.targets[chosen]) for data, chosen in parts]
    n_atoms = int(parts[0][0].n_atoms[0])
    frames = np.vstack([X.positions.reshape(-1, 3 * n_atoms) for X, _ in parts])
    if len(np.unique(frames, axis=0)) < len(frames):
        raise SystemExit(f"{name} has equal frames: the parts would not be independent")
    return parts


def kernel_of(network, parts):
    """Kernel ridge on the features of a network, with the choices of the validation frames."""
    steps = [(name, step) for name, step in network.steps if name not in {"neurons", "model"}]
    (X, y), validation, _ = parts
    few = slice(0, max(10, len(X) // 4))
    widths = _ATOMIC_WIDTHS
    if steps[-1][0] == "scaler":
        n_features = Pipeline(steps).fit_transform(X[:5]).shape[1]
        widths = np.sqrt(n_features) * np.array(_WIDTHS)

    def model(width, alpha):
        ridge = ForceKernelRidge(Gaussian(float(width)), alpha=alpha / 10, alpha_forces=alpha)
        return Pipeline([*steps, ("model", ridge)])

    candidates = [model(*settings) for settings in itertools.product(widths, _ALPHAS)]
    scores = [evaluate(m.fit(X[few], y[few]), *validation)["force_mae"] for m in candidates]
    return candidates[int(np.argmin(scores))]


def errors(model, parts):
    """Seconds of the fit, and mean absolute errors of the test in meV and meV/Å."""
    (X, y), _, test = parts
    begin = time.process_time()
    model.fit(X, y)
    seconds, scores = time.process_time() - begin, evaluate(model, *test)
    return [1e3 * scores["energy_mae"], 1e3 * scores["force_mae"], seconds]


def run(options):
    with warnings.catch_warnings():  # some features tell little of the forces, as the table says
        warnings.simplefilter("ignore", UserWarning)
        for name in options.sets or _SETS:
            compare(name, options)


def compare(name, options):
    parts, rows = load(name, options.frames), []
    for label, network in models(options.features).items():
        if options.only and label not in options.only:
            continue
        kernel = kernel_of(network, parts)
        found = errors(network, parts) + errors(kernel, parts)
        rows.append([label, *(f"{figure:.3g}" for figure in found)])
        print(name, *rows[-1], flush=True)
    table(
        f"{name}, {len(parts[0][0])} frames, {options.features} neurons; kernels at the right",
        ["features", "meV", "meV/Å", "CPU s", "meV", "meV/Å", "CPU s"],
        rows,
    )
