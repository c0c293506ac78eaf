import re
from fractions import Fraction
from itertools import product
from math import factorial, pi, sqrt

import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from batches import CELL, crystal
from scipy.integrate import quad
from scipy.special import eval_legendre, genlaguerre, lpmv, spherical_jn
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skatom.descriptors import PointScattering
from skatom.descriptors.scattering.charges import channel_table
from skatom.descriptors.scattering.point_wavelets import radial_coefficients

SMALL = {"beta": 0.5, "scales": (0, 1)}


def rattled_molecule():
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=4)
    return atoms


def batch():
    return [rattled_molecule(), crystal(), crystal((True, True, False)), Atoms("C")]


def q_function(n, l, j, beta, r):
    """2^-3j Q_nl(2^-j r)."""
    k, x = n - l - 1, np.asarray(r) / 2**j
    factor = 2**k * factorial(k) / ((2 * pi) ** 1.5 * beta ** (2 * n + 1))
    factor *= sqrt(4 * pi / (2 * l + 1)) * 8.0**-j
    t = x**2 / (2 * beta**2)
    return factor * x**l * genlaguerre(k, l + 0.5)(t) * np.exp(-t)


def harmonic(l, m, theta, phi):
    """Y_lm, but for its sign; scipy's function has one name before 1.15 and another after 1.16."""
    k = abs(m)
    norm = sqrt((2 * l + 1) / (4 * pi) * factorial(l - k) / factorial(l + k))
    return norm * lpmv(k, l, np.cos(theta)) * np.exp(1j * m * phi)


def direct_modulus(atoms, charges, n, l, j, beta):
    """√(Σ_m |Σ_k c_k ψ^m(R_i - R_k)|²) with complex harmonics, summed over images."""
    repeats = [range(-4, 5) if periodic else (0,) for periodic in atoms.pbc]
    shifts = np.array(list(product(*repeats))) @ atoms.cell.array
    vectors = atoms.positions[:, None, None] - atoms.positions[:, None] - shifts
    r = np.linalg.norm(vectors, axis=-1)
    fall = np.clip(r / (2**j * beta) - 6, 0, 0.25) / 0.25  # over which wavelets end
    theta = np.arccos(np.clip(vectors[..., 2] / np.where(r > 0, r, 1), -1, 1))
    phi = np.arctan2(vectors[..., 1], vectors[..., 0])
    radial = q_function(n, l, j, beta, r) * np.cos(0.5 * pi * fall) ** 2
    squares = 0
    for m in range(-l, l + 1):
        psi = radial * harmonic(l, m, theta, phi)
        squares = squares + np.abs(np.einsum("iks,k->i", psi, charges)) ** 2
    return np.sqrt(squares)


def parsed(name):
    """Order, channel, wavelets (n, l, j) and power of a feature's name."""
    order, channel, middle, power = re.fullmatch(r"S(\d)\[(\w+);(.*)q([\d./]+)\]", name).groups()
    wavelets = re.findall(r"n(\d+)l(\d+)j(-?[\d.]+)", middle)
    return (
        int(order),
        channel,
        [(int(n), int(l), float(j)) for n, l, j in wavelets],
        Fraction(power),
    )


# --- the formula --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [{}, {"orbitals": [(1, 0), (3, 0), (3, 2)], "scales": (0, 0.5), "scale_gap": -0.5}],
    ids=str,
)
@pytest.mark.parametrize("atoms", [rattled_molecule(), crystal(), crystal((1, 0, 1))], ids=str)
def test_features_are_what_their_names_say(atoms, parameters):
    parameters = {**SMALL, "channels": ["total", "C"], **parameters}
    features = PointScattering(**parameters).fit_transform([atoms])
    names = features.descriptor.get_feature_names_out()
    assert len(names) == features.values.shape[1] == len(set(names))
    channels, table = channel_table(["total", "C"], features.species)
    index = np.searchsorted(features.species, atoms.numbers)
    moduli = {}
    for name, values in zip(names, features.values.T, strict=True):
        order, channel, wavelets, power = parsed(name)
        assert len(wavelets) == order
        field = table[channels.index(channel), index]
        for depth, (n, l, j) in enumerate(wavelets):
            key = (channel, *wavelets[: depth + 1])
            if key not in moduli:
                moduli[key] = direct_modulus(atoms, field, n, l, j, 0.5)
            field = moduli[key]
        np.testing.assert_allclose(values, field ** float(power), rtol=1e-9, atol=1e-12)


def test_square_of_the_modulus_is_a_sum_over_angles():
    atoms = rattled_molecule()
    scattering = PointScattering(
        (1, 2, 3, 4), (0, 1), 1, exponents=(2,), channels="total", beta=0.7
    ).fit([atoms])
    values = scattering.transform([atoms]).values
    vectors = atoms.positions - atoms.positions[:, None]
    r = np.linalg.norm(vectors, axis=-1)
    units = vectors / (r + np.eye(len(r)))[..., None]
    cosines = np.einsum("ika,ila->ikl", units, units)
    for name, column in zip(scattering.get_feature_names_out(), values.T, strict=True):
        order, _, wavelets, _ = parsed(name)
        if order == 1:
            ((n, l, j),) = wavelets
            weights = atoms.numbers * q_function(n, l, j, 0.7, r)
            angular = eval_legendre(l, cosines)
            # the centre itself has no direction, and Q(0) = 0 for l > 0
            angular = np.where(l == 0, 1.0, angular)
            squares = np.einsum("ik,il,ikl->i", weights, weights, angular) * (2 * l + 1) / (4 * pi)
            np.testing.assert_allclose(column, squares, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("distance", [0.7, 1.9])
def test_two_atoms_have_the_closed_form(distance):
    atoms = Atoms("CO", [[0, 0, 0], [0, 0.6 * distance, 0.8 * distance]])
    scattering = PointScattering(beta=0.5, scales=(0,), exponents=(1,), channels=["total"])
    values = scattering.fit_transform([atoms]).values
    same, other = q_function(3, 0, 0, 0.5, 0), q_function(3, 0, 0, 0.5, distance)
    u0 = np.abs([6 * same + 8 * other, 8 * same + 6 * other]) / sqrt(4 * pi)
    u2 = np.array([8.0, 6.0]) * abs(q_function(3, 2, 0, 0.5, distance)) * sqrt(5 / (4 * pi))
    names = list(scattering.get_feature_names_out())
    np.testing.assert_allclose(values[:, names.index("S1[total;n3l0j0;q1]")], u0, rtol=1e-12)
    np.testing.assert_allclose(values[:, names.index("S1[total;n3l2j0;q1]")], u2, rtol=1e-12)
    again = u2[::-1] * abs(q_function(3, 1, 0, 0.5, distance)) * sqrt(3 / (4 * pi))
    column = names.index("S2[total;n3l2j0;n3l1j0;q1]")
    np.testing.assert_allclose(values[:, column], again, rtol=1e-12)


@pytest.mark.parametrize(("n", "l"), [(n, l) for n in range(1, 5) for l in range(n)])
def test_wavelets_have_the_closed_form_in_fourier_space(n, l):
    beta, frequency = 0.6, 2.1
    polynomial = np.polynomial.Polynomial(radial_coefficients(n, l, beta))

    def integrand(r):
        t = r**2 / (2 * beta**2)
        return 4 * pi * r ** (l + 2) * polynomial(t) * np.exp(-t) * spherical_jn(l, frequency * r)

    expected = sqrt(4 * pi / (2 * l + 1)) * frequency ** (2 * (n - 1) - l)
    expected *= np.exp(-0.5 * (beta * frequency) ** 2)
    assert quad(integrand, 0, 12 * beta, epsabs=1e-13)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("l", "q", "golden"),
    [(2, 1, 116.6666667), (2, 4 / 3, 190.1225779), (2, 5 / 3, 328.8766447), (2, 2, 589.4049656),
     (0, 1, 756.50318)],
)  # fmt: skip
def test_wavelets_have_the_golden_integrals(l, q, golden):
    polynomial = np.polynomial.Polynomial(radial_coefficients(3, l, 0.6))

    def integrand(r):
        t = r**2 / 0.72
        u = abs(r**l * polynomial(t) * np.exp(-t)) * sqrt((2 * l + 1) / (4 * pi))
        return 4 * pi * r**2 * (14 * u) ** q

    assert quad(integrand, 0, 9, limit=500, epsabs=1e-9)[0] == pytest.approx(golden, rel=1e-8)


def test_atom_alone_keeps_only_the_value_at_the_origin():
    features = PointScattering(beta=0.5, exponents=(1,), order=1).fit_transform([Atoms("Si")])
    for name, value in zip(
        features.descriptor.get_feature_names_out(), features.values[0], strict=True
    ):
        order, channel, wavelets, _ = parsed(name)
        if order == 1 and channel == "Si":
            n, l, j = wavelets[0]
            at_zero = 14 * q_function(n, 0, j, 0.5, 0) / sqrt(4 * pi)
            assert value == pytest.approx(at_zero if l == 0 else 0, rel=1e-12)
    without = PointScattering(beta=0.5, exponents=(1,), self_term=False).fit_transform(
        [Atoms("Si")]
    )
    names = without.descriptor.get_feature_names_out()
    assert not without.values[:, [name[:2] != "S0" for name in names]].any()


def test_homogeneous_in_the_charges():
    double = {"double": {"C": 12, "H": 2, "O": 16}}
    one = PointScattering(**SMALL, channels=["total"]).fit_transform(batch())
    two = PointScattering(**SMALL, channels=double).fit_transform(batch())
    powers = [float(parsed(name)[3]) for name in one.descriptor.get_feature_names_out()]
    np.testing.assert_allclose(two.values, one.values * 2.0 ** np.array(powers), rtol=1e-12)


def test_covariant_under_a_change_of_the_unit_of_length():
    small, large = crystal(), crystal()
    large.set_cell(1.7 * CELL, scale_atoms=True)
    one = PointScattering(**SMALL).fit_transform([small])
    two = PointScattering(**{**SMALL, "beta": 0.85}).fit_transform([large])
    for name, a, b in zip(
        one.descriptor.get_feature_names_out(), one.values.T, two.values.T, strict=True
    ):
        _, _, wavelets, power = parsed(name)
        degree = sum(2 * (n - 1) - l + 3 for n, l, _ in wavelets)
        np.testing.assert_allclose(b, a * 1.7 ** -float(power * degree), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("parameters", "n"),
    [({"order": 1}, 320), ({}, 3020), ({"scale_gap": -1}, 3740),
     ({"orbitals": range(1, 6), "scales": np.arange(6) / 2, "order": 1}, 1820)],
)  # fmt: skip
def test_number_of_features_of_the_source(parameters, n):
    scattering = PointScattering(**{"scales": range(5), "beta": 0.5, **parameters})
    scattering.fit([Atoms("LiSi", [[0, 0, 0], [0, 0, 2]])])
    assert len(scattering.get_feature_names_out()) == n
    assert scattering.channels_ == ["Li", "Si", "valence", "core", "kinetic"]
    expected = [[3, 0], [0, 14], [1, 4], [2, 10], [sqrt(3), sqrt(14)]]
    np.testing.assert_allclose(scattering.charges_, expected)


def test_width_from_the_smallest_distance():
    atoms = Atoms("Si", cell=[9, 9, 2.3], pbc=True)
    assert PointScattering().fit([atoms]).beta_ == pytest.approx(0.536, abs=5e-4)
    half = PointScattering(overlap=0.5).fit([Atoms("He"), Atoms("Si2", [[0, 0, 0], [0, 5, 0]])])
    assert np.exp(-(2.5**2) / (2 * half.beta_**2)) == pytest.approx(0.5)


# --- invariances --------------------------------------------------------------------------------


def test_molecules_out_of_reach_do_not_see_each_other():
    one, other = rattled_molecule(), molecule("CO")
    other.positions += 20
    scattering = PointScattering(**SMALL).fit([one])
    values = scattering.transform([one + other]).values
    apart = [scattering.transform([atoms]).values for atoms in (one, other)]
    np.testing.assert_allclose(values, np.vstack(apart), rtol=1e-12, atol=1e-14)


def test_smooth_at_the_cutoff():
    scattering = PointScattering(beta=0.5, scales=(0, 2), cutoff=3.0, exponents=(1,))
    pair = [Atoms("CO", [[0, 0, 0], [0, 0, d]]) for d in (2.999, 3.001)]
    inside, outside = scattering.fit_transform(pair)
    scale = np.abs(outside.values).max(axis=0)
    assert np.abs(inside.values - outside.values).max() < 1e-5 * scale.max()


def test_smooth_where_wavelets_end():
    """Neighbours of a lattice at just that distance do not come and go by rounding."""
    scattering = PointScattering(beta=0.5, scales=(0, 1), exponents=(1, 2)).fit([molecule("CO")])
    for end in (scattering.cutoff_ / 2, scattering.cutoff_):
        pair = [Atoms("CO", [[0, 0, 0], [0, 0, d]]) for d in end * np.array([1 - 1e-14, 1 + 1e-14])]
        inside, outside = scattering.transform(pair[:1]), scattering.transform(pair[1:])
        np.testing.assert_allclose(inside.values, outside.values, rtol=1e-12, atol=1e-15)


# --- derivatives --------------------------------------------------------------------------------


def test_forces_vanish_where_symmetry_demands_it():
    # by inversion the fields of l = 1 are 0 up to rounding, where a modulus has no slope
    atoms = bulk("Al", "fcc", a=4.05, cubic=True)
    atoms.positions += 0.3
    features = PointScattering(beta=0.7, scales=(0, 1)).fit_transform([atoms])
    names = features.descriptor.get_feature_names_out()
    odd = [i for i, name in enumerate(names) if name.startswith("S1[Al;n3l1") and "q1]" in name]
    assert np.abs(features.values[:, odd]).max() < 1e-9
    gradient, virial = features.pullback(1 / np.maximum(np.abs(features.values[0]), 1e-6))
    assert np.abs(gradient).max() < 1e-9 * np.abs(virial).max()
    # and the strain is isotropic
    np.testing.assert_allclose(virial[0], np.eye(3) * virial[0, 0, 0], atol=1e-9 * virial.max())


# --- as an estimator ----------------------------------------------------------------------------


def test_grid_search_in_a_pipeline(tmp_path):
    structures = [molecule(name) for name in ("CH4", "C2H6", "CO", "CH3OH", "H2O", "CO2")]
    scattering = PointScattering(scales=(0, 1), pool="sum", exponents=(1, 2))
    assert clone(scattering).get_params() == scattering.get_params()
    model = make_pipeline(scattering, Ridge(1e-6))
    search = GridSearchCV(model, {"pointscattering__order": [1, 2]}, cv=2)
    energies = np.array([len(atoms) for atoms in structures], float)
    search.fit(structures, energies)
    assert search.score(structures, energies) > 0.99
    joblib.dump(search.best_estimator_, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(again.predict(structures), search.predict(structures))


def test_energy_of_a_linear_model_is_the_line_integral_of_its_forces():
    first, last = rattled_molecule(), rattled_molecule()
    last.rattle(0.02, seed=5)
    scattering = PointScattering(**SMALL, orbitals=[(3, 1), (3, 2)]).fit([first])
    weights = np.random.default_rng(0).normal(size=scattering.n_features_out_)
    weights /= 1 + np.abs(scattering.transform([first]).values).max(axis=0)
    nodes, node_weights = np.polynomial.legendre.leggauss(40)
    path = []
    for x in np.concatenate([[0, 1], (nodes + 1) / 2]):
        path.append(first.copy())
        path[-1].positions += x * (last.positions - first.positions)
    features = scattering.transform(path)
    energies = features.pool("sum") @ weights
    gradient = features[2:].pullback(weights)[0].reshape(-1, len(first), 3)
    work = np.einsum("tax,ax,t->", gradient, last.positions - first.positions, node_weights / 2)
    assert work == pytest.approx(energies[1] - energies[0], rel=1e-6)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"orbitals": (0, 1)}, "each must be an n >= 1"),
        ({"orbitals": [(2, 2)]}, "0 <= l < n"),
        ({"scales": ()}, "multiples of 1/2, at least one"),
        ({"scales": (0.3,)}, "multiples of 1/2"),
        ({"scales": (0, 0)}, "twice"),
        ({"exponents": (1, 0)}, "exponents=.* must be positive"),
        ({"exponents": ()}, "exponents=.* must be positive"),
        ({"cutoff": 1.0, "cutoff_width": 1.0}, "cutoff_width=1.0 must be smaller"),
        ({"channels": ["spin"]}, "'spin' is none of"),
        ({"channels": [lambda z: z - 6.5]}, "gives H the charge -5.5"),
        ({"order": 3}, "'order' parameter"),
        ({"beta": 0.0}, "'beta' parameter"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        PointScattering(**{**SMALL, **parameters}).fit(batch())


def test_automatic_width_needs_a_distance():
    with pytest.raises(ValueError, match="give beta in Å"):
        PointScattering().fit([Atoms("C"), Atoms("H")])
