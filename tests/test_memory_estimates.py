"""Estimates of memory grow as what is used does, each measured in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from memory_jobs import JOBS, Fit, Predict

from skatom import models
from skatom._prediction import last_step

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks are read from /proc on Linux"
)
QUICK = ["ridge-array", "gram", "soap-sum", "fchl19", "greedy", "mapped"]
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


def marks(name):
    return [pytest.mark.thorough if name in QUICK else pytest.mark.slow]


def near(said, used, floor):
    """Whether the smaller number is at least four fifths of the larger, above a floor."""
    return max(said, used) <= 1.25 * min(said, used) + floor


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in JOBS])
def test_memory_is_estimated_to_a_quarter(name):
    """Of the whole job, and of what half as much does not need: threads' own arrays drop out."""
    (said_of_half, used_of_half), (said, used) = measured(name)
    job = JOBS[name]
    if not isinstance(job, Predict):  # whose arrays, made in pieces, are small
        assert used - used_of_half > 16 * MIB
    assert near(said, used, 24 * MIB)
    if job.grows:
        assert near(said - said_of_half, used - used_of_half, 4 * MIB)


def test_the_fit_of_every_model_is_measured():
    fitted = {type(last_step(job.model(8))) for job in JOBS.values() if isinstance(job, Fit)}
    assert fitted >= {cls for cls in map(models.__dict__.get, models.__all__) if is_model(cls)}


def is_model(cls):
    return hasattr(cls, "learns")
