import copy
import pickle
import warnings

import joblib
import numba
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from conftest import morse_targets, rattled
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

import skatom
from skatom import Structures, Targets
from skatom._rigid_motions import rigid_motions
from skatom.descriptors.inverse_distances import incidence, pair_features
from skatom.metrics import neg_force_mae
from skatom.models import GDML, SGDML
from skatom.models._cpu.sgdml import force_kernel_columns, matern_weights
from skatom.models.gdml.system import GDMLSystem, _square_matrices, permute_pairs
from skatom.vibrations import normal_modes

W = [[1.464, 0.707, 1.056], [0.878, 1.218, 0.498], [2.319, 1.126, 0.952]]
W2 = [[1.45, 0.72, 1.05], [0.90, 1.20, 0.55], [2.30, 1.15, 0.90]]
IDENTITY = np.array([[0, 1, 2]])
SWAP = np.array([[0, 1, 2], [0, 2, 1]])


def dense_kernel(x, y, sigma):
    """The kernel, its gradient in x, and ∂²k/∂x∂yᵀ, from the formulas."""
    delta = x - y
    t = np.sqrt(5) * np.linalg.norm(delta) / sigma
    a, b = 5 / (3 * sigma**2), 25 / (3 * sigma**4)
    k = (1 + t + t**2 / 3) * np.exp(-t)
    gradient = -a * (1 + t) * np.exp(-t) * delta
    hessian = a * (1 + t) * np.exp(-t) * np.eye(len(x)) - b * np.exp(-t) * np.outer(delta, delta)
    return k, gradient, hessian


def dense_force_kernel(structures, permutations, sigma):
    """Σ_q J_iᵀ K(x_i, P_q x_j) P_q J_j for all frames, (3NM, 3NM), without any shortcut."""
    features = pair_features(structures)
    signs = incidence(structures.n_atoms[0])
    jacobians = np.einsum("ap,ipx->ipax", signs, features.gradients)
    jacobians = jacobians.reshape(*features.values.shape, -1)
    total = 0
    for pairs in permute_pairs(permutations):
        total = total + np.block([
            [
                J.T @ dense_kernel(x, y[pairs], sigma)[2] @ K[pairs]
                for y, K in zip(features.values, jacobians, strict=True)
            ]
            for x, J in zip(features.values, jacobians, strict=True)
        ])  # fmt: skip
    return total


def fast_force_kernel(structures, permutations, sigma, columns=2):
    """The same by the fast assembly, all coordinates kept."""
    n_frames, size = len(structures), 3 * structures.n_atoms[0]
    rows = np.arange(0, n_frames * size + 1, size)
    kept = np.tile(np.arange(size), n_frames)
    full = np.zeros((n_frames * size, n_frames * size))
    for first in range(0, n_frames, columns):
        last = min(first + columns, n_frames)
        out = np.zeros((rows[-1] - rows[first], rows[last] - rows[first]))
        force_kernel_columns(
            *_square_matrices(pair_features(structures)), permutations, sigma, kept, rows, first,
            last, out,
        )  # fmt: skip
        full[rows[first] :, rows[first] : rows[last]] = out
    lower = np.tril(full)
    return lower + np.tril(full, -1).T


def permutations_of(*cycles, n):
    """The group that a cycle of atoms generates."""
    rows = [list(range(n))]
    for cycle in cycles:
        for row in list(rows):
            for turn in range(1, len(cycle)):
                new = list(row)
                for here, there in zip(cycle, cycle[turn:] + cycle[:turn], strict=True):
                    new[here] = row[there]
                rows.append(new)
    return np.array(rows)


def finite_difference(function, structures, step=1e-3):
    """Five-point differences of ``function(structures)`` in every coordinate, (3N, …)."""
    result = []
    for k in range(structures.positions.size):
        derivative = 0.0
        for steps, weight in [(1, 8), (-1, -8), (2, -1), (-2, 1)]:
            moved = structures[:]
            moved.positions.flat[k] += steps * step
            derivative = derivative + weight * function(moved) / (12 * step)
        result.append(derivative)
    return np.array(result)


class TestKernel:
    def test_values_of_the_matern_kernel(self):
        x, y, sigma = np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.1, -0.2]), 0.7
        delta = x - y
        squared = delta @ delta
        w1, w2 = matern_weights(squared, sigma)
        assert dense_kernel(x, y, sigma)[0] == pytest.approx(0.6553741799931604, abs=1e-15)
        expected = [0.3251627142, -0.1625813571, -0.8129067856]
        np.testing.assert_allclose(-w1 * delta, expected, atol=1e-10)
        hessian = w1 * np.eye(3) - w2 * np.outer(delta, delta)
        expected = [1.3844734485, 1.5654785405, 0.1174378051]
        np.testing.assert_allclose(np.diag(hessian), expected, atol=1e-10)
        expected = [0.1206700613, 0.6033503064, -0.3016751532]
        np.testing.assert_allclose(hessian[[0, 0, 1], [1, 2, 2]], expected, atol=1e-10)
        np.testing.assert_allclose(matern_weights(0.0, sigma)[0], 5 / (3 * sigma**2))

    def test_dense_reference_is_the_derivative_of_the_kernel(self):
        rng = np.random.default_rng(0)
        x, y, h = rng.normal(size=4), rng.normal(size=4), 1e-5
        _, gradient, hessian = dense_kernel(x, y, 1.3)
        for p, e in enumerate(h * np.eye(4)):
            up, down = dense_kernel(x + e, y, 1.3), dense_kernel(x - e, y, 1.3)
            assert (up[0] - down[0]) / (2 * h) == pytest.approx(gradient[p], rel=1e-8, abs=1e-10)
            up, down = dense_kernel(x, y + e, 1.3), dense_kernel(x, y - e, 1.3)
            np.testing.assert_allclose((up[1] - down[1]) / (2 * h), hessian[:, p], atol=1e-8)

    @pytest.mark.parametrize(
        ("permutations", "trace", "norm"),
        [
            (IDENTITY, 9.242764420899e-2, 6.297705194993e-2),
            (SWAP, 8.932103887652e-2, 8.174932437691e-2),
        ],
    )
    def test_block_of_two_waters(self, permutations, trace, norm):
        kernel = fast_force_kernel(Structures.from_frames([8, 1, 1], [W, W2]), permutations, 10.0)
        block = kernel[:9, 9:]
        assert np.trace(block) == pytest.approx(trace, rel=1e-11)
        assert np.linalg.norm(block) == pytest.approx(norm, rel=1e-11)
        if len(permutations) == 1:
            expected = [2.4210379006e-2, 5.8557265e-5, 5.3256266652e-3]
            np.testing.assert_allclose(block[0, :3], expected, atol=1e-12)

    @pytest.mark.parametrize("columns", [1, 2, 3, 7])
    def test_fast_assembly_equals_the_dense_formula(self, columns):
        structures = rattled("CH3OH", 7)
        permutations = permutations_of([3, 4, 5], n=6)
        expected = dense_force_kernel(structures, permutations, 3.0)
        kernel = fast_force_kernel(structures, permutations, 3.0, columns)
        np.testing.assert_allclose(kernel, expected, rtol=0, atol=1e-12 * np.abs(expected).max())

    def test_force_kernel_has_no_rigid_body_component(self):
        structures = rattled("NH3", 5)
        kernel = fast_force_kernel(structures, permutations_of([1, 2, 3], n=4), 5.0)
        eigenvalues = np.linalg.eigvalsh(kernel)
        assert eigenvalues[0] > -1e-12 * eigenvalues[-1]
        assert np.sum(eigenvalues > 1e-12 * eigenvalues[-1]) <= 5 * 6
        motions = rigid_motions(structures)
        block = kernel[:12].reshape(12, 5, 12)
        for i in range(5):
            np.testing.assert_allclose(block[:, i] @ motions[i], 0, atol=1e-13)

    @pytest.mark.parametrize("constraint", [False, True])
    def test_struck_coordinates_give_the_solution_of_the_projected_system(
        self, ammonia, constraint
    ):
        structures, targets = ammonia[0][:6], ammonia[1][:6]
        permutations, sigma, alpha = permutations_of([1, 2, 3], n=4), 5.0, 1e-6
        features = pair_features(structures)
        system = GDMLSystem(
            structures, features, permutations, permute_pairs(permutations), sigma, alpha,
            energy_constraint=False,
        )  # fmt: skip
        coefficients, _ = system.solve(targets.forces, [], verbose=0)
        kernel = dense_force_kernel(structures, permutations, sigma)
        dense = np.linalg.solve(kernel + alpha * np.eye(len(kernel)), targets.forces.ravel())
        signs = incidence(4)
        differences = signs.T @ dense.reshape(6, 4, 3)
        expected = np.einsum("ipx,ipx->ip", features.gradients, differences)
        np.testing.assert_allclose(coefficients, expected, rtol=1e-7, atol=1e-7)


@pytest.fixture(scope="module", params=[False, True], ids=["forces", "energies too"])
def model(request, ammonia):
    model = SGDML(sigma=3.0, energy_constraint=request.param)
    return model.fit(ammonia[0][:25], ammonia[1][:25])


@pytest.fixture
def query():
    return rattled("NH3", 1, seed=7)


class TestPhysics:
    def test_forces_are_the_gradient_of_the_energy(self, model, query):
        _, forces = model.predict(query, return_forces=True)
        gradient = finite_difference(lambda s: model.predict(s)[0], query)
        np.testing.assert_allclose(-gradient.reshape(-1, 3), forces, rtol=1e-7, atol=1e-7)

    def test_hessian_is_the_gradient_of_the_forces(self, model, query):
        def forces(structures):
            return model.predict(structures, return_forces=True)[1].ravel()

        hessian = model.hessian(query)[0]
        np.testing.assert_allclose(
            -finite_difference(forces, query), hessian, rtol=1e-7, atol=1e-7 * np.abs(hessian).max()
        )
        np.testing.assert_allclose(hessian, hessian.T, atol=1e-10 * np.abs(hessian).max())

    def test_hessian_at_a_training_frame_is_finite(self, model, ammonia):
        assert np.isfinite(model.hessian(ammonia[0][:1])).all()

    def test_energy_and_forces_under_motions_of_the_molecule(self, model, query):
        energy, forces = model.predict(query, return_forces=True)
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        for R in (rotation, -rotation):
            moved = Structures(query.numbers, query.positions @ R + [3.0, -1.0, 2.0])
            moved_energy, moved_forces = model.predict(moved, return_forces=True)
            np.testing.assert_allclose(moved_energy, energy, atol=1e-9)
            np.testing.assert_allclose(moved_forces, forces @ R, atol=1e-9)
        np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(np.cross(query.positions, forces).sum(axis=0), 0, atol=1e-10)

    def test_like_atoms_are_alike(self, model, query):
        energy, forces = model.predict(query, return_forces=True)
        assert len(model.permutations_) == 6
        for permutation in model.permutations_:
            permuted = Structures(query.numbers, query.positions[permutation])
            other_energy, other_forces = model.predict(permuted, return_forces=True)
            np.testing.assert_allclose(other_energy, energy, atol=1e-9)
            np.testing.assert_allclose(other_forces, forces[permutation], atol=1e-9)

    def test_a_batch_is_predicted_as_its_members_are(self, model):
        batch = rattled("NH3", 300, seed=3)
        energies, forces = model.predict(batch, return_forces=True)
        for n in (0, 137, 299):
            energy, force = model.predict(batch[n], return_forces=True)
            np.testing.assert_allclose(energies[n], energy[0], atol=1e-10)
            np.testing.assert_allclose(forces[4 * n : 4 * n + 4], force, atol=1e-10)

    def test_number_of_threads_does_not_matter(self, ammonia):
        results = []
        for n_threads in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(n_threads)
            model = SGDML().fit(*ammonia)
            results.append(model.predict(rattled("NH3", 300), return_forces=True))
        np.testing.assert_array_equal(results[0][0], results[1][0])
        np.testing.assert_array_equal(results[0][1], results[1][1])

    def test_training_labels_are_reproduced(self, model, ammonia):
        energies, forces = model.predict(ammonia[0][:25], return_forces=True)
        targets = ammonia[1][:25]
        spread = np.abs(targets.forces).max()
        np.testing.assert_allclose(forces, targets.forces, atol=1e-4 * spread)
        assert np.mean(energies - targets.energy) == pytest.approx(0, abs=1e-7)

    def test_unseen_frames_are_predicted(self, model, ammonia):
        assert model.score(ammonia[0][25:], ammonia[1][25:]) > 0.97


def test_a_constant_added_to_the_energies_is_added_to_the_predictions(ammonia):
    X, y = ammonia
    moved = Targets(y.energy + 1000.0, y.forces, offsets=y.offsets)
    difference = SGDML().fit(X, moved).predict(X) - SGDML().fit(X, y).predict(X)
    np.testing.assert_allclose(difference, 1000.0, atol=1e-9)


def test_energies_that_are_learnt_are_met(ammonia):
    X, y = ammonia[0][:20], ammonia[1][:20]
    model = GDML(sigma=3.0, energy_constraint=True, alpha=1e-12).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y.energy, atol=1e-5)


def test_one_permutation_makes_sgdml_gdml(ammonia):
    X, y = ammonia
    identity = [[0, 1, 2, 3]]
    one = GDML().fit(X, y).predict(X[:5], return_forces=True)
    other = SGDML(permutations=identity).fit(X, y).predict(X[:5], return_forces=True)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_symmetric_kernel_equals_permuted_copies_of_the_data(ammonia):
    X, y = ammonia[0][:10], ammonia[1][:10]
    permutations = SGDML().fit(*ammonia).permutations_
    positions = X.positions.reshape(10, 4, 3)[:, permutations].reshape(-1, 4, 3)
    forces = y.forces.reshape(10, 4, 3)[:, permutations].reshape(-1, 4, 3)
    augmented = Structures.from_frames(X[0].numbers, positions)
    labels = Targets(y.energy.repeat(len(permutations)), forces)
    plain = GDML(sigma=3.0, alpha=1e-8).fit(augmented, labels)
    symmetric = SGDML(sigma=3.0, alpha=1e-8, permutations=permutations).fit(X, y)
    query = rattled("NH3", 3, seed=5)
    for one, other in zip(
        plain.predict(query, return_forces=True),
        symmetric.predict(query, return_forces=True),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_forces_alone_give_relative_energies(ammonia):
    X, y = ammonia
    forces_only = SGDML().fit(X, Targets(forces=y.forces, offsets=y.offsets))
    both = SGDML().fit(X, y)
    assert not forces_only.absolute_energies_
    difference = forces_only.predict(X) - both.predict(X)
    np.testing.assert_allclose(difference, -y.energy.mean(), atol=1e-9)
    assert forces_only.score(X, y) > 0.99  # of the forces


@pytest.mark.parametrize("name", ["H2", "CO2", "HCN"])
def test_linear_molecules_have_five_rigid_motions(name):
    atoms = molecule(name)
    axis = atoms.get_distance(0, 1, vector=True)
    axis /= np.linalg.norm(axis)
    rng = np.random.default_rng(0)
    stretched = rng.normal(scale=0.05, size=(30, len(atoms), 1)) * axis
    structures = Structures.from_frames(atoms.numbers, atoms.positions + stretched)
    np.testing.assert_allclose(np.sum(rigid_motions(structures) ** 2, axis=(1, 2)), 5)
    targets = morse_targets(structures)
    model = SGDML(sigma=3.0).fit(structures[:20], targets[:20])
    _, forces = model.predict(structures[20:], return_forces=True)
    np.testing.assert_allclose(forces, targets[20:].forces, atol=2e-2)


@pytest.fixture(scope="module")
def crystal():
    """A skewed cell of four atoms, with the labels of the free molecule."""
    cell = np.array([[5.0, 0.3, 0.2], [0.8, 5.2, 0.0], [-0.6, 0.5, 5.4]])
    sites = np.array([[0, 0, 0], [0.24, 0.22, 0.27], [0.3, 0.0, 0.31], [0.05, 0.35, 0.3]])
    positions = sites @ cell + np.random.default_rng(0).normal(scale=0.08, size=(30, 4, 3))
    structures = Structures.from_frames([14, 14, 6, 6], positions, cell)
    return structures, morse_targets(structures)


@pytest.fixture(scope="module")
def periodic_model(crystal):
    return SGDML(sigma=3.0, permutations=[[0, 1, 2, 3]]).fit(*crystal)


class TestPeriodic:
    def test_wrapping_atoms_changes_nothing(self, crystal, periodic_model):
        structures = crystal[0][:1]
        shifted = structures[:]
        shifted.positions[1] += structures.cells[0].sum(axis=0)
        for one, other in zip(
            periodic_model.predict(structures, return_forces=True, return_stress=True),
            periodic_model.predict(shifted, return_forces=True, return_stress=True),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, atol=1e-9)

    def test_stress_is_the_derivative_by_strain(self, crystal, periodic_model):
        query = crystal[0][3:4]
        _, stress = periodic_model.predict(query, return_stress=True)
        step, numerical = 1e-5, np.zeros((3, 3))
        for x in range(3):
            for y in range(3):
                energies = []
                for sign in (1, -1):
                    strain = np.eye(3)
                    strain[x, y] += sign * step
                    strained = Structures(
                        query.numbers, query.positions @ strain, None, query.cells @ strain,
                        query.pbc,
                    )  # fmt: skip
                    energies.append(periodic_model.predict(strained)[0])
                numerical[x, y] = (energies[0] - energies[1]) / (2 * step)
        volume = np.linalg.det(query.cells[0])
        np.testing.assert_allclose(stress[0], numerical / volume, rtol=1e-6, atol=1e-9)

    @pytest.mark.parametrize("device", ["cpu", "torch"])
    def test_forces_and_hessian_are_derivatives(self, crystal, periodic_model, device):
        if device == "torch":
            pytest.importorskip("torch")
        model = copy.copy(periodic_model).set_params(device=device)
        query, step = crystal[0][3:4], 1e-5
        images = np.repeat(query.positions[None], 24, axis=0).reshape(2, 12, 12)
        images += step * np.array([1.0, -1.0])[:, None, None] * np.eye(12)
        moved = Structures.from_frames(query.numbers, images.reshape(24, 4, 3), query.cells[0])
        energies, forces = model.predict(moved, return_forces=True)
        slopes = (energies[:12] - energies[12:]) / (2 * step)
        own = model.predict(query, return_forces=True)[1].ravel()
        np.testing.assert_allclose(own, -slopes, atol=1e-6 * np.abs(own).max())
        forces = forces.reshape(2, 12, 12)
        hessian = model.hessian(query)[0]
        np.testing.assert_allclose(
            hessian, (forces[1] - forces[0]) / (2 * step), atol=1e-6 * np.abs(hessian).max()
        )

    def test_the_choice_of_the_cell_changes_nothing(self, crystal, periodic_model):
        structures, targets = crystal
        whole = np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 1]])
        cells = structures.cells.copy()
        cells[::2] = whole @ cells[::2]
        other = Structures(
            structures.numbers, structures.positions, structures.offsets, cells, structures.pbc
        )
        options = {"return_forces": True, "return_stress": True}
        for model in (
            periodic_model,
            SGDML(sigma=3.0, permutations=[range(4)]).fit(other, targets),
        ):
            for one, image in zip(
                periodic_model.predict(structures, **options), model.predict(other, **options),
                strict=True,
            ):  # fmt: skip
                np.testing.assert_allclose(one, image, rtol=1e-7, atol=1e-8)

    def test_only_the_periodic_directions_of_the_cell_matter(self, crystal):
        structures, targets = crystal
        pbc = np.tile([True, False, True], (len(structures), 1))
        forces = []
        for height in (5.2, 50.0):
            cells = structures.cells.copy()
            cells[:, 1] *= height
            slab = Structures(
                structures.numbers, structures.positions, structures.offsets, cells, pbc
            )
            model = GDML(sigma=3.0).fit(slab, targets)
            forces.append(model.predict(slab[:3], return_forces=True)[1])
        np.testing.assert_allclose(*forces, rtol=1e-9)

    def test_lattices_that_differ_are_refused(self, crystal):
        structures, targets = crystal
        cells = structures.cells.copy()
        cells[4] *= 1.01
        arguments = structures.numbers, structures.positions, structures.offsets
        with pytest.raises(ValueError, match="frame 4 has another lattice than frame 0"):
            GDML().fit(Structures(*arguments, cells, structures.pbc), targets)
        cells[4] = structures.cells[4] @ np.diag([1, 1, 2])  # a lattice of half the points
        with pytest.raises(ValueError, match="frame 4 has another lattice than frame 0"):
            GDML().fit(Structures(*arguments, cells, structures.pbc), targets)
        pbc = structures.pbc.copy()
        pbc[7, 1:] = False
        with pytest.raises(ValueError, match="frame 7 is periodic in x and frame 0 in xyz"):
            GDML().fit(Structures(*arguments, structures.cells, pbc), targets)

    def test_cells_in_which_neighbours_have_two_images_are_refused(self):
        atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
        rng = np.random.default_rng(0)

        def frames(atoms, n=3):
            moved = atoms.positions + rng.normal(scale=0.02, size=(n, len(atoms), 3))
            return Structures.from_frames(atoms.numbers, moved, atoms.cell.array)

        small, large = frames(atoms), frames(atoms.repeat((2, 2, 2)))
        nothing = [
            Targets(forces=np.zeros((len(X.numbers), 3)), offsets=X.offsets) for X in (small, large)
        ]
        with pytest.raises(
            ValueError, match="neighbours at 2.* Å, and in another image at 2.*small"
        ):
            GDML().fit(small, nothing[0])
        assert GDML().fit(large, nothing[1]).predict(large).shape == (3,)

    def test_normal_modes_are_those_of_finite_differences(self, crystal, periodic_model, ammonia):
        class ForcesOnly:
            def __init__(self, model):
                self.predict, self.outputs_ = model.predict, ("energy", "forces")

        molecule = GDML(sigma=3.0).fit(*ammonia)
        for model, X, n_modes in ((periodic_model, crystal[0], 9), (molecule, ammonia[0], 6)):
            atoms = X[:1].to_ase()[0]
            own = normal_modes(model, atoms)
            numerical = normal_modes(ForcesOnly(model), atoms, step=1e-5)
            assert own.wavenumbers.shape == (n_modes,)
            largest = np.abs(own.wavenumbers).max()
            np.testing.assert_allclose(
                own.wavenumbers, numerical.wavenumbers, rtol=1e-6, atol=1e-6 * largest
            )
            overlaps = np.einsum("iax,a,jax->ij", own.modes, atoms.get_masses(), numerical.modes)
            np.testing.assert_allclose(np.abs(overlaps), np.eye(n_modes), atol=1e-5)

    def test_stress_of_a_molecule_is_refused(self, ammonia):
        model = GDML().fit(*ammonia)
        with pytest.raises(ValueError, match="periodic in three directions"):
            model.predict(ammonia[0], return_stress=True)


class TestScikitLearn:
    def test_parameters(self):
        model = SGDML(sigma=7.0, permutations=[[0, 1]])
        assert clone(model).get_params() == model.get_params()
        assert GDML().set_params(alpha=1e-8).alpha == 1e-8

    def test_grid_search_by_force_error(self, ammonia):
        X, y = ammonia
        search = GridSearchCV(SGDML(), {"sigma": [0.01, 5.0]}, scoring=neg_force_mae, cv=3)
        with pytest.warns(UserWarning, match="a bad sigma"):
            search.fit(X.to_ase(), y)
        assert search.best_params_ == {"sigma": 5.0}
        assert search.best_estimator_.predict(X[:2]).shape == (2,)

    def test_cross_validation_by_score(self, ammonia):
        assert (cross_val_score(SGDML(sigma=3.0), *ammonia, cv=3) > 0.9).all()

    def test_joblib_round_trip_and_size(self, tmp_path, ammonia):
        X, y = ammonia
        model = SGDML().fit(X, y)
        path = tmp_path / "model.joblib"
        joblib.dump(model, path)
        again = joblib.load(path)
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        # descriptors and coefficients: 2 M D numbers; the kernel would be (6 M)² / 2
        assert path.stat().st_size < 8 * (2 * 40 * 6) + 8000

    def test_skops_round_trip(self, tmp_path, ammonia):
        sio = pytest.importorskip("skops.io")
        X, y = ammonia
        model = SGDML().fit(X, y)
        path = tmp_path / "model.skops"
        sio.dump(model, path)
        untrusted = sio.get_untrusted_types(file=path)
        assert all(name.startswith("skatom.") for name in untrusted)
        again = sio.load(path, trusted=untrusted)
        np.testing.assert_array_equal(again.predict(X), model.predict(X))

    @pytest.mark.parametrize("version", ["0.0.1", "99.0.0"])
    def test_a_model_of_another_version_is_refused(self, monkeypatch, ammonia, version):
        monkeypatch.setattr("skatom.base.__version__", version)
        saved = pickle.dumps(GDML().fit(*ammonia))
        monkeypatch.undo()
        with pytest.raises(ValueError, match=f"saved by skatom {version} and cannot be read"):
            pickle.loads(saved)

    @pytest.mark.parametrize("name", ["sgdml SGDML", "sparse_gaussian_process Block"])
    def test_a_file_of_0_1_says_how_to_go_on(self, name):
        saved = f"cskatom.models.{name}\n.".replace(" ", "\n").encode()
        with pytest.raises(ValueError, match="saved by skatom 0.1 .* fit the model again"):
            pickle.loads(saved)

    def test_a_model_of_a_patch_release_is_read(self, monkeypatch):
        series = skatom.__version__.rpartition(".")[0]
        monkeypatch.setattr("skatom.base.__version__", f"{series}.99")
        saved = pickle.dumps(GDML(sigma=3.0))
        monkeypatch.undo()
        assert pickle.loads(saved).sigma == 3.0

    def test_verbose_shows_progress(self, capsys, ammonia):
        SGDML(verbose=1).fit(*ammonia)
        assert "Cholesky: 100%" in capsys.readouterr().err


class TestBadInput:
    def test_a_plain_array_has_no_forces(self, ammonia):
        with pytest.raises(ValueError, match="y is a ndarray; this model learns from forces"):
            SGDML().fit(ammonia[0], ammonia[1].energy)

    def test_missing_forces(self, ammonia):
        with pytest.raises(ValueError, match="have no forces, only energy"):
            SGDML().fit(ammonia[0], Targets(ammonia[1].energy))

    def test_unlabelled_frame(self, ammonia):
        forces = ammonia[1].forces.copy()
        forces[8:12] = np.nan
        targets = Targets(forces=forces, offsets=ammonia[1].offsets)
        with pytest.raises(ValueError, match=r"structure 2 has no forces \(1 of 40 lack it\)"):
            SGDML().fit(ammonia[0], targets)

    def test_forces_of_another_length(self, ammonia):
        with pytest.raises(ValueError, match="structure 0 has 4 atoms but labels for 3"):
            SGDML().fit(ammonia[0], Targets(forces=np.zeros((40, 3, 3))))

    def test_other_number_of_targets(self, ammonia):
        with pytest.raises(ValueError, match="40 structures but 39 targets"):
            SGDML().fit(ammonia[0], ammonia[1][:39])

    def test_energy_constraint_without_energies(self, ammonia):
        targets = Targets(forces=ammonia[1].forces, offsets=ammonia[1].offsets)
        with pytest.raises(ValueError, match="have no energy"):
            SGDML(energy_constraint=True).fit(ammonia[0], targets)

    def test_another_molecule_to_predict(self, ammonia):
        with pytest.raises(ValueError, match="have the atoms OHH, but fit saw NHHH"):
            SGDML().fit(*ammonia).predict([molecule("H2O")])

    def test_one_atom(self):
        targets = Targets(energy=[0.0], forces=np.zeros((1, 1, 3)))
        with pytest.raises(ValueError, match="one atom has no distances"):
            SGDML().fit([Atoms("Ar")], targets)

    def test_kernel_that_does_not_fit(self, ammonia):
        with pytest.raises(MemoryError, match="40 frames of 4 atoms needs .* train on fewer"):
            SGDML(solver="cholesky", max_memory=1e-4).fit(*ammonia)

    def test_equal_frames_without_regularisation(self, ammonia):
        twice = np.repeat(np.arange(10), 2)
        with pytest.raises(ValueError, match="not positive definite with alpha=0: raise alpha"):
            SGDML(alpha=0.0).fit(ammonia[0][twice], ammonia[1][twice])

    @pytest.mark.parametrize(
        "parameter", [{"sigma": 0.0}, {"sigma": -1}, {"alpha": -1e-9}, {"permutations": "all"}]
    )
    def test_parameters_out_of_range(self, ammonia, parameter):
        with pytest.raises(ValueError, match=f"The '{next(iter(parameter))}' parameter of SGDML"):
            SGDML(**parameter).fit(*ammonia)

    def test_predicting_before_fit(self, ammonia):
        with pytest.raises(NotFittedError):
            SGDML().predict(ammonia[0])

    @pytest.mark.parametrize(
        ("scale", "message"), [(-1.0, "are the forces gradients"), (0.0434, "are in kcal/mol")]
    )
    def test_labels_that_contradict_each_other_give_a_warning(self, ammonia, scale, message):
        X, y = ammonia
        with pytest.warns(UserWarning, match=message):
            SGDML().fit(X, Targets(y.energy, scale * y.forces, offsets=y.offsets))

    def test_consistent_labels_give_none(self, ammonia):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            SGDML(sigma=3.0).fit(*ammonia)
