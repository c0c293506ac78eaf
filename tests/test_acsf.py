import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import molecule
from batches import mixed
from callees import call

from skatom._cpu import elementwise
from skatom.descriptors import ACSF, symmetry_functions

ANGLES = [(0.1, 1, 1), (0.1, 1, -1), (0.1, 4, 1), (0.1, 4, -1)]
ANI = [(0.8, 8, 1.5, 0.4), (0.8, 3.5, 2.5, 2.0), (0.8, 8, 2.5, np.pi)]
EVERYTHING = {
    "cutoff": 4.0, "g1": True, "g2": [(0.5, 0.0), (1.0, 1.5)], "g3": [0.7],
    "g4": [(0.05, 1, -1, 0), (0.05, 2, -1, 0), (0.1, 4, 1, 0.5)],
    "g5": [(0.05, 1, 1, 0), (0.3, 2.5, 0.5, 1.0)], "ani": ANI, "angular_cutoff": 3.7,
}  # fmt: skip
VARIANTS = [
    EVERYTHING,
    {**EVERYTHING, "weighting": "Z", "cutoff_function": "polynomial"},
    {"cutoff": 4.0, "cutoff_function": "tanh3"},
    {"cutoff": 4.0, "cutoff_function": "tanh3-plain"},
]


def water():
    angle = np.radians(104.5)
    other = [0.96 * np.cos(angle), 0.96 * np.sin(angle), 0]
    return Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], other])


@pytest.fixture(scope="module", params=VARIANTS, ids=["all", "weighted", "default", "plain"])
def features(request):
    return ACSF(**request.param).fit_transform(mixed())


# --- the numbers of the formulas --------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (elementwise.COSINE, [0.8535534, 0.5, 0.1464466]),
        (elementwise.TANH3, [0.5800373, 0.2234012, 0.0332579]),
        (elementwise.POLYNOMIAL, [0.9294434, 0.5, 0.0705566]),
    ],
)
def test_cutoff_functions(kind, known):
    values, slopes = np.empty(5), np.empty(5)
    r = np.array([2.5, 5.0, 7.5, 10.0, 11.0])
    call(elementwise.cutoff_values, kind, 10.0, r, values)
    np.testing.assert_allclose(values, [*known, 0, 0], atol=1e-7)
    call(elementwise.cutoff_slopes, kind, 10.0, r, slopes)
    above, below = np.empty(5), np.empty(5)
    call(elementwise.cutoff_values, kind, 10.0, r + 1e-5, above)
    call(elementwise.cutoff_values, kind, 10.0, r - 1e-5, below)
    np.testing.assert_allclose(slopes, (above - below) / 2e-5, atol=1e-6)


def test_exponential_is_exact():
    x = -np.concatenate([[0.0, 1e-20, 707.0], np.random.default_rng(0).uniform(0, 700, 997)])
    out = np.empty(len(x))
    call(elementwise.exponential, x, np.empty(len(x), np.int64), out)
    np.testing.assert_allclose(out, np.exp(x), rtol=3e-16)
    call(elementwise.exponential, x - 1000, np.empty(len(x), np.int64), out)
    assert (out < 1e-307).all()


def test_water_has_the_known_values():
    acsf = ACSF(6.0, g2=[(1, 0), (1, 1)], g4=ANGLES, g5=ANGLES)
    features = acsf.fit_transform([water()])
    table = pd.DataFrame(features.values, columns=acsf.get_feature_names_out())
    oxygen, hydrogen = table.iloc[0], table.iloc[1]
    known = {"g2_H_0": 0.7465485052, "g2_H_1": 1.8733069897, "g2_O_0": 0}
    for kind, values in {
        "g4": [0.3704758547, 0.6179605709, 0.0195071314, 0.1510069161],
        "g5": [0.5487059404, 0.9152516471, 0.0288917044, 0.2236539596],
    }.items():
        known |= {f"{kind}_H_H_{i}": value for i, value in enumerate(values)}
    for name, value in known.items():
        assert oxygen[f"acsf_{name}"] == pytest.approx(value, abs=1e-9)
    known = {"g2_H_0": 0.0848385886, "g2_O_0": 0.3732742526}
    for kind, values in {
        "g4": [0.8849914008, 0.1034450248, 0.6351992530, 1.185747e-4],
        "g5": [1.0344030708, 0.1209094814, 0.7424389178, 1.385935e-4],
    }.items():
        known |= {f"{kind}_H_O_{i}": value for i, value in enumerate(values)}
    for name, value in known.items():
        assert hydrogen[f"acsf_{name}"] == pytest.approx(value, abs=1e-9)


def test_equal_to_dscribe():
    # dscribe 2.1.2: H, C and pairs HH, HC, CC, HN of the first carbon of acetamide
    acsf = ACSF(
        6.0, g1=True, g2=[(0.5, 0), (1, 1.5)], g3=[0.7], g4=[(0.05, 1, -1), (0.02, 4, 1)],
        g5=[(0.1, 2, 1)],
    )  # fmt: skip
    features = acsf.fit_transform([molecule("CH3CONH2")])
    row = dict(zip(acsf.get_feature_names_out(), features.values[4], strict=True))
    known = {
        "g1_H_0": 2.3311032347706213, "g2_H_0": 0.21991061211627755,
        "g2_H_1": 1.0974782535204217, "g3_H_0": -0.315800956505426,
        "g1_C_0": 1.3380959906323528, "g4_H_H_0": 0.1856747986860568,
        "g4_H_H_1": 0.5703341500727217, "g5_H_H_0": 0.3212537662815633,
        "g4_H_C_0": 0.36767952512985325, "g4_H_C_1": 1.8056981535978287,
        "g5_H_C_0": 1.1845395721345628, "g4_C_C_0": 0.03653278574108845,
    }  # fmt: skip
    for name, value in known.items():
        assert row[f"acsf_{name}"] == pytest.approx(value, abs=1e-12)


def test_every_function_equals_its_formula(features):
    acsf = features.descriptor
    atoms = mixed()[0]
    n = len(atoms)
    found = dict(zip(acsf.get_feature_names_out(), features[0].values.T, strict=True))
    kinds = {
        "cosine": lambda x: 0.5 * (np.cos(np.pi * x) + 1),
        "tanh3": lambda x: np.tanh(1 - x) ** 3 / np.tanh(1) ** 3,
        "tanh3-plain": lambda x: np.tanh(1 - x) ** 3,
        "polynomial": lambda x: 1 - 35 * x**4 + 84 * x**5 - 70 * x**6 + 20 * x**7,
    }
    shape = kinds[acsf.cutoff_function]

    def cut(r, cutoff):
        return shape(r / cutoff) if r < cutoff else 0.0

    expected = {name: np.zeros(n) for name in found}
    weighted = acsf.weighting == "Z"
    vectors = atoms.positions[None] - atoms.positions[:, None]
    distances = np.linalg.norm(vectors, axis=2)
    symbols, z = atoms.get_chemical_symbols(), atoms.numbers
    inner = acsf.angular_cutoff or acsf.cutoff
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            r, f = distances[i, j], cut(distances[i, j], acsf.cutoff)
            species, weight = ("", z[j]) if weighted else (f"{symbols[j]}_", 1)
            if acsf.g1:
                expected[f"acsf_g1_{species}0"][i] += weight * f
            for m, (eta, shift) in enumerate(acsf.g2):
                value = weight * f * np.exp(-eta * (r - shift) ** 2)
                expected[f"acsf_g2_{species}{m}"][i] += value
            for m, kappa in enumerate(acsf.g3):
                expected[f"acsf_g3_{species}{m}"][i] += weight * f * np.cos(kappa * r)
            for k in range(j):
                if k == i:
                    continue
                u, v, d = r, distances[i, k], distances[j, k]
                cosine = np.clip(vectors[i, j] @ vectors[i, k] / (u * v), -1, 1)
                weight = z[j] * z[k] if weighted else 1
                a, b = sorted((j, k), key=lambda atom: z[atom])
                pair = "" if weighted else f"{symbols[a]}_{symbols[b]}_"
                w = weight * cut(u, inner) * cut(v, inner)
                for kind in ("g4", "g5"):
                    for m, (eta, zeta, sign, *shift) in enumerate(getattr(acsf, kind)):
                        R = shift[0] if shift else 0.0
                        square, factor = (u - R) ** 2 + (v - R) ** 2, 1.0
                        if kind == "g4":
                            square, factor = square + (d - R) ** 2, cut(d, inner)
                        value = 2 ** (1 - zeta) * (1 + sign * cosine) ** zeta
                        value *= w * factor * np.exp(-eta * square)
                        expected[f"acsf_{kind}_{pair}{m}"][i] += value
                for m, (eta, zeta, R, theta) in enumerate(acsf.ani):
                    value = 2 ** (1 - zeta) * (1 + np.cos(np.arccos(cosine) - theta)) ** zeta
                    value *= w * np.exp(-eta * ((u + v) / 2 - R) ** 2)
                    expected[f"acsf_ani_{pair}{m}"][i] += value
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-11, atol=1e-12, err_msg=name)


def test_equilateral_triangle_and_sum_over_signs():
    side, height = 1.7, 1.7 * np.sqrt(0.75)
    triangle = Atoms("C3", [[0, 0, 0], [side, 0, 0], [side / 2, height, 0]])
    eta, zeta = 0.2, 3
    acsf = ACSF(5.0, g2=[], g4=[(eta, zeta, 1)], g5=[(0, 1, 1), (0, 1, -1)])
    values = acsf.fit_transform([triangle]).values
    f = 0.5 * (1 + np.cos(np.pi * side / 5))
    g4 = 2 ** (1 - zeta) * 1.5**zeta * np.exp(-3 * eta * side**2) * f**3
    np.testing.assert_allclose(values[:, 0], g4)
    np.testing.assert_allclose(values[:, 1] + values[:, 2], 2 * f**2)


# --- derivatives ------------------------------------------------------------------------------


def test_straight_triplets_have_finite_slopes():
    dioxide = molecule("CO2")
    acsf = ACSF(g2=[], g4=ANGLES, ani=[*ANI, (0.8, 8, 1.2, 2.9)])
    features = acsf.fit_transform([dioxide])
    assert np.isfinite(features.values).all()
    assert np.isfinite(features.jacobian(0).values).all()
    gradient, _ = features.pullback(np.ones(features.values.shape[1]))
    axis = dioxide.positions[1] - dioxide.positions[0]
    np.testing.assert_allclose(np.cross(gradient, axis), 0, atol=1e-9)


def test_many_neighbors_take_several_rounds():
    # more triplets than the buffers hold, in blocks that start and end within a round
    rng = np.random.default_rng(0)
    cluster = Atoms(rng.choice([1, 6, 8], 40), rng.uniform(0, 4, (40, 3)))
    acsf = ACSF(8.0, g2=[], g4=(), g5=[(0, 1, 1), (0, 1, -1)]).fit([cluster])
    features = acsf.transform([cluster])
    f = 0.5 * (1 + np.cos(np.pi * cluster.get_all_distances() / 8)) * (1 - np.eye(40))
    counted = 0.5 * (f.sum(axis=1) ** 2 - (f**2).sum(axis=1))
    np.testing.assert_allclose(features.values.sum(axis=1), 2 * counted, rtol=1e-12)


def test_weights_of_equal_species_multiply():
    carbon = Atoms("C4", [[0, 0, 0], [1.4, 0, 0], [0.2, 1.5, 0], [0.3, 0.4, 1.6]])
    plain = ACSF(4.0).fit_transform([carbon]).values
    weighted = ACSF(4.0, weighting="Z").fit_transform([carbon]).values
    np.testing.assert_allclose(weighted[:, :6], 6 * plain[:, :6])
    np.testing.assert_allclose(weighted[:, 6:], 36 * plain[:, 6:])


# --- special structures and bad input ---------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cutoff": 0.0}, "cutoff"),
        ({"cutoff_function": "step"}, "cutoff_function"),
        ({"angular_cutoff": 7.0}, "angular_cutoff=7.0 must not be larger"),
        ({"g2": [(1.0, 2.0, 3.0)]}, r"g2 has the shape \(1, 3\), but needs a row \(eta, shift\)"),
        ({"g2": [(-1.0, 2.0)]}, "g2 contains eta=-1.0: η must not be negative"),
        ({"g2": [(np.nan, 2.0)]}, "g2 contains a eta that is not finite"),
        ({"g4": [(0.1, 0.5, 1)]}, "zeta=0.5: ζ must be at least 1"),
        ({"g5": [(0.1, 1, 1), (0.1, 1, 1, 0.5)]}, "g5 must be a table of numbers"),
        ({"g4": [(0.1, 1)]}, r"of which the last may be left out"),
        ({"g5": [(0.1, 1, 2)]}, "lambda=2.0"),
        ({"ani": [(0.1, 1, 2, 4.0)]}, "theta=4.0"),
        ({"g2": (), "g4": ()}, "there are no functions"),
        ({"weighting": "mass"}, "weighting"),
        ({"pool": "max"}, "pool"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        ACSF(**parameters).fit([molecule("CH4")])


# --- sets of functions ------------------------------------------------------------------------


def test_generated_sets():
    radial = symmetry_functions.shifted(22, 5.0)
    assert radial[0, 1] == 0.5 and radial[-1, 1] == pytest.approx(4.5)
    spacing = radial[1, 1] - radial[0, 1]
    np.testing.assert_allclose(radial[:, 0], 1 / (2 * spacing**2))
    widths = symmetry_functions.centered(5, 5.0)
    np.testing.assert_allclose(1 / np.sqrt(2 * widths[:, 0]), np.linspace(1, 4.5, 5))
    library = symmetry_functions.library(4, 6.0, zetas=(1, 4))
    np.testing.assert_allclose(library["g2"][0], [1 / 36, 0])
    np.testing.assert_allclose(library["g2"][4], [16 / 36, 0])
    centers = 6 / np.sqrt(2) ** np.arange(5)
    np.testing.assert_allclose(library["g2"][5:, 1], centers[1:])
    np.testing.assert_allclose(library["g2"][5:, 0], 1 / (centers[:-1] - centers[1:]) ** 2)
    assert library["g4"].shape == (5 * 2 * 2, 3)
    ani = symmetry_functions.ani()
    np.testing.assert_allclose(ani["g2"][[1, 15], 1], [1.16875, 4.93125])
    np.testing.assert_allclose(ani["ani"][8::8, 2], [1.55, 2.2, 2.85])
    np.testing.assert_allclose(ani["ani"][:2, 3], [0.19634954, 0.58904862])
    for parameters, n in ((library, 9 + 20), (ani, 16 + 32), (symmetry_functions.weighted(), 32)):
        features = ACSF(**parameters).fit_transform([Atoms("C2", [[0, 0, 0], [0, 0, 1.4]])])
        assert features.values.shape == (2, n)
    with pytest.raises(ValueError, match="n=1"):
        symmetry_functions.shifted(1, 5.0)
