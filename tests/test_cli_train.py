"""``skatom train`` with any model: settings, files of a run, splits, noises, searches."""

import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from ase.io import write
from sparse_systems import labels, salt

from skatom import Targets, cli
from skatom.cli.checkpoints import Checkpoints
from skatom.datasets import read
from skatom.models import MappedForceField, NBodyGaussianProcess, SparseGaussianProcess

pytestmark = pytest.mark.filterwarnings("ignore")
yaml = pytest.importorskip("yaml")

N = 24
SMALL = "--model gap --set n_sparse=15 soap.n_max=3 soap.l_max=2 soap.cutoff=3.5 pairs.n_sparse=4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Crystals of two configurations and four runs, and a molecule."""
    folder = tmp_path_factory.mktemp("train")
    X = salt(N)
    images = X.to_ase(labels(X))
    for k, atoms in enumerate(images):
        atoms.info |= {"config_type": "cold" if k % 3 else "hot", "run": k // 6}
    write(folder / "salt.xyz", images)
    write(folder / "test.xyz", images[:5])
    other = images[2].copy()
    other.info["energy"], other.numbers = 0.0, other.numbers[::-1]
    other.arrays["forces"] = np.zeros((len(other), 3))
    write(folder / "two.xyz", [*images[:2], other])
    return folder


@pytest.fixture
def skatom(folder, monkeypatch, capsys):
    """Run a command line that must succeed, and give what it prints."""

    def run(line):
        monkeypatch.chdir(folder)
        assert cli.main(line.split()) == 0
        return capsys.readouterr()

    return run


@pytest.fixture
def error_of(folder, monkeypatch, capsys):
    """Run a command line that must fail, and give its line of error."""

    def run(line):
        monkeypatch.chdir(folder)
        try:
            code = cli.main(line.split())
        except SystemExit as exit:
            code = exit.code
        lines = capsys.readouterr().err.splitlines()
        assert code == 2
        assert [line for line in lines if line.startswith("skatom: error")] == lines[-1:]
        return lines[-1]

    return run


def predicted(folder, name):
    model = joblib.load(folder / name)
    return model.predict(read(folder / "salt.xyz").structures, return_forces=True)


class TestModels:
    def test_gap(self, skatom, folder):
        out = skatom(f"train salt.xyz {SMALL} --seed 3 --out gap.joblib").out
        assert "Fitting   gap to energy, forces, stress of 22 frames" in out
        assert "Errors on 2 held-out frames" in out and "stress MAE" in out
        model = joblib.load(folder / "gap.joblib")
        assert isinstance(model, SparseGaussianProcess) and model.random_state == 3
        assert model.get_params()["terms__soap__n_sparse"] == 15
        assert model.n_structures_seen_ == 22
        assert not (folder / "gap.joblib.search").exists()

    @pytest.mark.parametrize(
        ("options", "kind"),
        [
            ("nbody --set n_environments=20", NBodyGaussianProcess),
            ("mapped --set n_environments=20 tables.n_knots_triangles=20", MappedForceField),
        ],
    )
    def test_others(self, skatom, folder, options, kind):
        skatom(f"train salt.xyz --model {options} --out other.joblib")
        assert isinstance(joblib.load(folder / "other.joblib"), kind)

    def test_labels_can_be_chosen(self, skatom, folder):
        out = skatom(f"train salt.xyz {SMALL} --labels energy,forces --out few.joblib").out
        assert "to energy, forces of 22 frames" in out and "stress" not in out.split("Fitting")[1]

    def test_contradictory_stresses_are_left_out(self, skatom, folder):
        X = salt(40)
        y = labels(X)
        wrong = Targets(y.energy, y.forces, -y.stress, offsets=y.offsets)
        write(folder / "wrong.xyz", X.to_ase(wrong))
        out = skatom(f"train wrong.xyz {SMALL} --out wrong.joblib").out
        assert "Note      the stresses are not the derivatives" in out
        assert "gap to energy, forces of 36 frames" in out
        out = skatom(f"train wrong.xyz {SMALL} --labels energy,forces,stress --out w.joblib").out
        assert "Note" not in out and "gap to energy, forces, stress of 36 frames" in out

    def test_memory_and_time_are_estimated_before(self, skatom):
        out = skatom("train salt.xyz --model nbody --set n_environments=20 --out m.joblib").out
        assert out.index("Estimate") < out.index("Fitting")
        assert "GiB for the largest matrices" in out

    def test_threads(self, skatom, error_of):
        assert "with 1 thread\n" in skatom(f"train salt.xyz {SMALL} --threads 1 --out t.joblib").out
        assert "numba has" in error_of("train salt.xyz --threads 9999 --out t.joblib")


class TestConfig:
    def test_a_printed_file_repeats_the_run(self, skatom, folder):
        line = (
            f"train salt.xyz {SMALL} --noise energy=0.002 hot:energy=0.01,forces=0.3 "
            "--split-by run --seed 1"
        )
        skatom(f"{line} --out first.joblib")
        printed = skatom(f"{line} --print-config")
        assert "Data      salt.xyz" in printed.err  # not in the file
        (folder / "run.yaml").write_text(printed.out, encoding="utf-8")
        skatom("train --config run.yaml --out second.joblib")
        for one, other in zip(
            predicted(folder, "first.joblib"), predicted(folder, "second.joblib"), strict=True
        ):
            assert (one == other).all()
        content = yaml.safe_load(printed.out)
        assert content["settings"]["soap"]["cutoff"] == 3.5
        assert content["settings"]["noise_energy"] == {"cold": 0.002, "hot": 0.01}
        assert content["settings"]["noise_forces"] == {"cold": 0.02, "hot": 0.3}

    def test_the_command_line_comes_before_the_file(self, skatom, folder):
        (folder / "low.yaml").write_text(
            "data: salt.xyz\nmodel: gap\nn_valid: 4\nout: low.joblib\n"
            "settings: {n_sparse: 9, soap: {n_max: 3, l_max: 2}}\n", encoding="utf-8"
        )  # fmt: skip
        out = skatom("train --config low.yaml --set n_sparse=7 --n-valid 3").out
        assert "of 21 frames" in out
        params = joblib.load(folder / "low.joblib").get_params()
        assert params["terms__soap__n_sparse"] == 7
        assert params["terms__soap__descriptor__n_max"] == 3

    def test_settings_of_a_search_are_printed(self, skatom, folder):
        printed = skatom(f"train salt.xyz {SMALL} --tune 0.001 --print-config")
        content = yaml.safe_load(printed.out)
        assert set(content["settings"]["noise_energy"]) == {"cold", "hot"}
        assert "tune" not in content

    @pytest.mark.thorough
    def test_only_those_two_options_need_yaml(self, folder):
        code = """if True:
            import sys
            sys.modules["yaml"] = None
            from skatom import cli
            sys.exit(cli.main(sys.argv[1].split()))"""

        def run(line):
            done = subprocess.run(
                [sys.executable, "-c", code, line], cwd=folder, capture_output=True, text=True
            )
            return done.returncode, done.stderr

        line = "train salt.xyz --model nbody --set n_environments=9 --n-train 9"
        assert run(f"{line} --out m.joblib")[0] == 0
        code_of_exit, err = run(f"{line} --print-config")
        assert code_of_exit == 2
        assert err.endswith("need PyYAML: pip install 'skatom[cli]'\n")


class TestSplits:
    def test_by_a_field(self, skatom):
        out = skatom(f"train salt.xyz {SMALL} --split-by run --out m.joblib").out
        assert "Held out  run " in out and "of 18 frames" in out and "Errors on 6 held" in out

    def test_block(self, skatom, folder):
        skatom(f"train salt.xyz {SMALL} --split-by block --n-valid 8 --out block.joblib")
        model = joblib.load(folder / "block.joblib")
        skatom(f"train salt.xyz --index :16 {SMALL} --test-fraction 0 --out first.joblib")
        np.testing.assert_allclose(
            predicted(folder, "block.joblib")[0], predicted(folder, "first.joblib")[0], rtol=1e-10
        )
        assert model.n_structures_seen_ == 16

    def test_by_file(self, skatom):
        out = skatom(f"train salt.xyz {SMALL} --test-file test.xyz --out m.joblib").out
        assert "of 24 frames" in out and "Errors on 5 frames of test.xyz" in out
        out = skatom(f"train salt.xyz --index :10 {SMALL} --test-file test.xyz --out m.joblib").out
        assert "of 10 frames" in out and "Errors on 5 frames of test.xyz" in out  # all of them

    def test_by_fraction(self, skatom):
        out = skatom(f"train salt.xyz {SMALL} --test-fraction 0.25 --n-train 10 --out m.joblib").out
        assert "of 10 frames" in out and "Errors on 6 held-out" in out

    def test_sgdml_can_hold_out_a_block(self, skatom, folder):
        from skatom.datasets import load_ethanol

        data = load_ethanol()
        write(folder / "ethanol.xyz", data.structures[:60].to_ase(data.targets[:60]))
        out = skatom("train ethanol.xyz --split-by block --sigma 10 20 --n-valid 5 --out e.joblib")
        assert "to 50 frames" in out.out and "on 5 validation frames" in out.out


class TestTune:
    def test_says_what_it_chose_and_the_gain(self, skatom, folder):
        out = skatom(f"train salt.xyz {SMALL} --tune 0.3 --out tuned.joblib").out
        assert "Tuning    0.3 minutes" in out and "Chosen    " in out
        assert "Gain      " in out and "meV per atom" in out
        params = joblib.load(folder / "tuned.joblib").get_params()
        # what was set is not searched
        assert params["terms__soap__descriptor__cutoff"] == 3.5
        assert set(params["noise_energy"]) == {"cold", "hot"}

    def test_given_noises_stay(self, skatom, folder):
        skatom(
            f"train salt.xyz {SMALL} --tune 0.001 --noise hot:energy=0.7 forces=0.02 "
            "--out fixed.joblib"
        )
        params = joblib.load(folder / "fixed.joblib").get_params()
        assert params["noise_energy"]["hot"] == 0.7 and params["noise_forces"] == 0.02


class TestLearningCurve:
    LINE = f"train salt.xyz {SMALL} --test-file test.xyz --learning-curve"

    def test_is_in_the_reports(self, skatom, folder):
        out = skatom(f"{self.LINE} --report c.html c.json c.csv --out curve.joblib").out
        assert out.index("Fitting") < out.index("          12 frames: ")
        found = json.loads((folder / "c.json").read_text(encoding="utf-8"))
        assert [(row["n_train"], row["name"]) for row in found["learning_curve"]] == [
            (n, name) for name in ("energy MAE (eV/atom)", "force MAE (eV/Å)") for n in (12, 24)
        ]
        # the last point is the model that was saved
        errors = {row["error"]: row["value"] for row in found["errors"]}
        assert found["learning_curve"][-1]["error"] == pytest.approx(errors["force_mae"], rel=1e-9)
        html = (folder / "c.html").read_text(encoding="utf-8")
        assert "learning curve: force MAE" in html and "learning curve: energy MAE" in html
        assert "learning_curve.3.error," in (folder / "c.csv").read_text(encoding="utf-8")
        assert "learning curve" in found["seconds"]

    def test_goes_on(self, skatom, folder, monkeypatch):
        line = f"{self.LINE} --out curved.joblib"
        monkeypatch.chdir(folder)
        with monkeypatch.context() as patch:
            patch.setattr("skatom.cli.training.judge", _interrupted)
            patch.setattr("skatom.cli.checkpoints.Checkpoints.remove", lambda self: None)
            assert cli.main(line.split()) == 130
        with monkeypatch.context() as patch:  # nothing is fitted again
            patch.setattr(SparseGaussianProcess, "fit", _interrupted)
            out = skatom(f"{line} --resume").out
        assert "Resumed   1 fit of the learning curve" in out
        assert "Resumed   the fit after 24 of 24 frames" in out
        assert not (folder / "curved.joblib.search").exists()

    def test_of_a_molecule(self, skatom, folder):
        from skatom.datasets import load_ethanol

        data = load_ethanol()
        write(folder / "molecule.xyz", data.structures[:60].to_ase(data.targets[:60]))
        out = skatom(
            "train molecule.xyz --n-train 32 --n-valid 10 --sigma 10 20 --learning-curve "
            "--out e.joblib"
        ).out
        sizes = [int(n) for n in re.findall(r"^ +(\d+) frames: ", out, re.MULTILINE)]
        assert sizes == [8, 16, 32]
        errors = [float(x) for x in re.findall(r"([\d.e-]+) eV/Å$", out, re.MULTILINE)]
        assert errors[0] > errors[1] > errors[2]


class TestResume:
    def test_a_search_goes_on(self, skatom, folder, monkeypatch, capsys):
        line = f"train salt.xyz {SMALL} --tune 5 --out again.joblib"
        monkeypatch.chdir(folder)
        with monkeypatch.context() as patch:
            patch.setattr("skatom.recipes.tuning.SearchWithNoises._refined", _interrupted)
            assert cli.main(line.split()) == 130
        (kept,) = (folder / "again.joblib.search").iterdir()
        n_trials = len(json.loads(kept.read_text(encoding="utf-8")))
        assert n_trials > 2
        capsys.readouterr()
        with monkeypatch.context() as patch:  # nothing is tried again
            patch.setattr("skatom.recipes.tuning.SearchWithNoises._evaluated", _interrupted)
            out = skatom(f"{line} --resume").out
        assert f"Resumed   {n_trials} trials of the search" in out
        assert not kept.parent.exists()

    def test_a_fit_goes_on(self, skatom, folder, monkeypatch):
        from skatom.models.sparse import fitting, sparse_gaussian_process

        line = f"train salt.xyz {SMALL} --out part.joblib"
        monkeypatch.setattr(fitting, "_BATCH_ATOMS", 8)
        monkeypatch.chdir(folder)
        learn = fitting.learn

        def interrupted(*arguments):
            for k, found in enumerate(learn(*arguments)):
                if k == 4:
                    raise KeyboardInterrupt
                yield found

        with monkeypatch.context() as patch:
            patch.setattr(sparse_gaussian_process, "learn", interrupted)
            assert cli.main(line.split()) == 130
        out = skatom(f"{line} --resume").out
        assert re.search(r"Resumed   the fit after ([1-9]|1\d) of 22 frames", out)
        skatom(line.replace("part", "whole"))
        for one, other in zip(
            predicted(folder, "part.joblib"), predicted(folder, "whole.joblib"), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-9 * np.abs(other).max())

    def test_the_state_of_a_long_fit_is_kept_meanwhile(self, skatom, folder, monkeypatch):
        from skatom.cli import checkpoints

        kept = []
        monkeypatch.setattr(checkpoints, "_SECONDS", 0.0)
        monkeypatch.setattr(
            checkpoints.Checkpoints, "_write", lambda self, path, write: kept.append(path.suffix)
        )
        skatom(f"train salt.xyz {SMALL} --out long.joblib")
        assert kept == len(kept) * [".joblib"] and kept

    def test_a_full_disk_costs_the_checkpoints_alone(self, skatom, folder, monkeypatch):
        from skatom.cli import checkpoints

        monkeypatch.setattr(checkpoints, "_SECONDS", 0.0)
        with monkeypatch.context() as patch:
            patch.setattr("skatom.cli.training.save", lambda model, path: None)
            patch.setattr("os.fsync", _full_disk)
            err = skatom(f"train salt.xyz {SMALL} --out no_room.joblib").err
        assert err.count("the disk is full") == 1
        assert "the run goes on, but could not be resumed" in err

    def test_a_model_that_has_no_room_is_kept_elsewhere(self, error_of, folder, monkeypatch):
        from skatom._persistence import load_model

        flushes = iter([_full_disk])  # the first file alone
        monkeypatch.setattr("os.fsync", lambda handle: next(flushes, lambda: None)())
        message = error_of(f"train salt.xyz {SMALL} --out no_room.joblib")
        assert "no_room.joblib could not be written: the disk is full" in message
        elsewhere = Path(message.rpartition("the model is in ")[2])
        assert load_model(elsewhere).n_structures_seen_ > 0
        shutil.rmtree(elsewhere.parent)

    def test_without_anything_begins_anew(self, skatom):
        out = skatom(f"train salt.xyz {SMALL} --resume --out new.joblib").out
        assert "Resumed" not in out
        assert "no folder new.joblib.search to resume from: the run begins anew" in out

    def test_counts_what_there_is(self, tmp_path, capsys):
        for n in (1, 2):
            Checkpoints(tmp_path / "m", 0, False).keep_results("trials", dict.fromkeys("ab"[:n]))
            assert len(Checkpoints(tmp_path / "m", 0, True).results("trials")) == n
        assert capsys.readouterr().out == (
            "Resumed   1 trial of the search\nResumed   2 trials of the search\n"
        )

    def test_damaged_files_begin_anew(self, skatom, folder, monkeypatch):
        line = f"train salt.xyz {SMALL} --tune 0.001 --out damaged.joblib"
        monkeypatch.chdir(folder)
        with monkeypatch.context() as patch:
            patch.setattr("skatom.cli.training.save", _interrupted)
            assert cli.main(line.split()) == 130
        for path in (folder / "damaged.joblib.search").iterdir():
            path.write_text("{", encoding="utf-8")
        assert "the trials of the search begin anew" in skatom(f"{line} --resume").err


def _interrupted(*_):
    raise KeyboardInterrupt


def _full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_fields_that_look_like_labels_are_offered(error_of, folder):
    atoms = read(folder / "salt.xyz").structures[:1].to_ase()[0]
    atoms.info["REF_energy"], atoms.arrays["REF_forces"] = -1.0, np.zeros((len(atoms), 3))
    write(folder / "named.xyz", [atoms, atoms])
    message = error_of("train named.xyz --model gap --out m.joblib")
    assert message.endswith("as in --keys energy=REF_energy,forces=REF_forces")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train salt.xyz --model gpa --out m.joblib", "no model 'gpa': did you mean gap?"),
        ("train salt.xyz --model gap --set soap.cutof=5 --out m.joblib", "mean soap.cutoff"),
        ("train salt.xyz --model gap --set cutoff --out m.joblib", "--set cutoff: give NAME=VALUE"),
        ("train salt.xyz --model gap --sigma 3 --out m.joblib", "no setting 'sigma': did you mean"),
        ("train salt.xyz --model gap --set n_sparse=many --out m.joblib", "n_sparse"),
        ("train salt.xyz --model gap --configurations kind --out m.joblib",
         "no frame of salt.xyz has this field; fields: "),
        ("train salt.xyz --model gap --split-by phase --out m.joblib", "fields: config_type, run"),
        ("train salt.xyz --model gap --noise warm:energy=1 --out m.joblib",
         "of the configuration 'warm': there are cold, hot"),
        ("train salt.xyz --model gap --noise heat=1 --out m.joblib", "give noises of energy"),
        ("train salt.xyz --model gap --noise energy=x --out m.joblib", "give noises of energy, "),
        ("train salt.xyz --model gap --index :2 --split-by run --out m.joblib",
         "all frames have the value '0', so none can be held out"),
        ("train salt.xyz --model fchl19 --noise energy=1 --out m.joblib", "fchl19 has no noises"),
        ("train salt.xyz --model gap --labels dipole --out m.joblib", "there are energy, forces"),
        ("train salt.xyz --model gap --keys energy=E --out m.joblib", "there are config_type, run"),
        ("train two.xyz --out m.joblib",
         "frame 2 has other atoms than frame 0, or another order of them, and sgdml is a model of "
         "one molecule: give --model gap"),
        ("train salt.xyz --model gap --n-train 30 --out m.joblib", "has 22 frames that are not"),
        ("train salt.xyz --model gap --n-valid 24 --out m.joblib", "are all of the 24 of salt.xyz"),
        ("train salt.xyz --model gap --test-fraction 2 --out m.joblib", "'2' is not a fraction"),
        ("train salt.xyz --model gap --learning-curve 0 --out m.joblib",
         "'0' is not a positive number of minutes"),
        ("train salt.xyz --model gap --learning-curve --n-valid 0 --out m.joblib",
         "--learning-curve needs frames that took no part: give --n-valid above 0"),
        ("train salt.xyz --model gap --index :16 --learning-curve --out m.joblib",
         "--learning-curve: 14 training frames are too few for parts of them: give 16 or more"),
        ("train salt.xyz --model gap --test-file none.xyz --out m.joblib", "none.xyz"),
        ("train salt.xyz --model gap --tune soon --out m.joblib", "invalid float value: 'soon'"),
        ("train salt.xyz --model gap --threads 0 --out m.joblib", "not a positive whole number"),
        ("train --model gap", "the following arguments are required: DATA, --out"),
        ("train --config none.yaml", "none.yaml"),
        ("train --config salt.xyz", "salt.xyz"),
        ("train --config odd.yaml", "odd.yaml: there is no option 'modle': did you mean model?"),
        ("train --config text.yaml", "text.yaml: n_train is 'many': give a whole number"),
        ("train --config list.yaml", "list.yaml has no options: give lines such as 'model: gap'"),
        ("train --config torn.yaml", "torn.yaml is no YAML: "),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(error_of, folder, line, message):
    for name, text in (
        ("odd", "modle: gap"), ("text", "n_train: many"), ("list", "[1, 2]"), ("torn", "a: [1")
    ):  # fmt: skip
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    assert message in error_of(line)
