"""Composite kernels grown by an information criterion, and what they extrapolate."""

import pickle

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, RationalQuadratic
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score

from skatom.datasets import heisenberg_free_energy, polaron_dispersion
from skatom.gaussian_process import (
    KernelSearch,
    bayesian_information_criterion,
    extrapolation_stability,
)


def product(n, seed=0):
    """Samples of a process with the kernel LIN × RBF, and the criterion of that kernel."""
    random = np.random.default_rng(seed)
    X, noise = random.uniform(-4, 4, (n, 1)), 1e-4
    kernel = DotProduct(0.5, (1e-2, 1e2)) * RBF(0.7, (1e-2, 1e2))
    y = random.multivariate_normal(np.zeros(n), kernel(X) + noise * np.eye(n))
    true = GaussianProcessRegressor(ConstantKernel(1.0, "fixed") * kernel, alpha=noise).fit(X, y)
    return X, y, noise, bayesian_information_criterion(true)


def heisenberg():
    """330 free energies above the critical temperature."""
    T, m = np.meshgrid(np.linspace(1.47, 2.08, 11), np.linspace(-1.25, 1.25, 30), indexing="ij")
    return np.stack([T.ravel(), m.ravel()], axis=1), heisenberg_free_energy(T, m).ravel()


def test_criterion_is_the_likelihood_less_half_a_logarithm_for_each_parameter():
    X, y, noise, _ = product(40)
    fitted = GaussianProcessRegressor(1.0 * RBF(1.0), alpha=noise).fit(X, y)
    expected = fitted.log_marginal_likelihood_value_ - np.log(40)
    assert bayesian_information_criterion(fitted) == pytest.approx(expected, abs=1e-10)
    assert np.log(330) / 2 == pytest.approx(2.8995, abs=1e-4)
    fixed = GaussianProcessRegressor(fitted.kernel_, alpha=noise, optimizer=None).fit(X, y)
    assert bayesian_information_criterion(fixed) == pytest.approx(
        fitted.log_marginal_likelihood_value_, abs=1e-8
    )


def test_base_kernels_have_their_closed_forms():
    search = KernelSearch(max_level=0, n_restarts=0, alpha=1e-2, bounds=(0.999999, 1.000001))
    search.fit([[0.0, 0.0], [1.0, 0.0], [0.3, 0.2]], [0.0, 1.0, 0.4])
    values = {c.expression: c.kernel([[0.0, 0.0]], [[1.0, 0.0]])[0, 0] for c in search.path_}
    assert values["RBF"] == pytest.approx(0.606531, abs=1e-4)
    assert values["MAT"] == pytest.approx(0.523994, abs=1e-4)
    assert values["RQ"] == pytest.approx(2 / 3, abs=1e-4)
    assert values["LIN"] == pytest.approx(1.0, abs=1e-4)


def test_a_product_is_found_and_no_candidate_was_better():
    X, y, noise, true = product(80)
    search = KernelSearch(("LIN", "RBF"), max_level=2, alpha=noise, n_restarts=0).fit(X, y)
    assert search.bic_ > true - 5
    for level in range(search.level_ + 1):
        of_level = [c for c in search.path_ if c.level == level]
        assert len(of_level) == (4 if level else 2)
    assert search.bic_ == max(c.bic for c in search.path_)
    assert search.level_ >= 1
    assert "LIN" in search.expression_
    np.testing.assert_allclose(search.predict(X), y, atol=0.1)
    assert search.process_.kernel_ == search.kernel_


def test_growth_ends_where_no_kernel_is_better():
    X = np.linspace(0, 1, 20)[:, None]
    search = KernelSearch(("LIN",), alpha=1e-2, n_restarts=0).fit(X, 2 * X[:, 0] + 1)
    assert (search.level_, search.expression_) == (0, "LIN")
    assert [c.level for c in search.path_] == [0, 1, 1]
    on = KernelSearch(("LIN",), max_level=2, alpha=1e-2, n_restarts=0, stop_on_decrease=False)
    assert on.fit(X, 2 * X[:, 0] + 1).level_ == 2
    assert on.expression_ in {
        "LIN + LIN + LIN", "(LIN + LIN) * LIN", "LIN * LIN + LIN", "LIN * LIN * LIN",
    }  # fmt: skip


def test_random_growth_fits_one_kernel_a_level_by_its_seed():
    X, y, noise, _ = product(15)
    model = KernelSearch(max_level=3, alpha=noise, n_restarts=0, selection="random", random_state=1)
    search, again = model.fit(X, y), clone(model).fit(X, y)
    assert [c.level for c in search.path_] == [0, 1, 2, 3]
    assert [c.expression for c in again.path_] == [c.expression for c in search.path_]
    others = {
        clone(model).set_params(random_state=seed).fit(X, y).expression_ for seed in range(2, 5)
    }
    assert len(others | {search.expression_}) > 1


def test_jobs_give_the_same_kernel():
    X, y, noise, _ = product(30)
    model = KernelSearch(("LIN", "RBF"), max_level=1, alpha=noise, n_restarts=1, random_state=0)
    with parallel_config("threading"):
        one, two = model.fit(X, y), clone(model).set_params(n_jobs=2).fit(X, y)
    assert two.expression_ == one.expression_
    assert two.bic_ == pytest.approx(one.bic_, rel=1e-6)


@pytest.mark.slow
def test_ranks_simple_kernels_of_the_heisenberg_model():
    X, y = heisenberg()
    simple = KernelSearch(ard=False, max_level=0, n_restarts=0).fit(X, y)
    found = {c.expression: c.bic for c in simple.path_}
    squared = ConstantKernel(1.0, (1e-2, 1e2)) * DotProduct() * DotProduct()
    found["LIN * LIN"] = bayesian_information_criterion(
        GaussianProcessRegressor(squared, alpha=1e-8).fit(X, y)
    )
    assert found["RQ"] > found["RBF"] > found["MAT"] > found["LIN * LIN"] > found["LIN"]
    for name, expected in {"RQ": 2524.0, "RBF": 2519.1, "MAT": 2435.9}.items():
        assert found[name] == pytest.approx(expected, rel=0.01)
    assert found["LIN * LIN"] == pytest.approx(-3.25e6, rel=0.01)
    assert found["LIN"] == pytest.approx(-1.478e8, rel=0.01)
    assert isinstance(simple.kernel_.k2, RationalQuadratic)


def test_free_energies_above_the_transition_tell_the_order_below():
    X, y = heisenberg()
    search = KernelSearch(("RBF",), ard=False, max_level=0, n_restarts=0).fit(X[::2], y[::2])
    m = np.linspace(0, 1.25, 251)
    errors = []
    for T in (1.0, 1.1, 1.2):
        found = search.predict(np.stack([np.full(251, T), m], axis=1)).argmin()
        errors.append(m[found] - np.sqrt(3) * T / 1.25 * np.sqrt(1 - T / 1.25))
    assert np.abs(errors).max() < 0.1


@pytest.mark.parametrize(("T", "m"), [(0.625, 0.612372), (1.0, 0.619677)])
def test_order_parameter_is_the_minimum_of_the_free_energy(T, m):
    grid = np.linspace(0, 1.2, 120001)
    assert grid[heisenberg_free_energy(T, grid).argmin()] == pytest.approx(m, abs=2e-5)
    assert heisenberg_free_energy(1.3, grid).argmin() == 0


@pytest.mark.parametrize(
    ("coupling", "ratio", "expected"),
    [(0.8, 0, 0.714901), (0.4, 3, 0.419569), (1.5, 3, 0.0), (0.49, 0, 1.0), (0.19, 3, 1.0)],
)
def test_polaron_changes_its_momentum_at_the_known_couplings(coupling, ratio, expected):
    momenta = np.linspace(0, np.pi, 100001)
    found = momenta[polaron_dispersion(momenta, coupling, ratio).argmin()] / np.pi
    assert found == pytest.approx(expected, abs=2e-5)


def test_polaron_of_fast_phonons_is_that_in_closed_form():
    momenta = np.linspace(0, np.pi, 7)
    limit = polaron_dispersion(momenta, 0.7, 1.5)
    slow, fast = (polaron_dispersion(momenta, 0.7, 1.5, frequency=f) for f in (1e4, 1e6))
    np.testing.assert_allclose(fast, limit, rtol=1e-5)
    assert abs(slow - limit).max() == pytest.approx(100 * abs(fast - limit).max(), rel=0.01)
    with pytest.raises(ValueError, match="frequency=4: phonons need an energy above"):
        polaron_dispersion(momenta, 0.7, frequency=4)


def transition(model):
    """The smallest coupling (in tenths) at which the polaron leaves momentum π."""
    momenta, couplings = np.linspace(0, np.pi, 91), np.linspace(0.5, 6, 56)
    grid = np.stack(np.meshgrid(momenta, couplings, indexing="ij"), axis=-1).reshape(-1, 2)
    energies = model.predict(grid).reshape(91, 56)
    return couplings[np.argmax(energies.argmin(axis=0) < 90)]


def test_transitions_beyond_the_samples_are_found_and_stable():
    momenta, couplings = np.linspace(0, np.pi, 10), np.linspace(0.02, 0.18, 5)
    K, c = (a.ravel() for a in np.meshgrid(momenta, couplings, indexing="ij"))
    X, y = np.stack([K, 10 * c], axis=1), polaron_dispersion(K, c, 3.0)
    search = KernelSearch(("LIN", "RBF"), max_level=2, alpha=1e-6, n_restarts=0).fit(X, y)
    assert search.level_ >= 1
    assert transition(search) == pytest.approx(2.0, abs=0.21)
    spread = extrapolation_stability(search, X, y, transition, n_splits=4, random_state=0)
    assert spread.shape == (4,)
    assert spread == pytest.approx(2.0, abs=0.31)
    naive = GaussianProcessRegressor(RBF(0.1, "fixed"), alpha=1e-6)
    wild = extrapolation_stability(naive, X, y, transition, n_splits=4, random_state=0)
    assert abs(wild - 2.0).max() > 0.31


def test_stability_takes_any_regressor_and_any_statistic():
    X = np.linspace(0, 1, 12)[:, None]
    found = extrapolation_stability(
        LinearRegression(),
        X,
        X[:, 0] ** 2,
        lambda model: model.coef_,
        train_size=0.5,
        random_state=0,
    )
    assert found.shape == (10, 1)
    assert found.std() > 0


def test_clones_pickles_and_cross_validation():
    X, y, noise, _ = product(30)
    model = KernelSearch(("LIN", "RBF"), max_level=1, alpha=noise, n_restarts=0, random_state=0)
    fitted = clone(model).fit(X, y)
    copy = pickle.loads(pickle.dumps(fitted))
    for a, b in zip(
        copy.predict(X, return_std=True), fitted.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert cross_val_score(model, X, y, cv=2).shape == (2,)


@pytest.mark.parametrize("bases", [(), ("RBF", "COS")])
def test_unknown_base_kernels_are_an_error(bases):
    with pytest.raises(ValueError, match="give some of LIN, RBF, MAT, RQ"):
        KernelSearch(bases).fit(np.eye(3), np.arange(3))
