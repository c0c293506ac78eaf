"""Every core: the speed-up of common tasks with the number of threads, and what is not shared.

    python -m benchmarks threads
    python -m benchmarks threads --cores 8 --only soap sparse
    python -m benchmarks threads --only sgdml --profile

Each task runs with 1, 2, 4, … threads up to the number of cores; tasks are in groups, each in a
process of its own. Printed are, for each number of threads,

- the shortest time, and the speed-up over one thread;
- the share of the cores' time that was used: processor time / (time × threads);
- the serial share s of the work that follows from times, t_n = t_1 (s + (1 − s) / n), which is an
  upper limit: memory is shared, and a full processor has a lower clock;
- the serial share that follows from the cores that were idle, by the same law with the processor
  time instead of t_1; other programs on the machine count as idle cores;
- how often a thread went to sleep in a call: for its turn at the interpreter, or for work;
- pages of memory that were used for the first time in a call, and the system's processor time;
- with one thread, the share of the processor time outside of the pieces of work that threads share:
  this number does not suffer from other programs, nor does it know of pieces too few or too large,
  or of threads that wait for the interpreter.

A second table says where the time of all cores goes: into the work of pieces, as one thread does
it; into what that takes longer than then, since memory and the clock are shared; into pieces that
sleep, for the interpreter, for memory of the system or for other pieces; into cores without a piece
while others have one, and while none has one, since the calling thread begins or ends the work.

The last table compares `PackedCholesky` with LAPACK's dpotrf on a full matrix. Functions are
compiled beforehand, on small input and in all processes at once. Takes some 90 s on 16 cores.
``--profile`` prints where the calling thread spends its time with all cores instead.
"""

import cProfile
import os
import pstats
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from threading import local
from typing import NamedTuple
from unittest.mock import patch

from benchmarks.harness import HERE, table, thread_limits
from benchmarks.performance._thread_tasks import GROUPS, Filled

SECONDS, CALLS = 0.3, 5  # calls of one task with one number of threads end at the first of these
TINY = 0.02
SIZES = 7000, 10500  # of the factorisations with one or two threads, and with all


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
    processes = {
        name: _start(options.cores, work, name, options.cores, options.profile)
        for name in options.only
    }
    failed = [name for name, process in processes.items() if not process.stdout.readline()]
    seconds = time.perf_counter() - begin
    print(f"compiled in {seconds:.0f} s; failed: {failed or 'none'}", flush=True)
    for name, process in processes.items():
        said, _ = process.communicate("go\n" if name not in failed else None)
        print(said, end="", flush=True)
        if process.returncode:
            print(f"{name} failed with {process.returncode}, see above")
    print(f"\n{time.perf_counter() - begin:.0f} s in all")


def work(name, cores, profiled):
    """Compile what a group calls, say so, wait for a line, and measure or profile."""
    if name != "cholesky":
        for _, function in GROUPS[name](TINY):
            function()
    print("ready", flush=True)
    input()
    if name == "cholesky":
        factor(cores)
    elif profiled:
        profile(name)
    else:
        measure(name, cores)


def _start(cores, function, *arguments):
    """A process that calls a function of this module."""
    sys.stdout.flush()
    command = f"from benchmarks.performance import threads; threads.{function.__name__}{arguments}"
    environment = {**os.environ, **thread_limits(cores)}
    return subprocess.Popen(
        [sys.executable, "-c", command], env=environment, cwd=HERE.parent, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def thread_numbers(cores):
    """1, 2, 4, … and the number of cores."""
    powers = [2**k for k in range(cores.bit_length()) if 2**k < cores]
    return [*powers, cores]


def profile(name):
    """Print where the calling thread is while the tasks of a group run."""
    for task, function in GROUPS[name](1):
        function()
        profiler = cProfile.Profile()
        profiler.runcall(function)
        print(f"\n{task}", flush=True)
        pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(18)


def measure(name, cores):
    """Print the tables of each task of a group."""
    for task, function in GROUPS[name](1):
        with_threads(cores, function)
        numbers = thread_numbers(cores)
        alone, shared = with_timers(1, function), with_timers(cores, function)
        figures = [with_threads(number, function) for number in numbers[1:-1]]
        show(task, numbers, [alone.call, *figures, shared.call], alone)
        show_cores(cores, alone, shared)


class Call(NamedTuple):
    """What one call took: seconds, of the processor, of the system; sleeps, new pages."""

    seconds: float
    busy: float
    system: float
    sleeps: int
    pages: int


def with_threads(threads, function):
    """The fastest of some calls."""
    import numba

    numba.set_num_threads(threads)
    calls = []
    while len(calls) < CALLS and sum(call.seconds for call in calls) < SECONDS:
        before = _usage()
        function()
        calls.append(Call(*(b - a for a, b in zip(before, _usage(), strict=True))))
    return min(calls)


def _usage():
    """The fields of `Call` since the process began."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    busy = used.ru_utime + used.ru_stime
    return time.perf_counter(), busy, used.ru_stime, used.ru_nvcsw, used.ru_minflt


class Timed(NamedTuple):
    """A call, when it began and ended, and its pieces: begin, end and processor time of each."""

    call: Call
    begin: float
    end: float
    pieces: list

    @property
    def work(self):
        """Processor seconds of all pieces."""
        return sum(used for *_, used in self.pieces)


def with_timers(threads, function):
    """The fastest of some calls whose pieces are timed: `Timed`."""
    import numba

    from skatom import parallel

    numba.set_num_threads(threads)
    pieces, nested = [], local()

    def timed(work):
        """The function ``work``, which notes its times if it is not within another piece."""

        def piece(*arguments, **options):
            if getattr(nested, "inside", False):
                return work(*arguments, **options)
            nested.inside = True
            begin, used = time.perf_counter(), time.thread_time()
            try:
                return work(*arguments, **options)
            finally:
                used = time.thread_time() - used
                pieces.append((begin, time.perf_counter(), used))
                nested.inside = False

        return piece

    team, loop = parallel.ThreadTeam, parallel.run_in_threads
    shared_map, submit = team.map, team.submit
    calls = []
    with ExitStack() as stack:
        stack.enter_context(
            patch.object(team, "map", lambda self, f, *rest: shared_map(self, timed(f), *rest))
        )
        stack.enter_context(
            patch.object(team, "submit", lambda self, f, *rest: submit(self, timed(f), *rest))
        )
        for module in list(sys.modules.values()) if threads == 1 else ():
            if vars(module).get("run_in_threads") is loop:
                stack.enter_context(patch.object(module, "run_in_threads", timed(loop)))
        while len(calls) < CALLS and sum(found.call.seconds for found in calls) < SECONDS:
            pieces.clear()
            before = _usage()
            function()
            after = _usage()
            call = Call(*(b - a for a, b in zip(before, after, strict=True)))
            calls.append(Timed(call, before[0], after[0], list(pieces)))
    return min(calls)


def show(task, numbers, figures, alone):
    """Print times and processor times of a task with several numbers of threads."""
    first = figures[0].seconds
    pairs = list(zip(numbers, figures, strict=True))
    table(task, ["threads", *map(str, numbers)], [
        ["seconds", *(f"{x.seconds:.4f}" for x in figures)],
        ["speed-up", *(f"{first / x.seconds:.2f}" for x in figures)],
        ["cores used, %", *(f"{100 * x.busy / (x.seconds * n):.0f}" for n, x in pairs)],
        ["serial by times, %", *(_serial(n, x.seconds / first) for n, x in pairs)],
        ["serial by idle cores, %", *(_serial(n, x.seconds / x.busy) for n, x in pairs)],
        ["threads put to sleep", *(str(x.sleeps) for x in figures)],
        ["new pages", *(str(x.pages) for x in figures)],
        ["system, ms", *(f"{1e3 * x.system:.1f}" for x in figures)],
        ["serial by timers, %", f"{100 * (1 - alone.work / alone.call.busy):.1f}",
         *[""] * (len(numbers) - 1)],
    ])  # fmt: skip


def show_cores(cores, alone, shared):
    """Print where the time of all cores goes in the call `shared`, the sum of these being all."""
    alone_without, too_few, inside = _idle(cores, shared)
    parts = {
        "pieces, as with one thread": alone.work,
        "pieces are slower": shared.work - alone.work,
        "pieces sleep": inside - shared.work,
        "some cores have no piece": too_few,
        "no core has a piece": alone_without,
    }
    seconds = shared.call.seconds
    table(f"the time of {cores} cores, a call of {1e3 * seconds:.2f} ms with "
          f"{len(shared.pieces)} pieces", ["", "%", "ms of all"], [
        [name, f"{100 * part / (cores * seconds):.1f}", f"{1e3 * part / cores:.2f}"]
        for name, part in parts.items()
    ])  # fmt: skip


def _idle(cores, call):
    """Seconds of cores without a piece: while none has one, and while some have; with a piece."""
    import numpy as np

    edges = np.array([edge for begin, end, _ in call.pieces for edge in (begin, end)])
    steps = np.tile([1, -1], len(call.pieces))
    order = np.argsort(edges, kind="stable")
    edges = np.concatenate([[call.begin], edges[order], [call.end]])
    active = np.concatenate([[0], np.cumsum(steps[order])])
    spans = np.diff(edges)
    nobody = cores * spans[active == 0].sum()
    some = (spans * (cores - active))[active > 0].sum()
    return nobody, some, (spans * active).sum()


def _serial(threads, ratio):
    """s of ratio = s + (1 - s) / threads, in per cent."""
    return "" if threads == 1 else f"{100 * (threads * ratio - 1) / (threads - 1):.1f}"


# --- the factorisation ------------------------------------------------------------------------


def factor(cores):
    """Print the rates of `PackedCholesky` and of dpotrf."""
    rows = []
    for threads, size in {1: SIZES[0], 2: SIZES[0], cores: SIZES[1]}.items():
        rates = packed_rate(size, threads), lapack_rate(size, threads)
        rows.append([
            str(size), str(threads), *(f"{rate:.1f}" for rate in rates),
            f"{rates[0] / rates[1]:.2f}",
        ])  # fmt: skip
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

    def call():
        system = Timed()
        PackedCholesky(edges).factor(system)
        filling.append(system.seconds)

    seconds = with_threads(threads, call).seconds
    return size**3 / 3 / (seconds - min(filling)) / 1e9


def lapack_rate(size, threads):
    """GFLOP/s of dpotrf with its own threads."""
    import numpy as np
    from scipy.linalg.lapack import dpotrf
    from threadpoolctl import threadpool_limits

    matrix = np.empty((size, size), order="F")
    best = np.inf
    with threadpool_limits(threads, "blas"):
        for _ in range(2 if threads > 2 else 1):
            Filled().fill(0, size, matrix.T)
            begin = time.perf_counter()
            _, info = dpotrf(matrix, lower=True, clean=False, overwrite_a=True)
            best = min(best, time.perf_counter() - begin)
            if info:
                raise RuntimeError(f"dpotrf failed at row {info}")
    return size**3 / 3 / best / 1e9
