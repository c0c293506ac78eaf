import joblib
import numba
import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell, molecule
from batches import mixed as batch
from batches import random_rotation
from sklearn.base import clone
from sklearn.decomposition import KernelPCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVR
from test_fchl19 import WATER, distorted_acetamide

from skatom import Structures
from skatom.elements import period
from skatom.kernels import FCHL18, covariance
from skatom.kernels.charges import arms_of_atoms, equalized_charges
from skatom.kernels.fchl18.blocks import _products
from skatom.kernels.fchl18.environments import _BATCH
from skatom.kernels.fchl18.expansion import FCHL18Expansion
from skatom.kernels.fchl18.overlaps import column, element_overlaps
from skatom.neighbors import neighbor_list

FORMALDEHYDE = Atoms("COHH", [[0, 0, 0], [0, 0, 1.25], [0, 0.94, -0.55], [0, -0.9, -0.6]])
WATER_CHARGES = [-0.41046649, 0.20523324, 0.20523324]
SOFT = {"cutoff": 4.0, "cut_start": 0.4}
VARIANTS = [
    SOFT,
    {**SOFT, "alchemy": "off"},
    {**SOFT, "n_fourier": 3, "width3": 0.5, "decay2": 3.0, "decay3": 1.0, "sigma": 1.5},
]


def distorted_ethanethiol():
    atoms = molecule("CH3CH2SH")
    atoms.positions += 0.05 * np.cos(np.arange(27.0)).reshape(9, 3)
    return atoms


# --- the numbers of the formula ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("alchemy", "known"),
    [
        ("off", [8.018894435257, 10.321712177994, 14.294261695955]),
        ("periodic-table", [8.059117468790, 10.674253450121, 14.756636991476]),
    ],
)
def test_water_and_formaldehyde_have_the_known_kernel(alchemy, known):
    kernel = FCHL18(cutoff=50.0, alchemy=alchemy)
    values = kernel([WATER, FORMALDEHYDE])
    np.testing.assert_allclose(values[[0, 0, 1], [0, 1, 1]], known, rtol=0, atol=6e-13)
    assert values[0, 1] == values[1, 0]


def test_scalar_products_of_oxygens_are_the_known_ones():
    kernel = FCHL18(cutoff=50.0, alchemy="off")
    environments = kernel.environments([WATER, FORMALDEHYDE])
    water, formaldehyde = environments.batches
    own, other = water.atoms == 0, formaldehyde.atoms == 4
    assert water.self_products[own] == pytest.approx(2.174347561455, abs=6e-13)
    products = 1 + _products(water, formaldehyde, environments.form)
    assert products[own, other] == pytest.approx(1.000036460971, abs=6e-13)


KNOWN_FIELD_SLOPES = [
    [-1.40943e-4, -1.585026e-4, -1.541278e-4, -1.540398e-4],
    [-4.877235e-4, -5.484446e-4, -5.333979e-4, -5.330931e-4],
    [3.472096e-4, 3.904336e-4, 3.797288e-4, 3.795119e-4],
]


def test_water_has_the_known_energy_and_dipole_rows():
    kernel = FCHL18(cutoff=50.0, alchemy="off")
    energies = kernel.atoms([WATER], [FORMALDEHYDE])
    known = [[2.3570911909, 2.5609433250, 2.7025054706, 2.7011721915]]
    np.testing.assert_allclose(energies, known, rtol=0, atol=6e-11)
    dipoles = -kernel.field_gradients([WATER], [FORMALDEHYDE], WATER_CHARGES)
    np.testing.assert_allclose(dipoles, KNOWN_FIELD_SLOPES, rtol=0, atol=6e-11)


@pytest.mark.parametrize(
    ("parameters", "known"),
    [
        ({}, [73.33860441124, 73.91097142294, 74.95473384159]),
        ({"alchemy": "off"}, [70.49502871268, 71.4137068351, 73.28600483221]),
        ({"cut_start": 0.4, "cutoff": 3.5}, [73.53772224393, 74.12159672621, 75.14533106065]),
        (
            {"alchemy": "off", "cut_start": 0.4, "cutoff": 3.5},
            [70.6417468056, 71.57819806137, 73.43911841209],
        ),
        (
            {
                "n_fourier": 2, "width3": 0.5, "width2": 0.3, "decay2": 3.0, "decay3": 1.0,
                "weight2": 1.0, "weight3": 3.0, "sigma": 1.5, "period_width": 2.5,
                "group_width": 1.0,
            },
            [32.46271592376, 30.55880156593, 38.63089667442],
        ),
    ],
    ids=str,
)  # fmt: skip
def test_kernel_equals_that_of_qmllib(parameters, known):
    # qmllib 1.2.0: get_local_symmetric_kernels, which neglects pairs 8 widths apart, and calls
    # period_width alchemy_group_width and the other way round
    values = FCHL18(**parameters)([distorted_acetamide(), distorted_ethanethiol()])
    np.testing.assert_allclose(values[[0, 0, 1], [0, 1, 1]], known, rtol=1e-9)


def scalar_product(one, other, overlap, parameters):
    """⟨I, J⟩ term by term, of environments (number, neighbours' numbers, vectors)."""
    decay2, decay3 = parameters.get("decay2", 4.0), parameters.get("decay3", 2.0)
    width3, cutoff = parameters.get("width3", np.pi), parameters["cutoff"]
    start = parameters["cut_start"] * cutoff

    def cut(r):
        x = np.clip((cutoff - r) / (cutoff - start), 0, 1)
        return 10 * x**3 - 15 * x**4 + 6 * x**5

    n = np.arange(-200, 201)
    norm = 2 * np.sqrt(np.pi * np.sum(np.exp(-((width3 * n) ** 2)) * (2 - 2 * np.cos(n * np.pi))))

    def terms(environment):
        for i, (z, r) in enumerate(zip(*environment[1:], strict=True)):
            d, harmonics = np.linalg.norm(r), []
            for j, (y, s) in enumerate(zip(*environment[1:], strict=True)):
                if i != j:
                    b, c = np.linalg.norm(s), np.linalg.norm(r - s)
                    cosines = r @ s / (d * b), r @ (r - s) / (d * c), s @ (s - r) / (b * c)
                    xi = cut(d) * cut(b) * cut(c) * (1 + 3 * np.prod(cosines))
                    theta = np.arccos(np.clip(cosines[0], -1, 1))
                    harmonics.append((y, xi / (d * b * c) ** decay3, theta))
            yield z, d, cut(d) / d**decay2, harmonics

    total = 1.0
    for z, d, xi, own in terms(one):
        for y, b, zeta, others in terms(other):
            angular = 0.0
            for m in range(1, 2 * parameters.get("n_fourier", 1), 2):
                weight = np.sqrt(2 * np.pi) / norm * np.exp(-((m * width3) ** 2) / 2)
                for p, xi3, theta in own:
                    for q, zeta3, phi in others:
                        product = 4 * xi3 * zeta3 * np.cos(m * (theta - phi))
                        angular += weight * overlap[p, q] * product
            both = 8**0.5 / 16 * xi * zeta + 1.6 / 8**0.5 * angular
            total += overlap[z, y] * np.exp(-((d - b) ** 2) / (4 * 0.2**2)) * both
    return overlap[one[0], other[0]] * total


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_crystals_and_molecules_equal_the_formula(parameters):
    images = batch()
    structures, cutoff = Structures.from_ase(images), 2.6
    kernel = FCHL18(**{**parameters, "cutoff": cutoff})
    pairs = neighbor_list(structures, cutoff)
    environments = []
    for i, z in enumerate(structures.numbers):
        own = slice(pairs.offsets[i], pairs.offsets[i + 1])
        environments.append((z, structures.numbers[pairs.indices[own]], pairs.vectors[own]))
    table = element_overlaps(kernel.alchemy, 1.6, 1.6)
    products = np.array(
        [
            [scalar_product(a, b, table, {**parameters, "cutoff": cutoff}) for b in environments]
            for a in environments
        ]
    )
    norms = np.diag(products)
    kappa = np.exp(-(norms[:, None] + norms - 2 * products) / (2 * kernel.sigma**2))
    rows = np.add.reduceat(kappa, structures.offsets[:-1])
    np.testing.assert_allclose(kernel.atoms(images), rows, rtol=1e-11)
    expected = np.add.reduceat(rows, structures.offsets[:-1], axis=1)
    np.testing.assert_allclose(kernel(images), expected, rtol=1e-11)


def test_elements_have_their_places_in_the_periodic_table():
    known = {1: (1, 1), 2: (1, 8), 6: (2, 4), 8: (2, 6), 16: (3, 6), 17: (3, 7), 20: (4, 2),
             21: (4, 9), 30: (4, 18), 31: (4, 3), 36: (4, 8), 57: (6, 19), 71: (6, 33),
             72: (6, 10), 80: (6, 18), 81: (6, 3), 103: (7, 33), 118: (7, 8)}  # fmt: skip
    assert {z: (period(z), column(z)) for z in known} == known
    assert len({(period(z), column(z)) for z in range(1, 119)}) == 118


def test_own_overlaps_take_the_place_of_the_table():
    structures = [distorted_acetamide(), WATER]
    table = element_overlaps("periodic-table", 1.6, 1.6)[:20, :20]
    np.testing.assert_allclose(
        FCHL18(alchemy=table.tolist())(structures), FCHL18()(structures), rtol=1e-14
    )
    np.testing.assert_allclose(
        FCHL18(alchemy=np.eye(20))(structures), FCHL18(alchemy="off")(structures), rtol=1e-14
    )


# --- derivatives ------------------------------------------------------------------------------


def central_difference(values, step=1e-3):
    """Slope of a function to sixth order."""
    weights = np.array([-1, 9, -45, 45, -9, 1]) / (60 * step)
    return np.tensordot(weights, [values(k * step) for k in (-3, -2, -1, 1, 2, 3)], 1)


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_gradients_equal_central_differences(parameters):
    images, basis = batch(), [distorted_acetamide(), batch()[1]]
    kernel = FCHL18(**parameters)
    basis = kernel.environments(basis)
    gradients = kernel.gradients(images, basis).reshape(-1, 3, len(basis.structures.numbers))
    atom = 0
    for image in images:
        for a in range(len(image)):
            for axis in range(3):

                def moved(step, image=image, a=a, axis=axis):
                    copy = image.copy()
                    copy.positions[a, axis] += step
                    return kernel.atoms([copy], basis)[0]

                slope = central_difference(moved)
                np.testing.assert_allclose(gradients[atom, axis], slope, rtol=1e-7, atol=1e-8)
            atom += 1


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_strain_gradients_equal_central_differences(parameters):
    images, basis = batch(), [distorted_acetamide(), batch()[1]]
    kernel = FCHL18(**parameters)
    basis = kernel.environments(basis)
    gradients = kernel.strain_gradients(images, basis)
    gradients = gradients.reshape(len(images), 3, 3, len(basis.structures.numbers))
    for s, image in enumerate(images):
        for a, b in np.ndindex(3, 3):

            def strained(step, image=image, a=a, b=b):
                copy, strain = image.copy(), np.eye(3)
                strain[a, b] += step
                copy.set_cell(image.cell.array @ strain.T)
                copy.positions = image.positions @ strain.T
                return kernel.atoms([copy], basis)[0]

            slope = central_difference(strained)
            np.testing.assert_allclose(gradients[s, a, b], slope, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(gradients, gradients.transpose(0, 2, 1, 3), atol=1e-12)


def test_net_forces_vanish():
    kernel = FCHL18()
    gradients = kernel.gradients(batch()[:2], [WATER]).reshape(-1, 3, 3)
    np.testing.assert_allclose(gradients[:6].sum(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(gradients[6:].sum(axis=0), 0, atol=1e-13)


def test_straight_angles_have_finite_gradients():
    gradients = FCHL18().gradients([molecule("CO2"), molecule("C2H2")], [WATER])
    gradients = gradients.reshape(-1, 3, 3)
    assert np.isfinite(gradients).all()
    np.testing.assert_allclose(gradients[:, :2], 0, atol=1e-12)


def test_smooth_at_the_cutoff():
    def kernel_of(distance):
        trimer = Atoms("COH", [[0, 0, 0], [0, distance, 0], [0, 0.5, 0.9]])
        return FCHL18(cutoff=4.0, cut_start=0.5)([trimer], [WATER])[0, 0]

    outside = kernel_of(4.0 + 1e-3)
    for step in (1e-1, 1e-2, 1e-3):
        assert abs(kernel_of(4.0 - step) - outside) < 1e-3 * step**2


def energies_in_field(kernel, atoms, basis, field):
    """Σ κ in a finite field, from scaling functions in that field."""
    charges = np.array(WATER_CHARGES)
    environments = kernel.environments([atoms])
    dipoles = -kernel.field_scale * charges[:, None] * arms_of_atoms(environments.structures)
    (own,) = environments.batches
    own.features = own.features + np.einsum(
        "pxf,x->pf", own.field_features(dipoles[own.atoms], environments.form.terms), field
    )
    own.self_products = environments._self_products(own)
    return kernel.atoms(environments, basis)[0]


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_field_gradients_equal_central_differences(parameters):
    kernel, basis = FCHL18(field_scale=0.3, **parameters), [distorted_acetamide(), FORMALDEHYDE]
    gradients = kernel.field_gradients([WATER], basis, WATER_CHARGES)
    for axis in range(3):
        slope = central_difference(
            lambda step, axis=axis: energies_in_field(kernel, WATER, basis, step * np.eye(3)[axis])
        )
        np.testing.assert_allclose(gradients[axis], slope, rtol=1e-9, atol=1e-12)


def test_field_leaves_the_energy_as_it_is_at_zero():
    kernel = FCHL18()
    np.testing.assert_array_equal(
        energies_in_field(kernel, WATER, [FORMALDEHYDE], np.zeros(3)),
        kernel.atoms([WATER], [FORMALDEHYDE])[0],
    )


# --- invariances ------------------------------------------------------------------------------


def turned_acetamide():
    """The molecule, a copy in another place and order, and what was done to it."""
    atoms = distorted_acetamide()
    order = np.random.default_rng(0).permutation(len(atoms))
    turned, improper = atoms[order], -random_rotation(1)
    turned.positions = turned.positions @ improper.T + [1.0, -2.0, 30.0]
    return atoms, turned, order, improper


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_invariant_to_rotation_reflection_translation_and_permutation(parameters):
    atoms, turned, order, improper = turned_acetamide()
    kernel = FCHL18(**parameters)
    rows = kernel.atoms([atoms, turned])
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-12)
    np.testing.assert_allclose(rows[:, 9:], rows[:, order], rtol=1e-12)
    gradients = kernel.gradients([atoms, turned], [FORMALDEHYDE]).reshape(2, 9, 3, 4)
    expected = np.einsum("xy,ayj->axj", improper, gradients[0, order])
    np.testing.assert_allclose(gradients[1], expected, atol=1e-11)


def test_fields_on_charges_act_on_the_arms_of_atoms():
    # far from each other atoms have no neighbours, and alike ones the kernel 1
    atoms = Atoms("OHH", [[0, 0, 0], [0, 20.0, 0], [30.0, 0, 10.0]])
    arms = atoms.positions - atoms.numbers @ atoms.positions / 10
    slopes = FCHL18(field="charges", alchemy="off").field_gradients([atoms])
    unlike = np.exp(-2 / 12.5)
    kappa = np.array([[1, unlike, unlike], [unlike, 1, 1], [unlike, 1, 1]])
    np.testing.assert_allclose(slopes, -arms.T @ kappa, rtol=1e-12)


@pytest.mark.parametrize("field", ["scaling", "charges"])
def test_dipoles_rotate_with_the_molecule(field):
    atoms, turned, order, improper = turned_acetamide()
    kernel = FCHL18(field=field)
    slopes = kernel.field_gradients([atoms, turned], [FORMALDEHYDE]).reshape(2, 3, 4)
    np.testing.assert_allclose(slopes[1], improper @ slopes[0], atol=1e-12)
    assert np.abs(slopes[0]).max() > 1e-6


def test_dipoles_of_charged_molecules_do_not_depend_on_the_origin():
    moved = WATER.copy()
    moved.positions += [3.0, -7.0, 1.0]
    slopes = [FCHL18().field_gradients([a], [WATER], [-1.0, 0.2, 0.3]) for a in (WATER, moved)]
    np.testing.assert_allclose(*slopes, atol=1e-14)


def test_molecules_with_an_inversion_centre_have_no_dipole():
    slopes = FCHL18().field_gradients([molecule("C2H2"), molecule("C2H4")], [WATER])
    np.testing.assert_allclose(slopes, 0, atol=1e-14)


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_supercells_multiply_the_kernel(parameters):
    atoms = batch()[1]
    other = make_supercell(atoms, [[1, 1, 0], [0, 1, 0], [0, -1, 1]])
    supercell = make_supercell(atoms, [[2, 0, 0], [0, 1, 1], [0, -1, 1]])
    rows = FCHL18(**parameters).atoms([atoms, other, supercell], [WATER])
    n = len(supercell) / len(atoms)
    np.testing.assert_allclose(rows, np.outer([1, 1, n], rows[0]), rtol=1e-12)


# --- assembly ---------------------------------------------------------------------------------


def many_structures():
    """More than one batch for the same elements, and batches of several."""
    rng = np.random.default_rng(0)
    images = [distorted_acetamide() for _ in range(2 + _BATCH // 9)] + batch()
    images += [WATER.copy(), WATER.copy()]
    for image in images:
        image.positions += rng.normal(scale=0.02, size=image.positions.shape)
    return [images[i] for i in rng.permutation(len(images))]


def test_independent_of_threads_and_batches():
    images, kernel = many_structures(), FCHL18(**SOFT)
    assert len(kernel.environments(images).batches) == 5
    probes = images[:2] + batch()

    def blocks():
        return (
            kernel(images), kernel(probes, images), kernel.atoms(probes, images),
            kernel.gradients(probes, images), kernel.strain_gradients(probes, images),
            kernel.field_gradients(images[:1] + [WATER], images),
        )  # fmt: skip

    found, threads = blocks(), numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        for one, other in zip(blocks(), found, strict=True):
            np.testing.assert_array_equal(one, other)
    finally:
        numba.set_num_threads(threads)
    symmetric, rectangular, rows, *_ = found
    np.testing.assert_allclose(symmetric, kernel(images, images), rtol=1e-12)
    np.testing.assert_allclose(symmetric[:2], rectangular[:2], rtol=1e-12)
    alone = np.array([[kernel([a], [b])[0, 0] for b in images[:9]] for a in probes])
    np.testing.assert_allclose(rectangular[:, :9], alone, rtol=1e-12)
    offsets = Structures.from_ase(images).offsets[:-1]
    np.testing.assert_allclose(np.add.reduceat(rows, offsets, axis=1), rectangular, rtol=1e-12)


def test_forces_are_the_negative_gradients_summed_over_atoms():
    structures, kernel = many_structures()[:5], FCHL18(**SOFT)
    prepared = kernel.environments(structures)
    offsets = prepared.structures.offsets[:-1]
    expected = -np.add.reduceat(kernel.gradients(prepared), offsets, axis=1)
    found = covariance(kernel, prepared, rows=("forces",), columns=("energy",))
    np.testing.assert_allclose(found, expected, atol=1e-14 * np.abs(expected).max())


def test_prepared_environments_take_the_place_of_structures():
    images, kernel = [WATER, FORMALDEHYDE], FCHL18(**SOFT)
    prepared = kernel.environments(images)
    wider = clone(kernel).set_params(sigma=5.0)
    for k in (kernel, wider):
        np.testing.assert_array_equal(k(prepared), k(images))
        np.testing.assert_array_equal(k.gradients(prepared), k.gradients(images))
    with pytest.raises(ValueError, match="prepared with other parameters"):
        clone(kernel).set_params(decay2=3.0)(prepared)


def test_isolated_atoms():
    far = Atoms("CH", [[0, 0, 0], [0, 0, 50.0]])
    for alchemy in ("off", "periodic-table"):
        kernel = FCHL18(alchemy=alchemy)
        values = kernel([far, Atoms("C"), WATER])
        assert np.isfinite(values).all() and values[1, 1] == 1.0
        for method in (kernel.gradients, kernel.strain_gradients, kernel.field_gradients):
            assert not method([far, Atoms("C")], [WATER, far]).any()
        assert np.isfinite(kernel.gradients([WATER], [far, WATER])).all()
    # one with neighbours and one without, of the same elements
    mixed = [Atoms("CHC", [[0, 0, 0], [0, 0, 1.1], [0, 30, 0]]), far]
    for method in (FCHL18().gradients, FCHL18(alchemy="off").strain_gradients):
        assert np.isfinite(method(mixed)).all()
    np.testing.assert_allclose(FCHL18()([mixed[1]], mixed), FCHL18()(mixed)[1:], rtol=1e-14)
    # unlike elements have the scalar product 0, alike ones 1: l² = 2 and 0
    off = FCHL18(alchemy="off", sigma=2.0)([Atoms("C")], [Atoms("C"), Atoms("H")])
    np.testing.assert_allclose(off, [[1.0, np.exp(-0.25)]])


# --- charges ----------------------------------------------------------------------------------


def test_charges_are_neutral_and_follow_electronegativity():
    structures = Structures.from_ase([molecule("H2O"), molecule("CH3OH"), molecule("NaCl")])
    charges = equalized_charges(structures)
    np.testing.assert_allclose(np.add.reduceat(charges, structures.offsets[:-1]), 0, atol=1e-14)
    assert charges[0] < -0.3 and charges[1] == pytest.approx(charges[2], rel=1e-12)
    assert charges[-2] > 0.3  # Na


def test_charges_equalise_electronegativities():
    # two atoms: (J_1 + J_2 - 2 J_12) q = χ_2 - χ_1
    hf = Atoms("HF", [[0, 0, 0], [0, 0, 0.92]])
    k, (chi, j) = 14.399645, np.array([(4.528, 10.874), (13.8904, 14.948)])
    j12 = k / np.hypot(0.92, (k / (2 * j)).sum())
    charge = (chi[1] - chi[0]) / (j.sum() - 2 * j12)
    np.testing.assert_allclose(equalized_charges([hf]), [charge, -charge], rtol=1e-12)


# --- scikit-learn -----------------------------------------------------------------------------


def test_serves_precomputed_estimators():
    images = many_structures()[:12]
    energies = np.array([-10.0 * len(image) for image in images])
    kernel = FCHL18(**SOFT)
    matrix = kernel(images)
    model = KernelRidge(kernel="precomputed", alpha=1e-9).fit(matrix, energies)
    np.testing.assert_allclose(model.predict(matrix), energies, rtol=1e-5)
    assert np.isfinite(SVR(kernel="precomputed").fit(matrix, energies).predict(matrix)).all()
    assert KernelPCA(2, kernel="precomputed").fit_transform(matrix).shape == (12, 2)


def test_environments_survive_joblib(tmp_path):
    kernel = FCHL18(sigma=3.0, n_fourier=2)
    joblib.dump((kernel, kernel.environments([WATER])), tmp_path / "kernel.joblib")
    loaded, environments = joblib.load(tmp_path / "kernel.joblib")
    np.testing.assert_array_equal(loaded(environments), kernel([WATER]))


def test_progress_bar(capsys):
    FCHL18(verbose=1)([WATER, FORMALDEHYDE])
    assert "FCHL18" in capsys.readouterr().err


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cut_start": 1.5}, "'cut_start' parameter"),
        ({"alchemy": "quantum"}, "'alchemy' parameter"),
        ({"alchemy": np.ones((3, 4))}, r"alchemy has the shape \(3, 4\)"),
        ({"alchemy": np.eye(9) + np.eye(9, k=1)}, "must be symmetric"),
        ({"alchemy": np.eye(9) - 2 * np.eye(9)[::-1]}, "positive semidefinite"),
        ({"alchemy": np.eye(5)}, "atomic number 8 is beyond the matrix"),
        ({"field": "strong"}, "'field' parameter"),
    ],
    ids=str,
)
def test_bad_parameters_are_errors(parameters, message):
    with pytest.raises(ValueError, match=message):
        FCHL18(**parameters)([WATER])


@pytest.mark.parametrize(
    ("images", "charges", "message"),
    [
        ([batch()[1]], None, "structure 0 is periodic"),
        ([WATER], [0.1, 0.2], "must be 3 finite numbers"),
        ([WATER], [0.1, 0.2, np.nan], "must be 3 finite numbers"),
        ([WATER, Atoms("AuH", [[0, 0, 0], [0, 0, 1.5]])], None, "structure 1 has Au"),
    ],
    ids=["periodic", "few", "nan", "gold"],
)
def test_bad_charges_are_errors(images, charges, message):
    with pytest.raises(ValueError, match=message):
        FCHL18().field_gradients(images, [WATER], charges)


def test_charges_that_are_learnt_cannot_be_given():
    with pytest.raises(ValueError, match='learnt with field="charges"'):
        FCHL18(field="charges").field_gradients([WATER], [WATER], WATER_CHARGES)


def test_charges_of_periodic_structures_are_an_error():
    with pytest.raises(ValueError, match="structure 1 is periodic"):
        equalized_charges([WATER, batch()[1]])


def test_too_large_a_matrix_is_an_error(monkeypatch):
    monkeypatch.setattr("skatom.kernels.fchl18.assembly.check_memory", _refuse)
    for method in ("__call__", "atoms", "gradients", "strain_gradients", "field_gradients"):
        with pytest.raises(MemoryError, match="use fewer structures"):
            getattr(FCHL18(), method)([WATER])


def _refuse(n_bytes, what, remedy):
    raise MemoryError(remedy)


# --- second derivatives, and the global kernel --------------------------------------------------


def moved(structures, coordinate, step):
    positions = structures.positions.copy()
    positions.ravel()[coordinate] += step
    return Structures(
        structures.numbers, positions, structures.offsets, structures.cells, structures.pbc
    )


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_covariances_of_forces_are_slopes_of_those_with_energies(parameters, scope):
    kernel = FCHL18(**{**parameters, "sigma": 2.5 if scope == "local" else 8.0}, scope=scope)
    X, Y = (
        Structures.from_ase(batch()),
        Structures.from_ase([molecule("NH3"), Atoms("LiF", [[0, 0, 0], [0, 1, 1.4]])]),
    )
    both = covariance(kernel, X, Y, rows=("forces",), columns=("energy", "forces"))
    step = 1e-4
    for coordinate in range(0, 3 * len(X.numbers), 2):
        ends = [
            covariance(
                kernel, moved(X, coordinate, k * step), Y, rows=("energy",),
                columns=("energy", "forces"),
            ).sum(axis=0)
            for k in (-2, -1, 1, 2)
        ]  # fmt: skip
        slopes = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step)
        np.testing.assert_allclose(both[coordinate], -slopes, atol=1e-8 * np.abs(both).max())


@pytest.mark.parametrize("parameters", VARIANTS, ids=str)
def test_an_expansion_is_a_product_with_the_covariances(parameters):
    kernel, rng = FCHL18(**parameters), np.random.default_rng(1)
    basis = kernel.environments([*batch(), molecule("NH3")])
    X = [FORMALDEHYDE, batch()[1], Atoms("He")]
    coefficients = rng.normal(size=len(basis))
    directions = rng.normal(size=basis.structures.positions.shape)
    expansion = FCHL18Expansion(
        kernel, basis, np.repeat(coefficients, basis.structures.n_atoms), -directions
    )

    def expected(kind):
        energies = covariance(kernel, X, basis, rows=(kind,), columns=("energy",))
        forces = covariance(kernel, X, basis, rows=(kind,), columns=("forces",))
        return energies @ coefficients + forces @ directions.ravel()

    energy, gradient, virial = expansion.differentiate(X)
    np.testing.assert_allclose(energy, expected("energy"), rtol=1e-12)
    np.testing.assert_allclose(expansion.energies(X), energy, rtol=1e-12)
    scale = 1e-12 * np.abs(gradient).max()
    np.testing.assert_allclose(-gradient.ravel(), expected("forces"), atol=scale)
    strained = Structures.from_ase(X)
    for a, b in ((0, 0), (1, 2)):
        ends = []
        for step in (-2e-4, -1e-4, 1e-4, 2e-4):
            strain = np.eye(3)
            strain[a, b] += step
            ends.append(expansion.energies(Structures(
                strained.numbers, strained.positions @ strain.T, strained.offsets,
                strained.cells @ strain.T, strained.pbc,
            )))  # fmt: skip
        slope = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * 1e-4)
        np.testing.assert_allclose(virial[:, a, b], slope, atol=1e-8 * np.abs(virial).max())


def test_the_global_kernel_is_that_of_the_summed_scalar_products():
    kernel = FCHL18(**SOFT, scope="global", sigma=6.0)
    structures = Structures.from_ase(batch())
    environments = kernel.environments(structures)
    products = np.zeros((len(structures), len(structures)))
    for rows in environments.batches:
        for columns in environments.batches:
            alike = environments.form.overlap(rows.species, columns.species)
            block = 1 + _products(rows, columns, environments.form)
            block *= alike[np.ix_(rows.centers, columns.centers)]
            places = rows.structures[rows.owners][:, None], columns.structures[columns.owners]
            np.add.at(products, places, block)
    squares = np.diag(products)[:, None] + np.diag(products) - 2 * products
    expected = np.exp(-squares / (2 * kernel.sigma**2))
    np.testing.assert_allclose(kernel(structures), expected, atol=1e-12)
    np.testing.assert_allclose(kernel.diagonal(structures), 1.0, atol=1e-14)


def test_the_global_kernel_has_no_kernels_of_atoms():
    kernel = FCHL18(scope="global")
    for method in (kernel.atoms, kernel.gradients, kernel.strain_gradients, kernel.field_gradients):
        with pytest.raises(ValueError, match='use scope="local", or skatom.kernels.covariance'):
            method([WATER])
