"""Extrapolation grades: seconds of a pool, of one structure in a stream, and of an update.

    python -m benchmarks grade_times --threads 2

Rows of 1,000 random numbers, the first of them 1. A pool has 10,000 candidates. Each update puts a
row into the active set; the inverse is computed anew after each hundred. Grades and updates in a
stream are calls of ``score`` and ``partial_fit`` with one sample. Seconds are those of a clock and,
where other programs run as well, of the processor, all threads together; medians of the calls, and
for updates the mean, too.
"""

import time

import numpy as np

from benchmarks.harness import table

N_KNOWN, N_POOL, N_COLUMNS = 2000, 10_000, 1000


def add_arguments(parser):
    parser.add_argument("--calls", type=int, default=300, help="in a stream (default: 300)")


def run(options):
    from skatom.selection import MaxVol

    rng = np.random.default_rng(0)
    known, pool = (rng.normal(size=(n, N_COLUMNS - 1)) for n in (N_KNOWN, N_POOL))
    measure = MaxVol().fit(known)
    stream = iter(rng.normal(size=(2 * (options.calls + 1), 1, N_COLUMNS - 1)))
    tasks = {
        f"grades of {N_POOL} candidates": (lambda: measure.score(pool), 5, 0.5),
        "grade of one": (lambda: measure.score(next(stream)), options.calls, 1e-3),
        "an update": (lambda: measure.partial_fit(4 * next(stream)), options.calls, 3e-3),
    }
    rows = []
    for name, (task, calls, aim) in tasks.items():
        wall, cpu = [], []
        task()
        for _ in range(calls):
            begin = time.perf_counter(), time.process_time()
            task()
            wall.append(time.perf_counter() - begin[0])
            cpu.append(time.process_time() - begin[1])
        rows.append([
            name, *(f"{1e3 * value:.2f}" for value in (np.median(wall), np.mean(wall))),
            f"{1e3 * np.median(cpu):.2f}", f"{1e3 * aim:g}",
        ])  # fmt: skip
    header = ["milliseconds", "median", "mean", "of the processor", "aim of the median"]
    table(f"active set of {N_COLUMNS} rows, {options.threads} threads", header, rows)
