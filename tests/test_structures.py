import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Hartree, kcal, mol
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_validate, train_test_split

from skatom import Structures, Targets
from skatom.neighbors import neighbor_list
from skatom.structures import is_atoms


@pytest.fixture
def mixed():
    """Molecules of two sizes, a crystal, a slab and an atom."""
    slab = bulk("NaCl", "rocksalt", a=5.64)
    slab.pbc = (True, True, False)
    return [molecule("H2O"), bulk("SiC", "zincblende", a=4.36), slab, Atoms("Ar"), molecule("CH4")]


def assert_same(one, other):
    np.testing.assert_array_equal(one.numbers, other.numbers)
    np.testing.assert_array_equal(one.positions, other.positions)
    np.testing.assert_array_equal(one.cell.array, other.cell.array)
    np.testing.assert_array_equal(one.pbc, other.pbc)


def test_ase_round_trip(mixed):
    for atoms, back in zip(mixed, Structures.from_ase(mixed).to_ase(), strict=True):
        assert_same(atoms, back)


@pytest.mark.parametrize(
    "key",
    [2, -1, slice(1, 4), slice(None, None, -1), [3, 0, 3], np.array([True, False] * 2 + [True])],
    ids=str,
)
def test_indexing_gives_the_structures_that_a_list_would(mixed, key):
    expected = [mixed[n] for n in np.atleast_1d(np.arange(len(mixed))[key])]
    part = Structures.from_ase(mixed)[key]
    assert len(part) == len(expected)
    for atoms, back in zip(expected, part.to_ase(), strict=True):
        assert_same(atoms, back)


def test_index_beyond_the_end_is_an_error(mixed):
    with pytest.raises(IndexError):
        Structures.from_ase(mixed)[5]


def test_iteration_ends(mixed):
    assert [one.n_atoms[0] for one in Structures.from_ase(mixed)] == [3, 2, 2, 1, 5]


def test_pickle(mixed):
    structures = pickle.loads(pickle.dumps(Structures.from_ase(mixed)))
    assert_same(structures.to_ase()[2], mixed[2])


def test_frames_of_one_cell():
    structures = Structures.from_frames(
        [14, 6], np.zeros((4, 2, 3)) + [[0], [1]], cell=4.0 * np.eye(3)
    )
    assert len(structures) == 4
    assert structures.pbc.all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": [[0, 0, np.nan], [0, 0, 1]]}, "structure 0, atom 0 has the position"),
        ({"positions": [[0, 0, np.inf], [0, 0, 1]]}, "positions must be finite"),
        ({"numbers": [1, 0]}, "atomic number 0; allowed are 1 to 118"),
        ({"numbers": [1, 119]}, "atomic number 119"),
        ({"numbers": [1, 1, 1]}, "must have the shapes"),
        ({"offsets": [0, 1]}, "offsets must rise from 0 to the number of atoms, 2"),
        ({"offsets": [0, 0, 2]}, "structure 0 has no atoms"),
        ({"cells": np.zeros((2, 3, 3))}, "must have the shapes"),
        ({"pbc": [[True] * 3]}, "is flat: its periodic lattice vectors are zero; give vectors"),
        ({"pbc": [[True] * 3], "cells": [np.diag([3.0, 3.0, 0.0])]}, "is flat"),
        ({"pbc": [[True] * 3], "cells": [[[3, 0, 0], [3, 1e-9, 0], [0, 0, 3]]]}, "is flat"),
        ({"numbers": [1, 0]}, "a ghost or dummy atom, X: remove it"),
        ({"numbers": [1, 6.7]}, "6.7 is no atomic number: give integers from 1 to 118"),
        ({"numbers": [1, np.nan]}, "nan is no atomic number"),
        ({"numbers": [True, True]}, "not the truth value"),
        ({"numbers": ["H", "H"]}, "not the text .*H"),
        ({"numbers": [1 + 0j, 1]}, "numbers must be real numbers, but has the complex number"),
        ({"positions": np.eye(2, 3) * 1j}, "positions must be real numbers, but has the complex"),
        ({"positions": np.eye(2, 3) > 0}, "positions must be real numbers, but has the truth"),
        ({"positions": [["0", "0", "0"]] * 2}, "positions must be real numbers, but has the text"),
        ({"positions": [[0, 0, 0], [0, 1]]}, "positions: the rows have different lengths"),
        ({"cells": np.ones((1, 3, 3)) * 1j}, "cells must be real numbers"),
        ({"pbc": [[2, 0, 0]]}, "pbc must be True or False"),
        ({"pbc": [["T", "T", "F"]]}, "pbc must be True or False"),
        ({"cells": [np.full((3, 3), np.nan)]}, "cell of structure 0 is not finite"),
    ],
)
def test_bad_input_is_named(change, message):
    good = {"numbers": [1, 1], "positions": [[0, 0, 0], [0, 0, 0.7]]}
    Structures(**good)
    with pytest.raises(ValueError, match=message):
        Structures(**{**good, **change})


def test_a_slab_needs_no_third_lattice_vector():
    Structures([1], [[0, 0, 0]], cells=[np.diag([3.0, 3.0, 0.0])], pbc=[[True, True, False]])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (molecule("H2O"), r"pass \[atoms\]"),
        ([molecule("H2O"), "H2O"], "item 1 is a str"),
        ([], "got no structures"),
        (3, "got a int: pass"),
        ("md.xyz", "got the name 'md.xyz' where .*: read the file first"),
    ],
)
def test_what_is_no_list_of_atoms_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        Structures.from_ase(value)
    with pytest.raises(ValueError, match=message):
        Targets.from_ase(value)


def test_labels_come_from_atoms_and_not_from_structures(mixed):
    with pytest.raises(ValueError, match="got Structures, which carry no labels"):
        Targets.from_ase(Structures.from_ase(mixed))


def test_structures_are_not_mistaken_for_features(mixed):
    with pytest.raises(TypeError, match="put a descriptor in front"):
        LinearRegression().fit(Structures.from_ase(mixed), np.zeros(5))


def test_targets_follow_their_structures_through_sklearn(mixed):
    structures = Structures.from_ase(mixed * 3)
    counts = structures.n_atoms
    forces = np.repeat(np.arange(15.0), counts)[:, None] * np.ones(3)
    targets = Targets(energy=np.arange(15.0), forces=forces, offsets=structures.offsets)
    parts = train_test_split(structures, targets, random_state=0)
    folds = [(structures[i], targets[i]) for i, _ in KFold(3).split(structures, targets)]
    for X, y in [(parts[0], parts[2]), (parts[1], parts[3]), *folds]:
        np.testing.assert_array_equal(X.n_atoms, counts[y.energy.astype(int)])
        np.testing.assert_array_equal(y.forces[:, 0], np.repeat(y.energy, X.n_atoms))


def test_targets_are_energies_to_sklearn():
    targets = Targets(energy=np.arange(10.0), stress=np.zeros((10, 3, 3)))
    X = np.arange(10.0)[:, None]
    scores = cross_validate(
        LinearRegression(), X, targets, cv=5, scoring="neg_mean_absolute_error"
    )["test_score"]
    np.testing.assert_allclose(scores, 0, atol=1e-12)


def test_results_of_calculators_become_targets_and_back(mixed):
    structures = Structures.from_ase(mixed)
    rng = np.random.default_rng(0)
    stress = rng.normal(size=(5, 3, 3))
    targets = Targets(
        energy=rng.normal(size=5),
        forces=rng.normal(size=(13, 3)),
        stress=stress + stress.transpose(0, 2, 1),
        dipole=rng.normal(size=(5, 3)),
        offsets=structures.offsets,
    )
    images = structures.to_ase(targets)
    assert images[1].get_stress(voigt=True).shape == (6,)
    again = Targets.from_ase(images)
    for name in targets.names:
        np.testing.assert_array_equal(getattr(again, name), getattr(targets, name))


def crystal_with_results():
    """A skewed crystal, periodic in three directions, with an energy and forces."""
    atoms = bulk("SiC", "zincblende", a=4.36)
    atoms.rattle(0.1, seed=0)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.arange(6.0).reshape(2, 3))
    return atoms


def wrap(atoms):
    atoms.positions += 0.7  # over the faces of the cell
    atoms.wrap()


def move_one_atom_by_a_lattice_vector(atoms):
    atoms.positions[1] += atoms.cell[0] - 2 * atoms.cell[2]


def choose_other_lattice_vectors(atoms):
    atoms.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 3, -1]]) @ atoms.cell)


def swap_lattice_vectors(atoms):
    atoms.set_cell(atoms.cell[[1, 0, 2]])


def set_initial_charges(atoms):
    atoms.set_initial_charges([0.1, -0.1])


HARMLESS = [
    wrap, move_one_atom_by_a_lattice_vector, choose_other_lattice_vectors, swap_lattice_vectors,
    set_initial_charges,
]  # fmt: skip


@pytest.mark.parametrize("change", HARMLESS)
def test_results_survive_changes_that_are_none_to_physics(change):
    atoms = crystal_with_results()
    change(atoms)
    targets = Targets.from_ase([crystal_with_results(), atoms])
    assert targets.energy.tolist() == [-1.0, -1.0]
    assert (targets[1].forces == np.arange(6.0).reshape(2, 3)).all()


def test_results_of_a_molecule_survive_another_box():
    targets = Targets(energy=[1.0])
    images = Structures.from_ase([molecule("H2O")]).to_ase(targets)
    images[0].center(vacuum=5.0)
    assert Targets.from_ase(images).energy.tolist() == [1.0]


def strain(atoms):
    atoms.set_cell(1.001 * atoms.cell, scale_atoms=True)


def double_the_cell(atoms):
    atoms.set_cell(np.diag([2, 1, 1]) @ atoms.cell)


def move_one_atom(atoms):
    atoms.positions[0, 0] += 1e-4


def change_species(atoms):
    atoms.numbers[0] = 32


def change_periodicity(atoms):
    atoms.pbc = (True, True, False)


HARMFUL = [strain, double_the_cell, move_one_atom, change_species, change_periodicity]


@pytest.mark.parametrize("change", HARMFUL)
def test_results_of_another_structure_are_an_error(change):
    atoms = crystal_with_results()
    change(atoms)
    with pytest.raises(ValueError, match="structure 1 has results of a calculator for other"):
        Targets.from_ase([crystal_with_results(), atoms])
    atoms.calc = None
    targets = Targets.from_ase([crystal_with_results(), atoms])
    assert targets.labelled("energy").tolist() == [True, False]


def test_a_calculator_that_structures_share_is_an_error():
    calculator, images = EMT(), [bulk("Cu", a=a) for a in (3.5, 3.6)]
    for atoms in images:
        atoms.calc = calculator
        atoms.get_potential_energy()
    with pytest.raises(ValueError, match="structure 0 .*shares its calculator"):
        Targets.from_ase(images)


def test_every_list_of_structures_is_accepted(mixed):
    expected = Structures.from_ase(mixed)
    objects = np.empty(len(mixed), object)
    objects[:] = mixed
    parts = [expected[s] for s in range(len(mixed))]
    for given in (
        objects,
        (atoms for atoms in mixed),
        tuple(mixed),
        parts,
        [*mixed[:2], *parts[2:]],
    ):
        found = Structures.from_ase(given)
        for name in ("numbers", "positions", "offsets", "cells", "pbc"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert is_atoms(parts) and is_atoms(objects) and not is_atoms(np.zeros(3))


def test_batches_are_joined_with_their_labels(mixed):
    structures = Structures.from_ase(mixed)
    some = Targets(energy=[1.0, 2.0], offsets=structures[:2].offsets)
    others = Targets(forces=np.ones((8, 3)), offsets=structures[2:].offsets)
    joined = Targets.concatenate([some, others])
    assert len(Structures.concatenate([structures[:2], structures[2:]])) == len(joined) == 5
    assert joined.labelled("energy").tolist() == [True, True, False, False, False]
    assert joined.labelled("forces").tolist() == [False, False, True, True, True]
    with pytest.raises(ValueError, match="targets 1 have no offsets"):
        Targets.concatenate([others, Targets(energy=[1.0])])
    with pytest.raises(ValueError, match="got no targets"):
        Targets.concatenate([])
    with pytest.raises(ValueError, match="got no structures"):
        Structures.concatenate([])
    with_neighbors = structures.with_neighbors(neighbor_list(structures, 2.0))
    with pytest.raises(ValueError, match="join them first"):
        Structures.concatenate([with_neighbors, structures])


def test_numbers_of_every_kind_of_array_are_the_same():
    for numbers in (np.array([8, 1], object), np.array([8.0, 1.0]), np.uint8([8, 1]), (8, 1)):
        assert Structures(numbers, np.eye(2, 3)).numbers.tolist() == [8, 1]
    with pytest.raises(ValueError, match="numbers must be real numbers, but has the text 'O'"):
        Structures(np.array(["O", 1], object), np.eye(2, 3))


def test_labels_in_single_precision_are_multiplied_in_double():
    atoms = molecule("H2O")
    atoms.arrays["gradient"] = np.full((3, 3), 0.1, np.float32)
    forces = Targets.from_ase([atoms], {"forces": ("gradient", "-kcal/mol/Ang")}).forces
    assert forces.dtype == float
    assert forces[0, 0] == -float(np.float32(0.1)) * (kcal / mol)


def test_periodicity_may_be_zeros_and_ones():
    structures = Structures([1], [[0, 0, 0]], cells=[np.eye(3)], pbc=[[1, 0, 1]])
    assert structures.pbc.tolist() == [[True, False, True]]


def test_left_handed_cells_have_positive_volumes():
    left = bulk("Si")
    left.set_cell(left.cell[[1, 0, 2]])
    assert np.linalg.det(left.cell) < 0
    np.testing.assert_allclose(Structures.from_ase([left]).volumes(), bulk("Si").get_volume())


def test_a_virial_becomes_a_stress(mixed):
    atoms = crystal_with_results()
    atoms.calc = None
    virial = np.array([[1.0, 0.2, 0.3], [0.2, 2.0, 0.4], [0.3, 0.4, 3.0]])
    atoms.info["virial"] = virial
    expected = -virial / atoms.get_volume()
    np.testing.assert_allclose(Targets.from_ase([atoms]).stress[0], expected)
    atoms.info["W"] = atoms.info.pop("virial") / Hartree
    targets = Targets.from_ase([atoms], keys={"virial": ("W", "Ha")})
    np.testing.assert_allclose(targets.stress[0], expected)
    slab = mixed[2]
    slab.info |= {"virial": virial, "energy": 1.0}
    with pytest.warns(UserWarning, match="1 structures that are not periodic"):
        assert Targets.from_ase([slab]).stress is None


def test_a_stress_beside_a_virial_is_taken():
    atoms = crystal_with_results()
    atoms.info |= {"virial": np.eye(3), "stress": 2 * np.eye(3)}
    assert (Targets.from_ase([atoms]).stress[0] == 2 * np.eye(3)).all()


def test_labels_under_other_names():
    atoms = molecule("H2O")
    atoms.info["dft"] = -1.5
    atoms.arrays["dft_forces"] = np.ones((3, 3))
    targets = Targets.from_ase([atoms], keys={"energy": "dft", "forces": "dft_forces"})
    assert targets.energy[0] == -1.5
    with pytest.raises(ValueError, match="no structure has energy under the key 'other'"):
        Targets.from_ase([atoms], keys={"energy": "other"})
    with pytest.raises(ValueError, match="'dft_forces' .info. has the shape .* dipole of a str"):
        atoms.info["dft_forces"] = np.ones((3, 3))
        Targets.from_ase([atoms], keys={"dipole": "dft_forces"})


def test_structures_without_a_label_are_told_apart_not_dropped():
    images = [molecule("H2O"), molecule("CH4")]
    for n, atoms in enumerate(images):
        atoms.info["energy"] = float(n)
    images[1].arrays["forces"] = np.zeros((5, 3))
    targets = Targets.from_ase(images)
    assert targets.labelled("forces").tolist() == [False, True]
    assert "forces" not in targets.results(0)
    with pytest.raises(ValueError, match="structure 0 has no forces"):
        targets.require("forces")
    with pytest.raises(ValueError, match="no stress, only energy, forces"):
        targets.require("stress")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no targets given"),
        ({"forces": np.zeros((6, 3))}, "or .* with offsets"),
        ({"forces": np.zeros((6, 3)), "offsets": [0, 3, 5]}, r"need \(5, 3\)"),
        ({"energy": np.zeros(3), "forces": np.zeros((2, 3, 3))}, r"need \(2,\)"),
        ({"energy": ["a", "b"]}, "energy must be real numbers, but has the text"),
        ({"energy": [1j, 2]}, "energy must be real numbers, but has the complex number"),
        ({"energy": [True, False]}, "energy must be real numbers, but has the truth value"),
        ({"energy": [0.0, {}]}, "energy must be real numbers, but has an object"),
        ({"energy": [0.0, np.inf]}, "energy of structure 1 is not finite"),
        ({"forces": [[[0, 0, np.nan], [0, 0, 0]]]}, "forces of structure 0 is not finite"),
    ],
)
def test_bad_targets_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        Targets(**given)


def test_volumes_are_those_of_the_cells_and_need_periodicity():
    cells = Structures.from_ase([bulk("Si"), bulk("Cu", cubic=True)])
    np.testing.assert_allclose(cells.volumes(), [bulk("Si").get_volume(), 3.61**3])
    with pytest.raises(ValueError, match="structure 1 is not: set pbc=True"):
        Structures.from_ase([bulk("Si"), molecule("H2O")]).volumes()


def test_moved_atoms_are_those_of_new_structures():
    structures = Structures.from_ase([bulk("Si"), molecule("H2O")])
    rng = np.random.default_rng(0)
    positions = structures.positions + rng.normal(size=structures.positions.shape)
    given = positions.copy()
    moved = structures.moved(given)
    given[:] = 0.0  # the array of an engine, which goes on
    np.testing.assert_array_equal(moved.positions, positions)
    np.testing.assert_array_equal(moved.numbers, structures.numbers)
    np.testing.assert_array_equal(moved.cells, structures.cells)
    other = structures.moved(positions, 1.1 * structures.cells)
    np.testing.assert_allclose(other.cells, 1.1 * structures.cells)
    with pytest.raises(ValueError, match="positions must be finite"):
        structures.moved(np.full_like(positions, np.nan))
    with pytest.raises(ValueError, match="from the origin"):
        structures.moved(1e10 + positions)
    with pytest.raises(ValueError, match="shape"):
        structures.moved(positions[:2])


def test_charges_and_lengths_of_dipoles_are_sliced_with_their_structures():
    offsets = np.array([0, 2, 5, 6])
    charges = np.array([0.1, -0.1, np.nan, np.nan, np.nan, 0.0])
    targets = Targets(dipole_norm=[0.3, np.nan, 0.0], charges=charges, offsets=offsets)
    np.testing.assert_array_equal(targets.labelled("charges"), [True, False, True])
    np.testing.assert_array_equal(targets.labelled("dipole_norm"), [True, False, True])
    part = targets[[2, 0]]
    np.testing.assert_array_equal(part.charges, [0.0, 0.1, -0.1])
    np.testing.assert_array_equal(part.dipole_norm, [0.0, 0.3])
    joined = Targets.concatenate([part, Targets(energy=[1.0], offsets=[0, 2])])
    np.testing.assert_array_equal(joined.charges, [0.0, 0.1, -0.1, np.nan, np.nan])
    with pytest.raises(ValueError, match="charges need to know whose they are: give offsets="):
        Targets(charges=charges)
    with pytest.raises(ValueError, match="targets 1 have no offsets, so their charges cannot"):
        Targets.concatenate([part, Targets(energy=[1.0])])
    with pytest.raises(ValueError, match="charges of structure 1 is not finite"):
        Targets(charges=[0.1, -0.1, np.nan, 0.0, np.nan, 0.0], offsets=offsets)
