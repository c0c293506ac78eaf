"""Commands that move atoms: they do what the functions do, and end in one line."""

import errno
import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.io import read, write
from ase.io.trajectory import TrajectoryWriter
from pair_model import binding_pair_potential
from sklearn.dummy import DummyRegressor

from skatom import cli, save_model
from skatom.mechanics import bulk_modulus
from skatom.simulation import molecular_dynamics, phonons, relax

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MODEL = binding_pair_potential()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model and structures, as a user might have them."""
    save_model(MODEL, tmp_path / "m.joblib")
    crystal = bulk("Ar", a=2.45)
    write(tmp_path / "crystal.xyz", crystal)
    rattled = crystal * (2, 1, 1)
    rattled.rattle(0.05, seed=0)
    rattled.info["REF_energy"] = -1.0
    dimers = [Atoms("Ar2", [[0, 0, 0], [x, 0, 0]]) for x in (1.6, 2.0)]
    write(tmp_path / "rattled.traj", rattled)
    write(tmp_path / "dimers.xyz", dimers)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """Run a command line that must succeed, and give what it prints."""

    def succeed(line):
        assert cli.main(line.split()) == 0, capsys.readouterr().err
        return capsys.readouterr()

    return succeed


@pytest.fixture
def killed_after(monkeypatch, capsys):
    """Run a command that is interrupted when so many frames are written."""

    def kill(line, n_frames):
        write_frame, count = TrajectoryWriter.write, [0]

        def limited(self, *args, **kwargs):
            count[0] += 1
            if count[0] > n_frames:
                raise KeyboardInterrupt
            return write_frame(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(TrajectoryWriter, "write", limited)
            assert cli.main(line.split()) == 130
        assert capsys.readouterr().err.splitlines()[-1] == "skatom: interrupted"

    return kill


@pytest.mark.parametrize("command", ["relax", "md", "phonons", "eos", "neb"])
def test_help_says_units_and_fits_the_screen(command, capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main([command, "--help"])
    assert exit.value.code == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    units = {"relax": "eV/Å", "md": "fs", "phonons": "THz", "eos": "GPa", "neb": "eV/Å"}
    assert units[command] in out


class TestRelax:
    def test_writes_minima_with_their_results(self, run, folder):
        printed = run("relax m.joblib dimers.xyz --fmax 0.001 --out minima.xyz")
        assert "0: Ar2" in printed.out
        assert "relaxation" in printed.err  # progress
        first, second = read("minima.xyz", ":")
        assert first.get_distance(0, 1) == pytest.approx(second.get_distance(0, 1), abs=1e-2)
        assert abs(second.get_forces()).max() < 1e-3
        assert second.get_potential_energy() == pytest.approx(MODEL.predict([second])[0], abs=1e-6)
        assert not (folder / "minima.xyz.steps").exists()

    def test_of_a_cell_gives_its_stress_and_drops_old_labels(self, run, folder):
        out = run("relax m.joblib rattled.traj --cell --fmax 0.01 --out r.xyz --plot r.png").out
        found = read("r.xyz")
        assert abs(found.get_stress()).max() < 0.01
        assert "REF_energy" not in found.info
        assert "Å³" in out
        assert (folder / "r.png").stat().st_size > 1000

    def test_holds_fixed_atoms(self, run, folder):
        atoms = read("rattled.traj")
        atoms.set_constraint(FixAtoms([0]))
        write("fixed.traj", atoms)
        run("relax m.joblib fixed.traj --out fixed_relaxed.traj --fmax 0.01")
        found = read("fixed_relaxed.traj")
        np.testing.assert_array_equal(found.positions[0], atoms.positions[0])
        assert abs(found.positions[1] - atoms.positions[1]).max() > 1e-3

    def test_goes_on_after_an_interruption(self, run, folder, killed_after):
        line = "relax m.joblib dimers.xyz --fmax 1e-4 --out x.xyz"
        steps = relax(MODEL, read("dimers.xyz", 0), fmax=1e-4).steps
        killed_after(line, steps + 4)  # in the second structure
        assert {p.name for p in (folder / "x.xyz.steps").iterdir()} == {"0.traj", "1.traj"}
        run(f"{line} --resume --trajectory x.xyz.steps")
        assert len(read("x.xyz", ":")) == 2
        assert read("x.xyz.steps/0.traj", ":")[-1].info["step"] == steps
        kept = [atoms.info["step"] for atoms in read("x.xyz.steps/1.traj", ":")]
        assert kept == list(range(len(kept)))

    def test_that_does_not_end_is_a_warning(self, run):
        err = run("relax m.joblib dimers.xyz --steps 1 --fmax 1e-6 --out x.xyz").err
        assert "structure 1 is not relaxed after 1 steps: raise --steps" in err


class TestMD:
    LINE = "md m.joblib rattled.traj --steps 20 --interval 5 --temperature 80 --timestep 2"

    @pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt"])
    def test_that_is_interrupted_gives_the_same_trajectory(self, run, killed_after, ensemble):
        if ensemble == "npt":
            pytest.importorskip("ase.md.langevinbaoab")
        line = f"{self.LINE} --ensemble {ensemble} --seed 3"
        whole = run(f"{line} --out a.traj --plot a.png").out
        assert "done in" in whole
        assert "temperature" in whole
        assert ("total energy constant to" in whole) == (ensemble == "nve")
        assert ("volume" in whole) == (ensemble == "npt")
        killed_after(f"{line} --out b.traj", 3)
        run(f"{line} --out b.traj --resume")
        a, b = read("a.traj", ":"), read("b.traj", ":")
        assert [atoms.info["step"] for atoms in b] == [0, 5, 10, 15, 20]
        for one, other in zip(a, b, strict=True):
            np.testing.assert_allclose(one.positions, other.positions, atol=1e-10)
            np.testing.assert_allclose(one.get_momenta(), other.get_momenta(), atol=1e-10)

    def test_goes_on_after_a_full_disk(self, run, monkeypatch, capsys):
        write_frame, count = TrajectoryWriter.write, [0]

        def full_after_three(self, *args, **kwargs):
            count[0] += 1
            if count[0] > 3:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write_frame(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(TrajectoryWriter, "write", full_after_three)
            assert cli.main(f"{self.LINE} --out full.traj".split()) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert "full.traj could not be written: the disk is full; its earlier frames are" in message
        assert len(read("full.traj", ":")) == 3
        run(f"{self.LINE} --out full.traj --resume")
        assert [atoms.info["step"] for atoms in read("full.traj", ":")] == [0, 5, 10, 15, 20]

    def test_is_that_of_the_function(self, run):
        run(f"{self.LINE} --out a.traj")
        expected = molecular_dynamics(
            MODEL, read("rattled.traj"), 20, interval=5, temperature=80.0, timestep=2.0
        )
        energies = [atoms.get_potential_energy() for atoms in read("a.traj", ":")]
        np.testing.assert_allclose(energies, expected.potential, atol=1e-12)

    def test_begins_anew_without_resume(self, run):
        run(f"{self.LINE} --out a.traj")
        run(f"{self.LINE} --out a.traj")
        assert len(read("a.traj", ":")) == 5


class TestPhononsEosNeb:
    def test_phonons_are_written_as_numbers(self, run, folder):
        line = "phonons m.joblib crystal.xyz --supercell 2 2 2 --path GX --out p.json --plot p.png"
        out = run(line).out
        assert "in a supercell of 2 × 2 × 2" in out
        found = json.loads((folder / "p.json").read_text())
        expected = phonons(MODEL, read("crystal.xyz"), (2, 2, 2), path="GX")
        np.testing.assert_allclose(found["frequencies"][1:], expected.frequencies[1:], rtol=1e-6)
        assert found["units"]["frequencies"] == "THz"
        assert [name for _, name in found["labels"]] == ["G", "X"]
        assert (folder / "p.png").exists()
        assert not (folder / "p.json.forces").exists()

    def test_eos_prints_the_bulk_modulus(self, run, folder):
        out = run("eos m.joblib crystal.xyz --strain 0.02 --points 7 --out e.xyz --plot e.svg").out
        expected = bulk_modulus(MODEL, read("crystal.xyz"), 0.02, 7)
        assert f"bulk modulus   {expected.value:.5g} GPa" in out
        images = read("e.xyz", ":")
        energies = [atoms.get_potential_energy() for atoms in images]
        np.testing.assert_allclose(energies, expected.energies, atol=1e-6)
        assert (folder / "e.svg").read_text().startswith("<?xml")

    def test_neb_goes_on_and_writes_the_path(self, run, folder, killed_after):
        base = 1.1 * np.array([[1, 0, 0], [-0.5, 0.75**0.5, 0], [-0.5, -(0.75**0.5), 0]])
        for name, z in (("a", -1.4), ("b", 1.4)):
            write(f"{name}.xyz", Atoms("Ar4", [*base, [0, 0, z]]))
        line = "neb m.joblib a.xyz b.xyz --images 5 --out path.xyz --plot path.png"
        killed_after(line, 12)
        out = run(f"{line} --resume").out
        barriers = [float(word) for word in out.split("barrier ")[1].split()[:4:3]]
        assert barriers[0] == pytest.approx(barriers[1], abs=1e-3)
        energies = [atoms.get_potential_energy() for atoms in read("path.xyz", ":")]
        assert max(energies) - energies[0] == pytest.approx(barriers[0], abs=1e-3)
        assert {p.name for p in folder.glob("path*")} == {"path.xyz", "path.png"}


class TestBadInput:
    @pytest.fixture(autouse=True)
    def others(self, folder):
        save_model(DummyRegressor().fit([[0]], [0.0]), folder / "energies.joblib")
        write("water.xyz", molecule("H2O"))

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("relax m.joblib none.xyz --out a.xyz", "none.xyz: no such file"),
            ("relax m.joblib dimers.xyz --out a.cif", "would not hold"),
            ("relax m.joblib dimers.xyz --out dimers.xyz", "is the file with the structures"),
            ("relax m.joblib dimers.xyz --out no/a.xyz", "there is no folder no"),
            ("relax m.joblib dimers.xyz --out a.xyz --cell", "cannot be relaxed: leave cell out"),
            ("relax m.joblib dimers.xyz --out a.xyz --plot a.png", "has 2 structures: choose one"),
            ("relax m.joblib crystal.xyz --out a.xyz --plot a.doc", "a.doc: plots are written as"),
            ("relax m.joblib crystal.xyz --out a.xyz --max-std 1", "gives no standard deviations"),
            ("relax energies.joblib crystal.xyz --out a.xyz", "but no forces, which this needs"),
            ("md m.joblib dimers.xyz --steps 5 --out a.traj", "several structures: choose one"),
            ("md m.joblib crystal.xyz --steps 5 --out a.xyz", "name ends in .traj, which keeps"),
            ("md m.joblib crystal.xyz --out a.traj", "arguments are required: --steps"),
            ("md m.joblib rattled.traj --steps 5 --out rattled.traj", "give --out another name"),
            ("md m.joblib crystal.xyz --steps 5 --ensemble nvt --out a.traj", "a temperature in K"),
            ("phonons m.joblib crystal.xyz --out a.csv", "to a name that ends in .json"),
            ("phonons m.joblib water.xyz --out a.json", "structure that is periodic"),
            ("eos m.joblib water.xyz", "periodic in three directions"),
            ("neb m.joblib crystal.xyz --out a.xyz", "needs two structures, but crystal.xyz has 1"),
            ("neb m.joblib water.xyz crystal.xyz --out a.xyz", "give the same atoms in the same"),
        ],
    )  # fmt: skip
    def test_is_one_line_and_exit_code_2(self, line, message, capsys):
        try:
            code = cli.main(line.split())
        except SystemExit as exit:
            code = exit.code
        lines = capsys.readouterr().err.splitlines()
        assert code == 2
        assert lines[-1].startswith("skatom: error: ")
        assert message in lines[-1]

    def test_another_temperature_does_not_resume(self, run, folder, capsys):
        line = "md m.joblib crystal.xyz --steps 2 --ensemble nvt --out a.traj --temperature"
        run(f"{line} 100")
        before = (folder / "a.traj").read_bytes()
        assert cli.main(f"{line} 200 --resume".split()) == 2
        assert "begun with temperature=100.0, not 200.0" in capsys.readouterr().err
        assert (folder / "a.traj").read_bytes() == before
