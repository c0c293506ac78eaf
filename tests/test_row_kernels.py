"""Kernels of plain rows: blocks, speed, parts, and scikit-learn's estimators that take them."""

import numba
import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.base import clone
from sklearn.decomposition import KernelPCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as gp
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVR

from skatom.gaussian_process import RowKernel
from skatom.kernels import (
    AverageOverParts,
    GammaExponential,
    Gaussian,
    KernelMatrix,
    Laplacian,
    Matern,
    Polynomial,
)

KERNELS = {
    "gaussian": Gaussian(1.3),
    "matern 1/2": Matern(1.3, nu=0.5),
    "matern 3/2": Matern(1.3, nu=1.5),
    "matern 5/2": Matern(1.3),
    "gamma-exponential": GammaExponential(1.3, gamma=1.4),
    "gamma-exponential, smooth": GammaExponential(1.3, gamma=2.0),
    "laplacian": Laplacian(1.3),
    "scaled": 2.0 * Laplacian(1.3),
    "rough sum": Laplacian(1.3) + 0.5 * Matern(0.7),
    "tree": 0.7 * (Gaussian(0.9) * Matern(2.0) + Polynomial(2) * GammaExponential(1.1, 0.8)),
    "parts": AverageOverParts(Matern(1.3) + 2.0 * Gaussian(0.8), 2),
}
each_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def rows(n, n_features=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_features))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 70, 5), (130, 65, 4), (7, 200, 23)])
def test_laplacian_is_that_of_scikit_learn_for_any_shape(shape):
    n, m, n_features = shape
    x, y = rows(n, n_features), rows(m, n_features, seed=1)
    np.testing.assert_allclose(Laplacian(2.0)(x, y), laplacian_kernel(x, y, 0.5), rtol=1e-13)
    np.testing.assert_allclose(Laplacian(2.0)(x.T.copy().T), laplacian_kernel(x, gamma=0.5), 1e-13)


@each_kernel
def test_blocks_make_the_matrix_and_symmetric_halves_are_equal(kernel):
    x = rows(300)
    whole = kernel(x)
    np.testing.assert_array_equal(whole, whole.T)
    np.testing.assert_allclose(kernel(x[:170], x[170:]), whole[:170, 170:], rtol=1e-12)
    np.testing.assert_allclose(kernel.diagonal(x), whole.diagonal(), rtol=1e-12, atol=3e-8)


@pytest.mark.parametrize("n", [513, 1200])
def test_many_rows_are_compared_in_several_blocks_of_columns(n):
    x = rows(n, 3)
    for kernel, expected in (
        (Laplacian(2.0), laplacian_kernel(x, gamma=0.5)),
        (Gaussian(2.0), rbf_kernel(x, gamma=0.125)),
    ):
        np.testing.assert_allclose(kernel(x), expected, rtol=1e-12)
        np.testing.assert_array_equal(kernel(x), kernel(x).T)
        np.testing.assert_allclose(kernel(x[:200], x), expected[:200], rtol=1e-12)


def test_bits_do_not_depend_on_the_number_of_threads():
    x, before = rows(300), numba.get_num_threads()
    try:
        found = []
        for threads in (1, before):
            numba.set_num_threads(threads)
            found.append([kernel(x) for kernel in KERNELS.values()])
    finally:
        numba.set_num_threads(before)
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_gamma_exponential_leads_from_matern_to_gaussian():
    x = rows(20)
    np.testing.assert_allclose(GammaExponential(1.3)(x), Matern(1.3, nu=0.5)(x), rtol=1e-12)
    smooth = GammaExponential(1.3, gamma=2)
    np.testing.assert_allclose(smooth(x), Gaussian(1.3 / np.sqrt(2))(x), rtol=1e-12)
    assert GammaExponential(gamma=1.99).n_derivatives == 0
    assert smooth.n_derivatives == 2
    distance = np.array([[0.0], [0.9]])
    between = GammaExponential(1.5, gamma=1.3)(distance)[0, 1]
    assert between == pytest.approx(np.exp(-((0.9 / 1.5) ** 1.3)), rel=1e-13)


@pytest.mark.parametrize("gamma", [0.0, 2.1])
def test_exponents_without_a_positive_definite_kernel_are_an_error(gamma):
    with pytest.raises(ValueError, match="'gamma' parameter of GammaExponential"):
        GammaExponential(gamma=gamma)(rows(2))


def test_parts_are_averaged_over_all_pairs():
    x, y = rows(30, 12), rows(50, 12, seed=1)
    kernel = AverageOverParts(Laplacian(2.0), 3)
    expected = laplacian_kernel(x.reshape(90, 4), y.reshape(150, 4), 0.5)
    np.testing.assert_allclose(
        kernel(x, y), expected.reshape(30, 3, 50, 3).mean(axis=(1, 3)), rtol=1e-12
    )
    exchanged = x.reshape(30, 3, 4)[:, [2, 0, 1]].reshape(30, 12)
    np.testing.assert_allclose(kernel(exchanged, y), kernel(x, y), rtol=1e-12)
    with pytest.raises(ValueError, match="12 features do not consist of n_parts=5 equal parts"):
        AverageOverParts(Laplacian(), 5)(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(3),), "rows of arrays of 2 dimensions, not of 1"),
        ((np.ones((2, 3)), np.ones((2, 4))), "rows of 3 and of 4 features cannot be compared"),
        ((np.array([[np.nan]]),), "numbers that are not finite"),
    ],
)
@pytest.mark.parametrize("kernel", [Gaussian(), Laplacian()], ids=["gaussian", "laplacian"])
def test_rows_that_cannot_be_compared_are_an_error(kernel, arguments, message):
    with pytest.raises(ValueError, match=message):
        kernel(*arguments)


@each_kernel
def test_derivatives_of_scales_are_those_by_central_differences(kernel):
    adapter, x, step = RowKernel(clone(kernel)), rows(8), 1e-5
    values, gradient = adapter(x, eval_gradient=True)
    np.testing.assert_allclose(values, kernel(x), rtol=1e-12)
    assert gradient.shape == (8, 8, len(adapter.theta))
    assert len(adapter.theta) >= 1
    for k in range(len(adapter.theta)):
        shift = step * np.eye(len(adapter.theta))[k]
        ahead, behind = (adapter.clone_with_theta(adapter.theta + s)(x) for s in (shift, -shift))
        slope = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(gradient[:, :, k], slope, rtol=1e-6, atol=1e-8)


def test_gaussian_process_with_the_kernel_is_that_of_scikit_learn():
    x, theirs = rows(30, 2), gp.ConstantKernel(1.0) * gp.RBF(1.0) + gp.WhiteKernel(1e-2)
    y = np.sin(x).sum(axis=1)
    ours = RowKernel(1.0 * Gaussian(1.0)) + gp.WhiteKernel(1e-2)
    found, expected = (GaussianProcessRegressor(k).fit(x, y) for k in (ours, theirs))
    np.testing.assert_allclose(found.kernel_.theta, expected.kernel_.theta, rtol=1e-4, atol=1e-4)
    assert found.log_marginal_likelihood_value_ == pytest.approx(
        expected.log_marginal_likelihood_value_, rel=1e-8
    )
    slopes = found.log_marginal_likelihood(ours.theta, eval_gradient=True)[1]
    numeric = approx_fprime(ours.theta, found.log_marginal_likelihood, 1e-7)
    np.testing.assert_allclose(slopes, numeric, rtol=1e-4)
    assert RowKernel(Gaussian() + Laplacian()).is_stationary()
    assert not RowKernel(2.0 * (Gaussian() + Polynomial())).is_stationary()


def test_the_matrix_is_made_once_for_all_rows(monkeypatch):
    x, y, calls = rows(40), rows(40)[:, 0], []
    call = Laplacian.__call__
    monkeypatch.setattr(Laplacian, "__call__", lambda *a: calls.append(1) or call(*a))
    ridge = KernelRidge(kernel=RowKernel(Laplacian(4.0)), alpha=1e-3).fit(x, y)
    assert len(calls) == 1
    expected = KernelRidge(kernel="laplacian", gamma=0.25, alpha=1e-3).fit(x, y)
    np.testing.assert_allclose(ridge.predict(x), expected.predict(x), rtol=1e-9)
    components = KernelPCA(2, kernel=RowKernel(Laplacian(4.0))).fit_transform(x)
    reference = KernelPCA(2, kernel="precomputed").fit_transform(laplacian_kernel(x, gamma=0.25))
    np.testing.assert_allclose(abs(components), abs(reference), atol=1e-9)


def test_support_vectors_take_a_kernel_as_it_is():
    x, y = rows(40), rows(40)[:, 0]
    found = SVR(kernel=Gaussian(2.0)).fit(x, y).predict(x)
    kernel = rbf_kernel(x, gamma=0.125)
    expected = SVR(kernel="precomputed").fit(kernel, y).predict(kernel)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_nested_cross_validation_searches_within_training_parts():
    x = rows(60)
    y = np.sin(x).sum(axis=1)
    model = make_pipeline(KernelMatrix(Laplacian()), KernelRidge(kernel="precomputed"))
    grid = {"kernelmatrix__kernel__sigma": [1.0, 10.0], "kernelridge__alpha": [1e-6, 1e-2]}
    scores = cross_val_score(GridSearchCV(model, grid, cv=3), x, y, cv=4)
    assert scores.shape == (4,)
    direct = {"kernel__kernel__sigma": [1.0, 10.0], "alpha": [1e-6, 1e-2]}
    ridge = KernelRidge(kernel=RowKernel(Laplacian()))
    np.testing.assert_allclose(
        cross_val_score(GridSearchCV(ridge, direct, cv=3), x, y, cv=4), scores, rtol=1e-8
    )
