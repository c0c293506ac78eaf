import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import primitive_neighbor_list

from skatom import Structures
from skatom.neighbors import NeighborList, concatenate, neighbor_list

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


# --- parts of a list --------------------------------------------------------------------------


def mixed_batch():
    return Structures.from_ase(
        [molecule("CH3CH2OH"), bulk("Si"), Atoms("He"), random_atoms(9, SKEWED, (1, 0, 1))]
    )


def assert_same(a, b):
    for name in ("offsets", "indices", "vectors", "atoms", "centers"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.cutoff == b.cutoff


def test_list_of_some_centres():
    pairs = neighbor_list(mixed_batch(), 3.5)
    centers = np.array([12, 0, 9, 11])
    part = pairs.take(centers)
    np.testing.assert_array_equal(part.atoms, centers)
    for k, i in enumerate(centers):
        mine = slice(*part.offsets[k : k + 2])
        whole = slice(*pairs.offsets[i : i + 2])
        np.testing.assert_array_equal(part.indices[mine], pairs.indices[whole])
        np.testing.assert_array_equal(part.vectors[mine], pairs.vectors[whole])
        assert (part.centers[mine] == i).all()


def test_list_of_consecutive_centres_is_not_a_copy():
    pairs = neighbor_list([molecule("CH4"), bulk("Si")], 3.0)
    some = pairs.take([1, 2, 5, 6])
    run, taken = some.run(slice(1, 3)), some.take([1, 2])
    assert np.shares_memory(run.vectors, some.vectors)
    for name in ("offsets", "indices", "vectors", "atoms", "centers"):
        np.testing.assert_array_equal(getattr(run, name), getattr(taken, name))
    assert len(run) > 0
    assert len(some.run(slice(2, 2))) == 0


def test_shorter_list():
    structures = mixed_batch()
    pairs, part = neighbor_list(structures, 2.5), neighbor_list(structures, 4.0).within(2.5)
    assert part.cutoff == 2.5
    np.testing.assert_array_equal(part.offsets, pairs.offsets)
    np.testing.assert_array_equal(
        sorted_pairs(part.centers, part.indices, part.vectors),
        sorted_pairs(pairs.centers, pairs.indices, pairs.vectors),
    )
    assert pairs.within(2.5) is pairs
    with pytest.raises(
        ValueError, match=r"within 3.0 Å are not in a list of neighbours within 2.5"
    ):
        pairs.within(3.0)


@pytest.mark.parametrize(
    "key", [slice(1, 3), slice(None), [3, 0], 2, np.arange(4) != 1, []], ids=str
)
def test_list_of_some_structures(key):
    structures = mixed_batch()
    pairs = neighbor_list(structures, 3.0).of_structures(structures.offsets, key)
    if isinstance(key, list) and not key:
        assert len(pairs) == len(pairs.atoms) == 0
        return
    assert_same(pairs, neighbor_list(structures[key], 3.0))


def test_lists_of_batches_are_joined():
    structures = mixed_batch()
    parts = [neighbor_list(structures[s], 3.0) for s in range(4)]
    assert_same(concatenate(parts), neighbor_list(structures, 3.0))
    assert concatenate(parts[:1]) is parts[0]


# --- lists of others --------------------------------------------------------------------------


def given(structures, pairs, cutoff=3.0, chosen=slice(None), **changes):
    arrays = {"centers": pairs.centers, "indices": pairs.indices, "vectors": pairs.vectors}
    arrays = {name: array[chosen] for name, array in arrays.items()} | changes
    return NeighborList.from_pairs(structures, **arrays, cutoff=cutoff)


def test_pairs_in_any_order_become_the_list():
    structures = mixed_batch()
    pairs = neighbor_list(structures, 3.0)
    order = np.random.default_rng(0).permutation(len(pairs))
    found = given(structures, pairs, chosen=order)
    np.testing.assert_array_equal(found.offsets, pairs.offsets)
    np.testing.assert_allclose(
        sorted_pairs(found.centers, found.indices, found.vectors),
        sorted_pairs(pairs.centers, pairs.indices, pairs.vectors),
    )
    assert len(given([Atoms("He")], neighbor_list([Atoms("He")], 3.0))) == 0


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


def test_wrong_pairs_are_errors():
    structures = mixed_batch()
    pairs = neighbor_list(structures, 3.0)
    indices = pairs.indices
    wrong = [
        ("centers and indices must be", {"centers": pairs.centers[1:]}),
        ("must be .* integers", {"indices": pairs.indices + 0.5}),
        ("pair 3 names atom 21, but there are 21 atoms", {"indices": changed(indices, 3, 21)}),
        ("pair 3 names atom -1", {"centers": changed(pairs.centers, 3, -1)}),
        ("vector of pair 2 is .*nan", {"vectors": changed(pairs.vectors, (2, 0), np.nan)}),
        ("vector of pair 0 is .*give the pairs closer than cutoff=2.0", {"cutoff": 2.0}),
        ("none of length zero", {"vectors": changed(pairs.vectors, 4, 0.0)}),
        ("joins atoms 0 and 9, of the structures 0 and 1", {"indices": changed(indices, 0, 9)}),
        ("pair 1, .* is not that from atom 0", {"vectors": changed(pairs.vectors, (1, 2), 0.5)}),
        ("cutoff=0.0 must be a positive length", {"cutoff": 0.0}),
    ]  # fmt: skip
    for message, changes in wrong:
        if message.startswith("vector of pair 0"):
            longest = np.argsort(-np.linalg.norm(pairs.vectors, axis=1), kind="stable")
            changes = {**changes, "chosen": longest}
        with pytest.raises(ValueError, match=message):
            given(structures, pairs, **changes)
    twice = np.r_[np.arange(len(pairs)), 5]
    with pytest.raises(ValueError, match="is given twice"):
        given(structures, pairs, chosen=twice)
    with pytest.raises(ValueError, match="pair of atoms (0 and 1|1 and 0) is given from one"):
        given(structures, pairs, chosen=slice(1, None))


def test_shifts_along_directions_that_are_not_periodic_are_errors():
    slab = Atoms("H2", [[0, 0, 0], [0, 0, 1.0]], cell=np.eye(3) * 4, pbc=(True, True, False))
    pairs = NeighborList.from_pairs([slab], [0, 1], [1, 0], [[4, 0, 1], [-4, 0, -1]], 5.0)
    np.testing.assert_array_equal(pairs.vectors, [[4, 0, 1], [-4, 0, -1]])
    with pytest.raises(ValueError, match="is not that from atom 0"):
        NeighborList.from_pairs([slab], [0, 1], [1, 0], [[0, 0, 5.0], [0, 0, -5.0]], 6.0)
