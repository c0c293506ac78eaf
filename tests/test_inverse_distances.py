import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from conftest import rattled
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skatom import Structures
from skatom.descriptors import InverseDistances
from skatom.descriptors.inverse_distances import incidence, pair_features
from skatom.models.gdml.system import permute_pairs

WATER = Structures([8, 1, 1], [[1.464, 0.707, 1.056], [0.878, 1.218, 0.498], [2.319, 1.126, 0.952]])


def dense_jacobian(features):
    """∂x/∂R of the first frame, (D, 3N)."""
    c = features.gradients[0]
    n_atoms = int((1 + np.sqrt(1 + 8 * len(c))) / 2)
    return np.einsum("ap,px->pax", incidence(n_atoms), c).reshape(len(c), -1)


def test_values_of_water():
    values = InverseDistances().fit_transform(WATER)
    np.testing.assert_allclose(values, [[1.0449138248, 1.0440472618, 0.6606655688]], atol=1e-10)


@pytest.mark.parametrize("periodic", [False, True])
def test_jacobian_is_the_derivative(periodic):
    structures = rattled("CH3OH", 1)
    if periodic:  # skewed, and smaller than the molecule is long
        cell = np.array([[2.9, 0.1, 0.2], [0.8, 3.1, 0], [-0.5, 0.4, 3.3]])
        structures = Structures.from_frames(structures.numbers, structures.positions[None], cell)
    jacobian = dense_jacobian(pair_features(structures))
    step = 1e-6
    for k in range(jacobian.shape[1]):
        values = []
        for sign in (1, -1):
            moved = structures[:]
            moved.positions.flat[k] += sign * step
            values.append(pair_features(moved).values[0])
        np.testing.assert_allclose(
            (values[0] - values[1]) / (2 * step), jacobian[:, k], rtol=1e-7, atol=1e-8
        )


def test_periodic_distances_are_those_of_ase():
    cell = np.array([[2.9, 0.1, 0.2], [0.8, 3.1, 0], [-0.5, 0.4, 3.3]])
    atoms = Atoms("HCNO", np.random.default_rng(0).uniform(0, 9, (4, 3)), cell=cell, pbc=[1, 0, 1])
    expected = atoms.get_all_distances(mic=True)[np.tril_indices(4, -1)]
    np.testing.assert_allclose(1 / InverseDistances().fit_transform([atoms]).values[0], expected)


def test_a_permutation_of_atoms_is_one_of_pairs():
    structures = rattled("CH4", 1)
    permutation = np.array([0, 3, 1, 2, 4])
    permuted = Structures(structures.numbers, structures.positions[permutation])
    values = pair_features(structures).values[0]
    np.testing.assert_array_equal(
        pair_features(permuted).values[0], values[permute_pairs(permutation[None])[0]]
    )


def test_is_a_transformer():
    structures = rattled("H2O", 20)
    descriptor = clone(InverseDistances()).set_output(transform="pandas")
    frame = descriptor.fit_transform(structures)
    assert list(frame.columns) == ["1/d(H1,O0)", "1/d(H2,O0)", "1/d(H2,H1)"]
    energies = frame.to_numpy().sum(axis=1)
    model = make_pipeline(InverseDistances(), Ridge(1e-9)).fit(structures, energies)
    assert model.score(structures.to_ase(), energies) > 0.999


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([molecule("H2O"), molecule("CH4")], "structure 1 differs from structure 0"),
        ([Atoms("HO", [[0, 0, 0], [0, 0, 1]]), Atoms("OH", [[0, 0, 0], [0, 0, 1]])], "atom order"),
        ([Atoms("HOH", np.zeros((3, 3)))], "atoms 0 and 1 of structure 0 are 0.0e"),
    ],
)
def test_bad_input_is_named(images, message):
    with pytest.raises(ValueError, match=message):
        InverseDistances().fit_transform(images)


def test_other_molecules_than_fit_saw_are_refused():
    descriptor = InverseDistances().fit([molecule("H2O")])
    with pytest.raises(ValueError, match="have the atoms CHHHH, but fit saw OHH"):
        descriptor.transform([molecule("CH4")])
