"""The runner of the benchmarks, and the file of the performance history."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def runner():
    return importlib.import_module("benchmarks.__main__")


@pytest.fixture(scope="module")
def found():
    """The docstrings of all benchmarks by subject and name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return importlib.import_module("benchmarks.__main__").find()


@pytest.fixture
def history():
    return importlib.import_module("benchmarks.performance.history")


def run(*arguments):
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_listing_has_every_benchmark_under_its_subject(found):
    subjects = {path.name for path in (ROOT / "benchmarks").iterdir() if path.is_dir()}
    assert set(found) == {name for name in subjects if name[0] not in "._"} - {"peers"}
    lines = run().stdout.splitlines()
    for subject, names in found.items():
        assert subject in lines
        for name, text in names.items():
            assert any(line.split() == [name, *text.splitlines()[0].split()] for line in lines)


def test_names_of_benchmarks_are_unique(found):
    names = [name for names in found.values() for name in names]
    assert len(names) == len(set(names))


def test_every_benchmark_stands_in_the_readme(found):
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for names in found.values():
        for name in names:
            assert f"`{name}`" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sgdm"], "no benchmark sgdm; do you mean sgdml?"),
        (["selection", "--threads", "0"], "--threads is 0, and must be 1 or more"),
    ],
)
def test_wrong_command_lines_are_one_sentence(runner, arguments, message):
    with pytest.raises(SystemExit) as end:
        runner.main(arguments)
    assert end.value.code.startswith(message)
    assert len(end.value.code.splitlines()) == 1


def test_threads_are_limited_before_numpy_is_imported(runner, tmp_path, monkeypatch, capsys):
    """A benchmark sees the limit when it is imported, and its options when it runs."""
    folder = tmp_path / "benchmarks" / "subject"
    folder.mkdir(parents=True)
    (folder / "probe.py").write_text(
        '"""A probe."""\nimport os\n\nLIMIT = os.environ["OMP_NUM_THREADS"]\n\n\n'
        "def add_arguments(parser):\n"
        '    parser.add_argument("--size", type=int, default=1)\n\n\n'
        "def run(options):\n    print(LIMIT, options.threads, options.size)\n",
        encoding="utf-8",
    )
    package = importlib.import_module("benchmarks")
    monkeypatch.setattr(runner, "HERE", folder.parent)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder.parent)])
    monkeypatch.setattr(os, "environ", {**os.environ})
    runner.main(["probe", "--threads", "3", "--size", "7"])
    assert capsys.readouterr().out.splitlines()[-1] == "3 3 7"


def test_a_function_runs_in_a_process_of_its_own(importable):
    from benchmarks.harness import own, run_process, thread_limits

    command = own(thread_limits, 5)
    assert command[0] == sys.executable
    assert run_process(command, threads=1) == thread_limits(5)


def test_history_is_a_list_of_versions_with_figures_of_each_task(history):
    entries = json.loads(history.FILE.read_text(encoding="utf-8"))
    assert entries == history.recorded()
    versions = [entry["version"] for entry in entries]
    assert entries and len(versions) == len(set(versions))
    for entry in entries:
        assert set(entry) == {"version", "revision", "against", "date", "machine", "tasks"}
        assert set(entry["machine"]) == {"cpu", "threads", "foreign_cores"}
        assert set(entry["against"]) == {"version", "revision"}
        assert len(entry["tasks"]) > 20
        for task in entry["tasks"].values():
            assert set(task) == {"seconds", "against_seconds", "mib", "against_mib", "ratio"}
            assert task["seconds"] > 0


def test_an_entry_takes_the_place_of_one_of_the_same_version(history):
    first, second = {"version": "1", "tasks": 1}, {"version": "2", "tasks": 2}
    entries = history.record(history.record([], first), second)
    assert entries == [first, second]
    again = {"version": "2", "tasks": 3}
    assert history.record(entries, again) == [first, again]


def test_reference_is_the_last_other_version(history):
    def entry(version, revision):
        against = {"version": "0", "revision": "abc"}
        return {"version": version, "revision": revision, "against": against}

    entries = [entry("1", "111"), entry("2", "222+")]
    assert history.last_revision(entries, "3") == "222"
    assert history.last_revision(entries, "2") == "111"
    assert history.last_revision(entries[:1], "1") == "abc"
    with pytest.raises(SystemExit, match="name one by --against"):
        history.last_revision([], "1")


def test_summary_is_of_medians_and_of_the_ratios_of_rounds(history):
    # the machine is twice as slow in the second and third round
    old = [[1.0, 10.0], [2.0, 10.0], [2.0, 11.0]]
    new = [[1.5, 40.0], [3.0, 40.0], [3.1, 40.0]]
    found = history.summary((old, new))
    assert found["against_seconds"] == 2.0
    assert found["seconds"] == 3.0
    assert found["ratio"] == 1.5
    assert history.flag(found) == "slower, more memory"
    assert history.flag(history.summary((new, old))) == "faster"
    assert history.flag(history.summary((old, old))) == ""


def test_a_task_that_only_one_version_has_gets_no_ratio(history):
    found = history.summary(([], [[1.0, 2.0]]))
    assert found["ratio"] is None
    assert found["against_seconds"] is None
    assert history.flag(found) == ""


def test_compiled_functions_are_kept_by_the_content_of_their_sources(history, tmp_path):
    source = tmp_path / "skatom" / "_cpu" / "loops.py"
    source.parent.mkdir(parents=True)
    source.write_text("one = 1\n", encoding="utf-8")
    before = history.compiled(tmp_path)
    assert history.compiled(tmp_path) == before
    source.write_text("one = 2\n", encoding="utf-8")
    assert history.compiled(tmp_path) != before


def test_an_unknown_version_is_refused(history, tmp_path):
    with pytest.raises(SystemExit, match="neither a folder with skatom nor a revision"):
        history.folder_of(str(tmp_path))


def test_the_page_of_models_shows_what_was_measured():
    which_model = importlib.import_module("benchmarks.accuracy.which_model")
    rows = importlib.import_module("benchmarks.accuracy._model_rows")
    results = which_model.read_results()
    measured = [(name, row["label"]) for name, entry in results.items() for row in entry["rows"]]
    assert measured == [
        row[:2] for row in sorted(rows.ROWS, key=lambda r: list(results).index(r[0]))
    ]
    assert which_model.page(results) == which_model.PAGE.read_text(encoding="utf-8")


def test_figures_have_two_digits():
    figure = importlib.import_module("benchmarks.accuracy.which_model")._figure
    assert [figure(x) for x in (None, 0.0123, 0.996, 3.456, 45.6, 1234.0)] == [
        "–", "0.012", "1.0", "3.5", "46", "1,200",
    ]  # fmt: skip
