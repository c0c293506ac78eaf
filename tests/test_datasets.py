"""The embedded data are what they claim to be, and files of many layouts are read alike."""

import bz2
import gzip
import io
import lzma
from importlib.resources import files

import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from skatom.datasets import load_benzene, load_boron_nitride, load_ethanol, read

KCAL_PER_MOL = units.kcal / units.mol
LOADERS = {
    "ethanol": (load_ethanol, 2500, 9),
    "benzene": (load_benzene, 1500, 12),
    "boron_nitride": (load_boron_nitride, 360, 64),
}
all_sets = pytest.mark.parametrize("name", LOADERS)


def embedded_arrays(name):
    return np.load(files("skatom.datasets") / "data" / f"{name}.npz")


def frames(array, n):
    return array.reshape(n, -1, 3)


# --- embedded data -------------------------------------------------------------------------------


@all_sets
def test_loader_gives_what_it_says(name):
    load, n, n_atoms = LOADERS[name]
    data = load()
    assert len(data.structures) == len(data.targets) == n
    assert (data.structures.n_atoms == n_atoms).all()
    assert data.targets.energy.shape == (n,)
    assert data.targets.forces.shape == (n * n_atoms, 3)
    assert (data.targets.stress is None) == (name != "boron_nitride")
    assert data.structures.pbc.all() == (name == "boron_nitride")
    assert f"skatom.datasets.generate {name}" in data.DESCR


@all_sets
def test_net_force_vanishes(name):
    load, n, _ = LOADERS[name]
    net = frames(load().targets.forces, n).sum(axis=1)
    assert np.abs(net).max() < 2e-5


@all_sets
def test_no_two_frames_are_the_same(name):
    load, n, _ = LOADERS[name]
    assert len(np.unique(frames(load().structures.positions, n), axis=0)) == n


@pytest.mark.parametrize(
    ("name", "tolerance"), [("ethanol", 2e-6), ("benzene", 2e-6), ("boron_nitride", 2e-4)]
)
def test_forces_are_the_gradient_of_the_energy(name, tolerance):
    arrays = embedded_arrays(name)
    steps = arrays["check_displacement"]
    slope = -np.einsum("kia,kia->k", arrays["F"][arrays["check_frame"]], steps)
    difference = np.diff(arrays["check_energy"][:, ::-1])[:, 0] / 2
    length = np.linalg.norm(steps, axis=(1, 2))
    assert len(length) == 8
    np.testing.assert_allclose(slope / length, difference / length, rtol=0, atol=tolerance)
    assert np.abs(slope / length).max() > 0.5


def test_stress_is_the_derivative_by_strain_with_tension_positive():
    arrays = embedded_arrays("boron_nitride")
    data = load_boron_nitride()
    chosen, strains = arrays["check_frame"], arrays["check_strain"]
    volumes = np.linalg.det(data.structures.cells[chosen])
    slope = np.einsum("kab,kab->k", data.targets.stress[chosen], strains)
    difference = np.diff(arrays["check_strain_energy"][:, ::-1])[:, 0] / 2 / volumes
    size = np.linalg.norm(strains, axis=(1, 2))
    np.testing.assert_allclose(slope / size, difference / size, rtol=0, atol=1e-5)
    assert np.abs(slope / size).max() > 0.05


@pytest.mark.parametrize("name", ["ethanol", "benzene"])
def test_energies_spread_as_at_500_kelvin(name):
    """The potential energy of 3N − 6 classical oscillators: a spread of kT √((3N − 6)/2)."""
    load, _, n_atoms = LOADERS[name]
    expected = 500 * units.kB * np.sqrt((3 * n_atoms - 6) / 2)
    assert load().targets.energy.std() == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize("name", ["ethanol", "benzene"])
def test_frames_are_nearly_uncorrelated(name):
    energy = LOADERS[name][0]().targets.energy
    deviation = energy - energy.mean()
    assert np.mean(deviation[1:] * deviation[:-1]) < 0.4 * energy.var()


def test_boron_nitride_is_compressed_where_it_is_small():
    data = load_boron_nitride()
    volumes = np.linalg.det(data.structures.cells[:60])
    tension = np.trace(data.targets.stress[:60], axis1=1, axis2=2)
    assert np.corrcoef(volumes, tension)[0, 1] > 0.95


# --- npz -----------------------------------------------------------------------------------------


@pytest.fixture
def water():
    """Four frames of water in eV and Å, as the arrays of an npz file."""
    rng = np.random.default_rng(0)
    atoms = molecule("H2O")
    return {
        "z": atoms.numbers.astype(np.uint8),
        "R": atoms.positions + rng.normal(scale=0.05, size=(4, 3, 3)),
        "E": rng.normal(size=4),
        "F": rng.normal(size=(4, 3, 3)),
        "r_unit": "Ang",
        "e_unit": "eV",
    }


@pytest.fixture
def save(tmp_path):
    """Write arrays to an npz file and return its path."""

    def save_arrays(arrays):
        np.savez(tmp_path / "file.npz", **arrays)
        return tmp_path / "file.npz"

    return save_arrays


def test_sgdml_and_md17_spellings_are_one(water, save):
    spellings = {"z": "nuclear_charges", "R": "coords", "E": "energies", "F": "forces"}
    other = {spellings.get(name, name): array for name, array in water.items()}
    for arrays in (water, other):
        data = read(save(arrays))
        assert (frames(data.structures.positions, 4) == water["R"]).all()
        assert (data.structures.numbers == np.tile(water["z"], 4)).all()
        assert (data.targets.energy == water["E"]).all()
        assert (frames(data.targets.forces, 4) == water["F"]).all()


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("eV", 1.0),
        ("kcal/mol", KCAL_PER_MOL),
        (b"kcal/mol", KCAL_PER_MOL),
        ("kJ/mol", KCAL_PER_MOL / 4.184),
        ("Hartree", units.Hartree),
        ("Ha", units.Hartree),
    ],
)
def test_units_of_energy(water, save, unit, factor):
    data = read(save(water | {"e_unit": unit}))
    np.testing.assert_allclose(data.targets.energy, water["E"] * factor, rtol=1e-9)
    np.testing.assert_allclose(frames(data.targets.forces, 4), water["F"] * factor, rtol=1e-9)


def test_units_of_length(water, save):
    data = read(save(water | {"r_unit": "Bohr"}))
    np.testing.assert_allclose(frames(data.structures.positions, 4), water["R"] * units.Bohr)
    np.testing.assert_allclose(frames(data.targets.forces, 4), water["F"] / units.Bohr)


def test_without_units_it_is_kcal_per_mol_and_angstrom(water, save):
    del water["e_unit"], water["r_unit"]
    data = read(save(water))
    np.testing.assert_allclose(data.targets.energy, water["E"] * KCAL_PER_MOL)
    np.testing.assert_allclose(frames(data.structures.positions, 4), water["R"])


def test_energies_may_be_a_column(water, save):
    data = read(save(water | {"E": water["E"][:, None]}))
    assert (data.targets.energy == water["E"]).all()


def test_lattice_vectors_are_columns(water, save):
    lattice = np.array([[8.0, 1.0, 0.5], [0.0, 9.0, 0.7], [0.0, 0.0, 7.0]])
    stress = np.arange(36.0).reshape(4, 3, 3)
    stress += stress.transpose(0, 2, 1)
    data = read(save(water | {"lattice": lattice, "stress": stress, "r_unit": "Bohr"}))
    assert data.structures.pbc.all()
    np.testing.assert_allclose(data.structures.cells, np.stack([lattice.T * units.Bohr] * 4))
    np.testing.assert_allclose(data.targets.stress, stress / units.Bohr**3)
    one_each = read(save(water | {"lattice": np.stack([lattice] * 4), "r_unit": "Bohr"}))
    np.testing.assert_array_equal(one_each.structures.cells, data.structures.cells)


def test_zeros_pad_molecules_of_different_sizes(water, save):
    water["z"] = np.array([[8, 1, 1], [8, 1, 0], [1, 1, 0], [2, 0, 0]])
    data = read(save(water))
    assert data.structures.n_atoms.tolist() == [3, 2, 2, 1]
    assert data.structures.numbers.tolist() == [8, 1, 1, 8, 1, 1, 1, 2]
    assert (data.structures[2].positions == water["R"][2, :2]).all()
    assert (data.targets[2].forces == water["F"][2, :2]).all()


def test_keys_name_other_fields(water, save):
    water["E_pbe0"] = water["E"] + 1
    water["xyz"] = water.pop("R")
    data = read(save(water), keys={"energy": "E_pbe0", "positions": "xyz"})
    assert (data.targets.energy == water["E"] + 1).all()
    assert "E_pbe0" in data.DESCR


def test_structures_alone_have_no_targets(water, save, tmp_path):
    assert read(save({"z": water["z"], "R": water["R"]})).targets is None
    molecule("H2O").write(tmp_path / "water.xyz")
    assert read(tmp_path / "water.xyz").targets is None


# --- files that ASE reads ------------------------------------------------------------------------


@pytest.fixture
def crystals():
    """Three labelled crystals; energies also under another name."""
    rng = np.random.default_rng(1)
    images = []
    for n in (1, 2, 3):
        atoms = bulk("SiC", "zincblende", a=4.36) * (n, 1, 1)
        atoms.rattle(0.1, rng=rng)
        atoms.info["E_dft"] = -7.0 * n
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=rng.normal(),
            forces=rng.normal(size=(2 * n, 3)),
            stress=rng.normal(size=6),
        )
        images.append(atoms)
    return images


def extended_xyz(images):
    text = io.StringIO()
    write(text, images, format="extxyz")
    return text.getvalue().encode()


COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.filterwarnings("ignore:these fields look like labels")
@pytest.mark.parametrize("suffix", COMPRESS)
def test_extended_xyz_is_read_compressed_or_not(crystals, tmp_path, suffix):
    path = tmp_path / f"crystals.xyz{suffix}"
    path.write_bytes(COMPRESS[suffix](extended_xyz(crystals)))
    data = read(str(path))
    assert data.structures.n_atoms.tolist() == [2, 4, 6]
    for atoms, one, labels in zip(crystals, data.structures, data.targets, strict=True):
        np.testing.assert_allclose(one.positions, atoms.positions, atol=1e-7)
        np.testing.assert_allclose(one.cells[0], atoms.cell.array, atol=1e-7)
        assert labels.energy[0] == pytest.approx(atoms.get_potential_energy())
        np.testing.assert_allclose(labels.forces, atoms.get_forces(), atol=1e-7)
        np.testing.assert_allclose(labels.stress[0], atoms.get_stress(voigt=False), atol=1e-7)


def test_other_formats_are_told_by_the_inner_suffix(crystals, water, save, tmp_path):
    bulk("Si").write(tmp_path / "silicon.cif")
    (tmp_path / "silicon.cif.gz").write_bytes(
        gzip.compress((tmp_path / "silicon.cif").read_bytes())
    )
    assert len(read(tmp_path / "silicon.cif.gz").structures) == 1
    (tmp_path / "water.npz.xz").write_bytes(lzma.compress(save(water).read_bytes()))
    assert (read(tmp_path / "water.npz.xz").targets.energy == water["E"]).all()


def test_keys_name_info_entries(crystals, tmp_path):
    path = tmp_path / "crystals.xyz"
    path.write_bytes(extended_xyz(crystals))
    assert read(path, keys={"energy": "E_dft"}).targets.energy.tolist() == [-7, -14, -21]


# --- errors --------------------------------------------------------------------------------------


def fails(path, *parts, **options):
    """Reading raises one sentence that names the file and has all the parts."""
    with pytest.raises(ValueError) as error:
        read(path, **options)
    for part in (str(path), *parts):
        assert part in str(error.value)


def test_missing_file():
    with pytest.raises(FileNotFoundError, match="nowhere.npz: no such file"):
        read("nowhere.npz")


def test_truncated_npz(water, save):
    path = save(water)
    path.write_bytes(path.read_bytes()[:-200])
    fails(path, "truncated", "fetch it again")


def test_npz_with_damaged_array(water, save):
    path = save(water)
    content = path.read_bytes()
    start = content.index(b"R.npy") + 200
    path.write_bytes(content[:start] + bytes(40) + content[start + 40 :])
    fails(path, "field 'R' cannot be read")


def test_npz_with_python_objects(water, save):
    fails(save(water | {"E": np.array([1, 2, 3, None])}), "field 'E'", "not of Python objects")


def test_npz_without_positions_or_numbers(water, save):
    fails(save({"z": water["z"], "frac": water["R"]}), "no positions", "R or coords", "z, frac")
    fails(save({"R": water["R"]}), "no numbers", "z or nuclear_charges")


def test_unknown_unit(water, save):
    fails(save(water | {"e_unit": "furlong"}), "unknown unit 'furlong'", "kcal/mol", "Hartree")
    fails(save(water | {"r_unit": "parsec"}), "unknown unit 'parsec'", "Bohr")


def test_absent_key(water, save, crystals, tmp_path):
    fails(save(water), "no field 'E_dft'", "z, R, E, F", keys={"energy": "E_dft"})
    with pytest.raises(ValueError, match="unknown charge in keys; known are energy.*dipole"):
        read(save(water), keys={"charge": "E"})
    path = tmp_path / "crystals.xyz"
    path.write_bytes(extended_xyz(crystals))
    fails(path, "no field 'E_pbe'", "E_dft", keys={"energy": "E_pbe"})


@pytest.mark.parametrize(
    ("what", "field", "shape"),
    [
        ("energy", "E", (3,)),
        ("forces", "F", (4, 2, 3)),
        ("numbers", "z", (2,)),
        ("positions", "R", (4, 9)),
        ("lattice", "lattice", (3,)),
    ],
)
def test_mismatched_shapes(water, save, what, field, shape):
    fails(save(water | {field: np.ones(shape)}), what, "the shape", str(shape))


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_truncated_compressed_file(crystals, tmp_path, suffix):
    path = tmp_path / f"crystals.xyz{suffix}"
    path.write_bytes(COMPRESS[suffix](extended_xyz(crystals))[:-100])
    fails(path, "cannot be decompressed", "fetch it again")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_file_that_is_not_compressed_as_its_name_says(crystals, tmp_path, suffix):
    path = tmp_path / f"crystals.xyz{suffix}"
    path.write_bytes(extended_xyz(crystals))
    fails(path, "cannot be decompressed")


@pytest.mark.parametrize("content", [b"", b"garbage\n\x00\xff", b"3\nno atoms follow\nH 0 0 0\n"])
def test_garbage_or_truncated_xyz(tmp_path, content):
    path = tmp_path / "garbage.xyz"
    path.write_bytes(content)
    fails(path, "truncated")


def test_unknown_format(tmp_path):
    path = tmp_path / "notes.qqq"
    path.write_text("nothing of the kind")
    fails(path, "ASE cannot read it")


def test_structures_that_make_no_sense_are_blamed_on_their_file(water, save):
    water["R"][1, 0, 0] = np.nan
    fails(save(water), "structure 1, atom 0")


# --- real data -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:these fields look like labels")
@pytest.mark.thorough
def test_all_public_files_are_read(reference_data):
    paths = sorted(path for folder in reference_data.glob("*/") for path in folder.glob("*.*z"))
    assert paths
    for path in paths:
        if path.name != "perov5_test.npz":
            assert len(read(path).structures) > 0


@pytest.mark.parametrize(
    ("name", "n", "names", "mean_energy"),
    [
        ("molecules/md17_ethanol.npz", 2000, ["energy", "forces"], -4214.8),
        ("molecules/rmd17_ethanol_train.npz", 1000, ["energy", "forces"], -4209.6),
        ("mlearn/mlearn_Si_test.xyz.xz", 25, ["energy", "forces", "stress"], -309.22),
    ],
)
def test_public_energies(name, n, names, mean_energy, reference_data):
    data = read(reference_data / name)
    assert len(data.structures) == n
    assert data.targets.names == names
    assert data.targets.energy.mean() == pytest.approx(mean_energy, rel=1e-4)


def test_qm7_is_ragged(reference_data):
    data = read(reference_data / "molecules" / "qm7.npz", keys={"energy": "E_pbe0"})
    with np.load(reference_data / "molecules" / "qm7.npz") as arrays:
        assert (data.structures.n_atoms == arrays["n_atoms"]).all()
    assert data.targets.energy.min() == pytest.approx(-95, abs=5)


def test_fractional_coordinates_are_not_guessed(reference_data):
    fails(reference_data / "periodic" / "perov5_test.npz", "no positions", "frac")


@pytest.mark.parametrize(("load", "size"), [(load_ethanol, 0.3), (load_benzene, 0.03)])
def test_dipoles_of_molecules_are_small_vectors(load, size):
    """Ethanol's is about 0.35 e·Å; that of benzene comes from its vibrations alone."""
    dipole = load().targets.dipole
    assert size < np.linalg.norm(dipole, axis=1).mean() < 2 * size
