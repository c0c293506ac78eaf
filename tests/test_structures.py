import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_validate, train_test_split

from skatom import Structures, Targets


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
        ({"pbc": [[True] * 3]}, "is flat"),
        ({"pbc": [[True] * 3], "cells": [np.diag([3.0, 3.0, 0.0])]}, "is flat"),
        ({"pbc": [[True] * 3], "cells": [[[3, 0, 0], [3, 1e-9, 0], [0, 0, 3]]]}, "is flat"),
        ({"pbc": [[True] * 3], "cells": [np.diag([3.0, 3.0, -3.0])]}, "is left-handed"),
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
    ],
)
def test_what_is_no_list_of_atoms_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        Structures.from_ase(value)


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


def test_results_of_other_positions_are_not_labels():
    targets = Targets(energy=[1.0])
    images = Structures.from_ase([molecule("H2O")]).to_ase(targets)
    images[0].positions += 0.1
    with pytest.raises(ValueError, match="carry no energies"):
        Targets.from_ase(images)


def test_labels_under_other_names():
    atoms = molecule("H2O")
    atoms.info["dft"] = -1.5
    atoms.arrays["dft_forces"] = np.ones((3, 3))
    targets = Targets.from_ase([atoms], keys={"energy": "dft", "forces": "dft_forces"})
    assert targets.energy[0] == -1.5
    with pytest.raises(ValueError, match="no structure has energy under the key 'other'"):
        Targets.from_ase([atoms], keys={"energy": "other"})
    with pytest.raises(ValueError, match="'dft_forces' has the shape .* dipole of a structure"):
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
