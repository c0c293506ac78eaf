"""Random features: convergence to their kernels, distributions, sampled networks, components."""

import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from batches import random_rotation
from derivatives import slopes_of_displacements, slopes_of_strains
from scipy import stats
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from skatom import Structures, Targets
from skatom.datasets import load_ethanol
from skatom.descriptors import FCHL19, CartesianCoordinates, InverseDistances, Linear
from skatom.kernels import Cosine, GammaExponential, Gaussian, Laplacian, Matern, covariance
from skatom.network_potentials import (
    cartesian_potential,
    extensive_potential,
    higher_order_potential,
    isometric_potential,
    permutation_invariant_potential,
    shallow_set_potential,
)
from skatom.random_features import (
    CoulombFeatures,
    DenseProjection,
    Neurons,
    PrincipalComponents,
    RandomFourierFeatures,
    SampledNetworkFeatures,
    ShallowSetFeatures,
    TripletFeatures,
)
from skatom.random_features.projections import draw_hadamard, draw_normal, draw_orthogonal

METHODS = ["independent", "orthogonal", "hadamard"]
KERNELS = {
    "gaussian": Gaussian(4.0),
    "matern 5/2": Matern(6.0),
    "matern 3/2": Matern(6.0, nu=1.5),
    "matern 1/2": Matern(6.0, nu=0.5),
    "gamma-exponential": GammaExponential(6.0, gamma=1.3),
    "laplacian": Laplacian(20.0),
    "scaled and sum": 2.0 * Gaussian(3.0) + Matern(8.0),
}


def points(n=20, n_features=20, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_features))


def kernel_errors(kernel, n_features, method, X, repeats=10):
    """Errors of the kernel matrix, (repeats, n, n), relative to its diagonal."""
    exact = kernel(X)
    make = RandomFourierFeatures(kernel, n_features, method=method)
    found = (clone(make).set_params(random_state=s).fit_transform(X) for s in range(repeats))
    return np.stack([(z @ z.T - exact) / exact[0, 0] for z in found])


def rms(array):
    return float(np.sqrt(np.mean(array**2)))


# --- kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", KERNELS)
def test_products_of_features_are_the_kernel_up_to_one_over_root_d(name, method):
    X, few, many = points(), 128, 2048
    errors = [kernel_errors(KERNELS[name], d, method, X) for d in (few, many)]
    # the variance of a product of two cosines with independent phases is at most 3/2
    assert rms(errors[1]) < np.sqrt(1.5 / many)
    assert rms(errors[0]) / rms(errors[1]) == pytest.approx(np.sqrt(many / few), rel=0.25)
    assert rms(errors[1].mean(axis=0)) < 2 * rms(errors[1]) / np.sqrt(len(errors[1]))


@pytest.mark.parametrize("method", ["orthogonal", "hadamard"])
@pytest.mark.parametrize("n_features", [16, 64])
def test_structured_frequencies_are_as_accurate_as_independent_ones(method, n_features):
    X, kernel = points(40, n_features), Gaussian(1.5 * np.sqrt(n_features))
    independent = rms(kernel_errors(kernel, 512, "independent", X))
    assert rms(kernel_errors(kernel, 512, method, X)) < 1.05 * independent


def test_a_kernel_without_a_spectral_density_is_an_error():
    with pytest.raises(ValueError, match="Cosine.* has no spectral density: use Gaussian, Matern"):
        RandomFourierFeatures(Cosine(2), 10).fit(points())
    with pytest.raises(ValueError, match="sigma"):
        RandomFourierFeatures(Gaussian(-1.0), 10).fit(points())


def test_sums_over_atoms_approximate_the_kernel_of_structures():
    features = FCHL19(cutoff=4.0, n_r2=6, n_r3=5).fit_transform(
        [molecule("CH3OH"), molecule("H2O"), molecule("CH4"), molecule("H2CO")]
    )
    kernel = Gaussian(1.0)
    blocks = ("energy", "forces")
    exact = covariance(kernel, features, rows=blocks)
    size = np.sqrt(np.maximum(exact.diagonal(), 1e-3 * exact.diagonal().max()))
    found = []
    for seed in range(10):
        mapped = RandomFourierFeatures(kernel, 1000, random_state=seed).fit_transform(features)
        pooled = mapped.pool("sum")
        slopes = pooled.jacobian(slice(None)).gradients
        forces = np.split(-slopes, features.offsets[1:-1])
        rows = np.concatenate([  # the energy and the forces of a structure after each other
            part for one in zip(pooled.values[:, None], forces, strict=True)
            for part in (one[0], one[1].reshape(-1, slopes.shape[2]))
        ])  # fmt: skip
        found.append((rows @ rows.T - exact) / np.outer(size, size))
    assert rms(found[0]) < 0.05
    assert rms(np.mean(found, axis=0)) < 0.5 * rms(np.array(found))  # 1/√10 = 0.32: no bias


def test_ridge_regression_approaches_that_with_the_kernel():
    X = points(80, 3)
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
    test = points(50, 3, seed=1)
    exact = KernelRidge(alpha=1e-2, kernel="rbf", gamma=1 / 8).fit(X, y).predict(test)
    errors = []
    for n_features in (250, 4000):
        features = RandomFourierFeatures(Gaussian(2.0), n_features, random_state=0).fit(X)
        model = Ridge(1e-2, fit_intercept=False).fit(features.transform(X), y)
        errors.append(rms(model.predict(features.transform(test)) - exact))
    assert errors[1] < 0.4 * errors[0] and errors[1] < 0.05 * rms(exact)


# --- projections ----------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [draw_normal, draw_orthogonal, draw_hadamard])
def test_directions_have_normal_lengths_and_no_preference(draw):
    n_in = 24
    matrix = draw(4096, n_in, np.random.RandomState(0))
    matrix = getattr(matrix, "as_matrix", lambda: matrix)().matrix
    assert stats.kstest(matrix[:, 3], "norm").pvalue > 1e-3
    np.testing.assert_allclose((matrix**2).sum(axis=1).mean(), n_in, rtol=0.05)
    np.testing.assert_allclose(matrix.T @ matrix / len(matrix), np.eye(n_in), atol=0.1)


@pytest.mark.parametrize("draw", [draw_orthogonal, draw_hadamard])
def test_blocks_are_orthogonal(draw):
    projection = draw(64, 64, np.random.RandomState(0))
    matrix = projection.apply(np.eye(64)).T
    matrix /= np.linalg.norm(matrix, axis=1)[:, None]
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(64), atol=1e-12)


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 3), (5, 64), (64, 65), (70, 300), (128, 20)])
def test_fast_transforms_equal_products_with_the_matrix(n_in, n_out):
    projection = draw_hadamard(n_out, n_in, np.random.RandomState(0))
    matrix = projection.as_matrix()
    x, c = points(13, n_in), points(13, n_out)
    np.testing.assert_allclose(projection.apply(x), matrix.apply(x), atol=1e-11)
    np.testing.assert_allclose(projection.pull_back(c), matrix.pull_back(c), atol=1e-11)
    # noncontiguous rows
    np.testing.assert_allclose(projection.apply(x[::2]), matrix.apply(x)[::2], atol=1e-11)


# --- networks -------------------------------------------------------------------------------------


def arguments(layer, x):
    """w·x + b of the rows x for each neuron."""
    return x @ layer.map_.projections[0].matrix.T + layer.map_.offsets[0]


@pytest.mark.parametrize(
    ("orientation", "there", "beyond"),
    [
        ("inward", (-0.5, 0.5), None),
        ("outward", (np.tanh(-np.log(1.5)), np.tanh(-3 * np.log(1.5))), None),
    ],
)
def test_neurons_have_known_values_at_their_pairs(orientation, there, beyond):
    x = np.array([[1.0, 2.0], [4.0, -2.0]])  # the only pair, in either order
    layer = SampledNetworkFeatures(6, orientation=orientation, random_state=0).fit(x)
    values = np.sort(layer.transform(x), axis=0)
    np.testing.assert_allclose(values, np.sort(there)[:, None] * np.ones(6), atol=1e-12)
    assert there[0] == pytest.approx({"inward": -0.5, "outward": -0.38461538}[orientation])


def test_outward_rectifiers_vanish_between_their_points():
    x = np.array([[0.0], [2.0]])
    layer = SampledNetworkFeatures(5, activation="relu", random_state=0).fit(x)
    between = layer.transform(np.linspace(0, 2, 11)[:, None])
    np.testing.assert_allclose(between, 0, atol=1e-15)
    assert layer.transform([[-1.0], [3.0]]).sum() > 0


def test_neurons_do_not_depend_on_the_origin_and_the_unit():
    x = points()
    layer = SampledNetworkFeatures(40, random_state=0)
    expected = clone(layer).fit_transform(x)
    np.testing.assert_allclose(clone(layer).fit_transform(7.0 * x - 100.0), expected, atol=1e-10)


def test_uniform_pairs_do_not_read_the_labels():
    x = points()
    layer = SampledNetworkFeatures(40, random_state=0)
    expected = clone(layer).fit_transform(x)
    np.testing.assert_array_equal(clone(layer).fit(x, x[:, 0]).transform(x), expected)
    by_slope = clone(layer).set_params(sampler="differences")
    assert (by_slope.fit(x, x[:, 0]).transform(x) != expected).any()
    constant = clone(by_slope).fit(x, np.zeros(len(x))).transform(x)
    np.testing.assert_array_equal(constant, expected)


def test_pairs_are_drawn_where_the_labels_change():
    x = np.linspace(-1, 1, 200)[:, None]
    layer = SampledNetworkFeatures(500, sampler="differences", orientation="inward", random_state=0)
    step = clone(layer).fit(x, np.sign(x))
    weights = step.map_.projections[0].matrix[:, 0]
    centres = (0.5 * np.log(3) - step.map_.offsets[0] - 0.5 * np.log(3)) / weights
    assert np.abs(centres).max() < 1  # all pairs straddle the step
    ends = arguments(step, np.array([[0.0]]))
    assert np.abs(ends).max() <= 0.5 * np.log(3) + 1e-9


def test_a_sine_is_learnt_to_five_digits():
    x = np.linspace(0, 2 * np.pi, 1000)[:, None]
    for orientation in ("outward", "inward"):
        z = SampledNetworkFeatures(500, orientation=orientation, random_state=0).fit_transform(x)
        error = Ridge(1e-8).fit(z, np.sin(x[:, 0])).predict(z) - np.sin(x[:, 0])
        assert np.abs(error).max() < 1e-4


def test_ridge_on_neurons_is_ridge_with_their_kernel():
    x, y = points(50, 4), points(50, 1)[:, 0]
    z = SampledNetworkFeatures(120, random_state=0).fit_transform(x)
    primal = Ridge(1e-3, fit_intercept=False).fit(z, y).predict(z)
    dual = KernelRidge(alpha=1e-3, kernel="precomputed").fit(z @ z.T, y).predict(z @ z.T)
    np.testing.assert_allclose(primal, dual, atol=1e-8)
    interpolated = Ridge(1e-12, fit_intercept=False, solver="svd").fit(z, y).predict(z)
    np.testing.assert_allclose(interpolated, y, atol=1e-5)


def test_rectifiers_of_normal_weights_have_the_arc_cosine_kernel():
    x, rng = points(4, 6), np.random.default_rng(0)
    weights = rng.normal(size=(200000, 6))
    z = Neurons([DenseProjection(weights)], np.zeros(len(weights)), "relu").value(x)
    norms = np.linalg.norm(x, axis=1)
    angle = np.arccos(np.clip(x @ x.T / np.outer(norms, norms), -1, 1))
    exact = np.outer(norms, norms) * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
    exact /= 2 * np.pi
    np.testing.assert_allclose(z @ z.T / len(weights), exact, atol=0.02 * exact.max())


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus", "relu"])
def test_slopes_of_activations_equal_central_differences(activation):
    neurons = Neurons([DenseProjection(np.ones((1, 1)))], [0.0], activation)
    t, h = np.linspace(-4, 4, 41)[:, None] + 0.01, 1e-5
    slopes = neurons.pullback(t, np.ones_like(t))
    found = (neurons.value(t + h) - neurons.value(t - h)) / (2 * h)
    np.testing.assert_allclose(slopes, found, atol=1e-9)
    far = np.array([[-800.0], [800.0]])
    assert np.isfinite(neurons.value(far)).all()


def test_labels_of_atoms_are_the_energies_of_their_structures():
    data = load_ethanol()
    structures, targets = data.structures[:30:3], data.targets[:30:3]
    features = FCHL19(cutoff=3.0, n_r2=4, n_r3=3).fit_transform(structures)
    layer = SampledNetworkFeatures(30, sampler="differences", random_state=0)
    fitted = clone(layer).fit(features, targets)
    same = clone(layer).fit(features, targets.energy)
    other = clone(layer).set_params(sampler="uniform").fit(features)
    np.testing.assert_array_equal(fitted.map_.offsets, same.map_.offsets)
    assert (fitted.map_.offsets != other.map_.offsets).any()
    energy = targets.energy.copy()
    energy[:5] = np.nan
    partly = clone(layer).fit(features, energy)
    alone = clone(layer).fit(features[5:], targets[5:])
    np.testing.assert_array_equal(partly.map_.offsets, alone.map_.offsets)


def test_networks_without_pairs_or_labels_are_errors():
    x = points(5, 3)
    layer = SampledNetworkFeatures(4, random_state=0)
    with pytest.raises(ValueError, match="all 3 points of a kind coincide.*data that vary"):
        layer.fit(np.ones((3, 2)))
    with pytest.raises(ValueError, match="requires y to be passed.* give labels to fit"):
        layer.set_params(sampler="differences").fit(x)
    with pytest.raises(ValueError, match="y has 4 labels, but X has 5 rows"):
        layer.fit(x, x[:4, 0])
    features = FCHL19(cutoff=3.0, n_r2=4, n_r3=3).fit_transform([molecule("H2O")])
    with pytest.raises(ValueError, match="all [12] points .* by_element=False"):
        layer.set_params(sampler="uniform").fit(features)
    with pytest.raises(ValueError, match="needs energies, and the targets have only forces"):
        layer.set_params(sampler="differences").fit(features, Targets(forces=np.zeros((1, 3, 3))))


# --- principal components -------------------------------------------------------------------------


def test_components_are_those_of_scikit_learn():
    x = points(50, 6) * np.arange(1, 7)
    found, expected = PrincipalComponents(3).fit(x), PCA(3).fit(x)
    np.testing.assert_allclose(
        found.explained_variance_ratio_[0], expected.explained_variance_ratio_, rtol=1e-10
    )
    np.testing.assert_allclose(np.abs(found.transform(x)), np.abs(expected.transform(x)), atol=1e-9)
    assert (np.take_along_axis(
        found.components_[0], np.abs(found.components_[0]).argmax(axis=1)[:, None], 1
    ) > 0).all()  # fmt: skip


def test_components_of_each_element_are_those_of_its_atoms():
    data = load_ethanol()
    features = FCHL19(cutoff=3.0, n_r2=4, n_r3=3).fit_transform(data.structures[:40:4])
    found = PrincipalComponents(5).fit(features)
    values = found.transform(features).values
    for k, z in enumerate(features.species):
        own = features.values[features.numbers == z]
        alone = PrincipalComponents(5).fit(own)
        np.testing.assert_allclose(values[features.numbers == z], alone.transform(own), atol=1e-12)
        np.testing.assert_array_equal(found.components_[k], alone.components_[0])
    together = PrincipalComponents(5, by_element=False).fit(features)
    alone = PrincipalComponents(5).fit(features.values)
    np.testing.assert_array_equal(together.components_, alone.components_)


def test_more_components_than_rows_or_features_are_errors():
    with pytest.raises(ValueError, match="n_components=4, but there are 3 features .* at most 3"):
        PrincipalComponents(4).fit(points(10, 3))
    features = FCHL19(cutoff=3.0, n_r2=4, n_r3=3).fit_transform([molecule("CH4")])
    with pytest.raises(ValueError, match="1 rows of the rarest kind: take at most 1"):
        PrincipalComponents(2).fit(features)


def test_a_linear_map_may_differ_between_species():
    rng = np.random.default_rng(0)
    matrices, means, x = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4)), points(5, 4)
    numbers = np.array([8, 1, 8, 1, 1])
    linear = Linear(matrices, means, species=[1, 8])
    expected = [matrices[k] @ (row - means[k]) for k, row in zip((1, 0, 1, 0, 0), x, strict=True)]
    np.testing.assert_allclose(linear.value(x, numbers), expected)
    matrices[0, 1] = matrices[1, 1] = 0
    needed = Linear(matrices, means, [1, 8]).depends_on(np.array([False, True, False]))
    assert not needed.any()


# --- transformers ---------------------------------------------------------------------------------

TRANSFORMERS = {
    "components": PrincipalComponents(3),
    "waves": RandomFourierFeatures(Gaussian(2.0), 12, random_state=0),
    "hadamard": RandomFourierFeatures(Matern(2.0), 12, method="hadamard", random_state=0),
    "network": SampledNetworkFeatures(12, random_state=0),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_species_and_features_of_others_are_errors(name):
    descriptor = FCHL19(cutoff=3.0, n_r2=4, n_r3=3).fit([molecule("CH3OH")])
    carbon = [molecule("C2H6"), molecule("CH4"), molecule("C2H4")]
    learnt = clone(TRANSFORMERS[name]).fit(descriptor.transform(carbon))
    with pytest.raises(ValueError, match="contains O"):
        learnt.transform(descriptor.transform([molecule("CH3OH")]))
    with pytest.raises(ValueError, match="is StructureFeatures, .* give it AtomicFeatures"):
        learnt.transform(descriptor.transform(carbon).pool("sum"))
    with pytest.raises(ValueError, match="features as input"):
        learnt.transform(points(3, 4))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_as_many_features_of_another_descriptor_are_an_error(name):
    molecules = [molecule(name) for name in ("CH3OH", "CH3CH2OH", "H2CO", "CH3CHO")]
    features = FCHL19(cutoff=3.0, n_r2=4, n_r3=3).fit_transform(molecules)
    others = FCHL19(cutoff=3.5, n_r2=4, n_r3=3).fit_transform(molecules)
    learnt = clone(TRANSFORMERS[name]).fit(features)
    with pytest.raises(ValueError, match="another descriptor .* cutoff=3.5 in place of 3"):
        learnt.transform(others)
    same = FCHL19(cutoff=3.0, n_r2=4, n_r3=3, n_jobs=1).fit_transform(molecules)
    np.testing.assert_array_equal(learnt.transform(same).values, learnt.transform(features).values)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_seed_fixes_the_features_and_files_keep_them(name, tmp_path):
    data = load_ethanol()
    features = FCHL19(cutoff=3.0, n_r2=4, n_r3=3).fit_transform(data.structures[:20:4])
    learnt = clone(TRANSFORMERS[name])
    expected = learnt.fit_transform(features).values
    np.testing.assert_array_equal(clone(learnt).fit_transform(features).values, expected)
    joblib.dump(learnt, tmp_path / "map.joblib")
    read = joblib.load(tmp_path / "map.joblib")
    np.testing.assert_array_equal(read.transform(features).values, expected)
    names = read.get_feature_names_out()
    assert len(set(names)) == expected.shape[1]


# --- molecules ------------------------------------------------------------------------------------


def rattled(n=4, name="CH3OH"):
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(n):
        atoms = molecule(name)
        atoms.positions += rng.normal(scale=0.08, size=atoms.positions.shape)
        frames.append(atoms)
    return frames


MOLECULE_MAPS = {
    "coulomb": CoulombFeatures(),
    "sorted": CoulombFeatures("sorted"),
    "eigenvalues": CoulombFeatures("eigenvalues"),
    "singular values": CoulombFeatures("singular values"),
    "angles": TripletFeatures(),
    "gaussians": TripletFeatures("gaussians"),
    "nested": ShallowSetFeatures(5, random_state=0),
    "nested normal": ShallowSetFeatures(5, projection="normal", random_state=0),
    "flat": ShallowSetFeatures(5, layout="flat", random_state=0),
    "flat normal": ShallowSetFeatures(5, layout="flat", projection="normal", random_state=0),
}
WITHOUT_ORDER = [name for name in MOLECULE_MAPS if name not in ("coulomb", "angles", "gaussians")]


@pytest.mark.parametrize("name", MOLECULE_MAPS)
def test_derivatives_of_maps_of_molecules_equal_central_differences(name):
    features = InverseDistances().fit_transform(rattled())
    learnt = clone(MOLECULE_MAPS[name]).fit(features)
    mapped = learnt.transform(features)
    size = np.abs(mapped.values).max(axis=0)
    cotangent = np.random.default_rng(0).normal(size=mapped.values.shape) / size
    gradient, virial = mapped.pullback(cotangent)

    def transform(structures):
        return learnt.transform(features.descriptor.transform(structures))

    for found, expected in (
        (gradient, slopes_of_displacements(mapped, cotangent, transform)),
        (virial, slopes_of_strains(mapped, cotangent, transform)),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    jacobian = mapped.jacobian(slice(None))
    rows = np.repeat(cotangent, np.diff(jacobian.offsets), axis=0)
    along = np.einsum("axf,af->ax", jacobian.gradients, rows)
    np.testing.assert_allclose(along, gradient, atol=1e-10 * np.abs(gradient).max())


@pytest.mark.parametrize("name", MOLECULE_MAPS)
def test_only_maps_of_sets_forget_the_order_of_like_atoms(name):
    frames = rattled()
    features = InverseDistances().fit_transform(frames)
    learnt = clone(MOLECULE_MAPS[name]).fit(features)
    swapped = [atoms[[0, 1, 4, 3, 5, 2]] for atoms in frames]  # hydrogens
    assert (swapped[0].numbers == frames[0].numbers).all()
    found = learnt.transform(features.descriptor.transform(swapped)).values
    same = np.allclose(found, learnt.transform(features).values, rtol=1e-9)
    assert same == (name in WITHOUT_ORDER)


def test_coulomb_matrix_of_water_is_that_of_the_textbook():
    y, z = 0.763239, 0.477047
    water = Atoms("OHH", [[0, 0, 0.119262], [0, y, -z], [0, -y, -z]])
    features = InverseDistances().fit_transform([water])
    coulomb = CoulombFeatures().fit_transform(features).values[0]
    np.testing.assert_allclose(coulomb, [8.259642, 8.259642, 0.655103], atol=2e-6)
    spectrum = CoulombFeatures("eigenvalues").fit_transform(features).values[0]
    np.testing.assert_allclose(spectrum, [75.355543, -0.155103, -0.683746], atol=2e-6)
    singular = CoulombFeatures("singular values").fit_transform(features).values[0]
    np.testing.assert_allclose(singular, [75.355543, 0.683746, 0.155103], atol=2e-6)
    lower = CoulombFeatures("sorted").fit_transform(features).values[0]
    np.testing.assert_allclose(
        lower, [73.516695, 8.259642, 0.5, 8.259642, 0.655103, 0.5], atol=2e-6
    )
    angles = TripletFeatures().fit_transform(features).values[0, 3:]
    np.testing.assert_allclose(np.degrees(np.arccos(angles)), [104.0, 38.0, 38.0], atol=1e-3)
    bell = TripletFeatures("gaussians", 2.0).fit_transform(features).values[0, 3]
    assert bell == pytest.approx(np.exp(-(2 * 0.968565**2 + 1.526478**2) / 4), rel=1e-5)


def test_normal_functions_of_sets_have_the_rank_of_their_elements():
    features = InverseDistances().fit_transform(rattled(30))
    for layout, rank in (("flat", 1), ("nested", 6)):
        sets = ShallowSetFeatures(20, layout=layout, projection="normal", random_state=0)
        values = sets.fit_transform(features).values
        assert np.linalg.matrix_rank(values, tol=1e-9 * np.abs(values).max()) <= rank


def test_maps_of_molecules_take_inverse_distances_alone():
    features = InverseDistances().fit_transform(rattled())
    for other in (features.values, CartesianCoordinates().fit_transform(rattled())):
        with pytest.raises(TypeError, match="is a map of inverse distances, and got"):
            CoulombFeatures().fit(other)
    with pytest.raises(TypeError, match="as they are"):
        TripletFeatures().fit(features[:, :3])
    learnt = ShallowSetFeatures(3).fit(features)
    with pytest.raises(ValueError, match="features as input"):
        learnt.transform(InverseDistances().fit_transform([molecule("H2O")]))


POTENTIALS = {
    "cartesian": cartesian_potential(150, random_state=0),
    "isometric": isometric_potential(150, random_state=0),
    "eigenvalues": permutation_invariant_potential(150, random_state=0),
    "singular values": permutation_invariant_potential(150, "singular values", random_state=0),
    "sorted": permutation_invariant_potential(150, "sorted", random_state=0),
    "angles": higher_order_potential(150, random_state=0),
    "gaussians": higher_order_potential(150, "gaussians", random_state=0),
    "nested": shallow_set_potential(150, n_functions=30, random_state=0),
    "flat": shallow_set_potential(150, "flat", n_functions=30, random_state=0),
    "extensive": extensive_potential(40, FCHL19(cutoff=3.0, n_r2=5, n_r3=4), random_state=0),
}


@pytest.fixture(scope="module")
def ethanol():
    data = load_ethanol()
    return data.structures[:150:5], data.targets[:150:5], data.structures[[2, 33, 77]]


@pytest.mark.parametrize("name", POTENTIALS)
def test_potentials_conserve_energy_and_have_their_symmetries(name, ethanol):
    X, y, test = ethanol
    model = clone(POTENTIALS[name]).fit(X, y)
    energy, forces = model.predict(test, return_forces=True)
    step, rng = 1e-4, np.random.default_rng(0)
    way = rng.normal(size=test.positions.shape)
    ends = []
    for k in (-2, -1, 1, 2):
        there = Structures(test.numbers, test.positions + k * step * way, test.offsets)
        ends.append(model.predict(there))
    slope = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
    work = np.add.reduceat((forces * way).sum(axis=1), test.offsets[:-1])
    np.testing.assert_allclose(-work, slope, atol=1e-6 * np.abs(forces).max() * 10)
    turned = Structures(
        test.numbers, test.positions @ -random_rotation(0).T + [1.0, 2.0, 3.0], test.offsets
    )
    moved = np.abs(model.predict(turned) - energy).max()
    assert (moved > 1e-3) if name == "cartesian" else (moved < 1e-6 * np.abs(energy).max())
    order = np.arange(len(test.numbers)).reshape(3, -1)
    hydrogens = np.flatnonzero(test.numbers[: order.shape[1]] == 1)
    order[:, hydrogens] = order[:, hydrogens[::-1]]
    swapped = Structures(test.numbers, test.positions[order.ravel()], test.offsets)
    moved = np.abs(model.predict(swapped) - energy).max()
    invariant = name in ("eigenvalues", "singular values", "sorted", "nested", "flat", "extensive")
    assert (moved < 1e-6 * np.abs(energy).max()) == invariant


def test_the_extensive_potential_adds_energies_of_molecules_far_apart(ethanol):
    X, y, test = ethanol
    model = clone(POTENTIALS["extensive"]).fit(X, y)
    n = test.offsets[1]
    apart = np.concatenate([test.positions[:n], test.positions[n : 2 * n] + 50.0])
    both = Structures(test.numbers[: 2 * n], apart)
    np.testing.assert_allclose(model.predict(both), model.predict(test[:2]).sum(), rtol=1e-10)
