"""Farthest points and CUR with scikit-matter; runs in the peer's environment.

See the benchmark selection.
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.harness import report, timed


def selector(method, axis, n):
    from skmatter import feature_selection, sample_selection

    module = sample_selection if axis == "samples" else feature_selection
    if method == "fps":
        return module.FPS(n_to_select=n, initialize=0)
    return module.CUR(n_to_select=n)


def main(task):
    X = np.load(task["data"])
    chosen = selector(task["method"], task["axis"], task["n"])
    seconds, _ = timed(lambda: chosen.fit(X), 3)
    report(seconds=seconds, selected=np.asarray(chosen.selected_idx_).tolist())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
