"""One graphics card: equality with the CPU, fits and predictions, their ratios to the CPU.

Tasks run one after the other. Each prints as it goes, has a budget of seconds, and does not stop
the others if it fails. Without a card the checks run on small sizes, with torch on the CPU. The
files md17_ethanol.npz, rmd17_aspirin_train.npz and rmd17_aspirin_test.npz are looked for in
SKATOM_DATA and in its folder molecules. All tasks take some six minutes on an H100, `--threads`
should be all cores. ``--tasks bispectrum cluster-expansion acsf-kernels sparse-updates greedy
linear-potential`` are descriptors and linear models alone.
"""

import signal
import time
import traceback
from contextlib import contextmanager

from benchmarks.performance import _gpu_features, _gpu_gdml, _gpu_linear
from benchmarks.performance._gpu import Bench

# (name, function of a Bench, budget in seconds)
TASKS = [*_gpu_gdml.TASKS, *_gpu_features.TASKS, *_gpu_linear.TASKS]


def add_arguments(parser):
    parser.add_argument("--tasks", nargs="+", metavar="TASK", help="some of the tasks only")
    parser.add_argument(
        "--torch", action="store_true", help="torch on the CPU and small sizes, card or not"
    )


def run(options):
    names = [name for name, _, _ in TASKS]
    chosen = options.tasks or names
    unknown = set(chosen) - set(names)
    if unknown:
        raise SystemExit(f"no task {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    bench = Bench.find(options.torch)
    print(bench.describe(), flush=True)
    begin, failed = time.perf_counter(), []
    for name, function, budget in TASKS:
        if name in chosen and not _perform(name, function, budget, bench):
            failed.append(name)
    print(f"\n{time.perf_counter() - begin:.0f} s in all; failed: {', '.join(failed) or 'none'}")
    if failed:
        raise SystemExit(1)


def _perform(name, function, budget, bench):
    """Run a task; whether it succeeded in its time."""
    print(f"\n{name} (at most {budget} s)", flush=True)
    begin = time.perf_counter()
    try:
        with _alarm(budget):
            function(bench)
    except Exception:  # the machine's time is for the other tasks, too
        traceback.print_exc()
        print(f"  FAILED after {time.perf_counter() - begin:.0f} s", flush=True)
        return False
    finally:
        bench.clean()
    print(f"  {time.perf_counter() - begin:.1f} s", flush=True)
    return True


@contextmanager
def _alarm(seconds):
    def stop(number, frame):
        raise TimeoutError(f"the task takes longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
