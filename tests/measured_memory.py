"""What jobs are said to need, and what they use: each in a process of its own.

``python tests/measured_memory.py NAME`` prints both in bytes, for half of the job and for the whole
job. What is said is the largest sum of the memory in use at a call of `skatom.memory.check_memory`
and of what the call asks for.
"""

import ctypes
import json
import sys
from pathlib import Path

from skatom import memory

_STATUS = Path("/proc/self/status")


def _in_use(line="VmRSS"):
    for text in _STATUS.read_text().splitlines():
        if text.startswith(line):
            return 1024 * int(text.split()[1])
    raise AssertionError(line)


class Recorder:
    """Stands for `check_memory`, and notes what is asked for."""

    def __init__(self):
        self.calls = []

    def __call__(self, n_bytes, what, remedy, max_memory=None):
        self.calls.append((_in_use() + float(n_bytes), what))


recorder = Recorder()
if __name__ == "__main__":  # before the modules that take it from there
    memory.check_memory = recorder

from memory_jobs import JOBS  # noqa: E402


def measured(work):
    """What is said and what is used by a call, in bytes."""
    ctypes.CDLL(None).malloc_trim(0)
    recorder.calls.clear()
    Path("/proc/self/clear_refs").write_text("5")
    before = _in_use()
    result = work()
    used = _in_use("VmHWM") - before
    del result
    return max((call[0] for call in recorder.calls), default=before) - before, used


def main(name):
    job = JOBS[name]
    job.prepared(job.size // 8)()  # compiled and loaded
    print(json.dumps([measured(job.prepared(n)) for n in (job.size // 2, job.size)]))


if __name__ == "__main__":
    main(sys.argv[1])
