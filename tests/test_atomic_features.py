import pickle

import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from derivatives import cotangent_for, slopes_of_displacements, slopes_of_strains
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import KFold, cross_validate, train_test_split
from sklearn.pipeline import Pipeline

from skatom.descriptors import SOAP

SMALL = {"cutoff": 4.0, "n_max": 4, "l_max": 3}
VARIANTS = [
    {},
    {"nu": 1},
    {"nu": 3, "parity": "both", "n_max": 2},
    {"species_compression": 2},
    {"normalize": False, "radial_basis": "gto"},
    {"central_weight": 0.0, "radial_scaling": {"rate": 1.0, "scale": 2.0, "exponent": 5.0}},
]
CELL = np.array([[3.0, 0.2, 0.0], [1.1, 2.8, 0.1], [-0.4, 0.9, 3.2]])
SCALED = np.array([[0.02, 0.0, 0.05], [0.45, 0.52, 0.4], [0.7, 0.1, 0.6]])


def batch():
    """A molecule, and a skewed crystal and a slab whose cells are smaller than the cutoff."""
    first = molecule("CH3OH")
    first.rattle(0.05, seed=3)
    crystal = Atoms("CHO", cell=CELL, scaled_positions=SCALED, pbc=True)
    slab = Atoms("CHO", cell=CELL, scaled_positions=SCALED, pbc=(True, True, False))
    return [first, crystal, slab, Atoms("C")]


@pytest.fixture(scope="module", params=VARIANTS, ids=str)
def features(request):
    return SOAP(**{**SMALL, **request.param}).fit_transform(batch())


@pytest.fixture(scope="module")
def plain():
    return SOAP(**SMALL).fit_transform(batch())


def test_gradients_equal_central_differences(features):
    cotangent = cotangent_for(features)
    gradient, _ = features.pullback(cotangent)
    expected = slopes_of_displacements(features, cotangent)
    np.testing.assert_allclose(gradient, expected, atol=1e-6, rtol=1e-6)


def test_virials_equal_central_differences(features):
    cotangent = cotangent_for(features)
    _, virial = features.pullback(cotangent)
    expected = slopes_of_strains(features, cotangent)
    np.testing.assert_allclose(virial, expected, atol=1e-6, rtol=1e-6)


def test_virial_of_invariants_is_symmetric_and_forces_sum_to_zero(features):
    gradient, virial = features.pullback(cotangent_for(features))
    np.testing.assert_allclose(virial, virial.transpose(0, 2, 1), atol=1e-9)
    sums = np.add.reduceat(gradient, features.offsets[:-1])
    np.testing.assert_allclose(sums, 0, atol=1e-10)


def test_jacobian_equals_pullback(features):
    chosen = slice(1, 3)
    part, jacobian = features[chosen], features.jacobian(chosen)
    cotangent = cotangent_for(part)
    pairs = jacobian.pairs
    along = np.einsum("pxf,pf->px", jacobian.values, cotangent[pairs.centers])
    gradient = np.zeros((len(cotangent), 3))
    np.add.at(gradient, pairs.indices, along)
    np.add.at(gradient, pairs.centers, -along)
    structure = np.searchsorted(part.offsets, pairs.centers, side="right") - 1
    virial = np.zeros((len(part), 3, 3))
    np.add.at(virial, structure, along[:, :, None] * pairs.vectors[:, None])
    expected_gradient, expected_virial = part.pullback(cotangent)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-10)
    np.testing.assert_allclose(virial, expected_virial, atol=1e-10)


def test_one_cotangent_for_all_atoms(plain):
    cotangent = cotangent_for(plain)[0]
    same = plain.pullback(np.tile(cotangent, (len(plain.numbers), 1)))
    for a, b in zip(plain.pullback(cotangent), same, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (14, 3)])
def test_wrong_cotangent_is_an_error(plain, shape):
    with pytest.raises(ValueError, match="cotangent has the shape"):
        plain.pullback(np.zeros(shape))


@pytest.mark.parametrize(
    "key",
    [1, -1, slice(1, 3), slice(None, None, -1), [3, 0], np.array([True, False, True, False]),
     (np.array([2, 2]), ...)],
)  # fmt: skip
def test_slicing_by_structure(plain, key):
    part = plain[key]
    atoms = batch()
    index = key[0] if isinstance(key, tuple) else key
    rows = np.atleast_1d(np.arange(4)[index])
    again = plain.descriptor.transform([atoms[s] for s in rows])
    np.testing.assert_allclose(part.values, again.values, atol=1e-14)
    np.testing.assert_array_equal(part.numbers, again.numbers)
    np.testing.assert_array_equal(part.offsets, again.offsets)
    assert part.shape == (len(rows),) and len(part) == len(rows)
    np.testing.assert_array_equal(part.n_atoms, [len(atoms[s]) for s in rows])
    # the derivatives follow
    cotangent = cotangent_for(part)
    np.testing.assert_allclose(
        part.pullback(cotangent)[0], again.pullback(cotangent)[0], atol=1e-12
    )


def test_pool(plain):
    sums = plain.pool("sum")
    assert sums.shape == (4, plain.values.shape[1])
    np.testing.assert_allclose(sums.values[0], plain[0].values.sum(axis=0))
    np.testing.assert_allclose(plain.pool("mean").values[1], plain[1].values.mean(axis=0))
    with pytest.raises(ValueError, match="'sum' or 'mean'"):
        plain.pool("max")


def test_not_a_plain_array(plain):
    with pytest.raises(TypeError, match="pool"):
        np.asarray(plain)


def test_iterates_over_structures_and_names_itself(plain):
    assert [len(part.numbers) for part in plain] == [6, 3, 3, 1]
    assert repr(plain) == "AtomicFeatures(4 structures, 13 atoms, 312 features, species H C O)"


def test_keeps_its_descriptor_when_that_is_fitted_again():
    soap = SOAP(**SMALL)
    features = soap.fit_transform([molecule("CO")])
    before = features.pullback(np.ones(features.values.shape[1]))[0]
    soap.set_params(cutoff=3.0).fit([molecule("CH3OH")])
    after = features.pullback(np.ones(features.values.shape[1]))[0]
    np.testing.assert_array_equal(after, before)


def test_pickles(plain):
    copy = pickle.loads(pickle.dumps(plain))
    np.testing.assert_array_equal(copy.values, plain.values)
    cotangent = cotangent_for(plain)
    np.testing.assert_array_equal(copy.pullback(cotangent)[0], plain.pullback(cotangent)[0])
    assert joblib.hash(copy) == joblib.hash(plain)


class MeanNorm(RegressorMixin, BaseEstimator):
    """A model that takes AtomicFeatures."""

    def fit(self, X, y):
        self.scale_ = np.mean(y) / X.pool("sum").values.mean()
        return self

    def predict(self, X):
        return self.scale_ * X.pool("sum").values.mean(axis=1)


def test_passes_through_scikit_learn(tmp_path):
    structures = [molecule(n) for n in ("CH4", "C2H6", "CO", "CH3OH", "H2O", "CO2", "C2H4", "HCN")]
    y = np.arange(8.0)
    soap = SOAP(cutoff=3.0, n_max=2, l_max=1)
    features = soap.fit_transform(structures)
    train, test, _, _ = train_test_split(features, y, random_state=0)
    assert (len(train), len(test)) == (6, 2)
    assert len(cross_validate(MeanNorm(), features, y, cv=KFold(2))["test_score"]) == 2

    model = Pipeline([("soap", soap), ("model", MeanNorm())], memory=str(tmp_path))
    first = model.fit(structures, y).predict(structures)
    again = model.fit(structures, y).predict(structures)  # from the cache on disk
    np.testing.assert_array_equal(first, again)
