import joblib
import numba
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from batches import random_rotation
from conftest import rattled
from scipy.spatial.transform import Rotation
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score

from skatom import Structures, Targets
from skatom._persistence import load_model, save_model
from skatom.datasets import read
from skatom.descriptors import (
    SOAP,
    LambdaSOAP,
    cartesian_from_spherical,
    spherical_from_cartesian,
    wigner_d,
)
from skatom.descriptors._cpu import harmonics
from skatom.descriptors.coupling import _real_from_complex
from skatom.models import TensorKernelRidge
from skatom.neighbors import neighbor_list

# Two environments of Gaussians of width 0.5 Å, without cutoff and without the centre, and their
# kernel of order 1 in complex harmonics, both parities: rows μ = -1 and 0.
A = [(1.1, 0.2, -0.3), (-0.7, 1.2, 0.4), (0.1, -1.5, 1.0), (0.9, 0.9, 1.7)]
B = [(1.0, -0.1, 0.5), (-1.3, 0.6, -0.2), (0.4, 1.6, -0.9)]
KERNEL_1 = [
    [2.748164 - 1.841444j, 0.488755 + 0.346707j, 0.908525 - 3.438434j],
    [0.165358 - 6.177513j, -2.189133, -0.165358 - 6.177513j],
]

SMALL = {"cutoff": 4.0, "n_max": 3, "l_max": 3}
TINY = LambdaSOAP(cutoff=3.0, n_max=2, l_max=2)


def environment(neighbors):
    return Atoms("H" * (len(neighbors) + 1), np.vstack([np.zeros(3), neighbors]))


def centre_features(lam, *environments, parity="both", **parameters):
    soap = LambdaSOAP(
        lam, **parameters, sigma=0.5, parity=parity, cutoff_width=0, central_weight=0,
        normalize=False,
    )  # fmt: skip
    features = soap.fit_transform([environment(e) for e in environments])
    return [part.values[0] for part in features]


def rattled_molecule():
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=3)
    return atoms


def skewed_crystal():
    cell = [[3.0, 0.2, 0.0], [1.1, 2.8, 0.1], [-0.4, 0.9, 3.2]]
    scaled = [[0.02, 0.0, 0.05], [0.45, 0.52, 0.4], [0.7, 0.1, 0.6]]
    return Atoms("CHO", cell=cell, scaled_positions=scaled, pbc=True)


def turned(atoms, rotation):
    atoms = atoms.copy()
    # minus the lattice vectors make the same lattice: keep it right-handed
    atoms.set_cell(atoms.cell.array @ rotation.T * np.linalg.det(rotation))
    atoms.positions = atoms.positions @ rotation.T
    return atoms


def tensors_of(structures):
    """Dipoles of point charges, and polarisabilities of a sum over pairs."""
    dipoles, polarizabilities = [], []
    for atoms in structures.to_ase():
        charge = np.where(atoms.numbers == 1, 0.4, 0.0)
        heavy = atoms.numbers > 1
        charge[heavy] = -charge.sum() / heavy.sum()
        dipoles.append(charge @ atoms.positions)
        vectors = atoms.positions[:, None] - atoms.positions
        decay = np.exp(-0.5 * np.sum(vectors**2, axis=2))
        isotropic = (2.0 + 0.1 * atoms.numbers.sum()) * np.eye(3)
        polarizabilities.append(isotropic + np.einsum("ab,abx,aby->xy", decay, vectors, vectors))
    return Targets(dipole=dipoles, polarizability=polarizabilities)


@pytest.fixture(scope="module")
def ammonia_tensors(ammonia):
    structures, _ = ammonia
    return structures, tensors_of(structures)


# --- spherical tensors ------------------------------------------------------------------------


@pytest.mark.parametrize("reflect", [1, -1])
def test_wigner_matrices_are_those_of_the_real_harmonics(reflect):
    l_max, n = 6, 200
    rotation = reflect * random_rotation(5)
    points = np.random.default_rng(0).normal(size=(n, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    norm, work = harmonics.normalization(l_max), np.empty((3, (l_max + 1) ** 2))

    def evaluate(points):
        values = np.empty((n, (l_max + 1) ** 2))
        for row, point in zip(values, points, strict=True):
            harmonics.harmonics(*point, norm, l_max, work, row)
        return values

    before, after = evaluate(points), evaluate(points @ rotation.T)
    for l in range(l_max + 1):
        block = slice(l * l, (l + 1) ** 2)
        fitted = np.linalg.lstsq(before[:, block], after[:, block])[0].T
        np.testing.assert_allclose(wigner_d(l, rotation), fitted, atol=1e-12)


def test_wigner_matrices_are_an_orthogonal_representation():
    one, two = random_rotation(1), random_rotation(2)
    for lam in (0, 1, 2, 8):
        matrix = wigner_d(lam, one)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(2 * lam + 1), atol=1e-13)
        product = matrix @ wigner_d(lam, -two)
        np.testing.assert_allclose(wigner_d(lam, -one @ two), product, atol=1e-13)


def test_spherical_components_rotate_with_wigner_matrices_and_come_back():
    rng = np.random.default_rng(0)
    rotation = -random_rotation(3)
    vectors, tensors = rng.normal(size=(5, 3)), rng.normal(size=(5, 3, 3))
    tensors += tensors.transpose(0, 2, 1)
    cases = {
        1: (vectors, vectors @ rotation.T),
        0: (tensors, rotation @ tensors @ rotation.T),
        2: (tensors, rotation @ tensors @ rotation.T),
    }
    for lam, (before, after) in cases.items():
        expected = spherical_from_cartesian(before, lam) @ wigner_d(lam, rotation).T
        np.testing.assert_allclose(spherical_from_cartesian(after, lam), expected, atol=1e-13)
    parts = {lam: spherical_from_cartesian(tensors, lam) for lam in (0, 2)}
    whole = sum(cartesian_from_spherical(part, lam) for lam, part in parts.items())
    np.testing.assert_allclose(whole, tensors, atol=1e-13)
    squares = sum(np.sum(part**2, axis=1) for part in parts.values())
    np.testing.assert_allclose(squares, np.sum(tensors**2, axis=(1, 2)))  # an isometry
    np.testing.assert_array_equal(
        cartesian_from_spherical(spherical_from_cartesian(vectors, 1), 1), vectors
    )


def test_spherical_components_have_the_documented_order():
    x, y, z = 2.0, 3.0, 5.0
    np.testing.assert_array_equal(spherical_from_cartesian([[x, y, z]], 1), [[y, z, x]])
    tensor = np.outer([x, y, z], [x, y, z])
    root = np.sqrt(2)
    quadrupole = [
        root * x * y, root * y * z, (2 * z * z - x * x - y * y) / np.sqrt(6), root * x * z,
        (x * x - y * y) / root,
    ]  # fmt: skip
    np.testing.assert_allclose(spherical_from_cartesian([tensor], 2), [quadrupole])
    np.testing.assert_allclose(spherical_from_cartesian([tensor], 0), [[38 / np.sqrt(3)]])


@pytest.mark.parametrize(
    ("lam", "rotation", "message"),
    [
        (1, 2 * np.eye(3), "orthogonal"),
        (1, np.eye(2), "orthogonal"),
        (1, np.full((3, 3), np.nan), "orthogonal"),
        (-1, np.eye(3), "negative"),
    ],
)
def test_bad_rotations(lam, rotation, message):
    with pytest.raises(ValueError, match=message):
        wigner_d(lam, rotation)


@pytest.mark.parametrize("lam", [0, 1, 2])
def test_components_of_wrong_shape_or_order_are_errors(lam):
    shape = (4, 2) if lam == 1 else (4, 3)
    with pytest.raises(ValueError, match=r"shape \(4, .*needs \(n, 3"):
        spherical_from_cartesian(np.zeros(shape), lam)
    with pytest.raises(ValueError, match="components have the shape"):
        cartesian_from_spherical(np.zeros((4, 4)), lam)
    with pytest.raises(ValueError, match="lam=3 must be 0, 1 or 2"):
        spherical_from_cartesian(np.zeros((4, 3, 3)), 3)


# --- the numbers of the formula ---------------------------------------------------------------


def test_kernel_of_vectors_has_the_golden_values():
    a, b = centre_features(1, A, B, cutoff=5.0, n_max=20, l_max=14)
    to_complex = _real_from_complex(1).T  # coefficients are those of the conjugate harmonics
    kernel = to_complex @ (a @ b.T) @ to_complex.conj().T
    np.testing.assert_allclose(kernel[:2], KERNEL_1, atol=2e-6)
    signs = np.array([-1, 1, -1])[:, None] * np.array([-1, 1, -1])
    np.testing.assert_allclose(kernel, signs * kernel.conj()[::-1, ::-1], atol=1e-12)


@pytest.mark.parametrize("lam", [0, 1, 2])
def test_kernel_is_the_rotational_integral(lam):
    sigma, n = 0.5, 20
    x, weights = np.polynomial.legendre.leggauss(n)
    angles = np.arange(2 * n) * np.pi / n
    alpha, beta, gamma = np.meshgrid(angles, np.arccos(x), angles, indexing="ij")
    grid = np.stack([alpha.ravel(), beta.ravel(), gamma.ravel()], axis=1)
    rotations = Rotation.from_euler("ZYZ", grid).as_matrix()
    weight = np.broadcast_to(weights[:, None] * (np.pi / n) ** 2, alpha.shape).ravel()
    kernels = []
    for other in (np.array(B), -np.array(B)):
        images = other @ rotations.transpose(0, 2, 1)
        squares = np.sum((np.array(A)[:, None] - images[:, None]) ** 2, axis=3)
        overlap = (np.pi * sigma**2) ** 1.5 * np.exp(-squares / (4 * sigma**2)).sum(axis=(1, 2))
        # D of all rotations at once: it is a polynomial, the spherical map of R ... R
        tensors = cartesian_from_spherical(np.eye(2 * lam + 1), lam)
        moved = {
            0: lambda t: np.broadcast_to(t, (len(rotations), 3, 3)),
            1: lambda t: rotations @ t,
            2: lambda t: rotations @ t @ rotations.transpose(0, 2, 1),
        }[lam]
        d = np.stack([spherical_from_cartesian(moved(t), lam) for t in tensors], axis=2)
        kernels.append(np.einsum("r,rmn->mn", weight * overlap**2, d))
    both, mirrored = kernels
    even = (both + (-1) ** lam * mirrored) / 2
    parameters = {"cutoff": 5.0, "n_max": 14, "l_max": 10}
    a, b = centre_features(lam, A, B, **parameters)
    np.testing.assert_allclose(a @ b.T, both, atol=2e-4)
    a, b = centre_features(lam, A, B, parity="even", **parameters)
    np.testing.assert_allclose(a @ b.T, even, atol=2e-4)
    if lam:
        a, b = centre_features(lam, A, B, parity="odd", **parameters)
        np.testing.assert_allclose(a @ b.T, both - even, atol=2e-4)
        assert np.abs(both - even).max() > 0.1


@pytest.mark.parametrize(
    ("lam", "golden"),
    [
        (1, {(0, 0, 0, 1): -0.0067316119062597055, (0, 1, 1, 2): -0.001411952107106338,
             (1, 2, 0, 0): 0.003533989785849426, (2, 5, 0, 1): 0.010472972600819436,
             (4, 8, 2, 2): 0.09917979887488017}),
        (2, {(0, 0, 0, 1): -0.006773117745082745, (0, 1, 1, 2): 0.005093481234057957,
             (1, 2, 0, 0): -0.03543074784384503, (2, 5, 0, 1): 0.011070006687804971,
             (4, 8, 2, 2): 0.18438525328499009}),
    ],
)  # fmt: skip
def test_kernels_equal_those_of_featomic(lam, golden):
    # featomic 0.6.7: EquivariantPowerSpectrum, smoothing "Step", Gto basis of 4 functions, spline
    # accuracy 1e-12, its features of l < l' times √2; (j, k, μ, μ') of K over the traces of K_jj
    # and K_kk
    soap = LambdaSOAP(lam, 4.0, 4, 4, 0.4, radial_basis="gto", cutoff_width=0, normalize=False)
    values = soap.fit_transform([molecule("CH3CONH2")]).values
    lengths = np.linalg.norm(values, axis=(1, 2))
    for (j, k, mu, nu), value in golden.items():
        kernel = values[j, mu] @ values[k, nu] / (lengths[j] * lengths[k])
        assert kernel == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("normalize", [False, True])
def test_order_zero_is_the_power_spectrum(normalize):
    structures = [rattled_molecule(), skewed_crystal()]
    parameters = {**SMALL, "normalize": normalize}
    features = LambdaSOAP(0, sigma=0.5, **parameters).fit_transform(structures).values
    soap = SOAP(**parameters).fit_transform(structures).values
    np.testing.assert_allclose(features[:, 0], soap, atol=1e-12 * np.abs(soap).max())


# --- covariance -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lam", "parity"),
    [(0, "even"), (1, "even"), (1, "odd"), (2, "even"), (2, "odd"), (3, "even"), (3, "odd")],
)
@pytest.mark.parametrize("make", [rattled_molecule, skewed_crystal])
def test_features_rotate_with_wigner_matrices(lam, parity, make):
    atoms, proper = make(), random_rotation(1)
    soap = LambdaSOAP(lam, **SMALL, parity=parity).fit([atoms])
    values = soap.transform([atoms]).values
    assert np.abs(values).max() > 0.01
    order = np.random.default_rng(0).permutation(len(atoms))
    for rotation in (proper, -proper):
        image = turned(atoms, rotation)[order]
        image.positions += [1.0, -2.0, 30.0]
        sign = np.linalg.det(rotation) if parity == "odd" else 1.0
        expected = sign * np.einsum("mn,anf->amf", wigner_d(lam, rotation), values[order])
        np.testing.assert_allclose(soap.transform([image]).values, expected, atol=1e-10)


def test_invariant_to_choice_of_cell_and_supercell():
    atoms = skewed_crystal()
    other = make_supercell(atoms, [[1, 1, 0], [0, 1, 0], [0, -1, 1]])
    supercell = make_supercell(atoms, [[2, 0, 0], [0, 1, 1], [0, -1, 1]])
    features = LambdaSOAP(2, **SMALL).fit_transform([atoms, other, supercell])
    for part in features:
        for z in part.structures.species:
            first = features[0].values[features[0].structures.numbers == z][0]
            for row in part.values[part.structures.numbers == z]:
                np.testing.assert_allclose(row, first, atol=1e-9)


def test_both_parities_are_the_even_and_the_odd_features():
    atoms = [rattled_molecule()]
    parts = {
        parity: LambdaSOAP(2, **SMALL, parity=parity).fit_transform(atoms).values
        for parity in ("even", "odd", "both")
    }
    kernels = {parity: np.einsum("amf,anf->amn", x, x) for parity, x in parts.items()}
    assert parts["both"].shape[2] == parts["even"].shape[2] + parts["odd"].shape[2]
    np.testing.assert_allclose(kernels["both"], kernels["even"] + kernels["odd"], atol=1e-12)


def test_symmetric_molecules_have_no_pseudovector_and_no_dipole():
    water = turned(molecule("H2O"), random_rotation(0))
    odd = LambdaSOAP(1, **SMALL, parity="odd").fit([water])
    assert np.abs(odd.transform([water]).pool("sum")).max() < 1e-12
    assert np.abs(odd.transform([rattled_molecule_of_water()]).values).max() > 1e-3
    methane = turned(molecule("CH4"), random_rotation(0))
    features = LambdaSOAP(1, **SMALL).fit_transform([methane])
    carbon = features.values[methane.numbers == 6]
    assert np.abs(carbon).max() < 1e-12  # normalised, yet not blown up from rounding errors
    assert np.abs(features.values).max() > 0.1
    assert np.abs(features.pool("sum")).max() < 1e-12


def rattled_molecule_of_water():
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=1)
    return atoms


def test_normalised_features_vary_smoothly_at_a_symmetric_structure():
    soap = LambdaSOAP(1, **SMALL).fit([molecule("CH4")])
    largest = []
    for step in (1e-4, 1e-3):
        moved = molecule("CH4")
        moved.positions[1] += [step, 0, 0]
        largest.append(np.abs(soap.transform([moved]).values[0]).max())
    assert largest[1] / largest[0] == pytest.approx(10, rel=0.01)


# --- the transformer --------------------------------------------------------------------------


def test_independent_of_threads_and_batches():
    structures = Structures.from_ase([rattled_molecule(), skewed_crystal()] * 8)
    soap = LambdaSOAP(2, **SMALL).fit(structures)
    features = soap.transform(structures)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        serial = soap.transform(structures)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(serial.values, features.values)
    with joblib.parallel_config(backend="threading"):
        jobs = clone(soap).set_params(n_jobs=2).fit_transform(structures)
    np.testing.assert_allclose(jobs.values, features.values, rtol=1e-12, atol=1e-15)


def test_features_are_sliced_and_pooled_by_structure():
    structures = [molecule("CH4"), molecule("CO"), Atoms("C"), molecule("CH3OH")]
    soap = LambdaSOAP(1, **SMALL).fit(structures)
    features = soap.transform(structures)
    assert len(features) == 4 and len(list(features)) == 4
    np.testing.assert_array_equal(features[1].values, features.values[5:7])
    mask = np.array([True, False, False, True])
    np.testing.assert_array_equal(
        features[mask].values, np.concatenate([features.values[:5], features.values[8:]])
    )
    sums = [part.values.sum(axis=0) for part in features]
    np.testing.assert_allclose(features.pool("sum"), sums, atol=1e-13)
    for pool in ("sum", "mean"):
        pooled = clone(soap).set_params(pool=pool).fit_transform(structures)
        np.testing.assert_allclose(pooled, features.pool(pool), atol=1e-13)
    with pytest.raises(ValueError, match="'sum' or 'mean'"):
        features.pool("max")
    with pytest.raises(TypeError, match=r"features.pool\('sum'\)"):
        np.asarray(features)


def test_neighbors_can_be_given():
    structures = Structures.from_ase([molecule("CH3OH"), bulk("SiC", "zincblende", a=4.36)])
    soap = LambdaSOAP(n_max=2, l_max=2).fit(structures)
    given = soap.transform(structures, neighbors=neighbor_list(structures, 5.0))
    np.testing.assert_array_equal(given.values, soap.transform(structures).values)
    assert soap.n_features_out_ == given.values.shape[2] == len(soap.get_feature_names_out())
    with pytest.raises(ValueError, match="cutoff of at least 4"):
        soap.transform(structures, neighbors=neighbor_list(structures, 3.0))


def test_data_frames_leave_tensor_features_alone():
    with config_context(transform_output="pandas"):
        features = LambdaSOAP(1, **SMALL).fit_transform([molecule("CO")])
    assert features.values.shape[:2] == (2, 3)


def test_isolated_atoms_have_no_direction():
    features = LambdaSOAP(1, **SMALL).fit_transform([Atoms("CH", [[0, 0, 0], [0, 0, 50.0]])])
    assert not features.values.any()
    empty = LambdaSOAP(1, **SMALL, central_weight=0.0).fit_transform([Atoms("C")])
    assert not empty.values.any()


@pytest.mark.parametrize("parity", ["even", "odd", "both"])
@pytest.mark.parametrize("compression", [None, 1])
@pytest.mark.parametrize("lam", [1, 2])
def test_feature_names_match_the_features(lam, parity, compression):
    soap = LambdaSOAP(lam, n_max=2, l_max=3, parity=parity, species_compression=compression)
    values = soap.fit_transform([molecule("CO")]).values
    names = soap.get_feature_names_out()
    assert len(set(names)) == len(names) == values.shape[2]
    first = {1: "lsoap_l0l1_C0_C0", 2: "lsoap_l0l2_C0_C0"}[lam]
    if parity == "even":
        assert names[0] == (first if compression is None else first.replace("C", "mix0-"))


def test_named_products_hold_the_named_species():
    # around a carbon whose only neighbour is an oxygen, the density of carbon is a sphere
    soap = LambdaSOAP(1, **SMALL).fit([molecule("CO")])
    carbon = soap.transform([Atoms("CO", [[0, 0, 0], [0, 0, 1.1]])]).values[0]
    names = soap.get_feature_names_out()
    anisotropic = np.array([name.split("_")[3][0] for name in names])  # the factor of larger l
    assert not carbon[:, anisotropic == "C"].any()
    assert np.abs(carbon[:, anisotropic == "O"]).max() > 0.01


def test_compression_of_species_equals_one_species():
    mixture = rattled_molecule()
    uniform = mixture.copy()
    uniform.numbers[:] = 6
    blind = LambdaSOAP(2, **SMALL, species_compression=np.ones((1, 4))).fit_transform([mixture])
    plain = LambdaSOAP(2, **SMALL).fit_transform([uniform])
    np.testing.assert_allclose(blind.values, plain.values, atol=1e-12)


def test_unseen_species_is_an_error():
    soap = LambdaSOAP(1, **SMALL).fit([molecule("CH4")])
    with pytest.raises(ValueError, match=r"structure 1 contains O, .*species H, C"):
        soap.transform([molecule("C2H6"), molecule("H2O")])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lam": -1}, "lam"),
        ({"lam": 1.5}, "lam"),
        ({"lam": 5, "l_max": 2}, "lam=5 .*choose lam <= 4"),
        ({"lam": 1, "l_max": 0}, "lam=1 .*choose lam <= 0"),
        ({"lam": 0, "parity": "odd"}, "parity='odd'"),
        ({"parity": "proper"}, "parity"),
        ({"cutoff": 0.0}, "cutoff"),
        ({"cutoff_width": 5.0}, "cutoff_width=5.0 must be smaller"),
        ({"species_compression": 3}, "more than the 2 species"),
        ({"pool": "max"}, "pool"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        LambdaSOAP(**parameters).fit([molecule("CH4")])


# --- the model --------------------------------------------------------------------------------


def brute_force(structures, others, lam, zeta, descriptor):
    """The kernel of the documentation, atom by atom."""
    soap = clone(descriptor).set_params(lam=lam).fit(structures)
    scalar = clone(descriptor).set_params(lam=0).fit(structures)
    n_mu = 2 * lam + 1
    kernel = np.zeros((len(others), n_mu, len(structures), n_mu))
    for a, one in enumerate(others):
        for b, two in enumerate(structures):
            f, g = soap.transform(one).values, soap.transform(two).values
            p, q = scalar.transform(one).values[:, 0], scalar.transform(two).values[:, 0]
            for j, z in enumerate(one.numbers):
                for k in np.flatnonzero(two.numbers == z):
                    kernel[a, :, b] += f[j] @ g[k].T * (p[j] @ q[k]) ** (zeta - 1)
    return kernel.reshape(len(others) * n_mu, -1)


@pytest.mark.parametrize("zeta", [1, 2, 3])
@pytest.mark.parametrize("descriptor", [TINY, LambdaSOAP(cutoff=3.0, n_max=4, l_max=2)])
def test_predictions_are_those_of_the_kernel(ammonia_tensors, zeta, descriptor):
    structures, targets = ammonia_tensors
    train, test = structures[:12], structures[12:16]
    alpha = 1e-3
    model = TensorKernelRidge("dipole", descriptor, zeta, alpha).fit(train, targets[:12])
    kernel = brute_force(train, train, 1, zeta, descriptor)
    assert np.linalg.eigvalsh(kernel).min() > -1e-12 * np.trace(kernel)
    ridge = alpha * np.trace(kernel) / len(kernel) * np.eye(len(kernel))
    components = spherical_from_cartesian(targets[:12].dipole, 1)
    solution = np.linalg.solve(kernel + ridge, components.ravel())
    expected = (brute_force(train, test, 1, zeta, descriptor) @ solution).reshape(-1, 3)
    np.testing.assert_allclose(
        model.predict(test), cartesian_from_spherical(expected, 1), rtol=0, atol=1e-9
    )


def test_many_structures_in_several_blocks_give_the_same_kernel():
    structures = rattled("NH3", 170)  # more than one block column
    targets = tensors_of(structures)
    model = TensorKernelRidge("dipole", TINY, zeta=1, alpha=1e-2).fit(structures, targets)
    # ζ = 1 is ridge regression on features summed by species, one weight for all components
    features = clone(TINY).fit_transform(structures).values
    by_species = [
        np.add.reduceat(features * mask[:, None, None], structures.offsets[:-1])
        for mask in structures.numbers == structures.species[:, None]
    ]
    rows = np.concatenate(by_species, axis=2).reshape(3 * len(structures), -1)
    components = spherical_from_cartesian(targets.dipole, 1).ravel()
    gram = rows.T @ rows
    ridge = 1e-2 * np.trace(gram) / len(rows) * np.eye(len(gram))
    weights = np.linalg.solve(gram + ridge, rows.T @ components)
    expected = cartesian_from_spherical((rows @ weights).reshape(-1, 3), 1)
    np.testing.assert_allclose(model.predict(structures), expected, atol=1e-8)


@pytest.mark.parametrize("target", ["dipole", "polarizability"])
def test_predictions_rotate_and_reflect_with_the_structure(ammonia_tensors, target):
    structures, targets = ammonia_tensors
    model = TensorKernelRidge(target, TINY).fit(structures[:20], targets[:20])
    proper = random_rotation(7)
    test = structures[20:].to_ase()
    predicted = model.predict(test)
    for rotation in (proper, -proper):
        images = [turned(atoms, rotation)[::-1] for atoms in test]
        for atoms in images:
            atoms.positions += [5.0, 1.0, -2.0]
        expected = predicted @ rotation.T if target == "dipole" else None
        if target == "polarizability":
            expected = rotation @ predicted @ rotation.T
        np.testing.assert_allclose(model.predict(images), expected, atol=1e-9)
    if target == "polarizability":
        np.testing.assert_allclose(predicted, predicted.transpose(0, 2, 1), atol=1e-13)


@pytest.mark.parametrize("target", ["dipole", "polarizability"])
def test_tensors_of_distorted_molecules_are_learnt(ammonia_tensors, target):
    structures, targets = ammonia_tensors
    model = TensorKernelRidge(target, LambdaSOAP(cutoff=3.0), alpha=1e-6)
    model.fit(structures[:30], targets[:30])
    predicted, true = model.predict(structures[30:]), getattr(targets[30:], target)
    mean = np.eye(3) * np.trace(true, axis1=1, axis2=2).mean() / 3 if true.ndim == 3 else 0.0
    r2 = 1 - np.sum((predicted - true) ** 2) / np.sum((true - mean) ** 2)
    assert r2 > 0.99
    assert model.score(structures[30:], targets[30:]) == pytest.approx(r2)
    assert model.score(structures[30:], true) == pytest.approx(r2)


def test_no_dipole_is_predicted_for_a_molecule_without_one(ammonia_tensors):
    structures, targets = ammonia_tensors
    model = TensorKernelRidge("dipole", TINY).fit(structures, targets)
    flat = Atoms("NH3", [[0, 0, 0], [1, 0, 0], [-0.5, 0.75**0.5, 0], [-0.5, -(0.75**0.5), 0]])
    np.testing.assert_allclose(model.predict([flat]), 0.0, atol=1e-12)


def test_shuffled_training_structures_give_the_same_model(ammonia_tensors):
    structures, targets = ammonia_tensors
    order = np.random.default_rng(0).permutation(20)
    one = TensorKernelRidge("polarizability", TINY).fit(structures[:20], targets[:20])
    two = TensorKernelRidge("polarizability", TINY).fit(structures[order], targets[order])
    np.testing.assert_allclose(
        one.predict(structures[20:]), two.predict(structures[20:]), atol=1e-9
    )


def test_mixed_molecules_and_few_labelled_species():
    structures = Structures.from_ase(
        [*rattled("H2O", 8).to_ase(), *rattled("CH4", 8).to_ase(), Atoms("O")]
    )
    targets = tensors_of(structures)
    model = TensorKernelRidge("polarizability", TINY, alpha=1e-8).fit(structures, targets)
    predicted = model.predict(structures)
    np.testing.assert_allclose(predicted, targets.polarizability, atol=0.2)
    np.testing.assert_allclose(model.predict([Atoms("O")])[0], predicted[-1], atol=1e-12)
    np.testing.assert_allclose(predicted[-1], predicted[-1][0, 0] * np.eye(3), atol=1e-12)


def test_persistence_search_and_cross_validation(ammonia_tensors, tmp_path):
    structures, targets = ammonia_tensors
    model = TensorKernelRidge("dipole", TINY)
    grid = {"zeta": [1, 2], "descriptor__n_max": [1, 2]}
    search = GridSearchCV(model, grid, cv=2).fit(structures, targets)
    assert search.best_score_ > 0.8
    scores = cross_val_score(model, structures.to_ase(), targets.dipole, cv=2)
    assert (scores > 0.5).all()
    for name in ("model.joblib", "model.skops"):
        save_model(search.best_estimator_, tmp_path / name)
        again = load_model(tmp_path / name)
        np.testing.assert_array_equal(again.predict(structures), search.predict(structures))
    assert TINY.lam == 1 and not hasattr(TINY, "mixing_")


@pytest.mark.parametrize(
    ("target", "y", "message"),
    [
        ("dipole", np.zeros((3, 2)), r"dipole has the shape \(3, 2\).*need \(3, 3\)"),
        ("dipole", np.zeros(3), "dipole has the shape"),
        ("polarizability", np.zeros((3, 9)), r"polarizability has the shape \(3, 9\)"),
        ("polarizability", np.zeros((3, 3)), "polarizability has the shape"),
        ("dipole", np.zeros((2, 3)), "3 structures but 2 targets"),
        ("dipole", Targets(energy=np.zeros(3)), "no structure has dipole, .*labels: energy"),
        (
            "dipole",
            Targets(dipole=[[1, 0, 0], [np.nan] * 3, [0, 0, 1]]),
            r"structure 1 has no dipole .*labelled\('dipole'\)",
        ),
        ("dipole", [[1, 0, 0], [np.inf, 0, 0], [0, 0, 1]], "dipole of structure 1 is not finite"),
        (
            "polarizability",
            [np.eye(3), np.eye(3) + np.eye(3, k=1), np.eye(3)],
            "structure 1 differs from its transpose by 1",
        ),
    ],
)
def test_bad_labels(target, y, message):
    structures = rattled("H2O", 3)
    with pytest.raises(ValueError, match=message):
        TensorKernelRidge(target, TINY).fit(structures, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"target": "quadrupole"}, "target"),
        ({"zeta": 0}, "zeta"),
        ({"zeta": 1.5}, "zeta"),
        ({"alpha": -1.0}, "alpha"),
        ({"descriptor": SOAP()}, "descriptor"),
        ({"descriptor": LambdaSOAP(l_max=0)}, "lam=1"),
    ],
)
def test_bad_model_parameters(parameters, message):
    structures = rattled("H2O", 3)
    with pytest.raises(ValueError, match=message):
        TensorKernelRidge(**parameters).fit(structures, np.zeros((3, 3)))


def test_equal_structures_without_ridge_are_an_error():
    structures = Structures.from_ase(rattled("H2O", 4).to_ase() * 2)
    with pytest.raises(ValueError, match="singular to rounding errors with alpha=0.0: raise alpha"):
        TensorKernelRidge(alpha=0.0, descriptor=TINY).fit(structures, np.zeros((8, 3)))


def test_structures_too_symmetric_to_have_a_direction_are_an_error():
    with pytest.raises(ValueError, match="all features of order 1 vanish"):
        TensorKernelRidge(descriptor=TINY).fit([Atoms("C"), bulk("C")], np.zeros((2, 3)))


def test_kernel_that_does_not_fit_is_refused(ammonia_tensors):
    structures, targets = ammonia_tensors
    model = TensorKernelRidge(descriptor=TINY, max_memory=1e-6)
    with pytest.raises(MemoryError, match="40 structures with 3 components"):
        model.fit(structures, targets)


def test_unseen_species_in_prediction_is_an_error(ammonia_tensors):
    structures, targets = ammonia_tensors
    model = TensorKernelRidge(descriptor=TINY).fit(structures[:5], targets[:5])
    with pytest.raises(ValueError, match="structure 140 contains C"):
        model.predict([molecule("NH3")] * 140 + [molecule("CH4")])


def test_polarizabilities_pass_through_ase_and_files(ammonia_tensors, tmp_path):
    structures, targets = ammonia_tensors
    images = structures[:2].to_ase(targets[:2])
    again = Targets.from_ase(images)
    np.testing.assert_array_equal(again.polarizability, targets[:2].polarizability)
    np.testing.assert_array_equal(again.dipole, targets[:2].dipole)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["dipole", "polarizability"])
def test_error_on_qm7b_is_a_fifth_of_the_rotated_mean(reference_data, target):
    path = reference_data / "molecules" / "qm7b_dipole_polarizability.xyz.xz"
    data = read(path, keys={"dipole": "dipole_raw", "polarizability": "pol_raw"})
    order = np.random.default_rng(0).permutation(len(data.structures))
    train, test = order[:600], order[600:]
    model = TensorKernelRidge(target, LambdaSOAP(species_compression=3))
    model.fit(data.structures[train], data.targets[train])
    assert model.score(data.structures[test], data.targets[test]) > 1 - 1 / 5**2
