"""Selection of samples and features beside scikit-matter: the same choice, and its time.

    python benchmarks/selection.py

Both packages get two threads. Each measurement is a process of its own.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from harness import peer_python, report, run_worker, table, timed

THREADS = 2
TASKS = [  # method, axis, number of samples, of features, how many to select
    ("fps", "samples", 2000, 252, 300),
    ("fps", "features", 1000, 952, 200),
    ("cur", "samples", 1000, 252, 50),
    ("cur", "features", 1000, 252, 50),
]


def measure(task):
    from skatom.selection import CUR, FarthestPointSampling

    X = np.load(task["data"])
    if task["method"] == "fps":
        selector = FarthestPointSampling(task["n"], axis=task["axis"], first=0)
    else:
        selector = CUR(task["n"], axis=task["axis"])
    seconds, _ = timed(lambda: selector.fit(X), 3)
    report(seconds=seconds, selected=selector.selected_.tolist())


def environments(n_samples, n_features):
    """Rows of unit length whose singular values fall by six orders, as those of SOAP do."""
    rng = np.random.default_rng(0)
    decay = 10.0 ** np.linspace(0, -6, n_features)
    rotation = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    rows = (rng.normal(size=(n_samples, n_features)) * decay) @ rotation + rotation[0]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main():
    if len(sys.argv) > 1:
        measure(json.loads(sys.argv[1]))
        return
    peer = peer_python("skmatter")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        for method, axis, n_samples, n_features, n in TASKS:
            np.save(path, environments(n_samples, n_features))
            task = {"method": method, "axis": axis, "n": n, "data": str(path)}
            theirs = run_worker(peer, "peers/selection.py", task, THREADS)
            ours = run_worker(sys.executable, "selection.py", task, THREADS)
            same = np.equal(theirs["selected"], ours["selected"])
            first = len(same) if same.all() else int(np.argmin(same))
            rows.append([
                f"{method}, {n} of {n_samples if axis == 'samples' else n_features} {axis}",
                f"{theirs['seconds']:.3g}", f"{ours['seconds']:.3g}",
                f"{theirs['seconds'] / ours['seconds']:.1f}", str(first),
            ])  # fmt: skip
    table(
        "Selection, seconds",
        ["", "skmatter 0.4.1", "skatom", "ratio", "the same up to"],
        rows,
    )


if __name__ == "__main__":
    main()
