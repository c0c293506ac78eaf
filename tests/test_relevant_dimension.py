"""The relevant dimension of labels in a kernel: closed forms, noise, principal components."""

import io

import joblib
import numpy as np
import pytest
from ase.build import molecule
from scipy.stats import ortho_group
from sklearn.decomposition import KernelPCA
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVR

from skatom.decomposition import RelevantDimension
from skatom.descriptors import BagOfBonds, CoulombMatrix
from skatom.kernels import Gaussian, Laplacian
from skatom.plotting import RelevantDimensionDisplay

N, NOISE = 60, 0.05


def known(seed=0):
    """A kernel whose eigenvectors are known, and labels of the leading five with noise."""
    vectors = ortho_group.rvs(N, random_state=seed)
    matrix = vectors * np.exp(-np.arange(N) / 4) @ vectors.T
    signal = vectors[:, :5] @ [5, 4, 3, -4, 5]
    noise = np.random.default_rng(seed).normal(scale=NOISE, size=N)
    return (matrix + matrix.T) / 2, signal + noise, vectors, signal


def precomputed(**options):
    return RelevantDimension("precomputed", center=False, **options)


@pytest.mark.parametrize("seed", range(5))
def test_five_components_and_their_noise_are_found(seed):
    matrix, y, vectors, signal = known(seed)
    found = precomputed().fit(matrix, y)
    assert found.dimension_ == 5
    assert found.noise_std_ == pytest.approx(NOISE, abs=0.01)
    leading = vectors[:, :5]
    np.testing.assert_allclose(found.denoised_, leading @ leading.T @ y, atol=1e-10)
    assert np.std(found.denoised_ - signal) < np.std(y - signal)
    assert 0.99 < found.signal_fraction_ < 1


def test_leave_one_out_finds_the_same_or_a_few_more():
    for seed in range(5):
        matrix, y, *_ = known(seed)
        found = precomputed(method="loo").fit(matrix, y)
        assert 5 <= found.dimension_ <= 10
        assert found.noise_std_ == pytest.approx(NOISE, abs=0.015)


def test_losses_are_those_of_the_formulas():
    matrix, y, vectors, _ = known()
    z = vectors.T @ y
    for d in (1, 4, 17, N - 1):
        expected = d / N * np.log(np.mean(z[:d] ** 2)) + (N - d) / N * np.log(np.mean(z[d:] ** 2))
        assert precomputed().fit(matrix, y).losses_[d - 1] == pytest.approx(expected, rel=1e-9)
    for d in (1, 4, 17):
        hat = vectors[:, :d] @ vectors[:, :d].T
        expected = np.mean(((y - hat @ y) / (1 - np.diag(hat))) ** 2)
        found = precomputed(method="loo").fit(matrix, y).losses_[d - 1]
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("method", ["likelihood", "loo"])
def test_scale_and_with_centring_shift_of_labels_do_not_matter(method):
    X = np.random.default_rng(0).uniform(-3, 3, (80, 1))
    y = np.sin(X[:, 0]) + np.random.default_rng(1).normal(scale=0.1, size=80)
    model = RelevantDimension(Gaussian(1.0), method=method)
    reference, other = model.fit(X, y).dimension_, model.fit(X, 100.0 - 7.0 * y)
    assert other.dimension_ == reference
    np.testing.assert_allclose(other.denoised_, 100 - 7 * model.fit(X, y).denoised_, rtol=1e-9)
    assert model.noise_std_ == pytest.approx(0.1, abs=0.03)


def test_transform_is_kernel_principal_components():
    X, new = np.random.default_rng(0).normal(size=(2, 40, 3))
    found = RelevantDimension(Laplacian(2.0)).fit(X, X[:, 0] - X[:, 1] ** 2)
    reference = KernelPCA(found.dimension_, kernel="precomputed").fit(Laplacian(2.0)(X))
    for points in (X, new):
        expected = reference.transform(Laplacian(2.0)(points, X))
        np.testing.assert_allclose(abs(found.transform(points)), abs(expected), atol=1e-8)
    matrix = RelevantDimension("precomputed").fit(Laplacian(2.0)(X), X[:, 0] - X[:, 1] ** 2)
    np.testing.assert_allclose(
        abs(matrix.transform(Laplacian(2.0)(new, X))), abs(found.transform(new)), atol=1e-8
    )


def test_each_target_has_its_own_dimension():
    matrix, y, vectors, _ = known()
    rough = vectors[:, 0] + np.random.default_rng(3).normal(scale=1e-3, size=N)
    both = np.stack([y, rough], axis=1)
    found = precomputed().fit(matrix, both)
    np.testing.assert_array_equal(found.dimension_, [5, 1])
    assert found.denoised_.shape == (N, 2)
    np.testing.assert_allclose(found.losses_[:, 0], precomputed().fit(matrix, y).losses_)
    assert found.transform(matrix).shape == (N, 5)


def test_exact_zeros_have_no_infinite_loss():
    matrix = np.diag(np.arange(6.0)[::-1])
    found = precomputed().fit(matrix, [2.0, 1.0, 0, 0, 0, 0])
    assert found.dimension_ == 2
    assert found.noise_std_ == 0
    assert np.isfinite(found.losses_).all()


def test_largest_dimension_is_kept():
    matrix, y, *_ = known()
    assert precomputed(max_dim=3).fit(matrix, y).dimension_ == 3
    assert precomputed(max_dim=3).fit(matrix, y).losses_.shape == (3,)


def test_takes_features_and_structures_in_pipelines_and_searches():
    molecules = [molecule(name) for name in ("H2O", "NH3", "CH4", "C2H6", "C2H4", "CH3OH", "CO2")]
    y = [atoms.numbers.sum() * 1.0 for atoms in molecules]
    descriptor = CoulombMatrix("eigenvalues")
    model = make_pipeline(descriptor, RelevantDimension(Laplacian(50.0)), SVR())
    assert model.fit(molecules, y).predict(molecules[:3]).shape == (3,)
    values = BagOfBonds().fit_transform(molecules)
    found = RelevantDimension(Laplacian(50.0)).fit(values, y)
    assert joblib_copy(found).dimension_ == found.dimension_
    matrix = Laplacian(50.0)(values)
    scores = cross_val_score(
        make_pipeline(RelevantDimension("precomputed"), SVR()), matrix, y, cv=2
    )
    assert np.isfinite(scores).all()


def joblib_copy(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.eye(5), np.ones(5), "labels are constant"),
        (np.ones((5, 4)), np.arange(5.0), "5 x 4 numbers that is not symmetric"),
        (np.triu(np.ones((5, 5))), np.arange(5.0), "not symmetric: give the kernel of all"),
        (np.eye(2), np.arange(2.0), "minimum of 3 is required"),
    ],
)
def test_input_without_an_answer_is_an_error(X, y, message):
    with pytest.raises(ValueError, match=message):
        precomputed().fit(X, y)


def test_plot_marks_dimension_and_noise():
    matrix, y, *_ = known()
    found = precomputed().fit(matrix, y)
    left, right = RelevantDimensionDisplay.from_estimator(found).axes_
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["dimension 5"]
    assert left.get_lines()[1].get_ydata()[0] == found.noise_std_
    np.testing.assert_array_equal(right.get_lines()[0].get_ydata(), found.losses_)
