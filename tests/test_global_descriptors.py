"""Coulomb matrices and what came after: closed forms, identities and errors.

Derivatives, invariances and files are tested in `test_features_contract`.
"""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from batches import crystal, random_rotation, rattled_methanol
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.descriptors import (
    SOAP,
    BagOfBonds,
    CoulombMatrix,
    DescriptorUnion,
    EwaldMatrix,
    ExtendedCoulombMatrix,
    FeatureScaler,
    GeneralizedCoulombMatrix,
    InverseDistances,
    ManyBodyExpansion,
    ManyBodyTensor,
    PairDistances,
    PairKernelMatrix,
    PartialRadialDistribution,
    SineMatrix,
    TripleAngles,
)
from skatom.descriptors._cpu.pair_bags import bonds, powers
from skatom.descriptors._cpu.spectra import spectra
from skatom.kernels import Gaussian
from skatom.models import ForceKernelRidge

WATER = Atoms("OHH", [[0, 0, 0.119262], [0, 0.763239, -0.477047], [0, -0.763239, -0.477047]])
SALT = bulk("NaCl", "rocksalt", a=5.64)
CAESIUM = Atoms("CsCl", cell=3 * [4.123], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True)


def values(descriptor, *structures):
    return descriptor.fit_transform(list(structures)).values


def matrix(atoms, make=CoulombMatrix, **parameters):
    """The square matrix of one structure."""
    n = len(atoms)
    full = np.zeros((n, n))
    full[np.triu_indices(n)] = values(make("none", **parameters), atoms)[0]
    return full + np.triu(full, 1).T


# --- molecules ----------------------------------------------------------------------------------


def test_coulomb_matrix_of_water():
    c = matrix(WATER)
    expected = [[73.516695, 8.259642, 8.259642], [0, 0.5, 0.655103], [0, 0, 0.5]]
    np.testing.assert_allclose(np.triu(c), expected, atol=1e-6)
    np.testing.assert_allclose(
        values(CoulombMatrix("eigenvalues"), WATER), [[75.355543, -0.683746, -0.155103]], atol=1e-6
    )
    np.testing.assert_allclose(
        np.linalg.norm(c, axis=1), [74.438886, 8.300653, 8.300653], atol=1e-6
    )
    bohr = matrix(WATER, unit="bohr")
    np.testing.assert_allclose(bohr[1:, 2], [0.346665, 0.5], atol=1e-6)
    assert bohr[0, 1] == pytest.approx(4.370814, abs=1e-6)
    np.testing.assert_allclose(
        values(CoulombMatrix("eigenvalues", unit="bohr"), WATER),
        [[74.038719, 0.324641, 0.153335]],
        atol=1e-6,
    )


@pytest.mark.parametrize("unit", ["angstrom", "bohr"])
def test_spectra_are_those_of_the_matrix(unit):
    methanol = rattled_methanol()
    c = matrix(methanol, unit=unit)
    found = values(CoulombMatrix("eigenvalues", unit=unit, max_atoms=9), methanol)[0]
    np.testing.assert_array_equal(found[6:], 0)
    np.testing.assert_allclose(found.sum(), np.trace(c))
    np.testing.assert_allclose((found**2).sum(), (c**2).sum())
    singular = values(CoulombMatrix("singular_values", unit=unit), methanol)[0]
    np.testing.assert_allclose(singular, np.linalg.svd(c)[1])
    np.testing.assert_allclose(singular, np.abs(found[:6]))


def test_sorted_matrices_are_in_the_order_of_their_norms():
    methanol = rattled_methanol()
    c = matrix(methanol)
    order = np.argsort(-np.linalg.norm(c, axis=1))
    found = values(CoulombMatrix(max_atoms=8), methanol)[0]
    padded = np.zeros((8, 8))
    padded[:6, :6] = c[np.ix_(order, order)]
    np.testing.assert_array_equal(found, padded[np.triu_indices(8)])


@pytest.mark.parametrize("permutation", ["sorted", "random", "eigenvalues", "singular_values"])
def test_the_numbering_of_atoms_does_not_matter(permutation):
    methanol, order = rattled_methanol(), np.random.default_rng(0).permutation(6)
    descriptor = CoulombMatrix(permutation, n_realizations=3, random_state=1).fit([methanol])
    first, second = descriptor.transform([methanol, methanol[order]]).values
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-12 * np.abs(first).max())
    np.testing.assert_array_equal(matrix(methanol[order]), matrix(methanol)[np.ix_(order, order)])


def test_random_orders_are_orders_of_noisy_norms():
    methanol = rattled_methanol()
    c = matrix(methanol)
    c = c[np.ix_(*2 * [np.argsort(-np.linalg.norm(c, axis=1))])]
    descriptor = CoulombMatrix("random", n_realizations=20, noise=30.0, random_state=0)
    found = values(descriptor, methanol).reshape(20, -1)
    for row, noise in zip(found, descriptor.noise_, strict=True):
        order = np.argsort(-(np.linalg.norm(c, axis=1) + noise))
        np.testing.assert_array_equal(row, c[np.ix_(order, order)][np.triu_indices(6)])
    assert len(np.unique(found, axis=0)) > 10
    assert descriptor.noise_.std() == pytest.approx(30.0, rel=0.2)
    other = CoulombMatrix("random", n_realizations=20, noise=30.0, random_state=1)
    assert not np.array_equal(values(other, methanol), found.ravel()[None])


def test_bags_are_the_elements_of_the_matrix():
    methanol = rattled_methanol()
    upper = matrix(methanol)[np.triu_indices(6)]
    bags = BagOfBonds()
    np.testing.assert_allclose(np.sort(values(bags, methanol)[0]), np.sort(upper), rtol=1e-14)
    both = values(bags, methanol, molecule("H2O"))
    names = bags.get_feature_names_out()
    np.testing.assert_array_equal(bags.sizes_, [4, 1, 1, 6, 4, 4, 0, 1, 0])
    filled = {name for name, value in zip(names, both[1], strict=True) if value}
    assert filled == {"H[0]", "H[1]", "O[0]", "H-H[0]", "H-O[0]", "H-O[1]"}
    for k in range(2):  # falling within every bag
        ends = np.cumsum(bags.sizes_)
        for a, b in zip(ends - bags.sizes_, ends, strict=True):
            assert (np.diff(both[k, a:b]) <= 0).all()
    np.testing.assert_array_equal(bags.transform([methanol[[5, 3, 1, 0, 2, 4]]]).values, both[:1])


def test_sums_of_inverse_powers_of_water():
    found = values(ManyBodyExpansion(1, 1), WATER)[0]
    np.testing.assert_allclose(found, [0.655103, 2.064910, 0, 0, 2 * 0.698316, 0, 0], atol=1e-6)
    names = ManyBodyExpansion(2, 2).fit([WATER]).get_feature_names_out()
    assert list(names[:4]) == ["H-H:1", "H-H:2", "H-O:1", "H-O:2"]


@pytest.mark.parametrize("bond_factor", [None, 1.2])
def test_sums_over_triples_are_those_of_their_definition(bond_factor):
    methanol = molecule("CH3OH")
    sums = ManyBodyExpansion(2, 2, bond_factor=bond_factor)
    found = dict(
        zip(sums.fit([methanol]).get_feature_names_out(), values(sums, methanol)[0], strict=True)
    )
    d = methanol.get_all_distances()
    radii = {"H": 0.31, "C": 0.76, "O": 0.66}
    symbols = methanol.get_chemical_symbols()
    expected = dict.fromkeys(found, 0.0)
    for i, j, k in np.ndindex(6, 6, 6):
        name = "-".join(symbols[a] for a in (i, j, k))
        if len({i, j, k}) < 3 or f"{name}:1,1,1" not in found:
            continue
        pairs = [(i, j), (i, k), (j, k)]
        bonds = sum(
            bond_factor is None or d[a, b] < bond_factor * (radii[symbols[a]] + radii[symbols[b]])
            for a, b in pairs
        )
        if bonds >= 2:
            for m, n, p in np.ndindex(2, 2, 2):
                term = d[i, j] ** -(m + 1) * d[i, k] ** -(n + 1) * d[j, k] ** -(p + 1)
                expected[f"{name}:{m + 1},{n + 1},{p + 1}"] += term
    for name, value in found.items():
        if name.count("-") == 2:
            assert value == pytest.approx(expected[name], rel=1e-12), name


def test_distances_and_their_powers():
    distances = PairDistances()
    np.testing.assert_allclose(
        values(distances, WATER), [[0.968565, 0.968565, 1.526478]], atol=1e-6
    )
    assert list(distances.get_feature_names_out()) == ["d(H1,O0)", "d(H2,O0)", "d(H2,H1)"]
    inverse = InverseDistances().fit_transform([WATER])
    same = PairDistances(-1.0).fit_transform([WATER])
    np.testing.assert_allclose(same.values, inverse.values, rtol=1e-14)
    np.testing.assert_allclose(same.pullback(np.ones(3))[0], inverse.pullback(np.ones(3))[0])
    assert PairDistances(2.0).fit([WATER]).get_feature_names_out()[0] == "d(H1,O0)^2"


def test_kernels_of_pairs():
    r = values(PairDistances(), WATER)
    np.testing.assert_allclose(values(PairKernelMatrix(sigma=1.5), WATER), np.exp(-(r**2) / 2.25))
    exponential = PairKernelMatrix("exponential", sigma=1.5)
    np.testing.assert_allclose(values(exponential, WATER), np.exp(-r / 1.5))
    np.testing.assert_allclose(
        values(exponential.set_params(gamma=0.5), WATER), np.exp(-np.sqrt(r / 1.5))
    )
    methanol = rattled_methanol()
    below = matrix(methanol)[np.tril_indices(6, -1)]
    np.testing.assert_allclose(values(PairKernelMatrix("power"), methanol)[0], below)
    squared = values(PairKernelMatrix("power", gamma=-2.0), methanol)[0]
    np.testing.assert_allclose(squared, below / values(PairDistances(), methanol)[0])


def test_angles_of_triangles():
    np.testing.assert_allclose(
        np.degrees(values(TripleAngles("angle"), WATER)), [[104, 38, 38]], atol=1e-3
    )
    methanol = rattled_methanol()
    angles = values(TripleAngles("angle"), methanol)
    assert angles.shape == (1, 60)
    np.testing.assert_allclose(angles.reshape(20, 3).sum(axis=1), np.pi)
    np.testing.assert_allclose(values(TripleAngles(), methanol), np.cos(angles), atol=1e-12)
    expected = [
        methanol.get_angle(a, i, b)
        for i, a, b in [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 1, 3), (1, 0, 3), (3, 0, 1)]
    ]
    np.testing.assert_allclose(np.degrees(angles[0, :6]), expected)
    larger = methanol.copy()
    larger.positions *= 1.7
    np.testing.assert_allclose(values(TripleAngles("angle"), larger), angles)


def test_angles_on_a_line():
    straight = Atoms("OCO", [[0, 0, -1.2], [0, 0, 0], [0, 0, 1.2]])
    features = TripleAngles("angle").fit_transform([straight])
    np.testing.assert_allclose(features.values, [[0, np.pi, 0]])
    for derivative in features.pullback(np.ones(3)):
        assert not derivative.any()


def test_generalized_coulomb_matrix_is_that_of_coulomb_with_triples():
    found = values(GeneralizedCoulombMatrix(), WATER)[0]
    np.testing.assert_array_equal(found[:6], values(CoulombMatrix("none"), WATER)[0])
    squares = (values(PairDistances(), WATER) ** 2).sum()
    assert found[6] == pytest.approx(np.exp(-squares / 4), rel=1e-12)
    methanol = rattled_methanol()
    for sigma, limit in [(1e-2, 0.0), (1e6, 1.0)]:
        triples = values(GeneralizedCoulombMatrix(sigma), methanol)[0, 21:]
        np.testing.assert_allclose(triples, np.full(20, limit), atol=1e-9)
    bohr = values(GeneralizedCoulombMatrix(unit="bohr"), WATER)[0]
    assert bohr[1] == pytest.approx(4.370814, abs=1e-6) and bohr[6] == found[6]
    assert values(GeneralizedCoulombMatrix(), molecule("H2")).shape == (1, 3)


# --- crystals -----------------------------------------------------------------------------------


def madelung(atoms, charges, distance, **parameters):
    elements = matrix(atoms, EwaldMatrix, accuracy=1e-14, **parameters)
    numbers = atoms.numbers.astype(float)
    elements *= np.outer(charges, charges) / np.outer(numbers, numbers)
    return -np.triu(elements).sum() * distance


def test_madelung_constants():
    # of NaCl, CsCl and zincblende: the constants of the literature
    distance = 4.123 * np.sqrt(3) / 2
    assert madelung(SALT, [1, -1], 5.64 / 2) == pytest.approx(1.74756459463318, abs=1e-10)
    assert madelung(CAESIUM, [1, -1], distance) == pytest.approx(1.76267477307099, abs=1e-10)
    blende = bulk("ZnS", "zincblende", a=5.41)
    distance = 5.41 * np.sqrt(3) / 4
    assert madelung(blende, [1, -1], distance) == pytest.approx(1.63805505338879, abs=1e-10)
    cubic = Atoms("H", cell=np.eye(3), pbc=True)
    assert matrix(cubic, EwaldMatrix, accuracy=1e-14)[0, 0] == pytest.approx(-1.4186487, abs=1e-7)


@pytest.mark.parametrize("screening", [0.5, 0.7, None])
def test_ewald_matrix_does_not_depend_on_the_screening(screening):
    found = matrix(SALT, EwaldMatrix, screening=screening, accuracy=1e-13)
    np.testing.assert_allclose(
        found, [[-49.18158785, -36.13121444], [-36.13121444, -117.46676768]], atol=1e-7
    )


def test_energies_of_neutral_charges_repeat_in_a_supercell():
    one, charges = SALT, np.array([1, -1])
    two = one * (1, 1, 2)
    assert madelung(two, np.tile(charges, 2), 2.82) == pytest.approx(
        2 * madelung(one, charges, 2.82), abs=1e-10
    )


def test_sine_matrix_of_salts():
    np.testing.assert_allclose(
        matrix(SALT, SineMatrix), [[157.87466743, 19.14264190], [19.14264190, 448.79438598]]
    )
    np.testing.assert_allclose(
        values(SineMatrix("eigenvalues"), SALT), [[450.04857307, 156.62048035]]
    )
    assert matrix(CAESIUM, SineMatrix)[0, 1] == pytest.approx(130.92954201, abs=1e-8)


@pytest.mark.parametrize("make", [SineMatrix, EwaldMatrix, ExtendedCoulombMatrix])
def test_lattice_translations_of_single_atoms_rotations_and_shifts_change_nothing(make):
    atoms = crystal()
    moved, turn = atoms.copy(), -random_rotation(2)
    moved.positions[1] += [2, -1, 3] @ atoms.cell.array
    moved.positions = (moved.positions + [0.3, 8.0, -1.0]) @ turn.T
    moved.cell = atoms.cell.array @ turn.T
    np.testing.assert_allclose(matrix(moved, make), matrix(atoms, make), rtol=1e-7)


def test_extended_matrix_is_a_sum_over_images():
    atoms, (cutoff, length) = crystal(), (4.0, 1.5)
    found = matrix(atoms, ExtendedCoulombMatrix, cutoff=cutoff, screening_length=length)
    numbers = atoms.numbers.astype(float)
    expected = np.diag(0.5 * numbers**2.4)
    for shift in np.ndindex(9, 9, 9):
        images = atoms.positions + (np.array(shift) - 4) @ atoms.cell.array
        r = np.linalg.norm(atoms.positions[:, None] - images, axis=2)
        r[(r < 1e-6) | (r > cutoff)] = np.inf
        taper = 0.5 * (1 + np.cos(np.pi * np.minimum(r, cutoff) / cutoff))
        expected += np.outer(numbers, numbers) * np.exp(-r / length) / r * taper
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# --- kernel ridge -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("descriptor", "start"),
    [
        (ManyBodyExpansion(4, 2), molecule("CH3OH")),
        (CoulombMatrix("none"), molecule("CH3OH")),
        (BagOfBonds(), rattled_methanol()),
        (TripleAngles(), rattled_methanol()),
        (GeneralizedCoulombMatrix(), rattled_methanol()),
        (PairKernelMatrix(), rattled_methanol()),
        (ManyBodyTensor(weighting="smooth_cutoff", cutoff=3.5, grid=(0.1, 0.9, 8)), crystal()),
        (
            DescriptorUnion(
                [
                    ("distances", PartialRadialDistribution(3.0, n_shells=6, sigma=0.2)),
                    ("angles", ManyBodyTensor("cosine", grid=(-1, 1, 6))),
                ]
            ),
            molecule("CH3OH"),
        ),
        (SineMatrix("none"), crystal()),
        (EwaldMatrix("eigenvalues"), crystal()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kernel_ridge_has_forces_and_stress(descriptor, start):
    rng, frames = np.random.default_rng(0), []
    for _ in range(8):
        frames.append(start.copy())
        frames[-1].positions += rng.normal(scale=0.03, size=(len(start), 3))
    periodic = start.pbc.all()
    x, y = Structures.from_ase(frames), Targets(energy=rng.normal(size=8))
    scaler = FeatureScaler(out_of_range="ignore")
    model = make_pipeline(descriptor, scaler, ForceKernelRidge(kernel=Gaussian(5.0)))
    model.fit(x[:7], y[:7])
    _, forces, *stress = model.predict(x[7:], return_forces=True, return_stress=periodic)
    step = 3e-5
    for atom, axis in [(0, 0), (2, 1), (1, 2)]:
        e = []
        for sign in (1, -1):
            moved = frames[7].copy()
            moved.positions[atom, axis] += sign * step
            e.append(model.predict([moved])[0])
        assert forces[atom, axis] == pytest.approx((e[1] - e[0]) / (2 * step), rel=1e-6, abs=1e-5)
    if periodic:
        e = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[0, 0] += sign * step
            moved = frames[7].copy()
            moved.set_cell(moved.cell.array @ strain, scale_atoms=True)
            e.append(model.predict([moved])[0])
        slope = (e[0] - e[1]) / (2 * step) / start.get_volume()
        assert np.asarray(stress[0])[0].ravel()[0] == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "loop"), [(ManyBodyTensor, spectra), (ManyBodyExpansion, powers), (BagOfBonds, bonds)]
)
def test_cotangents_of_any_kind_are_compiled_once(make, loop):
    for molecules in ([WATER], [WATER, WATER]):
        features = make().fit_transform(molecules)
        features.pullback(np.ones(features.n_features))
        features.pullback(np.ones(features.shape))
    assert len(loop.signatures) == 1


# --- side by side -------------------------------------------------------------------------------


def test_descriptors_side_by_side():
    molecules = [molecule("CH3OH"), molecule("H2O")]
    bags, angles = BagOfBonds(), ManyBodyTensor("angle", grid=(0, 180, 5))
    both = DescriptorUnion([("bags", bags), ("angles", angles)], {"angles": 0.5})
    features = both.fit_transform(molecules)
    expected = [values(bags, *molecules), 0.5 * values(angles, *molecules)]
    np.testing.assert_array_equal(features.values, np.concatenate(expected, axis=1))
    names = [f"bags: {name}" for name in bags.get_feature_names_out()]
    names += [f"angles: {name}" for name in angles.get_feature_names_out()]
    assert list(features.feature_names) == names
    assert both.get_params()["angles__function"] == "angle"
    other = clone(both).set_params(angles__sigma=9.0, bags=CoulombMatrix())
    assert other.fit(molecules).descriptors_[1][1].sigma_ == 9.0
    assert isinstance(other.descriptors_[0][1], CoulombMatrix)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [CoulombMatrix, BagOfBonds, ManyBodyExpansion])
def test_crystals_are_not_molecules(make):
    with pytest.raises(
        ValueError, match=f"structure 1 is periodic, but {make.__name__} is for mol"
    ):
        make().fit([WATER, crystal()])
    with pytest.raises(ValueError, match="set pbc=False, or for crystals take SineMatrix"):
        make().fit([WATER]).transform([crystal((True, False, False))])


@pytest.mark.parametrize("make", [SineMatrix, EwaldMatrix, ExtendedCoulombMatrix])
def test_molecules_and_slabs_are_not_crystals(make):
    with pytest.raises(ValueError, match=f"structure 0 has pbc=.*{make.__name__} is for crystals"):
        make().fit([WATER])
    with pytest.raises(ValueError, match=r"pbc=\[True, True, False\].*take CoulombMatrix"):
        make().fit([SALT]).transform([SALT, crystal((True, True, False))])


@pytest.mark.parametrize("permutation", ["sorted", "eigenvalues"])
def test_molecules_larger_than_the_matrix(permutation):
    descriptor = CoulombMatrix(permutation).fit([WATER])
    with pytest.raises(ValueError, match="structure 1 has 6 atoms, .*at most 3: .*max_atoms=6"):
        descriptor.transform([WATER, rattled_methanol()])
    with pytest.raises(ValueError, match="structure 0 has 3 atoms, .*at most 2"):
        CoulombMatrix(permutation, max_atoms=2).fit([WATER])
    with pytest.raises(ValueError, match="structure 0 has 3 atoms, .*at most 2"):
        SineMatrix(permutation).fit([SALT]).transform([crystal()])


def test_bags_larger_than_in_fit_and_unknown_elements():
    bags = BagOfBonds().fit([molecule("CH4"), molecule("CO")])
    with pytest.raises(ValueError, match=r"structure 0 has 15 .* in the bag H-H, .*at most 6"):
        bags.transform([molecule("C2H6")])
    for descriptor in (bags, ManyBodyExpansion().fit([molecule("CH4")])):
        with pytest.raises(ValueError, match="structure 1 contains N, which was not in"):
            descriptor.transform([molecule("CH4"), molecule("NH3")])


@pytest.mark.parametrize("make", [CoulombMatrix, BagOfBonds, ManyBodyExpansion])
def test_coincident_atoms_of_molecules(make):
    double = Atoms("OHH", [[0, 0, 0], [0, 0, 1], [0, 0, 1 + 1e-5]])
    with pytest.raises(ValueError, match="atoms 1 and 2 of structure 1 are at the same place"):
        make().fit([WATER]).transform([WATER, double])


@pytest.mark.parametrize("make", [SineMatrix, EwaldMatrix, ExtendedCoulombMatrix])
def test_coincident_atoms_of_crystals(make):
    double = SALT.copy()
    double.positions[1] = double.cell.array[0] - double.cell.array[2]
    with pytest.raises(ValueError, match="atoms 0 and 1 of structure 1 are at the same place"):
        make().fit([SALT]).transform([SALT, double])


def test_sums_of_too_many_terms():
    with pytest.raises(ValueError, match=r"sum over images of structure 0 has .* terms"):
        ExtendedCoulombMatrix(cutoff=1e3).fit_transform([SALT])
    with pytest.raises(ValueError, match=r"sum over waves of structure 0 has .* terms"):
        EwaldMatrix(screening=30.0).fit_transform([SALT])


def test_parameters():
    for bad in (
        CoulombMatrix("rows"), CoulombMatrix("random", n_realizations=0), CoulombMatrix(unit="nm"),
        CoulombMatrix(max_atoms=0), CoulombMatrix("random", noise=0.0), BagOfBonds("nm"),
        ManyBodyExpansion(-1), ManyBodyExpansion(bond_factor=0.0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="parameter of"):
            bad.fit([WATER])
    with pytest.raises(ValueError, match="leave no features"):
        ManyBodyExpansion(0, 0).fit([WATER])
    with pytest.raises(ValueError, match="power=0 makes no function of distances"):
        PairDistances(0).fit([WATER])
    with pytest.raises(ValueError, match="'accuracy' parameter of EwaldMatrix"):
        EwaldMatrix(accuracy=0.5).fit([SALT])


@pytest.mark.parametrize("make", [CoulombMatrix, BagOfBonds, ManyBodyExpansion])
def test_features_that_do_not_fit_in_memory(make, monkeypatch):
    descriptor = make().fit([WATER])
    monkeypatch.setattr("skatom.memory._SMALL", 0)
    monkeypatch.setattr("skatom.memory.available_memory", lambda: 0)
    with pytest.raises(MemoryError, match=r"the array of 1 x \d+ features needs"):
        descriptor.transform([WATER])


def test_matrices_that_do_not_fit_in_memory(monkeypatch):
    features = CoulombMatrix().fit_transform([WATER])
    monkeypatch.setattr("skatom.memory._SMALL", 0)
    monkeypatch.setattr("skatom.memory.available_memory", lambda: 0)
    with pytest.raises(MemoryError, match="a matrix of 3 x 3 pairs of atoms a thread needs"):
        features.pullback(np.ones(6))


@pytest.mark.parametrize("make", [TripleAngles, GeneralizedCoulombMatrix, PairKernelMatrix])
def test_descriptors_of_one_molecule(make):
    descriptor = make().fit([WATER])
    if make is not PairKernelMatrix:
        with pytest.raises(ValueError, match=f"structure 0 is periodic, but {make.__name__} is"):
            descriptor.fit([crystal()])
        with pytest.raises(ValueError, match="structure 1 is periodic"):
            descriptor.transform([WATER, crystal()])
    with pytest.raises(ValueError, match="atoms HOH, but fit saw OHH|composition and atom order"):
        descriptor.transform([WATER[[1, 0, 2]]])
    with pytest.raises(ValueError, match="structure 1 differs from structure 0 in composition"):
        make().fit([WATER, molecule("CH4")])
    twice = WATER.copy()
    twice.positions[1] = twice.positions[0]
    with pytest.raises(ValueError, match="share a place|same place"):
        descriptor.transform([twice])


def test_parameters_that_make_no_kernel_and_molecules_without_triangles():
    for kernel, gamma, remedy in [
        ("exponential", -1.0, "give a positive number"),
        ("exponential", 0, "give a positive number"),
        ("power", 0.0, "give a number other than 0"),
        ("power", np.nan, "give a number other than 0"),
    ]:
        with pytest.raises(
            ValueError, match=f"gamma={gamma} makes no kernel='{kernel}' .*{remedy}"
        ):
            PairKernelMatrix(kernel, gamma=gamma).fit([WATER])
    for descriptor in (PairKernelMatrix("power", gamma=2000.0), PairDistances(-1e5)):
        with pytest.raises(ValueError, match=r"of distances from 9.7e-01 to 1.5e\+00 Å overflows"):
            descriptor.fit_transform([WATER])
    sharp = PairKernelMatrix("exponential", gamma=1e5, sigma=0.5).fit_transform([WATER])
    assert not sharp.values.any() and not sharp.pullback(np.ones(3))[0].any()
    with pytest.raises(ValueError, match="2 atoms make no triangle: give molecules of 3"):
        TripleAngles().fit([molecule("H2")])


def test_descriptors_that_cannot_be_side_by_side():
    bags = BagOfBonds()
    for parts, weights, error, message in [
        ([], None, ValueError, "describes nothing: give a list of"),
        ([("a", bags), ("a", bags)], None, ValueError, "not unique"),
        ([("a", SOAP())], None, TypeError, "'a' is SOAP, which does not describe whole structures"),
        ([("a", InverseDistances(device="torch"))], None, ValueError, "'a' is on device='torch'"),
        ([("a", bags)], {"b": 1.0}, ValueError, "weights has 'b', .*: the names are a"),
        ([("a", bags)], {"a": 0.0}, ValueError, "the weight 0.0 of 'a' is not a positive number"),
    ]:
        with pytest.raises(error, match=message):
            DescriptorUnion(parts, weights).fit([WATER])
