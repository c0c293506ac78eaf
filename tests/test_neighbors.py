import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import primitive_neighbor_list

from skatom import Structures
from skatom.neighbors import neighbor_list

SKEWED = [[3.1, 0.0, 0.0], [1.4, 2.9, 0.0], [-0.9, 1.1, 3.4]]


def random_atoms(n, cell, pbc, seed=0):
    rng = np.random.default_rng(seed)
    # some atoms lie outside of the cell
    positions = rng.uniform(-0.7, 1.6, (n, 3)) @ np.asarray(cell, float)
    return Atoms(rng.choice([1, 6, 8], n), positions, cell=cell, pbc=pbc)


def sorted_pairs(centers, indices, vectors):
    rows = np.column_stack([centers, indices, np.round(vectors, 8) + 0.0])
    return rows[np.lexsort(rows.T[::-1])]


def assert_same_as_ase(atoms, cutoff):
    pairs = neighbor_list([atoms], cutoff)
    i, j, D = primitive_neighbor_list(
        "ijD", atoms.pbc, atoms.cell, atoms.positions, cutoff, self_interaction=False
    )
    np.testing.assert_allclose(
        sorted_pairs(pairs.centers, pairs.indices, pairs.vectors),
        sorted_pairs(i, j, D),
        atol=2e-8,
    )


@pytest.mark.parametrize(
    "pbc", [(0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)]
)
def test_skewed_cell_smaller_than_cutoff(pbc):
    assert_same_as_ase(random_atoms(4, SKEWED, np.array(pbc, bool)), 6.3)


@pytest.mark.parametrize("pbc", [True, False, (True, True, False)])
def test_large_skewed_cell(pbc):
    atoms = random_atoms(300, 7 * np.array(SKEWED), pbc, seed=1)
    assert_same_as_ase(atoms, 3.7)


def test_very_flat_cell_and_sparse_box():
    assert_same_as_ase(random_atoms(3, np.diag([1.3, 9.0, 25.0]), True), 4.0)
    far = Atoms("H3", [[0, 0, 0], [0, 0, 1.0], [0, 0, 1e7]])
    assert neighbor_list([far], 2.0).indices.tolist() == [1, 0]


def test_missing_vectors_of_non_periodic_directions():
    wire = Atoms("CH", [[0, 0, 0], [0.9, 0.5, 0.2]], cell=[0, 2.0, 0], pbc=(False, True, False))
    reference = wire.copy()
    reference.cell = [30, 2.0, 30]
    a, b = neighbor_list([wire], 5.0), neighbor_list([reference], 5.0)
    np.testing.assert_allclose(
        sorted_pairs(a.centers, a.indices, a.vectors), sorted_pairs(b.centers, b.indices, b.vectors)
    )


def test_batch_equals_one_by_one():
    batch = [molecule("CH3CH2OH"), bulk("Si"), Atoms("He"), random_atoms(50, SKEWED, True)]
    pairs = neighbor_list(batch, 4.0)
    structures = Structures.from_ase(batch)
    for s, atoms in enumerate(batch):
        alone = neighbor_list([atoms], 4.0)
        start, stop = structures.offsets[s : s + 2]
        chosen = slice(pairs.offsets[start], pairs.offsets[stop])
        np.testing.assert_array_equal(pairs.vectors[chosen], alone.vectors)
        np.testing.assert_array_equal(pairs.indices[chosen] - start, alone.indices)


def test_isolated_atom_has_no_neighbors():
    pairs = neighbor_list([Atoms("He"), Atoms("H2", [[0, 0, 0], [0, 0, 9.0]])], 5.0)
    assert len(pairs) == 0
    assert pairs.offsets.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("cutoff", [0, -1.0, np.nan, np.inf])
def test_bad_cutoff(cutoff):
    with pytest.raises(ValueError, match="must be a positive length"):
        neighbor_list([molecule("H2O")], cutoff)


def test_coincident_atoms_are_named():
    bad = Atoms("CHO", [[0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    with pytest.raises(ValueError, match="structure 1: atoms 1 and 2 are at the same place"):
        neighbor_list([molecule("H2O"), bad], 3.0)
    wrapped = Atoms("H2", [[0, 0, 0], [0, 0, 3.0]], cell=np.eye(3) * 3, pbc=True)
    with pytest.raises(ValueError, match="structure 0: atoms 0 and 1"):
        neighbor_list([wrapped], 2.0)
