"""Which model for what: errors, time and memory of pipelines on the same training frames.

    python -m benchmarks which_model --threads 1               all data sets
    python -m benchmarks which_model InP molecules --threads 1     some of them, whole
    python -m benchmarks which_model --page                    write the page, measure nothing

Each row of `_model_rows` runs in a process of its own. Times are processor seconds, so that they
depend little on what else the machine does. All rows of a data set are measured together, so that
their ratios are those of one machine. The figures are kept in `which_model.json`, from which
docs/guide/which_model.md gets its tables.
"""

import json
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.harness import HERE, machine, own, peak_gib, run_process

RESULTS = Path(__file__).with_name("which_model.json")
PAGE = HERE.parent / "docs" / "guide" / "which_model.md"
BEGIN, END = "<!-- begin of the tables -->", "<!-- end of the tables -->"
_GPA = 160.21766208  # in an eV/Å³
# the columns of errors: (property, unit, factor, per atom)
_ERRORS = {
    "energy": ("energy, meV per atom", 1e3),
    "forces": ("forces, meV/Å", 1e3),
    "stress": ("stress, GPa", _GPA),
    "dipole": ("dipole, e·Å", 1.0),
}


def measure(name, row):
    """Errors, processor seconds and memory of one row of a data set."""
    from benchmarks.accuracy._model_rows import DATA_SETS, ROWS

    samples = DATA_SETS[name][1]()
    _, label, build = [entry for entry in ROWS if entry[0] == name][row]
    before = psutil.Process().memory_info().rss / 2**30
    seconds, model = _shortest(lambda: _fit(build(), samples))
    given = getattr(getattr(model, "steps", [(0, model)])[-1][1], "outputs_", ("energy",))
    outputs = [key for key in _ERRORS if key in given and getattr(samples.test_y, key) is not None]
    keywords = {f"return_{key}": True for key in outputs[1:]}
    predicting, found = _shortest(lambda: model.predict(samples.test, **keywords))
    found = found if isinstance(found, tuple) else (found,)
    return {
        "label": label,
        "fit": seconds,
        "per_atom": 1e6 * predicting / len(samples.test.numbers),
        "memory": peak_gib() - before,
        "errors": {
            key: _error(key, value, samples) for key, value in zip(outputs, found, strict=True)
        },
    }


def _fit(model, samples):
    """The labels as `Targets`, or the energies alone for an estimator of scikit-learn."""
    of_skatom = type(getattr(model, "steps", [(0, model)])[-1][1]).__module__.startswith("skatom")
    return model.fit(samples.train, samples.train_y if of_skatom else samples.train_y.energy)


def _error(name, found, samples):
    """Mean absolute error, in the unit of the page; that of an energy per atom."""
    difference = np.abs(np.asarray(found) - getattr(samples.test_y, name))
    if name == "energy":
        difference = difference / samples.test.n_atoms
    return float(np.nanmean(difference)) * _ERRORS[name][1]


def _shortest(function, enough=20.0):
    """The shortest of two times, the first of which may contain the loading of compiled code."""
    times = []
    while not times or (len(times) < 2 and times[0] < enough):
        begin = time.process_time()
        result = function()
        times.append(time.process_time() - begin)
    return min(times), result


# --- the page ---------------------------------------------------------------------------------


def table(entry):
    """The table of one data set."""
    rows = entry["rows"]
    columns = [key for key in _ERRORS if any(key in row["errors"] for row in rows)]
    heads = [_ERRORS[key][0] for key in columns]
    lines = [["model", *heads, "fit", "prediction", "memory"], ["---", *["--:"] * (len(heads) + 3)]]
    first = rows[0]
    for row in rows:
        errors = [_figure(row["errors"].get(key)) for key in columns]
        lines.append([
            row["label"], *errors,
            f"{_figure(row['fit'])} s ({_figure(row['fit'] / first['fit'])})",
            f"{_figure(row['per_atom'])} µs ({_figure(row['per_atom'] / first['per_atom'])})",
            f"{row['memory']:.1f} GiB",
        ])  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _figure(value):
    """Two digits, and no exponent."""
    if value is None:
        return "–"
    rounded = float(f"{value:.1e}")
    digits = max(0, 1 - int(np.floor(np.log10(abs(rounded) or 1.0))))
    return f"{rounded:,.{digits}f}"


def section(entry):
    """The heading, the size and the table of one data set."""
    size = (
        f"{entry['n_train']} structures for training, {entry['n_test']} for the test; "
        f"{entry['atoms']:.0f} atoms in a structure on average."
    )
    return f"### {entry['title']}\n\n{size}\n\n{table(entry)}"


def page(results):
    """The text of the page with the tables of the results."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    runs = sorted(
        {f"{entry['machine']}, threads: {entry['threads']}" for entry in results.values()}
    )
    tables = "\n\n".join(section(entry) for entry in results.values())
    return f"{before}{BEGIN}\n\nMeasured on: {'; '.join(runs)}.\n\n{tables}\n\n{END}{after}"


def read_results():
    """What was measured before: {data set: figures}."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def add_arguments(parser):
    parser.add_argument("names", nargs="*", help="data sets; all by default")
    parser.add_argument("--page", action="store_true", help="write the page from known figures")


def run(options):
    from benchmarks.accuracy._model_rows import DATA_SETS, ROWS

    unknown = set(options.names) - set(DATA_SETS)
    if unknown:
        raise SystemExit(f"no data set {min(unknown)}; there are {', '.join(DATA_SETS)}")
    measured = {}
    for name in () if options.page else options.names or DATA_SETS:
        title, load = DATA_SETS[name]
        print(f"\n{title}", flush=True)
        samples = load()
        rows = []
        for row in range(sum(entry[0] == name for entry in ROWS)):
            rows.append(run_process(own(measure, name, row), options.threads))
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
        measured[name] = {
            "title": title, "machine": machine(), "threads": options.threads,
            "n_train": len(samples.train), "n_test": len(samples.test),
            "atoms": float(samples.train.n_atoms.mean()), "rows": rows,
        }  # fmt: skip
    results = read_results() | measured
    results = {name: results[name] for name in DATA_SETS if name in results}
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")
