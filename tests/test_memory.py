import re
import subprocess
import sys

import psutil
import pytest

from skatom import memory
from skatom.memory import available_memory, check_memory

GIB = 2**30


def test_error_names_need_limit_and_remedy():
    with pytest.raises(MemoryError) as error:
        check_memory(3 * GIB, "the kernel matrix", "take fewer frames", max_memory=2)
    assert str(error.value) == (
        "the kernel matrix needs 3 GiB and 2 GiB are allowed by max_memory: take fewer frames"
    )
    check_memory(2 * GIB, "the kernel matrix", "take fewer frames", max_memory=2)


def test_small_arrays_are_made_without_looking(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 0)
    check_memory(1000, "it", "take less")
    with pytest.raises(MemoryError, match="0 GiB are available"):
        check_memory(2**20, "it", "take less")


def test_without_a_limit_it_is_what_is_available(monkeypatch):
    machine = psutil.virtual_memory()._replace(available=GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    check_memory(0.8 * GIB, "it", "take less")
    with pytest.raises(MemoryError, match=r"it needs 1 GiB and 0.9 GiB are available: take less"):
        check_memory(GIB, "it", "take less")


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
def test_limit_of_the_address_space_is_seen():
    """In a process of its own, which allocates what is said to fit and fails beyond."""
    code = (
        "import resource, psutil, numpy\n"
        "from skatom.memory import available_memory\n"
        "used = psutil.Process().memory_info().vms\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, resource.RLIM_INFINITY))\n"
        "left = available_memory()\n"
        "assert 0.9 * 2**30 < left <= 2**30, left\n"
        "numpy.empty(int(0.9 * left), numpy.uint8)\n"
        "try:\n"
        "    numpy.empty(int(1.1 * left), numpy.uint8)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("refused\n", 0), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
def test_a_fit_under_ulimit_is_refused_in_one_sentence():
    code = (
        "import numpy as np; from skatom.models import ForceKernelRidge\n"
        "X = np.zeros((30_000, 1))\n"
        "try:\n"
        "    ForceKernelRidge().fit(X, X[:, 0])\n"
        "except MemoryError as error:\n"
        "    print(error)\n"
    )
    limited = ["bash", "-c", 'ulimit -v 6000000; exec "$0" -c "$1"', sys.executable, code]
    done = subprocess.run(limited, capture_output=True, text=True)
    assert re.fullmatch(
        r"the kernel matrix of 30000 samples needs 7.54 GiB and \S+ GiB are available: "
        "use fewer samples\n",
        done.stdout,
    ), done.stderr


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups of this process, as files: ``groups(line, {folder: {file: text}})``."""

    def make(line, folders):
        for folder, files in folders.items():
            (tmp_path / "cgroup" / folder).mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (tmp_path / "cgroup" / folder / name).write_text(f"{text}\n")
        (tmp_path / "own").write_text(f"{line}\n")

    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_OWN_GROUPS", tmp_path / "own")
    machine = psutil.virtual_memory()._replace(available=64 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    memory._limited_groups.cache_clear()
    yield make
    memory._limited_groups.cache_clear()


def second(limit, used, unneeded=0):
    return {
        "memory.max": limit,
        "memory.current": used,
        "memory.stat": f"anon 5\ninactive_file {unneeded}",
    }


def first(limit, used, unneeded=0):
    return {
        "memory.limit_in_bytes": limit,
        "memory.usage_in_bytes": used,
        "memory.stat": f"cache 5\ntotal_inactive_file {unneeded}",
    }


@pytest.mark.parametrize(
    ("line", "folders", "expected"),
    [
        ("0::/job", {"job": second(8 * GIB, 3 * GIB)}, 5),
        ("0::/job", {"job": second(8 * GIB, 3 * GIB, unneeded=GIB)}, 6),
        ("0::/job/step", {"job/step": second("max", 3 * GIB), "job": second(4 * GIB, GIB)}, 3),
        ("0::/job/step", {"job/step": second(4 * GIB, GIB), "job": second(2 * GIB, GIB)}, 1),
        ("0::/of/the/host", {"": second(2 * GIB, GIB)}, 1),
        ("0::/job", {"job": second(GIB, 2 * GIB)}, 0),
        ("0::/job", {"job": second("max", GIB)}, 64),
        ("0::/job", {}, 64),
        ("4:memory:/job", {"memory/job": first(8 * GIB, 3 * GIB, GIB)}, 6),
        ("4:cpu,memory:/", {"memory": first(8 * GIB, 3 * GIB)}, 5),
        ("4:memory:/job", {"memory/job": first(9223372036854771712, GIB)}, 64),
        ("4:cpu:/job", {"memory/job": first(GIB, 0), "job": second(GIB, 0)}, 64),
    ],
)
def test_limits_of_control_groups_are_seen(groups, line, folders, expected):
    groups(line, folders)
    assert available_memory() == expected * GIB


def test_a_group_that_is_gone_limits_nothing(groups, tmp_path):
    groups("0::/job", {"job": second(GIB, 0)})
    assert available_memory() == GIB
    (tmp_path / "cgroup" / "job" / "memory.current").unlink()
    assert available_memory() == 64 * GIB
