import numpy as np
import pytest
from conftest import rattled

from skatom import Structures
from skatom.datasets import load_benzene, load_ethanol
from skatom.symmetry import _generate_group, check_permutations, find_permutations


def assert_group(permutations, numbers):
    np.testing.assert_array_equal(permutations[0], np.arange(len(numbers)))
    np.testing.assert_array_equal(check_permutations(permutations, numbers), permutations)


@pytest.mark.parametrize(("load", "order"), [(load_ethanol, 6), (load_benzene, 12)])
def test_symmetries_of_a_trajectory(load, order):
    structures = load().structures[:200]
    permutations = find_permutations(structures)
    assert len(permutations) == order
    assert_group(permutations, structures[0].numbers)


def test_order_of_frames_does_not_matter():
    structures = load_ethanol().structures[:200]
    shuffled = structures[np.random.default_rng(1).permutation(200)]
    np.testing.assert_array_equal(find_permutations(structures), find_permutations(shuffled))


def test_a_known_permutation_is_found_exactly():
    structure = rattled("CH4", 1, amplitude=0.3)
    permutation = [0, 2, 3, 4, 1]
    pair = Structures.from_frames(
        structure.numbers, [structure.positions, structure.positions[permutation]]
    )
    found = find_permutations(pair)
    assert permutation in found.tolist()
    assert len(found) == 4  # the powers of a four-cycle


def test_unlike_atoms_are_never_exchanged():
    numbers = np.array([6, 1, 1, 9, 9])
    positions = rattled("CH4", 100, amplitude=0.3).positions.reshape(100, 5, 3)
    permutations = find_permutations(Structures.from_frames(numbers, positions))
    assert (numbers[permutations] == numbers).all()
    assert len(permutations) > 1


def test_generators_with_conflicting_cycles_are_dropped():
    # (0 1 2 3 4 5) is real; the accidental swap (0 1) would make it all 720 of S6
    generators = {(1, 2, 3, 4, 5, 0), (1, 0, 2, 3, 4, 5)}
    assert len(_generate_group(generators, 6)) == 6


def test_too_many_permutations_are_refused():
    generators = {(1, 2, 3, 4, 5, 0), (1, 2, 3, 0, 5, 4), (5, 1, 2, 3, 4, 0)}
    generators |= {(1, 0, 3, 4, 5, 2), (2, 1, 3, 4, 5, 0)}
    with pytest.raises(ValueError, match="more than 100 permutations"):
        _generate_group(generators | {(0, 3, 1, 4, 5, 2), (1, 2, 3, 5, 0, 4)}, 6)


@pytest.mark.parametrize(
    ("permutations", "message"),
    [
        ([[0, 1]], r"give \(S, 3\)"),
        ([[0, 1, 1]], "is not a permutation of 0 … 2"),
        ([[1, 0, 2]], "exchanges unlike atoms"),
        ([[0, 2, 1]], "are not a group"),
        ([[0, 1, 2], [0, 1, 2]], "each once"),
    ],
)
def test_what_is_no_group_is_refused(permutations, message):
    with pytest.raises(ValueError, match=message):
        check_permutations(permutations, np.array([8, 1, 1]))


@pytest.mark.parametrize("name", ["rmd17_ethanol_train", "rmd17_aspirin_train"])
def test_six_permutations_in_real_trajectories(reference_data, name):
    with np.load(reference_data / "molecules" / f"{name}.npz") as data:
        structures = Structures.from_frames(data["z"], data["R"][:300])
    assert len(find_permutations(structures)) == 6
