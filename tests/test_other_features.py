"""Features of another descriptor are an error for whatever was fitted to features.

There are as many of them, so nothing else would notice: descriptors of another cutoff or exponent,
or of the same parameters but fitted to other structures.
"""

import pickle

import numpy as np
import pytest
from models_under_contract import CASES, SMALL_SOAP, labels_of, waters
from sklearn.base import clone

from skatom.decomposition import RelevantDimension
from skatom.descriptors import (
    FeatureScaler,
    FeatureSelector,
    InverseDistances,
    ThermometerEncoder,
)
from skatom.descriptors.maps import Linear
from skatom.kernels import Cosine, Gaussian, KernelMatrix, Laplacian, StructureKernel
from skatom.models import LinearPotential
from skatom.random_features import (
    PrincipalComponents,
    RandomFourierFeatures,
    SampledNetworkFeatures,
)
from skatom.selection import CUR, FarthestPointSampling, KernelVariance, MaxVol, NearestDistance

# what is changed of a descriptor; the number of features stays
CHANGES = {"cutoff": 3.7, "beta": 0.6}
OTHERS = {
    "scaler": (FeatureScaler(), "transform"),
    "column selector": (FeatureSelector(5), "transform"),
    "thermometer": (ThermometerEncoder(), "transform"),
    "cur": (CUR(5), "transform"),
    "fps": (FarthestPointSampling(5), "transform"),
    "components": (PrincipalComponents(3), "transform"),
    "waves": (RandomFourierFeatures(n_features=8, random_state=0), "transform"),
    "neurons": (SampledNetworkFeatures(8, random_state=0), "transform"),
    "kernel matrix": (KernelMatrix(Cosine(2)), "transform"),
    "relevant dimension": (RelevantDimension(Gaussian(1.0)), "transform"),
    "grades": (MaxVol(), "score"),
    "kernel variance": (KernelVariance(Cosine(2)), "score"),
    "nearest distance": (NearestDistance(), "score"),
}


def models():
    """The first case of each class of models and of descriptors, by class."""
    found = {}
    for name, case in CASES.items():
        steps = getattr(case.make(), "steps", ())
        if len(steps) == 2:
            descriptor, model = (type(step) for _, step in steps)
            of_structures = getattr(steps[0][1], "pool", None) or descriptor is InverseDistances
            found.setdefault((model, bool(of_structures)), name)
    return found.values()


def others_of(descriptor, structures):
    """As many features of the structures from another descriptor, and in what this differs."""
    name = next((name for name in CHANGES if name in descriptor.get_params()), None)
    if name is not None:
        changed = clone(descriptor).set_params(**{name: CHANGES[name]})
        return changed.fit_transform(structures), f"{name}={CHANGES[name]} in place of"
    reordered = [atoms[::-1] for atoms in structures.to_ase()]
    return clone(descriptor).fit_transform(reordered), "numbers_="


@pytest.mark.filterwarnings("ignore:n_sparse")
@pytest.mark.parametrize("name", models())
def test_models(name):
    case = CASES[name]
    structures, targets = case.data()
    structures, targets = structures[:5], targets[:5]
    descriptor, model = case.make().named_steps.values()
    X = descriptor.fit_transform(structures)
    others, difference = others_of(descriptor, structures)
    model.fit(X, targets)
    expected = model.predict(X)
    same = clone(descriptor).fit_transform(structures)
    np.testing.assert_array_equal(model.predict(same), expected)
    methods = ["predict", "score", *(["partial_fit"] if hasattr(model, "partial_fit") else [])]
    for method in methods:
        given = (others,) if method == "predict" else (others, targets)
        with pytest.raises(ValueError, match=f"another descriptor .* {difference}"):
            getattr(model, method)(*given)
    np.testing.assert_array_equal(model.predict(X), expected)


@pytest.mark.parametrize("name", OTHERS)
def test_maps_selectors_and_measures(name):
    estimator, method = OTHERS[name]
    estimator, structures = clone(estimator), waters(6)
    X = SMALL_SOAP.fit_transform(structures)
    others, difference = others_of(SMALL_SOAP, structures)
    estimator.fit(X, np.arange(6.0))
    getattr(estimator, method)(X)
    methods = [method, *(["partial_fit"] if hasattr(estimator, "partial_fit") else [])]
    for each in methods:
        with pytest.raises(ValueError, match=f"another descriptor .* {difference}"):
            getattr(estimator, each)(others)


class TestStepsAfterTheDescriptor:
    """What is done to features is known as well: maps, selected columns, sums over atoms."""

    structures = waters(8)
    features = SMALL_SOAP.fit_transform(structures)
    energies = labels_of(structures, ["energy"])

    def fitted(self, X):
        return LinearPotential(1e-4).fit(X, self.energies)

    def test_a_map_fitted_to_other_structures(self):
        scaler, again = FeatureScaler().fit(self.features), FeatureScaler().fit(self.features[:3])
        X = scaler.transform(self.features)
        model = self.fitted(X)
        equal = FeatureScaler().fit(self.features).transform(self.features)
        np.testing.assert_array_equal(model.predict(equal), model.predict(X))
        with pytest.raises(ValueError, match="another map Scale after the descriptor.*same fitted"):
            model.predict(again.transform(self.features))
        with pytest.raises(ValueError, match="nothing in place of the map Scale after"):
            model.predict(self.features)

    def test_rounding_in_learnt_arrays_is_no_difference(self):
        """Two devices do not learn the same principal components to the last bit."""
        matrix = np.eye(4, self.features.n_features)
        model = self.fitted(self.features.map(Linear(matrix)))
        near, far = (self.features.map(Linear(matrix + shift)) for shift in (1e-8, 1e-5))
        assert np.isfinite(model.predict(near)).all()
        with pytest.raises(ValueError, match="another map Linear"):
            model.predict(far)

    def test_sums_where_atoms_are_needed(self):
        scaler = FeatureScaler().fit(self.features)
        for wrong in (self.features.pool("sum"), self.features.pool("mean")):
            with pytest.raises(ValueError, match="is StructureFeatures, .* give it AtomicFeatures"):
                scaler.transform(wrong)

    def test_other_columns(self):
        n = self.features.n_features
        model = self.fitted(self.features[:, :4])
        with pytest.raises(ValueError, match="another map Select after the descriptor"):
            model.predict(self.features[:, 1:5])
        expected = model.predict(self.features[:, :4])
        for same in (self.features[:, [0, 1, 2, 3]], self.features[:, :6][:, :4]):
            np.testing.assert_array_equal(model.predict(same), expected)
        np.testing.assert_array_equal(
            self.fitted(self.features).predict(self.features[:, np.arange(n)]),
            self.fitted(self.features).predict(self.features),
        )

    def test_sums_and_means_over_atoms(self):
        model = self.fitted(self.features.pool("sum"))
        with pytest.raises(
            ValueError,
            match="the mean over atoms in place of the sum over",
        ):
            model.predict(self.features.pool("mean"))
        pooled = clone(SMALL_SOAP).set_params(pool="sum").fit_transform(self.structures)
        np.testing.assert_allclose(model.predict(pooled), self.energies.energy, atol=0.1)

    def test_files_keep_them(self):
        X = FeatureScaler().fit(self.features).transform(self.features)
        model = pickle.loads(pickle.dumps(self.fitted(X)))
        assert np.isfinite(model.predict(X)).all()
        with pytest.raises(ValueError, match="nothing in place of the map Scale"):
            model.predict(self.features)


def test_kernels_compare_features_of_one_origin():
    X = SMALL_SOAP.fit_transform(waters(3))
    others, difference = others_of(SMALL_SOAP, X.structures)
    message = f"features of different origin are compared, the second with {difference}"
    for kernel in (Cosine(2), StructureKernel(Cosine(2), "average")):
        for side in (X, others):
            assert np.isfinite(kernel(side, side[:1])).all()
        with pytest.raises(ValueError, match=message):
            kernel(X, others)
    with pytest.raises(ValueError, match=message):
        Laplacian(1.0)(X.pool("sum"), others.pool("sum"))
