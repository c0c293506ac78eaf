"""The report on a model: its numbers are those of the metrics, its page needs nothing else."""

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write
from pair_model import binding_pair_potential

from skatom import Structures, Targets, cli, load_model, save_model
from skatom.metrics import calibration, coverage, evaluate
from skatom.metrics.evaluation import FIGURES
from skatom.metrics.figures import LABELS_OF_FIGURES
from skatom.models import SGDML
from skatom.plotting import CalibrationDisplay, GroupErrorsDisplay, LearningCurveDisplay
from skatom.report import ModelReport
from skatom.report.drawing import MOST_DRAWN, draw

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Text, tags and attributes of a page whose elements must be closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.tags, self.attributes = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text.append(text)


@pytest.fixture(scope="module")
def labelled(water):
    """Water and a model with deviations; the energies of two structures are unknown."""
    X, y = water
    model = SGDML(random_state=0, keep_factor=True).fit(X[:15], y[:15])
    energy = y.energy.copy()
    energy[[20, 30]] = np.nan
    return model, X[15:], Targets(energy, y.forces, offsets=y.offsets)[15:]


@pytest.fixture(scope="module")
def report(labelled):
    model, X, y = labelled
    return ModelReport(
        model, X, y, configurations=np.array(["a", "<b>"])[np.arange(25) % 2],
        about={"data": "x & y.xyz"}, warnings=["1 < 2"], seconds={"fit": 1.5},
        learning_curve=LearningCurveDisplay([5, 10], [[0.2], [0.1]], "force MAE (eV/Å)"),
        frames=np.arange(100, 125),
    )  # fmt: skip


def test_errors_are_those_of_evaluate(report, labelled):
    assert report.errors == evaluate(*labelled)


def test_every_error_has_a_label():
    assert set(LABELS_OF_FIGURES) == {name for figures in FIGURES.values() for name in figures}


def test_errors_of_groups_are_those_of_their_members(report, labelled):
    model, X, y = labelled
    errors = model.predict(X, return_forces=True)[1] - y.forces
    rows = {(r["property"], r["group"]): r for r in report.groups["configuration"]}
    own = errors.reshape(25, -1)[::2]
    assert rows["forces", "a"]["rmse"] == pytest.approx(np.sqrt(np.mean(own**2)), rel=1e-12)
    assert rows["forces", "a"]["bias"] == pytest.approx(own.mean(), rel=1e-9)
    assert rows["forces", "a"]["largest"] == pytest.approx(abs(own).max())
    assert rows["forces", "a"]["n"] == own.size
    # structures 20 and 30 have no energy: numbers 5 and 15 of these 25, both odd
    assert (rows["energy", "a"]["n"], rows["energy", "<b>"]["n"]) == (13, 10)
    oxygen = next(r for r in report.groups["element"] if r["group"] == "O")
    own = errors[X.numbers == 8]
    assert oxygen["mae"] == pytest.approx(abs(own).mean(), rel=1e-12)
    assert oxygen["n"] == own.size
    assert "formula" not in report.groups


def test_energies_of_groups_are_per_atom():
    model = binding_pair_potential()
    X = [molecule("O2"), *(bulk("Ar", a=a) * (2, 1, 1) for a in (2.4, 2.5)), bulk("Ar", a=2.4)]
    y = Targets(energy=model.predict(X) + [0.2, 0.2, 0.4, 0.3])
    rows = {row["group"]: row for row in ModelReport(model, X, y).groups["formula"]}
    assert rows["O2"]["mae"] == pytest.approx(0.1)
    assert rows["Ar2"]["mae"] == pytest.approx(0.15)
    assert rows["Ar"]["bias"] == pytest.approx(-0.3)


def test_worst_structures_have_the_largest_errors_of_forces(report, labelled):
    model, X, y = labelled
    errors = model.predict(X, return_forces=True)[1] - y.forces
    sizes = np.sqrt(np.mean(errors.reshape(25, -1) ** 2, axis=1))
    assert [w["structure"] for w in report.worst] == list(np.argsort(-sizes)[:6])
    assert [w["frame"] - w["structure"] for w in report.worst] == 6 * [100]
    assert report.worst[0]["errors"]["forces"]["rmse"] == pytest.approx(sizes.max())


def test_calibration_is_of_the_errors_and_their_deviations(report, labelled):
    model, X, y = labelled
    forces, deviations = model.predict(X, return_forces=True, return_forces_std=True)[1:]
    expected = calibration((forces - y.forces).ravel(), deviations.ravel())
    assert report.calibration["forces"] == pytest.approx(expected, rel=1e-9)
    assert np.isfinite(report.calibration["energy"]["scale"])


def test_many_atoms_have_deviations_in_part(labelled, monkeypatch):
    monkeypatch.setattr("skatom.report.assessment.MOST_ATOMS", 30)
    found = ModelReport(*labelled).assessment
    assert len(found.chosen) == 10
    assert found.deviations["forces"].shape == (30, 3)
    errors, deviations = found.errors_and_deviations("forces")
    assert errors.shape == deviations.shape == (90,)


def test_coverage_of_gaussian_errors_is_the_level():
    rng = np.random.default_rng(0)
    deviations = rng.uniform(0.5, 2.0, size=40_000)
    errors = deviations * rng.normal(size=40_000)
    np.testing.assert_allclose(coverage(errors, deviations, [0.1, 0.683]), [0.1, 0.683], atol=0.01)
    figures = calibration(errors, 2 * deviations)
    assert figures["scale"] == pytest.approx(0.5, abs=0.01)
    assert figures["within_1"] == pytest.approx(0.954, abs=0.01)
    assert figures["rms_deviation"] == pytest.approx(2 * figures["rmse"], rel=0.02)
    assert figures["miscalibration"] > 0.1
    assert 0.3 < figures["rank_correlation"] < 0.6
    assert np.isnan(calibration(errors, np.ones(40_000))["rank_correlation"])


def test_the_page_is_whole_and_needs_nothing_else(report, tmp_path):
    report.save(tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(text)
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert sources and all(value.startswith("data:image/png;base64,") for value in sources)
    assert not re.search(r"https?://|@import|url\(", text)
    words = " ".join(page.text)
    for expected in (
        "Predicted against reference", "By configuration", "By element", "Learning curve",
        "Calibration of standard deviations", "Worst structures", " parameters", "keep_factor",
        "time of fit (s)", "numpy", "x & y.xyz", "1 < 2", "<b>", "eV/Å", "frame 1",
    ):  # fmt: skip
        assert expected in words
    # parity of two properties, two groups of bars twice, elements, a curve, calibration of two
    assert page.tags.count("img") == 2 + 2 + 1 + 1 + 2
    assert page.tags.count("svg") == 6
    assert page.tags.count("circle") == 18


def test_json_and_csv_have_the_same_numbers(report, tmp_path):
    for suffix in ("json", "csv"):
        report.save(tmp_path / f"r.{suffix}")
    found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    errors = {row["error"]: row["value"] for row in found["errors"]}
    assert errors["force_rmse"] == report.errors["force_rmse"]
    assert errors["force_angle_error"] == 180 * report.errors["force_angle_error"]
    assert found["groups"] == report.groups
    assert found["settings"]["sigma"] == "20.0"
    assert found["learning_curve"][1] == {
        "n_train": 10, "error": 0.1, "name": "force MAE (eV/Å)"
    }  # fmt: skip
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        rows = dict(csv.reader(file))
    assert float(rows["errors.0.value"]) == found["errors"][0]["value"]
    assert float(rows["worst.0.errors.forces.rmse"]) == report.worst[0]["errors"]["forces"]["rmse"]
    assert rows["warnings.0"] == "1 < 2"


def test_long_tables_unfold(labelled, tmp_path):
    model, X, y = labelled
    names = [f"group {k}" for k in range(25)]
    ModelReport(model, X, y, configurations=names).save(tmp_path / "long.html")
    page = Page((tmp_path / "long.html").read_text(encoding="utf-8"))
    assert "18 more rows" in page.text  # 23 energies and 25 forces, 30 of which are seen
    assert {f"group {k}" for k in range(25)} <= set(page.text)


def test_drawings_show_bonds_the_cell_and_arrows():
    svg = draw(
        np.array([8, 1, 1]), molecule("H2O").positions, 5 * np.eye(3), 0.1 * np.eye(3), "water"
    )
    assert [svg.count(f'class="{kind}"') for kind in "bca"] == [2, 12, 3]
    assert svg.count("<circle") == 3
    # the plane of the molecule is that of the drawing
    depths = [float(p.split(",")[2]) for p in re.findall(r'circle data-p="([^"]*)"', svg)]
    assert np.ptp(depths) < 0.2
    single = draw(np.array([18]), np.zeros((1, 3)))
    assert single.count("<circle") == 1


def test_large_structures_are_drawn_around_the_largest_error():
    crystal = bulk("Ar", a=5.0) * (8, 8, 8)
    arrows = np.zeros((512, 3))
    arrows[7] = 1.0
    svg = draw(crystal.numbers, crystal.positions, crystal.cell.array, arrows)
    assert svg.count("<circle") == MOST_DRAWN
    lengths = [
        np.linalg.norm(np.subtract(*np.array(p.split(","), float).reshape(2, 3)))
        for p in re.findall(r'class="a" data-p="([^"]*)"', svg)
    ]
    assert max(lengths) > 1.0


def test_what_cannot_be_reported_is_refused(labelled, report, tmp_path):
    model, X, y = labelled
    with pytest.raises(ValueError, match="r.pdf: a report's name ends in .html, .json, .csv"):
        report.save(tmp_path / "r.pdf")
    with pytest.raises(ValueError, match="there is no folder"):
        report.save(tmp_path / "no" / "r.html")
    with pytest.raises(ValueError, match=r"configurations \(3,\) must be one for each of the 25"):
        ModelReport(model, X, y, configurations=["a", "b", "c"])
    with pytest.raises(ValueError, match="nothing to compare: the model predicts energy, forces"):
        ModelReport(model, X, Targets(dipole=np.zeros((25, 3))))
    with pytest.raises(ValueError, match="a standard deviation is 0: leave out"):
        calibration([1.0], [0.0])
    with pytest.raises(ValueError, match=r"errors \(2,\) and deviations \(1,\)"):
        CalibrationDisplay([1.0, 2.0], [1.0]).plot()
    with pytest.raises(ValueError, match="must be one for each of the 0 groups"):
        GroupErrorsDisplay([], []).plot()


class TestCommandLine:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch, labelled, water):
        model, _, _ = labelled
        X, y = water
        save_model(model, tmp_path / "model.joblib")
        images = X.to_ase(y)
        for k, atoms in enumerate(images):
            atoms.info["config_type"], atoms.info["origin"] = ("cold", "hot")[k % 2], "x"
        write(tmp_path / "water.xyz", images)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def test_evaluate_writes_reports(self, folder, capsys):
        line = "evaluate model.joblib water.xyz --n-test 30 --report r.html r.json"
        assert cli.main(line.split()) == 0
        out = capsys.readouterr().out
        assert "Saved     r.html: the report" in out
        found = json.loads((folder / "r.json").read_text(encoding="utf-8"))
        assert {row["group"] for row in found["groups"]["configuration"]} == {"cold", "hot"}
        assert found["n_structures"] == 30
        assert found["sources"]["energy"]["field"] == "energy"
        error = next(row["value"] for row in found["errors"] if row["error"] == "force_rmse")
        assert f"{error:.4g} eV/Å" in " ".join(out.split())
        images = read(folder / "water.xyz", ":")
        worst = found["worst"][0]
        own = Structures.from_ase([images[worst["frame"]]])
        model_forces = ModelReport(
            load_model("model.joblib"), own,
            Targets.from_ase([images[worst["frame"]]]),
        ).errors["force_rmse"]  # fmt: skip
        assert worst["errors"]["forces"]["rmse"] == pytest.approx(model_forces, rel=1e-6)

    def test_train_writes_a_report_with_times_and_warnings(self, folder, monkeypatch):
        import warnings

        fit = SGDML.fit

        def warning_fit(self, X, y):
            warnings.warn("labels contradict each other", stacklevel=2)
            return fit(self, X, y)

        monkeypatch.setattr(SGDML, "fit", warning_fit)
        line = "train water.xyz --n-train 20 --out t.joblib --report r.json --group-by origin"
        assert cli.main(line.split()) == 0
        found = json.loads((folder / "r.json").read_text(encoding="utf-8"))
        assert found["warnings"] == ["labels contradict each other"]
        assert found["seconds"]["reading and fit"] > 0
        assert found["peak_memory_gib"] > 0.01
        assert [row["group"] for row in found["groups"]["configuration"]] == ["x", "x"]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("evaluate model.joblib water.xyz --report r.pdf", "a report's name ends in .html"),
            ("evaluate model.joblib water.xyz --report no/r.html", "there is no folder no"),
            (
                "evaluate model.joblib water.xyz --report r.csv --group-by kind",
                "--group-by kind: no frame has this field; fields: config_type, origin",
            ),
            ("evaluate model.joblib water.xyz --group-by kind", "give --report FILE.html, too"),
            (
                "train water.xyz --n-train 40 --n-valid 0 --out m.joblib --report r.html",
                "--report needs frames that took no part: give --n-valid above 0",
            ),
        ],
    )
    def test_bad_options_are_one_line(self, capsys, line, message):
        assert cli.main(line.split()) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1].startswith("skatom: error: ")
        assert message in lines[-1]

    def test_frames_of_a_single_atom_are_reported(self, folder):
        save_model(binding_pair_potential(), folder / "pair.joblib")
        atom = Atoms("Ar", info={"energy": 0.1})
        write(folder / "atom.xyz", [atom])
        assert cli.main(["evaluate", "pair.joblib", "atom.xyz", "--report", "a.html"]) == 0
        assert "frame 0, Ar" in (folder / "a.html").read_text(encoding="utf-8")
