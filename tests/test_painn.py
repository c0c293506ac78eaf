"""PaiNN: its equations by explicit loops, golden numbers, smoothness, files, training."""

from math import prod

import joblib
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from architectures_under_contract import (  # noqa: E402
    CPU,
    WATER,
    evaluated,
    ice,
    random_network,
    rattled,
    sines,
)
from ase import Atoms  # noqa: E402
from ase.build import bulk  # noqa: E402
from models_under_contract import labels_of, waters  # noqa: E402

from skatom import Structures  # noqa: E402
from skatom.models import PaiNN  # noqa: E402
from skatom.models._torch.networks import edge_sums  # noqa: E402
from skatom.models.neural.fitted_network import FittedNetwork  # noqa: E402
from skatom.models.neural.heads import EnergyHead  # noqa: E402
from skatom.models.neural.painn_architecture import PaiNNArchitecture  # noqa: E402
from skatom.models.neural.schnet_architecture import SchNetArchitecture  # noqa: E402

# Energies and the force on the first atom of the network of deterministic weights, which
# SchNetPack 2.1.1 gives with the same weights and the same length of a vector of zeros.
GOLDEN = {
    "water": (0.5919097610865602, [0, 0, 0.16752396188486357]),
    "ice": (0.25134923345659, [-0.0024530810380208, 0.0158896001597143, 0.148551421058899]),
}

SMALL = {
    "cutoff": 3.5, "n_features": 8, "n_interactions": 2, "n_rbf": 6, "batch_size": 5,
    "max_iter": 20, "learning_rate_init": 0.01, "ema_decay": 0.9, "random_state": 0,
}  # fmt: skip


def golden():
    """The network of deterministic weights, in the order of the architecture and the head."""
    architecture, head = PaiNNArchitecture(10, 4.0, 4, 2, 5), EnergyHead(4, 2, "silu")
    shapes = architecture.shapes | head.shapes
    weights = {name: 0.5 * sines(1 + k, shape) for k, (name, shape) in enumerate(shapes.items())}
    return FittedNetwork(architecture, head, weights, 1.0, np.zeros(10), np.arange(10))


def test_golden_numbers():
    for name, atoms in (("water", WATER), ("ice", ice())):
        energy, _, forces, _ = evaluated(golden(), atoms)
        expected, force = GOLDEN[name]
        assert energy == pytest.approx(expected, rel=1e-10)
        np.testing.assert_allclose(forces[0], force, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("n, count", [(128, 589_057), (64, 157_313)])
def test_numbers_of_weights(n, count):
    """Some 600,000 with 128 features, as in the publication; 100 elements."""
    architecture, head = PaiNNArchitecture(100, 5.0, n, 3, 20), EnergyHead(n, n // 2, "silu")
    assert architecture.n_weights + sum(map(prod, head.shapes.values())) == count


def test_its_equations_by_loops_over_pairs_and_images():
    network, atoms = random_network(PaiNNArchitecture(3, 4.5, 4, 2, 4)), ice()
    w, kinds = network.weights, np.searchsorted(network.species, atoms.numbers)
    images = np.mgrid[-3:4, -3:4, -3:4].reshape(3, -1).T @ atoms.cell.array

    def silu(x):
        return x / (1 + np.exp(-x))

    def layers(x, name, t):
        hidden = silu(x @ w[f"{name}_1"][t] + w[f"{name}_bias_1"][t])
        return np.split(hidden @ w[f"{name}_2"][t] + w[f"{name}_bias_2"][t], 3, axis=1)

    x, v = w["embedding"][kinds], np.zeros((3, 3, 4))
    for t in range(2):
        sent, of_x, of_v = layers(x, "message", t), np.zeros_like(x), np.zeros_like(v)
        for i in range(3):
            for j in range(3):
                for image in images:
                    vector = atoms.positions[j] + image - atoms.positions[i]
                    r = np.linalg.norm(vector)
                    if not 0 < r < 4.5:
                        continue
                    waves = np.sin(np.arange(1, 5) * np.pi * r / 4.5) / r
                    filters = (waves @ w["filter"][t] + w["filter_bias"][t, 0]) * (
                        (np.cos(np.pi * r / 4.5) + 1) / 2
                    )
                    a, b, c = np.split(filters, 3)
                    of_x[i] += sent[0][j] * a
                    of_v[i] += np.outer(vector / r, sent[1][j] * b) + sent[2][j] * c * v[j]
        x, v = x + of_x, v + of_v
        first, second = np.split(v @ w["mixing"][t], 2, axis=2)
        norms = np.sqrt((second**2).sum(axis=1) + 1e-4)
        of_v, of_products, own = layers(np.concatenate([x, norms], 1), "update", t)
        x = x + own + of_products * (first * second).sum(axis=1)
        v = v + of_v[:, None] * first
    hidden = x @ w["head_1"] + w["head_bias_1"]
    hidden = np.logaddexp(0, hidden) - np.log(2)
    expected = 0.5 * (hidden @ w["head_2"] + w["head_bias_2"])[:, 0] + network.constants[kinds]
    np.testing.assert_allclose(evaluated(network, atoms)[1], expected, rtol=1e-11)


def test_it_sees_angles_in_one_interaction():
    """Energies of an atom with neighbours at equal distances; numbers alone do not see angles."""
    for architecture, sees in (
        (PaiNNArchitecture(3, 2.0, 4, 1, 4), True),
        (SchNetArchitecture(3, 2.0, 4, 4, 1, 8, 2.0, 4.0, "cosine", False, False), False),
    ):
        network, found = random_network(architecture), []
        for angle in (1.8, 2.2):
            ends = [[np.cos(k * angle), np.sin(k * angle), 0] for k in (0, 1)]
            atoms = Atoms("OHH", [[0, 0, 0], *(1.1 * np.array(ends))])
            found.append(evaluated(network, atoms)[1][0])
        assert (abs(found[0] - found[1]) > 1e-5) == sees


def test_forces_change_smoothly_where_neighbourhoods_are_symmetric():
    """Vectors of a perfect crystal are zero; the slopes of their lengths must not jump there."""
    network = random_network(PaiNNArchitecture(3, 4.5, 4, 2, 4))
    crystal = bulk("O", "fcc", a=4.0, cubic=True)
    np.testing.assert_allclose(evaluated(network, crystal)[2], 0, atol=1e-10)
    found = []
    for shift in (1e-4, 2e-4):
        moved = crystal.copy()
        moved.positions[0, 0] += shift
        found.append(evaluated(network, moved)[2][0, 0])
    assert found[1] == pytest.approx(2 * found[0], rel=1e-2)


def test_without_numba_sums_are_the_same(monkeypatch):
    structures = Structures.from_ase([ice(), rattled(WATER), Atoms("O")])
    network = random_network(PaiNNArchitecture(3, 4.5, 4, 2, 4))
    found = network.evaluate(structures, CPU, True)
    monkeypatch.setattr(edge_sums, "is_installed", lambda: False)
    for name, values in network.evaluate(structures, CPU, True).items():
        np.testing.assert_allclose(values, found[name], rtol=1e-10, atol=1e-12, err_msg=name)


class TestTraining:
    def test_the_loss_falls_and_the_file_predicts_the_same(self, tmp_path):
        structures = waters(12)
        model = PaiNN(**SMALL | {"max_iter": 60, "validation_fraction": 0.2})
        model.fit(structures, labels_of(structures, ("energy", "forces")))
        losses = model.history_["validation_loss"]
        assert losses[-1] < 0.3 * model.history_["loss"][0]
        joblib.dump(model, tmp_path / "painn.joblib")
        read = joblib.load(tmp_path / "painn.joblib")
        expected = model.predict(structures, return_forces=True)
        for found, values in zip(
            read.predict(structures, return_forces=True), expected, strict=True
        ):
            np.testing.assert_array_equal(found, values)

    def test_a_seed_repeats_a_fit(self):
        structures = waters(8)
        targets = labels_of(structures, ("energy", "forces"))
        found = [
            PaiNN(**SMALL | {"max_iter": 3}).fit(structures, targets).network_.theta()
            for _ in range(2)
        ]
        np.testing.assert_array_equal(*found)

    @pytest.mark.parametrize(
        "name, value", [("cutoff", 0), ("n_features", 0), ("n_interactions", 0), ("n_rbf", 0)]
    )
    def test_parameters(self, name, value):
        structures = waters(4)
        with pytest.raises(ValueError, match=name):
            PaiNN(**SMALL | {name: value}).fit(structures, labels_of(structures, ("energy",)))
