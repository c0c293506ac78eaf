"""Many-body tensors and radial distributions: sums by definition, closed forms and errors.

Derivatives, invariances and files are tested in `test_features_contract`.
"""

from itertools import combinations, product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from batches import crystal, rattled_methanol
from scipy.special import ndtr

from skatom.descriptors import (
    ManyBodyTensor,
    PartialRadialDistribution,
    ValleOganovFingerprint,
)

SALT = bulk("NaCl", "rocksalt", a=5.64)
GRIDS = {
    "distance": (0.5, 3.5, 13),
    "inverse_distance": (0.0, 1.2, 11),
    "angle": (0, 180, 10),
    "cosine": (-1, 1, 9),
}
WEIGHTINGS = {
    "unity": {"cutoff": 3.4},
    "exp": {"cutoff": 3.4},
    "exp, decay": {"weighting": "exp", "cutoff": 3.4, "decay": 0.3},
    "inverse_square": {"cutoff": 3.4},
    "smooth_cutoff": {"cutoff": 3.4, "sharpness": 3.0},
}


def values(descriptor, *structures):
    return descriptor.fit_transform(list(structures)).values


def images(atoms):
    """Symbols and positions of the atoms of the cell, and of those within five cells of it."""
    shifts = np.arange(-5, 6) if atoms.pbc.all() else np.zeros(1)
    cells = [(0, 0, 0), *(c for c in product(shifts, repeat=3) if any(c))]
    positions = [atoms.positions + c @ atoms.cell.array for c in np.array(cells)]
    return atoms.get_chemical_symbols() * len(cells), np.concatenate(positions)


def weight_of(weighting, triples, r, t, u, cutoff, decay=None, sharpness=2.0):
    y, distances = sharpness, [r, t] if triples else [r]
    perimeter = r + t + u if triples else r
    if weighting == "exp":
        most = 2 * cutoff if triples else cutoff
        decay = np.log(1000) / most if decay is None else decay
        return np.exp(-decay * perimeter) if perimeter < most else 0.0
    functions = {
        "unity": lambda x: 1.0,
        "inverse_square": lambda x: x**-2,
        "smooth_cutoff": lambda x: 1 + y * (x / cutoff) ** (y + 1) - (y + 1) * (x / cutoff) ** y,
    }
    return np.prod([functions[weighting](x) for x in distances])


def by_definition(atoms, function, grid, sigma, weighting="unity", **weights):
    """The spectra of the elements of one structure, {name: (n,)}."""
    symbols, places = images(atoms)
    cutoff, found = weights["cutoff"], {}

    def add(name, value, weight):
        points, spacing = np.linspace(*grid, retstep=True)
        high, low = ((points + s * spacing / 2 - value) / sigma for s in (1, -1))
        found[name] = found.get(name, 0) + weight * (ndtr(high) - ndtr(low)) / spacing

    for i in range(len(atoms)):
        distances = np.linalg.norm(places - places[i], axis=1)
        near = np.flatnonzero((distances < cutoff) & (distances > 0))
        for j in near if function in ("distance", "inverse_distance") else ():
            r = distances[j]
            names = sorted([i, j], key=lambda a: atoms.numbers[a % len(atoms)])
            name = "-".join(symbols[a] for a in names)
            weight = 0.5 * weight_of(weighting, False, r, 0, 0, **weights)
            add(name, r if function == "distance" else 1 / r, weight)
        for j, k in combinations(near, 2) if function in ("angle", "cosine") else ():
            r, t = distances[[j, k]]
            dot, cross = (f(*(places[[j, k]] - places[i])) for f in (np.dot, np.cross))
            ends = sorted([j, k], key=lambda a: atoms.numbers[a % len(atoms)])
            name = f"{symbols[ends[0]]}-{symbols[i]}-{symbols[ends[1]]}"
            u = np.linalg.norm(places[j] - places[k])
            angle = np.degrees(np.arctan2(np.linalg.norm(cross), dot))
            value = angle if function == "angle" else dot / (r * t)
            add(name, value, weight_of(weighting, True, r, t, u, **weights))
    return found


def spectra(descriptor, atoms):
    """The features of one structure, {elements: (n,)}."""
    features = descriptor.fit_transform([atoms])
    names = [name.split(":")[0] for name in features.feature_names]
    return {name: features.values[0][np.array(names) == name] for name in dict.fromkeys(names)}


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("function", GRIDS)
@pytest.mark.parametrize("atoms", [rattled_methanol(), crystal()], ids=["molecule", "crystal"])
def test_sums_are_those_of_their_definition(atoms, function, weighting):
    given = {"weighting": weighting, **WEIGHTINGS[weighting]}
    grid = GRIDS[function]
    sigma = 0.7 * (grid[1] - grid[0]) / (grid[2] - 1)
    found = spectra(ManyBodyTensor(function, grid=grid, sigma=sigma, **given), atoms)
    expected = by_definition(atoms, function, grid, sigma, **given)
    assert set(expected) <= set(found)
    size = max(np.abs(spectrum).max() for spectrum in expected.values())
    for name, spectrum in found.items():
        np.testing.assert_allclose(
            spectrum, expected.get(name, np.zeros(grid[2])), rtol=0, atol=1e-7 * size
        )


@pytest.mark.parametrize("sigma", [2e-4, 0.003, 0.02, 0.3, 5.0])
def test_gaussians_of_any_width(sigma):
    grid = (0.0, 2.0, 21)
    found = spectra(ManyBodyTensor("distance", grid=grid, sigma=sigma), rattled_methanol())
    expected = by_definition(rattled_methanol(), "distance", grid, sigma, cutoff=np.inf)
    for name, spectrum in expected.items():
        np.testing.assert_allclose(found[name], spectrum, rtol=0, atol=1e-11 * spectrum.max())


def test_every_pair_is_counted_once_and_every_triple_around_each_atom():
    methanol = molecule("CH3OH")
    pairs = spectra(ManyBodyTensor("distance", grid=(-5, 15, 201)), methanol)
    angles = spectra(ManyBodyTensor("angle", grid=(-100, 280, 381), sigma=3.0), methanol)
    of_pairs = {name: 0.1 * spectrum.sum() for name, spectrum in pairs.items()}
    expected = {"H-H": 6, "H-C": 4, "H-O": 4, "C-C": 0, "C-O": 1, "O-O": 0}
    assert of_pairs == pytest.approx(expected, abs=1e-9)
    assert sum(spectrum.sum() for spectrum in angles.values()) == pytest.approx(3 * 20)
    assert angles["H-C-H"].sum() == angles["H-O-H"].sum() == pytest.approx(6)
    assert angles["H-H-H"].sum() == pytest.approx(12)


def test_atomic_numbers_are_counts():
    numbers = ManyBodyTensor("atomic_number", sigma=0.1)
    features = numbers.fit_transform([molecule("CH3OH"), molecule("H2O")])
    assert features.shape == (2, 3 * 9)
    by_element = features.values.reshape(2, 3, 9)
    np.testing.assert_allclose(
        by_element[:, [0, 1, 2], [1, 6, 8]], [[4, 1, 1], [2, 0, 1]], rtol=1e-6
    )
    np.testing.assert_allclose(by_element.sum(axis=2), [[4, 1, 1], [2, 0, 1]], rtol=1e-6)
    assert features.feature_names[[0, 10]].tolist() == ["H:0", "C:1"]
    for derivative in features.pullback(np.ones(27)):
        assert not derivative.any()


def test_normalizations():
    water, methanol = molecule("H2O"), molecule("CH3OH")
    sums = values(ManyBodyTensor(), water, methanol)
    unit = values(ManyBodyTensor(normalization="l2"), water, methanol)
    np.testing.assert_allclose(unit, sums / np.linalg.norm(sums, axis=1, keepdims=True))
    of_atoms = values(ManyBodyTensor(normalization="n_atoms"), water, methanol)
    np.testing.assert_allclose(of_atoms, sums / [[3], [6]])
    alone = ManyBodyTensor(normalization="l2").fit([water]).transform([Atoms("H")])
    assert not alone.values.any() and not alone.pullback(np.ones(alone.n_features))[0].any()


@pytest.mark.parametrize(
    "descriptor",
    [
        ManyBodyTensor("angle", weighting="smooth_cutoff", cutoff=3.5, normalization="n_atoms"),
        ManyBodyTensor("distance", weighting="exp", cutoff=4.0, normalization="n_atoms"),
        ValleOganovFingerprint(cutoff=4.0),
        PartialRadialDistribution(cutoff=4.0),
        PartialRadialDistribution(cutoff=4.0, sigma=0.1),
    ],
    ids=str,
)
def test_supercells_have_the_same_features(descriptor):
    supercell = make_supercell(crystal(), [[2, 0, 0], [0, 1, 1], [0, -1, 1]])
    one, many = values(descriptor, crystal(), supercell)
    np.testing.assert_allclose(many, one, rtol=0, atol=1e-9 * np.abs(one).max())


def test_fingerprints_of_angles_have_one_volume_for_three_numbers_of_atoms():
    one, many = values(
        ValleOganovFingerprint("angle", cutoff=3.5), crystal(), crystal() * (2, 1, 1)
    )
    np.testing.assert_allclose(2 * many, one, rtol=0, atol=1e-9 * np.abs(one).max())


def test_fingerprint_of_salt():
    descriptor = ValleOganovFingerprint(cutoff=8.0, n_grid=161, sigma=0.03)
    found = spectra(descriptor, SALT)
    a, volume, points = 5.64, SALT.get_volume(), np.linspace(0, 8, 161)
    shells = {
        "Na-Cl": [(6, a / 2), (8, a * np.sqrt(3) / 2)],
        "Na-Na": [(12, a / np.sqrt(2)), (6, a)],
    }
    for name, expected in shells.items():
        for n, r in expected:
            peak = np.abs(points - r) < 0.2
            area = 0.05 * (found[name][peak] + 1).sum()
            assert area == pytest.approx(n * volume / (4 * np.pi * r**2), rel=1e-9)
    np.testing.assert_allclose(found["Na-Na"], found["Cl-Cl"], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found["Na-Na"][:70], -1)


def test_fingerprints_go_to_zero_as_in_a_gas():
    rng = np.random.default_rng(0)
    gas = Atoms("Ar60Ne60", positions=rng.uniform(0, 20, (120, 3)), cell=3 * [20], pbc=True)
    gas.positions += np.arange(120)[:, None] * 1e-3
    found = spectra(ValleOganovFingerprint(cutoff=12.0, n_grid=121, sigma=0.5), gas)
    for spectrum in found.values():
        assert np.abs(spectrum[60:].mean()) < 0.05


def test_elements_that_a_crystal_does_not_have_are_zeros():
    neon = bulk("Ne")
    both = values(ValleOganovFingerprint(cutoff=5.0, n_grid=10, sigma=0.1), SALT, neon).reshape(
        2, 6, 10
    )
    assert not both[1, 1:].any() and (both[1, 0, :3] == -1).all()
    radial = values(PartialRadialDistribution(5.0, n_shells=7), SALT, neon).reshape(2, 9, 7)
    assert not radial[1, 1:].any() and radial[1, 0].any()


def test_fingerprints_are_tensors_less_one_away_from_the_cutoff():
    atoms, grid = crystal(), (0.0, 6.0, 61)
    fingerprint = values(ValleOganovFingerprint(cutoff=6.0, n_grid=61, sigma=0.1), atoms)
    tensor = ManyBodyTensor(
        "distance", grid=grid, sigma=0.1, weighting="inverse_square", cutoff=6.0,
        normalization="valle_oganov",
    )  # fmt: skip
    tensor = values(tensor, atoms).reshape(-1, 61)
    inner = fingerprint.reshape(-1, 61) + 1
    np.testing.assert_allclose(inner[:, :52], tensor[:, :52], atol=1e-12)
    assert (inner[:, -1] > 1.5 * tensor[:, -1]).any()


def test_radial_distribution_of_salt():
    found = spectra(PartialRadialDistribution(6.0, n_shells=12), SALT)
    radii = np.linspace(0, 6, 13)
    counts = {k: g * 4 / 3 * np.pi * np.diff(radii**3) for k, g in found.items()}
    np.testing.assert_allclose(counts["Na-Cl"], [0, 0, 0, 0, 0, 6, 0, 0, 0, 8, 0, 0], atol=1e-12)
    np.testing.assert_allclose(counts["Cl-Cl"], [0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 6], atol=1e-12)
    smooth = spectra(PartialRadialDistribution(6.0, n_shells=12, sigma=1e-3), SALT)
    for name, spectrum in found.items():
        np.testing.assert_allclose(smooth[name], spectrum, atol=1e-9)


def test_the_density_of_an_element_is_not_that_of_the_other():
    lopsided = Atoms("CO2", [[0, 0, 0], [0, 0, 1.2], [0, 0, -1.2]])
    found = spectra(PartialRadialDistribution(2.0, n_shells=2, sigma=0.02), lopsided)
    np.testing.assert_allclose(found["C-O"], 2 * found["O-C"])
    np.testing.assert_allclose(
        found["C-O"],
        spectra(PartialRadialDistribution(2.0, n_shells=2), lopsided)["C-O"],
        atol=1e-12,
    )


def test_atoms_on_a_line_have_finite_derivatives_of_angles():
    straight = Atoms("OCO", [[0, 0, -1.2], [0, 0, 0], [0, 0, 1.2]])
    features = ManyBodyTensor("angle").fit_transform([straight])
    for derivative in features.pullback(np.ones(features.n_features)):
        assert np.isfinite(derivative).all()
    assert features.values.reshape(-1, 100).argmax(axis=1).tolist().count(99) == 1


# --- bad input ----------------------------------------------------------------------------------


def test_crystals_need_a_cutoff():
    with pytest.raises(ValueError, match="structure 1 is periodic, .* set a cutoff, such as"):
        ManyBodyTensor().fit([molecule("H2O"), SALT])
    with pytest.raises(ValueError, match="structure 0 is periodic, "):
        ManyBodyTensor("angle", weighting="exp", decay=1.0).fit([crystal((True, False, False))])
    assert values(ManyBodyTensor("atomic_number"), SALT).any()


@pytest.mark.parametrize("make", [ValleOganovFingerprint, None])
def test_molecules_have_no_volume(make):
    tensor = ManyBodyTensor(cutoff=4.0, normalization="valle_oganov")
    descriptor = tensor if make is None else make(cutoff=4.0)
    with pytest.raises(ValueError, match=r"structure 0 has pbc=\[False, False, False\].* crystals"):
        descriptor.fit([molecule("H2O")])
    with pytest.raises(ValueError, match=r"structure 1 has pbc=\[True, True, False\].* crystals"):
        descriptor.fit([crystal()]).transform([crystal(), crystal((True, True, False))])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"grid": (1.0, 0.0, 10)}, r"grid=\(1.0, 0.0, 10\) is not .low, high, n. with low < high"),
        ({"grid": (0.0, 1.0)}, "give the first and last point of the grid and their number"),
        ({"grid": (0.0, np.inf, 10)}, "give the first and last point"),
        ({"grid": (0.0, 1.0, 1)}, "n of at least 2"),
        ({"grid": (0.0, 1.0, 2.5)}, "n of at least 2"),
        ({"sigma": 1e-9}, "sigma=1e-09 is below a thousandth of the spacing .*: take a wider"),
        ({"weighting": "exp"}, "weighting='exp' needs a cutoff: set cutoff or decay, such as"),
        ({"weighting": "smooth_cutoff"}, "weighting='smooth_cutoff' needs a cutoff: set cutoff,"),
        (
            {"function": "atomic_number", "weighting": "exp", "decay": 1.0},
            "weighting='exp' is a function of distances, .* set weighting='unity'",
        ),
        (
            {"weighting": "smooth_cutoff", "cutoff": 3.0, "sharpness": 0.5},
            "sharpness=0.5 makes weights with an infinite slope: set 1 or more",
        ),
    ],
)
def test_parameters_that_make_no_tensor(parameters, message):
    with pytest.raises(ValueError, match=message):
        ManyBodyTensor(**parameters).fit([molecule("H2O")])


def test_counts_have_no_derivatives():
    features = PartialRadialDistribution().fit_transform([SALT])
    for derivatives in (lambda: features.pullback(np.ones(200)), lambda: features.jacobian(0)):
        with pytest.raises(
            ValueError, match="counts of distances .* no derivatives: set the sigma"
        ):
            derivatives()


@pytest.mark.parametrize(
    "make", [ManyBodyTensor, PartialRadialDistribution, ValleOganovFingerprint]
)
def test_unknown_elements_and_coincident_atoms(make, monkeypatch):
    monkeypatch.setattr("skatom.descriptors.element_spectra._ATOMS", 3)
    descriptor = make(cutoff=4.0).fit([SALT])
    with pytest.raises(ValueError, match="structure 1 contains Ne, which was not in"):
        descriptor.transform([SALT, bulk("Ne")])
    twice = SALT.copy()
    twice.positions[1] = twice.positions[0]
    with pytest.raises(ValueError, match="structure 3: atoms 0 and 1 are at the same place"):
        descriptor.transform([SALT, SALT, SALT, twice])


def test_memory_is_estimated_before():
    with pytest.raises(MemoryError, match="take fewer points of the grid"):
        values(ManyBodyTensor(grid=(0.0, 1.0, 10**12)), molecule("H2O"))
    with pytest.raises(MemoryError, match="take fewer shells"):
        values(PartialRadialDistribution(n_shells=10**12), SALT)
    with pytest.raises(
        MemoryError, match="table of Gaussians .* take a sigma of the size of a few"
    ):
        values(ManyBodyTensor(grid=(0.0, 1.0, 100), sigma=1e9), molecule("H2O"))
