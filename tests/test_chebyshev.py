import numpy as np
import pytest
from ase import Atoms
from batches import crystal, rattled_methanol

from skatom.descriptors import ChebyshevFunctions
from skatom.neighbors import neighbor_list
from skatom.structures import as_structures


def direct(structures, cutoff, angular_cutoff, orders, spins):
    """The formula, pair by pair of neighbours."""
    pairs = neighbor_list(structures, cutoff)
    rows = []
    for i in range(len(structures.numbers)):
        near = slice(*pairs.offsets[i : i + 2])
        r = np.linalg.norm(pairs.vectors[near], axis=1)
        unit = pairs.vectors[near] / r[:, None]
        cut, angular_cut = (
            np.where(r < c, 0.5 * (np.cos(np.pi * r / c) + 1), 0) for c in (cutoff, angular_cutoff)
        )
        row = []
        for weight in spins:
            w = np.array([weight[z] for z in structures.numbers[pairs.indices[near]]])
            x = np.clip(2 * r / cutoff - 1, -1, 1)
            row += [np.sum(w * np.cos(n * np.arccos(x)) * cut) for n in range(orders[0] + 1)]
            theta = np.arccos(np.clip(unit @ unit.T, -1, 1))
            both = np.triu(np.outer(w * angular_cut, w * angular_cut), 1)
            row += [np.sum(both * np.cos(n * theta)) for n in range(orders[1] + 1)]
        rows.append(row)
    return np.array(rows)


def test_values_are_those_of_the_formula():
    structures = as_structures([rattled_methanol(), crystal()])
    spins = [{1: 1, 6: 1, 8: 1}, {1: -1, 6: 0, 8: 1}]
    found = ChebyshevFunctions(4.0, 7, 9, angular_cutoff=3.5).fit_transform(structures)
    expected = direct(structures, 4.0, 3.5, (7, 9), spins)
    np.testing.assert_allclose(found.values, expected, atol=1e-11)


@pytest.mark.parametrize(
    ("symbols", "weights"),
    [("HC", [-1, 1]), ("HCNO", [-2, -1, 1, 2]), ("HCNOF", [-2, -1, 0, 1, 2])],
)
def test_weights_of_species_are_integers_around_zero(symbols, weights):
    atoms = Atoms(symbols, np.arange(3 * len(symbols)).reshape(-1, 3) ** 1.1)
    expansion = ChebyshevFunctions().fit([atoms])._compiled()
    np.testing.assert_array_equal(expansion.weights, [np.ones(len(weights)), weights])


def test_the_size_does_not_depend_on_the_number_of_species():
    few, many = Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), crystal()
    sizes = {ChebyshevFunctions().fit([x]).n_features_out_ for x in (few, many)}
    assert sizes == {36}
    assert ChebyshevFunctions().fit([Atoms("C")]).n_features_out_ == 18


def test_without_functions_there_is_an_error():
    with pytest.raises(ValueError, match="raise radial_order or angular_order above -1"):
        ChebyshevFunctions(radial_order=-1, angular_order=-1).fit([crystal()])


def test_the_angular_cutoff_is_not_longer():
    with pytest.raises(ValueError, match="angular_cutoff=5.0 must not be larger than cutoff=4.0"):
        ChebyshevFunctions(4.0, angular_cutoff=5.0).fit([crystal()])
