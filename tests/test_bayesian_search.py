"""Bayesian optimisation of pools and boxes."""

import numpy as np
import pytest
from ase.build import bulk
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import BayesianRidge, LinearRegression
from sklearn.pipeline import make_pipeline

from skatom.active import (
    BayesianSearch,
    Box,
    expected_improvement,
    probability_of_improvement,
    upper_confidence_bound,
)
from skatom.active.draws import drawn_values
from skatom.descriptors import SOAP
from skatom.kernels import Gaussian
from skatom.models import Committee, LinearPotential
from skatom.plotting import SearchDisplay
from skatom.random_features import RandomFourierFeatures

POOL = np.linspace(0, 10, 101)[:, None]
PROCESS = GaussianProcessRegressor(RBF(1.0), optimizer=None, normalize_y=True)


def height(x):
    return float(np.sin(3 * x[0]) + 0.1 * (x[0] - 6) ** 2)


HEIGHTS = np.array([height(x) for x in POOL])


class TestAcquisition:
    def test_expected_improvement_is_the_mean_over_draws(self):
        draws = np.random.default_rng(0).normal(0.3, 0.8, 10**6)
        expected = np.maximum(draws - 0.9 - 0.05, 0).mean()
        assert expected_improvement([0.3], [0.8], 0.9, 0.05)[0] == pytest.approx(expected, rel=5e-3)

    def test_probability_of_improvement_is_the_share_of_draws(self):
        draws = np.random.default_rng(0).normal(0.3, 0.8, 10**6)
        share = (draws > 0.9).mean()
        assert probability_of_improvement([0.3], [0.8], 0.9)[0] == pytest.approx(share, abs=2e-3)

    @pytest.mark.parametrize("std", [0.0, 1e-9, 1e-300])
    def test_without_doubt_it_is_the_gain(self, std):
        gains = expected_improvement([2.0, 1.0, 0.0], [std] * 3, 1.0)
        np.testing.assert_allclose(gains, [1.0, 0.0, 0.0], rtol=0, atol=1e-8)
        assert probability_of_improvement([2.0, 0.0], [std] * 2, 1.0).tolist() == [1.0, 0.0]

    def test_improvement_is_never_negative(self):
        rng = np.random.default_rng(0)
        means, stds = rng.normal(0, 30, 1000), rng.exponential(size=1000)
        assert (expected_improvement(means, stds, 0.0) >= 0).all()

    def test_bound(self):
        assert upper_confidence_bound([1.0], [0.5], kappa=3).tolist() == [2.5]


@pytest.mark.parametrize(
    "acquisition",
    ["expected_improvement", "probability_of_improvement", "upper_confidence_bound", "thompson"],
)
class TestSearch:
    def test_finds_the_best_of_a_pool(self, acquisition):
        search = BayesianSearch(PROCESS, POOL, acquisition=acquisition, random_state=0)
        search.run(height, 45)
        assert search.best_value_ <= np.sort(HEIGHTS)[2]
        assert HEIGHTS[search.best_index_] == search.best_value_
        assert len(np.unique(search.indices_)) == 45

    def test_the_largest_is_the_smallest_of_the_negative(self, acquisition):
        settings = {"acquisition": acquisition, "n_initial": 4, "random_state": 3}
        one = BayesianSearch(PROCESS, POOL, **settings).run(height, 12)
        other = BayesianSearch(PROCESS, POOL, maximize=True, **settings)
        other.run(lambda x: -height(x), 12)
        np.testing.assert_array_equal(one.indices_, other.indices_)
        np.testing.assert_allclose(one.best_values_, -other.best_values_)

    def test_batches_have_no_candidate_twice(self, acquisition):
        search = BayesianSearch(PROCESS, POOL, acquisition=acquisition, random_state=0)
        for _ in range(5):
            which = search.ask(5)
            assert len(np.unique(which)) == 5
            search.tell(which, HEIGHTS[which])
        assert len(np.unique(search.indices_)) == 25


def test_a_box():
    box = Box([-3.0, -3.0], [3.0, 3.0], n_candidates=300)
    process = GaussianProcessRegressor(RBF(3.0), optimizer=None, normalize_y=True)
    search = BayesianSearch(process, box, n_initial=5, random_state=0)
    search.run(lambda x: (x[0] - 1.3) ** 2 + 2 * (x[1] + 0.4) ** 2, 30)
    best = search.points_[search.best_index_]
    np.testing.assert_allclose(best, [1.3, -0.4], atol=0.05)
    assert (np.abs(search.points_) <= 3).all()


def test_beats_drawing_at_random():
    random = [
        BayesianSearch(PROCESS, POOL, acquisition="random", random_state=seed).run(height, 20)
        for seed in range(10)
    ]
    ours = [BayesianSearch(PROCESS, POOL, random_state=seed).run(height, 20) for seed in range(10)]
    assert np.mean([s.best_value_ for s in ours]) < np.mean([s.best_value_ for s in random])


def test_structures_and_features_of_them_are_candidates():
    crystals = [bulk("Cu", a=a) for a in np.linspace(3.2, 4.2, 30)]
    soap = SOAP(cutoff=4.0, n_max=3, l_max=2, pool="mean")

    def strain(atoms):
        return (atoms.cell.volume - 11.8) ** 2

    member = LinearPotential(alpha=1e-8)
    model = make_pipeline(soap, Committee(member, n_models=4, random_state=0))
    of_structures = BayesianSearch(model, crystals, n_initial=5, random_state=0).run(strain, 12)
    assert of_structures.best_value_ == min(map(strain, crystals))

    features = soap.fit_transform(crystals)
    search = BayesianSearch(PROCESS, features, n_initial=5, random_state=0)
    search.run(lambda x: strain(x.structures.to_ase()[0]), 12)
    assert search.best_value_ == min(map(strain, crystals))


class TestResuming:
    @pytest.mark.parametrize("candidates", [POOL, Box([0.0], [10.0], 50)], ids=["pool", "box"])
    @pytest.mark.parametrize("stop", [1, 4, 9])
    def test_a_reference_that_fails_loses_nothing(self, tmp_path, candidates, stop):
        whole = BayesianSearch(PROCESS, candidates, n_initial=4, random_state=1).run(height, 12)
        calls = []

        def fails_once(x):
            calls.append(x)
            if len(calls) == stop:
                raise RuntimeError("no convergence")
            return height(x)

        file = tmp_path / "search.json"
        settings = {"n_initial": 4, "random_state": 1, "checkpoint": file}
        with pytest.raises(RuntimeError, match="no convergence"):
            BayesianSearch(PROCESS, candidates, **settings).run(fails_once, 12)
        again = BayesianSearch(PROCESS, candidates, **settings)
        assert len(again.values_) == stop - 1
        again.run(fails_once, 12)
        assert len(calls) == 13
        np.testing.assert_array_equal(again.values_, whole.values_)

    def test_values_that_were_told_are_the_same_search(self, tmp_path):
        file = tmp_path / "search.json"
        search = BayesianSearch(PROCESS, POOL, n_initial=3, random_state=1, checkpoint=file)
        search.run(height, 6)
        again = BayesianSearch(PROCESS, POOL, n_initial=3, random_state=99, checkpoint=file)
        np.testing.assert_array_equal(search.ask(3), again.ask(3))

    def test_a_checkpoint_of_other_candidates_is_an_error(self, tmp_path):
        file = tmp_path / "search.json"
        BayesianSearch(PROCESS, POOL, checkpoint=file).run(height, 2)
        with pytest.raises(ValueError, match="of a search among other candidates"):
            BayesianSearch(PROCESS, POOL[:-1], checkpoint=file)


def test_values_that_could_not_be_computed_are_not_asked_for_again():
    search = BayesianSearch(PROCESS, POOL[:12], n_initial=3, random_state=0)
    search.run(lambda x: np.nan if x[0] < 0.35 else height(x), 12)
    assert len(np.unique(search.indices_)) == 12
    assert search.best_value_ == HEIGHTS[4:12].min()
    assert np.isnan(search.values_).sum() == 4


def test_draws_of_a_linear_model_have_its_covariance():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=30)
    model, new = BayesianRidge().fit(X, y), rng.normal(size=(4, 3))
    random = np.random.RandomState(0)
    draws = np.array([drawn_values(model, new, random) for _ in range(4000)])
    centered = new - X.mean(axis=0)
    np.testing.assert_allclose(draws.mean(axis=0), model.predict(new), atol=0.03)
    expected = centered @ model.sigma_ @ centered.T
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.06 * expected.max())


def test_thompson_sampling_of_random_features():
    features = RandomFourierFeatures(Gaussian(1.0), 200, random_state=0)
    model = make_pipeline(features, BayesianRidge())
    search = BayesianSearch(model, POOL, acquisition="thompson", random_state=0).run(height, 40)
    assert search.best_value_ <= np.sort(HEIGHTS)[4]


def test_the_plot_has_all_values():
    search = BayesianSearch(PROCESS, POOL, random_state=0).run(height, 7)
    display = SearchDisplay.from_search(search, name="height (m)")
    line, dots = display.ax_.lines
    np.testing.assert_array_equal(dots.get_ydata(), search.values_)
    np.testing.assert_array_equal(line.get_ydata(), np.minimum.accumulate(search.values_))
    assert display.ax_.get_ylabel() == "height (m)"


class TestHyperparameters:
    """Of a process that learns them after every fifth value."""

    PROCESS = GaussianProcessRegressor(RBF(0.1, (0.05, 5.0)), alpha=1e-6, normalize_y=True)

    def test_are_those_of_the_values_before(self):
        search = BayesianSearch(self.PROCESS, POOL, n_initial=4, learn_every=5, random_state=0)
        search.run(height, 12)
        learnt = clone(self.PROCESS).fit(POOL[search.indices_[:9]], -search.values_[:9])
        model = clone(self.PROCESS).set_params(kernel=learnt.kernel_, optimizer=None)
        model.fit(POOL[search.indices_], -search.values_)
        mean, std = model.predict(POOL, return_std=True)
        promise = expected_improvement(mean, std, -search.best_value_)
        promise[search.indices_] = 0
        assert search.ask()[0] == promise.argmax()

    def test_do_not_depend_on_an_interruption(self, tmp_path):
        settings = {"n_initial": 4, "learn_every": 5, "random_state": 0}
        whole = BayesianSearch(self.PROCESS, POOL, **settings).run(height, 15)
        settings["checkpoint"] = tmp_path / "search.json"
        BayesianSearch(self.PROCESS, POOL, **settings).run(height, 11)
        again = BayesianSearch(self.PROCESS, POOL, **settings).run(height, 15)
        np.testing.assert_array_equal(again.indices_, whole.indices_)


class _Certain(LinearRegression):
    """A model like a committee of members that are all the same."""

    def predict(self, X, return_std=False):
        mean = super().predict(X)
        return (mean, np.zeros(len(mean))) if return_std else mean


class TestBadInput:
    def test_members_that_are_equal(self):
        search = BayesianSearch(_Certain(), POOL, n_initial=3, random_state=0).run(height, 3)
        with pytest.warns(UserWarning, match="must differ in their data or seeds"):
            search.ask()

    def test_no_candidates(self):
        with pytest.raises(ValueError, match="there are no candidates"):
            BayesianSearch(PROCESS, POOL[:0])

    def test_hyperparameters_learnt_never(self):
        with pytest.raises(ValueError, match="learn_every=0"):
            BayesianSearch(PROCESS, POOL, learn_every=0)

    def test_an_empty_pool(self):
        search = BayesianSearch(PROCESS, POOL[:3]).run(height, 10)
        with pytest.raises(ValueError, match="all 3 candidates have values"):
            search.ask()

    def test_an_acquisition_that_is_not_known(self):
        with pytest.raises(ValueError, match="choose from expected_improvement"):
            BayesianSearch(PROCESS, POOL, acquisition="best")

    def test_a_model_without_deviations(self):
        search = BayesianSearch(LinearRegression(), POOL, n_initial=2)
        with pytest.raises(ValueError, match="LinearRegression predicts no standard deviations"):
            search.run(height, 3)

    def test_a_model_that_draws_nothing(self):
        search = BayesianSearch(LinearRegression(), POOL, acquisition="thompson", n_initial=2)
        with pytest.raises(ValueError, match="LinearRegression draws no functions"):
            search.run(height, 3)

    def test_a_value_that_is_told_twice(self):
        search = BayesianSearch(PROCESS, POOL).tell([3], [1.0])
        with pytest.raises(ValueError, match="candidate 3 has a value already"):
            search.tell([3], [2.0])

    def test_more_values_than_candidates(self):
        with pytest.raises(ValueError, match="2 values of 1 candidates"):
            BayesianSearch(PROCESS, POOL).tell([3], [1.0, 2.0])

    def test_no_value_yet(self):
        with pytest.raises(ValueError, match="no value is known yet"):
            _ = BayesianSearch(PROCESS, POOL).best_value_

    @pytest.mark.parametrize(
        ("low", "high", "message"),
        [([0.0], [0.0], "make no box"), ([0.0, 1.0], [2.0], "must be as many"),
         ([0.0], [np.inf], "make no box")],
    )  # fmt: skip
    def test_bounds_without_a_box(self, low, high, message):
        with pytest.raises(ValueError, match=message):
            Box(low, high)
