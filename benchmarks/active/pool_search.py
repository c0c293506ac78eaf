"""Bayesian optimisation of a pool of perovskites: evaluations until half of the best are found.

    python -m benchmarks pool_search              beside PHYSBO
    python -m benchmarks pool_search --alone      without it

The pool are 3,785 perovskites, described by rows and columns of the periodic table on their sites;
the best are the 1 % with the lowest heats of formation. A search at random finds half of these
after half of the pool; the aim is a tenth of that, with the first 20, which are drawn at random.
Length scales and noise of the Gaussian process are learnt from the values, after each 20, as
PHYSBO's are. With one scale for all features and a noise that are fixed, some searches take three
times as many evaluations as others: they look where the features that count little differ.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import DATA, own, peer_of, peer_script, run_process, table

PEER = "physbo"
N_INITIAL, N_FEATURES, LEARN_EVERY = 20, 1000, 20


def candidates():
    """Scaled features (n, d) of all perovskites, and their heats of formation in eV/atom."""
    from skatom.descriptors import PrototypeEncoder

    data = np.load(DATA / "periodic" / "perov5_test.npz")
    features = PrototypeEncoder(mixed=True).fit_transform(data["z"].astype(int)).astype(float)
    features = features[:, features.std(axis=0) > 0]
    return (features - features.mean(axis=0)) / features.std(axis=0), data["heat_all"]


def estimator(acquisition, n_columns):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
    from sklearn.linear_model import BayesianRidge
    from sklearn.pipeline import make_pipeline

    from skatom.kernels import Gaussian
    from skatom.random_features import RandomFourierFeatures

    width = 2 * np.sqrt(n_columns)
    if acquisition == "thompson":
        features = RandomFourierFeatures(Gaussian(width / 2), N_FEATURES, random_state=0)
        return make_pipeline(features, BayesianRidge())
    scales = Matern(np.full(n_columns, width), (0.5, 100.0), nu=2.5)
    kernel = ConstantKernel(1.0, (0.01, 1000.0)) * scales + WhiteKernel(0.02, (1e-4, 1.0))
    return GaussianProcessRegressor(kernel, normalize_y=True)


def search(file, acquisition, seed, limit):
    """Evaluations until half of the best are found, or how many are found at the limit; seconds."""
    from skatom.active import BayesianSearch

    data = np.load(file)
    X, y, best = data["X"], data["y"], data["best"]
    found = BayesianSearch(
        estimator(acquisition, X.shape[1]), X, acquisition=acquisition, n_initial=N_INITIAL,
        learn_every=LEARN_EVERY, random_state=seed,
    )  # fmt: skip
    begin = time.perf_counter()
    while len(found.values_) < limit:
        which = found.ask()
        found.tell(which, y[which])
        if 2 * np.isin(found.indices_, best).sum() >= len(best):
            break
    n_best = int(np.isin(found.indices_, best).sum())
    return [len(found.values_), n_best, time.perf_counter() - begin]


def add_arguments(parser):
    parser.add_argument("--seeds", type=int, default=10, help="of the first draws (default: 10)")
    parser.add_argument("--peer-seeds", type=int, help="of PHYSBO, which is slow [as many]")


def run(options):
    peer = peer_of(options, PEER)
    X, y = candidates()
    best = np.argsort(y)[: round(0.01 * len(y))]
    limit = len(y) // 2
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pool.npz"
        np.savez(file, X=X, y=y, best=best)
        commands = {
            f"skatom, {name}": lambda seed, name=name: own(search, file, name, seed, limit)
            for name in ("expected_improvement", "probability_of_improvement", "thompson")
        }
        if peer:
            script = peer_script("pool_search.py")
            for name in ("EI", "TS"):
                commands[f"PHYSBO, {name}"] = lambda seed, name=name: (
                    peer, script, json.dumps([str(file), name, seed, limit, N_INITIAL])
                )  # fmt: skip
        rows = []
        for name, command in commands.items():
            seeds = options.peer_seeds if name.startswith("PHYSBO") else None
            seeds = range(seeds or options.seeds)
            runs = [run_process(command(seed), options.threads) for seed in seeds]
            counts, hits, seconds = np.array(runs, float).T
            share = 100 * counts.mean() / limit
            rows.append([
                name, f"{counts.mean():.0f} ± {counts.std(ddof=1):.0f}", f"{share:.1f} %",
                f"{hits.mean():.1f}", f"{seconds.sum() / counts.sum() * 1e3:.0f}",
            ])  # fmt: skip
            print(" ".join(rows[-1]), flush=True)
    header = ["search", "evaluations", "of random search's", "of the best found", "ms each"]
    table(f"{len(y)} perovskites, {len(best)} best, random search {limit}", header, rows)
