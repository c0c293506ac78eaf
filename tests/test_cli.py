import errno
import os
import re
import signal
import subprocess
import sys

import joblib
import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.io import read, write
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch

import skatom as package
from skatom import Structures, Targets, cli
from skatom.cli.frames import draw_frames
from skatom.cli.report import describe_symmetry
from skatom.datasets import load_ethanol
from skatom.descriptors import LambdaSOAP
from skatom.metrics import dipole_mae, evaluate, force_mae
from skatom.models import SGDML, TensorKernelRidge

# As in a shell: pytest shows them, Python does not. With numpy 2.5, ASE 3.29 causes many.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ethanol in two formats and a model, as a user might have them."""
    folder = tmp_path_factory.mktemp("cli")
    ethanol = load_ethanol()
    X, y = ethanol.structures[::20], ethanol.targets[::20]
    write(folder / "md.xyz", X.to_ase(y))
    np.savez(
        folder / "md.npz", z=X.numbers[:9], R=X.positions.reshape(-1, 9, 3), E=y.energy,
        F=y.forces.reshape(-1, 9, 3), e_unit="eV", r_unit="Ang",
    )  # fmt: skip
    write(folder / "water.xyz", [molecule("H2O")])
    model = SGDML(random_state=0).fit(X[:40], y[:40])
    joblib.dump(model, folder / "model.joblib")
    return folder


def run(folder, monkeypatch, line):
    monkeypatch.chdir(folder)
    return cli.main(line.split())


@pytest.fixture
def skatom(folder, monkeypatch, capsys):
    """Run a command line that must succeed, and give what it prints."""

    def run_well(line):
        assert run(folder, monkeypatch, line) == 0
        return capsys.readouterr()

    return run_well


@pytest.fixture
def error_of(folder, monkeypatch, capsys):
    """Run a command line that must fail, and give its one line of error."""

    def run_badly(line):
        try:
            code = run(folder, monkeypatch, line)
        except SystemExit as exit:
            code = exit.code
        lines = capsys.readouterr().err.splitlines()
        assert code == 2
        # progress bars may stand before it
        assert [line for line in lines if line.startswith("skatom:")] == lines[-1:]
        assert lines[-1].startswith("skatom: error: ")
        return lines[-1]

    return run_badly


class TestHelp:
    @pytest.mark.parametrize("command", ["", "demo", "train", "evaluate", "predict"])
    def test_is_there_for_every_command(self, command, capsys):
        with pytest.raises(SystemExit) as exit:
            cli.main([*command.split(), "--help"])
        assert exit.value.code == 0
        out = capsys.readouterr().out
        assert "usage: skatom" in out
        assert max(map(len, out.splitlines())) <= 100

    @pytest.mark.parametrize("command", ["evaluate", "predict"])
    def test_warns_of_model_files_from_strangers(self, command, capsys):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert "open only files from people you trust" in capsys.readouterr().out

    def test_loads_nothing_heavy(self):
        code = """if True:
            import sys
            from skatom.cli import main
            try:
                main(["--help"])
            except SystemExit:
                sys.exit(bool({"numpy", "ase", "sklearn", "numba"} & set(sys.modules)))"""
        assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0

    def test_python_m_runs_it(self):
        done = subprocess.run(
            [sys.executable, "-m", "skatom", "train"], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert "the following arguments are required" in done.stderr


class TestTrain:
    @pytest.mark.parametrize("data", ["md.xyz", "md.npz"])
    def test_saves_a_model_and_prints_its_errors(self, skatom, folder, data):
        out = skatom(f"train {data} --n-train 40 --out trained.joblib").out
        model = joblib.load(folder / "trained.joblib")
        assert isinstance(model, SGDML)
        assert "125 frames, the first of C2H6O" in out
        assert "Errors on 85 held-out frames" in out
        for text in ("energy MAE", "force RMSE", "eV/Å", "kcal/mol/Å", "force angle", "degrees"):
            assert text in out

    def test_options_reach_the_model(self, skatom, folder):
        said = skatom(
            "train md.npz --model gdml --n-train 10 --n-valid 5 --sigma 12 --alpha 1e-8 "
            "--energy-constraint --max-memory 1 --seed 3 --out options.joblib"
        )
        assert "Symmetry" not in said.out  # it has none
        model = joblib.load(folder / "options.joblib")
        assert type(model).__name__ == "GDML"
        expected = {"sigma": 12.0, "alpha": 1e-8, "energy_constraint": True, "max_memory": 1.0}
        assert expected.items() <= model.get_params().items()

    def test_picks_the_best_of_several_sigmas(self, skatom, folder):
        printed = skatom("train md.xyz --n-train 30 --sigma 1 15 10000 --out search.joblib")
        assert joblib.load(folder / "search.joblib").sigma == 15.0
        assert "Chosen    sigma 15" in printed.out
        assert "at the edge" not in printed.err
        # 95 frames are left: as many to choose by as to judge on
        assert "47 validation frames" in printed.out
        assert "Errors on 47 held-out frames" in printed.out

    @pytest.mark.parametrize(("sigmas", "side"), [("15 1 0.5", "larger"), ("15 9999", "smaller")])
    def test_warns_at_the_edge_of_the_sigmas(self, skatom, sigmas, side):
        printed = skatom(f"train md.xyz --n-train 30 --sigma {sigmas} --out edge.joblib")
        assert f"sigma 15 is at the edge of those tried: try {side} ones too" in printed.err

    def test_follows_the_seed(self, skatom, folder):
        def trained(seed):
            skatom(f"train md.npz --n-train 20 --seed {seed} --out seed.joblib")
            return joblib.load(folder / "seed.joblib").predict(load_ethanol().structures[:5])

        assert np.array_equal(trained(1), trained(1))
        assert not np.array_equal(trained(1), trained(2))

    def test_trains_on_what_is_not_held_out(self, skatom):
        whole = skatom("train md.npz --index :60 --sigma 15 --out all.joblib").out
        assert "to 54 frames" in whole
        assert "Errors on 6 held-out frames" in whole
        assert "to 50 frames" in skatom("train md.npz --index :60 --n-valid 10 --out m.joblib").out
        several = skatom("train md.npz --index :60 --sigma 10 15 --out m.joblib").out
        assert "to 48 frames" in several
        assert "6 validation frames" in several

    def test_says_that_no_atoms_change_places(self, capsys):
        describe_symmetry(Bunch(numbers_=[6, 8], permutations_=np.array([[0, 1]])))
        assert capsys.readouterr().out == (
            "Symmetry  no permutation of like atoms but the identity\n"
        )

    def test_can_do_without_a_test(self, skatom):
        out = skatom("train md.npz --n-train 125 --n-valid 0 --out all.joblib").out
        assert "Errors" not in out

    def test_leaves_out_unlabelled_frames_and_says_so(self, skatom, folder):
        ethanol = load_ethanol()
        images = ethanol.structures[:60].to_ase(ethanol.targets[:60])
        for atoms in images[::6]:
            del atoms.calc.results["forces"]
        write(folder / "partly.xyz", images)
        out = skatom("train partly.xyz --n-train 20 --out partly.joblib").out
        assert "10 of 60 frames have no forces: left out" in out

    def test_needs_frames_with_all_labels(self, error_of, folder):
        ethanol = load_ethanol()
        images = ethanol.structures[:10].to_ase(ethanol.targets[:10])
        for number, atoms in enumerate(images):
            del atoms.calc.results["forces" if number % 2 else "energy"]
        write(folder / "never_both.xyz", images)
        message = error_of("train never_both.xyz --out m.joblib")
        assert "no frame that is labelled with energy and forces" in message

    def test_learns_from_forces_alone(self, skatom, folder):
        ethanol = load_ethanol()
        images = ethanol.structures[:60].to_ase(ethanol.targets[:60])
        for atoms in images:
            del atoms.calc.results["energy"]
        write(folder / "forces.xyz", images)
        out = skatom("train forces.xyz --n-train 20 --out forces.joblib").out
        assert "force MAE" in out
        assert "energy MAE" not in out

    def test_samples_are_disjoint(self):
        targets = Targets(np.random.default_rng(0).normal(size=100))
        samples = draw_frames(targets, [30, 50, 20], seed=0)
        assert [len(sample) for sample in samples] == [30, 50, 20]
        assert len(np.unique(np.concatenate(samples))) == 100


class TestEvaluate:
    def test_prints_the_figures_of_the_library(self, skatom, folder):
        out = skatom("evaluate model.joblib md.npz").out
        ethanol = load_ethanol()
        X, y = ethanol.structures[::20], ethanol.targets[::20]
        figures = evaluate(joblib.load(folder / "model.joblib"), X, y)
        assert "Errors on 125 frames" in out
        rows = dict(re.findall(r"^  (\S.*?) {2,}(\S.*)$", out, re.MULTILINE))
        energy, ev, other, kcal = rows["energy MAE"].split()
        assert (ev, kcal) == ("eV", "kcal/mol")
        assert float(energy) == pytest.approx(figures["energy_mae"], rel=1e-3)
        assert float(other) == pytest.approx(figures["energy_mae"] * 23.0605, rel=1e-3)
        angle, unit = rows["force angle, mean"].split()
        assert unit == "degrees"
        assert float(angle) == pytest.approx(figures["force_angle_error"] * 180, rel=1e-3)
        assert len(rows) == len(figures)

    def test_judges_dipoles_of_frames_that_have_them(self, skatom, folder):
        ethanol = load_ethanol()
        X, dipoles = ethanol.structures[:20], ethanol.targets.dipole[:20].copy()
        soap = LambdaSOAP(cutoff=3.0, n_max=2, l_max=2)
        model = make_pipeline(soap, TensorKernelRidge("dipole")).fit(X, dipoles)
        joblib.dump(model, folder / "dipole.joblib")
        dipoles[:5] = np.nan
        write(folder / "dipoles.traj", X.to_ase(Targets(dipole=dipoles)))
        out = skatom("evaluate dipole.joblib dipoles.traj").out
        assert "5 of 20 frames have no dipole: left out" in out
        error = dipole_mae(dipoles[5:], model.predict(X[5:]))
        row = next(line for line in out.splitlines() if "dipole MAE" in line).split()
        assert row[-4:][1::2] == ["e·Å", "D"]
        assert float(row[-4]) == pytest.approx(error, rel=1e-3)
        assert float(row[-2]) == pytest.approx(error / units.Debye, rel=1e-3)
        skatom("predict dipole.joblib dipoles.traj --out predicted.traj")
        found = Targets.from_ase(read(folder / "predicted.traj", ":"))
        assert found.dipole == pytest.approx(model.predict(X), abs=1e-6)

    def test_judges_on_so_many_frames(self, skatom):
        assert "Errors on 30 frames" in skatom("evaluate model.joblib md.xyz --n-test 30").out


class TestPredict:
    @pytest.mark.parametrize("suffix", ["xyz", "traj", "extxyz.gz"])
    def test_writes_what_the_model_says(self, skatom, folder, suffix):
        skatom(f"predict model.joblib md.npz --out predictions.{suffix}")
        images = read(folder / f"predictions.{suffix}", ":")
        X = Structures.from_ase(images)
        energy, forces = joblib.load(folder / "model.joblib").predict(X, return_forces=True)
        written = Targets.from_ase(images)
        assert written.energy == pytest.approx(energy, abs=1e-6)
        assert force_mae(written, forces) < 1e-6

    def test_needs_no_labels(self, skatom, folder):
        images = read(folder / "md.xyz", ":5")
        for atoms in images:
            atoms.calc = None
        write(folder / "bare.xyz", images)
        skatom("predict model.joblib bare.xyz --out bare_predictions.xyz")
        assert len(read(folder / "bare_predictions.xyz", ":")) == 5


class TestModelFiles:
    def test_skops_carries_the_same_model(self, skatom, folder):
        pytest.importorskip("skops")
        for suffix in ("skops", "joblib"):
            skatom(f"train md.npz --n-train 20 --n-valid 5 --out same.{suffix}")
            skatom(f"predict same.{suffix} md.npz --out {suffix}.traj")
        first, second = (
            [atoms.get_potential_energy() for atoms in read(folder / f"{name}.traj", ":")]
            for name in ("skops", "joblib")
        )
        assert first == second

    def test_skops_with_something_else_in_it_is_refused(self, error_of, folder):
        sio = pytest.importorskip("skops.io")
        model = SGDML()
        model.sigma = subprocess.Popen
        sio.dump(model, folder / "stranger.skops")
        message = error_of("evaluate stranger.skops md.xyz")
        assert "subprocess.Popen, which no model of skatom needs" in message

    def test_functions_of_skatom_are_refused_too(self, error_of, folder):
        sio = pytest.importorskip("skops.io")
        model = SGDML()
        model.sigma = cli.main
        sio.dump(model, folder / "function.skops")
        assert "skatom.cli.main, which no model" in error_of("evaluate function.skops md.xyz")

    @pytest.mark.parametrize("suffix", ["joblib", "skops"])
    def test_truncated(self, skatom, error_of, folder, suffix):
        pytest.importorskip("skops")
        skatom(f"train md.npz --n-train 20 --n-valid 5 --out whole.{suffix}")
        content = (folder / f"whole.{suffix}").read_bytes()
        (folder / f"cut.{suffix}").write_bytes(content[: len(content) // 2])
        message = error_of(f"evaluate cut.{suffix} md.xyz")
        assert f"cut.{suffix} cannot be read as a model: " in message

    def test_of_another_version(self, error_of, folder, monkeypatch):
        model = joblib.load(folder / "model.joblib")
        with monkeypatch.context() as patch:
            patch.setattr("skatom.base.__version__", "99.1.0")
            joblib.dump(model, folder / "future.joblib")
        message = error_of("evaluate future.joblib md.xyz")
        assert "saved by skatom 99.1.0" in message

    def test_of_something_else(self, error_of, folder):
        joblib.dump({"sigma": 20}, folder / "dict.joblib")
        assert "holds no model but an object of type dict" in error_of(
            "predict dict.joblib md.xyz --out a.xyz"
        )

    def test_not_fitted(self, error_of, folder):
        joblib.dump(DummyRegressor(), folder / "empty.joblib")
        assert "not fitted yet" in error_of("evaluate empty.joblib md.xyz")


class TestReading:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ("", {}),
            (
                "--keys energy=E,forces=gradient:-Ha/bohr --index ::2 --species H O",
                {
                    "keys": "energy=E,forces=gradient:-Ha/bohr",
                    "index": "::2",
                    "species": ["H", "O"],
                },
            ),
        ],
    )
    @pytest.mark.parametrize(
        "command",
        ["train md.xyz --n-train 10 --out read.joblib", "evaluate model.joblib md.xyz",
         "predict model.joblib md.xyz --out read.xyz"],
    )  # fmt: skip
    def test_options_are_handed_on(self, skatom, monkeypatch, command, options, expected):
        given = {}

        def read(path, **options):
            given.update(options, path=path)
            ethanol = load_ethanol()
            return Bunch(structures=ethanol.structures[:40], targets=ethanol.targets[:40], info={})

        monkeypatch.setattr("skatom.datasets.read", read)
        skatom(f"{command} {options}")
        if command.startswith("train"):
            assert given.pop("info") == ["config_type", "group"]
        assert given == {"path": "md.xyz", **expected}


class TestFormatsOfPredictions:
    @pytest.mark.parametrize("name", ["p.cif", "p.pdb", "POSCAR", "p.xsf"])
    def test_that_do_not_hold_results_are_refused_before_the_work(
        self, error_of, folder, name, monkeypatch
    ):
        monkeypatch.setattr(SGDML, "predict", None)
        message = error_of(f"predict model.joblib md.xyz --out {name}")
        assert "would not hold" in message
        assert "forces" in message or "energy" in message
        assert "give a name that ends in .xyz or .traj" in message
        assert not (folder / name).exists()

    def test_the_file_with_the_structures_is_not_overwritten(self, error_of, folder):
        before = (folder / "md.xyz").read_bytes()
        message = error_of("predict model.joblib md.xyz --out ./md.xyz")
        assert "md.xyz is the file with the structures: give --out another name" in message
        assert (folder / "md.xyz").read_bytes() == before

    def test_what_was_there_stays_if_writing_fails(self, error_of, folder, monkeypatch):
        (folder / "old.xyz").write_text("old")
        monkeypatch.setattr("os.fsync", _full_disk)
        assert "old.xyz could not be written: the disk is full" in error_of(
            "predict model.joblib md.xyz --out old.xyz"
        )
        assert (folder / "old.xyz").read_text() == "old"

    def test_energies_without_a_zero_are_warned_of(self, skatom, folder):
        ethanol = load_ethanol()
        X, forces = ethanol.structures[:20], ethanol.targets[:20].forces
        model = SGDML(random_state=0).fit(X, Targets(forces=forces, offsets=X.offsets))
        joblib.dump(model, folder / "relative.joblib")
        err = skatom("predict relative.joblib md.xyz --out relative.xyz").err
        assert "the model learnt no energies" in err


class TestSearchThatIsInterrupted:
    def test_goes_on_after_what_it_has_finished(self, folder, skatom, monkeypatch, capsys):
        line = "train md.xyz --n-train 20 --sigma 10 15 20 --out long.joblib"
        fit, sigmas = SGDML.fit, []

        def interrupted_at_20(self, X, y):
            sigmas.append(self.sigma)
            if self.sigma == 20:
                raise KeyboardInterrupt
            return fit(self, X, y)

        with monkeypatch.context() as patch:
            patch.setattr(SGDML, "fit", interrupted_at_20)
            assert run(folder, patch, line) == 130
            assert capsys.readouterr().err.splitlines()[-1] == "skatom: interrupted"
        assert sigmas == [10, 15, 20]
        damaged, whole = sorted((folder / "long.joblib.search").iterdir())
        damaged.write_bytes(damaged.read_bytes()[:-1])
        resumed = skatom(f"{line} --resume")
        assert resumed.out.count("Resumed   the fit after 20 of 20 frames") == 1
        assert "the fit begins anew" in resumed.err
        assert not (folder / "long.joblib.search").exists()
        expected = skatom(line.replace("long", "at_once")).out
        kept = [row for row in resumed.out.splitlines() if "RMSE" in row or "Chosen" in row]
        assert kept == [row for row in expected.splitlines() if "RMSE" in row or "Chosen" in row]

    def test_of_other_data_is_an_error(self, folder, monkeypatch, capsys):
        line = "train md.xyz --n-train 20 --sigma 10 15 --out other.joblib"
        with monkeypatch.context() as patch:
            patch.setattr("skatom.cli.training.save", _interrupted)
            assert run(folder, patch, line) == 130
        kept = list((folder / "other.joblib.search").iterdir())
        assert len(kept) == 2
        capsys.readouterr()
        assert run(folder, monkeypatch, f"{line} --seed 1 --resume") == 2
        assert "other.joblib.search is of another run" in capsys.readouterr().err
        assert all(path.exists() for path in kept)


class TestEnds:
    @pytest.fixture
    def ends_with(self, folder, monkeypatch, capsys):
        """The exit code and stderr of a command that raises an error."""

        def end(error, *options):
            def fail(path, **_):
                if isinstance(error, int):
                    os.kill(os.getpid(), error)
                raise error

            monkeypatch.setattr("skatom.datasets.read", fail)
            code = run(folder, monkeypatch, " ".join(["evaluate model.joblib md.xyz", *options]))
            return code, capsys.readouterr().err

        return end

    def test_errors_that_are_not_expected_are_one_line_too(self, ends_with):
        code, err = ends_with(KeyError("z"))
        assert code == 2
        assert err == (
            "skatom: error: KeyError: 'z' (this is not expected: --debug shows where it happens)\n"
        )

    def test_debug_shows_where(self, ends_with):
        code, err = ends_with(KeyError("z"), "--debug")
        assert code == 2
        assert err.startswith("Traceback")
        assert "in fail" in err
        assert err.splitlines()[-1].startswith("skatom: error: KeyError: 'z'")

    def test_ctrl_c(self, ends_with):
        assert ends_with(KeyboardInterrupt()) == (130, "skatom: interrupted\n")

    @pytest.mark.skipif(sys.platform == "win32", reason="a signal of POSIX")
    def test_termination(self, ends_with):
        before = signal.getsignal(signal.SIGTERM)
        assert ends_with(signal.SIGTERM) == (143, "skatom: terminated\n")
        assert signal.getsignal(signal.SIGTERM) is before

    def test_a_reader_that_has_gone(self, ends_with):
        assert ends_with(BrokenPipeError()) == (141, "")

    @pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
    def test_a_pipe_that_is_closed_is_quiet(self):
        reader, writer = os.pipe()
        os.close(reader)
        assert _printed_to(writer) == (141, [])

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
    def test_a_full_disk_behind_stdout_is_one_line(self):
        code, lines = _printed_to(os.open("/dev/full", os.O_WRONLY))
        assert code == 2
        assert lines == ["skatom: error: [Errno 28] No space left on device"]

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as exit:
            cli.main(["--version"])
        assert exit.value.code == 0
        assert capsys.readouterr().out == f"skatom {package.__version__}\n"

    def test_text_in_archives_is_one_line(self, error_of, folder):
        with np.load(folder / "md.npz") as content:
            np.savez(folder / "text.npz", **{**content, "E": 30 * ["-1 eV"]})
        error_of("train text.npz --n-train 20 --out m.joblib")


def _printed_to(handle):
    """The exit code and stderr of a process whose command prints a line."""
    code = """if True:
        import sys
        from argparse import ArgumentParser
        from skatom import cli
        parser = ArgumentParser()
        parser.set_defaults(run=lambda _: print("a line"))
        cli.new_parser = lambda: parser
        sys.exit(cli.main([]))"""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=handle, stderr=subprocess.PIPE, text=True
    )
    os.close(handle)
    return done.returncode, done.stderr.splitlines()


def _full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def _interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("train md.xyz", "arguments are required: --out"),
        ("train md.xyz --out m.joblib --n-train many", "'many' is not a number of frames"),
        ("train md.xyz --out m.joblib --model forest", "there is no model 'forest': there are"),
        ("train md.xyz --out m.pickle", "a model file's name ends in .joblib or .skops"),
        ("train md.xyz --out no/m.joblib", "the folder no does not exist"),
        ("train none.xyz --out m.joblib", "none.xyz: no such file"),
        ("train model.joblib --out m.joblib", "ASE cannot read it"),
        ("train water.xyz --out m.joblib", "water.xyz has no labels of energy or forces: there"),
        ("train md.xyz --n-train 500 --out m.joblib", "--n-train 500, but md.xyz has 125 frames"),
        ("train md.xyz --n-train 0 --out m.joblib", "ask for 1 to 125"),
        ("train md.xyz --n-train 125 --out m.joblib", "leaves 0 of 125 frames to hold out"),
        ("train md.xyz --n-train 100 --n-valid 26 --out m.joblib", "lower --n-train or --n-valid"),
        ("train md.xyz --n-train 9 --n-valid 0 --sigma 1 2 --out m.joblib", "to choose by"),
        ("train md.xyz --n-train 9 --sigma -1 --out m.joblib", "sigma"),
        ("train md.xyz --n-train 50 --max-memory 1e-6 --out m.joblib", "max_memory"),
        ("evaluate none.joblib md.xyz", "none.joblib: no such model file"),
        ("evaluate md.xyz md.xyz", "a model file's name ends in .joblib or .skops"),
        ("evaluate model.joblib md.xyz --n-test 126", "cannot draw 126 frames: 125 are available"),
        ("predict model.joblib water.xyz --out p.xyz", "atoms OHH, but fit saw"),
        ("predict model.joblib md.xyz --out p.unknown", "ASE writes no format of this suffix"),
        ("predict model.joblib md.xyz --out no/p.xyz", "there is no folder no"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(error_of, line, message):
    assert message in error_of(line)


def test_demo_ends_with_a_table_a_model_and_a_plot(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("skatom.cli.demonstration.N_TRAINING", 30)
    monkeypatch.setattr("skatom.cli.demonstration.MOST_HELD_OUT", 40)
    assert cli.main(["demo", "--out-dir", str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert "6 permutations of like atoms" in out
    assert "Errors on 40 held-out frames" in out
    assert "skatom train" in out
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "ethanol.joblib",
        "ethanol_forces.png",
    }
