"""Greedy least squares: speed and memory beside scikit-learn's matching pursuit.

    python -m benchmarks greedy_ols
    python -m benchmarks greedy_ols --large --no-comparison

Both choose features one by one. `OrthogonalMatchingPursuit` takes the one with the largest product
with the residual, `GreedyOLS` the one that lowers the residual most when all coefficients are
fitted anew. For orthonormal features that is the same problem, and how many choices agree is
printed; for correlated ones it is not, and the error on unseen samples stands beside the time. Two
tasks: a path of so many terms, and the number of terms chosen by five folds. Columns are
normalised, as matching pursuit expects. Every measurement is a process of its own, and the packages
take turns. ``--large`` adds the path of 1,000 terms on 70,000 x 3,741 features of all sizes, whose
data alone take 2.1 GB.
"""

import time

import numpy as np
from sklearn.linear_model import OrthogonalMatchingPursuit, OrthogonalMatchingPursuitCV

from benchmarks.harness import own, peak_gib, run_process, table, touch_memory

ROUNDS = 2
FOLDS = 5


def orthonormal(n, d, rng):
    """Columns that are orthonormal on the first n of 2n samples."""
    return np.vstack(
        [np.linalg.qr(rng.normal(size=(n, d)))[0] * np.sqrt(n), rng.normal(size=(n, d))]
    )


def correlated(n, d, rng):
    """Positive functions of forty variables, as features of structures are."""
    hidden, mixing = rng.normal(size=(n, 40)), rng.normal(size=(40, d)) / 12.0
    X = np.empty((n, d))
    for start in range(0, n, 5000):
        rows = X[start : start + 5000]
        np.exp(hidden[start : start + 5000] @ mixing, out=rows)
        rows += 0.05 * rng.normal(size=rows.shape)
        rows /= 0.5  # their spread
    return X


def target(X, rng):
    """A tenth of the features and 10 % of noise."""
    chosen = rng.choice(X.shape[1], X.shape[1] // 10, replace=False)
    y = X[:, chosen] @ rng.normal(size=len(chosen))
    return y + 0.1 * y.std() * rng.normal(size=len(X))


def estimator(package, task, n_terms, fit_intercept):
    from skatom.models import GreedyOLS

    if package == "skatom":
        given = {"n_terms": n_terms} if task == "path" else {"max_terms": n_terms, "cv": FOLDS}
        return GreedyOLS(**given, fit_intercept=fit_intercept)
    if task == "path":
        return OrthogonalMatchingPursuit(n_nonzero_coefs=n_terms, fit_intercept=fit_intercept)
    return OrthogonalMatchingPursuitCV(max_iter=n_terms, cv=FOLDS, fit_intercept=fit_intercept)


def measure(package, task, kind, n, d, n_terms):
    """Seconds of one fit, the chosen features, and the error on unseen samples over the spread."""
    rng = np.random.default_rng(0)
    X = orthonormal(n, d, rng) if kind == "orthonormal" else correlated(2 * n, d, rng)
    y = target(X, rng)
    model = estimator(package, task, n_terms, kind == "correlated")
    estimator(package, task, 5, True).fit(X[:100, :20], y[:100])  # what a first call loads
    begin = time.perf_counter()
    model.fit(X[:n], y[:n])
    seconds = time.perf_counter() - begin
    error = np.std(y[n:] - model.predict(X[n:])) / np.std(y[n:])
    return {"s": seconds, "chosen": np.flatnonzero(model.coef_).tolist(), "error": error}


def large(n, d, n_terms):
    """Seconds, and memory above the data, of a path."""
    from skatom.models import GreedyOLS

    rng = np.random.default_rng(0)
    X = correlated(n, d, rng)
    X *= 10.0 ** rng.uniform(-3, 3, size=d)
    y = target(X / X.std(axis=0), rng)
    GreedyOLS(5).fit(X[:100, :20], y[:100])
    touch_memory(3 * 2**30)
    before, begin = peak_gib(), time.perf_counter()
    path = GreedyOLS(n_terms).fit(X, y).path_
    return {"s": time.perf_counter() - begin, "gib": peak_gib() - before, "terms": len(path)}


def compare(n, d, n_terms, threads):
    rows = []
    for task in ("path", "folds"):
        for kind in ("orthonormal", "correlated"):
            best = {}
            for _ in range(ROUNDS):
                for package in ("skatom", "scikit-learn"):
                    command = own(measure, package, task, kind, n, d, n_terms)
                    answer = run_process(command, threads)
                    known = best.setdefault(package, answer)
                    known["s"] = min(known["s"], answer["s"])
            ours, theirs = best["skatom"], best["scikit-learn"]
            common = len(set(ours["chosen"]) & set(theirs["chosen"]))
            rows.append([
                kind, task, f"{ours['s']:.2f}", f"{theirs['s']:.2f}",
                f"{theirs['s'] / ours['s']:.1f}", str(len(ours["chosen"])),
                str(len(theirs["chosen"])), str(common), f"{ours['error']:.4f}",
                f"{theirs['error']:.4f}",
            ])  # fmt: skip
    header = ["features", "task", "GreedyOLS s", "OMP s", "ratio", "terms", "OMP's", "in common",
              "error", "OMP's"]  # fmt: skip
    table(f"{n} x {d}, at most {n_terms} terms, {threads} threads", header, rows)


def add_arguments(parser):
    parser.add_argument("--no-comparison", action="store_true", help="leave out scikit-learn")
    parser.add_argument("--large", action="store_true", help="the path on 70,000 x 3,741")
    parser.add_argument("--size", type=int, nargs=3, default=[10_000, 1_500, 300],
                        metavar=("SAMPLES", "FEATURES", "TERMS"))  # fmt: skip
    parser.add_argument("--large-size", type=int, nargs=3, default=[70_000, 3_741, 1_000],
                        metavar=("SAMPLES", "FEATURES", "TERMS"))  # fmt: skip


def run(options):
    if not options.no_comparison:
        compare(*options.size, options.threads)
    if options.large:
        n, d, n_terms = options.large_size
        answer = run_process(own(large, n, d, n_terms), options.threads)
        print(f"\n{n} x {d}: a path of {answer['terms']} terms takes {answer['s']:.1f} s and "
              f"{answer['gib']:.2f} GiB above the {n * d * 8 / 2**30:.2f} GiB of data, "
              f"{options.threads} threads")  # fmt: skip
