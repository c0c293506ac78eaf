"""What the benchmarks share: peers in environments of their own, and fair timings.

Each measurement runs in a process of its own, so that its peak memory is its own. All libraries
get the same number of threads. Run the benchmarks on a quiet machine: where a share of the
processor that other programs took is printed, it should be near zero.

Scripts in peers' environments import this module too, so it needs no more than psutil.
"""

import json
import math
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

import psutil

HERE = Path(__file__).parent
DATA = Path(os.environ.get("SKATOM_DATA", HERE.parents[1] / "shared" / "data"))
PEERS = Path(os.environ.get("SKATOM_PEERS", HERE / ".peers"))
KCAL = 23.060548  # kcal/mol in an eV


# --- the machine ------------------------------------------------------------------------------


def machine():
    """The processor's name, and how many cores of it there are."""
    return f"{cpu_name()}, {psutil.cpu_count()} logical cores"


def cpu_name():
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    found = info.exists() and re.search(r"model name\s*:\s*(.+)", info.read_text())
    return found[1] if found else platform.processor() or platform.machine()


def thread_limits(threads):
    """The environment variables that limit the threads of all libraries."""
    names = ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMBA")
    return {f"{name}_NUM_THREADS": str(threads) for name in names}


# --- processes --------------------------------------------------------------------------------


def peer_of(options, name):
    """The Python of a peer's environment, or None with ``--alone``."""
    return None if options.alone else peer_python(name)


def peer_python(name):
    """The Python of a peer's environment, which is made from its requirements file if absent."""
    python = PEERS / name / "bin" / "python"
    if not python.exists():
        print(f"making the environment of {name} in {PEERS / name} …", flush=True)
        venv.create(PEERS / name, with_pip=True)
        requirements = HERE / "peers" / f"requirements-{name}.txt"
        install = [python, "-m", "pip", "install", "-q"]
        subprocess.run([*install, "-r", requirements], check=True)
        # packages that ask for other versions than those they work with
        alone = HERE / "peers" / f"requirements-{name}-alone.txt"
        if alone.exists():
            subprocess.run([*install, "--no-deps", "-r", alone], check=True)
    return python


def peer_script(name):
    """The path of a script that runs in a peer's environment."""
    return HERE / "peers" / name


def own(function, *arguments):
    """The command of a process that calls a function of a benchmark.

    The function returns, and the arguments are, what JSON knows; paths become strings.
    """
    name = f"{function.__module__}:{function.__name__}"
    return sys.executable, "-m", "benchmarks.call", name, json.dumps(arguments, default=str)


def run_process(command, threads):
    """Run a command in a process of its own and return what its last line says in JSON."""
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ, **thread_limits(threads), "PYTHONPATH": os.pathsep.join(paths)
    }  # fmt: skip
    command = [str(part) for part in command]
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    return json.loads(process.stdout.splitlines()[-1])


def run_worker(command, threads):
    """`run_process` for an answer that is a dict, to which it adds ``foreign_cores``.

    These are how many cores other programs used meanwhile.
    """
    load = ForeignLoad()
    result = run_process(command, threads)
    return {**result, "foreign_cores": load.cores()}


class ForeignLoad:
    """What other programs use of the processor from now on."""

    def __init__(self):
        self.begin, self.before = time.perf_counter(), self._seconds()

    def cores(self):
        """How many cores they used until now; processes that were started here must have ended."""
        seconds = self._seconds() - self.before
        return max(seconds, 0.0) / (time.perf_counter() - self.begin)

    def _seconds(self):
        """Processor time of all programs, less that of this process and those it started."""
        times = psutil.cpu_times()
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return times.user + times.system + times.nice - sum(u.ru_utime + u.ru_stime for u in own)


def take_turns(commands, rounds, threads):
    """The shortest time of each command, a process that prints a list of seconds.

    They run in turn, so that a machine whose speed drifts treats them alike.
    """
    best = dict.fromkeys(commands, math.inf)
    for _ in range(rounds):
        for name, command in commands.items():
            best[name] = min(best[name], *run_process(command, threads))
    return best


# --- timings ----------------------------------------------------------------------------------


def timed(function, repeats=1):
    """The median time of some calls, after one that is not counted if there are several."""
    if repeats > 1:
        function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times), result


def repeated(function, repeats):
    """Seconds of each of some calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return times


def repeated_within(function, seconds, fewest, most, clock=time.perf_counter):
    """Seconds of each of ``fewest`` to ``most`` calls, after one that is not counted.

    Beyond the fewest, calls go on until all together have taken ``seconds``. The clock
    ``time.process_time`` counts those of all threads, whatever else the machine does.
    """
    times = []
    while len(times) <= fewest or (len(times) <= most and sum(times) < seconds):
        begin = clock()
        function()
        times.append(clock() - begin)
    return times[1:]


def touch_memory(n_bytes):
    """Allocate and free memory, then forget the peak that this made.

    A virtual machine fetches memory from its host when it is first used, at a tenth of the usual
    speed. Touched just before a timing, that cost falls on neither side.
    """
    bytearray(b"x") * int(n_bytes)
    Path("/proc/self/clear_refs").write_text("5")


def finished(work, device):
    """Do the work, and wait for the device of torch."""
    work()
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def used(work, device):
    """Bytes that the work needs more than before, at most, on a device of torch."""
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    touch_memory(2**28)
    before = peak_gib()
    work()
    return 2**30 * (peak_gib() - before)


def peak_gib():
    """Peak memory of this process, since `touch_memory` if that was called (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 2**20


# --- printing ---------------------------------------------------------------------------------


def report(**figures):
    """A worker's last line: the figures."""
    print(json.dumps(figures))


def ratios_header():
    """Print the header of the lines of `compare`."""
    print(f"{'':42s}{'':19s}{'seconds':>9s}{'ratio':>8s}")


def compare(label, commands, rounds, threads):
    """Let packages take turns, the first of them skatom, and print times and ratios to ours.

    Returns
    -------
    dict
        The shortest time of each, in seconds.
    """
    best = take_turns(commands, rounds, threads)
    ours = best[next(iter(best))]
    for name, seconds in best.items():
        print(f"{label:42s}{name:19s}{seconds:9.4f}{seconds / ours:8.2f}", flush=True)
    return best


def table(title, header, rows):
    """Print rows of strings in columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print(f"\n{title}")
    for row in (header, *rows):
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    sys.stdout.flush()
