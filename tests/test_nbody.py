from itertools import combinations, permutations
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from conftest import morse_targets, rattled
from derivatives import slopes_of_displacements, slopes_of_strains
from scipy.special import ive
from scipy.stats import multivariate_normal, ortho_group
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from skatom import Structures, Targets
from skatom.calculators import SkatomCalculator
from skatom.datasets import load_boron_nitride
from skatom.kernels import (
    CartesianPairs,
    Cosine,
    Gaussian,
    ManyBody,
    NBody,
    Polynomial,
    cartesian_kernel,
    covariance,
    covariant_kernel,
    haar_kernel,
    many_body_kernel,
)
from skatom.models import Committee, KernelOrderSelector, NBodyGaussianProcess
from skatom.models.nbody.marginal_likelihood import likelihood_and_slopes

A = np.array([(1.1, 0.2, -0.3), (-0.7, 1.2, 0.4), (0.1, -1.5, 1.0), (0.9, 0.9, 1.7)])
B = np.array([(1.0, -0.1, 0.5), (-1.3, 0.6, -0.2), (0.4, 1.6, -0.9)])
CELL = np.array([[3.1, 0.2, 0.0], [0.9, 3.3, 0.3], [-0.4, 0.5, 2.9]])
FORCES = ("forces",)
KERNELS = {
    "pairs": NBody(order=2, sigma=0.7, cutoff=3.6),
    "triangles": NBody(order=3, sigma=0.7, cutoff=3.4, cutoff_width=1.2),
    "exponential": NBody(order=3, sigma=0.7, cutoff=3.4, cutoff_function="exponential"),
    "sum": NBody(order=2, sigma=0.6) + NBody(order=3, sigma=0.8, cutoff=3.2, amplitude=0.5),
    "five-body": ManyBody(NBody(order=3, sigma=0.7, cutoff=3.3), Polynomial(zeta=2)),
    "all orders": ManyBody(NBody(order=3, sigma=0.7, cutoff=3.3), Gaussian(sigma=3.0)),
    "normalised": ManyBody(NBody(order=2, sigma=0.7, cutoff=3.3), Cosine(zeta=2)),
}


def environment(neighbors, numbers=6):
    """A central carbon atom, first, and its neighbours."""
    numbers = np.broadcast_to(numbers, len(neighbors))
    return Atoms([6, *numbers], np.vstack([np.zeros(3), neighbors]))


def random_atoms(seed, pbc, n=4):
    """Atoms of three elements in a skewed cell smaller than the cutoffs."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 1, (n, 3)) @ CELL
    return Atoms(np.resize([6, 1, 6, 8], n), positions, cell=CELL, pbc=pbc)


# Kernels


def test_golden_numbers_of_two_and_three_bodies():
    pairs, triangles = NBody(2, sigma=0.8, cutoff=None), NBody(3, sigma=0.8, cutoff=None)
    a, b = [environment(A)], [environment(B)]
    assert pairs.local(a, b)[0, 0] == pytest.approx(10.091253969351, rel=1e-12)
    assert triangles.local(a, b)[0, 0] == pytest.approx(45.91693964, rel=1e-9)
    assert triangles.local(a)[0, 0] == pytest.approx(89.75187569, rel=1e-9)
    assert triangles.local(b)[0, 0] == pytest.approx(25.13257469, rel=1e-9)
    a, b = [environment(A, [1, 1, 8, 1])], [environment(B, [1, 8, 1])]
    assert pairs.local(a, b)[0, 0] == pytest.approx(5.765392193, rel=1e-9)
    assert triangles.local(a, b)[0, 0] == pytest.approx(7.718099206, rel=1e-9)


@pytest.mark.parametrize(("theta", "expected"), [(1.0, 9.877160e-6), (5.0, 0.630645474)])
def test_golden_numbers_of_the_invariant_many_body_kernel(theta, expected):
    kernel = ManyBody(NBody(order=3, sigma=0.8, cutoff=None), Gaussian(sigma=theta))
    value = kernel.local([environment(A)], [environment(B)])[0, 0]
    assert value == pytest.approx(expected, rel=1e-7)


def test_golden_numbers_of_cartesian_and_averaged_kernels():
    assert cartesian_kernel(A, B, 0.8) == pytest.approx(1.479726220790, rel=1e-12)
    assert haar_kernel(A, B, 0.8) == pytest.approx(1.477929730632, rel=1e-12)
    assert haar_kernel(A, B, 0.8, order=3) == pytest.approx(2.307513931074, rel=1e-12)
    assert haar_kernel(A, B, 0.8, order=4) == pytest.approx(3.794157797349, rel=1e-12)
    second = [
        [0.02080972, 0.07725181, 0.00160784],
        [0.01625395, 0.05407055, 0.00394373],
        [0.00356963, 0.11470521, -0.02621216],
    ]
    third = [
        [0.0606259, 0.23176351, 0.01006031],
        [0.05470147, 0.15933235, 0.00658952],
        [0.02037938, 0.35703412, -0.07785646],
    ]
    assert covariant_kernel(A, B, 0.8) == pytest.approx(np.array(second), abs=5e-9)
    assert covariant_kernel(A, B, 0.8, order=3) == pytest.approx(np.array(third), abs=5e-9)


def matrix_fisher(matrix, n_nodes=64):
    """∫dR exp(tr(MᵀR)) as an integral over one variable."""
    u, s, v = np.linalg.svd(matrix)
    s[2] *= np.sign(np.linalg.det(u @ v)) if s[2] > 0 else 1.0
    x, w = np.polynomial.legendre.leggauss(n_nodes)
    first, second = (s[0] - s[1]) * (1 - x) / 2, (s[0] + s[1]) * (1 + x) / 2
    exponent = first + second + s[2] * x
    return 0.5 * np.sum(w * ive(0, first) * ive(0, second) * np.exp(exponent))


@pytest.mark.parametrize("order", [3, 4])
def test_averages_over_rotations_equal_the_matrix_fisher_integral(order):
    sigma, a, b = 0.8, A[:3], B[:2]
    pairs = [(i, j) for i in range(len(a)) for j in range(len(b))]
    total = 0.0
    for chosen in np.stack(np.meshgrid(*[range(len(pairs))] * (order - 1)), -1).reshape(
        -1, order - 1
    ):
        x = np.array([a[pairs[k][0]] for k in chosen]) / sigma
        y = np.array([b[pairs[k][1]] for k in chosen]) / sigma
        total += np.exp(-0.5 * (np.sum(x**2) + np.sum(y**2))) * matrix_fisher(x.T @ y)
    assert haar_kernel(a, b, sigma, order) == pytest.approx(total, rel=1e-10)


def brute_force_kernel(kernel, x, y):
    """Σ_T Σ_T' of molecules by loops over atoms, elements by relabelling."""

    def n_plets(atoms):
        distances = atoms.get_all_distances()
        for chosen in combinations(range(len(atoms)), kernel.order):
            sides = [distances[a, b] for a, b in combinations(chosen, 2)]
            if max(sides) < kernel.cutoff:
                yield [atoms.numbers[a] for a in chosen], distances[np.ix_(chosen, chosen)]

    def fade(r):
        start = kernel.cutoff - kernel.cutoff_width
        return 1.0 if r < start else 0.5 * (1 + np.cos(np.pi * (r - start) / kernel.cutoff_width))

    def weight(d):
        return np.prod([fade(d[a, b]) for a, b in combinations(range(len(d)), 2)])

    total = 0.0
    for z, d in n_plets(x):
        for w, e in n_plets(y):
            orders = [(0, 1)] if kernel.order == 2 else permutations(range(3))
            for p in orders:
                same = sorted(z) == sorted(w) if kernel.order == 2 else z == [w[k] for k in p]
                if same:
                    difference = np.triu(d - e[np.ix_(p, p)])
                    total += (
                        weight(d)
                        * weight(e)
                        * np.exp(-np.sum(difference**2) / (2 * kernel.sigma**2))
                    )
    return kernel.amplitude**2 * total


@pytest.mark.parametrize("order", [2, 3])
def test_products_of_features_equal_sums_over_pairs_of_n_plets(order):
    kernel = NBody(order=order, sigma=0.4, cutoff=3.0, cutoff_width=0.7, amplitude=1.3)
    x, y = molecule("CH3CH2OH"), molecule("CH3CONH2")
    exact = [[brute_force_kernel(kernel, a, b) for b in (x, y)] for a in (x, y)]
    np.testing.assert_allclose(kernel([x, y]), exact, rtol=1e-11)
    np.testing.assert_allclose(kernel.diagonal([x, y]), np.diag(exact), rtol=1e-11)


def test_three_different_elements_may_be_listed_in_any_order():
    kernel = NBody(order=3, sigma=0.5)
    x, y = molecule("HCN"), molecule("HCN")
    y.rattle(0.1, seed=1)
    y.positions[2] += [0.4, 0.0, 0.0]
    value = kernel([x], [y])[0, 0]
    for p in permutations(range(3)):
        assert kernel([x], [y[list(p)]])[0, 0] == pytest.approx(value, rel=1e-13)


@pytest.mark.parametrize("order", [2, 3])
def test_sum_over_environments_is_n_squared_times_that_over_n_plets(order):
    base = NBody(order=order, sigma=0.7, cutoff=3.3)
    kernel = ManyBody(base, Polynomial(zeta=1))
    x, y = [random_atoms(1, True)], [random_atoms(2, True)]
    np.testing.assert_allclose(kernel(x, y), order**2 * base(x, y), rtol=1e-12)
    forces = covariance(base, x, y, FORCES)
    np.testing.assert_allclose(
        covariance(kernel, x, y, FORCES), order**2 * forces, atol=1e-11 * np.abs(forces).max()
    )


def test_forces_of_a_single_dimer():
    """One distance only: between its slopes the kernel is 1/σ² along the bond."""
    dimer = Atoms("CO", [[0, 0, 0], [0.6, 0.8, 0.0]])
    unit = np.array([0.6, 0.8, 0.0])
    along = np.concatenate([unit, -unit])
    kernel = NBody(order=2, sigma=0.3)
    np.testing.assert_allclose(
        covariance(kernel, [dimer], rows=FORCES), np.outer(along, along) / 0.3**2, atol=1e-9
    )


@pytest.mark.parametrize("name", ["sum", "five-body"])
def test_forces_add_up_to_no_force_and_no_torque(name):
    x, y = random_atoms(1, False), random_atoms(2, False)
    forces = covariance(KERNELS[name], [x], [y], FORCES).reshape(4, 3, 12)
    scale = np.abs(forces).max()
    assert np.abs(forces.sum(axis=0)).max() < 1e-11 * scale
    torque = np.cross(x.positions[:, None], forces.transpose(0, 2, 1)).sum(axis=0)
    assert np.abs(torque).max() < 1e-11 * scale


@pytest.mark.parametrize("name", KERNELS)
def test_mirrored_crystals_are_the_same_and_supercells_multiply(name):
    kernel, x, y = KERNELS[name], random_atoms(1, True), random_atoms(2, True)
    value = kernel([x], [y])[0, 0]
    mirrored = Atoms(x.numbers, -x.positions, cell=CELL, pbc=True)
    assert kernel([mirrored], [y])[0, 0] == pytest.approx(value, rel=1e-10)
    assert kernel([x * (2, 1, 1)], [y])[0, 0] == pytest.approx(2 * value, rel=1e-10)


def test_triangles_across_small_cells_are_counted_once():
    """One atom with images on all sides: as many n-plets an atom as in a large cell."""
    kernel = NBody(order=3, sigma=0.7, cutoff=4.0)
    small = bulk("Ni", "fcc", a=3.5)
    large = small * (3, 3, 3)
    np.testing.assert_allclose(kernel([large], [small]), 27 * kernel([small]), rtol=1e-12)


def test_order_of_cartesian_kernels():
    """Mixed differences by n different neighbours vanish, those by n - 1 do not."""
    steps = np.random.default_rng(0).normal(scale=0.3, size=A.shape)

    def mixed_difference(order, n_moved):
        total = 0.0
        for mask in np.ndindex(*[2] * n_moved):
            cloud = A.copy()
            for i in np.flatnonzero(mask):
                cloud[i] += steps[i]
            total += (-1) ** sum(mask) * cartesian_kernel(cloud, B, 0.8, order)
        return abs(total)

    for order in (2, 3, 4):
        assert mixed_difference(order, order) < 1e-13
        assert mixed_difference(order, order - 1) > 1e-3


def test_square_of_the_kernel_of_triangles_has_order_five():
    kernel = ManyBody(NBody(order=3, sigma=1.0, cutoff=None), Polynomial(zeta=2))
    rng = np.random.default_rng(3)
    cloud = rng.normal(size=(5, 3))
    steps = rng.normal(scale=0.5, size=(5, 3))

    def mixed_difference(n_moved):
        total = 0.0
        for mask in np.ndindex(*[2] * n_moved):
            moved = cloud.copy()
            for i in np.flatnonzero(mask):
                moved[i] += steps[i]
            total += (-1) ** sum(mask) * kernel.local([environment(moved)], [environment(B)])[0, 0]
        return abs(total)

    assert mixed_difference(5) < 1e-9
    assert mixed_difference(4) > 1e-3


def test_many_body_kernel_is_the_series_of_all_orders():
    theta = 1.5
    same = cartesian_kernel(A, A, 0.8) + cartesian_kernel(B, B, 0.8)
    terms, factorial = [], 1.0
    for k in range(31):
        factorial *= max(k, 1)
        terms.append(cartesian_kernel(A, B, 0.8, order=k + 1) if k else 1.0)
        terms[-1] /= factorial * theta ** (2 * k)
    series = np.exp(-same / (2 * theta**2)) * sum(terms)
    assert many_body_kernel(A, B, 0.8, theta) == pytest.approx(series, rel=1e-13)


@pytest.mark.parametrize("order", [2, 3])
def test_averaged_kernels_are_invariant_and_covariant(order):
    first, second = (ortho_group.rvs(3, random_state=seed) for seed in (1, 2))
    first, second = first * np.linalg.det(first), second * np.linalg.det(second)
    turned = A @ first.T, B @ second.T
    assert haar_kernel(*turned, 0.8, order) == pytest.approx(haar_kernel(A, B, 0.8, order))
    expected = first @ covariant_kernel(A, B, 0.8, order) @ second.T
    np.testing.assert_allclose(covariant_kernel(*turned, 0.8, order), expected, atol=1e-12)


@pytest.mark.parametrize("distance", [1e-5, 5e-4, 2e-3, 9e-3, 1.1e-2])
def test_closed_forms_hold_close_to_the_centre(distance):
    """Where a = r r'/σ² is small, the formulas are replaced by series."""
    a = distance
    decay = np.exp(-0.5 * (1.0 + a**2))
    x, y = [[1.0, 0.0, 0.0]], [[a, 0.0, 0.0]]
    assert haar_kernel(x, y, 1.0) == pytest.approx(decay * (1 + a**2 / 6 + a**4 / 120), rel=1e-12)
    expected = decay * (a / 3 + a**3 / 30 + a**5 / 840)
    assert covariant_kernel(x, y, 1.0)[0, 0] == pytest.approx(expected, rel=1e-9)


def test_covariant_kernel_knows_the_opposite_of_a_dimer():
    x, force = np.array([[1.2, 0.0, 0.0]]), np.array([0.7, 0.0, 0.0])
    weights = np.linalg.lstsq(covariant_kernel(x, x, 0.3), force, rcond=None)[0]
    ahead, behind = (covariant_kernel(s * x, x, 0.3) @ weights for s in (1, -1))
    np.testing.assert_allclose(ahead, force, atol=1e-12)
    np.testing.assert_allclose(behind, -force, atol=1e-12)
    assert cartesian_kernel(-x, x, 0.3) < 1e-10 * cartesian_kernel(x, x, 0.3)


@pytest.mark.parametrize("what", ["energy", "forces"])
def test_diagonals_of_environments_do_not_take_the_whole_matrix(what, monkeypatch):
    kernel = ManyBody(NBody(order=2, sigma=0.7, cutoff=3.3), Gaussian(sigma=2.0))
    structures = Structures.from_ase([molecule(name) for name in ("H2O", "NH3", "CH4")])
    rows = kernel.rows(structures, what)
    expected = kernel.cross([rows]).diagonal()
    sizes, between = [], ManyBody._between
    monkeypatch.setattr(
        ManyBody, "_between",
        lambda self, a, b: sizes.append(a.values.n_groups) or between(self, a, b),
    )  # fmt: skip
    found = np.diagonal(kernel.diagonal_blocks(rows), axis1=1, axis2=2).ravel()
    # forces that vanish by symmetry are rounding errors
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15 * expected.max())
    assert max(sizes) == 5  # atoms of methane, not of all


def test_bad_kernels_are_refused():
    with pytest.raises(ValueError, match="cutoff=None is for molecules"):
        NBody(cutoff=None)([bulk("Si")])
    with pytest.raises(ValueError, match="'order' parameter"):
        NBody(order=4)([molecule("H2O")])
    with pytest.raises(ValueError, match="'sigma' parameter"):
        (NBody() + NBody(sigma=-1.0))([molecule("H2O")])
    with pytest.raises(ValueError, match="sigma=0.01 Å is too short .* raise it to 0.0[0-9]+ Å"):
        NBody(order=3, sigma=0.01)([molecule("CH3OH")])
    with pytest.raises(ValueError, match="give \\(n_neighbors, 3\\)"):
        haar_kernel(A[:, :2], B[:, :2], 0.8)
    with pytest.raises(ValueError, match="order=1 must be"):
        cartesian_kernel(A, B, 0.8, order=1)
    with pytest.raises(ValueError, match="sigma=0 must be"):
        cartesian_kernel(A, B, 0)
    with pytest.raises(ValueError, match="theta=0 must be"):
        many_body_kernel(A, B, 0.8, 0)


# Gaussian process


def mixed_data(n=6):
    """Molecules of different composition, in turn, with Morse energies and forces."""
    pairs = zip(rattled("H2O", n).to_ase(), rattled("NH3", n).to_ase(), strict=True)
    structures = Structures.from_ase([atoms for pair in pairs for atoms in pair])
    return structures, morse_targets(structures)


def as_features(model, structures):
    """The total energies as features of the first atoms, for `derivatives`."""

    class Descriptor:
        def transform(self, moved):
            values = np.zeros((len(moved.numbers), 1))
            values[moved.offsets[:-1], 0] = model.predict(moved)
            return SimpleNamespace(values=values)

    return SimpleNamespace(
        structures=structures, numbers=structures.numbers, descriptor=Descriptor()
    )


@pytest.mark.parametrize("name", ["sum", "exponential", "five-body", "normalised"])
def test_forces_and_stress_are_derivatives(name):
    """Of a process that has learnt random energies and forces of skewed cells."""
    structures = Structures.from_ase([random_atoms(seed, True, n=3) for seed in range(3)])
    rng = np.random.default_rng(0)
    targets = Targets(
        energy=rng.normal(size=3), forces=rng.normal(size=(9, 3)), offsets=structures.offsets
    )
    model = NBodyGaussianProcess(KERNELS[name], noise_energy=0.1, noise_forces=0.3)
    model.fit(structures, targets)
    crystals = Structures.from_ase([random_atoms(9, True, n=2)])
    _, forces, stress = model.predict(crystals, return_forces=True, return_stress=True)
    features, ones = as_features(model, crystals), np.ones((len(crystals.numbers), 1))
    scale = np.abs(forces).max()
    slopes = slopes_of_displacements(features, ones)
    np.testing.assert_allclose(forces, -slopes, atol=1e-7 * scale)
    volumes = np.linalg.det(crystals.cells)[:, None, None]
    expected = slopes_of_strains(features, ones)
    np.testing.assert_allclose(stress * volumes, expected, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(stress, stress.transpose(0, 2, 1), atol=1e-9 * np.abs(stress).max())


def by_kind(structures):
    """The places of all energies, then of all forces, among the rows of a covariance."""
    starts = np.concatenate([[0], np.cumsum(1 + 3 * structures.n_atoms)])
    return np.concatenate([starts[:-1], np.delete(np.arange(starts[-1]), starts[:-1])])


def test_prediction_is_the_mean_and_spread_of_the_posterior():
    structures, targets = mixed_data(3)
    kernel = KERNELS["sum"]
    model = NBodyGaussianProcess(kernel, noise_energy=0.01, noise_forces=0.05)
    model.fit(structures, targets)
    n = len(structures)
    order = by_kind(structures)
    matrix = covariance(kernel, structures)[np.ix_(order, order)]
    noise = np.concatenate([0.01 * np.sqrt(structures.n_atoms), np.full(len(matrix) - n, 0.05)])
    matrix[np.diag_indices_from(matrix)] += noise**2
    energies = targets.energy - model.baseline_.predict(structures)
    values = np.concatenate([energies, targets.forces.ravel()])
    others = Structures.from_ase([*rattled("H2O", 2, seed=5).to_ase(), molecule("NH3")])
    cross = covariance(kernel, others, structures)[np.ix_(by_kind(others), order)]
    to_energies, to_forces = cross[: len(others)], cross[len(others) :]
    prior_of_forces = covariance(kernel, others, rows=FORCES).diagonal()
    energy, forces, std, forces_std = model.predict(
        others, return_forces=True, return_std=True, return_forces_std=True
    )
    weights = np.linalg.solve(matrix, values)
    np.testing.assert_allclose(
        energy, to_energies @ weights + model.baseline_.predict(others), atol=1e-8
    )
    np.testing.assert_allclose(forces.ravel(), to_forces @ weights, atol=1e-7)
    for cross, prior, spread in (
        (to_energies, kernel.diagonal(others), std),
        (to_forces, prior_of_forces, forces_std.ravel()),
    ):
        explained = np.einsum("nl,ln->n", cross, np.linalg.solve(matrix, cross.T))
        np.testing.assert_allclose(spread**2, prior - explained, atol=1e-7)
    expected = multivariate_normal(cov=matrix).logpdf(values)
    assert model.log_marginal_likelihood_ == pytest.approx(expected, rel=1e-8)


def test_slopes_of_the_marginal_likelihood():
    structures, targets = mixed_data(3)
    kernel = KERNELS["sum"]
    noise = np.array([0.02, 0.1])
    model = NBodyGaussianProcess(kernel).fit(structures, targets)

    def value_and_slopes(theta):
        left, right = kernel.left, kernel.right
        scaled = left.rescaled(*np.exp(theta[:2])) + right.rescaled(*np.exp(theta[2:4]))
        values = np.concatenate([
            targets.energy - model.baseline_.predict(structures), targets.forces.ravel()
        ])  # fmt: skip
        scales = np.zeros((len(values), 2))
        scales[: len(structures), 0] = np.sqrt(structures.n_atoms)
        scales[len(structures) :, 1] = 1.0
        return likelihood_and_slopes(scaled, np.exp(theta[4:]), model._training, values, scales)

    theta = np.log([*kernel.left.scales, *kernel.right.scales, *noise])
    slopes = value_and_slopes(theta)[1]
    for k, step in enumerate(1e-4 * np.eye(6)):
        difference = value_and_slopes(theta + step)[0] - value_and_slopes(theta - step)[0]
        assert slopes[k] == pytest.approx(difference / 2e-4, rel=1e-5, abs=1e-3)


def test_optimisation_raises_the_likelihood_and_lowers_the_error():
    structures, targets = mixed_data(5)
    others = Structures.from_ase([*rattled("H2O", 20, seed=5).to_ase()])
    truth = morse_targets(others)
    fixed = NBodyGaussianProcess(NBody(sigma=0.1, amplitude=0.3), noise_forces=0.05)
    free = clone(fixed).set_params(optimize=True)
    errors = [
        np.abs(m.fit(structures, targets).predict(others, return_forces=True)[1] - truth.forces)
        for m in (fixed, free)
    ]
    assert free.log_marginal_likelihood_ > fixed.log_marginal_likelihood_ + 10
    assert errors[1].mean() < 0.2 * errors[0].mean()
    assert free.kernel_.sigma > 0.2
    assert free.noise_scale_[1] * 0.05 < 0.02


def test_pair_potential_is_recovered_from_forces_of_mixed_molecules():
    structures, targets = mixed_data(20)
    model = NBodyGaussianProcess(
        NBody(order=2, sigma=0.4, cutoff=6.0), noise_energy=1e-5, noise_forces=1e-4
    ).fit(structures, targets)
    others = Structures.from_ase([
        *rattled("H2O", 10, 0.1, seed=5).to_ase(), *rattled("NH3", 10, 0.1, seed=6).to_ase()
    ])  # fmt: skip
    truth = morse_targets(others)
    energy, forces, std = model.predict(others, return_forces=True, return_std=True)
    assert np.abs(forces - truth.forces).max() < 0.02
    assert np.abs(energy - truth.energy).max() < 0.005
    assert std.max() < 0.01


def test_triangles_are_needed_for_angles_and_recovered():
    """Morse pairs and an Axilrod-Teller term: pairs alone cannot fit it."""
    rng = np.random.default_rng(0)
    positions = np.array([[0, 0, 0], [1.9, 0, 0], [0.9, 1.7, 0], [0.9, 0.6, 1.6]])
    images = [Atoms("Ar4", positions + rng.normal(scale=0.15, size=(4, 3))) for _ in range(60)]
    structures = Structures.from_ase(images)

    def axilrod_teller(x):
        energy = 0.0
        for a, b, c in combinations(range(4), 3):
            u, v, w = x[b] - x[a], x[c] - x[b], x[a] - x[c]
            p, q, r = (np.linalg.norm(s) for s in (u, v, w))
            cosines = (-u @ w / (p * r)) * (-u @ v / (p * q)) * (-v @ w / (q * r))
            energy += 20 * (1 + 3 * cosines) / (p * q * r) ** 3
        return energy

    targets = morse_targets(structures)
    forces = targets.forces.copy().reshape(-1, 4, 3)
    energies = targets.energy + [axilrod_teller(atoms.positions) for atoms in images]
    for n, atoms in enumerate(images):
        for a, x in np.ndindex(4, 3):
            step = np.zeros((4, 3))
            step[a, x] = 1e-4
            up, down = (axilrod_teller(atoms.positions + s * step) for s in (1, -1))
            forces[n, a, x] -= (up - down) / 2e-4
    targets = Targets(energy=energies, forces=forces)
    pairs = NBody(order=2, sigma=0.6, cutoff=5.0)
    triangles = pairs + NBody(order=3, sigma=0.8, cutoff=5.0)
    model = NBodyGaussianProcess(noise_energy=1e-3, noise_forces=1e-2)
    search = KernelOrderSelector(model, [pairs, triangles]).fit(structures[:40], targets[:40])
    assert search.best_index_ == 1
    errors = []
    for kernel in (pairs, triangles):
        fitted = clone(model).set_params(kernel=kernel).fit(structures[:40], targets[:40])
        predicted = fitted.predict(structures[40:], return_forces=True)[1]
        errors.append(np.abs(predicted - targets.forces[160:]).mean())
    assert errors[1] < 0.02
    assert errors[1] < 0.2 * errors[0]


def test_pairs_are_chosen_where_pairs_are_all_there_is():
    structures, targets = mixed_data(8)
    pairs = NBody(order=2, sigma=0.4, cutoff=5.0)
    kernels = [pairs, pairs + NBody(order=3, sigma=0.8, cutoff=5.0), NBody(order=3, cutoff=5.0)]
    model = NBodyGaussianProcess(noise_energy=1e-3, noise_forces=1e-2)
    search = KernelOrderSelector(model, kernels).fit(structures, targets)
    assert search.best_index_ == 0
    assert search.log_marginal_likelihoods_.shape == (3,)
    assert len(search.predict(structures, return_forces=True, return_std=True)) == 3
    assert search.score(structures, targets) > 0.999


class OfCarbon(CartesianPairs):
    """The neighbourhoods of carbon atoms alone."""

    def rows(self, structures, what, atoms=None):
        rows = super().rows(structures, what, atoms)
        for key in [key for key in rows.parts if key[0] != 6]:
            del rows.parts[key]
        return rows


@pytest.mark.parametrize(
    ("true_order", "n", "selected"), [(2, 30, 2), (3, 30, 3), (4, 30, 3), (4, 150, 4)]
)
def test_selected_order_is_the_true_one_or_a_lower_one_with_few_data(true_order, n, selected):
    """Four neighbours on a line; energies are sums over ordered chains of n - 1 of them."""
    places = np.random.default_rng(1).uniform(-3, 3, (2 * n, 4))
    gaps = np.diff(np.sort(np.insert(places, 0, 0.0, axis=1)), axis=1).min(axis=1)
    places = places[gaps > 1e-2][:n]
    structures = [Atoms("CH4", np.outer((0.0, *x), (1.0, 0.0, 0.0))) for x in places]

    def bell(d):
        return -np.exp(-((np.abs(d) - 1) ** 2) / 2)

    def energy(x):
        return sum(
            np.prod([bell(b - a) for a, b in zip((0.0, *chain), chain, strict=False)])
            for chain in permutations(x, true_order - 1)
        )

    orders, sigmas = (2, 3, 4, 5), (0.7, 1.0, 1.5)
    kernels = [
        ManyBody(OfCarbon(sigma, cutoff=None), Polynomial(zeta=order - 1))
        for order in orders
        for sigma in sigmas
    ]
    process = NBodyGaussianProcess(noise_energy=0.01 / np.sqrt(5), baseline=None)
    search = KernelOrderSelector(process, kernels).fit(structures, [energy(x) for x in places])
    assert orders[search.best_index_ // len(sigmas)] == selected


def test_committee_of_processes_is_as_good_at_a_part_of_the_cost():
    """Bagging: eight processes, each of a quarter of the structures, with their spread."""
    structures, targets = mixed_data(20)
    others = Structures.from_ase([*rattled("H2O", 10, seed=5).to_ase(), molecule("NH3")])
    process = NBodyGaussianProcess(NBody(sigma=0.4), noise_energy=1e-3, noise_forces=0.02)
    committee = Committee(process, 8, resampling="bootstrap", max_samples=0.25, random_state=0)
    committee.fit(structures, targets)
    assert max(m.n_observations_ for m in committee.estimators_) <= 10 * 13
    truth = morse_targets(others)
    options = {"return_forces": True, "return_std": True, "return_forces_std": True}
    energy, forces, std, forces_std = committee.predict(others, **options)
    errors = [
        np.abs(member.predict(others, return_forces=True)[1] - truth.forces).mean()
        for member in committee.estimators_
    ]
    assert np.abs(forces - truth.forces).mean() < np.mean(errors)
    assert np.abs(energy - truth.energy).max() < 0.05
    assert (std > 0).all()
    assert forces_std.shape == forces.shape


def test_energies_alone_and_forces_alone():
    structures, targets = mixed_data(10)
    kernel = NBody(order=2, sigma=0.4)
    energies = NBodyGaussianProcess(kernel, noise_energy=1e-4).fit(structures, targets.energy)
    assert energies.absolute_energies_
    assert energies.n_observations_ == 20
    assert energies.score(structures, targets) > 0.999
    forces = Targets(forces=targets.forces, offsets=structures.offsets)
    model = NBodyGaussianProcess(kernel, noise_forces=1e-3).fit(structures, forces)
    assert not model.absolute_energies_
    assert model.baseline_ is None
    assert model.score(structures, forces) > 0.999
    assert cross_val_score(model, structures, forces, cv=3).min() > 0.95


def test_unlabelled_structures_take_part_with_what_they_have():
    structures, targets = mixed_data(4)
    energy, forces = targets.energy.copy(), targets.forces.copy()
    energy[:2] = np.nan
    forces[structures.offsets[-3] :] = np.nan
    partial = Targets(energy=energy, forces=forces, offsets=structures.offsets)
    model = NBodyGaussianProcess(KERNELS["sum"]).fit(structures, partial)
    assert model.n_observations_ == 6 + 3 * structures.offsets[-3]


def test_environments_are_drawn_at_random():
    structures, targets = mixed_data(4)
    model = NBodyGaussianProcess(NBody(), n_environments=5, random_state=1).fit(structures, targets)
    assert len(model.environments_) == 5
    assert model.n_observations_ == len(structures) + 15
    again = clone(model).fit(structures, targets)
    np.testing.assert_array_equal(model.environments_, again.environments_)
    other = clone(model).set_params(random_state=2).fit(structures, targets)
    assert (model.environments_ != other.environments_).any()


def test_periodic_and_isolated_structures_learn_together():
    data = load_boron_nitride()
    crystal = data.structures[:1].to_ase()[0]
    dimers = [Atoms("BN", [[0, 0, 0], [0, 0, r]]) for r in (1.2, 1.5, 1.8)]
    structures = Structures.from_ase([*dimers, crystal])
    forces = np.concatenate([np.zeros((6, 3)), data.targets.forces[:64]])
    targets = Targets(
        energy=[-1.0, -2.0, -1.5, data.targets.energy[0]], forces=forces, offsets=structures.offsets
    )
    model = NBodyGaussianProcess(NBody(cutoff=3.0), n_environments=30, random_state=0)
    energy, forces, std = model.fit(structures, targets).predict(
        structures, return_forces=True, return_std=True
    )
    assert energy.shape == (4,)
    assert forces.shape == (70, 3)
    assert (std >= 0).all()
    with pytest.raises(ValueError, match="stress needs structures that are periodic"):
        model.predict(structures, return_stress=True)
    stress = model.predict(structures[3:], return_stress=True)[1]
    assert stress.shape == (1, 3, 3)


def test_uncertainty_is_small_on_the_training_set_and_large_elsewhere():
    structures, targets = mixed_data(6)
    model = NBodyGaussianProcess(NBody(sigma=0.3), noise_energy=1e-4).fit(structures, targets)
    stretched = structures[:1].to_ase()[0]
    stretched.positions *= 1.5
    std = model.predict(structures, return_std=True)[1]
    far = model.predict([stretched], return_std=True)[1]
    assert std.max() < 0.01
    assert far[0] > 30 * std.max()


def test_predictions_do_not_depend_on_the_batch(monkeypatch):
    structures, targets = mixed_data(3)
    model = NBodyGaussianProcess(KERNELS["sum"]).fit(structures, targets)
    options = {"return_forces": True, "return_std": True}
    whole = model.predict(structures, **options)
    monkeypatch.setattr("skatom.models.nbody.nbody_gaussian_process._BATCH_ATOMS", 5)
    for a, b in zip(model.predict(structures, **options), whole, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


# scikit-learn, and bad input


def test_grid_search_joblib_and_calculator(tmp_path):
    structures, targets = mixed_data(6)
    model = NBodyGaussianProcess(NBody(order=2), noise_energy=1e-3)
    search = GridSearchCV(model, {"kernel__sigma": [0.2, 0.5]}, cv=2).fit(structures, targets)
    best = search.best_estimator_
    joblib.dump(best, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict(structures), best.predict(structures))
    atoms = structures[:1].to_ase()[0]
    atoms.calc = SkatomCalculator(search)
    np.testing.assert_allclose(atoms.get_forces(), best.predict([atoms], return_forces=True)[1])


def test_bad_input_is_refused():
    structures, targets = mixed_data(2)
    model = NBodyGaussianProcess(NBody(order=2))
    with pytest.raises(NotFittedError):
        model.predict(structures)
    with pytest.raises(ValueError, match="no structure has energy or forces"):
        model.fit(structures, Targets(dipole=np.zeros((4, 3))))
    with pytest.raises(ValueError, match="'noise_forces' parameter"):
        clone(model).set_params(noise_forces=-1.0).fit(structures, targets)
    model.fit(structures, targets)
    with pytest.raises(ValueError, match=r"structure 1 contains C, .* \(species H, N"):
        model.predict([molecule("H2O"), molecule("CH4")])
    with pytest.raises(ValueError, match="stress needs structures that are periodic"):
        model.predict(structures, return_stress=True)
    with pytest.raises(ValueError, match="kernels is empty"):
        KernelOrderSelector(model, []).fit(structures, targets)


def test_duplicates_without_noise_are_refused():
    structures, targets = mixed_data(2)
    twice, both = structures[[0, 1, 2, 3, 0]], targets[[0, 1, 2, 3, 0]]
    model = NBodyGaussianProcess(NBody(order=2), noise_energy=1e-12, noise_forces=1e-12)
    with pytest.raises(ValueError, match="raise noise_energy or noise_forces"):
        model.fit(twice, both)
    model.set_params(noise_energy=1e-3, noise_forces=1e-2).fit(twice, both)


def test_too_large_a_kernel_matrix_is_refused_with_its_size():
    structures, targets = mixed_data(2)
    model = NBodyGaussianProcess(NBody(order=2), max_memory=1e-6)
    with pytest.raises(MemoryError, match="kernel matrix of 46 observations .* n_environments"):
        model.fit(structures, targets)
