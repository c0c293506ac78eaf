"""Features, kernels and models of features on a device: the same numbers as on the CPU."""

import os
import pickle
import subprocess
import sys
from itertools import product

import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from batches import CELL, crystal, mixed, rattled_methanol
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.datasets import load_ethanol
from skatom.descriptors import (
    ACSF,
    FCHL19,
    SOAP,
    AtomicClusterExpansion,
    FeatureScaler,
    InverseDistances,
    Linear,
    MomentTensor,
    Scale,
    Select,
    ThermometerEncoder,
    WaveletScattering,
)
from skatom.kernels import (
    Cosine,
    Gaussian,
    KernelMatrix,
    Laplacian,
    Matern,
    Polynomial,
    StructureKernel,
)
from skatom.kernels import covariance as covariance_matrix
from skatom.models import ForceKernelRidge, SparseGaussianProcess
from skatom.neighbors import neighbor_list
from skatom.random_features import (
    PrincipalComponents,
    RandomFourierFeatures,
    SampledNetworkFeatures,
)

torch = pytest.importorskip("torch")

SMALL_SOAP = {"cutoff": 4.0, "n_max": 3, "l_max": 2}
SMALL_FCHL19 = {"cutoff": 4.0, "n_r2": 6, "n_r3": 5}
DESCRIPTORS = {
    "soap": SOAP(**SMALL_SOAP),
    "soap_distances": SOAP(**SMALL_SOAP, nu=1),
    "soap_mixed": SOAP(**SMALL_SOAP, species_compression=2),
    "soap_step": SOAP(**SMALL_SOAP, cutoff_width=0.0),
    "soap_plain": SOAP(
        **SMALL_SOAP, normalize=False, radial_basis="gto", central_weight=0.0,
        radial_scaling={"rate": 1.0, "scale": 2.0, "exponent": 5.0},
    ),
    "soap_widths": SOAP(
        **SMALL_SOAP, sigma={"H": 0.3, "C": 0.5, "O": 0.4}, sigma_scaling=0.15
    ),
    "soap_optimal": SOAP(**SMALL_SOAP, radial_basis="optimal", n_primitives=8),
    "soap_learnt": SOAP(
        **SMALL_SOAP, radial_basis="optimal", n_primitives=8, species_compression=2,
        species_similarity="data",
    ),
    "soap_high": SOAP(cutoff=3.0, n_max=2, l_max=7),
    "soap_triples": SOAP(cutoff=3.0, n_max=2, l_max=2, nu=3),
    "soap_triples_odd": SOAP(
        cutoff=3.0, n_max=2, l_max=3, nu=3, parity="both", species_compression=2, normalize=False
    ),
    "fchl19": FCHL19(**SMALL_FCHL19),
    "fchl19_near": FCHL19(**SMALL_FCHL19, cutoff3=2.5),
    "fchl19_harmonics": FCHL19(**SMALL_FCHL19, n_fourier=3, zeta=0.4),
}  # fmt: skip
ACSF_ALL = {
    "cutoff": 4.0, "g1": True, "g2": [(0.5, 0.0), (1.0, 1.5)], "g3": [0.7],
    "g4": [(0.05, 1, -1, 0), (0.05, 2, -1, 0), (0.1, 4, 1, 0.5)],
    "g5": [(0.05, 1, 1, 0), (0.3, 2.5, 0.5, 1.0)],
    "ani": [(0.8, 8, 1.5, 0.4), (0.8, 3.5, 2.5, 2.0), (0.8, 8, 2.5, np.pi)],
    "angular_cutoff": 3.7,
}  # fmt: skip
DESCRIPTORS |= {
    "acsf": ACSF(4.0),
    "acsf_all": ACSF(**ACSF_ALL, cutoff_function="tanh3"),
    "acsf_weighted": ACSF(**ACSF_ALL, weighting="Z", cutoff_function="polynomial"),
    "acsf_radial": ACSF(4.0, g4=(), g3=[1.0], cutoff_function="tanh3-plain"),
}
SMALL_ACE = {"cutoff": 4.0, "l_weight": 1.0}
DESCRIPTORS |= {
    "ace": AtomicClusterExpansion(degrees=(4, 3, 4, 4), **SMALL_ACE),
    "ace_near": AtomicClusterExpansion(degrees=(3, 4, 4, 5), **SMALL_ACE, product_cutoff=2.5,
                                       species_compression=2),
    "ace_spheres": AtomicClusterExpansion(degrees=(3, 4, 4, 5), **SMALL_ACE,
                                          product_cutoff=(3.5, 2.0, 2.5)),
    "ace_pairs": AtomicClusterExpansion(degrees=(3,), **SMALL_ACE),
}  # fmt: skip
FIRST = ["soap", "fchl19", "acsf", "ace"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small operations gain nothing from threads, which busy machines make slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_silent_copies(monkeypatch):
    """Tensors of a card do not become arrays of numpy unless they are copied to the host."""

    def refuse(self, *arguments, **keywords):
        raise TypeError("a tensor was used as an array of numpy, which fails on a card")

    monkeypatch.setattr(torch.Tensor, "__array__", refuse)


def host(array):
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def assert_equal(found, expected, tolerance=1e-9):
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.float64
    assert_close(found, expected, tolerance)


def assert_close(found, expected, tolerance=1e-9):
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(
        host(found),
        host(expected),
        rtol=0,
        atol=tolerance * max(np.abs(host(expected)).max(), 1e-6),
    )


def on_device(descriptor):
    return clone(descriptor).set_params(device="torch")


def pair_of(name, structures=None):
    """Features of the same structures on the CPU and on the device."""
    structures = mixed() if structures is None else structures
    return tuple(
        make(DESCRIPTORS[name]).fit_transform(structures) for make in (clone, on_device)
    )  # fmt: skip


def cotangents(features, shape=None):
    array = np.random.default_rng(0).normal(size=shape or features.values.shape)
    return array, torch.as_tensor(array)


# --- features -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_values_and_derivatives_equal_those_of_the_cpu(name):
    on_cpu, features = pair_of(name)
    assert_equal(features.values, on_cpu.values)
    array, tensor = cotangents(on_cpu)
    for found, expected in zip(features.pullback(tensor), on_cpu.pullback(array), strict=True):
        assert_equal(found, expected)
    found = features.pullback(tensor[0])
    for part, expected in zip(found, on_cpu.pullback(array[0]), strict=True):
        assert_equal(part, expected)
    assert_equal(features.jacobian([2, 0]).values, on_cpu.jacobian([2, 0]).values)


@pytest.mark.parametrize("name", FIRST)
def test_pieces_of_centres_change_nothing(name, monkeypatch):
    from skatom.descriptors._torch import pairs

    whole = on_device(DESCRIPTORS[name]).fit_transform(mixed())
    monkeypatch.setattr(pairs, "_PIECE", {False: 2**12})
    parts = whole.descriptor.transform(mixed())
    assert_equal(parts.values, whole.values, 1e-14)
    _, tensor = cotangents(whole)
    for found, expected in zip(parts.pullback(tensor), whole.pullback(tensor), strict=True):
        assert_equal(found, expected, 1e-14)
    assert_equal(parts.jacobian([0, 1]).values, whole.jacobian([0, 1]).values, 1e-14)


@pytest.mark.parametrize("name", FIRST)
def test_some_structures_columns_and_atoms(name):
    on_cpu, features = pair_of(name)
    for key in (1, slice(1, 3), [2, 0], np.array([True, False, False, True])):
        assert_equal(features[key].values, on_cpu[key].values)
        array, tensor = cotangents(on_cpu[key])
        found = features[key].pullback(tensor)
        for part, expected in zip(found, on_cpu[key].pullback(array), strict=True):
            assert_equal(part, expected)
    columns = np.arange(on_cpu.n_features)[::-3]
    some, few = on_cpu[:2, columns], features[:2, columns]
    array, tensor = cotangents(some)
    assert_equal(few.pullback(tensor)[0], some.pullback(array)[0])
    centers, vectors = [0, 7, 3], on_cpu.values[:4]
    assert_equal(features.jacobian_of(centers).values, on_cpu.jacobian_of(centers).values)
    found = features.project(centers, torch.as_tensor(vectors))
    for part, expected in zip(found, on_cpu.project(centers, vectors), strict=True):
        assert_equal(part, expected)


@pytest.mark.parametrize("name", FIRST)
def test_an_atom_alone_and_no_atoms_in_reach(name):
    structures = [Atoms("C"), Atoms("CH", [[0, 0, 0], [0, 0, 50.0]])]
    on_cpu, features = pair_of(name, structures)
    assert_close(features.values, on_cpu.values)
    gradient, virial = features.pullback(cotangents(on_cpu)[1])
    assert not gradient.any() and not virial.any()
    assert features.jacobian(0).values.shape == (0, 3, on_cpu.n_features)


@pytest.mark.parametrize("name", FIRST)
def test_neighbors_can_be_given(name):
    on_cpu, features = pair_of(name)
    longer = neighbor_list(on_cpu.structures, 5.0)
    given = features.descriptor.transform(on_cpu.structures, neighbors=longer)
    assert_equal(given.values, on_cpu.values)


def test_neighbors_of_molecules_are_found_on_the_device():
    molecules = [rattled_methanol(), molecule("H2O"), Atoms("C"), molecule("C2H6")]
    descriptor = on_device(DESCRIPTORS["fchl19"]).set_params(cutoff=2.2)
    features = descriptor.fit_transform(molecules)
    found, expected = features.neighbors, neighbor_list(molecules, 2.2)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    order = [np.lexsort((pairs.indices, pairs.centers)) for pairs in (found, expected)]
    for field in ("centers", "indices", "vectors"):
        one, other = (getattr(p, field)[o] for p, o in zip((found, expected), order, strict=True))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)
    on_cpu = clone(descriptor).set_params(device="cpu").fit_transform(molecules)
    for key in (slice(1, 4), [3, 1], 2):
        array, tensor = cotangents(on_cpu[key])
        assert_equal(features[key].pullback(tensor)[0], on_cpu[key].pullback(array)[0])
    with pytest.raises(ValueError, match="structure 1: atoms 0 and 1 are at the same place"):
        descriptor.transform([molecule("CH4"), Atoms("H2", [[0, 0, 0], [0, 0, 0]])])


def lattices():
    """Cells of every kind, atoms on their faces and far outside, alone and in a large molecule."""
    rng, scaled = np.random.default_rng(5), np.array([[0.0, 0.0, 0.0], [0.999, 3.25, -2.5]])
    some = [
        Atoms("CO", cell=CELL, scaled_positions=scaled, pbc=pbc)
        for pbc in product([True, False], repeat=3)
    ]
    silicon = bulk("Si", cubic=True) * (2, 2, 1)
    silicon.positions += rng.normal(scale=0.1, size=silicon.positions.shape)
    large = Atoms("H90", rng.uniform(size=(90, 3)) * [20, 9, 4])
    return [*some, bulk("Si"), silicon, Atoms("C"), large, molecule("CH4")]


@pytest.mark.parametrize("cutoff", [1.2, 3.0, 7.0])
def test_neighbors_equal_those_of_the_cpu_in_their_order(cutoff, monkeypatch):
    from skatom.descriptors._torch import neighbors

    structures = Structures.from_ase(lattices())
    expected = neighbor_list(structures, cutoff)
    device = features_device()
    for together in (2**20, 100):
        monkeypatch.setattr(neighbors, "_TOGETHER", {False: together})
        tensors = neighbors.find_neighbors(structures, cutoff, device)
        found = tensors.on_host()
        for field in ("offsets", "indices", "centers"):
            np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
        np.testing.assert_allclose(found.vectors, expected.vectors, rtol=0, atol=1e-13)
        np.testing.assert_array_equal(tensors.centers.numpy(), expected.centers)


def features_device():
    from skatom._device import resolve

    return resolve("torch")


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (Atoms("H2", [[0, 0, 0], [3.0, 0, 0]], cell=[3.0] * 3, pbc=True), "atoms 0 and 1 are at"),
        (Atoms("H", cell=[0.005, 0.3, 0.3], pbc=True), "more than 1,000,000 periodic images"),
        (Atoms("H", cell=[0.1, 0.2, 0.3], pbc=True), "convert positions and cell to Å"),
    ],
)
def test_searches_of_crystals_that_fail_as_on_the_cpu(structure, message):
    descriptor = on_device(SOAP(cutoff=4.0, n_max=1, l_max=0)).fit([Atoms("H")])
    with pytest.raises(ValueError, match=message):
        descriptor.transform([Atoms("H"), structure])


@pytest.mark.parametrize("name", FIRST)
def test_features_move_between_devices(name):
    on_cpu, features = pair_of(name)
    chain = [Linear(np.ones((4, on_cpu.n_features))), Scale(0.5, np.full(4, 2.0))]
    for feature_map in chain:
        on_cpu, features = on_cpu.map(feature_map), features.map(feature_map)
    array, tensor = cotangents(on_cpu)
    there, back = on_cpu.to("torch"), features.to("cpu")
    assert_equal(there.values, on_cpu.values)
    assert_equal(there.pullback(tensor)[0], on_cpu.pullback(array)[0])
    assert type(back.values) is np.ndarray
    np.testing.assert_allclose(back.pullback(array)[0], on_cpu.pullback(array)[0], atol=1e-9)
    assert back.descriptor.device == "cpu" and features.descriptor.device == "torch"
    pooled = on_cpu.pool("mean").map(Scale(0.5, np.full(4, 2.0)))
    array, tensor = cotangents(pooled)
    assert_equal(pooled.to("torch").pullback(tensor)[0], pooled.pullback(array)[0])
    array, tensor = cotangents(on_cpu.pool("sum"))
    distances = InverseDistances().fit_transform([molecule("H2O")])
    assert_equal(distances.to("torch").values, distances.values)
    assert type(distances.to("torch").to("cpu").values) is np.ndarray
    with pytest.raises(ValueError, match="has no parameter device"):
        MomentTensor(level=2).fit_transform([molecule("H2O")]).to("torch")


@pytest.mark.parametrize("name", FIRST)
def test_maps_are_applied_on_the_device(name):
    on_cpu, features = pair_of(name)
    rng, n = np.random.default_rng(1), on_cpu.n_features
    maps = [
        Scale(rng.normal(size=(3, n)), rng.uniform(1, 2, size=(3, n)), on_cpu.species),
        Linear(rng.normal(size=(5, n)), rng.normal(size=n)),
        Select([3, 1, 1], 5),
    ]
    for feature_map in maps:
        on_cpu, features = on_cpu.map(feature_map), features.map(feature_map)
    assert_equal(features.values, on_cpu.values)
    array, tensor = cotangents(on_cpu)
    for found, expected in zip(features.pullback(tensor), on_cpu.pullback(array), strict=True):
        assert_equal(found, expected)
    assert_equal(features.pullback(tensor[0])[0], on_cpu.pullback(array[0])[0])
    assert_equal(features.jacobian(0).values, on_cpu.jacobian(0).values)


RANDOM_MAPS = {
    "components": PrincipalComponents(4),
    "thermometer": ThermometerEncoder((1, -1)),
    "independent": RandomFourierFeatures(Gaussian(2.0), 7, method="independent", random_state=0),
    "matern": RandomFourierFeatures(Matern(2.0), 7, random_state=0, by_element=False),
    "hadamard": RandomFourierFeatures(Gaussian(2.0), 70, method="hadamard", random_state=0),
    **{
        activation: SampledNetworkFeatures(7, activation=activation, random_state=0)
        for activation in ("tanh", "gelu", "softplus", "relu")
    },
}


@pytest.mark.parametrize("kind", RANDOM_MAPS)
def test_random_features_are_mapped_on_the_device(kind):
    on_cpu, features = pair_of("fchl19", frames(8)[0])
    learnt = clone(RANDOM_MAPS[kind]).fit(on_cpu[:5])  # a rectifier has its kink at such a point
    same = clone(learnt).fit(features[:5])
    on_cpu, features = on_cpu[5:], features[5:]
    on_cpu, mapped = learnt.transform(on_cpu), learnt.transform(features)
    assert_equal(mapped.values, on_cpu.values)
    array, tensor = cotangents(on_cpu)
    for found, expected in zip(mapped.pullback(tensor), on_cpu.pullback(array), strict=True):
        assert_equal(found, expected)
    assert_equal(mapped.jacobian([2, 0]).values, on_cpu.jacobian([2, 0]).values)
    pooled, there = on_cpu.pool("sum"), mapped.pool("sum")
    for name in ("gradients", "strains"):
        found, expected = (getattr(x.jacobian([0, 1]), name) for x in (there, pooled))
        assert_equal(found, expected)
    again = pickle.loads(pickle.dumps(mapped))
    np.testing.assert_allclose(again.pullback(array)[0], on_cpu.pullback(array)[0], atol=1e-9)
    assert_equal(same.transform(features).values, on_cpu.values)


def test_a_transformer_learns_on_the_host_and_maps_on_the_device():
    on_cpu, features = pair_of("soap_distances", frames(5)[0])
    scaler = FeatureScaler("standard").fit(features)
    np.testing.assert_allclose(scaler.shift_, clone(scaler).fit(on_cpu).shift_, atol=1e-12)
    assert_equal(scaler.transform(features).values, scaler.transform(on_cpu).values)


@pytest.mark.parametrize("how", ["sum", "mean"])
@pytest.mark.parametrize("name", FIRST)
def test_pooled_features(name, how):
    on_cpu, features = pair_of(name)
    expected = on_cpu.pool(how)
    same = on_device(DESCRIPTORS[name]).set_params(pool=how).fit_transform(mixed())
    for found in (features.pool(how), same):
        assert_equal(found.values, expected.values)
        table = np.asarray(found)
        assert type(table) is np.ndarray
        assert_close(table, expected.values)
        array, tensor = cotangents(expected)
        for part, other in zip(found.pullback(tensor), expected.pullback(array), strict=True):
            assert_equal(part, other)
        assert_equal(found.pullback(tensor[0])[0], expected.pullback(array[0])[0])
        jacobian, other = found.jacobian([0, 1]), expected.jacobian([0, 1])
        assert_equal(jacobian.gradients, other.gradients)
        assert_equal(jacobian.strains, other.strains)


def test_inverse_distances():
    frames = [rattled_methanol(), rattled_methanol()]
    frames[1].rattle(0.1, seed=5)
    on_cpu, features = (InverseDistances(d).fit_transform(frames) for d in ("cpu", "torch"))
    assert_equal(features.values, on_cpu.values)
    scale = Scale(0.1, np.linspace(1, 2, on_cpu.n_features))
    for a, b in ((on_cpu, features), (on_cpu.map(scale), features.map(scale))):
        array, tensor = cotangents(a)
        for found, expected in zip(b.pullback(tensor), a.pullback(array), strict=True):
            assert_equal(found, expected)
        assert_equal(b[1:].pullback(tensor[0])[0], a[1:].pullback(array[0])[0])
        found, expected = (x.jacobian([1, 0]) for x in (b, a))
        assert_equal(found.gradients, expected.gradients)
        assert_equal(found.strains, expected.strains)
        back = pickle.loads(pickle.dumps(b)).pullback(array)
        for one, other in zip(back, a.pullback(array), strict=True):
            assert type(one) is np.ndarray
            assert_close(one, other)
    assert_close(np.asarray(features), on_cpu.values)
    with pytest.raises(ValueError, match="The 'device' parameter of InverseDistances must be"):
        InverseDistances("gpu").fit(frames)


@pytest.mark.parametrize("name", FIRST)
def test_pickled_features_are_arrays(name):
    on_cpu, features = pair_of(name)
    scaled = features.map(Linear(np.eye(3, features.n_features)))
    for one, other in ((features, on_cpu), (scaled, on_cpu[:, :3])):
        copy = pickle.loads(pickle.dumps(one))
        assert type(copy.values) is np.ndarray
        assert_close(copy.values, other.values)
        array, _ = cotangents(other)
        for found, expected in zip(copy.pullback(array), other.pullback(array), strict=True):
            assert type(found) is np.ndarray
            assert_close(found, expected)


def test_the_default_device_never_imports_torch():
    code = (
        "import sys; from ase.build import molecule; from skatom.descriptors import FCHL19, SOAP;"
        "from skatom.models import ForceKernelRidge; SOAP(n_max=2).fit_transform([molecule('H2')]);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- kernels --------------------------------------------------------------------------------------


KERNELS = {
    "gaussian": Gaussian(2.0),
    "matern": Matern(2.0, 2.5),
    "cosine": Cosine(2),
    "polynomial": Polynomial(2, 1.0),
    "sum": 0.5 * Gaussian(2.0) + Gaussian(3.0) * Cosine(2),
}
KINDS = [("energy", "forces"), ("energy",), ("forces",)]


@pytest.mark.parametrize("name", KERNELS)
def test_covariances_equal_those_of_the_cpu(name):
    kernel = KERNELS[name]
    on_cpu, features = pair_of("fchl19")
    assert_equal(covariance_matrix(kernel, features), covariance_matrix(kernel, on_cpu))
    some = covariance_matrix(kernel, on_cpu[1:], on_cpu[:2])
    assert_equal(covariance_matrix(kernel, features[1:], features[:2]), some)
    for kinds in KINDS:
        expected = covariance_matrix(kernel, on_cpu, rows=kinds, columns=("forces",))
        found = covariance_matrix(kernel, features, rows=kinds, columns=("forces",))
        assert_equal(found, expected)


@pytest.mark.parametrize("name", ["acsf", "ace", "soap_triples"])
def test_covariances_of_every_descriptor(name):
    on_cpu, features = pair_of(name, mixed()[:2])
    kernel = KERNELS["sum"]
    assert_equal(covariance_matrix(kernel, features), covariance_matrix(kernel, on_cpu))


def test_covariances_of_a_kernel_with_a_cusp():
    on_cpu, features = pair_of("fchl19")
    expected = covariance_matrix(Matern(2.0, 1.5), on_cpu[:1], on_cpu[1:])
    assert_equal(covariance_matrix(Matern(2.0, 1.5), features[:1], features[1:]), expected)


@pytest.mark.parametrize("structures", [3 * [molecule("CH3OH")], [molecule("H2O"), crystal()]])
def test_covariances_of_even_and_uneven_structures(structures):
    structures = [atoms.copy() for atoms in structures]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    on_cpu, features = pair_of("soap", structures)
    for kinds in KINDS:
        expected = covariance_matrix(Gaussian(0.5), on_cpu, rows=kinds)
        assert_equal(covariance_matrix(Gaussian(0.5), features, rows=kinds), expected)


def test_covariances_in_pieces(monkeypatch):
    from skatom.kernels import bases, blocks
    from skatom.kernels._torch import covariance

    data = load_ethanol()
    X = data.structures[:40:4]
    on_cpu, features = pair_of("fchl19", X)
    expected = covariance_matrix(Gaussian(2.0), on_cpu)
    monkeypatch.setattr(blocks, "_TENSOR_ROWS", 60)
    monkeypatch.setattr(covariance, "_NUMBERS", {False: 2**12})
    monkeypatch.setattr(bases, "_TENSOR_BATCH", 2**14)
    monkeypatch.setattr(bases, "_ROWS_PER_FEATURE", 0)  # Jacobians in a basis
    assert_equal(covariance_matrix(Gaussian(2.0), features), expected)


@pytest.mark.parametrize("match", ["sum", "average"])
@pytest.mark.parametrize("normalize", [True, False])
def test_kernels_of_structures(match, normalize):
    on_cpu, features = pair_of("soap")
    kernel = StructureKernel(Cosine(2), match, normalize=normalize)
    assert_equal(kernel(features), kernel(on_cpu))
    assert_equal(kernel(features[:2], features), kernel(on_cpu[:2], on_cpu))
    assert_close(kernel.diagonal(features), kernel.diagonal(on_cpu))
    table = KernelMatrix(kernel).fit_transform(features)  # for scikit-learn
    assert type(table) is np.ndarray
    assert_close(table, kernel(on_cpu))
    for kernel in (Gaussian(1.0), Laplacian(3.0)):
        assert_equal(kernel(features), kernel(on_cpu))
        assert_equal(kernel.diagonal(features), kernel.diagonal(on_cpu))


# --- models ---------------------------------------------------------------------------------------


def frames(n, start=0):
    data = load_ethanol()
    chosen = slice(start, start + 20 * n, 20)
    return data.structures[chosen], data.targets[chosen]


def fitted(descriptor, y=None, **parameters):
    X, targets = frames(8)
    model = make_pipeline(descriptor, ForceKernelRidge(alpha=1e-5, **parameters))
    return model.fit(X, targets if y is None else y)


@pytest.mark.parametrize("basis", ["derivatives", "operators"])
@pytest.mark.parametrize("name", ["soap", "fchl19"])
def test_force_kernel_ridge_equals_that_of_the_cpu(name, basis, tmp_path):
    kernel = Gaussian(2.0 if name == "fchl19" else 0.5)
    descriptor, other = clone(DESCRIPTORS[name]), on_device(DESCRIPTORS[name])
    one, two = (fitted(d, basis=basis, kernel=kernel) for d in (descriptor, other))
    X, _ = frames(5, 1000)
    asked = {"return_forces": True, "return_std": basis == "derivatives"}
    expected, found = one.predict(X, **asked), two.predict(X, **asked)
    rms = np.sqrt(np.mean(expected[1] ** 2))
    for a, b in zip(found, expected, strict=True):
        assert type(a) is np.ndarray
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * rms)
    if basis == "derivatives":
        np.testing.assert_allclose(two[-1].variance_, one[-1].variance_, rtol=1e-6)
    # the same coefficients, saved and used on the other device
    assert_close(two[-1].predict(descriptor.transform(X), **asked)[0], found[0])
    joblib.dump(two, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    loaded[0].set_params(device="cpu")
    for a, b in zip(loaded.predict(X, **asked)[:2], found, strict=False):
        assert_close(a, b)
    for a, b in zip(
        one[-1].predict(other.transform(X), return_forces=True), expected, strict=False
    ):
        assert type(a) is np.ndarray
        assert_close(a, b)


@pytest.mark.parametrize("name", ["fchl19", "soap"])
@pytest.mark.thorough
def test_conjugate_gradients_equal_those_of_the_cpu(name):
    X, y = frames(12)
    energy = y.energy.copy()
    energy[3] = np.nan
    y = Targets(energy=energy, forces=y.forces, offsets=X.offsets)
    found = []
    for descriptor in (clone(DESCRIPTORS[name]), on_device(DESCRIPTORS[name])):
        model = ForceKernelRidge(
            Gaussian(2.0), alpha=1e-4, solver="cg", n_inducing=30, tol=1e-10, random_state=0
        )
        model = make_pipeline(descriptor, model).fit(X, y)
        assert model[-1].n_iter_ > 3
        found.append([*model.predict(X, return_forces=True), np.array(model[-1].variance_)])
    for one, other in zip(*found, strict=True):
        assert_close(other, one, 1e-7)


def test_conjugate_gradients_take_over_on_a_device():
    X, y = frames(12)
    features = on_device(DESCRIPTORS["fchl19"]).fit_transform(X)
    model = ForceKernelRidge(n_inducing=20, max_memory=2e-4, random_state=0, tol=1e-3)
    assert model.fit(features, y).n_iter_ > 1
    with pytest.raises(MemoryError, match="preconditioner of 300 x .* lower n_inducing"):
        ForceKernelRidge(solver="cg", n_inducing=300, max_memory=1e-4).fit(features, y)


def test_force_kernel_ridge_of_some_labels():
    X, y = frames(8)
    energy = y.energy.copy()
    energy[:3] = np.nan
    forces = y.forces.copy()
    forces[X.offsets[6] :] = np.nan
    for labels in (
        Targets(energy=y.energy),
        Targets(energy=energy, forces=forces, offsets=X.offsets),
        Targets(forces=y.forces, offsets=X.offsets),
    ):
        one, two = (
            fitted(d, labels, alpha_forces=1e-4)
            for d in (clone(DESCRIPTORS["fchl19"]), on_device(DESCRIPTORS["fchl19"]))
        )
        queries, _ = frames(3, 1000)
        for a, b in zip(
            two.predict(queries, return_forces=True), one.predict(queries, return_forces=True),
            strict=True,
        ):  # fmt: skip
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())


def crystals(n):
    """Rattled crystals with random labels, and two more."""
    rng, frames = np.random.default_rng(0), []
    for seed in range(n + 2):
        frames.append(crystal())
        frames[-1].rattle(0.1, seed=seed)
    X = Structures.from_ase(frames[:n])
    stress = rng.normal(size=(n, 3, 3))
    return X, frames[n:], Targets(
        energy=rng.normal(size=n), forces=rng.normal(size=(len(X.numbers), 3)),
        stress=stress + stress.transpose(0, 2, 1), offsets=X.offsets,
    )  # fmt: skip


@pytest.mark.parametrize("basis", ["derivatives", "operators"])
@pytest.mark.parametrize("pool", [None, "sum"])
def test_stresses_and_features_of_structures(basis, pool):
    X, queries, y = crystals(5)
    asked = {"return_forces": True, "return_stress": True}
    if basis == "derivatives":
        asked |= {"return_std": True, "return_forces_std": True, "return_stress_std": True}
    found, expected = (
        make_pipeline(
            SOAP(**SMALL_SOAP, pool=pool, device=device),
            ForceKernelRidge(Gaussian(1.0), basis=basis, alpha=1e-3),
        )
        .fit(X, y)
        .predict(queries, **asked)
        for device in ("torch", "cpu")
    )
    for a, b in zip(found, expected, strict=True):
        assert type(a) is np.ndarray
        assert_close(a, b, 1e-8)


@pytest.mark.parametrize("periodic", [False, True])
def test_sparse_gaussian_process_equals_that_of_the_cpu(periodic, monkeypatch):
    rng, frames = np.random.default_rng(0), []
    for seed in range(7):
        frames.append(crystal() if periodic else rattled_methanol())
        frames[-1].rattle(0.1, seed=seed)
    X, queries = Structures.from_ase(frames[:5]), frames[5:]
    stress, forces = rng.normal(size=(5, 3, 3)), rng.normal(size=(len(X.numbers), 3))
    forces[: X.offsets[1]] = np.nan
    y = Targets(
        energy=np.array([1.0, np.nan, 2.0, 3.0, 0.5]), offsets=X.offsets,
        forces=forces,
        **({"stress": stress + stress.transpose(0, 2, 1)} if periodic else {}),
    )  # fmt: skip
    asked = {"return_forces": True, "return_std": True, "return_local_energies": True}
    asked |= {"return_forces_std": True, "return_stress": periodic}
    models = []
    for device in ("cpu", "torch"):
        soap = SOAP(**SMALL_SOAP, device=device)
        model = SparseGaussianProcess(Cosine(2), 12, random_state=0)
        models.append(make_pipeline(soap, model).fit(X, y))
    expected, found = (model.predict(queries, **asked) for model in models)
    for a, b in zip(found, expected, strict=True):
        assert type(a) is np.ndarray
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())
    one, two = (model[-1] for model in models)
    assert two.n_structures_seen_ == one.n_structures_seen_
    np.testing.assert_allclose(
        two.log_marginal_likelihood_, one.log_marginal_likelihood_, rtol=1e-9
    )
    # pieces and batches change nothing; with terms the descriptors are the model's own
    from skatom.models._torch import sparse_rows
    from skatom.models.sparse import device_fitting

    monkeypatch.setattr(sparse_rows, "_NUMBERS", 2**14)
    monkeypatch.setattr(device_fitting, "_BATCH_ATOMS", 40)
    monkeypatch.setattr(device_fitting, "_ROW_BYTES", 2**10)
    terms = [(SOAP(**SMALL_SOAP, device="torch"), Cosine(2), 12)]
    again = SparseGaussianProcess(terms=terms, random_state=0).fit(X, y)
    for a, b in zip(again.predict(queries, return_forces=True), expected[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())


@pytest.mark.parametrize(("name", "kernel"), [("acsf", Gaussian(2.0)), ("soap", Cosine(2))])
def test_sparse_gaussian_process_goes_on_as_on_the_cpu(name, kernel):
    (X, y), (queries, _) = frames(8), frames(3, 10)
    found, asked = [], {"return_forces": True, "return_std": True, "return_forces_std": True}
    for make in (clone, on_device):
        descriptor = make(DESCRIPTORS[name]).fit(X)
        parts = descriptor.transform(X[:4]), descriptor.transform(X[4:])
        model = SparseGaussianProcess(kernel, 8, random_state=0)
        model.fit(parts[0], y[:4]).partial_fit(parts[1], y[4:])
        found.append(model.predict(descriptor.transform(queries), **asked))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("kernel", [None, Cosine(2), Gaussian(3.0)])
def test_farthest_points_on_the_device_are_those_of_the_cpu(kernel, monkeypatch):
    from skatom.solvers._torch import sampling
    from skatom.solvers.sampling import farthest_points

    points = np.random.default_rng(3).normal(size=(60, 5))
    points[40:] = points[20:40]  # of two copies one is selected, either of them
    original = np.r_[np.arange(40), np.arange(20, 40)]
    for begin, least in (([7], 0.0), ([7, 3, 50], 0.0), ([1], 0.6)):
        expected = farthest_points(points, 60, begin, kernel, least)
        for numbers in (2**20, 0):
            monkeypatch.setattr(sampling, "_NUMBERS", numbers)
            found = farthest_points(torch.as_tensor(points), 60, begin, kernel, least)
            assert len(found[0]) == len(expected[0]) <= 41
            np.testing.assert_array_equal(original[found[0]], original[expected[0]])
            np.testing.assert_allclose(found[1][1:], expected[1][1:], rtol=1e-9, atol=1e-7)


def test_deviations_on_the_device_equal_those_of_the_cpu(monkeypatch):
    """Of one model: energies, forces and stresses, of crystals, several species and terms."""
    from skatom.models._torch import tangents
    from skatom.models.sparse import device_variance

    X, y = frames(4)
    terms = [
        (SOAP(**SMALL_SOAP, device="torch"), Cosine(2), 8),
        (SOAP(**SMALL_SOAP, nu=1, normalize=False, device="torch"), Gaussian(3.0), 5),
    ]
    with pytest.warns(UserWarning):
        model = SparseGaussianProcess(terms=terms, random_state=0).fit(X, y)
    queries = Structures.from_ase([crystal(), crystal()[[0, 2]], crystal(), crystal()[[1]]])
    asked = {"return_std": True, "return_forces_std": True, "return_stress_std": True}
    found = model.predict(queries, **asked)
    monkeypatch.setattr(tangents, "_JACOBIAN", 2**12)
    monkeypatch.setattr(tangents, "_PRODUCTS", 2**9)
    monkeypatch.setattr(device_variance, "_BYTES", 2**17)
    in_pieces = model.predict(queries, **asked)
    for descriptor in model.descriptors_:
        descriptor.device = "cpu"
    expected = model.predict(queries, **asked)
    for several in (found, in_pieces):
        for a, b in zip(several, expected, strict=True):
            assert type(a) is np.ndarray
            np.testing.assert_allclose(a**2, b**2, rtol=0, atol=1e-9 * np.max(b**2))


# --- wavelet scattering ---------------------------------------------------------------------------

SMALL_SCATTERING = {
    "orbitals": [(2, 1), (3, 2), (3, 0)], "scales": (0, 1), "beta": 0.45, "padding": 3.0,
    "channels": ("species", "kinetic"), "exponents": (1, 4 / 3, 2), "alias": 1e-2,
}  # fmt: skip


def scattering_pair(**parameters):
    """Features of molecules and crystals on the CPU and on the device; some have equal grids."""
    # symmetric structures have points where a modulus is rounding, hence without a direction
    places = np.random.default_rng(0).uniform(size=(3, 3))
    cell = Atoms("COH", scaled_positions=places, cell=CELL, pbc=True)
    strained = cell.copy()
    strained.set_cell(1.01 * cell.cell.array, scale_atoms=True)
    methanol = rattled_methanol()
    structures = [cell, methanol, strained, methanol, cell]
    descriptor = WaveletScattering(**{**SMALL_SCATTERING, **parameters})
    on_cpu = descriptor.fit_transform(structures)
    return on_cpu, on_device(descriptor).fit_transform(structures)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"normalize": "ratio", "density_width": 0.3},
        {"normalize": None, "alias": 1e-4, "scale_gap": -1, "channels": "total"},
        {"grid_shape": (12, 11, 14), "orbitals": [(2, 1)], "multiresolution": False},
        {"order": 1},
        {"order": 0},
    ],
)
@pytest.mark.thorough
def test_wavelet_scattering_equals_that_of_the_cpu(parameters):
    on_cpu, features = scattering_pair(**parameters)
    assert_equal(features.values, on_cpu.values)
    array, _ = cotangents(on_cpu)
    array /= np.maximum(np.abs(on_cpu.values), 1e-3)
    tensor = torch.as_tensor(array)
    for found, expected in zip(features.pullback(tensor), on_cpu.pullback(array), strict=True):
        assert_equal(found, expected)
    some, few = on_cpu[:3, ::5], features[:3, ::5]
    found, expected = few.jacobian([2, 1]), some.jacobian([2, 1])
    assert_equal(found.gradients, expected.gradients)
    assert_equal(found.strains, expected.strains)


def test_batches_of_wavelet_scattering_change_nothing(monkeypatch):
    from skatom.descriptors.scattering import device

    _, whole = scattering_pair()
    _, tensor = cotangents(whole)
    monkeypatch.setattr(device, "_POINTS", {False: 2**10})
    _, parts = scattering_pair()
    assert_equal(parts.values, whole.values, 1e-14)
    for found, expected in zip(parts.pullback(tensor), whole.pullback(tensor), strict=True):
        assert_equal(found, expected, 1e-12)


def test_wavelet_scattering_moves_between_devices(tmp_path):
    on_cpu, features = scattering_pair(order=1)
    array, tensor = cotangents(on_cpu)
    assert_equal(on_cpu.to("torch").pullback(tensor)[0], on_cpu.pullback(array)[0])
    back = features.to("cpu")
    assert type(back.values) is np.ndarray
    np.testing.assert_allclose(back.pullback(array)[0], on_cpu.pullback(array)[0], atol=1e-9)
    again = pickle.loads(pickle.dumps(features))
    assert type(again.values) is np.ndarray
    assert_close(again.pullback(array)[0], on_cpu.pullback(array)[0])
    joblib.dump(features.descriptor, tmp_path / "scattering.joblib")
    loaded = joblib.load(tmp_path / "scattering.joblib")
    assert_equal(loaded.transform(on_cpu.structures).values, on_cpu.values)
    few = loaded.select([5, 2]).transform(on_cpu.structures)
    assert_equal(few.values, on_cpu.values[:, [5, 2]])


def test_scattering_of_a_molecule_too_large_for_the_device(monkeypatch):
    from skatom._device import Device

    def refuse(self, n_bytes, what, remedy, max_memory=None):
        if "grid" in what:
            raise MemoryError(f"{what}: {remedy}")

    monkeypatch.setattr(Device, "check_memory", refuse)
    with pytest.raises(MemoryError, match="the grid of structure 0, of .*: increase grid_spacing"):
        scattering_pair(order=1)


# --- kernels of Triton ----------------------------------------------------------------------------

FUSED = """
import numpy as np
import torch
from ase import Atoms
from batches import crystal, rattled_methanol
from sklearn.base import clone

from skatom import Structures
from skatom._device import resolve
from skatom.descriptors import FCHL19, SOAP
from skatom.descriptors._torch import (
    fchl19, fused_fchl19, fused_neighbors, fused_soap, neighbors, soap
)
from skatom.descriptors._torch import features as features_loops
from skatom.neighbors import neighbor_list

SMALL = {"cutoff": 1.8, "n_max": 2, "l_max": 1, "device": "torch"}
FEW = {"cutoff": 2.0, "n_r2": 5, "n_r3": 3, "device": "torch"}
scaling = {"rate": 1.0, "scale": 2.0, "exponent": 5.0}
carbon_dioxide = Atoms("CO2", [[0, 0, 0], [1.1, 0, 0], [-1.2, 0, 0]])
structures = [rattled_methanol()[[0, 1, 3]], crystal((True, False, False))[:2], carbon_dioxide]
for module, fused, descriptors in (
    (soap, fused_soap, [
        SOAP(**SMALL, nu=1, cutoff_width=0.0),
        SOAP(**SMALL, species_compression=2, sigma={"H": 0.3, "C": 0.5, "O": 0.4}),
        SOAP(**SMALL, normalize=False, radial_scaling=scaling, central_weight=0.0),
        SOAP(cutoff=1.3, n_max=1, l_max=4, device="torch"),
        SOAP(cutoff=1.3, n_max=1, l_max=1, nu=3, device="torch"),
    ]),
    (fchl19, fused_fchl19, [FCHL19(**FEW), FCHL19(**FEW, cutoff3=1.6, n_fourier=2)]),
):
    fused.try_out("cpu")
    for descriptor in descriptors:
        results = []
        for kernels in (None, fused):
            module.fused_kernels = lambda *_, kernels=kernels: kernels
            features_loops.fused_kernels = lambda *_, kernels=kernels: kernels and fused_neighbors
            features = clone(descriptor).fit_transform(structures)
            cotangent = np.random.default_rng(0).normal(size=features.values.shape)
            cotangent = torch.as_tensor(cotangent)
            pulled = features.pullback(cotangent), features.pullback(cotangent[0])
            jacobian = features.jacobian([0]).values
            results.append([features.values, *pulled[0], *pulled[1], jacobian])
        for one, other in zip(*results, strict=True):
            assert (one - other).abs().max() <= 1e-13 * other.abs().max(), descriptor
        assert not all(torch.equal(*pair) for pair in zip(*results, strict=True))

fused_neighbors.try_out("cpu")
neighbors.fused_kernels = lambda *_: fused_neighbors
cells = Structures.from_ase([carbon_dioxide, crystal(), crystal((True, True, False)), Atoms("C")])
for cutoff in (1.5, 3.5):
    found = neighbors.find_neighbors(cells, cutoff, resolve("torch"))
    np.testing.assert_array_equal(found.offsets, found.starts)
    expected = neighbor_list(cells, cutoff)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_array_equal(found.centers, expected.centers)
    for part in map(slice, found.offsets[:-1], found.offsets[1:]):
        one, other = (
            sorted(zip(pairs.indices[part].tolist(), pairs.vectors[part].tolist()))
            for pairs in (found, expected)
        )
        assert [pair[0] for pair in one] == [pair[0] for pair in other]
        for pair in one:
            gaps = [np.abs(np.subtract(pair[1], v)).max() for j, v in other if j == pair[0]]
            assert min(gaps) < 1e-13
"""


def test_kernels_of_triton_equal_the_operations_of_torch(monkeypatch):
    """In Triton's interpreter, which needs no card."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    subprocess.run([sys.executable, "-c", FUSED], check=True)


def test_without_triton_the_operations_of_torch_serve(monkeypatch):
    from skatom.descriptors._torch.kernels import fused_kernels

    monkeypatch.setitem(sys.modules, "skatom.descriptors._torch.fused_soap", None)
    fused_kernels.cache_clear()
    assert fused_kernels("soap", "cpu") is None and fused_kernels("soap", "cuda:0") is None
    fused_kernels.cache_clear()


# --- what is refused ------------------------------------------------------------------------------


def test_arrays_and_tensors_do_not_mix():
    on_cpu, features = pair_of("fchl19")
    array, tensor = cotangents(on_cpu)
    with pytest.raises(TypeError, match="cotangent is an array of numpy and meets a tensor on tor"):
        features.pullback(array)
    with pytest.raises(
        TypeError, match="cotangent is a tensor on torch on the CPU and meets an ar"
    ):
        on_cpu.pullback(tensor)
    with pytest.raises(TypeError, match="vectors is an array of numpy"):
        features.project([0], on_cpu.values[:2])
    for kinds in KINDS[:2]:
        with pytest.raises(TypeError, match="Y is an array of numpy and meets a tensor"):
            covariance_matrix(Gaussian(), features, on_cpu, rows=kinds)


def test_cotangents_of_a_wrong_shape():
    _, features = pair_of("fchl19")
    with pytest.raises(ValueError, match=r"cotangent has the shape \(3,\); these features need"):
        features.pullback(torch.ones(3, dtype=torch.float64))


def test_what_is_not_on_the_device_names_what_is():
    X, y = frames(4)
    features = on_device(DESCRIPTORS["fchl19"]).fit_transform(X)
    with pytest.raises(ValueError, match="match='best' of StructureKernel is not on a device yet"):
        StructureKernel(Gaussian(), "best")(features)
    with pytest.raises(ValueError, match="covariance of forces under StructureKernel is not on a"):
        covariance_matrix(StructureKernel(Gaussian(), normalize=True), features)
    with pytest.raises(
        ValueError, match="ForceKernelRidge with StructureKernel is not on a device"
    ):
        ForceKernelRidge(StructureKernel(Gaussian(), "average")).fit(features, y)
    with pytest.raises(ValueError, match="with features of atoms it is"):
        SparseGaussianProcess(Cosine(2), 3).fit(features.pool("sum"), y)


def test_out_of_memory_of_the_device(monkeypatch):
    from skatom._device import Device

    X, y = frames(4)
    descriptor = on_device(DESCRIPTORS["fchl19"]).fit(X)
    features = descriptor.transform(X)

    def refuse(self, n_bytes, what, remedy, max_memory=None):
        raise MemoryError(f"{what}: {remedy}")

    monkeypatch.setattr(Device, "check_memory", refuse)
    with pytest.raises(MemoryError, match="neighbours within 4 Å: lower the cutoff or take fewer"):
        descriptor.transform(X)
    with pytest.raises(MemoryError, match="features: transform fewer structures at a time"):
        descriptor.transform(X, neighbors=neighbor_list(X, 4.0))
    with pytest.raises(MemoryError, match="Jacobian of .*take fewer structures"):
        features.jacobian(0)
    with pytest.raises(MemoryError, match="covariance matrix of 4 structures with 88 rows"):
        ForceKernelRidge(solver="cholesky").fit(features, y)
    with pytest.raises(MemoryError, match="covariance matrix: use fewer structures"):
        covariance_matrix(Gaussian(), features)


def test_structures_of_another_batch(tmp_path):
    descriptor = on_device(DESCRIPTORS["soap"]).fit([molecule("CH4")])
    with pytest.raises(ValueError, match="structure 0 contains O"):
        descriptor.transform(Structures.from_ase([molecule("H2O")]))
