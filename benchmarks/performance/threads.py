"""Every core: the speed-up of common tasks with the number of threads, and what is not shared.

    python -m benchmarks threads
    python -m benchmarks threads --cores 8 --only soap sparse
    python -m benchmarks threads --only sgdml --profile

Each task runs with 1, 2, 4, … threads up to the number of cores, in a process of its own. Printed
are, for each number of threads,

- the shortest time, and the speed-up over one thread;
- the share of the cores' time that was used: processor time / (time × threads);
- the serial share s of the work that follows from times, t_n = t_1 (s + (1 − s) / n), which is an
  upper limit: memory is shared, and a full processor has a lower clock;
- the serial share that follows from the cores that were idle, by the same law with the processor
  time instead of t_1; other programs on the machine count as idle cores;
- with one thread, the share of the processor time outside of the pieces of work that threads share:
  this number does not suffer from other programs, nor does it know of pieces too few or too large.

The last table compares `PackedCholesky` with LAPACK's dpotrf on a full matrix. Functions are
compiled beforehand, on small input and all groups at once. Takes some four minutes on 16 cores.
``--profile`` prints where the calling thread spends its time with all cores instead.
"""

import cProfile
import os
import pstats
import subprocess
import sys
import time
from contextlib import ExitStack
from unittest.mock import patch

from benchmarks.harness import HERE, table, thread_limits
from benchmarks.performance._thread_tasks import GROUPS, Filled

SECONDS, CALLS = 1.2, 5  # calls of one task with one number of threads end at the first of these
TINY = 0.02
SIZES = (6000, 10500)  # of the factorisations


def add_arguments(parser):
    parser.add_argument(
        "--cores", type=int, default=len(os.sched_getaffinity(0)), help="most threads (all cores)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=[*GROUPS, "cholesky"], default=[*GROUPS, "cholesky"]
    )
    parser.add_argument("--profile", action="store_true")


def run(options):
    print(
        f"each task with {', '.join(map(str, thread_numbers(options.cores)))} threads", flush=True
    )
    begin = time.perf_counter()
    compiling = [_start(options.cores, prepare, name) for name in options.only]
    failed = [name for name, process in zip(options.only, compiling, strict=True) if process.wait()]
    print(f"compiled in {time.perf_counter() - begin:.0f} s; failed: {failed or 'none'}")
    for name in options.only:
        if options.profile:
            process = _start(options.cores, profile, name)
        elif name == "cholesky":
            process = _start(options.cores, factor, options.cores)
        else:
            process = _start(options.cores, measure, name, options.cores)
        if process.wait():
            print(f"{name} failed with {process.returncode}, see above")
    print(f"\n{time.perf_counter() - begin:.0f} s in all")


def _start(cores, function, *arguments):
    """A process that calls a function of this module and prints for itself."""
    sys.stdout.flush()
    command = f"from benchmarks.performance import threads; threads.{function.__name__}{arguments}"
    environment = {**os.environ, **thread_limits(cores)}
    return subprocess.Popen([sys.executable, "-c", command], env=environment, cwd=HERE.parent)


def thread_numbers(cores):
    """1, 2, 4, … and the number of cores."""
    powers = [2**k for k in range(cores.bit_length()) if 2**k < cores]
    return [*powers, cores]


def prepare(name):
    """Compile what a group calls."""
    if name != "cholesky":
        for _, function in GROUPS[name](TINY):
            function()


def profile(name):
    """Print where the calling thread is while the tasks of a group run."""
    for task, function in GROUPS[name](1):
        function()
        profiler = cProfile.Profile()
        profiler.runcall(function)
        print(f"\n{task}", flush=True)
        pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(18)


def measure(name, cores):
    """Print the table of each task of a group."""
    numbers = thread_numbers(cores)
    for task, function in GROUPS[name](1):
        with_threads(cores, function)
        figures = [with_threads(number, function) for number in numbers]
        show(task, numbers, figures, serial_by_timers(function))


def with_threads(threads, function):
    """Seconds and processor seconds of the fastest of some calls."""
    import numba

    numba.set_num_threads(threads)
    calls = []
    while len(calls) < CALLS and sum(seconds for seconds, _ in calls) < SECONDS:
        begin, busy = time.perf_counter(), time.process_time()
        function()
        calls.append((time.perf_counter() - begin, time.process_time() - busy))
    return min(calls)


def serial_by_timers(function):
    """The share of a call's processor time, with one thread, that no thread could take over."""
    import numba

    from skatom import parallel

    numba.set_num_threads(1)
    pieces, outer = [], []

    def timed(work):
        """The function ``work``, with its processor time added to ``pieces`` if it is not nested"""

        def piece(*arguments):
            begin = time.thread_time()
            outer.append(None)
            try:
                return work(*arguments)
            finally:
                outer.pop()
                if not outer:
                    pieces.append(time.thread_time() - begin)

        return piece

    team, loop = parallel.ThreadTeam, parallel.run_in_threads
    shared_map, submit = team.map, team.submit
    with ExitStack() as stack:
        stack.enter_context(
            patch.object(team, "map", lambda self, f, *rest: shared_map(self, timed(f), *rest))
        )
        stack.enter_context(
            patch.object(team, "submit", lambda self, f, *rest: submit(self, timed(f), *rest))
        )
        for module in list(sys.modules.values()):
            if vars(module).get("run_in_threads") is loop:
                stack.enter_context(patch.object(module, "run_in_threads", timed(loop)))
        begin = time.process_time()
        function()
        return 1 - sum(pieces) / (time.process_time() - begin)


def show(task, numbers, figures, by_timers):
    """Print times and processor times of a task with several numbers of threads."""
    times, busy = zip(*figures, strict=True)
    first = times[0]
    pairs = list(zip(numbers, times, busy, strict=True))
    table(task, ["threads", *map(str, numbers)], [
        ["seconds", *(f"{t:.4f}" for t in times)],
        ["speed-up", *(f"{first / t:.2f}" for t in times)],
        ["cores used, %", *(f"{100 * b / (t * n):.0f}" for n, t, b in pairs)],
        ["serial by times, %", *(_serial(n, t / first) for n, t, _ in pairs)],
        ["serial by idle cores, %", *(_serial(n, t / b) for n, t, b in pairs)],
        ["serial by timers, %", f"{100 * by_timers:.1f}", *[""] * (len(numbers) - 1)],
    ])  # fmt: skip


def _serial(threads, ratio):
    """s of ratio = s + (1 - s) / threads, in per cent."""
    return "" if threads == 1 else f"{100 * (threads * ratio - 1) / (threads - 1):.1f}"


# --- the factorisation ------------------------------------------------------------------------


def factor(cores):
    """Print the rates of `PackedCholesky` and of dpotrf."""
    rows = []
    for size in SIZES:
        for threads in sorted({1, 2, cores}):
            rates = packed_rate(size, threads), lapack_rate(size, threads)
            rows.append([
                str(size), str(threads), *(f"{rate:.1f}" for rate in rates),
                f"{rates[0] / rates[1]:.2f}",
            ])  # fmt: skip
            print(" ".join(rows[-1]), flush=True)
    header = ["size", "threads", "PackedCholesky, GFLOP/s", "dpotrf, GFLOP/s", "ratio"]
    table("Cholesky, without the time to fill the matrix", header, rows)


def packed_rate(size, threads):
    """GFLOP/s of `PackedCholesky`, less the time that its matrix takes to be written."""
    import numpy as np

    from skatom.solvers import PackedCholesky

    edges = np.linspace(0, size, round(size / 512) + 1).astype(int)

    class Timed(Filled):
        seconds = 0.0

        def fill(self, *arguments):
            begin = time.perf_counter()
            super().fill(*arguments)
            self.seconds += time.perf_counter() - begin

    filling = []

    def work():
        system = Timed()
        PackedCholesky(edges).factor(system)
        filling.append(system.seconds)

    work()
    seconds, _ = with_threads(threads, work)
    return size**3 / 3 / (seconds - min(filling)) / 1e9


def lapack_rate(size, threads):
    """GFLOP/s of dpotrf with its own threads."""
    import numpy as np
    from scipy.linalg.lapack import dpotrf
    from threadpoolctl import threadpool_limits

    matrix = np.empty((size, size), order="F")
    best = np.inf
    with threadpool_limits(threads, "blas"):
        for _ in range(3):
            Filled().fill(0, size, matrix.T)
            begin = time.perf_counter()
            _, info = dpotrf(matrix, lower=True, clean=False, overwrite_a=True)
            best = min(best, time.perf_counter() - begin)
            if info:
                raise RuntimeError(f"dpotrf failed at row {info}")
    return size**3 / 3 / best / 1e9
