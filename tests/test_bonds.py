"""Bonds of molecules: arrays, slices, joined structures, RDKit."""

import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from skatom import Structures
from skatom.bonds import Bonds, perceive_bonds
from skatom.neighbors import neighbor_list


def molecules():
    structures = Structures.from_ase([molecule("H2O"), Atoms("O"), molecule("H2CO")])
    features = np.arange(16.0).reshape(8, 2)
    pairs = [[6, 4], [0, 1], [2, 0], [5, 4], [4, 7]]
    return structures.with_bonds(Bonds(pairs, [1, 1, 1, 2, 1], structures.offsets, features))


class TestBonds:
    def test_are_sorted_with_their_orders(self):
        bonds = molecules().known_bonds
        np.testing.assert_array_equal(bonds.pairs, [[0, 1], [0, 2], [4, 5], [4, 6], [4, 7]])
        np.testing.assert_array_equal(bonds.orders, [1, 1, 2, 1, 1])
        np.testing.assert_array_equal(bonds.kinds(), [0, 0, 1, 0, 0])

    @pytest.mark.parametrize("key", [2, [2, 0], slice(None, None, -1), [True, False, True]])
    def test_slices_are_those_of_the_structures(self, key):
        some = molecules()[key]
        chosen = np.atleast_1d(np.arange(3)[key])
        parts = [molecules()[int(s)].known_bonds for s in chosen]
        again = parts[0].joined(parts, some.offsets)
        np.testing.assert_array_equal(some.known_bonds.pairs, again.pairs)
        np.testing.assert_array_equal(some.known_bonds.orders, again.orders)
        np.testing.assert_array_equal(some.known_bonds.atom_features, again.atom_features)
        assert len(some.known_bonds) == len(chosen)

    def test_of_one_structure_begin_at_zero(self):
        bonds = molecules()[2].known_bonds
        np.testing.assert_array_equal(bonds.pairs, [[0, 1], [0, 2], [0, 3]])
        np.testing.assert_array_equal(bonds.atom_features[0], [8, 9])
        assert molecules()[1].known_bonds.pairs.shape == (0, 2)

    def test_stay_with_structures_that_move_or_have_neighbors_or_are_pickled(self):
        structures = molecules()
        kept = [
            structures.moved(structures.positions + 1),
            structures.moved(structures.positions, structures.cells + 0),
            structures.with_neighbors(neighbor_list(structures, 2.0)),
            pickle.loads(pickle.dumps(structures)),
            Structures.from_ase([structures[k] for k in range(3)]),
        ]
        for other in kept:
            np.testing.assert_array_equal(other.known_bonds.pairs, structures.known_bonds.pairs)

    def test_structures_with_and_without_bonds_cannot_be_joined(self):
        structures = molecules()
        other = Structures(structures.numbers, structures.positions, structures.offsets)
        with pytest.raises(ValueError, match="6 structures are joined, and 3 of them have bonds"):
            Structures.concatenate([structures, other])

    @pytest.mark.parametrize("pairs, orders, message", [
        ([[0, 1]], [1, 2], "2 orders for 1 bonds"),
        ([[0, 1]], [4], "a bond has the order 4: give 1, 2, 3, or 1.5"),
        ([[0, 8]], None, "the atoms 0 to 8, and there are 8"),
        ([[-1, 0]], None, "the atoms -1 to 0"),
        ([[2, 3]], None, "from atom 2 to atom 3: give bonds of two atoms of one structure"),
        ([[1, 1]], None, "from atom 1 to atom 1"),
        ([[0, 1], [1, 0]], None, "the bond of atoms 0 and 1 occurs twice"),
    ])  # fmt: skip
    def test_wrong_ones_are_errors(self, pairs, orders, message):
        with pytest.raises(ValueError, match=message):
            Bonds(pairs, orders, [0, 3, 4, 8])

    def test_features_of_other_atoms_are_an_error(self):
        with pytest.raises(ValueError, match="8 atoms need \\(8, n_features\\)"):
            Bonds([[0, 1]], None, [0, 3, 4, 8], np.ones((7, 2)))

    def test_offsets_are_needed(self):
        with pytest.raises(ValueError, match="give structures.offsets"):
            Bonds([[0, 1]])

    def test_those_of_other_structures_are_an_error(self):
        with pytest.raises(ValueError, match="of 3 structures of 8 atoms, these are 1 of 3"):
            molecules()[:1].with_bonds(molecules().known_bonds)


class TestPerception:
    def test_without_rdkit_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "rdkit", None)
        with pytest.raises(ImportError, match="pip install 'skatom\\[rdkit\\]', or give them by"):
            perceive_bonds([molecule("H2O")])

    def test_finds_orders_and_features(self):
        pytest.importorskip("rdkit")
        names = ("C2H4", "C6H6", "HCN", "CH3OH")
        images = [molecule(name) for name in names] + [Atoms("O")]
        bonds = perceive_bonds(images)
        orders = [sorted(bonds[s].orders) for s in range(5)]
        assert orders[0] == [1, 1, 1, 1, 2]
        assert orders[1] == [1] * 6 + [1.5] * 6
        assert orders[2] == [1, 3]
        assert orders[3] == [1] * 5
        assert orders[4] == []
        features = [bonds[s].atom_features for s in range(4)]
        np.testing.assert_array_equal(features[0][0], [6, 0, 0, 0, 0, 1, 0, 2])
        np.testing.assert_array_equal(features[1][0], [6, 0, 0, 1, 0, 1, 0, 1])
        carbon = [int(z) for z in images[2].numbers].index(6)
        np.testing.assert_array_equal(features[2][carbon], [6, 0, 0, 0, 1, 0, 0, 1])
        oxygen = [int(z) for z in images[3].numbers].index(8)
        np.testing.assert_array_equal(features[3][oxygen], [8, 1, 1, 0, 0, 0, 1, 1])

    def test_of_charged_molecules_needs_the_charge(self):
        pytest.importorskip("rdkit")
        ammonium = Atoms(
            "NH4",
            [[0, 0, 0], *(0.59 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]))],
        )
        assert len(perceive_bonds([ammonium], charges=[1]).pairs) == 4
        with pytest.warns(UserWarning, match="of 1 structures, the first of which is 1 with the"):
            bonds = perceive_bonds([molecule("H2O"), ammonium])
        np.testing.assert_array_equal(bonds.orders, 1)
        assert len(bonds[1].pairs) == 4

    def test_of_crystals_is_an_error(self):
        pytest.importorskip("rdkit")
        with pytest.raises(ValueError, match="structure 0 is periodic, and bonds are those of"):
            perceive_bonds([bulk("Cu")])
