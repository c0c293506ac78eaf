import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from derivatives import slopes_of_displacements, slopes_of_strains
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import OrthogonalMatchingPursuit
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    ShuffleSplit,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatom import Targets
from skatom.descriptors import ACSF, FeatureScaler
from skatom.models import BaggedGreedyOLS, GreedyOLS
from skatom.models.linear.greedy import count_samples
from skatom.models.linear.greedy_ols import _are_folds
from skatom.models.linear.rows import LinearProblem
from skatom.solvers import orthogonal_least_squares

METHODS = ["gram", "gram-schmidt"]


def correlated(n, d, seed=0):
    """Columns that share a part, and a target that no column explains alone."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + 2.0 * rng.normal(size=(n, 1)) + rng.normal(size=d)
    return X, X @ rng.normal(size=d) + rng.normal(size=n)


def stepwise(X, y, n_terms, weights=None):
    """Forward selection that tries every column and refits: supports and sums of squares."""
    roots = np.ones(len(y)) if weights is None else np.sqrt(weights)

    def rss(columns):
        A = np.column_stack([np.ones(len(y)), X[:, columns]]) * roots[:, None]
        residual = y * roots - A @ np.linalg.lstsq(A, y * roots, rcond=None)[0]
        return residual @ residual

    support, path = [], [rss([])]
    for _ in range(n_terms):
        tried = {j: rss([*support, j]) for j in range(X.shape[1]) if j not in support}
        support.append(min(tried, key=tried.get))
        path.append(tried[support[-1]])
    return support, np.array(path)


class Rows:
    """A and b in blocks of a few rows."""

    def __init__(self, A, b, size=7):
        self.A, self.b, self.size = A, b, size

    def blocks(self, columns):
        for i in range(0, len(self.b), self.size):
            yield self.A[i : i + self.size][:, columns], self.b[i : i + self.size]


class TestSolver:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("shape", [(30, 8), (12, 40), (200, 25)])
    def test_equals_trying_every_column(self, method, shape):
        A, b = correlated(*shape)
        A, b = A - A.mean(axis=0), b - b.mean()
        support, rss = stepwise(A, b, 8)
        path = orthogonal_least_squares(Rows(A, b), 8, method=method)
        assert list(path.support) == support
        np.testing.assert_allclose(path.rss, rss, rtol=0, atol=1e-12 * rss[0])

    def test_each_term_lowers_the_residual_by_its_projection(self):
        path = orthogonal_least_squares(Rows(*correlated(50, 20)), 20)
        np.testing.assert_allclose(-np.diff(path.rss), path.projections**2, rtol=1e-9)

    def test_coefficients_are_those_of_least_squares(self):
        A, b = correlated(60, 20)
        path = orthogonal_least_squares(Rows(A, b), 10)
        values = path.predict(A[:, path.support])
        errors = path.squared_errors(Rows(A, b).blocks(path.support))
        for t in range(11):
            columns = A[:, path.support[:t]]
            expected = np.linalg.lstsq(columns, b, rcond=None)[0]
            np.testing.assert_allclose(path.coefficients(t), expected, rtol=1e-10)
            np.testing.assert_allclose(path.coefficient_path()[:t, t], expected, rtol=1e-10)
            np.testing.assert_allclose(values[:, t], columns @ expected, atol=1e-12)
            assert errors[t] == pytest.approx(np.sum((b - columns @ expected) ** 2))

    def test_does_not_depend_on_the_number_of_threads(self):
        import numba

        A, b = correlated(20000, 40)
        paths = []
        for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(threads)
            paths.append(orthogonal_least_squares(Rows(A, b, 3000), 20))
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        np.testing.assert_array_equal(paths[0].support, paths[1].support)
        np.testing.assert_array_equal(paths[0].r, paths[1].r)

    @pytest.mark.parametrize("method", METHODS)
    def test_skips_what_depends_on_the_chosen(self, method):
        rng = np.random.default_rng(0)
        base = rng.normal(size=(40, 3))
        A = base @ rng.normal(size=(3, 12))  # rank 3
        path = orthogonal_least_squares(Rows(A, rng.normal(size=40)), 12, method=method)
        assert len(path) == 3

    def test_ill_conditioned_columns_are_refined(self):
        """Coefficients keep the digits that the condition number leaves, not its square."""
        rng = np.random.default_rng(0)
        A = rng.normal(size=(300, 4))
        A[:, 1:] = A[:, :1] + 1e-5 * A[:, 1:]
        truth = np.array([1.0, -2.0, 3.0, -4.0])
        path = orthogonal_least_squares(Rows(A, A @ truth), 4)
        coefficients = dict(zip(path.support, path.coefficients(len(path)), strict=True))
        np.testing.assert_allclose([coefficients[j] for j in range(4)], truth, atol=1e-8)


class TestGreedyOLS:
    @pytest.mark.parametrize("method", METHODS)
    def test_equals_stepwise_regression_with_intercept_and_weights(self, method):
        X, y = correlated(80, 12)
        weights = np.random.default_rng(1).uniform(0.1, 2.0, size=80)
        support, rss = stepwise(X, y, 6, weights)
        model = GreedyOLS(n_terms=6, method=method).fit(X, y, sample_weight=weights)
        assert list(model.support_) == support
        np.testing.assert_allclose(model.train_score_path_**2 * weights.sum(), rss, rtol=1e-12)

    def test_sample_weights_are_repetitions(self):
        X, y = correlated(40, 10)
        counts = np.random.default_rng(2).integers(0, 4, size=40)
        weighted = GreedyOLS(n_terms=5).fit(X, y, sample_weight=counts)
        repeated = GreedyOLS(n_terms=5).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
        np.testing.assert_array_equal(weighted.support_, repeated.support_)
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-10)
        assert weighted.intercept_ == pytest.approx(repeated.intercept_)

    @pytest.mark.parametrize("fit_intercept", [True, False, "candidate"])
    def test_does_not_depend_on_the_scale_of_columns(self, fit_intercept):
        X, y = correlated(60, 15)
        scale = 10.0 ** np.random.default_rng(0).uniform(-80, 80, size=15)
        scale[::2] *= -1.0
        plain = GreedyOLS(n_terms=8, fit_intercept=fit_intercept).fit(X, y)
        scaled = clone(plain).fit(X * scale, y)
        np.testing.assert_array_equal(plain.support_, scaled.support_)
        np.testing.assert_allclose(scaled.coef_ * scale, plain.coef_, rtol=1e-9, atol=1e-12)

    def test_looks_at_the_size_of_a_correlation_not_its_sign(self):
        X = np.random.default_rng(0).normal(size=(100, 5))
        assert GreedyOLS(n_terms=1).fit(X, -X[:, 3] + 0.1 * X[:, 1]).support_ == [3]

    def test_orthonormal_columns_are_sorted_and_matching_pursuit_agrees(self):
        rng = np.random.default_rng(0)
        X = np.linalg.qr(rng.normal(size=(50, 20)))[0]
        y = rng.normal(size=50)
        model = GreedyOLS(n_terms=7, fit_intercept=False).fit(X, y)
        np.testing.assert_array_equal(model.support_, np.argsort(-abs(X.T @ y))[:7])
        pursuit = OrthogonalMatchingPursuit(n_nonzero_coefs=7, fit_intercept=False).fit(X, y)
        np.testing.assert_allclose(model.coef_, pursuit.coef_, atol=1e-12)

    def test_repeats_of_chosen_columns_tell_it_from_matching_pursuit(self):
        """What a column adds counts, however little of it is new."""
        first, new, other = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 3)))[0].T
        X = np.column_stack([first, first + 0.1 * new, 0.6 * new + 0.8 * other])
        y = 10.0 * first + 2.0 * new
        model = GreedyOLS(n_terms=2, fit_intercept=False).fit(X, y)
        pursuit = OrthogonalMatchingPursuit(n_nonzero_coefs=2, fit_intercept=False).fit(X, y)
        np.testing.assert_array_equal(np.flatnonzero(model.coef_), [0, 1])
        assert model.score(X, y) == pytest.approx(1.0)
        assert pursuit.score(X, y) < 0.999

    @pytest.mark.parametrize("method", METHODS)
    def test_recovers_a_planted_model(self, method):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(120, 200)) + 3.0
        planted = rng.choice(200, 8, replace=False)
        y = X[:, planted] @ rng.uniform(1, 2, size=8) + 7.0
        with pytest.warns(ConvergenceWarning, match="8 terms were found where n_terms=20"):
            model = GreedyOLS(n_terms=20, method=method).fit(X, y)
        assert set(model.support_) == set(planted)
        assert model.intercept_ == pytest.approx(7.0)
        assert GreedyOLS(method=method).fit(X, y).n_terms_ == 8

    def test_path_holds_every_model(self):
        X, y = correlated(60, 20)
        model = GreedyOLS(n_terms=10).fit(X, y)
        assert model.coef_path_.shape == (20, 11)
        predictions = model.predict_path(X)
        for t in (1, 4, 10):
            shorter = GreedyOLS(n_terms=t).fit(X, y)
            np.testing.assert_allclose(model.coef_path_[:, t], shorter.coef_, atol=1e-12)
            np.testing.assert_allclose(predictions[:, t], shorter.predict(X), atol=1e-12)
            error = np.sqrt(np.mean((predictions[:, t] - y) ** 2))
            assert model.train_score_path_[t] == pytest.approx(-error)
        np.testing.assert_allclose(predictions[:, 0], y.mean())
        assert (np.diff(model.train_score_path_) > 0).all()

    def test_number_of_terms_is_that_of_the_smallest_error_held_out(self):
        X, y = correlated(90, 30)
        cv = KFold(3, shuffle=True, random_state=0)
        model = GreedyOLS(cv=cv, max_terms=12).fit(X, y)
        errors = np.zeros(13)
        for train, test in cv.split(X):
            path = GreedyOLS(n_terms=12).fit(X[train], y[train]).predict_path(X[test])
            errors += np.sum((path - y[test][:, None]) ** 2, axis=0)
        np.testing.assert_allclose(model.score_path_, -np.sqrt(errors / 90), rtol=1e-10)
        assert model.n_terms_ == np.argmin(errors)
        same = GreedyOLS(n_terms=model.n_terms_).fit(X, y)
        np.testing.assert_allclose(model.coef_, same.coef_, atol=1e-12)

    def test_one_split_is_a_validation_set(self):
        X, y = correlated(90, 30)
        train, test = next(ShuffleSplit(1, test_size=30, random_state=0).split(X))
        model = GreedyOLS(cv=[(train, test)]).fit(X, y)
        path = GreedyOLS(n_terms=30).fit(X[train], y[train]).predict_path(X[test])
        errors = np.sqrt(np.mean((path - y[test][:, None]) ** 2, axis=0))
        np.testing.assert_allclose(-model.score_path_, errors, rtol=1e-9)

    @pytest.mark.parametrize("cv", [KFold(4), GroupKFold(4), LeaveOneOut(), None])
    def test_methods_agree_on_held_out_errors(self, cv):
        X, y = correlated(40, 12)
        groups = np.repeat(np.arange(8), 5) if isinstance(cv, GroupKFold) else None
        gram, schmidt = (
            GreedyOLS(cv=cv, method=method).fit(X, y, groups=groups) for method in METHODS
        )
        np.testing.assert_allclose(gram.score_path_, schmidt.score_path_, rtol=1e-9)
        np.testing.assert_array_equal(gram.support_, schmidt.support_)

    @pytest.mark.parametrize("fit_intercept", [True, False, "candidate"])
    def test_folds_that_share_their_gram_matrices_are_fitted_apart(self, fit_intercept):
        X, y = correlated(60, 8)
        X = np.column_stack([X, np.zeros(60), np.full(60, 1e5), X[:, 0]]) + 100.0
        if fit_intercept is True:  # else any of the constant columns may stand for the others
            X[3, 8] = 101.0  # varies in one fold only
        folds = list(KFold(5).split(X))
        assert _are_folds(
            [[count_samples(part, 60) for part in fold] for fold in folds],
            LinearProblem(X, y, np.ones((60, 1)), fit_intercept), np.ones(60),
        )  # fmt: skip
        shared = GreedyOLS(cv=folds, fit_intercept=fit_intercept, method="gram").fit(X, y)
        apart = np.zeros(len(shared.score_path_))
        for train, test in folds:
            part = GreedyOLS(cv=[(train, test)], fit_intercept=fit_intercept, method="gram")
            errors = part.fit(X, y).score_path_ ** 2 * len(test)
            apart += np.pad(errors, (0, len(apart) - len(errors)), "edge")
        np.testing.assert_allclose(shared.score_path_, -np.sqrt(apart / 60), rtol=1e-8)

    def test_held_out_errors_count_weights(self):
        X, y = correlated(60, 10)
        weights = np.random.default_rng(0).uniform(0.0, 3.0, size=60)
        cv = KFold(3)
        model = GreedyOLS(cv=cv).fit(X, y, sample_weight=weights)
        errors = np.zeros(11)
        for train, test in cv.split(X):
            part = GreedyOLS(n_terms=10).fit(X[train], y[train], sample_weight=weights[train])
            errors += weights[test] @ (part.predict_path(X[test]) - y[test][:, None]) ** 2
        np.testing.assert_allclose(model.score_path_, -np.sqrt(errors / weights.sum()), rtol=1e-9)

    def test_intercept_among_the_candidates(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(100, 6))
        y = X[:, 2] + 50.0
        model = GreedyOLS(n_terms=2, fit_intercept="candidate").fit(X, y)
        assert list(model.support_) == [6, 2]  # the constant first
        assert model.intercept_ == pytest.approx(50.0)
        np.testing.assert_allclose(model.coef_, np.eye(6)[2], atol=1e-12)
        np.testing.assert_allclose(model.predict_path(X)[:, 2], y)
        assert GreedyOLS(n_terms=1, fit_intercept="candidate").fit(X, X[:, 2]).intercept_ == 0.0

    def test_without_intercept_passes_through_the_origin(self):
        X, y = correlated(50, 5)
        model = GreedyOLS(n_terms=5, fit_intercept=False).fit(X, y)
        np.testing.assert_allclose(model.coef_, np.linalg.lstsq(X, y, rcond=None)[0])
        assert model.predict(np.zeros((1, 5))) == 0.0

    def test_random_candidates_follow_the_random_state(self):
        X, y = correlated(100, 50)
        supports = [
            list(GreedyOLS(n_terms=20, max_features="sqrt", random_state=seed).fit(X, y).support_)
            for seed in (0, 0, 1)
        ]
        assert supports[0] == supports[1] != supports[2]
        assert len(set(supports[0])) == 20

    @pytest.mark.parametrize(
        ("max_features", "n"),
        [(None, 0), ("sqrt", 61), (7, 7), (0.25, 935), (1.0, 3741), (1e-9, 1)],
    )
    def test_number_of_candidates(self, max_features, n):
        assert (GreedyOLS(max_features=max_features)._n_candidates(3741) or 0) == n

    def test_serves_searches_and_pipelines(self, tmp_path):
        X, y = correlated(60, 10)
        model = make_pipeline(StandardScaler(), GreedyOLS(n_terms=2))
        search = GridSearchCV(model, {"greedyols__n_terms": [1, 5]}, cv=3).fit(X, y)
        joblib.dump(search.best_estimator_, tmp_path / "model.joblib")
        again = joblib.load(tmp_path / "model.joblib")
        np.testing.assert_array_equal(again.predict(X), search.predict(X))

    def test_energies_of_targets_are_learnt(self):
        X, y = correlated(40, 5)
        a, b = (GreedyOLS(n_terms=3).fit(X, labels) for labels in (Targets(y), y))
        np.testing.assert_array_equal(a.coef_, b.coef_)
        assert a.score(X, Targets(y)) == b.score(X, y)


class TestBadInput:
    @pytest.mark.parametrize("method", METHODS)
    def test_constant_and_repeated_columns_are_not_chosen(self, method):
        X, y = correlated(50, 6)
        X = np.column_stack([np.full(50, 1e6), np.zeros(50), X, X, np.full(50, 0.1)])
        with pytest.warns(ConvergenceWarning, match="6 terms were found"):
            model = GreedyOLS(n_terms=10, method=method).fit(X, y)
        assert sorted((model.support_ - 2) % 6) == list(range(6))
        assert not model.coef_[[0, 1, 14]].any()

    def test_features_of_a_binary_composition_have_rank_two(self):
        """Zeroth-order scattering an atom: Σ_Z x_Z c(Z)^q for five channels and four exponents."""
        rng = np.random.default_rng(0)
        share = rng.uniform(size=(200, 1))
        charges = [(3.0, 0.0), (0.0, 14.0), (1.0, 4.0), (2.0, 10.0), (3.0**0.5, 14.0**0.5)]
        powers = [(a**q, b**q) for a, b in charges for q in (1, 4 / 3, 5 / 3, 2)]
        X = share * [a for a, _ in powers] + (1 - share) * [b for _, b in powers]
        y = rng.normal(size=200)
        assert len(GreedyOLS(fit_intercept="candidate").fit(X, y).path_) == 2
        assert len(GreedyOLS().fit(X, y).path_) == 1  # beside the intercept

    def test_only_constant_columns_leave_the_mean(self):
        y = np.arange(10.0)
        model = GreedyOLS().fit(np.ones((10, 3)), y)
        assert model.n_terms_ == 0
        np.testing.assert_allclose(model.predict(np.ones((2, 3))), 4.5)

    def test_small_variation_on_a_large_offset_is_no_constant(self):
        rng = np.random.default_rng(0)
        X = 1e6 + 1e-3 * rng.normal(size=(100, 3))
        model = GreedyOLS(n_terms=1).fit(X, 1e3 * X[:, 1])
        assert model.support_ == [1]
        assert model.coef_[1] == pytest.approx(1e3, rel=1e-6)

    def test_constant_target_needs_no_terms(self):
        X, _ = correlated(20, 4)
        model = GreedyOLS().fit(X, np.full(20, 3.0))
        assert model.n_terms_ == 0
        assert model.intercept_ == pytest.approx(3.0)

    def test_more_terms_than_features(self):
        X, y = correlated(20, 4)
        with pytest.raises(ValueError, match="n_terms=5 but there are 4 features"):
            GreedyOLS(n_terms=5).fit(X, y)

    def test_fewer_samples_than_terms(self):
        X, y = correlated(6, 20)
        with pytest.raises(ValueError, match=r"6 samples .* determine 5 terms at most"):
            GreedyOLS(n_terms=6).fit(X, y)
        assert len(GreedyOLS(cv=3).fit(X, y).path_) <= 3

    @pytest.mark.parametrize(("weights", "use"), [([1.0, 0.0], "test"), ([0.0, 1.0], "train")])
    def test_a_split_without_weight(self, weights, use):
        X, y = correlated(20, 4)
        model = GreedyOLS(cv=[(np.arange(10), np.arange(10, 20))])
        with pytest.raises(ValueError, match=f"no samples with labels and weight to {use} on"):
            model.fit(X, y, sample_weight=np.repeat(weights, 10))

    def test_a_fold_without_weight(self):
        X, y = correlated(20, 4)
        with pytest.raises(ValueError, match="no samples with labels and weight to test on"):
            GreedyOLS(cv=4).fit(X, y, sample_weight=np.repeat([1.0, 1.0, 1.0, 0.0], 5))

    def test_no_weight_at_all(self):
        X, y = correlated(20, 4)
        with pytest.raises(ValueError, match="zero"):
            GreedyOLS(n_terms=1).fit(X, y, sample_weight=np.zeros(20))

    def test_one_group(self):
        X, y = correlated(20, 4)
        with pytest.raises(ValueError, match="of one group: give at least two"):
            BaggedGreedyOLS().fit(X, y, groups=np.zeros(20))

    def test_groups_of_another_length(self):
        X, y = correlated(20, 4)
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            BaggedGreedyOLS().fit(X, y, groups=np.arange(19))

    @pytest.mark.parametrize(
        "parameters",
        [{"n_terms": 0}, {"max_terms": 0}, {"max_features": "log"}, {"max_features": 0},
         {"fit_intercept": "always"}, {"tol": 0.0}, {"method": "qr"}, {"noise_forces": -1.0}],
    )  # fmt: skip
    def test_parameters_out_of_range(self, parameters):
        with pytest.raises(ValueError, match=f"'{next(iter(parameters))}' parameter"):
            GreedyOLS(**parameters).fit(*correlated(20, 4))

    def test_gram_matrix_too_large(self, monkeypatch):
        import psutil

        X, y = correlated(20, 400)
        memory = psutil.virtual_memory()._replace(available=2**17)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
        with pytest.raises(MemoryError, match="Gram matrix of 400 features .*gram-schmidt"):
            GreedyOLS(n_terms=2, method="gram").fit(X, y)


@pytest.fixture(scope="module")
def data():
    X, y = correlated(120, 20)
    return X, y, np.repeat(np.arange(24), 5)


class TestBagged:
    def test_mean_of_members(self, data):
        X, y, groups = data
        model = BaggedGreedyOLS(n_estimators=6, random_state=0).fit(X, y, groups)
        members = X @ model.coefs_.T + model.intercepts_
        prediction, spread = model.predict(X, return_std=True)
        np.testing.assert_allclose(prediction, members.mean(axis=1))
        np.testing.assert_allclose(spread, members.std(axis=1, ddof=1))
        np.testing.assert_array_equal((model.coefs_ != 0).sum(axis=1), model.n_terms_)
        np.testing.assert_array_equal((model.coefs_ != 0).sum(axis=0), model.selection_counts_)

    def test_groups_are_drawn_as_a_whole_and_never_held_out_too(self, data):
        X, _, groups = data
        drawn = BaggedGreedyOLS(n_estimators=400)._draw(len(X), groups, np.random.RandomState(0))
        shares = []
        for train, test in drawn:
            assert (train.reshape(24, 5) == train.reshape(24, 5)[:, :1]).all()
            assert train.reshape(24, 5)[:, 0].sum() == 24
            np.testing.assert_array_equal(test, train == 0)
            shares.append(test.mean())
        assert np.mean(shares) == pytest.approx((1 - 1 / 24) ** 24, abs=0.01)

    def test_member_is_greedy_ols_of_the_drawn_with_terms_chosen_out_of_bag(self, data):
        X, y, groups = data
        model = BaggedGreedyOLS(n_estimators=3, max_features=None, random_state=5)
        model.fit(X, y, groups)
        drawn = model._draw(len(X), groups, np.random.RandomState(5))
        for member, (train, test) in enumerate(drawn):
            path = GreedyOLS(n_terms=20).fit(X, y, sample_weight=train)
            held_out = test == 1
            errors = np.mean((path.predict_path(X[held_out]) - y[held_out, None]) ** 2, axis=0)
            assert model.n_terms_[member] == np.argmin(errors)
            np.testing.assert_allclose(model.score_path_[member], -np.sqrt(errors), rtol=1e-9)
            expected = path.coef_path_[:, np.argmin(errors)]
            np.testing.assert_allclose(model.coefs_[member], expected, atol=1e-10)

    def test_does_not_depend_on_the_number_of_jobs(self, data):
        one, two, other = (
            BaggedGreedyOLS(n_estimators=6, n_jobs=n_jobs, random_state=seed).fit(*data)
            for n_jobs, seed in ((None, 0), (2, 0), (None, 1))
        )
        np.testing.assert_array_equal(one.coefs_, two.coefs_)
        np.testing.assert_array_equal(one.intercepts_, two.intercepts_)
        assert not np.array_equal(one.coefs_, other.coefs_)

    def test_groups_of_one_sample(self, data):
        X, y, _ = data
        alone = BaggedGreedyOLS(n_estimators=3, random_state=0).fit(X, y)
        same = BaggedGreedyOLS(n_estimators=3, random_state=0).fit(X, y, np.arange(len(X)))
        np.testing.assert_array_equal(alone.coef_, same.coef_)
        mixed = np.minimum(np.arange(len(X)), 3)  # three groups of one, one of all others
        assert np.isfinite(
            BaggedGreedyOLS(n_estimators=4, random_state=0).fit(X, y, mixed).coef_
        ).all()

    def test_splits_give_the_nested_scheme(self, data):
        X, y, groups = data
        cv = GroupKFold(4)
        model = BaggedGreedyOLS(cv=cv, max_features=None).fit(X, y, groups)
        members = []
        for train, test in cv.split(X, y, groups):
            path = GreedyOLS(n_terms=20).fit(X[train], y[train])
            errors = np.sum((path.predict_path(X[test]) - y[test][:, None]) ** 2, axis=0)
            members.append(path.predict_path(X)[:, np.argmin(errors)])
        np.testing.assert_allclose(model.predict(X), np.mean(members, axis=0), rtol=1e-9)

    def test_serves_nested_cross_validation(self, data):
        X, y, groups = data
        scores = cross_validate(
            BaggedGreedyOLS(n_estimators=3, random_state=0), X, y, cv=GroupKFold(3),
            groups=groups, params={"groups": groups}, error_score="raise",
        )  # fmt: skip
        assert (scores["test_score"] > 0.5).all()


# --- energies and forces ----------------------------------------------------------------------


def small_acsf():
    return ACSF(cutoff=4.0, g2=[(0.1, 0.0), (1.0, 1.0), (2.0, 2.0)], g4=[(0.1, 1.0, 1.0)])


@pytest.fixture(scope="module")
def linear_model():
    """Features of molecules and cells, and labels of a linear model of them with few terms."""
    rng = np.random.default_rng(0)
    cell = np.array([[3.6, 0.2, 0.0], [1.1, 3.4, 0.1], [-0.4, 0.9, 3.8]])
    images = []
    for name in ["H2O", "CH3OH", "CH4", "CO2"] * 5:
        atoms = molecule(name)
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        images.append(atoms)
    for _ in range(5):
        places = np.array([[0.0, 0.0, 0.0], [0.45, 0.52, 0.4], [0.7, 0.1, 0.6]])
        places += rng.normal(scale=0.03, size=(3, 3))
        images.append(Atoms("CHO", cell=cell, scaled_positions=places, pbc=True))
    features = small_acsf().fit_transform(images)
    chosen = rng.choice(features.values.shape[1], 5, replace=False)
    coef = np.zeros(features.values.shape[1])
    coef[chosen] = rng.normal(size=5)
    atomic = {1: -13.0, 6: -1030.0, 8: -2040.0}
    energy = np.array([
        part.values.sum(axis=0) @ coef + sum(atomic[z] for z in part.numbers) for part in features
    ])  # fmt: skip
    forces = -features.pullback(coef)[0]
    return features, Targets(energy, forces, offsets=features.offsets), coef, atomic


def dense_rows(features, columns):
    """Rows −∂(Σ values)/∂R by one pullback for each feature."""
    rows = [features.pullback(np.eye(features.values.shape[1])[j])[0].ravel() for j in columns]
    return -np.array(rows).T


class TestForces:
    @pytest.mark.parametrize("method", METHODS)
    def test_energies_and_forces_recover_the_model(self, linear_model, method):
        features, targets, coef, atomic = linear_model
        model = GreedyOLS(n_terms=5, method=method, noise_energy=0.01).fit(features, targets)
        np.testing.assert_allclose(model.coef_, coef, atol=1e-8)
        np.testing.assert_allclose(model.intercept_, list(atomic.values()), rtol=1e-8)
        energy, forces = model.predict(features, return_forces=True)
        np.testing.assert_allclose(energy, targets.energy, rtol=1e-10)
        np.testing.assert_allclose(forces, targets.forces, atol=1e-7)

    def test_least_squares_of_the_stated_loss(self, linear_model):
        features, targets, _, _ = linear_model
        rng = np.random.default_rng(1)
        energy = targets.energy + rng.normal(size=len(features))
        forces = targets.forces + rng.normal(size=targets.forces.shape)
        weights = rng.uniform(0.5, 2.0, size=len(features))
        noisy = Targets(energy, forces, offsets=features.offsets)
        model = GreedyOLS(n_terms=4, noise_energy=0.6, noise_forces=1.2)
        model.fit(features, noisy, sample_weight=weights)

        counts = np.array([[np.sum(part.numbers == z) for z in (1, 6, 8)] for part in features])
        upper = np.hstack([counts, features.pool("sum").values[:, model.support_]])
        lower = dense_rows(features, model.support_)
        lower = np.hstack([np.zeros((len(lower), 3)), lower])
        scale = np.sqrt(np.r_[
            weights / features.n_atoms / 0.6**2,
            np.repeat(weights / 1.2**2, 3 * features.n_atoms),
        ])  # fmt: skip
        A = np.vstack([upper, lower]) * scale[:, None]
        b = np.r_[energy, forces.ravel()] * scale
        expected = np.linalg.lstsq(A, b, rcond=None)[0]
        np.testing.assert_allclose(model.intercept_, expected[:3], rtol=1e-8)
        np.testing.assert_allclose(model.coef_[model.support_], expected[3:], rtol=1e-6)
        loss = np.sum((A @ expected - b) ** 2) / np.sum(weights * (1 + 3 * features.n_atoms))
        assert model.train_score_path_[-1] == pytest.approx(-np.sqrt(loss))

    def test_batches_of_derivatives_do_not_matter(self, linear_model, monkeypatch):
        features, targets, _, _ = linear_model
        whole = GreedyOLS(n_terms=3).fit(features, targets)
        monkeypatch.setattr("skatom.models.linear.structure_problem._JACOBIAN_BYTES", 2**12)
        parts = GreedyOLS(n_terms=3).fit(features, targets)
        np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-9)

    def test_forces_and_stress_are_derivatives_of_the_energy(self, linear_model):
        features, targets, _, _ = linear_model
        cells = features[20:22]
        model = GreedyOLS(n_terms=3).fit(features, targets)
        _, forces, stress = model.predict(cells, return_forces=True, return_stress=True)
        cotangent = np.tile(model.coef_, (len(cells.numbers), 1))
        slopes = slopes_of_displacements(cells, cotangent)
        np.testing.assert_allclose(forces, -slopes, atol=1e-6)
        virials = slopes_of_strains(cells, cotangent)
        volumes = np.linalg.det(cells.structures.cells)[:, None, None]
        np.testing.assert_allclose(stress * volumes, virials, atol=1e-6)

    def test_forces_alone_leave_the_zero_of_energy_open(self, linear_model):
        features, targets, coef, _ = linear_model
        forces = Targets(forces=targets.forces, offsets=targets.offsets)
        model = GreedyOLS(n_terms=5).fit(features, forces)
        assert not model.absolute_energies_
        np.testing.assert_array_equal(model.intercept_, 0.0)
        np.testing.assert_allclose(model.coef_, coef, atol=1e-7)
        assert model.score(features, targets) == pytest.approx(1.0)

    def test_energies_alone(self, linear_model):
        features, targets, _, _ = linear_model
        one = GreedyOLS(n_terms=3).fit(features, Targets(energy=targets.energy))
        other = GreedyOLS(n_terms=3, noise_energy=0.5).fit(features, targets.energy)
        np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-9)

    def test_labels_may_be_missing_in_part(self, linear_model):
        features, targets, coef, _ = linear_model
        energy, forces = targets.energy.copy(), targets.forces.copy()
        energy[::2] = np.nan
        forces[: features.offsets[9]] = np.nan
        model = GreedyOLS(n_terms=5).fit(
            features, Targets(energy, forces, offsets=features.offsets)
        )
        np.testing.assert_allclose(model.coef_, coef, atol=1e-7)

    def test_terms_are_chosen_on_energies_and_forces_held_out(self, linear_model):
        features, targets, coef, _ = linear_model
        noise = np.random.default_rng(0).normal(scale=1e-3, size=targets.forces.shape)
        noisy = Targets(targets.energy, targets.forces + noise, offsets=features.offsets)
        model = GreedyOLS(cv=KFold(5, shuffle=True, random_state=0), max_terms=10)
        model.fit(features, noisy)
        assert set(np.flatnonzero(coef)) <= set(model.support_)
        assert model.score_path_[model.n_terms_] == model.score_path_.max()

    def test_folds_of_energies_and_forces_are_fitted_apart(self, linear_model):
        features, targets, _, _ = linear_model
        rng = np.random.default_rng(0)
        noisy = Targets(
            targets.energy + rng.normal(size=len(features)),
            targets.forces + rng.normal(size=targets.forces.shape), offsets=features.offsets,
        )  # fmt: skip
        folds = list(KFold(3, shuffle=True, random_state=0).split(np.zeros(len(features))))
        shared = GreedyOLS(cv=folds, max_terms=6, method="gram").fit(features, noisy)
        errors, n_labels = np.zeros(7), 1 + 3 * features.n_atoms
        for train, test in folds:
            part = GreedyOLS(cv=[(train, test)], max_terms=6, method="gram").fit(features, noisy)
            errors += part.score_path_**2 * n_labels[test].sum()
        np.testing.assert_allclose(shared.score_path_, -np.sqrt(errors / n_labels.sum()), rtol=1e-8)

    def test_derivatives_pass_through_a_scaler(self, linear_model):
        features, targets, _, _ = linear_model
        model = make_pipeline(small_acsf(), FeatureScaler(), GreedyOLS(n_terms=8))
        model.fit(features.structures, targets)
        energy, forces = model.predict(features.structures, return_forces=True)
        assert energy == pytest.approx(targets.energy, abs=0.5)
        scaled = model[:-1].transform(features.structures)
        np.testing.assert_allclose(forces, -scaled.pullback(model[-1].coef_)[0])

    def test_bag_of_models_with_forces(self, linear_model):
        features, targets, coef, _ = linear_model
        model = BaggedGreedyOLS(n_estimators=3, max_features=None, random_state=0)
        model.fit(features, targets)
        np.testing.assert_allclose(model.coef_, coef, atol=1e-7)
        energy, forces, std = model.predict(features, return_forces=True, return_std=True)
        np.testing.assert_allclose(forces, targets.forces, atol=1e-6)
        np.testing.assert_allclose(std, 0.0, atol=1e-6)
        assert model.intercepts_.shape == (3, 3)

    def test_element_counts_among_the_candidates(self, linear_model):
        features, targets, _, _ = linear_model
        model = GreedyOLS(n_terms=3, fit_intercept="candidate").fit(features, targets)
        d = features.values.shape[1]
        assert model.support_.max() >= d  # the total energies call for them
        np.testing.assert_allclose(model.predict_path(features)[:, 3], model.predict(features))

    def test_one_composition_is_no_trouble(self, linear_model):
        features, targets, coef, _ = linear_model
        water = np.arange(0, 20, 4)
        model = GreedyOLS(n_terms=3).fit(features[water], targets[water])
        assert model.intercept_.shape == (2,)
        energy = model.predict(features[water])
        np.testing.assert_allclose(energy, targets.energy[water], rtol=1e-4)

    def test_arrays_have_no_forces(self):
        model = GreedyOLS(n_terms=2).fit(*correlated(20, 4))
        with pytest.raises(ValueError, match="gives energy but no forces"):
            model.predict(np.zeros((1, 4)), return_forces=True)

    def test_molecules_have_no_stress(self, linear_model):
        features, targets, _, _ = linear_model
        model = GreedyOLS(n_terms=3).fit(features, targets)
        with pytest.raises(ValueError, match="periodic in three directions"):
            model.predict(features[:2], return_stress=True)

    def test_features_of_another_kind(self, linear_model):
        features, targets, _, _ = linear_model
        model = GreedyOLS(n_terms=3).fit(features, targets)
        with pytest.raises(ValueError, match="X is an array, but .* fitted to AtomicFeatures"):
            model.predict(features.pool("sum").values)
        with pytest.raises(ValueError, match="X is AtomicFeatures, but .* fitted to an array"):
            GreedyOLS(n_terms=2).fit(features.pool("sum").values, targets.energy).predict(features)
        with pytest.raises(ValueError, match="features, but GreedyOLS was fitted to"):
            model.predict(ACSF(cutoff=4.0, g4=[]).fit_transform(features.structures))

    def test_no_labels_that_count(self, linear_model):
        features, targets, _, _ = linear_model
        with pytest.raises(ValueError, match="no structure has energy or forces"):
            GreedyOLS().fit(features, Targets(dipole=np.zeros((len(features), 3))))
