"""GDML by conjugate gradients: products, the preconditioner's sizes, restarts, checkpoints."""

from functools import partial

import numpy as np
import pytest
from conftest import morse_targets, rattled
from sklearn.exceptions import ConvergenceWarning
from test_device_gdml import SYSTEMS, assert_close

from skatom import Targets
from skatom.datasets import load_ethanol
from skatom.descriptors.inverse_distances import pair_features
from skatom.models import GDML, SGDML
from skatom.models.gdml import iterative_system
from skatom.models.gdml.device_system import DeviceGDMLSystem
from skatom.models.gdml.groups import alike_groups
from skatom.models.gdml.iterative_system import IterativeOptions, Plan
from skatom.models.gdml.system import GDMLSystem, permute_pairs
from skatom.solvers import NystromPreconditioner

on_both = pytest.mark.parametrize("device", ["cpu", "torch"])


def system_of(structures, device):
    n_atoms = structures.n_atoms[0]
    group = np.array([np.arange(n_atoms)])
    if n_atoms == 4 and not structures.pbc.any():
        group = SGDML().fit(structures, morse_targets(structures)).permutations_
    make = GDMLSystem if device == "cpu" else partial(DeviceGDMLSystem, device)
    return make(
        structures, pair_features(structures), group, permute_pairs(group), 3.0, 1e-3, False
    )


def full(matrix):
    return np.tril(matrix) + np.tril(matrix, -1).T


@on_both
@pytest.mark.parametrize("name", list(SYSTEMS))
class TestSystem:
    """What conjugate gradients ask of the system is its matrix."""

    def test_product(self, name, device):
        structures = SYSTEMS[name]()
        matrix = full(system_of(structures, "cpu").matrix())
        v = np.random.default_rng(0).normal(size=len(matrix))
        system = system_of(structures, device)
        found = system.on_host(system.product(system.to_device(v)))
        assert_close(found, matrix @ v, 1e-12)

    def test_some_columns(self, name, device):
        system = system_of(SYSTEMS[name](), "cpu")
        system.alpha = 0.0
        matrix = full(system.matrix())
        index = np.sort(np.random.default_rng(0).choice(len(matrix), 11, replace=False))
        system = system_of(SYSTEMS[name](), device)
        assert_close(system.on_host(system.kernel_columns(index)), matrix[:, index], 1e-12)

    def test_diagonal_blocks(self, name, device):
        system = system_of(SYSTEMS[name](), device)
        first, last = system.rows[[3, 8]]
        block = slice(first, last)
        matrix = system_of(SYSTEMS[name](), "cpu").matrix()[block, block]
        found = system.on_host(system.part(slice(3, 8)).matrix())
        assert_close(np.tril(found), np.tril(matrix), 1e-12)


@pytest.fixture(scope="module")
def ethanol():
    data = load_ethanol()
    return data.structures[::20], data.targets[::20]


def forces_of(model, structures):
    return model.predict(structures, return_forces=True)[1]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few frames only, which would otherwise be all of these small systems."""
    monkeypatch.setattr(iterative_system, "_BLOCK_ROWS", 12)


@pytest.mark.usefixtures("small_blocks")
class TestSolution:
    @on_both
    @pytest.mark.parametrize("solver", ["auto", "cg"])
    def test_forces_are_those_of_cholesky(self, ethanol, solver, device):
        X, y = ethanol
        direct = SGDML(alpha=1e-9, solver="cholesky").fit(X[::2], y[::2])
        memory = PackedGiB.half(direct, len(X[::2]))
        model = SGDML(
            alpha=1e-9, solver=solver, tol=1e-6, max_memory=memory, device=device, random_state=0
        )
        model.fit(X[::2], y[::2])
        assert direct.n_iter_ == 1
        assert 20 < model.n_iter_ < 2000
        expected, found = forces_of(direct, X), forces_of(model, X)
        rms = np.sqrt(np.mean(expected**2))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * rms)
        energies = model.predict(X), direct.predict(X)
        assert_close(*(part - part.mean() for part in energies), 1e-3)

    @pytest.mark.parametrize("name", list(SYSTEMS))
    def test_every_kind_of_system(self, name):
        X = SYSTEMS[name]()
        y = morse_targets(X) if name != "crystal" else periodic_targets(X)
        models = [
            GDML(sigma=3.0, alpha=1e-6, solver=solver, n_inducing=5, tol=1e-9).fit(X, y)
            for solver in ("cholesky", "cg")
        ]
        assert models[1].n_iter_ > 3
        assert_close(forces_of(models[1], X), forces_of(models[0], X), 1e-7)

    def test_columns_of_zeros_may_be_drawn(self):
        X = SYSTEMS["bent and linear"]()
        y = morse_targets(X)
        expected = forces_of(GDML(sigma=3.0, alpha=1e-6, solver="cholesky").fit(X, y), X)
        for seed in (5, 9):  # which draw such a column alone at first
            model = GDML(sigma=3.0, alpha=1e-6, solver="cg", n_inducing=5, tol=1e-9)
            model.set_params(random_state=seed).fit(X, y)
            assert_close(forces_of(model, X), expected, 1e-7)

    def test_the_default_tolerance_suffices_for_forces(self, ethanol):
        X, y = ethanol
        errors = []
        for solver in ("cholesky", "cg"):
            model = SGDML(solver=solver, n_inducing=100, random_state=0).fit(X[::2], y[::2])
            errors.append(np.abs(forces_of(model, X[1::2]) - y[1::2].forces.reshape(-1, 3)).mean())
        assert errors[1] == pytest.approx(errors[0], rel=1e-3)

    def test_a_draw_is_repeated(self, ammonia):
        found = [
            forces_of(SGDML(solver="cg", n_inducing=20, random_state=3).fit(*ammonia), ammonia[0])
            for _ in range(2)
        ]
        np.testing.assert_array_equal(*found)

    def test_progress(self, ammonia, capsys):
        SGDML(solver="cg", n_inducing=20, verbose=1).fit(*ammonia)
        told = capsys.readouterr().err
        assert "conjugate gradients" in told
        assert "residual=" in told
        assert "left=" in told

    def test_too_few_iterations_are_a_warning(self, ammonia):
        with pytest.warns(ConvergenceWarning, match="stopped after 2 iterations, before"):
            model = SGDML(sigma=3.0, solver="cg", n_inducing=8, max_iter=2).fit(*ammonia)
        assert model.n_iter_ == 2


class PackedGiB:
    """Limits of memory in which the kernel matrix does not fit."""

    @staticmethod
    def half(model, n_frames):
        size = n_frames * (3 * len(model.numbers_) - 6)
        return 0.5 * size**2 * 4 / 2**30


def periodic_targets(structures):
    """Forces of Morse springs to nearest images, without a net force."""
    features = pair_features(structures)
    slopes = 2.0 * (features.values - 0.4)
    n_atoms = structures.n_atoms[0]
    from skatom.descriptors.inverse_distances import incidence

    forces = -(incidence(n_atoms) @ (slopes[:, :, None] * features.gradients))
    energy = ((features.values - 0.4) ** 2).sum(axis=1)
    return Targets(energy=energy, forces=forces.reshape(-1, 3), offsets=structures.offsets)


@pytest.mark.usefixtures("small_blocks")
class TestRestarts:
    def test_a_stalled_iteration_goes_on_with_more_columns(self, ethanol, monkeypatch):
        monkeypatch.setattr(iterative_system, "_PATIENCE", 10)
        monkeypatch.setattr(iterative_system, "_PROGRESS", 1e-3)
        sizes = []
        made = iterative_system.NystromPreconditioner

        class Counted(made):
            def __init__(self, columns, index, edges=None, block=None):
                if block is not None:
                    sizes.append(len(index))
                super().__init__(columns, index, edges, block)

        monkeypatch.setattr(iterative_system, "NystromPreconditioner", Counted)
        X, y = ethanol[0][::2], ethanol[1][::2]
        parameters = {"alpha": 1e-9, "n_inducing": 30, "tol": 1e-6, "random_state": 0}
        model = SGDML(solver="cg", **parameters).fit(X, y)
        assert sizes[:3] == [30, 45, 68]
        assert len(sizes) > 3
        assert model.n_iter_ > 20
        direct = SGDML(alpha=1e-9, solver="cholesky").fit(X, y)
        assert_close(forces_of(model, X), forces_of(direct, X), 1e-4)

    def test_iterations_of_all_restarts_count(self, ethanol, monkeypatch):
        monkeypatch.setattr(iterative_system, "_PATIENCE", 10)
        monkeypatch.setattr(iterative_system, "_PROGRESS", 0.0)
        X, y = ethanol[0][::2], ethanol[1][::2]
        with pytest.warns(ConvergenceWarning, match="stopped after 15 iterations"):
            model = SGDML(solver="cg", n_inducing=30, tol=1e-8, max_iter=35).fit(X, y)
        assert model.n_iter_ == 35


class Killed(BaseException):
    """As if the process ended here."""


@pytest.mark.usefixtures("small_blocks")
class TestCheckpoint:
    @staticmethod
    def killed_after(n, monkeypatch):
        product = iterative_system.IterativeGDMLSystem.product
        calls = []

        def counted(self, v):
            calls.append(1)
            if len(calls) > n:
                raise Killed
            return product(self, v)

        monkeypatch.setattr(iterative_system.IterativeGDMLSystem, "product", counted)

    @pytest.fixture
    def fit(self, ethanol, tmp_path, monkeypatch):
        monkeypatch.setattr(iterative_system, "_SECONDS", 0.0)
        self.path = tmp_path / "fit.checkpoint"
        X, y = ethanol[0][::2], ethanol[1][::2]

        def fit(frames=slice(None), **parameters):
            parameters = {"n_inducing": 60, "random_state": 0, "checkpoint": self.path} | parameters
            return SGDML(solver="cg", **parameters).fit(X[frames], y[frames])

        return fit

    @pytest.mark.parametrize("device", ["cpu", "torch"])
    @pytest.mark.thorough
    def test_a_killed_fit_goes_on(self, fit, ethanol, device, monkeypatch):
        whole = fit(checkpoint=None)
        with monkeypatch.context() as patch:
            self.killed_after(whole.n_iter_ // 2, patch)
            with pytest.raises(Killed):
                fit()
        assert self.path.exists()
        model = fit(device=device)
        assert 0 < model.n_iter_ < 0.9 * whole.n_iter_
        assert not self.path.exists()
        X = ethanol[0]
        assert_close(forces_of(model, X), forces_of(whole, X), 1e-3)

    @pytest.mark.thorough
    def test_an_unfinished_fit_goes_on(self, fit):
        whole = fit(checkpoint=None).n_iter_
        with pytest.warns(ConvergenceWarning, match="stopped after"):
            fit(max_iter=whole // 2)
        assert self.path.exists()
        assert fit().n_iter_ < 0.9 * whole

    def test_the_file_of_another_fit_is_refused(self, fit):
        with pytest.warns(ConvergenceWarning):
            fit(max_iter=3)
        with pytest.raises(ValueError, match="is the checkpoint of a fit to other frames .*: name"):
            fit(sigma=15.0)
        with pytest.raises(ValueError, match="is the checkpoint of a fit to other frames .*: name"):
            fit(slice(1, None))

    def test_another_file_is_refused_and_left(self, fit):
        self.path.write_text("notes")
        with pytest.raises(ValueError, match="fit.checkpoint is not a checkpoint of a fit: name"):
            fit()
        assert self.path.read_text() == "notes"

    def test_a_folder_that_is_not_there(self, fit, tmp_path):
        with pytest.raises(OSError, match="could not be written"):
            fit(checkpoint=tmp_path / "no" / "file")


class TestPlan:
    @pytest.mark.parametrize("n_frames, n_atoms", [(1000, 21), (200, 9), (40, 4), (8000, 60)])
    @pytest.mark.parametrize("gib", [0.3, 2.0, 20.0])
    def test_memory_is_kept_and_used(self, n_frames, n_atoms, gib):
        rows = 3 * n_atoms - 6
        size = n_frames * rows
        options = IterativeOptions(None, 1e-4, 100, gib, None, None)
        if 16 * size * rows > gib * 2**30:
            with pytest.raises(MemoryError, match="train on fewer frames, or raise max_memory"):
                Plan.of(n_frames, n_atoms, options, None)
            return
        plan = Plan.of(n_frames, n_atoms, options, None)
        taken = NystromPreconditioner.memory(size, plan.most, plan.frames * rows) / 2**30
        assert 1 <= plan.frames <= n_frames
        assert taken <= 1.01 * gib
        assert plan.most == size or taken > 0.95 * gib
        assert plan.grown().columns <= plan.most

    def test_as_many_columns_as_are_worth_their_time(self):
        options = IterativeOptions(None, 1e-4, 100, 60.0, None, None)
        plan = Plan.of(1000, 21, options, None)
        first = plan.worthwhile(1000, 210, 6).columns
        assert 2000 < first < 5000 < plan.most
        assert plan.worthwhile(1000, 210, 1).columns < first

    def test_a_number_of_columns_that_does_not_fit(self, ammonia):
        with pytest.raises(MemoryError, match="of 200 columns .* max_memory: lower n_inducing"):
            SGDML(solver="cg", n_inducing=200, max_memory=1e-4).fit(*ammonia)

    @on_both
    def test_a_budget_too_small_for_any_preconditioner(self, ammonia, device):
        with pytest.raises(MemoryError, match="preconditioner of 6 columns for 40 frames .* raise"):
            SGDML(max_memory=1e-5, device=device).fit(*ammonia)


class TestGroups:
    def test_each_frame_once_in_groups_of_nearly_equal_size(self):
        values = np.random.default_rng(0).normal(size=(53, 6))
        groups = alike_groups(values, np.arange(6)[None], 10)
        np.testing.assert_array_equal(np.sort(np.concatenate(groups)), np.arange(53))
        assert {len(group) for group in groups} <= {8, 9, 10}

    def test_alike_frames_are_together(self):
        rng = np.random.default_rng(0)
        kinds = rng.permutation(np.repeat(np.arange(8), 5))
        values = 10.0 * rng.normal(size=(8, 6))[kinds] + 0.01 * rng.normal(size=(40, 6))
        groups = alike_groups(values, np.arange(6)[None], 20)
        assert len(groups) == 2
        assert not set(kinds[groups[0]]) & set(kinds[groups[1]])

    def test_equal_frames(self):
        groups = alike_groups(np.ones((7, 3)), np.arange(3)[None], 2)
        assert sorted(map(len, groups)) == [1, 2, 2, 2]


class TestRigidMotions:
    def test_net_forces_and_torques_are_left_out_with_a_warning(self, ammonia):
        X, y = ammonia
        forces = y.forces.copy()
        rng = np.random.default_rng(0)
        for s, frame in enumerate(X.to_ase()):
            torque = np.cross(rng.normal(size=3), frame.positions - frame.positions.mean(axis=0))
            forces[4 * s : 4 * s + 4] += 0.3 * (torque + rng.normal(size=3))
        spoilt = Targets(energy=y.energy, forces=forces, offsets=y.offsets)
        for solver in ("cholesky", "cg"):
            clean = SGDML(sigma=3.0, alpha=1e-6, solver=solver).fit(X, y)
            model = SGDML(sigma=3.0, alpha=1e-6, solver=solver)
            with pytest.warns(UserWarning, match=r"translations and rotations .* is 0\.\d+ eV/Å"):
                model.fit(X, spoilt)
            assert_close(forces_of(model, X), forces_of(clean, X), 1e-3)

    def test_forces_of_a_free_molecule_are_no_reason_to_warn(self, ammonia, recwarn):
        SGDML(sigma=3.0, solver="cg").fit(*ammonia)
        assert not [w for w in recwarn if "net forces" in str(w.message)]


@pytest.mark.parametrize("name", ["keep_factor", "energy_constraint"])
class TestWhatNeedsTheFactor:
    def test_it_is_refused(self, ammonia, name):
        with pytest.raises(ValueError, match=f"{name}=True needs the factor .*: use solver='chol"):
            SGDML(solver="cg", **{name: True}).fit(*ammonia)

    def test_it_does_not_turn_to_conjugate_gradients(self, ammonia, name):
        with pytest.raises(MemoryError, match="the kernel matrix of 40 frames"):
            SGDML(max_memory=1e-4, **{name: True}).fit(*ammonia)


def test_without_regularisation():
    X = rattled("H2O", 5)
    with pytest.raises(ValueError, match="solver='cg' needs a positive alpha: use 1e-10"):
        SGDML(solver="cg", alpha=0).fit(X, morse_targets(X))
