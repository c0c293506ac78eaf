"""Estimates of memory grow as what is used does, each measured in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from measured_memory import JOBS, Predict

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks are read from /proc on Linux"
)
QUICK = ["ridge-array", "gram", "soap-sum"]
MIB = 2**20


def measured(name):
    """What is said and used by half of a job, and by the whole job, in bytes."""
    environment = os.environ | {
        # freed arrays go back to the system at once, so that peaks of one job are seen in the next
        "MALLOC_MMAP_THRESHOLD_": "65536", "NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2",
        "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(HERE)]),
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", str(HERE / "measured_memory.py"), name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# What is still estimated wrongly.
WRONG = {"fchl19": "the neighbour list that is kept beside the values is not counted"}


def marks(name):
    slow = [] if name in QUICK else [pytest.mark.slow]
    wrong = [pytest.mark.xfail(reason=WRONG[name], strict=True)] if name in WRONG else []
    return slow + wrong


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in JOBS])
def test_memory_is_estimated_to_a_quarter(name):
    """In twice the job; what threads work in is the same in both and drops out."""
    (said_of_half, used_of_half), (said_of_all, used_of_all) = measured(name)
    said, used = said_of_all - said_of_half, used_of_all - used_of_half
    if not isinstance(JOBS[name], Predict):  # whose arrays, made in pieces, are small
        assert used > 16 * MIB
    assert abs(said - used) < 0.25 * max(said, used) + 4 * MIB
