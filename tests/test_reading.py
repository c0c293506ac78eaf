"""Every label of a file is read or named, nothing is made up, and nothing is lost on the way."""

import codecs
import gzip
import io
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

from skatom.datasets import read

KCAL_PER_MOL = units.kcal / units.mol
FACTORS = {
    "energy": {"eV": 1.0, "meV": 1e-3, "Ha": units.Hartree, "Ry": units.Rydberg, "hartree": 27.2114,
               "kcal/mol": KCAL_PER_MOL, "kJ/mol": KCAL_PER_MOL / 4.184, "-eV": -1.0},
    "forces": {"eV/Ang": 1.0, "-Ha/bohr": -51.4220675, "Ry/bohr": 25.7110337,
               "kcal/mol/Ang": KCAL_PER_MOL, "kcal mol^-1 Å^-1": KCAL_PER_MOL, "eV/nm": 0.1},
    "stress": {"eV/Ang^3": 1.0, "GPa": 1 / 160.21766, "-kbar": -0.1 / 160.21766,
               "Ha/bohr^3": 183.631535, "eV/Å³": 1.0, "Ry/bohr**3": 91.8157677},
    "dipole": {"e*Ang": 1.0, "Debye": 0.20819434, "e*bohr": units.Bohr},
    "polarizability": {"Ang^3": 1.0, "bohr^3": 0.148184711, "a0^3": 0.148184711},
    "dipole_norm": {"e*Ang": 1.0, "Debye": 0.20819434},
    "charges": {"e": 1.0, "-e": -1.0},
}  # fmt: skip


def quietly(*args, **options):
    """Read, where a warning is an error, but for those of a numpy that is newer than ASE."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        return read(*args, **options)


def ours(caught):
    """Warnings to users: a numpy that is newer than ASE warns programmers."""
    return [warning for warning in caught if warning.category is UserWarning]


def refused(path, *parts, **options):
    """Reading raises one sentence that names the file and has all the parts."""
    with pytest.raises(ValueError) as error:
        read(path, **options)
    for part in (str(path), *parts):
        assert part in str(error.value)


@pytest.fixture
def crystals():
    """Five crystals of one to three cells with labels of all kinds, as a dict by label."""
    rng = np.random.default_rng(1)
    images, labels = [], []
    for n in (1, 2, 3, 1, 2):
        atoms = bulk("SiC", "zincblende", a=4.36) * (n, 1, 1)
        atoms.rattle(0.1, rng=rng)
        stress = rng.normal(size=(3, 3))
        labels.append({
            "energy": rng.normal(),
            "forces": rng.normal(size=(2 * n, 3)),
            "stress": stress + stress.T,
            "dipole": rng.normal(size=3),
        })  # fmt: skip
        images.append(atoms)
    return images, labels


def with_results(crystals):
    images, labels = crystals
    for atoms, results in zip(images, labels, strict=True):
        atoms.calc = SinglePointCalculator(atoms, **results)
    return images


def assert_labels(data, labels, names, tolerance=1e-7):
    assert data.targets.names == list(names)
    for one, expected in zip(data.targets, labels, strict=True):
        for name in names:
            found = np.reshape(getattr(one, name), np.shape(expected[name]))
            np.testing.assert_allclose(found, expected[name], rtol=0, atol=tolerance)


# --- formats -------------------------------------------------------------------------------------

FORMATS = ["md.xyz", "md.extxyz", "md.traj", "md.db", "md.json", "md.xyz.gz"]
ALL = ("energy", "forces", "stress", "dipole")


@pytest.mark.parametrize("name", FORMATS)
def test_labels_of_calculators_come_through_every_format(crystals, name, tmp_path):
    path = tmp_path / name
    images = with_results(crystals)
    write(path, images, **({"format": "extxyz"} if "xyz" in name else {}))
    data = quietly(path)
    assert_labels(data, crystals[1], ALL)
    assert not data.unread
    for label in ALL:
        source = data.sources[label]
        assert (source.field, source.place, source.factor) == (label, "calculator", 1.0)
    for atoms, one in zip(images, data.structures, strict=True):
        np.testing.assert_allclose(one.positions, atoms.positions, atol=1e-7)


def store_in_info(path, images, labels):
    for atoms, one in zip(images, labels, strict=True):
        atoms.info |= {f"my_{name}": one[name] for name in ("energy", "stress", "dipole")}
        atoms.info["my_stress"] = one["stress"].ravel()
        atoms.arrays["my_forces"] = one["forces"]
    write(path, images)


def store_in_database(path, images, labels):
    with connect(path) as database:
        for atoms, one in zip(images, labels, strict=True):
            data = {f"my_{name}": one[name] for name in ("forces", "stress", "dipole")}
            database.write(atoms, key_value_pairs={"my_energy": one["energy"]}, data=data)


STORES = {
    "md.xyz": (store_in_info, ("info", "arrays", "info", "info")),
    "md.json": (store_in_database, ("key-value pairs", "data", "data", "data")),
    "md.db": (store_in_database, ("key-value pairs", "data", "data", "data")),
}


@pytest.mark.parametrize("name", STORES)
def test_labels_under_other_names_are_named_and_read(crystals, name, tmp_path):
    store, places = STORES[name]
    path = tmp_path / name
    store(path, *crystals)
    with pytest.warns(UserWarning, match="not read: .*my_energy .*for example keys=") as caught:
        data = read(path)
    assert len(ours(caught)) == 1
    assert data.targets is None
    expected = {f"my_{label}": place for label, place in zip(ALL, places, strict=True)}
    assert data.unread == expected
    keys = {label: f"my_{label}" for label in ALL}
    data = quietly(path, keys)
    assert_labels(data, crystals[1], ALL)
    assert {label: source.place for label, source in data.sources.items()} == dict(
        zip(ALL, places, strict=True)
    )
    assert "my_forces" in data.DESCR and places[1] in data.DESCR
    as_text = ",".join(f"{label}={field}" for label, field in keys.items())
    assert_labels(quietly(path, as_text), crystals[1], ALL)


@pytest.mark.parametrize("name", STORES)
def test_missing_labels_are_missing_and_not_zero(crystals, name, tmp_path):
    images = with_results(crystals)
    images[1].calc = None
    images[3].calc = SinglePointCalculator(images[3], energy=2.0)
    write(tmp_path / name, images)
    targets = quietly(tmp_path / name).targets
    assert targets.labelled("energy").tolist() == [True, False, True, True, True]
    assert targets.labelled("forces").tolist() == [True, False, True, False, True]


# --- keys and units ------------------------------------------------------------------------------


def archive(tmp_path, **fields):
    """An npz file of two frames of a crystal with labels of one under the name "field"."""
    cell = np.array([[4.0, 0.5, 0.3], [0.0, 4.2, 0.1], [0.0, 0.0, 3.9]])
    R = np.random.default_rng(0).normal(size=(2, 3, 3))
    path = tmp_path / "two.npz"
    np.savez(path, z=[8, 1, 1], R=R, lattice=cell.T, **fields)
    return path


def in_npz(tmp_path, field, value):
    return archive(tmp_path, **{field: np.array([value, value])})


def in_xyz(tmp_path, field, value):
    atoms = molecule("H2O", cell=np.diag([4.0, 4.2, 3.9]), pbc=True)
    if field == "f":
        atoms.arrays["f"] = value
    else:
        atoms.info[field] = value.ravel() if np.ndim(value) == 2 else value
    write(tmp_path / "one.xyz", [atoms, atoms], format="extxyz")
    return tmp_path / "one.xyz"


SHAPES = {
    "energy": (),
    "forces": (3, 3),
    "stress": (3, 3),
    "dipole": (3,),
    "polarizability": (3, 3),
    "dipole_norm": (),
    "charges": (3,),
}


@pytest.mark.parametrize("file", [in_npz, in_xyz])
@pytest.mark.parametrize("name", FACTORS)
def test_units_and_signs(name, file, tmp_path):
    value = np.random.default_rng(2).normal(size=SHAPES[name])
    value = value + value.T if SHAPES[name] == (3, 3) else value
    field = "f" if name in ("forces", "charges") else "x"
    path = file(tmp_path, field, value)
    for unit, factor in FACTORS[name].items():
        for keys in ({name: (field, unit)}, f"{name}={field}:{unit}"):
            data = quietly(path, keys)
            found = np.reshape(getattr(data.targets[1], name), value.shape)
            np.testing.assert_allclose(found, factor * value, rtol=1e-6, atol=1e-8)
            source = data.sources[name]
            assert source.unit == unit and source.factor == pytest.approx(factor, rel=1e-6)
    found = getattr(quietly(path, {name: (field, -2.5)}).targets[1], name)
    np.testing.assert_allclose(np.reshape(found, value.shape), -2.5 * value, atol=1e-7)
    text = getattr(quietly(path, f"{name}={field}:-2.5").targets[1], name)
    np.testing.assert_array_equal(text, found)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"energy": ("E0", "furlong")}, "unknown unit 'furlong': give one such as eV, meV"),
        ({"forces": ("E0", "eV")}, "'eV' is not a unit of forces, .* such as eV/Ang"),
        ({"energy": ("E0", "GPa")}, "'GPa' is not a unit of energy"),
        ({"energy": ("E0", "kcal")}, "'kcal' is not a unit of energy"),
        ({"energy": ("E0", 0)}, "factor 0: give a finite one, not zero"),
        ({"energy": ("E0", None)}, "None is neither a unit nor a factor"),
        ({"energy": 3}, "is 3: give the name of a field, or"),
        ({"energy": ("E0", "eV", 3)}, "give the name of a field, or"),
        ({"charge": "q"}, "unknown charge in keys; known are energy, forces"),
        ({"stress": "s", "virial": "v"}, "both a stress and a virial"),
        ({"stress": "dft_virial"}, "if it is a virial, W = -stress . volume, give keys="),
        ({"numbers": ("z", "eV")}, "atomic numbers have none"),
        ("energy", "cannot be read at 'energy': write property=field"),
        ("energy=a,energy=b", "cannot be read at 'energy=b'"),
        (["energy"], "keys is a list: give a dict such as"),
    ],
)
def test_keys_that_cannot_be_meant(keys, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read(in_xyz(tmp_path, "E0", 1.0), keys)


def test_fields_of_keys_that_are_not_there(tmp_path):
    path = in_xyz(tmp_path, "E0", 1.0)
    refused(path, "no field 'E1' for energy; there are E0", keys={"energy": "E1"})
    refused(path, "lattice, which only npz files need", keys={"lattice": "cell"})
    path = in_npz(tmp_path, "E0", 1.0)
    refused(path, "no field 'E1' for energy; the file has z, R, lattice, E0", keys="energy=E1")


def test_results_that_ase_moves_into_a_calculator_can_be_named(tmp_path):
    path = tmp_path / "fe.xyz"
    path.write_text(
        '2\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3:forces:R:3:gradient:R:3 '
        'energy=-7.0 free_energy=-7.4 REF_energy=-7.1 pbc="T T T"\n'
        "Cu 0 0 0 0 0 0.1 0 0 -1\nCu 0 0 2.3 0 0 -0.1 0 0 1\n"
    )
    with pytest.warns(UserWarning, match=r"gradient \(arrays\)") as caught:
        data = read(path)
    for field in ("REF_energy (info)", "free_energy (calculator)"):
        assert field in str(ours(caught)[0].message)
    assert data.targets.energy.tolist() == [-7.0]
    for field, energy in {"energy": -7.0, "free_energy": -7.4, "REF_energy": -7.1}.items():
        data = quietly(path, {"energy": field, "forces": "forces"})
        assert data.targets.energy.tolist() == [energy]
        assert data.targets.forces[0, 2] == 0.1
    assert quietly(path, "energy=energy,forces=gradient:-1").targets.forces[0, 2] == 1.0


def test_repeated_labels_are_no_reason_to_warn(crystals, tmp_path):
    images = with_results(crystals)
    for atoms, one in zip(*crystals, strict=True):
        atoms.calc.results["free_energy"] = one["energy"]
        atoms.info["dft_virial"] = -one["stress"].ravel() * atoms.get_volume()
    write(tmp_path / "md.xyz", images)
    assert not quietly(tmp_path / "md.xyz").unread


def test_what_is_no_label_is_not_named(tmp_path):
    atoms = molecule("H2O")
    atoms.info |= {
        "energy": -1.0, "energy_weight": 2.0, "config_type": "md", "force_error": 0.1, "time": 3.0,
        "energy_unit": "eV", "fermi_energy": 1.0, "max_force": 0.3, "kinetic_energy": 0.1,
        "stress_list": [1.0, 2.0], "missing_energy": np.nan, "step": 7,
    }  # fmt: skip
    atoms.arrays["force_mask"] = np.ones((3, 3))
    atoms.set_velocities(np.ones((3, 3)))
    write(tmp_path / "water.xyz", atoms)
    assert not quietly(tmp_path / "water.xyz").unread


@pytest.mark.parametrize(
    ("comment", "row", "message"),
    [
        ("-76.4", "", "the number -76.4 in the second line has no name .* write energy=-76.4"),
        ("energy: -76.4 eV", "", "the number -76.4 in the second line has no name"),
        ("", "0.1 0.2 0.3", "7 columns, of which the last 3 have no names .*Properties=species"),
        ("Properties=species:S:1:pos:R:3:q:R:1", "1 0.2 0.3", "of which the last 2 have no"),
        ('lattice="5 0 0 0 5 0 0 0 5"', "", "lattice was not read: it must be spelled Lattice"),
        ("properties=species:S:1:pos:R:3", "", "properties was not read: it must be spelled"),
    ],
)
def test_what_has_no_name_in_xyz_is_told(comment, row, message, tmp_path):
    path = tmp_path / "plain.xyz"
    path.write_text(2 * f"1\n{comment}\nAr 0 0 0 {row}\n")
    with pytest.warns(UserWarning, match=message) as caught:
        assert read([path, path]).targets is None
    assert len(ours(caught)) == 1


@pytest.mark.parametrize(
    ("comment", "row"),
    [
        ("force field minimum", ""), ("", ""),
        ("frame 12 of 2026-01-01", ""), ('energy=-1.5 name="1.5 K" T = 300.0', ""),
        ('Properties="species:S:1:pos:R:3:forces:R:3" energy=-1.5', "0.1 0.2 0.3"),
        ("time=[0.1 0.2] pbc='F F F' a={1.0 2.0}", ""),
    ],
)  # fmt: skip
def test_plain_xyz_is_read_without_a_warning(comment, row, tmp_path):
    path = tmp_path / "plain.xyz"
    path.write_text(2 * f"1\n{comment}\nAr 0 0 0 {row}\n")
    assert len(quietly(path).structures) == 2


def test_words_of_a_comment_are_no_labels(tmp_path):
    path = tmp_path / "plain.xyz"
    path.write_text("1\ntotal energy in Hartree\nAr 0 0 0\n")
    with pytest.warns(UserWarning, match=r"not read: energy \(calculator\)"):
        assert read(path).targets is None


def test_energies_per_atom_are_no_example_of_keys(tmp_path):
    with pytest.warns(UserWarning, match=r"energy_per_atom \(info\)$"):
        read(in_xyz(tmp_path, "energy_per_atom", 1.0))


# --- virials and stresses ------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["virial", "virials"])
def test_virials_of_gap_and_mace_become_stresses(crystals, field, tmp_path):
    images, labels = crystals
    for atoms, one in zip(images, labels, strict=True):
        atoms.set_cell(atoms.cell[[1, 0, 2]])  # left-handed: the volume stays positive
        atoms.info["energy"] = one["energy"]
        virial = -one["stress"] * atoms.get_volume()
        atoms.info[field] = virial if field == "virial" else virial.ravel()
    write(tmp_path / "gap.xyz", images)
    data = quietly(tmp_path / "gap.xyz")
    assert_labels(data, labels, ("energy", "stress"))
    assert data.sources["stress"].field == field and data.sources["stress"].unit == "eV"


def test_other_virials_are_read_by_their_name_and_unit(crystals, tmp_path):
    images, labels = crystals
    for atoms, one in zip(images, labels, strict=True):
        atoms.info["dft_virial"] = (one["stress"] * atoms.get_volume() / units.Hartree).ravel()
    write(tmp_path / "other.xyz", images)
    with pytest.warns(UserWarning, match=r"dft_virial .*keys={'virial': 'dft_virial'}"):
        assert read(tmp_path / "other.xyz").targets is None
    data = quietly(tmp_path / "other.xyz", {"virial": ("dft_virial", "-Ha")})
    assert_labels(data, labels, ("stress",))


def test_virials_of_npz_are_divided_by_the_volume(tmp_path):
    virial = np.arange(18.0).reshape(2, 3, 3)
    virial += virial.swapaxes(1, 2)
    path = archive(tmp_path, virial=virial, E=np.zeros(2))
    with pytest.warns(UserWarning, match="virial .npz"):
        assert read(path).targets.stress is None
    volume = 4.0 * 4.2 * 3.9
    found = quietly(path, "virial=virial:eV").targets.stress
    np.testing.assert_allclose(found, -virial / volume)
    found = quietly(path, "virial=virial").targets.stress  # in the file's unit of energy
    np.testing.assert_allclose(found, -virial * KCAL_PER_MOL / volume)


def test_fields_that_label_nothing(tmp_path):
    atoms = molecule("H2O")
    atoms.info |= {"E0": np.nan, "S": np.eye(3).ravel()}
    write(tmp_path / "water.xyz", atoms)
    refused(tmp_path / "water.xyz", "no structure has energy under the key 'E0': it is NaN",
            keys="energy=E0")  # fmt: skip
    refused(tmp_path / "water.xyz", "structures that are not periodic", keys="stress=S")


@pytest.mark.parametrize("field", ["stress", "virial"])
def test_stresses_without_a_volume_are_dropped_with_a_warning(field, tmp_path):
    images = [bulk("Cu"), molecule("H2O"), bulk("Cu")]
    images[2].pbc = (True, True, False)
    for atoms in images:
        atoms.info |= {"energy": 1.0, field: np.eye(3)}
    write(tmp_path / "mixed.xyz", images, format="extxyz")
    with pytest.warns(UserWarning, match="of 2 structures that are not periodic") as caught:
        data = read(tmp_path / "mixed.xyz")
    assert len(ours(caught)) == 1
    assert data.targets.labelled("stress").tolist() == [True, False, False]
    assert data.targets.labelled("energy").all()
    path = tmp_path / "molecule.npz"
    np.savez(path, z=[1], R=np.zeros((2, 1, 3)), E=np.zeros(2), stress=np.zeros((2, 3, 3)))
    with pytest.warns(UserWarning, match="of 2 structures that are not periodic"):
        assert read(path).targets.names == ["energy"]


@pytest.mark.parametrize("field", ["stress", "virial", "dft"])
def test_stresses_that_are_not_symmetric(field, tmp_path):
    """ASE takes six of the nine numbers of a stress in extended XYZ, and no more is seen of it."""
    images = [bulk("Cu"), bulk("Cu")]
    stress = np.diag([0.01, 0.02, 0.03])
    for atoms in images:
        atoms.info[field] = stress if field != "dft" else stress.ravel()
    keys = {"stress": "dft"} if field == "dft" else None
    rounded = stress + 1e-5 * np.eye(3, k=-1)
    images[1].info[field] = rounded if field != "dft" else rounded.ravel()
    write(tmp_path / "copper.xyz", images, format="extxyz")
    found = quietly(tmp_path / "copper.xyz", keys).targets.stress
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))
    if field != "virial":
        np.testing.assert_allclose(found[1], (rounded + rounded.T) / 2)
    wrong = stress + 0.005 * np.eye(3, k=-1)
    images[1].info[field] = 10 * (wrong if field != "dft" else wrong.ravel())
    write(tmp_path / "copper.xyz", images, format="extxyz")
    refused(tmp_path / "copper.xyz", "stress of structure 1 is not symmetric: it differs from its",
            "check the order of its elements", keys=keys)  # fmt: skip
    assert quietly(tmp_path / "copper.xyz", keys, index="0").targets.labelled("stress").all()


# --- nothing is made up: LAMMPS ------------------------------------------------------------------


def dump(path, columns="id type x y z fx fy fz", elements=False):
    """Two frames of water, in the format of LAMMPS, with the atoms in disorder."""
    rows = [[3, 2, 0.0, -0.8, 0.6, 7, 8, 9], [1, 1, 0.0, 0.0, 0.0, 1, 2, 3],
            [2, 2, 0.0, 0.8, 0.6, 4, 5, 6]]  # fmt: skip
    lines = []
    for frame in range(2):
        lines += ["ITEM: TIMESTEP", str(frame), "ITEM: NUMBER OF ATOMS", "3"]
        lines += ["ITEM: BOX BOUNDS pp pp pp", *["0 9"] * 3]
        lines += [f"ITEM: ATOMS {columns}{' element' if elements else ''}"]
        names = [f" {'_OHH'[row[0]]}" if elements else "" for row in rows]
        lines += [" ".join(map(str, row)) + name for row, name in zip(rows, names, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_dumps_have_forces_and_no_energies(tmp_path):
    path = dump(tmp_path / "water.lammpstrj")
    refused(path, "does not say which elements they are: give species=['O', 'H']")
    for species in (["O", "H"], "O,H", "O H", [8, 1]):
        data = quietly(path, species=species)
        assert data.targets.names == ["forces"]
        assert data.structures.numbers.tolist() == 2 * [8, 1, 1]
        assert data.targets.forces[:3].ravel().tolist() == list(range(1, 10))
    refused(path, "the types 1 to 2, but species has 1 elements", species=["O"])
    with pytest.raises(ValueError, match="species has 'Q', which is no element"):
        read(path, species=["Q", "H"])
    with pytest.raises(ValueError, match="species is empty"):
        read(path, species=[])
    factor = KCAL_PER_MOL
    data = quietly(path, "forces=forces:kcal/mol/Ang", species="O H")
    np.testing.assert_allclose(data.targets.forces[0], factor * np.array([1.0, 2.0, 3.0]))


def test_elements_that_a_dump_names_are_used(tmp_path):
    path = dump(tmp_path / "water.lammpstrj", elements=True)
    data = quietly(path)
    assert data.structures.numbers.tolist() == 2 * [8, 1, 1]
    assert data.targets.names == ["forces"]
    assert quietly(path, species="S H").structures.numbers.tolist() == 2 * [16, 1, 1]


@pytest.mark.parametrize(
    ("masses", "numbers"), [("", None), ("1 15.999\n2 1.008", [8, 1]), ("1 1.0\n2 2.0", None)]
)
def test_elements_of_a_data_file_are_those_of_its_masses(masses, numbers, tmp_path):
    path = tmp_path / "water.lammps-data"
    section = f"Masses\n\n{masses}\n\n" if masses else ""
    path.write_text(
        "LAMMPS data file\n\n2 atoms\n2 atom types\n0 5 xlo xhi\n0 5 ylo yhi\n0 5 zlo zhi\n\n"
        f"{section}Atoms # atomic\n\n1 1 0 0 0\n2 2 0 0 1\n"
    )
    if numbers is None:
        refused(path, "give species=")
    else:
        assert quietly(path).structures.numbers.tolist() == numbers
    assert quietly(path, species="Si C").structures.numbers.tolist() == [14, 6]


@pytest.mark.parametrize("numbers", [[1, 2, 2], [1, 1, 1], [8, 1, 1]])
def test_types_of_netcdf_are_no_elements(numbers, tmp_path, monkeypatch):
    atoms = Atoms(numbers=numbers, positions=np.eye(3))  # what ASE reads with netCDF4
    monkeypatch.setattr("ase.io.iread", lambda *args, **options: iter([atoms]))
    path = tmp_path / "md.nc"
    path.write_bytes(b"CDF")
    if 8 in numbers:
        assert quietly(path).structures.numbers.tolist() == numbers
    else:
        refused(path, "give species=")
        assert quietly(path, species="O H").structures.numbers[0] == 8


def test_species_are_refused_where_the_file_names_elements(tmp_path):
    refused(in_xyz(tmp_path, "x", 1.0), "extxyz names elements", species=["O", "H"])
    refused(in_npz(tmp_path, "x", 1.0), "leave species out", species=["O", "H"])


# --- faults --------------------------------------------------------------------------------------

FRAME = '1\nProperties=species:S:1:pos:R:3:forces:R:3 {} pbc="F F F"\nAr 0 0 0 {}\n'
FAULTS = {
    "energy": ["None", '"-1.5 eV"', '"[-1.5]"', "T", "inf", "-inf", '"1 2"', "1,2,3"],
    "dft_energy": ["None", '"-1.5 eV"', "T", "inf", '"1 2"', '_JSON="{}"'],
    "my_dipole": ['"1 2"', '"1 2 nan"', "1.0", '"1 2 x"', '"1 2 inf"'],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in FAULTS.items() for value in values]
)
def test_what_is_no_number_is_an_error_with_frame_and_field(field, value, tmp_path):
    path = tmp_path / "text.xyz"
    good = '"0 0 1"' if "dipole" in field else "-1.0"
    path.write_text(
        3 * FRAME.format(f"{field}={good}", "0 0 0") + FRAME.format(f"{field}={value}", "0 0 0")
    )
    label = "dipole" if "dipole" in field else "energy"
    refused(path, "structure 3", field, keys={label: field})
    refused(path, "structure 3", field, keys={label: field}, index="1:")
    refused(path, "structure 3", field, keys={label: field}, index=3)


@pytest.mark.parametrize(
    ("fields", "forces", "message"),
    [
        ('dipole="x y z"', "0 0 0", "'dipole' in the second line must be numbers, but is 'x y z'"),
        ('stress="1 2 3"', "0 0 0", "info item stress, expecting special 3x3 matrix"),
        ("", "0 abc 0", "atom 0: 'abc' in the column of 'forces' is no number"),
        ("", "0 1.0D-01 0", "atom 0: '1.0D-01' in the column of 'forces' is no number"),
    ],
)
def test_what_ase_refuses_is_named_too(fields, forces, message, tmp_path):
    path = tmp_path / "text.xyz"
    good = FRAME.format("energy=-1.0", "0 0 0")
    path.write_text(3 * good + FRAME.format(fields, forces) + good)
    refused(path, "structure 3", message)
    refused(path, "structure 3", message, index="1::2")


def test_labels_that_are_nan_are_missing(tmp_path):
    path = tmp_path / "nan.xyz"
    path.write_text(
        FRAME.format("energy=-1.0", "0 0 0") + FRAME.format("energy=nan", "nan nan nan")
    )
    targets = quietly(path).targets
    assert targets.labelled("energy").tolist() == [True, False]
    assert targets.labelled("forces").tolist() == [True, False]


def test_forces_that_are_partly_nan_or_of_another_shape(tmp_path):
    path = tmp_path / "nan.xyz"
    path.write_text(FRAME.format("energy=-1.0", "0 nan 0"))
    refused(path, "structure 0: 'forces' (calculator) is nan in part")
    atoms = molecule("H2O")
    atoms.info["f"] = np.arange(6.0)
    write(tmp_path / "six.xyz", atoms)
    refused(tmp_path / "six.xyz", "'f' (info) has the shape (6,), but forces of a structure of 3",
            keys={"forces": "f"})  # fmt: skip


def test_transposed_forces_are_an_error(tmp_path):
    with connect(tmp_path / "f.db") as database:
        database.write(molecule("CH4"), data={"f": np.ones((3, 5))})
    refused(tmp_path / "f.db", "'f' (data) has the shape (3, 5)", keys="forces=f")


ARRAYS = {"z": [8, 1, 1], "R": np.zeros((4, 3, 3)), "E": np.zeros(4), "F": np.zeros((4, 3, 3))}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "E",
            np.full(4, "-1.0 eV"),
            "'E' (energy) must be real numbers, but has the text '-1.0 eV'",
        ),
        ("E", np.zeros(4) + 1j, "'E' (energy) must be real numbers, but has the complex number"),
        ("E", np.zeros(4, bool), "'E' (energy) must be real numbers, but has the truth value"),
        ("E", np.array([0, 0, np.inf, 0]), "structure 2: field 'E' (energy) is infinite"),
        ("F", np.full((4, 3, 3), -np.inf), "structure 0: field 'F' (forces) is infinite"),
        ("F", np.zeros((4, 9)), "forces (field 'F') has the shape (4, 9)"),
        ("E", np.array([None] * 4), "field 'E' cannot be read"),
        ("R", np.full((4, 3, 3), np.nan), "structure 0, atom 0 has the position"),
        ("R", np.zeros((4, 3, 3)) * 1j, "'R' (positions) must be real numbers"),
        ("R", np.full((4, 3, 3), "0"), "'R' (positions) must be real numbers, but has the text"),
        ("z", [8.5, 1, 1], "8.5 is no atomic number"),
        ("z", [8, 1, 119], "atomic number 119"),
        ("z", ["O", "H", "Q"], "field 'z' (numbers) has 'Q', which is no element"),
        ("lattice", np.zeros((3, 3)), "is flat"),
        ("lattice", np.full((3, 3), np.nan), "cell of structure 0 is not finite"),
        ("e_unit", "furlong", "unknown unit 'furlong'"),
        ("e_unit", ["eV", "eV"], "field 'e_unit' has 2 units"),
    ],
)
def test_faults_of_npz(field, value, message, tmp_path):
    path = tmp_path / "file.npz"
    np.savez(path, **(ARRAYS | {field: value}))
    refused(path, message)


def test_chemical_symbols_in_npz(tmp_path):
    path = tmp_path / "symbols.npz"
    for z in (np.array(["O", "H", "H"]), np.array([b"O", b"h", b"H"])):
        np.savez(path, **(ARRAYS | {"z": z}))
        assert quietly(path).structures.numbers.tolist() == 4 * [8, 1, 1]
    padded = [["O", "H", "H"], ["O", "H", ""], ["He", "", ""], ["H", "H", ""]]
    np.savez(path, **(ARRAYS | {"z": padded}))
    assert quietly(path).structures.numbers.tolist() == [8, 1, 1, 8, 1, 2, 1, 1]


def test_labels_of_npz_under_other_names_are_named(tmp_path):
    path = tmp_path / "file.npz"
    extra = {
        "E_ccsd": np.ones(4),
        "dft_forces": np.ones((4, 3, 3)),
        "F_max": 3.0,
        "old_energies": np.ones(4),
    }
    np.savez(path, **ARRAYS, **extra)
    with pytest.warns(UserWarning, match=r"not read: E_ccsd \(npz\), dft_forces \(npz\); "):
        data = read(path)
    assert data.unread == {"E_ccsd": "npz", "dft_forces": "npz"}
    assert data.sources["energy"].unit == "kcal/mol"
    data = quietly(path, "energy=E_ccsd:Ha,forces=dft_forces:Ha/bohr")
    np.testing.assert_allclose(data.targets.energy, units.Hartree)
    np.testing.assert_allclose(data.targets.forces, units.Hartree / units.Bohr)


def test_positions_of_npz_in_another_unit(tmp_path):
    path = tmp_path / "file.npz"
    np.savez(path, z=[1], xyz=np.ones((1, 1, 3)), cell=np.eye(3))
    data = quietly(path, {"positions": ("xyz", "nm"), "lattice": ("cell", "Bohr")})
    assert data.structures.positions.tolist() == [[10.0, 10.0, 10.0]]
    np.testing.assert_allclose(data.structures.cells[0], units.Bohr * np.eye(3))


def test_atoms_without_a_symbol_are_named(tmp_path):
    path = tmp_path / "labels.xyz"
    path.write_text("1\n\nO 0 0 0\n1\n\nO1 0 0 0\n")
    refused(path, "structure 1, atom 0: 'O1' in the column of 'species' is no chemical symbol")
    path.write_text("1\nProperties=Z:I:1:pos:R:3\n8 0 0 0\n")
    assert quietly(path).structures.numbers.tolist() == [8]


def test_ghost_atoms_are_named(tmp_path):
    write(tmp_path / "ghost.xyz", Atoms("HX", [[0, 0, 0], [0, 0, 1]]))
    refused(tmp_path / "ghost.xyz", "structure 0, atom 1 has the atomic number 0", "remove it")


# --- several files, archives, encodings ----------------------------------------------------------


@pytest.fixture
def trajectories(tmp_path):
    """Three files of four argon atoms at x = 0, 1, … with as many eV."""
    paths = []
    for k in range(3):
        images = [
            Atoms("Ar", [[x, 0, 0]], info={"energy": float(x)}) for x in range(4 * k, 4 * k + 4)
        ]
        (tmp_path / f"run_{k}").mkdir()
        paths.append(tmp_path / f"run_{k}" / "md.xyz")
        write(paths[-1], images)
    return paths


def test_lists_and_patterns_of_files(trajectories, tmp_path):
    whole = list(range(12))
    some = [str(tmp_path / "run_[01]/*.xyz"), trajectories[2]]
    patterns = (tmp_path / "run_*/md.xyz", str(tmp_path / "**/md.xyz"))
    for path in (trajectories, map(str, trajectories), some, *patterns):
        data = quietly(path)
        assert data.targets.energy.tolist() == whole
        assert data.structures.positions[:, 0].tolist() == whole
    assert quietly(trajectories[::-1]).targets.energy[0] == 8
    with pytest.raises(FileNotFoundError, match="no such file that matches"):
        read(tmp_path / "walk_*/md.xyz")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read([trajectories[0], "nowhere.xyz"])
    with pytest.raises(ValueError, match=r"run_0 is a folder: name its files, .*run_0.\*\.xyz'"):
        read(tmp_path / "run_0")
    with pytest.raises(ValueError, match="empty list of files"):
        read([])
    with pytest.raises(ValueError, match="3 is no path"):
        read(3)


def test_files_of_several_formats_are_joined(trajectories, tmp_path):
    np.savez(tmp_path / "more.npz", z=[18], R=np.ones((2, 1, 3)), E_unit="eV", F=np.ones((2, 1, 3)))
    np.savez(tmp_path / "bare.npz", z=[18], R=np.ones((3, 1, 3)))
    data = quietly([trajectories[0], tmp_path / "more.npz", tmp_path / "bare.npz"])
    assert len(data.structures) == 9
    assert data.targets.labelled("energy").tolist() == 4 * [True] + 5 * [False]
    assert data.targets.labelled("forces").tolist() == 4 * [False] + 2 * [True] + 3 * [False]
    assert data.sources["energy"].place == "info" or data.sources["energy"].place == "calculator"
    assert data.sources["forces"].place == "npz"


def test_errors_name_the_file_among_several(trajectories):
    text = trajectories[1].read_text().replace("energy=6.0", "energy=six")
    trajectories[1].write_text(text)
    with pytest.raises(ValueError, match=r"run_1.md\.xyz: structure 2: 'energy' .* text 'six'"):
        read(trajectories)


INDICES = [
    (":", slice(None)), ("::10", slice(None, None, 10)), (slice(1, 3), slice(1, 3)),
    ("-2:", slice(-2, None)), (2, slice(2, 3)),
    ("-1", slice(-1, None)), (-1, slice(-1, None)), (np.int64(0), slice(0, 1)),
    ("::-1", slice(None, None, -1)),
]  # fmt: skip


@pytest.mark.parametrize(("index", "expected"), INDICES, ids=str)
@pytest.mark.parametrize("name", ["md.xyz", "md.traj", "md.db", "md.npz"])
def test_some_structures_of_each_file(index, expected, name, tmp_path):
    energies = np.arange(12.0)
    if name == "md.npz":
        np.savez(tmp_path / name, z=[18], R=np.zeros((12, 1, 3)), E=energies, e_unit="eV")
    else:
        images = [Atoms("Ar", calculator=None) for _ in energies]
        for atoms, energy in zip(images, energies, strict=True):
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
        write(tmp_path / name, images)
    assert quietly(tmp_path / name, index=index).targets.energy.tolist() == list(energies[expected])
    refused(tmp_path / name, "selects none of its structures", index=12)
    refused(tmp_path / name, "selects none of its structures", index="20:")


@pytest.mark.parametrize("index", ["first", 1.5, None, True, "1:2:3:4"])
def test_what_is_no_index(index, trajectories):
    with pytest.raises(ValueError, match="give a number, a slice, or text"):
        read(trajectories[0], index=index)


def test_formats_of_one_structure_take_an_index(tmp_path):
    write(tmp_path / "POSCAR", bulk("Si"), format="vasp")
    assert len(quietly(tmp_path / "POSCAR", index="-1").structures) == 1
    refused(tmp_path / "POSCAR", "selects none", index=1)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
def test_archives(suffix, trajectories, tmp_path):
    path = tmp_path / f"runs{suffix}"
    names = ["run_0/md.xyz", "run_1/md.xyz", "run_2/md.xyz.gz"]
    contents = [file.read_bytes() for file in trajectories]
    contents[2] = gzip.compress(contents[2])
    members = dict(zip(names, contents, strict=True)) | {"__MACOSX/md.xyz": b"x", "a/.hidden": b"x"}
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("run_0")
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, f"w:{suffix[5:] if suffix.startswith('.tar.') else ''}") as archive:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    assert quietly(path).targets.energy.tolist() == list(range(12))
    path.write_bytes(path.read_bytes()[:300])
    refused(path, "cannot be decompressed")


def test_errors_in_an_archive_name_the_member(trajectories, tmp_path):
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as archive:
        archive.write(trajectories[0], "one.xyz")
        archive.writestr("two.xyz", "garbage")
    refused(tmp_path / "runs.zip", "(two.xyz): ASE cannot read it")
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as archive:
        archive.mkdir("nothing")
    refused(tmp_path / "runs.zip", "the archive is empty")


ENCODINGS = {
    "windows": lambda text: text.replace("\n", "\r\n").encode(),
    "utf-8 with a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "blank lines between frames": lambda text: text.replace("\n1\n", "\n\n1\n").encode(),
    "blank lines first and last": lambda text: f"\n{text}\n \n".encode(),
}


@pytest.mark.parametrize("kind", ENCODINGS)
def test_marks_line_ends_and_blank_lines_lose_nothing(kind, trajectories):
    path = trajectories[0]
    path.write_bytes(ENCODINGS[kind](path.read_text()))
    data = quietly(path)
    assert data.targets.energy.tolist() == [0, 1, 2, 3]


QM9 = """3
gdb 3\t799.58812\t437.90386\t282.94545\t1.8511\t6.31\t-0.2928\t0.0687\t0.3615\t19.0002\t0.021375\t\
-76.404702\t-76.401867\t-76.400922\t-76.422349\t6.002\t
O\t-0.0343604951\t 0.9775395708\t 0.0076015923\t-0.589706
H\t 0.0647664923\t 2.0572*^-2\t 0.0015346341\t 0.294853
H\t 0.8717903737\t 1.3007924048\t 6.8*^-4\t 0.294853
1671.4222\t3803.6305\t3907.698
O\tO
InChI=1S/H2O/h1H2\tInChI=1S/H2O/h1H2
"""


def test_molecules_of_qm9(tmp_path):
    path = tmp_path / "dsgdb9nsd_000003.xyz"
    path.write_text(QM9)
    with pytest.warns(UserWarning, match=r"U0 \(info\), U \(info\), H \(info\), G \(info\)"):
        assert read(path).targets.names == ["charges"]
    path.write_text(2 * QM9)
    data = quietly(path, "energy=U0:Ha")
    np.testing.assert_allclose(data.targets.energy, 2 * [-76.404702 * units.Hartree])
    assert data.structures.positions[1, 1] == pytest.approx(0.020572)
    assert data.structures[0].numbers.tolist() == [8, 1, 1]
    path.write_text(QM9[:-40])
    refused(path, "not complete in the layout of QM9")


@pytest.mark.parametrize("limit", ["_FRAMES", "_ATOMS"])
def test_many_frames_are_read_in_blocks(limit, tmp_path, monkeypatch):
    images = [Atoms("Ar", [[k, 0, 0]]) for k in range(25)]
    for k in range(0, 25, 7):
        images[k].info["energy"] = float(k)
    images[24].arrays["forces"] = np.ones((1, 3))
    write(tmp_path / "md.traj", images)
    whole = quietly(tmp_path / "md.traj")
    monkeypatch.setattr(f"skatom.datasets._read.{limit}", 4)
    parts = quietly(tmp_path / "md.traj")
    assert whole.targets.labelled("energy").sum() == 4
    for name in ("energy", "forces"):
        np.testing.assert_array_equal(getattr(parts.targets, name), getattr(whole.targets, name))
    np.testing.assert_array_equal(parts.structures.positions, whole.structures.positions)
