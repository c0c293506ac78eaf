"""Kernels of feature vectors: closed forms, and scikit-learn's estimators."""

import numpy as np
import pytest
from sklearn.gaussian_process import kernels as gp
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel

from skatom.kernels import Cosine, Gaussian, Laplacian, Matern, Polynomial


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    return rng.uniform(0.2, 1.0, (4, 5)), rng.uniform(0.2, 1.0, (3, 5))


def test_equal_those_of_scikit_learn(points):
    x, y = points
    np.testing.assert_allclose(Gaussian(0.8)(x, y), rbf_kernel(x, y, 0.5 / 0.64), rtol=1e-13)
    np.testing.assert_allclose(Laplacian(0.8)(x, y), laplacian_kernel(x, y, 1.25), rtol=1e-13)
    for nu in (0.5, 1.5, 2.5):
        np.testing.assert_allclose(Matern(0.8, nu)(x, y), gp.Matern(0.8, nu=nu)(x, y), rtol=1e-12)


def test_precomputed_in_scikit_learn(points):
    x, y = points
    kernel, target = Gaussian(0.8), np.arange(4.0)
    ours = KernelRidge(alpha=0.1, kernel="precomputed").fit(kernel(x), target)
    theirs = KernelRidge(alpha=0.1, kernel="rbf", gamma=0.5 / 0.64).fit(x, target)
    np.testing.assert_allclose(ours.predict(kernel(y, x)), theirs.predict(y), rtol=1e-10)


def test_cosine_of_no_direction_is_zero():
    kernel, zero = Cosine(1), np.zeros(1)
    assert kernel.value(zero, zero, np.ones(1)) == 0
    p = kernel.profile(zero, zero, np.ones(1))
    assert all(np.isfinite(f).all() for f in vars(p).values())


def test_real_power_of_an_obtuse_angle_is_an_error():
    with pytest.raises(ValueError, match="integer zeta"):
        Cosine(2.5)([[1.0, 0.0]], [[-1.0, 0.0]])


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (Matern(1.0, nu=2.0), "'nu' parameter of Matern"),
        (Cosine(0.5), "'zeta' parameter of Cosine"),
        (Gaussian() + Polynomial(0), "'zeta' parameter of Polynomial"),
    ],
)
def test_parameters_out_of_range_are_named(kernel, message):
    with pytest.raises(ValueError, match=message):
        kernel(np.ones((2, 3)))
