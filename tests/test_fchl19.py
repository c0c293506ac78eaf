import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skatom.descriptors import FCHL19

WATER = Atoms("OHH", [[1.464, 0.707, 1.056], [0.878, 1.218, 0.498], [2.319, 1.126, 0.952]])
SMALL = {"cutoff": 4.0, "n_r2": 6, "n_r3": 5}


def distorted_acetamide():
    atoms = molecule("CH3CONH2")
    atoms.positions += 0.05 * np.sin(np.arange(27.0)).reshape(9, 3)
    return atoms


def waves(shape):
    """A cotangent that is written down quickly elsewhere too."""
    return np.cos(np.arange(shape[0])[:, None] + np.arange(shape[1]))


# --- the numbers of the formula ---------------------------------------------------------------


def test_water_has_the_known_features():
    values = FCHL19().fit_transform([WATER]).values
    assert values.shape == (3, 168)
    np.testing.assert_allclose(values[0, :4], [1.16160253, 2.11737093, 1.42984457, 0.77572137])
    np.testing.assert_allclose(values[1, :3], [4.7388043e-4, 8.1296774e-2, 3.0010636e-1])
    np.testing.assert_allclose(values[0, 48:50], [-7.92635571e-3, 3.07374542e-2])
    squares = [8.70641395, 2.50778763, 2.49986664]
    np.testing.assert_allclose((values**2).sum(axis=1), squares, rtol=1e-8)


def test_water_has_the_known_features_for_energies():
    values = FCHL19.for_energies().fit_transform([WATER]).values
    assert values.shape == (3, 146)
    np.testing.assert_allclose(values[0, :2], [1.68560349, 1.91112776])
    squares = [8.26027431, 2.24684172, 2.23659862]
    np.testing.assert_allclose((values**2).sum(axis=1), squares, rtol=1e-8)


def test_first_feature_of_oxygen_has_the_known_gradient():
    features = FCHL19().fit_transform([WATER])
    cotangent = np.zeros(features.values.shape)
    cotangent[0, 0] = 1.0
    gradient, _ = features.pullback(cotangent)
    known = [
        [1.20693828, 4.23137322, -3.01650346],
        [2.67232755, -2.33030611, 2.54463954],
        [-3.87926583, -1.90106712, 0.47186391],
    ]
    np.testing.assert_allclose(gradient, known, atol=1e-8)


def test_five_elements_have_720_features():
    structures = [molecule("CH3SH"), molecule("CH3CONH2")]
    assert FCHL19().fit_transform(structures).values.shape[1] == 720


@pytest.mark.parametrize(
    ("descriptor", "squares", "projection", "first", "fifth", "gradient_squares"),
    [
        (
            FCHL19(), 40.000293113838026, -1.1800505124944913,
            [-1.4157279147456934, -2.1769738549775663, -0.23260669579244003],
            [-1.6872633928294904, -5.5153399554682645, 1.5374692602935016], 190.64044623246372,
        ),
        (
            FCHL19.for_energies(), 28.338579306808114, -5.564860059233768,
            [-0.42607638656514213, 0.3756952310221087, -0.024894166662420024],
            [-1.209674083770244, -4.988173629118961, 1.1828158213879583], 414.22943411284984,
        ),
        (
            FCHL19(cutoff=4.0, cutoff3=3.0, n_r2=10, n_r3=8), 21.698817156422166,
            -3.966600430887972,
            [-0.7079441753865789, -1.3604331568010097, -0.11972560025028917],
            [0.13361732658835998, -0.35149429267507937, 0.09409652683927147], 331.78053661521506,
        ),
    ],
    ids=["forces", "energies", "short"],
)  # fmt: skip
def test_features_and_gradients_equal_those_of_qmllib(
    descriptor, squares, projection, first, fifth, gradient_squares
):
    # qmllib 1.2.0: generate_fchl19(..., elements=[1, 6, 7, 8], gradients=True)
    features = descriptor.fit_transform([distorted_acetamide()])
    cotangent = waves(features.values.shape)
    assert np.sum(features.values**2) == pytest.approx(squares, rel=1e-12)
    assert np.sum(features.values * cotangent) == pytest.approx(projection, rel=1e-10)
    gradient, _ = features.pullback(cotangent)
    np.testing.assert_allclose(gradient[[0, 4]], [first, fifth], rtol=0, atol=1e-11)
    assert np.sum(gradient**2) == pytest.approx(gradient_squares, rel=1e-11)


def test_higher_harmonics_equal_those_of_qmllib():
    values = FCHL19(n_fourier=2, zeta=0.5).fit_transform([distorted_acetamide()]).values
    assert values.shape == (9, 896)
    assert np.sum(values**2) == pytest.approx(18691.38754075657, rel=1e-12)
    assert np.sum(values * waves(values.shape)) == pytest.approx(10.938127766437326, rel=1e-9)


def test_dimer_is_a_log_normal_of_the_distance():
    r, cutoff = 1.7, 5.0
    values = FCHL19(cutoff, n_r2=12).fit_transform([Atoms("CO", [[0, 0, 0], [0, 0, r]])]).values
    shells = cutoff * np.arange(1, 13) / 12
    s = np.log(1 + 0.32 / r**2)
    decay = 0.5 * (1 + np.cos(np.pi * r / cutoff)) / r**1.8
    gaussian = np.exp(-((np.log(shells) - np.log(r) + s / 2) ** 2) / (2 * s))
    expected = decay * gaussian / (shells * np.sqrt(2 * np.pi * s))
    np.testing.assert_allclose(values[0, 12:24], expected, rtol=1e-12)
    np.testing.assert_allclose(values[1, :12], expected, rtol=1e-12)
    assert not values[0, :12].any() and not values[1, 12:24].any() and not values[:, 24:].any()


@pytest.mark.parametrize("eta3", [0.01, 2.7, 37.0])
def test_three_bodies_equal_the_formula(eta3):
    j, k, cutoff = np.array([1.1, 0.3, -0.5]), np.array([-0.4, 7.0, 0.9]), 8.0
    atoms = Atoms("HCO", [[0, 0, 0], j, k])
    values = FCHL19(cutoff, eta3=eta3, n_r3=7).fit_transform([atoms]).values
    a, b, c = np.linalg.norm(j), np.linalg.norm(k), np.linalg.norm(j - k)
    angles = [j @ k / (a * b), j @ (j - k) / (a * c), k @ (k - j) / (b * c)]
    xi = 13.4 * np.sqrt(eta3 / np.pi) * (1 + 3 * np.prod(angles)) / (a * b * c) ** 0.57
    decay = 0.25 * (1 + np.cos(np.pi * a / cutoff)) * (1 + np.cos(np.pi * b / cutoff))
    shells = cutoff * np.arange(1, 8) / 7
    radial = xi * decay * np.exp(-eta3 * (0.5 * (a + b) - shells) ** 2)
    angle = np.arccos(angles[0])
    harmonics = 2 * np.exp(-(np.pi**2) / 2) * np.array([np.cos(angle), np.sin(angle)])
    expected = np.outer(radial, harmonics).ravel()
    block = values[0, 72 + 4 * 14 : 72 + 5 * 14]
    np.testing.assert_allclose(block, expected, rtol=1e-10, atol=1e-30)
    others = np.delete(values[0, 72:], np.arange(4 * 14, 5 * 14))
    assert not others.any()


# --- derivatives ------------------------------------------------------------------------------


def test_jacobian_equals_central_differences_of_every_feature():
    features = FCHL19().fit_transform([WATER])
    jacobian = features.jacobian(0)
    pairs, step = jacobian.pairs, 1e-4
    full = np.zeros((*features.values.shape, 3, 3))
    for (i, j), of_pair in zip(
        zip(pairs.centers, pairs.indices, strict=True), jacobian.values, strict=True
    ):
        full[i, :, j] += of_pair.T
        full[i, :, i] -= of_pair.T
    for atom in range(3):
        for axis in range(3):
            moved = [WATER.copy() for _ in range(4)]
            for k, copy in zip((-2, -1, 1, 2), moved, strict=True):
                copy.positions[atom, axis] += k * step
            low, lower, higher, high = (part.values for part in FCHL19().fit_transform(moved))
            slope = (8 * (higher - lower) - (high - low)) / (12 * step)
            np.testing.assert_allclose(full[:, :, atom, axis], slope, atol=1e-8)


def test_derivative_of_the_sine_is_zero_in_linear_molecules():
    features = FCHL19().fit_transform([molecule("CO2"), molecule("C2H2")])
    assert np.isfinite(features.values).all()
    gradient, virial = features.pullback(waves(features.values.shape))
    assert np.isfinite(gradient).all() and np.isfinite(virial).all()
    np.testing.assert_allclose(gradient[:, :2], 0, atol=1e-12)
    bent = molecule("CO2")
    bent.positions[0, 0] += 1e-9  # the other side of the cusp has no derivative either
    near, _ = FCHL19().fit(features.structures).transform([bent]).pullback(np.ones(312))
    assert np.isfinite(near).all()


def test_smooth_at_the_cutoff():
    distances = np.array([1e-1, 1e-2, 1e-3, 1e-6, 0.0, -1e-3])
    dimers = [Atoms("CO", [[0, 0, 0], [0, 0, 4 - d]]) for d in distances]
    triplets = [Atoms("COH", [[0, 0, 0], [0, 4 - d, 0], [0, 0.5, 0.9]]) for d in distances]
    descriptor = FCHL19(**SMALL).fit(triplets)
    assert descriptor.transform(dimers).pool("sum").values[4:].max() == 0.0
    features = descriptor.transform(triplets)
    carbon = features.values[::3]
    change = np.abs(carbon - carbon[-1]).max(axis=1)
    assert (change[:4] < 2 * distances[:4] ** 2).all() and change[4] == 0.0
    cotangent = np.zeros(features.values.shape)
    cotangent[::3] = 1.0
    slope = np.abs(features.pullback(cotangent)[0][1::3]).max(axis=1)
    assert (slope[:4] < 20 * distances[:4]).all() and not slope[4:].any()


# --- invariances ------------------------------------------------------------------------------


def test_mixed_periodicity_equals_a_repeated_strip():
    wire = Atoms("CO", [[0, 0, 0], [0.4, 1.1, 0.3]], cell=[9, 9, 2.3], pbc=(False, False, True))
    strip = (wire * (1, 1, 9)).copy()
    strip.pbc = False
    features = FCHL19(**SMALL).fit_transform([wire, strip])
    np.testing.assert_allclose(features[0].values, features[1].values[8:10], atol=1e-12)


# --- special structures and bad input ---------------------------------------------------------


def test_close_atoms_are_finite():
    features = FCHL19().fit_transform([Atoms("HHO", [[0, 0, 0], [0, 0, 1e-3], [0, 1, 0]])])
    assert np.isfinite(features.values).all()
    assert np.isfinite(features.pullback(np.ones(features.values.shape[1]))[0]).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cutoff": 0.0}, "cutoff"),
        ({"cutoff": -1.0}, "cutoff"),
        ({"n_r2": 0}, "n_r2"),
        ({"n_r3": 2.5}, "n_r3"),
        ({"eta2": 0.0}, "eta2"),
        ({"eta3": -2.7}, "eta3"),
        ({"eta3": 38.0}, "eta3=38.0 must not be larger than 2400 / cutoff3² = 37.5"),
        ({"decay2": -1.0}, "decay2"),
        ({"decay3": "two"}, "decay3"),
        ({"weight3": -13.4}, "weight3"),
        ({"zeta": -1.0}, "zeta"),
        ({"n_fourier": 0}, "n_fourier"),
        ({"cutoff3": 9.0}, "cutoff3=9.0 must not be larger than cutoff=8.0"),
        ({"cutoff3": 0.0}, "cutoff3"),
        ({"pool": "max"}, "pool"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        FCHL19(**parameters).fit([molecule("CH4")])


def test_features_larger_than_memory_are_refused_with_advice():
    descriptor = FCHL19(n_r3=10**7).fit([molecule("CH3CONH2")])
    with pytest.raises(MemoryError, match="reduce n_r2, n_r3 or n_fourier"):
        descriptor.transform([molecule("CH3CONH2")] * 300)


# --- scikit-learn -----------------------------------------------------------------------------


def test_feature_names_match_the_features():
    descriptor = FCHL19(n_r2=2, n_r3=2, n_fourier=2).fit([molecule("CO")])
    names = descriptor.get_feature_names_out()
    assert len(set(names)) == len(names) == descriptor.transform([molecule("CO")]).values.shape[1]
    assert list(names[:4]) == ["fchl19_C_r0", "fchl19_C_r1", "fchl19_O_r0", "fchl19_O_r1"]
    assert list(names[4:9]) == [
        "fchl19_C_C_r0_cos1", "fchl19_C_C_r0_sin1", "fchl19_C_C_r0_cos3", "fchl19_C_C_r0_sin3",
        "fchl19_C_C_r1_cos1",
    ]  # fmt: skip


def test_presets_are_plain_parameters():
    energies = FCHL19.for_energies(n_r2=10)
    assert energies.n_r2 == 10 and energies.n_r3 == 17 and energies.eta3 == 0.97
    assert clone(energies).get_params() == energies.get_params()
    assert FCHL19.for_energies().get_params() != FCHL19().get_params()


def test_grid_search_over_a_pipeline():
    names = ("CH4", "C2H6", "CO", "CH3OH", "H2O", "CO2", "C2H2", "C2H4")
    structures = [molecule(name) for name in names]
    model = make_pipeline(FCHL19(**SMALL, pool="sum"), Ridge(1e-6))
    search = GridSearchCV(model, {"fchl19__eta3": [1.0, 2.7]}, cv=2, error_score="raise")
    search.fit(structures, np.arange(8.0))
    assert search.score(structures, np.arange(8.0)) > 0.9
