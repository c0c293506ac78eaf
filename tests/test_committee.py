"""Committees: means and spreads of members, the parts they learn from, seeds and weights."""

import numpy as np
import pytest
from models_under_contract import crystals, labels_of, waters
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline

from skatom._prediction import predict
from skatom.descriptors import SOAP
from skatom.models import GDML, Committee, SparseGaussianProcess

SMALL = SOAP(cutoff=3.5, n_max=3, l_max=2)


@pytest.fixture(scope="module")
def data():
    structures = crystals(12)
    return structures, labels_of(structures, ("energy", "forces", "stress"))


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    return X, X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * rng.normal(size=60)


def sparse(**parameters):
    return SparseGaussianProcess(n_sparse=8, random_state=0, **parameters)


def test_mean_and_spread_are_those_of_the_members(data):
    structures, targets = data
    features = SMALL.fit_transform(structures)
    committee = Committee(sparse(), n_models=4, random_state=0).fit(features, targets)
    names = ("energy", "forces", "stress", "local_energies")
    found = predict(committee, features, {*names, *(f"{name}_std" for name in names)})
    members = [predict(member, features, names) for member in committee.estimators_]
    for name in names:
        values = np.stack([member[name] for member in members])
        np.testing.assert_allclose(found[name], values.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found[f"{name}_std"], values.std(axis=0, ddof=1), rtol=1e-9)


def test_subsamples_are_parts_without_repetition(arrays):
    committee = Committee(Ridge(), n_models=5, max_samples=0.5, random_state=0).fit(*arrays)
    for samples in committee.samples_:
        assert len(samples) == len(np.unique(samples)) == 30
    assert len({tuple(samples) for samples in committee.samples_}) == 5


def test_bootstrap_draws_with_replacement(arrays):
    committee = Committee(Ridge(), n_models=20, resampling="bootstrap", random_state=0)
    committee.fit(*arrays)
    distinct = [len(np.unique(samples)) / 60 for samples in committee.samples_]
    assert all(len(samples) == 60 for samples in committee.samples_)
    assert np.mean(distinct) == pytest.approx(1 - np.exp(-1), abs=0.03)


def test_spread_of_the_mean_of_bootstraps_is_the_standard_error():
    y = np.random.default_rng(0).normal(size=400)
    X = np.ones((400, 1))
    model = Committee(LinearRegression(), 300, resampling="bootstrap", random_state=0).fit(X, y)
    _, spread = model.predict(X[:1], return_std=True)
    assert spread[0] == pytest.approx(y.std() / np.sqrt(400), rel=0.15)


def test_groups_are_drawn_together(arrays):
    groups = np.arange(60) // 6
    for resampling in ("subsample", "bootstrap"):
        committee = Committee(Ridge(), n_models=4, resampling=resampling, random_state=0)
        committee.fit(*arrays, groups=groups)
        for samples in committee.samples_:
            counts = np.bincount(samples, minlength=60).reshape(10, 6)
            assert (counts == counts[:, :1]).all()
            assert (counts == 0).any()


def test_members_differ_by_their_seeds_alone(arrays):
    forest = RandomForestRegressor(n_estimators=3)
    committee = Committee(forest, n_models=3, resampling=None, random_state=0).fit(*arrays)
    assert all(len(samples) == 60 for samples in committee.samples_)
    assert len({member.random_state for member in committee.estimators_}) == 3
    assert committee.predict(arrays[0], return_std=True)[1].max() > 0


def test_seeds_inside_of_pipelines_are_set(data):
    structures, targets = data
    committee = Committee(make_pipeline(SMALL, sparse()), n_models=2, random_state=0)
    committee.fit(structures, targets)
    seeds = {member[-1].random_state for member in committee.estimators_}
    assert len(seeds) == 2


def test_jobs_and_repetition_give_the_same(arrays):
    X, _ = arrays
    forest = RandomForestRegressor(n_estimators=3, max_depth=3)
    one, two, again = (
        Committee(forest, n_models=3, n_jobs=n_jobs, random_state=1).fit(*arrays).predict(X)
        for n_jobs in (1, 2, 1)
    )
    np.testing.assert_array_equal(again, one)
    np.testing.assert_allclose(two, one, rtol=1e-10)


def test_weights_and_configurations_are_divided_like_the_structures(data):
    structures, targets = data
    features = SMALL.fit_transform(structures)
    names = np.array(["cold", "hot"])[np.arange(12) % 2]
    weights = np.linspace(0.5, 2.0, 12)
    model = sparse(noise_energy={"cold": 1e-3, "hot": 1e-2})
    committee = Committee(model, n_models=2, random_state=0)
    committee.fit(features, targets, configurations=names, sample_weight=weights)
    for member, samples in zip(committee.estimators_, committee.samples_, strict=True):
        alone = sparse(noise_energy=model.noise_energy).set_params(random_state=member.random_state)
        alone.fit(
            features[samples], targets[samples], configurations=names[samples],
            sample_weight=weights[samples],
        )  # fmt: skip
        np.testing.assert_array_equal(alone.coef_, member.coef_)


def test_farther_from_the_data_members_disagree_more(data):
    structures, targets = data
    model = Committee(make_pipeline(SMALL, sparse()), n_models=6, random_state=0)
    model.fit(structures, targets)
    far = structures.to_ase()[0]
    far.positions += np.random.default_rng(0).normal(scale=0.4, size=(4, 3))
    near = model.predict(structures, return_std=True)[1].mean()
    assert model.predict([far], return_std=True)[1][0] > 3 * near


class TestBadInput:
    def test_members_that_would_be_equal(self, arrays):
        with pytest.raises(ValueError, match="Ridge has no random_state|would be equal"):
            Committee(LinearRegression(), resampling=None).fit(*arrays)
        with pytest.raises(ValueError, match="all 60 structures or groups, and all would be equal"):
            Committee(LinearRegression(), max_samples=1.0).fit(*arrays)

    def test_more_samples_than_there_are(self, arrays):
        with pytest.raises(ValueError, match="max_samples=100, but there are 60 structures"):
            Committee(Ridge(), max_samples=100).fit(*arrays)

    def test_one_member(self, arrays):
        with pytest.raises(ValueError, match="'n_models' parameter"):
            Committee(Ridge(), n_models=1).fit(*arrays)

    def test_groups_of_another_length(self, arrays):
        with pytest.raises(ValueError, match="groups has 3 entries for 60 structures"):
            Committee(Ridge()).fit(*arrays, groups=[0, 1, 2])

    def test_labels_of_forces_beside_an_array(self, data):
        structures, targets = data
        table = np.asarray(SMALL.fit_transform(structures).pool("sum"))
        with pytest.raises(ValueError, match="y has forces and stress, but X is a plain array"):
            Committee(Ridge()).fit(table, targets)

    def test_an_estimator_that_stops_says_why(self):
        structures = waters(4)
        labels = labels_of(structures, ("energy",))
        with pytest.raises(ValueError, match="the targets have no forces"):
            Committee(GDML(), n_models=2).fit(structures, labels)
