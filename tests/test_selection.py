import numpy as np
import pandas as pd
import pytest
from ase.build import molecule
from sklearn.base import clone
from sklearn.datasets import make_regression
from sklearn.feature_selection import SelectorMixin
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skatom.descriptors import SOAP
from skatom.kernels import Cosine, Polynomial
from skatom.selection import CUR, FarthestPointSampling, leverage_scores
from skatom.solvers import sampling

MOLECULES = [molecule(name) for name in ("CH4", "H2O", "CO", "CH3OH", "CO2")]


def points(n=60, n_features=12, rank=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n_features))


class TestFarthestPointSampling:
    @pytest.mark.parametrize("kernel", [None, Cosine(zeta=2), Polynomial(zeta=3, offset=1.0)])
    def test_equals_brute_force(self, kernel):
        X = points()
        gram = X @ X.T if kernel is None else kernel(X)
        own = gram.diagonal()
        distances = np.sqrt(np.maximum(own[:, None] + own - 2 * gram, 0))
        chosen = [7]
        while len(chosen) < 20:
            chosen.append(int(np.argmax(distances[:, chosen].min(axis=1))))
        sampler = FarthestPointSampling(20, axis="samples", kernel=kernel, first=7).fit(X)
        np.testing.assert_array_equal(sampler.selected_, chosen)
        expected = [distances[s, chosen[:k]].min() for k, s in enumerate(chosen) if k]
        np.testing.assert_allclose(sampler.distances_[1:], expected, atol=1e-7)

    def test_linear_kernel_is_the_distance_of_euclid(self):
        X = points()
        samplers = [
            FarthestPointSampling(20, axis="samples", kernel=kernel, random_state=3).fit(X)
            for kernel in (None, Polynomial(zeta=1))
        ]
        np.testing.assert_array_equal(samplers[0].selected_, samplers[1].selected_)

    @pytest.mark.parametrize("kernel", [None, Cosine(zeta=2)])
    def test_does_not_depend_on_how_products_are_made(self, kernel, monkeypatch):
        points = np.random.default_rng(0).normal(size=(300, 20))
        together = sampling.farthest_points(points, 40, [3], kernel)
        monkeypatch.setattr(sampling, "_EACH", 0)
        one_by_one = sampling.farthest_points(points, 40, [3], kernel)
        np.testing.assert_array_equal(together[0], one_by_one[0])
        np.testing.assert_allclose(together[1], one_by_one[1], rtol=1e-10)

    def test_ties_go_to_the_first(self):
        X = [[0.0], [2.0], [-2.0], [2.0]]
        sampler = FarthestPointSampling(4, axis="samples", first=0).fit(X)
        np.testing.assert_array_equal(sampler.selected_, [0, 1, 2])  # the last is a copy

    def test_stops_at_a_distance(self):
        X = np.arange(10.0)[:, None]
        sampler = FarthestPointSampling(10, axis="samples", first=0, min_distance=2.0).fit(X)
        gaps = np.abs(X - X[sampler.selected_].T).min(axis=1)
        assert gaps.max() <= 2.0
        assert (sampler.distances_ > 2.0).all()

    def test_features(self):
        X = points()
        columns = FarthestPointSampling(5, first=2).fit(X)
        rows = FarthestPointSampling(5, axis="samples", first=2).fit(X.T)
        np.testing.assert_array_equal(columns.selected_, rows.selected_)
        np.testing.assert_array_equal(columns.transform(X), X[:, np.sort(columns.selected_)])


class TestCUR:
    def test_leverages_sum_to_one(self):
        for k in (1, 3, 20):
            assert leverage_scores(points(rank=5), k).sum() == pytest.approx(1.0)

    def test_leverages_do_not_depend_on_the_basis(self):
        X = points()
        rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
        np.testing.assert_allclose(leverage_scores(X @ rotation, 4), leverage_scores(X, 4))

    @pytest.mark.parametrize("shape", [(80, 30), (30, 80), (900, 500)])
    @pytest.mark.parametrize("n_components", [1, 3])
    def test_as_many_as_the_rank_span_all(self, shape, n_components):
        X = points(*shape, rank=6)
        for axis, matrix in (("samples", X), ("features", X.T)):
            chosen = CUR(6, axis=axis, n_components=n_components).fit(X).selected_
            basis = matrix[chosen]
            rest = matrix - matrix @ np.linalg.pinv(basis) @ basis
            np.testing.assert_allclose(rest, 0, atol=1e-9 * np.abs(X).max())

    @pytest.mark.parametrize("shape", [(40, 15), (15, 40)])
    @pytest.mark.parametrize("n_components", [1, 3])
    def test_greedy_equals_the_definition(self, shape, n_components):
        X = points(*shape, rank=15)
        rest, chosen = X.copy(), []
        for _ in range(8):
            left = np.linalg.svd(rest, full_matrices=False)[0][:, :n_components]
            scores = (left**2).sum(axis=1)
            scores[chosen] = -1
            chosen.append(int(np.argmax(scores)))
            row = rest[chosen[-1]]
            rest = rest - np.outer(rest @ row, row) / (row @ row)
        found = CUR(8, axis="samples", n_components=n_components).fit(X).selected_
        np.testing.assert_array_equal(found, chosen)

    def test_beyond_the_rank_by_farthest_points(self):
        X = points(rank=3)
        chosen = CUR(10, axis="samples").fit(X).selected_
        assert len(set(chosen.tolist())) == 10

    def test_random_follows_the_scores(self):
        X = np.diag([5.0, 4.0, 3.0, 0.0, 0.0])
        chosen = CUR(3, axis="samples", method="random", n_components=3, random_state=0).fit(X)
        assert sorted(chosen.selected_) == [0, 1, 2]


@pytest.mark.parametrize("selector", [CUR(5), FarthestPointSampling(5, random_state=0)])
def test_features_in_a_pipeline(selector):
    X, y = make_regression(n_features=20, random_state=0)
    model = make_pipeline(selector, Ridge()).fit(X, y)
    assert model[-1].n_features_in_ == 5
    assert isinstance(selector, SelectorMixin)


@pytest.mark.parametrize("selector", [CUR, FarthestPointSampling])
def test_bad_input(selector):
    X = points()
    with pytest.raises(ValueError, match="n_select=61, but there are only 60 samples"):
        selector(61, axis="samples").fit(X)
    with pytest.raises(ValueError, match="NaN"):
        selector(2).fit(np.full((3, 4), np.nan))
    rows = selector(4, axis="samples").fit(X)
    assert rows.transform(X).shape == (4, 12)
    with pytest.raises(ValueError, match="selected from those alone"):
        rows.transform(X[:50])


def test_first_point_that_is_not_there():
    with pytest.raises(ValueError, match="first=60, but there are only 60 samples"):
        FarthestPointSampling(3, axis="samples", first=60).fit(points())


SELECTORS = [CUR(4), FarthestPointSampling(4, first=0)]


@pytest.mark.parametrize("selector", SELECTORS)
def test_columns_of_features_keep_derivatives(selector):
    soap = SOAP(cutoff=3.0, n_max=2, l_max=1)
    for features in (soap.fit_transform(MOLECULES), soap.fit_transform(MOLECULES).pool("sum")):
        few = clone(selector).set_output(transform="default").fit_transform(features)
        columns = np.sort(selector.fit(features).selected_)
        np.testing.assert_array_equal(few.values, features.values[:, columns])
        cotangent = np.zeros(features.n_features)
        cotangent[columns] = [1.0, -2.0, 0.5, 3.0]
        for found, expected in zip(
            few.pullback(cotangent[columns]), features.pullback(cotangent), strict=True
        ):
            np.testing.assert_allclose(found, expected, atol=1e-12)
        assert list(few.feature_names) == list(features.feature_names[columns])


@pytest.mark.parametrize("selector", SELECTORS)
def test_rows_of_features_are_structures_or_environments(selector):
    rows = clone(selector).set_params(axis="samples")
    atomic = SOAP(cutoff=3.0, n_max=2, l_max=1).fit_transform(MOLECULES)
    environments = rows.fit_transform(atomic)
    np.testing.assert_array_equal(environments, atomic.values[rows.selected_])
    pooled = atomic.pool("sum")
    chosen = rows.fit_transform(pooled)
    np.testing.assert_array_equal(chosen.values, pooled.values[rows.selected_])
    np.testing.assert_array_equal(
        chosen.pullback(chosen.values)[0], pooled[rows.selected_].pullback(chosen.values)[0]
    )


@pytest.mark.parametrize("axis", ["features", "samples"])
def test_selected_in_a_data_frame(axis):
    frame = pd.DataFrame(points(), columns=[f"x{k}" for k in range(12)], index=np.arange(60) + 5)
    selector = CUR(3, axis=axis).set_output(transform="pandas")
    found = selector.fit_transform(frame)
    expected = frame.to_numpy()[selector.selected_]
    if axis == "features":
        expected = frame.to_numpy()[:, np.sort(selector.selected_)]
        assert list(found.index) == list(frame.index)
    np.testing.assert_array_equal(found, expected)
    assert list(found.columns) == list(selector.get_feature_names_out())
