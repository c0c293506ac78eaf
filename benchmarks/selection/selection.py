"""Farthest points and CUR beside scikit-matter: the same choice, and its time.

    python -m benchmarks selection

Each measurement is a process of its own.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness import own, peer_python, peer_script, run_worker, table, timed

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
    return {"seconds": seconds, "selected": selector.selected_.tolist()}


def environments(n_samples, n_features):
    """Rows of unit length whose singular values fall by six orders, as those of SOAP do."""
    rng = np.random.default_rng(0)
    decay = 10.0 ** np.linspace(0, -6, n_features)
    rotation = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    rows = (rng.normal(size=(n_samples, n_features)) * decay) @ rotation + rotation[0]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def run(options):
    peer = peer_python("skmatter")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        for method, axis, n_samples, n_features, n in TASKS:
            np.save(path, environments(n_samples, n_features))
            task = {"method": method, "axis": axis, "n": n, "data": str(path)}
            command = peer, peer_script("selection.py"), json.dumps(task)
            theirs = run_worker(command, options.threads)
            ours = run_worker(own(measure, task), options.threads)
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
