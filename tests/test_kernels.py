"""Kernels of feature vectors: values, derivatives, composition, scikit-learn's contract."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process import kernels as gp
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import laplacian_kernel, rbf_kernel

from skatom.kernels import Cosine, Gaussian, Laplacian, Matern, Polynomial

SMOOTH = {
    "gaussian": Gaussian(1.3),
    "matern 3/2": Matern(1.3, nu=1.5),
    "matern 5/2": Matern(1.3),
    "polynomial": Polynomial(3, offset=0.5),
    "linear": Polynomial(),
    "cosine": Cosine(3),
    "cosine, real power": Cosine(2.5),
    "scaled": 2.5 * Gaussian(0.7),
    "sum": Gaussian(1.3) + Polynomial(2),
    "product": Gaussian(1.3) * Cosine(2) * Matern(2.0),
}


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    return rng.uniform(0.2, 1.0, (4, 5)), rng.uniform(0.2, 1.0, (3, 5))


def pair(kernel, x, y):
    return kernel(x[None], y[None])[0, 0]


def profile(kernel, x, y):
    return kernel.profile(np.array([x @ y]), np.array([x @ x]), np.array([y @ y]))


@pytest.mark.parametrize("kernel", SMOOTH.values(), ids=SMOOTH)
def test_derivatives_equal_finite_differences(kernel, points):
    x, y = points[0][0], points[1][0]
    p = profile(kernel, x, y)
    step, unit = 1e-4, np.eye(5)

    def slope(f):
        return np.array([(f(step * e) - f(-step * e)) / (2 * step) for e in unit])

    by_x = slope(lambda d: pair(kernel, x + d, y))
    by_y = slope(lambda d: pair(kernel, x, y + d))
    mixed = slope(lambda d: slope(lambda c: pair(kernel, x + d, y + c)))
    np.testing.assert_allclose(p.s * y + 2 * p.u * x, by_x, atol=1e-7)
    np.testing.assert_allclose(p.s * x + 2 * p.v * y, by_y, atol=1e-7)
    expected = (
        p.s * unit + p.ss * np.outer(y, x) + 2 * p.su * np.outer(x, x)
        + 2 * p.sv * np.outer(y, y) + 4 * p.uv * np.outer(x, y)
    )  # fmt: skip
    np.testing.assert_allclose(expected, mixed, atol=2e-7)


@pytest.mark.parametrize("kernel", SMOOTH.values(), ids=SMOOTH)
def test_profile_starts_with_the_value(kernel, points):
    x, y = points
    s, u, v = x @ y.T, np.sum(x * x, 1)[:, None], np.sum(y * y, 1)
    np.testing.assert_allclose(kernel.profile(s, u, v).value, kernel(x, y), rtol=1e-14)


@pytest.mark.parametrize("kernel", [*SMOOTH.values(), Laplacian()], ids=[*SMOOTH, "laplacian"])
def test_matrix_is_symmetric_positive_and_has_its_diagonal(kernel, points):
    x = points[0]
    matrix = kernel(x)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-14)
    np.testing.assert_allclose(matrix.diagonal(), kernel.diagonal(x), rtol=1e-14)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12 * matrix.max()


def test_equal_those_of_scikit_learn(points):
    x, y = points
    np.testing.assert_allclose(Gaussian(0.8)(x, y), rbf_kernel(x, y, 0.5 / 0.64), rtol=1e-13)
    np.testing.assert_allclose(Laplacian(0.8)(x, y), laplacian_kernel(x, y, 1.25), rtol=1e-13)
    for nu in (0.5, 1.5, 2.5):
        np.testing.assert_allclose(Matern(0.8, nu)(x, y), gp.Matern(0.8, nu=nu)(x, y), rtol=1e-12)


def test_compose(points):
    x, y = points
    a, b = Gaussian(), Cosine(2)
    np.testing.assert_allclose((a + b)(x, y), a(x, y) + b(x, y), rtol=1e-14)
    np.testing.assert_allclose((a * b)(x, y), a(x, y) * b(x, y), rtol=1e-14)
    np.testing.assert_allclose((3 * a)(x, y), (a * 3)(x, y), rtol=1e-14)
    np.testing.assert_allclose((a + Laplacian())(x, y), a(x, y) + Laplacian()(x, y), rtol=1e-14)
    np.testing.assert_allclose((a * b + 2 * a).diagonal(x), 3 * np.ones(4), rtol=1e-14)


def test_clone_and_nested_parameters():
    kernel = clone(2.0 * Gaussian(1.0) + Matern(2.0))
    kernel.set_params(left__kernel__sigma=5.0, right__nu=1.5)
    assert kernel.left.kernel.sigma == 5.0
    assert kernel.right.nu == 1.5


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


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (Gaussian(0.0), "'sigma' parameter of Gaussian"),
        (Matern(1.0, nu=2.0), "'nu' parameter of Matern"),
        (Cosine(0.5), "'zeta' parameter of Cosine"),
        (2.0 * Gaussian(-1.0), "'sigma' parameter of Gaussian"),
        (Gaussian() + Polynomial(0), "'zeta' parameter of Polynomial"),
        (-1.0 * Gaussian(), "'factor' parameter of Scaled"),
    ],
)
def test_parameters_out_of_range_are_named(kernel, message):
    with pytest.raises(ValueError, match=message):
        kernel(np.ones((2, 3)))


def test_rough_kernels_say_that_they_have_no_derivatives():
    one = np.ones(1)
    with pytest.raises(ValueError, match="no derivatives: take nu=1.5"):
        Matern(nu=0.5).profile(one, one, one)
    with pytest.raises(ValueError, match="no derivatives: take Gaussian"):
        Laplacian().profile(one, one, one)


def test_real_power_of_an_obtuse_angle_is_an_error():
    with pytest.raises(ValueError, match="whole zeta"):
        Cosine(2.5)([[1.0, 0.0]], [[-1.0, 0.0]])
