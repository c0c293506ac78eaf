"""Kernels of neighbours averaged over rotations, and kernels of their positions."""

import joblib
import numpy as np
import pytest
import skops.io
from ase import Atoms
from ase.build import molecule
from conftest import morse_targets, rattled
from scipy.stats import special_ortho_group
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from skatom import Structures, Targets
from skatom.calculators import SkatomCalculator
from skatom.kernels import (
    CartesianPairs,
    CovariantNBody,
    Gaussian,
    HaarNBody,
    ManyBody,
    NBody,
    Polynomial,
    cartesian_kernel,
    covariance,
    covariant_kernel,
    haar_kernel,
    many_body_kernel,
)
from skatom.metrics import neg_force_mae
from skatom.models import MappedForceField, NBodyGaussianProcess

A = np.array([(1.1, 0.2, -0.3), (-0.7, 1.2, 0.4), (0.1, -1.5, 1.0), (0.9, 0.9, 1.7)])
B = np.array([(1.0, -0.1, 0.5), (-1.3, 0.6, -0.2), (0.4, 1.6, -0.9)])
# all neighbours of the centres of A and B are within the cutoff less its width
FAR = {"sigma": 0.8, "cutoff": 3.2, "cutoff_width": 0.6}
CELL = np.array([[3.1, 0.2, 0.0], [0.9, 3.3, 0.3], [-0.4, 0.5, 2.9]])


def environment(neighbors, numbers=6):
    """A central carbon atom, first, and its neighbours."""
    numbers = np.broadcast_to(numbers, len(neighbors))
    return Atoms([6, *numbers], np.vstack([np.zeros(3), neighbors]))


def crystal(seed, symbols="CHC"):
    rng = np.random.default_rng(seed)
    atoms = Atoms(symbols, cell=CELL, pbc=True)
    atoms.set_scaled_positions(np.arange(len(symbols))[:, None] / 3 + rng.uniform(0, 0.2, (3, 3)))
    return atoms


def rotation(seed):
    return special_ortho_group.rvs(3, random_state=seed)


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [2, 3])
def test_environments_have_the_averages_of_their_neighbours(order):
    a, b = [environment(A)], [environment(B)]
    found = HaarNBody(order, **FAR).local(a, b)[0, 0]
    assert found == pytest.approx(haar_kernel(A, B, 0.8, order), rel=1e-12)
    found = CovariantNBody(order, amplitude=2.0, **FAR)(a, b)[:3, :3]
    np.testing.assert_allclose(found, 4 * covariant_kernel(A, B, 0.8, order), atol=1e-12)


def test_golden_numbers_of_the_averages():
    a, b = [environment(A)], [environment(B)]
    assert HaarNBody(2, **FAR).local(a, b)[0, 0] == pytest.approx(1.477929730632, rel=1e-12)
    assert HaarNBody(3, **FAR).local(a, b)[0, 0] == pytest.approx(2.307513931074, rel=1e-12)
    assert haar_kernel(A, B, 0.8, order=4) == pytest.approx(3.7941577973, rel=1e-10)


def by_rotations(x, y, numbers_x, numbers_y, order, covariant):
    """The average over a product of rules for the three Euler angles."""
    angles = 2 * np.pi * np.arange(40) / 40
    cosines, weights = np.polynomial.legendre.leggauss(20)
    total = 0.0
    for beta, weight in zip(np.arccos(cosines), weights / 2 / 1600, strict=True):
        a, c = (g.ravel() for g in np.meshgrid(angles, angles))
        zero, one, b = 0 * a, 1 + 0 * a, beta + 0 * a
        around = [
            np.array([[cos, -sin, zero], [sin, cos, zero], [zero, zero, one]])
            for cos, sin in ((np.cos(t), np.sin(t)) for t in (a, c))
        ]  # fmt: skip
        tilt = np.array(
            [[np.cos(b), zero, np.sin(b)], [zero, one, zero], [-np.sin(b), zero, np.cos(b)]]
        )
        turns = np.einsum("abr,bcr,cdr->rad", around[0], tilt, around[1])
        squares = np.sum((x[:, None] - np.einsum("rab,jb->rja", turns, y)[:, None]) ** 2, axis=-1)
        same = np.equal.outer(numbers_x, numbers_y)
        sums = np.sum(same * np.exp(-squares / (2 * 0.8**2)), axis=(1, 2)) ** (order - 1)
        total += weight * (np.einsum("r,rab->ab", sums, turns) if covariant else sums.sum())
    return total


@pytest.mark.parametrize("order", [2, 3])
def test_only_like_neighbours_are_compared(order):
    p, q = np.array([1, 8, 1, 6]), np.array([8, 1, 1])
    a, b = [environment(A, p)], [environment(B, q)]
    expected = by_rotations(A, B, p, q, order, False)
    assert HaarNBody(order, **FAR).local(a, b)[0, 0] == pytest.approx(expected, rel=1e-9)
    expected = by_rotations(A, B, p, q, order, True)
    found = CovariantNBody(order, **FAR)(a, b)[:3, :3]
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_kernels_of_positions_are_those_of_sets_of_neighbours():
    a, b = [environment(A)], [environment(B)]
    base = CartesianPairs(sigma=0.8, cutoff=None)
    for order in (2, 3, 4):
        found = ManyBody(base, Polynomial(zeta=order - 1)).local(a, b)[0, 0]
        assert found == pytest.approx(cartesian_kernel(A, B, 0.8, order), rel=1e-13)
    found = ManyBody(base, Gaussian(sigma=1.5)).local(a, b)[0, 0]
    assert found == pytest.approx(many_body_kernel(A, B, 0.8, 1.5), rel=1e-13)


@pytest.mark.parametrize("kernel", [HaarNBody(2, **FAR), HaarNBody(3, **FAR)], ids=str)
def test_averages_over_rotations_are_the_same_for_each_rotated_neighbourhood(kernel):
    x, y = crystal(0), crystal(1)
    turned = x.copy()
    turned.set_cell(x.cell @ rotation(0).T, scale_atoms=True)
    np.testing.assert_allclose(kernel.local([turned], [y]), kernel.local([x], [y]), rtol=1e-11)


def test_kernels_of_positions_turn_with_both_structures_only():
    kernel, x, y = CartesianPairs(sigma=0.8, cutoff=3.0), crystal(0), crystal(1)
    turned = [atoms.copy() for atoms in (x, y)]
    for atoms in turned:
        atoms.set_cell(atoms.cell @ rotation(0).T, scale_atoms=True)
    assert kernel([turned[0]], [turned[1]])[0, 0] == pytest.approx(kernel([x], [y])[0, 0])
    assert kernel([turned[0]], [y])[0, 0] != pytest.approx(kernel([x], [y])[0, 0], rel=0.01)


# --- forces that turn ---------------------------------------------------------------------------


@pytest.mark.parametrize("order", [2, 3])
def test_covariant_matrices_turn_with_each_of_the_structures(order):
    kernel, x, y = CovariantNBody(order, sigma=0.9, cutoff=2.8), crystal(0), crystal(1)
    plain = kernel([x], [y]).reshape(3, 3, 3, 3)
    r, s = rotation(0), rotation(1)
    turned = [atoms.copy() for atoms in (x, y)]
    for atoms, turn in zip(turned, (r, s), strict=True):
        atoms.set_cell(atoms.cell @ turn.T, scale_atoms=True)
    expected = np.einsum("ab,ibjc,dc->iajd", r, plain, s)
    found = kernel(turned[:1], turned[1:]).reshape(3, 3, 3, 3)
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(plain).max())
    mixed = kernel([x[[2, 0, 1]]], [y]).reshape(3, 3, 3, 3)
    np.testing.assert_allclose(mixed, plain[[2, 0, 1]], atol=1e-12 * np.abs(plain).max())


@pytest.mark.parametrize("order", [2, 3])
def test_covariant_matrix_is_symmetric_and_positive(order):
    kernel = CovariantNBody(order, sigma=0.9, cutoff=2.8)
    structures = [crystal(0), molecule("H2O"), Atoms("O")]
    matrix = kernel(structures)
    assert matrix.shape == (21, 21)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-13 * matrix.max())
    np.testing.assert_allclose(kernel.diagonal(structures), matrix.diagonal(), atol=1e-13)
    lengths = np.linalg.eigvalsh(matrix)
    assert lengths[0] > -1e-13 * lengths[-1]
    np.testing.assert_array_equal(covariance(kernel, structures, rows=("forces",)), matrix)


def test_forces_on_both_atoms_of_a_dimer_follow_from_one_of_them():
    """One atom is the other one turned, so its force is known, too."""
    dimer = Atoms("N2", [[0, 0, 0], [1.2, 0, 0]])
    forces = np.array([[0.7, 0, 0], [-0.7, 0, 0]])
    model = NBodyGaussianProcess(
        CovariantNBody(2, sigma=0.5), noise_forces=1e-3, n_environments=1, random_state=0
    ).fit([dimer], Targets(forces=forces, offsets=[0, 2]))
    turned = dimer.copy()
    turned.rotate(rotation(0)[0], (1, 0, 0))
    units = turned.positions[1] - turned.positions[0]
    expected = 0.7 / 1.2 * np.stack([units, -units])
    np.testing.assert_allclose(model.predict([turned]), expected, atol=1e-5)


def test_covariant_process_is_a_model_of_forces():
    structures = rattled("H2O", 20)
    targets = morse_targets(structures)
    forces = Targets(forces=targets.forces, offsets=structures.offsets)
    train, test = slice(0, 16), slice(16, 20)
    kernel = CovariantNBody(3, sigma=0.5, cutoff=2.4, cutoff_width=0.5)
    model = NBodyGaussianProcess(kernel, noise_forces=0.005)
    model.fit(structures[train], forces[train])
    assert model.outputs_ == ("forces", "forces_std")
    assert not model.absolute_energies_
    found, std = model.predict(structures[test], return_forces_std=True)
    assert r2_score(forces[test].forces.ravel(), found.ravel()) > 0.99
    assert model.score(structures[test], forces[test]) > 0.99
    assert std.shape == found.shape
    # the posterior of a dense solution
    matrix = kernel(structures[train]) + 0.005**2 * np.eye(144)
    cross = kernel(structures[test], structures[train])
    expected = cross @ np.linalg.solve(matrix, forces[train].forces.ravel())
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-8)
    spread = kernel.diagonal(structures[test]) - np.sum(
        cross * np.linalg.solve(matrix, cross.T).T, 1
    )
    np.testing.assert_allclose(std.ravel(), np.sqrt(spread), atol=1e-8)
    atoms = structures[:1].to_ase()[0]
    atoms.calc = SkatomCalculator(model)
    np.testing.assert_allclose(atoms.get_forces(), model.predict(structures[:1]))


# --- energies -----------------------------------------------------------------------------------


def test_order_three_learns_angles_and_order_two_does_not():
    """Three-body energies of water: a harmonic bond angle."""
    structures = rattled("H2O", 40)
    positions = structures.positions.reshape(-1, 3, 3)
    first, second = positions[:, 1] - positions[:, 0], positions[:, 2] - positions[:, 0]
    cosines = np.sum(first * second, axis=1)
    cosines /= np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    energies = 5.0 * (np.arccos(cosines) - 1.8) ** 2
    scores = []
    for order in (2, 3):
        kernel = HaarNBody(order, sigma=0.5, cutoff=2.4, cutoff_width=0.5)
        model = NBodyGaussianProcess(kernel, noise_energy=1e-4)
        model.fit(structures[:30], energies[:30])
        scores.append(model.score(structures[30:], energies[30:]))
    assert scores[1] > 0.9
    assert scores[0] < 0.2


@pytest.mark.parametrize(
    "kernel",
    [
        HaarNBody(2, sigma=0.8, cutoff=3.0),
        HaarNBody(3, sigma=1.0, cutoff=2.6),
        ManyBody(HaarNBody(2, sigma=0.8, cutoff=3.0), Polynomial(zeta=2)),
        ManyBody(CartesianPairs(sigma=0.8, cutoff=3.0), Gaussian(sigma=2.0)),
        HaarNBody(2, sigma=0.8, cutoff=3.0) + NBody(3, sigma=0.8, cutoff=2.8),
    ],
    ids=lambda kernel: str(kernel).replace("\n", "").replace(" ", ""),
)
def test_process_is_the_dense_posterior_with_forces_and_stress(kernel):
    crystals = Structures.from_ase([crystal(seed) for seed in range(3)])
    rng = np.random.default_rng(0)
    targets = Targets(rng.normal(size=3), rng.normal(size=(9, 3)), offsets=crystals.offsets)
    model = NBodyGaussianProcess(kernel, noise_energy=0.1, noise_forces=0.3, baseline=None)
    model.fit(crystals, targets)
    rows = [kernel.rows(crystals, what) for what in ("energy", "forces")]
    noise = np.concatenate([np.full(3, 0.03), np.full(27, 0.09)])
    matrix = kernel.cross(rows) + np.diag(noise)
    weights = np.linalg.solve(matrix, np.concatenate([targets.energy, targets.forces.ravel()]))
    other = Structures.from_ase([crystal(7)])
    options = ("forces", "stress", "std", "forces_std", "stress_std")
    found = model.predict(other, **{f"return_{name}": True for name in options})
    for k, what in enumerate(("energy", "forces", "virial")):
        unseen = [kernel.rows(other, what)]
        cross = kernel.cross(unseen, rows)
        spread = kernel.cross(unseen).diagonal()
        spread = spread - np.einsum("ij,ji->i", cross, np.linalg.solve(matrix, cross.T))
        mean, std = found[k], found[k + 3]
        if what == "virial":
            mean, std = (
                x.reshape(1, 9)[:, [0, 4, 8, 5, 2, 1]] * np.linalg.det(CELL) for x in (mean, std)
            )
        np.testing.assert_allclose(mean.ravel(), cross @ weights, atol=1e-8)
        np.testing.assert_allclose(std.ravel(), np.sqrt(spread), atol=1e-8)
    step, atoms = 1e-4, other.to_ase()[0]
    for axis in range(3):
        moved = [atoms.copy(), atoms.copy()]
        moved[0].positions[1, axis] += step
        moved[1].positions[1, axis] -= step
        up, down = model.predict(moved)
        assert found[1][1, axis] == pytest.approx(-(up - down) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("kernel", [HaarNBody(2), CovariantNBody(2), CartesianPairs()], ids=str)
def test_processes_are_saved_and_searched(kernel, tmp_path):
    structures = rattled("H2O", 6)
    forces = Targets(forces=morse_targets(structures).forces, offsets=structures.offsets)
    model = NBodyGaussianProcess(kernel, noise_forces=0.05)
    search = GridSearchCV(model, {"kernel__sigma": [0.5, 0.8]}, cv=2, scoring=neg_force_mae)
    best = search.fit(structures, forces).best_estimator_
    joblib.dump(best, tmp_path / "model.joblib")
    data = skops.io.dumps(best)
    unknown = skops.io.get_untrusted_types(data=data)
    assert all(name.startswith("skatom.") for name in unknown)
    expected = best.predict(structures, return_forces=True, return_forces_std=True)
    for copy in (joblib.load(tmp_path / "model.joblib"), skops.io.loads(data, trusted=unknown)):
        found = copy.predict(structures, return_forces=True, return_forces_std=True)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kernel", [HaarNBody(2), CovariantNBody(2), ManyBody(CartesianPairs())])
def test_scales_are_found_by_the_likelihood(kernel):
    structures = rattled("H2O", 6)
    forces = Targets(forces=morse_targets(structures).forces, offsets=structures.offsets)
    fixed = NBodyGaussianProcess(kernel, noise_forces=0.05).fit(structures, forces)
    free = NBodyGaussianProcess(kernel, noise_forces=0.05, optimize=True).fit(structures, forces)
    assert free.log_marginal_likelihood_ > fixed.log_marginal_likelihood_ + 10
    assert free.kernel_.scales != fixed.kernel_.scales


@pytest.mark.parametrize(
    "kernel",
    [
        HaarNBody(2),
        HaarNBody(3),
        CartesianPairs(),
        ManyBody(HaarNBody(3)),
        ManyBody(CartesianPairs()),
        NBody(3),
    ],
    ids=lambda kernel: str(kernel).replace(" ", ""),
)
def test_atoms_without_neighbours_have_no_covariance(kernel):
    atoms = [Atoms("O"), Atoms("H")]
    np.testing.assert_array_equal(covariance(kernel, atoms), np.zeros((8, 8)))
    np.testing.assert_array_equal(kernel.diagonal(atoms), [0, 0])
    model = NBodyGaussianProcess(kernel).fit(atoms, [1.0, 2.0])
    energy, forces, std = model.predict(atoms, return_forces=True, return_std=True)
    np.testing.assert_allclose(energy, [1.0, 2.0])
    np.testing.assert_array_equal(forces, np.zeros((2, 3)))
    np.testing.assert_array_equal(std, [0, 0])
    energy, std = model.predict([molecule("H2O")], return_std=True)
    np.testing.assert_allclose(energy, 5.0)
    assert std > 0


# --- bad input ----------------------------------------------------------------------------------


def test_what_covariant_kernels_cannot_do_is_an_error():
    kernel, structures = CovariantNBody(2), rattled("H2O", 4)
    with pytest.raises(ValueError, match="is a kernel of forces and has no covariances of energy"):
        covariance(kernel, structures)
    model = NBodyGaussianProcess(kernel)
    with pytest.raises(ValueError, match="no structure has forces, which NBodyGaussianProcess"):
        model.fit(structures, np.zeros(4))
    with pytest.warns(UserWarning, match="does not learn from energy: these labels are not used"):
        model.fit(structures, morse_targets(structures))
    with pytest.raises(ValueError, match="gives forces, forces_std but no energy"):
        model.predict(structures, return_energy=True)
    with pytest.raises(ValueError, match="is a sum of kernels of energies and of forces alone"):
        NBodyGaussianProcess(kernel + NBody()).fit(structures, morse_targets(structures))
    with pytest.raises(ValueError, match="cannot be tabulated"):
        MappedForceField.from_fitted(model)


def test_a_sigma_that_is_too_short_is_an_error():
    with pytest.raises(ValueError, match="sigma=0.1 Å is too short for a cutoff of 4 Å: raise it"):
        HaarNBody(sigma=0.1)([molecule("H2O")])
    with pytest.raises(ValueError, match="cutoff=None is for molecules"):
        CartesianPairs(cutoff=None)([crystal(0)])
