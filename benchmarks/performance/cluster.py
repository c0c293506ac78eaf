"""A Dask cluster on this machine: the speed-up, memory of workers, and time and memory of 64 nodes.

    python -m benchmarks cluster
    python -m benchmarks cluster --structures 1000 --workers 1 2

The same sparse Gaussian process of small cells is fitted in one process and on clusters of 1, 2 and
4 workers of one thread each. Printed are the time of the fit; the processor time of the threads
with tasks, and of the calling process, which has the scheduler; the speed-up on idle cores, which
follows from the longest of these threads; the peak memory of a worker, also for half of the
structures; and the largest relative difference of predictions from the one process. What workers
use while they wait is left out: on a busy machine they wait for long. On the last cluster a worker
is killed while it works.

Time and memory of a large fit follow by calculation: the time of the rows from that of one process,
and the time of triangles from the speed of `StreamedQR` here.
"""

import os
import resource
import signal
import time

import joblib
import numpy as np
import psutil
from ase import Atoms
from distributed import Client, LocalCluster

from benchmarks.harness import table
from skatom import Structures, Targets
from skatom._checkpoints import kept_every
from skatom.baseline import PairRepulsion
from skatom.descriptors import SOAP
from skatom.kernels import Cosine
from skatom.models import SparseGaussianProcess
from skatom.models.sparse.jobs import GROUP, job_memory
from skatom.solvers import StreamedQR

# The large fit: structures, their atoms and labels, representatives, nodes, their cores and tasks.
LARGE, ATOMS, ROWS, COLUMNS, NODES, CORES, TASKS = 10**6, 8, 31, 20_000, 64, 32, 3
_SIZE = 1500  # columns of the triangles that are timed


def add_arguments(parser):
    parser.add_argument("--structures", type=int, default=5000)
    parser.add_argument("--sparse", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])


def run(options):
    os.environ["NUMBA_NUM_THREADS"] = "1"  # of workers, which are started later
    X = cells(options.structures)
    y = labels(X)
    model(options.sparse).fit(X[:50], y[:50])  # compiles
    begin, used = time.perf_counter(), time.process_time()
    expected = model(options.sparse).fit(X, y)
    here = time.perf_counter() - begin, time.process_time() - used
    reference = expected.predict(X[:200], return_forces=True)
    rows = [["one process", f"{here[0]:.1f}", f"{here[1]:.1f}", "", "", "", "", ""]]
    first = None
    for n_workers in options.workers:
        half = on_workers(n_workers, options.sparse, X[: len(X) // 2], y[: len(X) // 2])
        found = on_workers(n_workers, options.sparse, X, y)
        first = first or found
        rows.append(row(n_workers, "", found, half, first, reference, X))
    killed = on_workers(options.workers[-1], options.sparse, X, y, kill=True)
    rows.append(row(options.workers[-1], ", one killed", killed, killed, first, reference, X))
    header = [
        "workers", "time (s)", "processor (s)", "speed-up", "on idle cores", "peak (MiB)",
        "of half", "difference",
    ]  # fmt: skip
    table(f"{len(X)} cells, {options.sparse} representatives of each of 2 species", header, rows)
    large(here[1] / len(X), options.sparse)


def row(n_workers, what, found, half, first, reference, X):
    differences = [
        abs(a - b).max() / abs(b).max()
        for a, b in zip(found["model"].predict(X[:200], return_forces=True), reference, strict=True)
    ]
    # the slowest worker; the calling process takes triangles meanwhile
    longest, longest_of_first = (max(f["busy"]) for f in (found, first))
    return [
        f"{n_workers}{what}", f"{found['time']:.1f}",
        f"{sum(found['busy']):.1f} + {found['caller']:.1f}",
        f"{first['time'] / found['time']:.2f}", f"{longest_of_first / longest:.2f}",
        f"{found['peak'] / 2**20:.0f}", f"{half['peak'] / 2**20:.0f}", f"{max(differences):.1e}",
    ]  # fmt: skip


def on_workers(n_workers, n_sparse, X, y, kill=False):
    """A fit on a cluster of this machine: times, processor times, peak memory of a worker."""
    killed = []

    def kill_one(_):
        if kill and not killed:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
        kept_every(0.0, kill_one),
    ):
        client.run(warm_up, n_sparse)
        before = client.run(thread_times)
        begin, used = time.perf_counter(), time.process_time()
        fitted = model(n_sparse).fit(X, y)
        seconds, caller = time.perf_counter() - begin, time.process_time() - used
        after = client.run(thread_times)
        busy = [longest_thread(after[name], before.get(name, {})) for name in after]
        return {
            "model": fitted, "time": seconds, "caller": caller, "busy": busy,
            "peak": max(client.run(peak).values()),
        }  # fmt: skip


def warm_up(n_sparse):
    X = cells(n_sparse // 4 + 1)
    with joblib.parallel_config(backend="sequential"):
        model(n_sparse).fit(X, labels(X))


def thread_times():
    """Processor time of each thread of this process."""
    return {t.id: t.user_time + t.system_time for t in psutil.Process().threads()}


def longest_thread(after, before):
    """Processor time of the thread that worked most: the one with the tasks."""
    return max(seconds - before.get(name, 0.0) for name, seconds in after.items())


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def model(n_sparse):
    terms = [(SOAP(cutoff=4.0, n_max=4, l_max=4), Cosine(zeta=4), n_sparse)]
    return SparseGaussianProcess(
        terms=terms, selection="random", noise_forces=0.1, noise_virial=1.0, random_state=0
    )


def cells(n):
    """Rattled cells of eight atoms."""
    rng = np.random.default_rng(0)
    corner = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0]]) / 4
    images = []
    for _ in range(n):
        cell = 4.4 * (np.eye(3) + rng.normal(scale=0.03, size=(3, 3)))
        atoms = Atoms("Li4F4", np.concatenate([corner, corner + 0.5]) @ cell, cell=cell, pbc=True)
        atoms.positions += rng.normal(scale=0.1, size=(8, 3))
        images.append(atoms)
    return Structures.from_ase(images)


def labels(structures):
    energy, gradient, virial = PairRepulsion(cutoff=3.4, inner=0.1).differentiate(structures)
    return Targets(
        energy, -gradient, virial / structures.volumes()[:, None, None], offsets=structures.offsets
    )


def large(seconds_of_structure, n_sparse):
    """Print time and memory of the large fit, by calculation from times measured here."""
    of_rows, of_merge = seconds_of_algebra()
    print(
        f"\nMeasured in one thread: the rows of a cell, {2 * n_sparse} columns, "
        f"{1e3 * seconds_of_structure:.2f} ms; a row of a triangle of {_SIZE} columns "
        f"{1e3 * of_rows:.3f} ms; a merger of two of them {of_merge:.3f} s"
    )
    of_rows, of_merge = of_rows * (COLUMNS / _SIZE) ** 2, of_merge * (COLUMNS / _SIZE) ** 3
    n_chunks = LARGE * ROWS / (8 * COLUMNS)
    in_turn = np.ceil(n_chunks / (NODES * TASKS))
    workers = in_turn * 8 * COLUMNS * of_rows + np.log2(GROUP) * of_merge
    caller = n_chunks / GROUP * of_merge
    features = LARGE * seconds_of_structure * COLUMNS / (2 * n_sparse) / (NODES * CORES)
    memory = job_memory(COLUMNS) / 2**30
    print(
        f"\n{LARGE:.0e} cells of {ATOMS} atoms, M = {COLUMNS}, {NODES} nodes of {CORES} cores and "
        f"{TASKS} tasks each: rows {features / 60:.0f} minutes at most, beside triangles of "
        f"{n_chunks:.0f} chunks, {workers / 60:.0f} minutes; the calling process merges "
        f"{n_chunks / GROUP:.0f} groups in {caller / 60:.0f} minutes, most of them meanwhile; "
        f"{TASKS * memory:.0f} GiB in a worker, {memory:.0f} GiB in the calling process"
    )


def seconds_of_algebra():
    """Processor time of one row of a triangle, and of a merger, in one thread."""
    rows = np.random.default_rng(0).normal(size=(1024, _SIZE))
    solver, of_rows, of_merge = StreamedQR(_SIZE, prior=np.eye(_SIZE)), np.inf, np.inf
    other = StreamedQR(_SIZE)
    other.update(rows, rows[:, 0])
    for _ in range(3):
        begin = time.process_time()
        solver.update(rows, rows[:, 0])
        middle = time.process_time()
        solver.merge(other)
        of_rows = min(of_rows, (middle - begin) / len(rows))
        of_merge = min(of_merge, time.process_time() - middle)
    return of_rows, of_merge
