import joblib
import numpy as np
import pytest
import skops.io
from ase import Atoms
from ase.build import molecule
from batches import random_rotation
from callees import call
from scipy.special import gamma, hyp1f1
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skatom.datasets import load_ethanol
from skatom.descriptors import SOAP, alchemy, radial
from skatom.descriptors._cpu import harmonics
from skatom.descriptors.density_covariance import density_covariance
from skatom.structures import as_structures

# Two environments and their kernels by numerical integration over all rotations, for Gaussians
# of width 0.5 Å without cutoff and without the centre.
A = [(1.1, 0.2, -0.3), (-0.7, 1.2, 0.4), (0.1, -1.5, 1.0), (0.9, 0.9, 1.7)]
B = [(1.0, -0.1, 0.5), (-1.3, 0.6, -0.2), (0.4, 1.6, -0.9)]
KERNEL_1 = 61.270705929972
KERNEL_3 = 47.948737850407
KERNEL_2 = {"AB": 52.016965702397, "AA": 75.980814626247, "BB": 40.329428425560}

SMALL = {"cutoff": 4.0, "n_max": 4, "l_max": 3}


def environment(neighbors):
    return Atoms("H" * (len(neighbors) + 1), np.vstack([np.zeros(3), neighbors]))


def golden_kernels(**parameters):
    soap = SOAP(cutoff_width=0, central_weight=0, normalize=False, **parameters)
    features = soap.fit_transform([environment(A), environment(B)])
    a, b = features.values[features.offsets[:-1]]
    return {"AA": a @ a, "AB": a @ b, "BB": b @ b}


def rattled_molecule():
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=3)
    return atoms


# --- the numbers of the formula ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("basis", "n_max", "l_max", "error"),
    [
        ("gto", 6, 4, -1.3e-2), ("gto", 8, 6, -3.0e-4), ("gto", 10, 8, -3.5e-5),
        ("gto", 12, 10, -2.1e-6),
    ],
)  # fmt: skip
def test_kernel_of_gto_basis_has_the_known_truncation_error(basis, n_max, l_max, error):
    kernel = golden_kernels(n_max=n_max, l_max=l_max, radial_basis=basis)["AB"]
    assert kernel / KERNEL_2["AB"] - 1 == pytest.approx(error, rel=0.03)


def test_power_spectrum_kernel_is_the_rotational_integral():
    kernels = golden_kernels(n_max=20, l_max=14, radial_basis="bessel")
    for pair, value in KERNEL_2.items():
        assert kernels[pair] == pytest.approx(value, rel=1e-9)


def test_bispectrum_kernel_is_the_rotational_integral():
    parameters = {"nu": 3, "parity": "both"}
    kernel = golden_kernels(n_max=7, l_max=7, radial_basis="gto", **parameters)["AB"]
    assert kernel == pytest.approx(47.7130, abs=1e-4)  # the truncated sum, also by integration
    kernel = golden_kernels(n_max=12, l_max=8, radial_basis="bessel", **parameters)["AB"]
    assert kernel == pytest.approx(KERNEL_3, rel=5e-5)


def test_radial_spectrum_kernel_is_the_rotational_integral():
    kernels = golden_kernels(nu=1, n_max=20, radial_basis="bessel")
    assert kernels["AB"] == pytest.approx(KERNEL_1, rel=1e-9)


def test_kernels_equal_those_of_featomic():
    # featomic 0.6.7: SoapPowerSpectrum, Gto basis, smoothing "Step", spline_accuracy 1e-12
    soap = SOAP(5.0, 8, 6, 0.5, radial_basis="gto", cutoff_width=0)
    values = soap.fit_transform([molecule("CH3CONH2")]).values
    golden = {
        (0, 1): 0.27014382106755674, (0, 2): 0.20363533335823145, (1, 3): 0.4251532870189318,
        (3, 5): 0.5759163945888685, (4, 8): 0.8283490917181228,
    }  # fmt: skip
    for (i, j), value in golden.items():
        assert values[i] @ values[j] == pytest.approx(value, abs=1e-10)


def test_radial_integrals_of_gto_basis_have_the_closed_form():
    n_max, l, cutoff, width, sigma = 8, 3, 5.0, 0.5, 0.5
    d = np.array([0.0, 0.3, 1.7, 4.9])[:, None]
    k = np.arange(n_max)
    a, sigma_k = 1 / (2 * sigma**2), (cutoff - width) * np.maximum(np.sqrt(k), 1) / n_max
    b = 1 / (2 * sigma_k**2)
    norm = np.sqrt(2 / (sigma_k ** (2 * k + 3) * gamma(k + 1.5)))
    power = (3 + k[:, None] + k) / 2
    overlap = norm[:, None] * norm / 2 * gamma(power) * (b[:, None] + b) ** -power
    values, vectors = np.linalg.eigh(overlap)
    p, q = (l + k + 3) / 2, l + 1.5
    integral = (
        np.sqrt(np.pi) / 4 * gamma(p) / gamma(q) * (a * d) ** l * (a + b) ** -p
        * np.exp(-a * b * d**2 / (a + b)) * hyp1f1(q - p, q, -((a * d) ** 2) / (a + b))
    )  # fmt: skip
    expected = 4 * np.pi * (norm * integral) @ (vectors / np.sqrt(values) @ vectors.T)
    found = radial.density_integrals(d[:, 0], "gto", n_max, l, cutoff, width, sigma)[:, l]
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize("basis", ["gto", "bessel"])
@pytest.mark.parametrize(
    ("widths", "scaling"), [((0.2,), 0.0), ((0.3, 0.5), 0.0), ((0.3, 0.5), 0.2), ((0.5,), 1.0)]
)
def test_splines_are_exact(basis, widths, scaling):
    parameters = (basis, 10, 5, 5.0, 0.5)
    tables, spacing = radial.spline_tables(*parameters, widths, scaling)
    d = np.append(0.0, np.random.default_rng(0).uniform(0, 5, 100))
    k = (d / spacing).astype(int)
    x = (d - k * spacing)[:, None]
    for table, width in zip(tables, widths, strict=True):
        value = sum(table[k, 5 - p] * x**p for p in range(6))
        exact = radial.density_integrals(d, *parameters, width + scaling * d)
        np.testing.assert_allclose(value, exact.reshape(len(d), -1), atol=1e-9)


def test_bessel_basis_is_orthonormal_to_20_functions():
    nodes, weights = np.polynomial.legendre.leggauss(200)
    r = 2.5 * (nodes + 1)
    functions = radial.bessel_basis(r, 20, 6, 5.0)
    overlap = np.einsum("lnr,lmr,r->lnm", functions, functions, 2.5 * weights * r**2)
    np.testing.assert_allclose(overlap, np.broadcast_to(np.eye(20), (7, 20, 20)), atol=1e-12)


def test_harmonics_are_orthonormal_with_exact_gradients():
    l_max = 5
    n_lm = (l_max + 1) ** 2
    z, weights = np.polynomial.legendre.leggauss(12)
    phi = np.arange(24) * np.pi / 12
    s = np.sqrt(1 - z**2)[:, None]
    points = np.stack([s * np.cos(phi), s * np.sin(phi), z[:, None] + 0 * phi], -1).reshape(-1, 3)
    norm, work = harmonics.normalization(l_max), np.empty((3, n_lm))
    y = np.empty((len(points), n_lm))
    for row, point in zip(y, points, strict=True):
        call(harmonics.harmonics, *point, norm, l_max, work, row)
    w = np.repeat(weights, 24) * np.pi / 12
    np.testing.assert_allclose(y.T * w @ y, np.eye(n_lm), atol=1e-13)

    # The solid harmonics r^l Y_lm are homogeneous: difference them off the sphere.
    def solid(point):
        r, out = np.linalg.norm(point), np.empty(n_lm)
        call(harmonics.harmonics, *(point / r), norm, l_max, work, out)
        return out * r ** np.repeat(np.arange(l_max + 1), 2 * np.arange(l_max + 1) + 1)

    point, gradient = points[101], np.empty((3, n_lm))
    call(harmonics.harmonics_with_gradients, *point, norm, l_max, work, np.empty(n_lm), gradient)
    for axis in range(3):
        step = 1e-5 * np.eye(3)[axis]
        difference = (solid(point + step) - solid(point - step)) / 2e-5
        np.testing.assert_allclose(gradient[axis], difference, atol=1e-8)


# --- widths of the Gaussians -------------------------------------------------------------------


def test_equal_widths_of_all_species_are_one_width():
    structures = [rattled_molecule()]
    one = SOAP(**SMALL, sigma=0.4).fit_transform(structures).values
    widths = {"H": 0.4, "C": 0.4, "N": 0.4, "O": 0.4, "Zr": 0.9}
    same = SOAP(**SMALL, sigma=widths).fit_transform(structures)
    np.testing.assert_array_equal(same.values, one)


def test_density_of_each_species_has_its_own_width():
    # a radial spectrum has the densities of hydrogen and oxygen in separate features
    atoms = [molecule("CH3OH")]
    parameters = {**SMALL, "nu": 1, "normalize": False}
    mixed = SOAP(**parameters, sigma={"H": 0.3, "C": 0.4, "O": 0.6}).fit_transform(atoms)
    for species, width in enumerate([0.3, 0.4, 0.6]):
        uniform = SOAP(**parameters, sigma=width).fit_transform(atoms)
        part = slice(4 * species, 4 * species + 4)
        assert np.abs(uniform.values[:, part]).max() > 0.1
        np.testing.assert_allclose(mixed.values[:, part], uniform.values[:, part], atol=1e-9)


def test_one_neighbor_at_a_distance_has_the_width_of_that_distance():
    pair = [Atoms("HH", [[0, 0, 0], [0, 0, 1.3]])]
    parameters = {**SMALL, "normalize": False, "central_weight": 0.0}
    growing = SOAP(**parameters, sigma=0.3, sigma_scaling=0.2).fit_transform(pair).values
    constant = SOAP(**parameters, sigma=0.3 + 0.2 * 1.3).fit_transform(pair).values
    np.testing.assert_allclose(growing, constant, atol=1e-9)
    assert np.abs(growing - SOAP(**parameters, sigma=0.3).fit_transform(pair).values).max() > 0.1


def test_kernel_of_two_widths_is_the_rotational_integral():
    # two single neighbours: ∫dR of the squared overlap of Gaussians of different widths
    s, t, r, q = 0.4, 0.6, 1.2, 0.9
    structures = [Atoms("HC", [[0, 0, 0], [0, 0, r]]), Atoms("HC", [[0, 0, 0], [q, 0, 0]])]
    u = np.array([[0.0, 1.0]])  # the density of carbon alone
    parameters = {"cutoff": 6.0, "n_max": 20, "l_max": 12, "cutoff_width": 0.0}
    parameters |= {"normalize": False, "species_compression": u}
    a, b = (
        SOAP(**parameters, sigma={"H": 1.0, "C": width}).fit_transform(structures).values[2 * i]
        for i, width in enumerate([s, t])
    )
    v = s**2 + t**2
    peak = (2 * np.pi * s**2 * t**2 / v) ** 1.5 * np.exp(-(r**2 + q**2) / (2 * v))
    x = 2 * r * q / v
    assert a @ b == pytest.approx(8 * np.pi**2 * peak**2 * np.sinh(x) / x, rel=1e-8)


# --- invariances ------------------------------------------------------------------------------


def test_odd_bispectrum_changes_sign_in_a_mirror():
    atoms = rattled_molecule()
    turned, mirrored = atoms.copy(), atoms.copy()
    turned.positions = atoms.positions @ random_rotation(2).T
    mirrored.positions = -atoms.positions
    soap = SOAP(4.0, 2, 3, nu=3, parity="both")
    values, same, mirror = (part.values for part in soap.fit_transform([atoms, turned, mirrored]))
    names = soap.get_feature_names_out()
    odd = np.array([sum(map(int, name.split("_")[1][1:])) % 2 == 1 for name in names])
    np.testing.assert_allclose(same, values, atol=1e-9)
    np.testing.assert_allclose(mirror[:, ~odd], values[:, ~odd], atol=1e-9)
    np.testing.assert_allclose(mirror[:, odd], -values[:, odd], atol=1e-9)
    assert np.abs(values[:, odd]).max() > 1e-4


# --- the optimal radial basis -------------------------------------------------------------------


def training():
    structures = [molecule("CH3OH"), molecule("H2O"), molecule("CH3CHO")]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=seed)
    return [*structures, Atoms("CHO", np.diag([1.0, 1.2, 0.8]), cell=[3.1, 3.3, 2.9], pbc=True)]


def variances(features, n_species, n, l_max):
    """Σ_im c[a, n, lm] c[a, n', lm] of all species and l, from unnormalised power spectra."""
    rows, columns = np.triu_indices(n_species * n)
    p = features.values.sum(axis=0).reshape(l_max + 1, -1) * np.sqrt(
        np.where(rows == columns, 1, 0.5)
    )
    square = np.zeros((l_max + 1, n_species * n, n_species * n))
    square[:, rows, columns] = square[:, columns, rows] = p
    square *= np.sqrt((2 * np.arange(l_max + 1) + 1) / (8 * np.pi**2))[:, None, None]
    blocks = [square[:, a * n : (a + 1) * n, a * n : (a + 1) * n] for a in range(n_species)]
    return np.stack(blocks, axis=1)


@pytest.mark.parametrize(
    "parameters",
    [
        {}, {"nu": 1}, {"nu": 3, "n_max": 2}, {"normalize": False},
        {"species_compression": np.array([[1.0, 0.3, -0.2], [0.1, 0.8, 0.5]])},
        {"sigma": {"H": 0.3, "C": 0.5, "O": 0.5}, "sigma_scaling": 0.1},
    ],
)  # fmt: skip
def test_all_optimal_functions_have_the_kernel_of_their_primitives(parameters):
    parameters = {**SMALL, **parameters}
    X, other = training(), [molecule("CH3CH2OH"), molecule("CO2")]
    optimal = SOAP(**parameters, radial_basis="optimal", n_primitives=parameters["n_max"])
    values = optimal.fit(X).transform(other).values
    plain = SOAP(**parameters).fit(X).transform(other).values
    assert values.shape == plain.shape and np.abs(values - plain).max() > 1e-2
    kernel = plain @ plain.T
    np.testing.assert_allclose(values @ values.T, kernel, atol=1e-10 * kernel.max())


def test_optimal_functions_retain_the_largest_variance():
    X, n, l_max = training(), 8, 2
    parameters = {"cutoff": 4.0, "l_max": l_max, "normalize": False}
    primitives = SOAP(**parameters, n_max=n).fit_transform(X)
    covariance = variances(primitives, 3, n, l_max)
    for kept in (1, 2, 3):
        soap = SOAP(**parameters, n_max=kept, radial_basis="optimal", n_primitives=n)
        retained = variances(soap.fit_transform(X), 3, kept, l_max)
        bessel = np.trace(covariance[..., :kept, :kept], axis1=-2, axis2=-1)
        optimal = np.trace(retained, axis1=-2, axis2=-1)
        largest = np.linalg.eigvalsh(covariance)[..., -kept:].sum(axis=-1)
        np.testing.assert_allclose(optimal, largest, rtol=1e-9)
        assert (optimal > bessel).all()
        # the principal components are not correlated
        diagonal = retained * np.eye(kept)
        np.testing.assert_allclose(retained, diagonal, atol=1e-10 * largest.max())


def test_functions_without_variance_are_the_smoothest():
    X = [Atoms("H"), Atoms("H")]  # no neighbours: no density of l > 0
    soap = SOAP(4.0, 3, 2, radial_basis="optimal", n_primitives=6).fit(X)
    expected = np.broadcast_to(np.eye(6)[:3], (2, 3, 6))
    np.testing.assert_allclose(soap.radial_contraction_[0, 1:], expected, atol=1e-12)


def test_what_is_learnt_does_not_depend_on_orientation_or_threads(monkeypatch):
    X = training() * 10
    parameters = {**SMALL, "species_compression": 2, "species_similarity": "data"}
    soap = SOAP(**parameters, radial_basis="optimal", n_primitives=8).fit(X)
    rotated = []
    for seed, atoms in enumerate(X):
        atoms = atoms.copy()
        R = random_rotation(seed)
        atoms.set_cell(atoms.cell.array @ R.T)
        atoms.positions = atoms.positions @ R.T
        rotated.append(atoms)
    again = SOAP(**parameters, radial_basis="optimal", n_primitives=8).fit(rotated)
    np.testing.assert_allclose(again.mixing_, soap.mixing_, atol=1e-10)
    np.testing.assert_allclose(again.radial_contraction_, soap.radial_contraction_, atol=1e-7)
    species = np.searchsorted([1, 6, 8], as_structures(X).numbers)
    monkeypatch.setattr("skatom.descriptors.density_covariance._PIECE_BYTES", 1)  # 16 atoms
    sums = []
    for threads in (1, 2):
        monkeypatch.setattr("numba.get_num_threads", lambda threads=threads: threads)
        sums.append(density_covariance(as_structures(X), species, soap._compiled()))
    np.testing.assert_array_equal(sums[0].radial, sums[1].radial)
    np.testing.assert_array_equal(sums[0].species, sums[1].species)
    # structures of the next batch are counted, too
    monkeypatch.setattr("skatom.descriptors.density_covariance._BATCH", 10)
    pieces = density_covariance(as_structures(X), species, soap._compiled())
    np.testing.assert_allclose(pieces.radial, sums[0].radial, atol=1e-11 * sums[0].radial.max())


def test_memory_of_the_covariance_is_checked(monkeypatch):
    monkeypatch.setattr("skatom.memory.available_memory", lambda: 2**23)
    with pytest.raises(MemoryError, match="2 species in 20 radial .* n_primitives"):
        SOAP(radial_basis="optimal").fit([molecule("CH4")])


# --- compression of species ---------------------------------------------------------------------


def test_compression_gives_the_alchemical_kernel():
    structures = [rattled_molecule(), molecule("CO2")]
    rng = np.random.default_rng(0)
    U = rng.normal(size=(2, 4))
    soap = SOAP(**SMALL, normalize=False).fit(structures)
    plain = soap.transform(structures).values
    mixed = SOAP(**SMALL, normalize=False, species_compression=U).fit_transform(structures).values
    assert mixed.shape[1] == 8 * 9 // 2 * 4
    # mix the full power spectrum: p[l, a n, b n'] of 4 species and 4 functions
    rows, columns = np.triu_indices(16)
    weight = np.where(rows == columns, 1, np.sqrt(0.5))
    p = np.zeros((len(plain), 4, 16, 16))
    p[:, :, rows, columns] = plain.reshape(len(plain), 4, -1) * weight
    p[:, :, columns, rows] = p[:, :, rows, columns]
    p = p.reshape(-1, 4, 4, 4, 4, 4)
    kappa = U.T @ U
    kernel = np.einsum("ilanbm,ac,bd,jlcndm->ij", p, kappa, kappa, p)
    np.testing.assert_allclose(mixed @ mixed.T, kernel, rtol=1e-9)


def test_as_many_channels_as_species_lose_nothing():
    structures = [molecule("CH3OH")]
    similarity = alchemy.similarity(np.array([1, 6, 8]))
    U = SOAP(**SMALL, species_compression=3).fit(structures).mixing_
    np.testing.assert_allclose(U.T @ U, similarity, atol=1e-12)
    identity = SOAP(**SMALL, species_compression=np.eye(3)).fit_transform(structures)
    plain = SOAP(**SMALL).fit_transform(structures)
    np.testing.assert_allclose(identity.values, plain.values, atol=1e-14)


def test_one_even_channel_is_blind_to_species():
    mixture = rattled_molecule()
    uniform = mixture.copy()
    uniform.numbers[:] = 6
    blind = SOAP(**SMALL, species_compression=np.ones((1, 4))).fit_transform([mixture])
    plain = SOAP(**SMALL).fit_transform([uniform])
    np.testing.assert_allclose(blind.values, plain.values, atol=1e-12)


@pytest.mark.parametrize("parameters", [{}, {"nu": 1}, {"radial_basis": "optimal"}])
def test_as_many_learnt_channels_as_species_have_the_plain_kernel(parameters):
    X, other = training(), [molecule("CH3CH2OH"), molecule("CO2")]
    parameters = {**SMALL, "n_primitives": 4, **parameters}
    learnt = SOAP(**parameters, species_compression=3, species_similarity="data").fit(X)
    values, plain = learnt.transform(other).values, SOAP(**SMALL, nu=learnt.nu).fit(X)
    plain = plain.transform(other).values
    np.testing.assert_allclose(learnt.mixing_ @ learnt.mixing_.T, np.eye(3), atol=1e-12)
    assert np.abs(learnt.mixing_ - np.eye(3)).max() > 0.1
    np.testing.assert_allclose(values @ values.T, plain @ plain.T, atol=1e-10)


def test_learnt_channels_are_the_eigenvectors_of_the_overlap_of_densities():
    X, n, l_max = training(), 4, 3
    plain = SOAP(**SMALL, normalize=False).fit_transform(X).values.sum(axis=0)
    rows, columns = np.triu_indices(3 * n)
    p = plain.reshape(l_max + 1, -1) * np.where(rows == columns, 1, np.sqrt(0.5))
    p *= np.sqrt((2 * np.arange(l_max + 1) + 1) / (8 * np.pi**2))[:, None]
    overlap = np.zeros((3 * n, 3 * n))
    overlap[rows, columns] = overlap[columns, rows] = p.sum(axis=0)
    gram = np.trace(overlap.reshape(3, n, 3, n), axis1=1, axis2=3)
    kappa = gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    parameters = {**SMALL, "species_similarity": "data"}
    U = SOAP(**parameters, species_compression=2).fit(X).mixing_
    values = np.linalg.eigvalsh(kappa)[::-1]
    np.testing.assert_allclose(U @ kappa @ U.T, np.diag(values[:2]), atol=1e-12)
    # an array of these weights is the same descriptor
    given = SOAP(**SMALL, species_compression=U).fit_transform(X).values
    learnt = SOAP(**parameters, species_compression=2).fit_transform(X).values
    np.testing.assert_array_equal(given, learnt)


def test_species_without_density_come_last():
    X = [molecule("CO"), Atoms("H"), Atoms("H", [[9.0, 9.0, 9.0]])]
    parameters = {**SMALL, "central_weight": 0.0, "species_similarity": "data"}
    U = SOAP(**parameters, species_compression=3).fit(X).mixing_
    np.testing.assert_allclose(U[2], [1, 0, 0], atol=1e-12)  # hydrogen has no neighbours


def test_groups_of_the_periodic_table():
    numbers = [1, 2, 3, 6, 9, 10, 14, 21, 26, 35, 57, 64, 72, 79, 86]
    groups = [1, 18, 1, 14, 17, 18, 14, 3, 8, 17, 3, 3, 4, 11, 18]
    assert [alchemy.group(z) for z in numbers] == groups


# --- special structures and bad input ---------------------------------------------------------


def test_mixed_periodicity_equals_a_repeated_strip():
    wire = Atoms("CO", [[0, 0, 0], [0.4, 1.1, 0.3]], cell=[9, 9, 2.3], pbc=(False, False, True))
    strip = (wire * (1, 1, 9)).copy()
    strip.pbc = False
    features = SOAP(**SMALL).fit_transform([wire, strip])
    middle = features[1].values[8:10]
    np.testing.assert_allclose(features[0].values, middle, atol=1e-12)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cutoff": 0.0}, "cutoff"),
        ({"cutoff": -1.0}, "cutoff"),
        ({"n_max": 0}, "n_max"),
        ({"n_max": 2.5}, "n_max"),
        ({"n_max": 18, "radial_basis": "gto"}, "linearly dependent"),
        ({"l_max": -1}, "l_max"),
        ({"radial_basis": "optimal", "n_max": 21}, "choose n_max <= n_primitives"),
        ({"n_primitives": 0}, "n_primitives"),
        ({"species_similarity": "data"}, "species_compression is None: choose a number"),
        (
            {"species_similarity": "data", "species_compression": np.eye(2)},
            "species_compression is a matrix that gives it",
        ),
        ({"species_similarity": "data", "species_compression": 3}, "more than the 2 species"),
        ({"species_similarity": "periodic"}, "species_similarity"),
        ({"sigma": 0}, "sigma"),
        ({"sigma": {"H": 0.3}}, "no width for C: give one for each of the species H, C"),
        ({"sigma": {"H": 0.3, "C": 0.0}}, "must have positive widths"),
        ({"sigma": {"H": 0.3, "C": np.nan}}, "must have positive widths"),
        ({"sigma_scaling": -0.1}, "sigma_scaling"),
        ({"sigma_scaling": 1.5}, "sigma_scaling"),
        ({"nu": 4}, "nu"),
        ({"radial_basis": "polynomial"}, "radial_basis"),
        ({"cutoff_width": 5.0}, "cutoff_width=5.0 must be smaller"),
        ({"radial_scaling": {"rate": 1.0}}, "must have the keys"),
        ({"radial_scaling": {"rate": 0.0, "scale": 2.0, "exponent": 7.0}}, "positive"),
        ({"pool": "max"}, "pool"),
        ({"parity": "odd"}, "parity"),
        ({"species_compression": 3}, "more than the 2 species"),
        ({"species_compression": np.ones((2, 3))}, "one column for each of the 2 species"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        SOAP(**parameters).fit([molecule("CH4")])


# --- scikit-learn -----------------------------------------------------------------------------


@pytest.mark.parametrize("nu", [1, 2, 3])
@pytest.mark.parametrize("compression", [None, 1])
def test_feature_names_match_the_features(nu, compression):
    soap = SOAP(n_max=2, l_max=3, nu=nu, parity="both", species_compression=compression)
    values = soap.fit_transform([molecule("CO")]).values
    names = soap.get_feature_names_out()
    assert len(set(names)) == values.shape[1]
    example = {1: "soap_C1", 2: "soap_l0_C0_C1", 3: "soap_l000_C0_C0_C1"}[nu]
    assert names[1] == (example if compression is None else example.replace("C", "mix0-"))


def test_features_larger_than_memory_are_refused_with_advice():
    soap = SOAP(nu=3, n_max=60, l_max=4).fit([molecule("CH3CONH2")])
    with pytest.raises(MemoryError, match="reduce n_max or l_max"):
        soap.transform([molecule("CH3CONH2")] * 300)


def test_files_keep_what_was_learnt(tmp_path):
    X, other = training(), [molecule("CH3CH2OH")]
    parameters = {
        "radial_basis": "optimal",
        "n_primitives": 8,
        "sigma": {"H": 0.3, "C": 0.5, "O": 1},
    }
    soap = SOAP(**SMALL, **parameters, species_compression=2, species_similarity="data").fit(X)
    values = soap.transform(other).values
    joblib.dump(soap, tmp_path / "soap.joblib")
    data = skops.io.dumps(soap)
    unknown = skops.io.get_untrusted_types(data=data)
    assert unknown == ["skatom.descriptors.soap.SOAP"]
    for copy in (joblib.load(tmp_path / "soap.joblib"), skops.io.loads(data, trusted=unknown)):
        np.testing.assert_array_equal(copy.transform(other).values, values)


def test_widths_and_bases_are_searched_in_a_pipeline():
    data = load_ethanol()
    X, y = data.structures[:60], data.targets.energy[:60]
    pipeline = make_pipeline(SOAP(**SMALL, pool="sum"), Ridge(alpha=1e-6))
    widths = [0.5, {"H": 0.3, "C": 0.5, "O": 0.4}]
    grid = {"soap__sigma": widths, "soap__radial_basis": ["bessel", "optimal"]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert len(np.unique(scores)) == 4
    by_basis = search.cv_results_["param_soap__radial_basis"]
    assert scores[by_basis == "optimal"].max() > scores[by_basis == "bessel"].max()
