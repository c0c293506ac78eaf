"""The runner of the benchmark `gpu`: one task that fails does not cost the others their time."""

import importlib
import time
from argparse import Namespace
from pathlib import Path

import pytest

pytest.importorskip("torch")


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    return importlib.import_module("benchmarks.performance.gpu")


def test_tasks_go_on_after_one_that_fails_and_one_that_hangs(gpu, monkeypatch, capsys):
    def fail(bench):
        raise ZeroDivisionError("of a task")

    done = []
    tasks = [
        ("one", fail, 5),
        ("two", lambda bench: time.sleep(3), 1),
        ("three", done.append, 5),
        ("four", lambda bench: bench.check("numbers", [1.0, 2.0], [1.0, 2.1], 1e-9), 5),
    ]
    monkeypatch.setattr(gpu, "TASKS", tasks)
    with pytest.raises(SystemExit):
        gpu.run(Namespace(tasks=None, torch=True))
    assert len(done) == 1
    printed = capsys.readouterr()
    assert "failed: one, two, four" in printed.out
    assert "no card is used" in printed.out
    for message in ("of a task", "longer than 1 s", "numbers: 4.76e-02 is more than 1e-09"):
        assert message in printed.err


def test_some_tasks_are_chosen(gpu, capsys):
    gpu.run(Namespace(tasks=["products", "cholesky"], torch=True))
    printed = capsys.readouterr().out
    assert "PackedCholesky of 512 in columns of 100" in printed
    assert "sgdml" not in printed
    with pytest.raises(SystemExit, match="no task product; there are .*products, cholesky"):
        gpu.run(Namespace(tasks=["product"], torch=True))
