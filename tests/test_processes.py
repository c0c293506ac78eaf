"""The tests themselves: how many processes run them, and which package their processes import."""

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import conftest
import pytest

import skatom


class Config:
    """What a command line asks pytest for."""

    ArgsSource = pytest.Config.ArgsSource

    def __init__(self, arguments=False, **options):
        of_xdist = {"numprocesses": None, "dist": "no", "tx": []}
        of_pytest = {
            "keyword": "", "markexpr": "thorough", "lf": False, "stepwise": False, "usepdb": False,
            "trace": False, "collectonly": False, "capture": "fd",
        }  # fmt: skip
        self.option = Namespace(**{**of_xdist, **of_pytest, **options})
        self.args_source = self.ArgsSource.ARGS if arguments else self.ArgsSource.TESTPATHS


@pytest.fixture
def cores(monkeypatch):
    """A function that sets the number of cores; environment variables are reset."""
    for name in ("NUMBA_NUM_THREADS", *BLAS):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return lambda n: monkeypatch.setattr(conftest.joblib, "cpu_count", lambda: n)


BLAS = ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@pytest.mark.parametrize(
    ("n", "processes", "loops", "blas"), [(2, 2, "2", "1"), (3, 3, "2", "1"), (16, 4, "4", "4")]
)
def test_the_whole_suite_takes_all_cores(cores, n, processes, loops, blas):
    cores(n)
    config = Config()
    conftest.pytest_cmdline_main(config)
    assert (config.option.numprocesses, config.option.dist) == (processes, "worksteal")
    assert os.environ["NUMBA_NUM_THREADS"] == loops
    assert [os.environ[name] for name in BLAS] == [blas] * 3


@pytest.mark.parametrize(
    "options",
    [
        {"arguments": True}, {"keyword": "soap"}, {"markexpr": "slow"}, {"lf": True},
        {"stepwise": True}, {"usepdb": True}, {"trace": True}, {"collectonly": True},
        {"capture": "no"}, {"numprocesses": 0}, {"dist": "load"}, {"tx": ["popen"]},
    ],
    ids=str,
)  # fmt: skip
def test_parts_of_it_and_what_is_said_otherwise_stay_as_they_are(cores, options):
    cores(2)
    config = Config(**options)
    before = vars(config.option).copy()
    conftest.pytest_cmdline_main(config)
    assert vars(config.option) == before
    assert "NUMBA_NUM_THREADS" not in os.environ


def test_one_core_a_process_of_xdist_and_no_xdist_stay_as_they_are(cores):
    cores(1)
    alone, worker, without = Config(), Config(), Config()
    conftest.pytest_cmdline_main(alone)
    cores(2)
    worker.workerinput = {}
    conftest.pytest_cmdline_main(worker)
    assert alone.option.numprocesses is worker.option.numprocesses is None
    for name in ("numprocesses", "dist", "tx"):
        delattr(without.option, name)
    conftest.pytest_cmdline_main(without)
    assert not hasattr(without.option, "numprocesses")


def test_processes_of_tests_import_the_package_that_is_tested():
    done = subprocess.run(
        [sys.executable, "-c", "import skatom; print(skatom.__file__)"],
        cwd=Path(__file__).parents[1], capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == skatom.__file__, done.stderr
