"""GDML and SGDML on a device: torch on the CPU gives the numbers of the compiled loops."""

import copy
import gc
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from ase.build import molecule
from conftest import morse_targets, rattled
from scipy.linalg import qr
from sklearn.base import clone

from skatom import Structures
from skatom._rigid_motions import kept_coordinates, rigid_motions
from skatom.baseline import PairRepulsion
from skatom.descriptors.inverse_distances import pair_features
from skatom.models import GDML, SGDML
from skatom.models.gdml import device_expansion, device_system
from skatom.models.gdml.system import GDMLSystem, permute_pairs

torch = pytest.importorskip("torch")

from skatom.models._torch import captured, gdml_columns, kernels  # noqa: E402


def assert_close(found, expected, tolerance=1e-9):
    """Equal relative to the largest number."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def mixed_hydrogen_cyanide(n=12):
    """Bent and linear frames: six and five rigid motions."""
    atoms = molecule("HCN")
    rng = np.random.default_rng(3)
    shifts = rng.normal(scale=0.1, size=(n, 3, 3))
    shifts[::3, :, :2] = 0.0  # the molecule lies along z
    structures = Structures.from_frames(atoms.numbers, atoms.positions + shifts)
    assert set(np.round(np.sum(rigid_motions(structures) ** 2, axis=(1, 2)))) == {5, 6}
    return structures


def crystal(n=30):
    """Frames of four atoms in a skewed cell."""
    cell = np.array([[5.0, 0.3, 0.2], [0.8, 5.2, 0.0], [-0.6, 0.5, 5.4]])
    sites = np.array([[0, 0, 0], [0.24, 0.22, 0.27], [0.3, 0.0, 0.31], [0.05, 0.35, 0.3]])
    positions = sites @ cell + np.random.default_rng(0).normal(scale=0.08, size=(n, 4, 3))
    return Structures.from_frames([14, 14, 6, 6], positions, cell)


SYSTEMS = {
    "ammonia": lambda: rattled("NH3", 40),
    "bent and linear": mixed_hydrogen_cyanide,
    "crystal": crystal,
}


@pytest.fixture(params=list(SYSTEMS))
def system(request):
    structures = SYSTEMS[request.param]()
    return structures, morse_targets(structures)


@pytest.fixture(params=[False, True], ids=["forces", "energies too"])
def constrained(request):
    return request.param


@pytest.fixture(scope="module")
def query():
    return rattled("NH3", 100, seed=7)


@pytest.fixture(scope="module", params=[False, True], ids=["forces", "energies too"])
def model(request, ammonia):
    """A model that was fitted on the CPU."""
    return SGDML(sigma=3.0, alpha=1e-8, energy_constraint=request.param).fit(*ammonia)


def on(device, model):
    return copy.deepcopy(model).set_params(device=device)


class TestSystem:
    @staticmethod
    def both(structures, constrained, monkeypatch, width=24):
        monkeypatch.setattr(device_system, "_WIDTH", width)
        monkeypatch.setattr(device_system, "_FRAMES", 2)
        n_atoms = structures.n_atoms[0]
        group = np.array([np.arange(n_atoms)])
        if n_atoms == 4 and not structures.pbc.any():
            group = SGDML().fit(structures, morse_targets(structures)).permutations_
        arguments = (
            structures, pair_features(structures), group, permute_pairs(group), 3.0, 1e-3,
            constrained,
        )  # fmt: skip
        return GDMLSystem(*arguments), device_system.DeviceGDMLSystem("torch", *arguments)

    def test_block_columns(self, system, constrained, monkeypatch):
        one, other = self.both(system[0], constrained, monkeypatch)
        edges = other.solver().edges
        assert len(edges) > 2
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            expected = np.zeros((edges[-1] - start, stop - start))
            found = torch.zeros(expected.shape, dtype=torch.float64)
            one.fill(start, stop, expected)
            other.fill(start, stop, found)
            assert_close(np.tril(found.numpy()), np.tril(expected))

    def test_pieces_of_work_do_not_matter(self, ammonia, monkeypatch):
        _, system = self.both(ammonia[0], False, monkeypatch, width=60)
        start, stop = system.solver().edges[:2]
        found = []
        for block, images in ((2**22, 2**25), (700, 100), (1, 1)):
            monkeypatch.setattr(gdml_columns, "_BLOCK", block)
            monkeypatch.setattr(gdml_columns, "_IMAGES", images)
            monkeypatch.setattr(gdml_columns, "_PRODUCTS", 10 * images)
            found.append(torch.zeros(system.rows[-1], int(stop - start), dtype=torch.float64))
            system.fill(start, stop, found[-1])
        assert_close(found[1], found[0], 1e-13)
        assert_close(found[2], found[0], 1e-13)

    def test_coefficients(self, system, constrained, monkeypatch):
        structures, targets = system
        one, other = self.both(structures, constrained, monkeypatch)
        energies = targets.energy - targets.energy.mean() if constrained else []
        for expected, found in zip(
            one.solve(targets.forces, energies, 0), other.solve(targets.forces, energies, 0),
            strict=True,
        ):  # fmt: skip
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_coordinates_are_struck_that_span_the_rigid_motions(name):
    motions = rigid_motions(SYSTEMS[name]())
    for frame, kept in zip(motions, kept_coordinates(motions), strict=True):
        rank = np.linalg.matrix_rank(frame)
        struck = np.setdiff1d(np.arange(len(frame)), kept)
        assert len(struck) == rank
        best = qr(frame.T, mode="r", pivoting=True)[1][:rank]
        one, other = (
            np.linalg.svd(frame[rows], compute_uv=False)[rank - 1] for rows in (struck, best)
        )
        assert one > 0.5 * other


class TestPrediction:
    @pytest.fixture(params=["few", "many"], autouse=True)
    def kind(self, request, monkeypatch):
        """Few geometries are predicted by recorded operations, many in pieces."""
        if request.param == "many":
            monkeypatch.setattr(device_expansion, "_FEW_NUMBERS", 0)
        return request.param

    def test_is_that_of_the_cpu(self, model, query):
        expected = model.predict(query, return_forces=True)
        for found, other in zip(
            on("torch", model).predict(query, return_forces=True), expected, strict=True
        ):
            assert_close(found, other)
        assert_close(on("torch", model).predict(query), expected[0])

    @pytest.mark.parametrize("n", [1, 3])
    def test_few_geometries_are_predicted_as_many_are(self, model, query, n):
        expected = model.predict(query, return_forces=True)
        other = on("torch", model)
        for _ in range(5):  # from the third call on, a card replays its operations
            energies, forces = other.predict(query[:n], return_forces=True)
            assert_close(energies, expected[0][:n], 1e-8)
            assert_close(forces, expected[1][: 4 * n])

    def test_pieces_of_work_do_not_matter(self, model, query, monkeypatch):
        expected = on("torch", model).predict(query, return_forces=True)
        monkeypatch.setattr(device_expansion, "_NUMBERS_ON_CPU", 20_000)
        found = on("torch", model).predict(query, return_forces=True)
        # sums of terms that are much larger, in another order
        assert_close(found[0], expected[0], 1e-11)
        assert_close(found[1], expected[1], 1e-11)

    def test_hessian(self, model, query):
        assert_close(on("torch", model).hessian(query[:7]), model.hessian(query[:7]))

    def test_hessian_at_a_training_frame_is_finite(self, model, ammonia):
        expected = model.hessian(ammonia[0][:3])
        assert_close(on("torch", model).hessian(ammonia[0][:3]), expected, 1e-7)

    def test_forces_are_the_gradient_of_the_energy(self, model, query):
        other, X, step = on("torch", model), query[:1], 1e-4
        numerical = np.zeros((4, 3))
        for place in np.ndindex(4, 3):
            energies = []
            for sign in (1.0, -1.0):
                positions = X.positions.copy()
                positions[place] += sign * step
                energies.append(other.predict(Structures(X.numbers, positions))[0])
            numerical[place] = (energies[1] - energies[0]) / (2 * step)
        assert_close(numerical, other.predict(X, return_forces=True)[1], 1e-6)

    def test_stress_of_a_crystal(self):
        structures = crystal()
        model = SGDML(sigma=3.0, permutations=[[0, 1, 2, 3]])
        model.fit(structures, morse_targets(structures))
        moved = Structures(
            structures.numbers, structures.positions + structures.cells[0].sum(axis=0),
            structures.offsets, structures.cells, structures.pbc,
        )  # fmt: skip
        names = {"return_forces": True, "return_stress": True}
        for found, expected in zip(
            on("torch", model).predict(moved, **names), model.predict(structures, **names),
            strict=True,
        ):  # fmt: skip
            assert_close(found, expected)

    def test_a_full_card_is_an_error_with_a_remedy(self, kind, model, query, monkeypatch):
        def full(*arguments):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        other = on("torch", model)
        monkeypatch.setattr("skatom.models._torch.gdml_expansion.energies_and_slopes", full)
        if kind == "many":
            with pytest.raises(MemoryError, match="a piece of the predictions needs .*: let other"):
                other.predict(query, return_forces=True)
        with pytest.raises(MemoryError, match="a piece of the predictions needs .*: let other"):
            other.hessian(query)

    def test_atoms_at_one_place(self, model, query):
        for n in (3, 90):
            X = copy.deepcopy(query[:n])
            X.positions[5] = X.positions[6]
            with pytest.raises(ValueError, match="atoms 1 and 2 of structure 1 are"):
                on("torch", model).predict(X, return_forces=True)


class TestFit:
    def test_is_that_of_the_cpu(self, system, constrained):
        X, y = system
        one = SGDML(sigma=3.0, alpha=1e-7, energy_constraint=constrained).fit(X, y)
        other = clone(one).set_params(device="torch").fit(X, y)
        assert other.constant_ == pytest.approx(one.constant_, abs=1e-6)
        expected = one.predict(X, return_forces=True)[1]
        found = other.predict(X, return_forces=True)[1]
        rms = np.sqrt(np.mean(expected**2))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * rms)

    def test_baseline_and_one_permutation(self, ammonia):
        X, y = ammonia
        models = [
            GDML(sigma=3.0, alpha=1e-7, baseline=PairRepulsion(), device=device).fit(X, y)
            for device in ("cpu", "torch")
        ]
        one, other = (model.predict(X, return_forces=True) for model in models)
        assert_close(other[0], one[0], 1e-6)
        assert_close(other[1], one[1], 1e-6)

    def test_kernel_that_is_not_definite(self, ammonia):
        twice = np.repeat(np.arange(10), 2)
        with pytest.raises(ValueError, match="not positive definite with alpha=0: raise alpha"):
            SGDML(alpha=0.0, device="torch").fit(ammonia[0][twice], ammonia[1][twice])

    def test_kernel_that_does_not_fit(self, ammonia):
        with pytest.raises(MemoryError, match="40 frames of 4 atoms needs .* or raise max_memory"):
            SGDML(max_memory=1e-4, solver="cholesky", device="torch").fit(*ammonia)

    def test_a_full_card_is_an_error_with_a_remedy(self, ammonia, monkeypatch):
        def full(*arguments):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(gdml_columns, "force_columns", full)
        with pytest.raises(MemoryError, match="40 frames of 4 atoms needs .* train on fewer"):
            SGDML(device="torch").fit(*ammonia)

    @pytest.mark.parametrize("constrained", [False, True], ids=["forces", "energies too"])
    def test_deviations_are_those_of_the_cpu(self, ammonia, query, constrained, tmp_path):
        parameters = {"sigma": 3.0, "alpha": 1e-6, "energy_constraint": constrained}
        one = SGDML(keep_factor=True, **parameters).fit(*ammonia)
        other = clone(one).set_params(device="torch").fit(*ammonia)
        asked = {"return_std": True, "return_forces_std": True}
        expected = one.predict(query, **asked)[1:]
        assert_close(on("torch", one).predict(query, **asked)[1], expected[0])
        assert_close(on("torch", one).predict(query, **asked)[2], expected[1])
        for found, wanted in zip(other.predict(query, **asked)[1:], expected, strict=True):
            assert_close(found, wanted, 1e-6)
        joblib.dump(other, tmp_path / "model.joblib")
        again = joblib.load(tmp_path / "model.joblib").set_params(device="cpu")
        assert_close(again.predict(query, **asked)[2], other.predict(query, **asked)[2])

    def test_unknown_device(self, ammonia):
        with pytest.raises(ValueError, match="The 'device' parameter of SGDML must be a str among"):
            SGDML(device="gpu").fit(*ammonia)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
    def test_no_card(self, ammonia):
        with pytest.raises(ValueError, match="device='cuda' needs"):
            SGDML(device="cuda").fit(*ammonia)
        auto = SGDML(device="auto").fit(*ammonia).predict(ammonia[0])
        np.testing.assert_array_equal(auto, SGDML().fit(*ammonia).predict(ammonia[0]))

    def test_verbose_shows_progress(self, capsys, ammonia):
        SGDML(verbose=1, device="torch").fit(*ammonia)
        assert "Cholesky: 100%" in capsys.readouterr().err


class TestPersistence:
    def test_a_model_moves_between_devices_through_a_file(self, tmp_path, ammonia, query):
        model = SGDML(sigma=3.0, device="torch").fit(*ammonia)
        expected = model.predict(query, return_forces=True)
        joblib.dump(model, tmp_path / "model.joblib")
        again = joblib.load(tmp_path / "model.joblib")
        assert again.device == "torch"
        for device in ("torch", "cpu"):
            found = again.set_params(device=device).predict(query, return_forces=True)
            assert_close(found[0], expected[0])
            assert_close(found[1], expected[1])

    def test_no_tensor_is_saved(self, ammonia, query):
        model = SGDML(sigma=3.0, device="torch").fit(*ammonia)
        before = pickle.dumps(model)
        model.predict(query, return_forces=True)
        assert b"torch" not in before.replace(b"\x05torch", b"")  # the value of the parameter
        assert len(pickle.dumps(model)) == len(before)

    def test_what_is_on_the_device_is_freed_with_the_model(self, ammonia):
        model = SGDML(sigma=3.0, device="torch").fit(*ammonia)
        gc.collect()
        before = len(device_expansion._expansions)
        del model
        gc.collect()
        assert len(device_expansion._expansions) == before - 1


class TestCapturedCalls:
    """The logic without a card; `python -m benchmarks gpu` checks the replay on one."""

    class Card:
        is_card, name = True, "cpu"

        @staticmethod
        def tensor(array):
            return torch.tensor(array)

        @staticmethod
        def array(tensor):
            return tensor.numpy()

    @pytest.fixture
    def captures(self, monkeypatch):
        made = []

        class Replay:
            def __init__(self, function, array, device):
                made.append(array.shape)
                self.function = function

            def __call__(self, array):
                return self.function(torch.tensor(array)).numpy()

        monkeypatch.setattr(captured, "_Captured", Replay)
        return made

    def test_a_shape_is_captured_at_its_third_call(self, captures):
        calls = captured.CapturedCalls(lambda x: 2.0 * x, self.Card())
        for count in range(1, 6):
            np.testing.assert_array_equal(calls(np.full(3, count)), np.full(3, 2.0 * count))
            assert captures == ([(3,)] if count >= 3 else [])
        np.testing.assert_array_equal(calls(np.ones(4)), np.full(4, 2.0))
        assert captures == [(3,)]

    def test_few_shapes_are_kept(self, captures):
        calls = captured.CapturedCalls(lambda x: 2.0 * x, self.Card())
        for n in range(1, 13):
            for _ in range(4):
                np.testing.assert_array_equal(calls(np.ones(n)), np.full(n, 2.0))
        assert len(captures) == 8

    def test_a_capture_that_is_refused_changes_nothing(self, monkeypatch):
        def refuse(*arguments):
            raise RuntimeError("operation not permitted when stream is capturing")

        monkeypatch.setattr(captured, "_Captured", refuse)
        calls = captured.CapturedCalls(lambda x: 2.0 * x, self.Card())
        for _ in range(5):
            np.testing.assert_array_equal(calls(np.ones(2)), np.full(2, 2.0))


SCRIPT = """
import torch
from skatom.models._torch import fused, gdml_columns, gdml_expansion

torch.manual_seed(0)
make = lambda *shape: torch.rand(shape, dtype=torch.float64)
close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)

t = 30 * make(7, 1312) - 1e-12
one, other = (t.clone(), t.clone()), (t.clone(), t.clone())
fused.weigh(*one)
gdml_expansion.weigh(*other)
close(one, other)

s, r, k, c = 3, 4, 5, 131
given = make(s, r, k, c, k), make(s, r, c), make(s, r, k, c), make(r, s, c, k)
for add in (False, True):
    whole = make(r * k, c * k + 9)
    found = []
    for combine in (fused.combine, gdml_columns.combine):
        out = whole.clone()
        combine(*given, out[:, : c * k].view(r, k, c, k), add)
        found.append(out)
    close(*found)
    assert not torch.equal(found[0], whole)
"""


def test_kernels_of_triton_equal_the_operations_of_torch(monkeypatch):
    """In Triton's interpreter, which needs no card."""
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)


def test_cards_without_triton_and_cpus_use_the_operations_of_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "skatom.models._torch.fused", None)
    kernels.fused_kernel.cache_clear()
    for name in ("weigh", "combine"):
        assert kernels.fused_kernel(name, "cpu") is None
        assert kernels.fused_kernel(name, "cuda:0") is None
    kernels.fused_kernel.cache_clear()
