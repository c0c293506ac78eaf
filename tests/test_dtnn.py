"""Deep tensor neural networks: numbers of known weights, the full tensor layer, training."""

from math import prod

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from architectures_under_contract import (  # noqa: E402
    WATER,
    evaluated,
    ice,
    random_network,
    sines,
)
from ase import Atoms  # noqa: E402
from models_under_contract import labels_of, waters  # noqa: E402

from skatom.models import DTNN  # noqa: E402
from skatom.models.neural.dtnn_architecture import DTNNArchitecture  # noqa: E402
from skatom.models.neural.fitted_network import FittedNetwork  # noqa: E402
from skatom.models.neural.heads import EnergyHead  # noqa: E402


def golden(n_interactions):
    """The network of deterministic weights; E_σ = 2, E_μ = -10."""
    architecture = DTNNArchitecture(10, 100.0, 4, 5, n_interactions, 11, 5.0, 4.0, "hard")
    head = EnergyHead(4, 3, "tanh")
    shapes = architecture.shapes | head.shapes
    weights = {name: sines(1 + k, shape) for k, (name, shape) in enumerate(shapes.items())}
    return FittedNetwork(architecture, head, weights, 2.0, np.full(10, -10.0), np.arange(10))


class TestGoldenNumbers:
    def test_of_water(self):
        assert evaluated(golden(1), WATER)[0] == pytest.approx(-32.272337949615, abs=2e-12)
        energy, local, forces, _ = evaluated(golden(2), WATER)
        assert energy == pytest.approx(-32.344641743153, abs=2e-12)
        np.testing.assert_allclose(local, [-10.7590374164, *2 * [-10.7928021634]], atol=1e-10)
        expected = [[0, 0, 0.2020893], [0, -0.0532910, -0.1010447], [0, 0.0532910, -0.1010447]]
        np.testing.assert_allclose(forces, expected, atol=1e-7)

    def test_of_one_atom_more(self):
        more = WATER + Atoms("H", [[0, 0, 2.0]])
        for n_interactions, energy in ((1, -10.774271710781), (2, -10.774358358295)):
            local = evaluated(golden(n_interactions), more)[1]
            assert local[3] == pytest.approx(energy, abs=2e-12)

    def test_of_one_atom_less(self):
        assert evaluated(golden(2), WATER[:2])[0] == pytest.approx(-21.434682069310, abs=2e-12)

    @pytest.mark.parametrize("n_rbf, count", [(100, 10_801), (101, 10_861)])
    def test_numbers_of_weights(self, n_rbf, count):
        """Independent of the number of passes."""
        for n_interactions in (1, 3):
            sizes = 20, 20.0, 30, 60, n_interactions, n_rbf, 20.0, 12.5, "hard"
            architecture, head = DTNNArchitecture(*sizes), EnergyHead(30, 15, "tanh")
            assert architecture.n_weights + sum(map(prod, head.shapes.values())) == count


def test_factors_are_those_of_a_full_tensor():
    """Messages by explicit loops over pairs and images, with the tensor V and its linear terms:
    v_k = tanh(x V_k g + A x + B g + b)."""
    network = random_network(DTNNArchitecture(3, 4.5, 6, 5, 2, 8, 4.5, 4.0, "cosine"))
    w, atoms = network.weights, ice()
    a, d, f = (w[n] for n in ("atoms_to_factors", "distances_to_factors", "factors_to_atoms"))
    p, q = w["atoms_to_factors_bias"], w["distances_to_factors_bias"]
    tensor = np.einsum("if,gf,fk->kig", a, d, f)
    of_atoms, of_distances, constant = (a * q) @ f, (d * p) @ f, (p * q) @ f
    kinds = np.searchsorted(network.species, atoms.numbers)
    x = w["embedding"][kinds]
    images = np.mgrid[-3:4, -3:4, -3:4].reshape(3, -1).T @ atoms.cell.array
    for _ in range(2):
        sums = np.zeros_like(x)
        for i in range(3):
            for j in range(3):
                for image in images:
                    r = np.linalg.norm(atoms.positions[j] + image - atoms.positions[i])
                    if 0 < r < 4.5:
                        g = np.exp(-4.0 * (r - np.linspace(0, 4.5, 8)) ** 2)
                        linear = x[j] @ of_atoms + g @ of_distances + constant
                        v = np.tanh(np.einsum("i,kig,g->k", x[j], tensor, g) + linear)
                        sums[i] += v * (np.cos(np.pi * r / 4.5) + 1) / 2
        x = x + sums
    hidden = np.logaddexp(0, x @ w["head_1"] + w["head_bias_1"]) - np.log(2)
    expected = 0.5 * (hidden @ w["head_2"] + w["head_bias_2"])[:, 0] + network.constants[kinds]
    np.testing.assert_allclose(evaluated(network, atoms)[1], expected, rtol=1e-12)


def test_training_lowers_the_loss_and_is_repeated():
    structures = waters(12)
    targets = labels_of(structures, ("energy", "forces"))
    model = DTNN(
        3.5, n_features=8, n_factors=8, n_interactions=2, n_rbf=12, batch_size=5, max_iter=80,
        learning_rate_init=0.02, ema_decay=0.9, validation_fraction=0.2, random_state=0,
    )  # fmt: skip
    losses = model.fit(structures, targets).history_["validation_loss"]
    assert losses[-1] < 0.3 * model.history_["loss"][0]
    theta = model.network_.theta()
    np.testing.assert_array_equal(model.fit(structures, targets).network_.theta(), theta)
