"""Bayesian optimisation of a pool with PHYSBO; runs in the peer's environment.

See the benchmark pool_search.
"""

import json
import sys
import time

import numpy as np
import physbo


def main(file, score, seed, limit, n_initial):
    data = np.load(file)
    X, y, best = data["X"], data["y"], data["best"]
    policy = physbo.search.discrete.Policy(test_X=X)
    policy.set_seed(seed)
    begin = time.perf_counter()

    def simulator(which):
        return -y[which]

    policy.random_search(max_num_probes=n_initial, simulator=simulator, is_disp=False)
    while True:
        known = policy.history.chosen_actions[: policy.history.total_num_search]
        found = int(np.isin(known, best).sum())
        if 2 * found >= len(best) or len(known) >= limit:
            break
        policy.bayes_search(
            max_num_probes=1, simulator=simulator, score=score, is_disp=False, interval=20,
            num_rand_basis=1000 if score == "TS" else 0,
        )  # fmt: skip
    print(json.dumps([len(known), found, time.perf_counter() - begin]))


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
