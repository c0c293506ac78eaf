import joblib
import numba
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from batches import random_rotation
from callees import call
from scipy.spatial.transform import Rotation
from sklearn import config_context
from sklearn.base import clone

from skatom import Structures
from skatom.descriptors import (
    SOAP,
    LambdaSOAP,
    cartesian_from_spherical,
    spherical_from_cartesian,
    wigner_d,
)
from skatom.descriptors._cpu import harmonics
from skatom.descriptors.coupling import _real_from_complex
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
EXPANSIONS = [
    {},
    {"sigma": {"H": 0.3, "C": 0.5, "N": 0.4, "O": 0.35}, "sigma_scaling": 0.1},
    {"radial_basis": "optimal", "n_primitives": 8},
    {"species_compression": 2, "species_similarity": "data"},
]
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
            call(harmonics.harmonics, *point, norm, l_max, work, row)
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
@pytest.mark.parametrize("expansion", EXPANSIONS)
def test_order_zero_is_the_power_spectrum(normalize, expansion):
    structures = [rattled_molecule(), skewed_crystal()]
    parameters = {**SMALL, "sigma": 0.5, **expansion, "normalize": normalize}
    features = LambdaSOAP(0, **parameters).fit_transform(structures).values
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
        ({"sigma": {"C": 0.3}}, "no width for H"),
        ({"cutoff_width": 5.0}, "cutoff_width=5.0 must be smaller"),
        ({"species_compression": 3}, "more than the 2 species"),
        ({"pool": "max"}, "pool"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        LambdaSOAP(**parameters).fit([molecule("CH4")])
