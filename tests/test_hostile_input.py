"""Input at which equations break: a finite answer, or an error in one sentence.

Over all descriptors and models; what the answer is, is tested with each of them.
"""

import traceback
import warnings

import numpy as np
import pytest
from models_under_contract import CASES as MODELS
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from test_features_contract import CASES as DESCRIPTORS

from skatom import Structures, Targets
from skatom._prediction import last_step, predict
from skatom.descriptors import ACSF, FCHL19, FeatureScaler, WaveletScattering
from skatom.kernels import Gaussian, Matern
from skatom.models import GDML, BaggedGreedyOLS, ForceKernelRidge, GreedyOLS
from skatom.neighbors import neighbor_list

NUMBERS = [6, 8, 1]
POSITIONS = np.array([[0, 0, 0], [1.4, 0.1, 0], [-0.5, 0.9, 0.2]])
FINITE, REFUSED = True, False


def structure(positions=POSITIONS, cell=None, pbc=True, numbers=NUMBERS):
    if cell is None:
        return Structures(numbers, positions)
    return Structures(numbers, positions, cells=[cell], pbc=[np.broadcast_to(pbc, 3)])


def moved(by):
    return structure([*POSITIONS[:2], POSITIONS[1] + by])


# Structures that everything local takes, or refuses.
STRUCTURES = {
    "one atom": (lambda: structure([[0, 0, 0]], numbers=[6]), FINITE),
    "far from the origin": (lambda: structure(POSITIONS + 1e6), FINITE),
    "far from each other": (lambda: structure(POSITIONS * [[1], [1], [1e6]]), FINITE),
    "on a line": (lambda: structure([[-1.2, 0.3, 0], [0, 0, 0], [1.2, -0.3, 0]]), FINITE),
    "large cell": (lambda: structure(cell=1e6 * np.eye(3)), FINITE),
    "at one place": (lambda: moved(0.0), REFUSED),
    "nearly at one place": (lambda: moved(1e-8), REFUSED),
    "small cell": (lambda: structure([[0, 0, 0]], 0.01 * np.eye(3), numbers=[6]), REFUSED),
    "cell in nm": (lambda: structure(0.1 * POSITIONS, 0.2 * np.eye(3)), REFUSED),
    "thin cell": (lambda: structure(cell=np.diag([2e-3, 5.0, 5.0])), REFUSED),
}


def answer(function, *args):
    """The result, or None after an error that skatom raises in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            return function(*args)
        except (ValueError, TypeError, MemoryError) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            assert where.line.startswith("raise "), f"{error!r} is not raised on purpose"
            assert str(error) and "\n" not in str(error)
            return None


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("name", [n for n, case in DESCRIPTORS.items() if case.first])
def test_structures(name, kind):
    make, taken = STRUCTURES[kind]
    case = DESCRIPTORS[name]
    features = answer(lambda: case().fit_transform(make()))
    if case.atomic and name != "scattering":
        assert (features is not None) is taken
    if features is None:
        return
    gradient, virial = answer(features.pullback, np.ones(features.values.shape[1]))
    assert all(np.isfinite(array).all() for array in (features.values, gradient, virial))


def test_atoms_that_are_too_dense_are_named():
    with pytest.raises(ValueError, match=r"structure 0: atom \d has \d+ neighbours within 5 Å"):
        neighbor_list(structure(0.1 * POSITIONS, 0.2 * np.eye(3)), 5.0)
    with pytest.raises(ValueError, match="more than 1,000,000 periodic images.*0.01, 0.01, 0.01"):
        neighbor_list(structure([[0, 0, 0]], 0.01 * np.eye(3), numbers=[6]), 5.0)
    dense = structure(POSITIONS, 3.0 * np.eye(3))
    assert len(neighbor_list(dense, 12.0)) > 1000


def test_pairs_that_do_not_fit_in_memory(monkeypatch):
    monkeypatch.setattr("skatom.memory.available_memory", lambda: 0)
    with pytest.raises(MemoryError, match=r"the list of \d+ pairs of neighbours within 45 Å needs"):
        neighbor_list(structure(POSITIONS, 4.0 * np.eye(3)), 45.0)


@pytest.mark.parametrize("length", [1e10, 1e300])
def test_coordinates_that_rounding_would_spoil(length):
    with pytest.raises(ValueError, match=r"atom 1 has the position .* from the origin"):
        structure(POSITIONS * [[0], [length], [0]])
    with pytest.raises(ValueError, match="the cell of structure 0 is longer than 1e\\+09 Å"):
        structure(cell=length * np.eye(3))


def test_wavelets_refuse_atoms_at_the_same_place():
    fitted = WaveletScattering(orbitals=(1,), scales=(0,)).fit(structure())
    with pytest.raises(ValueError, match="structure 0: atoms 1 and 2 are at the same place"):
        fitted.transform(structure([*POSITIONS[:2], POSITIONS[1]]))
    with pytest.raises(ValueError, match="atoms 1 and 2 are at the same place"):
        WaveletScattering(beta=0.5, orbitals=(1,), scales=(0,)).fit(moved(0.0))


def as_zeros(X, y):
    return X, Targets(**{n: np.zeros_like(getattr(y, n)) for n in y.names}, offsets=y.offsets)


LABELS = {
    "a number": lambda X, y: (X, 1.0),
    "nothing": lambda X, y: (X, []),
    "a text": lambda X, y: (X, "energy"),
    "objects": lambda X, y: (X, [None] * len(X)),
    "fewer": lambda X, y: (X, y[:-1]),
    "no structures": lambda X, y: (X[[]], y[[]]),
    "one structure": lambda X, y: (X[[0]], y[[0]]),
    "zeros": as_zeros,
    "one structure six times": lambda X, y: (X[[0] * 6], y[[0] * 6]),
    "zeros, six times": lambda X, y: as_zeros(X[[0] * 6], y[[0] * 6]),
}
QUICK = ("sgdml", "kernel-ridge", "kernel-ridge-cg", "sparse", "nbody", "greedy", "dipole")


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MODELS]
)
def test_labels(name, labels):
    case = MODELS[name]
    X, y = LABELS[labels](*case.data())
    model = clone(case.make())
    if answer(model.fit, X, y) is None:
        assert not hasattr(last_step(model), "outputs_")
        return
    outputs = [n for n in last_step(model).outputs_ if X.pbc.all() or "stress" not in n]
    assert all(np.isfinite(values).all() for values in predict(model, X, outputs).values())


def single_atoms():
    return Structures([1, 1], [[0, 0, 0], [0, 0, 1.0]], [0, 1, 2])


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_forces_of_single_atoms_are_nothing_to_learn_from(solver):
    X = FCHL19(cutoff=4.0).fit_transform(single_atoms())
    forces = Targets(forces=np.zeros((2, 3)), offsets=[0, 1, 2])
    with pytest.raises(ValueError, match="the only labels are forces of single atoms"):
        ForceKernelRidge(solver=solver).fit(X, forces)
    energies = Targets(energy=[-1.0, -1.0], forces=np.zeros((2, 3)), offsets=[0, 1, 2])
    model = ForceKernelRidge(solver="cholesky").fit(X, energies)
    found = predict(model, X, ["energy", "forces", "energy_std"])
    np.testing.assert_allclose(found["energy"], -1.0, atol=1e-6)
    assert not found["forces"].any() and np.isfinite(found["energy_std"]).all()


def test_conjugate_gradients_where_all_drawn_columns_are_zero():
    apart = Structures([1, 6, 1], [[0, 0, 0], [50.0, 0, 0], [0, 60.0, 0]])
    X = FCHL19(cutoff=4.0).fit_transform(apart)
    model = ForceKernelRidge(solver="cg", n_inducing=3, random_state=0)
    model.fit(X, Targets(forces=np.zeros((3, 3)), offsets=[0, 3]))
    energy, forces = model.predict(X, return_forces=True)
    assert not energy.any() and not forces.any()


@pytest.mark.parametrize("scaler", [None, FeatureScaler()])
@pytest.mark.parametrize(
    "model", [GreedyOLS(n_terms=3), BaggedGreedyOLS(n_estimators=3, random_state=0)]
)
def test_features_that_are_rounding_noise_are_not_chosen(model, scaler):
    """(1 + cos θ)² of linear CO2 is 1e-33, by rounding, whatever its scale."""
    rng = np.random.default_rng(0)
    lengths = 1.2 + 0.05 * rng.normal(size=(8, 2))
    direction = np.array([1.0, -0.25, 0]) / np.hypot(1.0, 0.25)
    positions = np.array([[-a * direction, 0 * direction, b * direction] for a, b in lengths])
    lines = Structures.from_frames([8, 6, 8], positions)
    energy = ((lengths - 1.2) ** 2).sum(axis=1)
    pulls = 2 * (lengths - 1.2)
    forces = np.array([
        [a * direction, (b - a) * direction, -b * direction] for a, b in pulls
    ])  # fmt: skip
    acsf = ACSF(cutoff=4.0, g2=[(0.1, 0), (1, 1)], g4=[(0.01, 2, 1), (0.01, 2, -1)])
    steps = [acsf, model] if scaler is None else [acsf, scaler, model]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = make_pipeline(*map(clone, steps)).fit(lines, Targets(energy, forces))
    bent = Structures([8, 6, 8], [[-1.2, 0.1, 0], [0, 0, 0], [1.2, 0.1, 0]])
    assert abs(fitted.predict(bent)[0]) < 10


@pytest.mark.parametrize("sigma", [0.0, 1e-300, 1e300, np.inf, np.nan])
@pytest.mark.parametrize("kernel", [Gaussian, Matern])
def test_length_scales_whose_squares_vanish_or_overflow(kernel, sigma):
    of_one = "'sigma' parameter of {0} must be a float in the range|sigma=.* of {0} is out of range"
    with pytest.raises(ValueError, match=of_one.format(kernel.__name__)):
        kernel(sigma)([[0.0]], [[1.0]])
    structures, targets = MODELS["gdml"].data()
    with pytest.raises(ValueError, match=of_one.format("GDML")):
        GDML(sigma=sigma).fit(structures, targets)


def test_predictions_of_arrays_do_not_depend_on_the_pieces(monkeypatch):
    X = np.random.default_rng(0).normal(size=(50, 3))
    model = ForceKernelRidge(Gaussian(2.0), alpha=1e-3).fit(X, X[:, 0])
    whole = model.predict(X)
    monkeypatch.setattr("skatom.models.kernel_ridge.array_ridge._PIECE", 200)
    np.testing.assert_allclose(model.predict(X), whole, rtol=1e-12)
    np.testing.assert_allclose(whole, X[:, 0], atol=0.1)


def test_values_of_large_matrices_do_not_depend_on_the_pieces(monkeypatch):
    X = np.random.default_rng(0).normal(size=(40, 3))
    for kernel in (Gaussian(2.0), Matern(1.5), 2.0 * Gaussian(1.0) + Matern(2.0)):
        whole = kernel(X)
        monkeypatch.setattr("skatom.kernels.dot_kernel._PIECE", 100)
        np.testing.assert_array_equal(kernel(X), whole)
        monkeypatch.undo()
        np.testing.assert_array_equal(whole, whole.T)


def test_a_matrix_of_arrays_beyond_max_memory():
    X = np.random.default_rng(0).normal(size=(600, 3))
    with pytest.raises(MemoryError, match="the kernel matrix of 600 samples needs 0.00302 GiB"):
        ForceKernelRidge(Gaussian(2.0), max_memory=0.001).fit(X, X[:, 0])
