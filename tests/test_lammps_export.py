"""Pairs and triangles in the formats of LAMMPS: the files, and LAMMPS with them."""

from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers
from lammps_inputs import by_tag, data_file, in_frame_of_lammps, lammps_is_there
from scipy.interpolate import BSpline

from skatom import Structures, Targets
from skatom.cli import main
from skatom.kernels import NBody
from skatom.lammps.program import open_program
from skatom.models import MappedForceField, NBodyGaussianProcess, PairRepulsion
from skatom.models.nbody import uf3

needs_lammps = pytest.mark.skipif(not lammps_is_there(), reason="LAMMPS is not installed")
PAIRS = NBody(order=2, sigma=0.8, cutoff=3.6)
TRIANGLES = NBody(order=3, sigma=0.9, cutoff=3.1, amplitude=0.1)
CELL = np.array([[5.2, 0.2, 0.0], [1.4, 5.0, 0.3], [-0.9, 0.5, 5.4]])


def crystals(n, symbols="BNBBNNNB", seed=0):
    """Skewed cells of eight atoms near the corners of cubes, with random labels."""
    rng = np.random.default_rng(seed)
    corners = np.array([[x, y, z] for x in (0, 0.5) for y in (0, 0.5) for z in (0, 0.5)])
    structures = Structures.from_ase([
        Atoms(symbols, (corners + rng.uniform(0, 0.06, (8, 3))) @ CELL, cell=CELL, pbc=True)
        for _ in range(n)
    ])  # fmt: skip
    targets = Targets(
        rng.normal(size=n), 0.5 * rng.normal(size=(8 * n, 3)), offsets=structures.offsets
    )
    return structures, targets


def mapped(kernel, symbols="BNBBNNNB", **parameters):
    process = NBodyGaussianProcess(kernel, noise_energy=0.1, noise_forces=0.3, **parameters)
    return MappedForceField.from_fitted(process.fit(*crystals(4, symbols)), n_knots_triangles=64)


@pytest.fixture(scope="module")
def pairs():
    return mapped(PAIRS)


@pytest.fixture(scope="module")
def element(tmp_path_factory):
    """A model of one element, the folder of its files, and the commands."""
    model, folder = mapped(PAIRS + TRIANGLES, 8 * "N"), tmp_path_factory.mktemp("n")
    return SimpleNamespace(model=model, folder=folder, commands=model.write_lammps(folder / "n"))


@pytest.fixture(scope="module")
def compound(tmp_path_factory):
    """The same of two elements, with shorter lines, which are written in a tenth of the time."""
    model, folder = mapped(PAIRS + TRIANGLES), tmp_path_factory.mktemp("bn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uf3, "_LONGEST_LINE", 450)
        commands = model.write_lammps(folder / "bn")
    return SimpleNamespace(model=model, folder=folder, commands=commands)


def read_tables(path):
    """Keywords, parameters and numbers of a table of pairs, as LAMMPS reads them."""
    sections = {}
    for text in path.read_text().split("\n\n", 1)[1].split("\n\n\n"):
        lines = [line for line in text.strip().splitlines() if line]
        while lines:
            keyword, words = lines[0], lines[1].split()
            n = int(words[1])
            sections[keyword] = words, np.array([r.split() for r in lines[2 : 2 + n]], float)
            lines = lines[2 + n :]
    return sections


def read_triangles(path):
    """Knots and coefficients of the blocks 3B of a file, by elements."""
    blocks, lines = {}, iter(path.read_text().splitlines())
    for line in lines:
        words = line.split()
        if words[:1] != ["3B"]:
            continue
        assert words[4:] == ["0", "3", "nk"]
        cutoffs = next(lines).split()
        knots = [np.array(next(lines).split(), float) for _ in range(3)]
        assert [len(k) for k in knots] == [int(n) for n in cutoffs[3:]]
        assert float(cutoffs[0]) == 2 * float(cutoffs[1]) == 2 * float(cutoffs[2])
        shape = [int(n) for n in next(lines).split()]
        rows = [np.array(next(lines).split(), float) for _ in range(shape[0] * shape[1])]
        blocks[tuple(words[1:4])] = knots[::-1], np.array(rows).reshape(shape)
    return blocks


# --- the files ------------------------------------------------------------------------------------


def test_tables_of_pairs_have_the_energies_of_the_model(tmp_path, pairs):
    commands = pairs.write_lammps(tmp_path / "bn", n_points=500)
    assert commands[:2] == ["units metal", "pair_style hybrid/scaled 1.0 table spline 500"]
    assert commands[3] == f"pair_coeff 1 2 table {tmp_path / 'bn.table'} B_N"
    sections = read_tables(tmp_path / "bn.table")
    assert list(sections) == ["B_B", "B_N", "N_N"]
    words, numbers = sections["B_N"]
    np.testing.assert_array_equal(numbers[:, 0], np.arange(1, 501))
    np.testing.assert_allclose(numbers[:, 1], np.linspace(*map(float, words[3:]), 500), rtol=1e-14)
    energies, slopes = pairs.pair_energy(5, 7, numbers[:, 1])
    np.testing.assert_allclose(numbers[:, 2], energies, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(numbers[:, 3], -slopes, rtol=1e-11, atol=1e-12)
    assert numbers[-1, 1] == 3.6
    assert abs(numbers[-1, 2]) < 1e-12
    assert not (tmp_path / "bn.uf3").exists()


def spline_errors(model, blocks):
    """Differences of the energies (eV) of triangles of all blocks of a file."""
    rng = np.random.default_rng(1)
    sides = rng.uniform(1.9, 3.15, size=(400, 3))
    differences, sizes = [], []
    for names, (knots, coefficients) in blocks.items():
        basis = [BSpline.design_matrix(sides[:, x], knots[x], 3).toarray() for x in range(3)]
        rows = np.tensordot(basis[0], coefficients, axes=(1, 0))
        found = 3 * uf3.SCALE * np.einsum("smn,sm,sn->s", rows, *basis[1:], optimize=True)
        expected, _ = model.triangle_energy([atomic_numbers[n] for n in names], sides)
        sizes.append(np.abs(expected).max())
        beyond = sides.max(axis=1) >= 3.1
        assert 0 < beyond.sum() < len(sides)
        np.testing.assert_array_equal(expected[beyond], 0.0)
        differences.append(found - expected)
    assert max(sizes) > 0.01
    return np.concatenate(differences)


def test_splines_of_triangles_are_a_third_of_the_energy_at_each_atom(element):
    path = element.folder / "n.uf3"
    text = path.read_text().splitlines()
    assert 800 < max(map(len, text)) < 1023  # what LAMMPS can read
    assert float(text[0].split(": ")[1].split()[0]) < 1e-5
    assert np.abs(spline_errors(element.model, read_triangles(path))).max() < 1e-6


def test_blocks_of_triangles_have_their_elements_in_order(compound):
    blocks = read_triangles(compound.folder / "bn.uf3")
    assert list(blocks) == [
        ("B", "B", "B"), ("B", "B", "N"), ("B", "N", "N"), ("N", "B", "B"), ("N", "B", "N"),
        ("N", "N", "N"),
    ]  # fmt: skip
    assert np.abs(spline_errors(compound.model, blocks)).max() < 1e-5


# --- LAMMPS ---------------------------------------------------------------------------------------


def started(written, symbols, folder, seed=5):
    atoms, _ = in_frame_of_lammps(crystals(1, symbols, seed)[0].to_ase()[0] * (2, 2, 2))
    atoms.positions += np.random.default_rng(seed).normal(scale=0.02, size=atoms.positions.shape)
    atoms.wrap()
    data = data_file(atoms, folder / "atoms.data", written.model.species_.tolist())
    program = open_program(["-screen", "none", "-log", "none"])
    program.commands_list([
        written.commands[0], "atom_modify map array", "box tilt large", f"read_data {data}",
        *written.commands[1:], "run 0",
    ])  # fmt: skip
    return atoms, program


@needs_lammps
def test_lammps_has_the_energies_forces_and_pressure_of_predict(element, tmp_path):
    atoms, program = started(element, 8 * "N", tmp_path)
    energy, forces, stress = element.model.predict([atoms], return_forces=True, return_stress=True)
    constant = element.model.baseline_.energies(Structures.from_ase([atoms]))[0]
    assert program.get_thermo("pe") == pytest.approx(energy[0] - constant, abs=1e-6 * len(atoms))
    np.testing.assert_allclose(by_tag(program, "f"), forces, atol=1e-5)
    assert np.abs(forces).max() > 0.1
    names = ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")
    found = np.array([program.get_thermo(n) for n in names]) / program.extract_global("nktv2p")
    expected = -stress[0][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    program.close()


@needs_lammps
def test_lammps_tells_elements_apart(compound, tmp_path):
    atoms, program = started(compound, "BNBBNNNB", tmp_path)
    forces = compound.model.predict([atoms], return_forces=True)[1]
    np.testing.assert_allclose(by_tag(program, "f"), forces, atol=1e-4)  # with the shorter lines
    program.close()


@needs_lammps
def test_energy_is_conserved_in_lammps(element, tmp_path):
    atoms, program = started(element, 8 * "N", tmp_path)
    program.commands_list([
        "velocity all create 300 7 loop geom", "timestep 0.0002", "fix nve all nve", "run 0",
    ])  # fmt: skip
    before = program.get_thermo("etotal")
    program.command("run 200")
    assert abs(program.get_thermo("etotal") - before) < 1e-5 * len(atoms)
    program.close()


# --- bad input, and the command line --------------------------------------------------------------


def test_baselines_with_forces_are_refused(tmp_path):
    model = mapped(PAIRS, baseline=["elements", PairRepulsion(cutoff=3.0)])
    with pytest.raises(ValueError, match="baseline of the model has forces, which the files"):
        model.write_lammps(tmp_path / "bn")


def test_energies_that_lines_cannot_hold_are_refused(tmp_path):
    model = mapped(TRIANGLES, 8 * "N")
    (table,) = model.expansion_.tables
    table.coefficients *= 1e9
    with pytest.raises(ValueError, match=r"triangles of N N N are up to .* raise r_min"):
        model.write_lammps(tmp_path / "bn")


def test_the_command_writes_files_and_prints_commands(tmp_path, pairs, capsys):
    joblib.dump(pairs, tmp_path / "bn.joblib")
    assert main(["export", str(tmp_path / "bn.joblib"), "--out", str(tmp_path / "bn")]) == 0
    assert capsys.readouterr().out.startswith("units metal\npair_style hybrid/scaled 1.0 table")
    assert (tmp_path / "bn.table").exists()
    joblib.dump(pairs.baseline_, tmp_path / "baseline.joblib")
    assert main(["export", str(tmp_path / "baseline.joblib"), "--out", "x"]) == 2
    assert "has no equivalent in LAMMPS: run it by skatom lammps" in capsys.readouterr().err
