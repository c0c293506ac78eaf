"""Weights, groups, configurations and outputs pass through pipelines and searches."""

import numpy as np
import pytest
import sklearn
from models_under_contract import crystals, labels_of
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.pipeline import make_pipeline

from skatom.descriptors import SOAP, FeatureScaler
from skatom.metrics import neg_force_mae
from skatom.models import Committee, GreedyOLS, NBodyGaussianProcess, SparseGaussianProcess

SMALL = SOAP(cutoff=3.5, n_max=3, l_max=2)
NAMES = np.array(["cold", "hot"])[np.arange(12) % 2]


@pytest.fixture(scope="module")
def data():
    structures = crystals(12)
    return structures, labels_of(structures, ("energy", "forces", "stress"))


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def by_configuration():
    return SparseGaussianProcess(
        n_sparse=8, noise_forces={"cold": 0.01, "hot": 0.2}, random_state=0
    )


def test_configurations_reach_the_model_of_a_pipeline_in_a_search(data, routing):
    structures, targets = data
    pipeline = make_pipeline(SMALL, FeatureScaler(out_of_range="ignore"), by_configuration())
    grid = {"sparsegaussianprocess__noise_energy": [1e-3, 1e-2]}
    search = GridSearchCV(pipeline, grid, cv=2, scoring=neg_force_mae, error_score="raise")
    search.fit(structures, targets, configurations=NAMES)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    alone = pipeline.set_params(**search.best_params_)
    with sklearn.config_context(enable_metadata_routing=False):
        alone.fit(structures, targets, sparsegaussianprocess__configurations=NAMES)
        expected = alone.predict(structures)
    np.testing.assert_array_equal(search.best_estimator_.predict(structures), expected)


def test_outputs_need_no_request(data, routing):
    structures, targets = data
    pipeline = make_pipeline(SMALL, by_configuration())
    pipeline.fit(structures, targets, configurations=NAMES)
    energy, forces, std = pipeline.predict(structures, return_forces=True, return_std=True)
    assert energy.shape == std.shape == (12,) and forces.shape == (48, 3)


def test_weights_that_are_requested_reach_the_model(data, routing):
    structures, targets = data
    weights = np.where(NAMES == "cold", 1.0, 0.0)
    model = SparseGaussianProcess(n_sparse=8, random_state=0).set_fit_request(sample_weight=True)
    pipeline = make_pipeline(SMALL, model).fit(structures, targets, sample_weight=weights)
    # what has no weight is not learnt from
    other = labels_of(structures, ("energy", "forces", "stress"))
    other.energy[weights == 0] += 100.0
    again = make_pipeline(SMALL, model).fit(structures, other, sample_weight=weights)
    assert again[-1].n_structures_seen_ == 12
    features = SMALL.fit_transform(structures)
    expected = pipeline[-1].predict(features)
    np.testing.assert_allclose(again[-1].predict(features), expected, rtol=1e-9)


def test_groups_reach_the_splitter_and_the_committee(data, routing):
    structures, targets = data
    groups = np.arange(12) // 2
    committee = Committee(GreedyOLS(4), n_models=2, random_state=0).set_fit_request(groups=True)
    found = cross_validate(
        make_pipeline(SMALL, committee), structures, targets, params={"groups": groups},
        cv=GroupKFold(3), scoring=neg_force_mae, return_estimator=True, error_score="raise",
    )  # fmt: skip
    for estimator, train in zip(
        found["estimator"], (t for t, _ in GroupKFold(3).split(groups, groups=groups)), strict=True
    ):
        for samples in estimator[-1].samples_:
            counts = np.bincount(groups[train][samples], minlength=6)
            assert set(counts) <= {0, 2}


def test_a_committee_passes_on_what_its_estimator_asks_for(data, routing):
    structures, targets = data
    features = SMALL.fit_transform(structures)
    model = by_configuration().set_fit_request(sample_weight=True)
    committee = Committee(model, n_models=2, random_state=0)
    committee.fit(features, targets, configurations=NAMES, sample_weight=np.ones(12))
    assert committee.predict(features).shape == (12,)


def test_weights_without_routing(data):
    structures, targets = data
    model = NBodyGaussianProcess(n_environments=12, random_state=0)
    model.fit(structures, targets.energy, sample_weight=np.full(12, 4.0))
    double = model.predict(structures)
    halved = model.set_params(noise_energy=0.015).fit(structures, targets.energy)
    np.testing.assert_allclose(double, halved.predict(structures), rtol=1e-9)


def test_configurations_that_are_not_given(data):
    structures, targets = data
    with pytest.raises(ValueError, match="noise_forces is a dict by configuration: pass fit"):
        by_configuration().fit(SMALL.fit_transform(structures), targets)
