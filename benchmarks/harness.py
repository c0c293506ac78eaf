"""What the benchmarks share: peers in environments of their own, and fair timings.

Each measurement runs in a process of its own, so that its peak memory is its own. All libraries
get the same number of threads. Run the scripts on a quiet machine: the share of the processor that
other programs took is printed beside every timing.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import psutil

HERE = Path(__file__).parent
DATA = Path(os.environ.get("SKATOM_DATA", HERE.parents[1] / "shared" / "data"))
PEERS = Path(os.environ.get("SKATOM_PEERS", HERE / ".peers"))
KCAL = 23.060548  # kcal/mol in an eV


def peer_python(name):
    """The Python of a peer's environment, which is made from its requirements file if absent."""
    python = PEERS / name / "bin" / "python"
    if not python.exists():
        print(f"making the environment of {name} in {PEERS / name} …", flush=True)
        venv.create(PEERS / name, with_pip=True)
        requirements = HERE / "peers" / f"requirements-{name}.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    return python


def run_process(python, *arguments, threads):
    """Run a script in a process of its own and return what its last line says in JSON."""
    names = ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMBA")
    environment = {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in names}}
    command = [str(argument) for argument in (python, *arguments)]
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if process.returncode:
        raise SystemExit(f"{arguments[0]} failed with {process.returncode}")
    return json.loads(process.stdout.splitlines()[-1])


def run_worker(python, script, task, threads):
    """Run ``script`` with a task (a dict, sent as JSON) and return the dict that it prints last."""
    before, begin = busy_seconds(), time.perf_counter()
    result = run_process(python, HERE / script, json.dumps(task), threads=threads)
    wall = time.perf_counter() - begin
    foreign = busy_seconds() - before - result.pop("cpu_s")
    return {**result, "foreign_cores": max(foreign, 0.0) / wall}


def busy_seconds():
    """Processor time that all programs have used since the machine started."""
    times = psutil.cpu_times()
    return times.user + times.system + times.nice


def report(**figures):
    """A worker's last line: the figures and its processor time."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    figures["cpu_s"] = sum(u.ru_utime + u.ru_stime for u in usage)
    print(json.dumps(figures))


def touch_memory(n_bytes):
    """Allocate and free memory, then forget the peak that this made.

    A virtual machine fetches memory from its host when it is first used, at a tenth of the usual
    speed. Touched just before a timing, that cost falls on neither side.
    """
    np.ones(int(n_bytes) // 8)
    Path("/proc/self/clear_refs").write_text("5")


def peak_gib():
    """Peak memory of this process, since `touch_memory` if that was called (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 2**20


def timed(function, repeats=1):
    """The median time of some calls, after one that is not counted if there are several."""
    if repeats > 1:
        function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - begin)
    return float(np.median(times)), result


def repeated(function, repeats):
    """Seconds of each of some calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return times


def take_turns(commands, rounds, threads):
    """The shortest time of each command, a process that prints a list of seconds.

    They run in turn, so that a machine whose speed drifts treats them alike.
    """
    best = dict.fromkeys(commands, np.inf)
    for _ in range(rounds):
        for name, command in commands.items():
            best[name] = min(best[name], *run_process(*command, threads=threads))
    return best


def table(title, header, rows):
    """Print rows of strings in columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print(f"\n{title}")
    for row in (header, *rows):
        print("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    sys.stdout.flush()
