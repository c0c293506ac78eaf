"""The history of speed and memory: small tasks, today's code beside an earlier version.

    python -m benchmarks history                     beside the version that was recorded before
    python -m benchmarks history --against e5065da   beside a revision of this repository
    python -m benchmarks history --against ../skatom-0.1

Takes some five minutes on two cores, and as long again where functions have to be compiled. A round
starts a process of each version, and the two take turns task by task, so that both see the same
machine; functions were compiled before. Five rounds are measured, and five more of the tasks that
have changed by more than 10 %. Printed are the medians of each version and the median of the
rounds' ratios, today's over the earlier version's: below 1 is faster. Memory is what a task adds to
that of the process (Linux). The result is kept in ``benchmarks/history.json``, one entry a version;
commit it with the version.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tarfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from benchmarks.harness import HERE, ForeignLoad, cpu_name, table
from benchmarks.performance._tasks import GROUPS
from skatom import __version__

ROOT = HERE.parent
FILE = HERE / "history.json"
ROUNDS = 5
LIMIT = 0.1  # change of a time or of memory that is flagged …
SMALLEST = 16  # … where memory grows by so many MiB


# --- versions ---------------------------------------------------------------------------------


def recorded():
    """The entries of the file, oldest first."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []


def record(entries, entry):
    """The entries with a new one, which takes the place of an older one of the same version."""
    return [other for other in entries if other["version"] != entry["version"]] + [entry]


def last_revision(entries, version):
    """The revision to compare with: of the last other version, or what this one was compared to."""
    others = [entry for entry in entries if entry["version"] != version]
    last = others[-1] if others else {"revision": None}
    if not others and entries:
        last = entries[-1]["against"]
    if last["revision"] is None:
        raise SystemExit("no version has been recorded yet: name one by --against")
    return last["revision"].split("+")[0]


def revision(folder):
    """The revision that is checked out in a folder, with a plus if files of skatom are changed."""
    if not (folder / ".git").exists():
        return None
    changed = _git(folder, "status", "--porcelain", "--", "skatom")
    return _git(folder, "rev-parse", "--short=12", "HEAD") + "+" * bool(changed)


def folder_of(against):
    """A folder with another version: as given, or a revision unpacked in ``benchmarks/.data``.

    It is kept there, since its compiled functions belong to that folder.
    """
    if (Path(against) / "skatom" / "__init__.py").exists():
        folder = Path(against).resolve()
        return folder, revision(folder)
    try:
        sha = _git(ROOT, "rev-parse", "--verify", "--quiet", "--short=12", f"{against}^{{commit}}")
    except (subprocess.CalledProcessError, FileNotFoundError):  # or there is no git
        raise SystemExit(
            f"--against is {against}, which is neither a folder with skatom nor a revision of "
            f"this repository; `git log` lists these"
        ) from None
    folder = HERE / ".data" / "versions" / sha
    if not folder.exists():
        archive = subprocess.Popen(["git", "archive", sha, "skatom"], cwd=ROOT, stdout=-1)
        with tarfile.open(fileobj=archive.stdout, mode="r|") as files:
            files.extractall(folder, filter="data")
    return folder, sha


def _git(folder, *arguments):
    return subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def compiled(folder):
    """Where functions of this version are compiled to: a folder for the content of all sources.

    numba does not notice a change of a function that a compiled one calls.
    """
    sha = hashlib.sha256()
    for path in sorted((folder / "skatom").glob("**/_cpu/**/*.py")):
        sha.update(path.read_bytes())
    return HERE / ".data" / "compiled" / sha.hexdigest()[:12]


# --- measurements -----------------------------------------------------------------------------


class Worker:
    """A process that runs tasks with the skatom of a folder, one group after the other."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "performance" / "_tasks.py")],
            env={
                **os.environ,
                "PYTHONPATH": str(folder),
                "NUMBA_CACHE_DIR": str(compiled(folder)),
            },
            cwd=HERE / "performance",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first = self.answer()  # version, folder, seconds of the imports
        if Path(self.first["folder"]) != folder:
            raise SystemExit(f"skatom was imported from {self.first['folder']}, not from {folder}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def ask(self, group):
        self.process.stdin.write(f"{group}\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a process of the tasks ended with {self.process.wait()}")
        return json.loads(line)

    def answer_to(self, group):
        """{task: [seconds, MiB]}; empty if this version cannot run the group."""
        if group == "import":
            return {"import of datasets, descriptors and models": [self.first["import"], 0.0]}
        self.ask(group)
        answer = self.answer()
        if "error" in answer:
            print(f"{group} of {self.first['version']} does not run: {answer['error']}")
            return {}
        return answer


def warm(folders):
    """Run all tasks once, both versions at a time, so that functions are compiled."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(folder)) for folder in folders]
        for group in GROUPS:
            for worker in workers:
                worker.ask(group)
            for worker in workers:
                worker.answer()
        return [worker.first["version"] for worker in workers]


def measure(folders, groups, rounds=ROUNDS):
    """Figures of all rounds: {(group, task): [those of the first version, those of the second]}."""
    found = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds} …", file=sys.stderr, flush=True)
        with ExitStack() as stack:
            workers = [stack.enter_context(Worker(folder)) for folder in folders]
            turns = list(enumerate(workers))[:: (-1) ** number]
            for group in groups:
                for version, worker in turns:
                    for task, figures in worker.answer_to(group).items():
                        found.setdefault((group, task), ([], []))[version].append(figures)
    return found


def summary(figures):
    """Medians of both versions of a task, and of their ratio; None where one does not run."""
    seconds, mebibytes = (
        [[of_round[k] for of_round in version] for version in figures] for k in (0, 1)
    )
    old, new = seconds
    both = zip(old, new, strict=True) if old and new else ()
    return {
        "seconds": _median(new),
        "against_seconds": _median(old),
        "ratio": _median([b / a for a, b in both]),
        "mib": _median(mebibytes[1]),
        "against_mib": _median(mebibytes[0]),
    }


def _median(numbers):
    """To four digits; None of nothing."""
    return float(f"{statistics.median(numbers):.4g}") if numbers else None


def flag(task):
    """What is to be said of the figures of a task: slower, faster, more memory."""
    words = []
    ratio = task["ratio"] or 1.0
    if abs(ratio - 1) > LIMIT:
        words.append("slower" if ratio > 1 else "faster")
    old, new = (task[name] or 0.0 for name in ("against_mib", "mib"))
    if new > max((1 + LIMIT) * old, old + SMALLEST):
        words.append("more memory")
    return ", ".join(words)


def compare(folders):
    """{task: its `summary`} of two versions; changed ones are measured twice as often."""
    found = measure(folders, ["import", *GROUPS])
    again = {group for (group, _), figures in found.items() if flag(summary(figures))}
    if again:
        print(f"changed by more than {100 * LIMIT:.0f} %, again: {', '.join(sorted(again))}")
        for task, more in measure(folders, sorted(again)).items():
            for figures, of_version in zip(found[task], more, strict=True):
                figures += of_version
    return {task: summary(figures) for (_, task), figures in found.items()}


# --- the report -------------------------------------------------------------------------------


def show(entry):
    """Print an entry as a table."""
    rows = [
        [
            name, *(_text(task[key], 1e3) for key in ("against_seconds", "seconds")),
            _text(task["ratio"]), *(_text(task[key]) for key in ("against_mib", "mib")), flag(task),
        ]
        for name, task in entry["tasks"].items()
    ]  # fmt: skip
    old, new = (f"{e['version']} {e['revision'] or ''}".strip() for e in (entry["against"], entry))
    table(
        f"{new} against {old}",
        ["task", "before, ms", "now, ms", "ratio", "before, MiB", "now, MiB", ""],
        rows,
    )


def _text(number, factor=1.0):
    return "-" if number is None else f"{factor * number:.3g}"


def add_arguments(parser):
    parser.add_argument("--against", metavar="PATH_OR_REV", help="the earlier version")


def run(options):
    entries = recorded()
    against = options.against or last_revision(entries, __version__)
    folder, sha = folder_of(against)
    folders = [folder, ROOT]
    old, new = warm(folders)
    load = ForeignLoad()
    tasks = compare(folders)
    machine = {"cpu": cpu_name(), "threads": options.threads, "foreign_cores": load.cores()}
    entry = {
        "version": new,
        "revision": revision(ROOT),
        "against": {"version": old, "revision": sha},
        "date": date.today().isoformat(),
        "machine": machine,
        "tasks": tasks,
    }
    show(entry)
    print(f"other programs used {machine['foreign_cores']:.2f} cores")
    FILE.write_text(json.dumps(record(entries, entry), indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {FILE.relative_to(ROOT)}")
