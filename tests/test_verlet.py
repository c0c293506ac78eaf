"""Neighbours that are kept between the steps of a simulation."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from skatom import Structures
from skatom._verlet import FollowedNeighbors, VerletList
from skatom.neighbors import neighbor_list

SKEWED = np.array([[5.1, 0.2, 0.0], [2.4, 4.9, 0.3], [-1.2, 0.5, 5.6]])


def sorted_pairs(pairs):
    rows = np.column_stack([pairs.centers, pairs.indices, pairs.vectors.round(9)])
    return rows[np.lexsort(rows.T)]


def wandering(pbc, n, rng, deform):
    """Structures of atoms that drift, are wrapped at times, in a cell that is strained."""
    inside = rng.uniform(size=(9, 3))
    cell = SKEWED.copy()
    for step in range(n):
        inside += rng.normal(scale=0.008, size=inside.shape)
        if deform:
            cell = cell @ (np.eye(3) + rng.normal(scale=0.002, size=(3, 3)))
        wrapped = np.where(pbc, inside % 1.0, inside) if step % 5 == 0 else inside
        yield Structures(np.full(9, 14), wrapped @ cell, None, cell[None], [pbc])


@pytest.mark.parametrize("deform", [False, True])
@pytest.mark.parametrize("pbc", [(True,) * 3, (True, False, True), (False,) * 3], ids=str)
def test_pairs_are_those_of_a_search(pbc, deform):
    lists = VerletList(skin=0.6)
    n_steps = 60
    for structure in wandering(np.array(pbc), n_steps, np.random.default_rng(3), deform):
        pairs, fresh = lists.find(structure, 3.0), neighbor_list(structure, 3.0)
        np.testing.assert_allclose(sorted_pairs(pairs), sorted_pairs(fresh), atol=1e-8)
    assert 1 < lists.n_searches < n_steps / 2


def test_a_uniform_strain_alone_is_no_reason_to_search_unless_it_is_larger_than_the_skin():
    crystal = bulk("Si", cubic=True)
    lists = VerletList(skin=0.6)
    for scale in (1.0, 0.97, 1.04):
        atoms = crystal.copy()
        atoms.set_cell(scale * crystal.cell, scale_atoms=True)
        lists.find(Structures.from_ase([atoms]), 3.0)
    assert lists.n_searches == 1
    atoms.set_cell(0.8 * crystal.cell, scale_atoms=True)
    structure = Structures.from_ase([atoms])
    pairs = lists.find(structure, 3.0)
    assert lists.n_searches == 2
    np.testing.assert_allclose(
        sorted_pairs(pairs), sorted_pairs(neighbor_list(structure, 3.0)), atol=1e-8
    )


def test_another_number_of_atoms_or_periodicity_is_searched_anew():
    lists = VerletList()
    atoms = Atoms("Si3", [[0, 0, 0], [0, 0, 2.2], [0, 2.2, 0]], cell=[9, 9, 2.4])
    assert len(lists.find(Structures.from_ase([atoms]), 2.5)) == 4
    atoms.pbc = [False, False, True]
    assert len(lists.find(Structures.from_ase([atoms]), 2.5)) == 14
    assert len(lists.find(Structures.from_ase([atoms[:2]]), 2.5)) == 8


def test_a_batch_is_followed_structure_by_structure():
    rng = np.random.default_rng(0)
    batch = Structures.concatenate(list(wandering(np.array([True] * 3), 3, rng, True)))
    followed = batch.with_neighbors(FollowedNeighbors(batch, [VerletList() for _ in range(3)]))
    for chosen in (slice(None), [2, 0], 1):
        pairs = neighbor_list(followed[chosen], 3.2)
        fresh = neighbor_list(batch[chosen], 3.2)
        np.testing.assert_allclose(sorted_pairs(pairs), sorted_pairs(fresh), atol=1e-8)
