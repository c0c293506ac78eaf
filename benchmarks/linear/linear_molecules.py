"""Linear cluster expansions of molecules: errors beside those of linear ACE.

    python -m benchmarks linear_molecules             ethanol, aspirin, 3BPA with the recipe ``ace``
    python -m benchmarks linear_molecules ethanol --degrees 12 6.5 8 6.5 --l-weight 0.4
    python -m benchmarks linear_molecules 3bpa --held-out 100 --alpha 1e-9 1e-8
    python -m benchmarks linear_molecules --tune --device cuda --threads 16         on a card

With ``--held-out`` some of the training frames are the test. With ``--tune`` a fifth of them
chooses degrees, the cutoff of products, the scaling of the prior and alpha, before all are learnt.
The published errors are those of linear ACE (Kovács et al., J. Chem. Theory Comput. 17, 7696
(2021)): mean absolute ones of revised MD17 with 1,000 training frames, and root mean square ones of
3BPA with 500 frames at 300 K. Here 3BPA has 400 of these, and the other 100 are the test.
"""

import time
from itertools import product

import numpy as np

from benchmarks.harness import DATA, table
from skatom import recipes
from skatom.datasets import read

# What --tune tries: degrees with the weight of l, and cutoffs of products in Å, of all or of two,
# three and four factors; then scalings and alphas.
_CANDIDATES = {
    "ethanol": ([(12, 6.5, 9, 8, 0.5), (12, 6.5, 10, 8, 0.5)], [3.5, (4.5, 3.5, 3.2)]),
    "aspirin": ([(12, 8, 9, 7, 0.5), (12, 8, 8, 6, 0.3)], [3.2, (4.5, 3.5, 3.2)]),
    "3bpa": ([(12, 6, 7, 5, 0.3), (12, 7, 7.5, 6, 0.3)], [3.2, (4.5, 3.5, 3.2)]),
}
_SCALINGS, _ALPHAS = (0.0, 0.5), (1e-11, 1e-10, 1e-9, 1e-8)
_PUBLISHED = {"ethanol": "1.2, 7.3", "aspirin": "6.1, 17.9", "3bpa": "7.1, 27.1 (RMSE)"}


def add_arguments(parser):
    parser.add_argument("names", nargs="*", default=list(_PUBLISHED))
    parser.add_argument("--degrees", type=float, nargs="+", help="of products [the recipe's]")
    parser.add_argument("--l-weight", type=float, help="of l in the degree [the recipe's]")
    parser.add_argument("--cutoff", type=float, help="of pairs [the recipe's]")
    parser.add_argument(
        "--product-cutoff", type=float, nargs="+",
        help="of products, or of those of two, three and four factors [the recipe's]",
    )  # fmt: skip
    parser.add_argument("--smoothness", type=float, help="exponent of the prior [the recipe's]")
    parser.add_argument("--scaling", type=float, help="exponent of lengths [the recipe's]")
    parser.add_argument("--alpha", type=float, nargs="+", help="regularisations [the recipe's]")
    parser.add_argument("--noise-energy", type=float, help="eV per atom [the recipe's]")
    parser.add_argument("--device", default="cpu", help="of features and their sums [cpu]")
    parser.add_argument("--frames", type=int, default=1000, help="training frames at most [1000]")
    parser.add_argument("--held-out", type=int, help="training frames that are the test")
    parser.add_argument("--tune", action="store_true", help="choose settings by held-out frames")


def run(options):
    settings = _settings(options)
    rows = []
    for name in options.names:
        train, tests = _data(name, options.held_out)
        train = tuple(part[: options.frames] for part in train)
        if options.tune:
            settings = _tuned(name, train, _settings(options), options)
        rows += _errors(train, tests, settings, options)
    table(
        "energies in meV, forces in meV/Å",
        ["data", "columns", "alpha", "MAE", "RMSE", "published", "s"],
        rows,
    )


def _settings(options):
    """The settings of the recipe that were given."""
    given = {
        "expansion__degrees": options.degrees and tuple(options.degrees),
        "expansion__l_weight": options.l_weight,
        "expansion__cutoff": options.cutoff,
        "expansion__product_cutoff": options.product_cutoff and _cutoffs(options.product_cutoff),
        "smoothness": options.smoothness,
        "scaling": options.scaling,
        "noise_energy": options.noise_energy,
    }
    return {name: value for name, value in given.items() if value is not None}


def _cutoffs(given):
    """One cutoff for all products as a number."""
    return given[0] if len(given) == 1 else tuple(given)


def _data(name, held_out):
    """Structures and targets to learn, and those of tests by name."""
    folder = DATA / "molecules"
    if name == "3bpa":
        X, y = _read(folder / "3bpa_train_300K.npz")
        order = np.random.default_rng(0).permutation(len(X))
        held, train = _parts(X, y, order[400:]), _parts(X, y, order[:400])
        tests = {name: held, "3bpa, mixed temperatures": _read(folder / "3bpa_mixedT.npz")}
    else:
        train = _read(folder / f"rmd17_{name}_train.npz")
        tests = {name: _read(folder / f"rmd17_{name}_test.npz")}
    if held_out:
        order = np.random.default_rng(1).permutation(len(train[0]))
        tests = {f"{name}, held out": _parts(*train, order[:held_out])}
        train = _parts(*train, order[held_out:])
    return train, tests


def _parts(X, y, chosen):
    chosen = np.sort(chosen)
    return X[chosen], y[chosen]


def _read(path):
    data = read(path)
    return data.structures, data.targets


def _tuned(name, train, settings, options):
    """The settings with the least errors of forces of a fifth of the training frames."""
    order = np.random.default_rng(2).permutation(len(train[0]))
    held, kept = (_parts(*train, part) for part in np.split(order, [len(order) // 5]))
    tried = []
    for (*degrees, l_weight), product_cutoff in product(*_CANDIDATES[name]):
        own = settings | {
            "expansion__degrees": tuple(degrees), "expansion__l_weight": l_weight,
            "expansion__product_cutoff": product_cutoff,
        }  # fmt: skip
        begin = time.perf_counter()
        linear, test = _fitted(kept, {name: held}, own, options.device)
        for scaling, alpha in product(_SCALINGS, _ALPHAS):
            try:
                model = linear.regularized(scaling=scaling, alpha=alpha)
            except (ValueError, RuntimeError) as error:  # not positive definite, by rounding
                print(own, scaling, alpha, error, flush=True)
                continue
            row = _row(model, name, *test[name], "")
            error = float(row[3].split(", ")[1])
            tried.append((error, own | {"scaling": scaling, "alpha": alpha}))
            print(own, scaling, *row[1:5], f"{time.perf_counter() - begin:.0f} s", flush=True)
    return min(tried, key=lambda pair: pair[0])[1]


def _errors(train, tests, settings, options):
    begin, rows = time.perf_counter(), []
    if options.alpha:
        settings = settings | {"alpha": options.alpha[0]}
    linear, held = _fitted(train, tests, settings, options.device)
    for alpha in options.alpha or [linear.alpha]:
        model = linear if alpha == linear.alpha else linear.regularized(alpha=alpha)
        seconds = time.perf_counter() - begin
        for name, (X, y) in held.items():
            rows.append(_row(model, name, X, y, f"{seconds:.0f}"))
            print(*rows[-1], flush=True)
    return rows


def _fitted(train, tests, settings, device):
    """The linear model of the recipe, and the features and targets of tests."""
    model = recipes.make("ace", train[0], device=device, **settings)
    descriptor, linear = (step for _, step in model.steps)
    linear.fit(descriptor.fit_transform(*train), train[1])
    return linear, {name: (descriptor.transform(X), y) for name, (X, y) in tests.items()}


def _row(linear, name, X, y, seconds):
    energy, forces = linear.predict(X, return_forces=True)
    energy, forces = energy - y.energy, forces - y.forces
    mean = [1e3 * np.abs(e).mean() for e in (energy, forces)]
    root = [1e3 * np.sqrt((e**2).mean()) for e in (energy, forces)]
    return [
        name, str(linear.sums_.n_columns), f"{linear.alpha:.1e}", "{:.2f}, {:.2f}".format(*mean),
        "{:.2f}, {:.2f}".format(*root), _PUBLISHED.get(name, ""), seconds,
    ]  # fmt: skip
