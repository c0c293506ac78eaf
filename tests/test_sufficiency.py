import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from skatom.descriptors import ACSF
from skatom.descriptors.sufficiency import insufficient_pairs, largest_eta


def bent(angle):
    """Water-like molecules that differ in the angle alone."""
    half = np.radians(angle) / 2
    return Atoms(
        "OHH", [[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]]
    )


def test_angles_that_features_do_not_see_are_found():
    structures = [bent(a) for a in (80, 90, 100, 110, 120)]
    forces = np.zeros((5, 3, 3))
    forces[:, 0, 1] = [2.0, 1.0, 0.0, -1.0, -2.0]  # of the oxygen
    forces = forces.reshape(-1, 3)
    radial = ACSF(g2=[(0.1, 0)], g4=()).fit_transform(structures)
    pairs, ratios = insufficient_pairs(radial, forces, n_pairs=4)
    assert len(pairs) == len(ratios) == 4
    assert (radial.numbers[pairs] == 8).all()
    assert ratios[0] == pytest.approx(2.0 / 1e-3)  # the features of the oxygens are equal
    assert (np.diff(ratios) <= 0).all()
    angular = ACSF(g2=[(0.1, 0)], g4=[(0.01, 1, 1)]).fit_transform(structures)
    assert insufficient_pairs(angular, forces)[1][0] < 0.01 * ratios[0]


def test_every_pair_is_named_once_and_of_one_element():
    structures = [molecule("CH3CH2OH")]
    features = ACSF().fit_transform(structures)
    pairs, _ = insufficient_pairs(features, np.eye(9, 3), n_pairs=100)
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    numbers = features.numbers[pairs]
    assert (numbers[:, 0] == numbers[:, 1]).all()


def test_forces_of_other_atoms_are_an_error():
    features = ACSF().fit_transform([molecule("H2O")])
    with pytest.raises(ValueError, match=r"shape \(2, 3\), and the features are those of 3 atoms"):
        insufficient_pairs(features, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="give AtomicFeatures"):
        insufficient_pairs(features.pool("sum"), np.zeros((3, 3)))


def test_the_largest_gaussian_falls_fastest_at_the_shortest_distance():
    atoms = molecule("CH4")
    bond = atoms.get_distance(0, 1)
    found = largest_eta([atoms])
    r = np.linspace(0.5, 3.0, 20001)
    slope = np.gradient(np.exp(-found[1, 6] * r**2), r)
    assert r[np.argmin(slope)] == pytest.approx(bond, abs=1e-3)
    assert set(found) == {(1, 1), (1, 6)}
    assert largest_eta([atoms], cutoff=1.0) == {}
