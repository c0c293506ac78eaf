"""Heads that pool atoms to clusters: known equations, derivatives, invariances, what is refused."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from architectures_under_contract import (  # noqa: E402
    CPU,
    SMOOTH,
    WATER,
    evaluated,
    ice,
    random_network,
    rattled,
    sines,
)
from ase import Atoms  # noqa: E402
from ase.build import molecule  # noqa: E402
from models_under_contract import crystals, labels_of, waters  # noqa: E402

# what architectures promise, with these heads
from test_architectures_contract import TestBatches, TestDerivatives  # noqa: E402, F401

from skatom import Structures  # noqa: E402
from skatom.models import PointScatteringNetwork, SchNet  # noqa: E402
from skatom.models._torch.networks.potential import batch_of  # noqa: E402
from skatom.models.neural.cluster_heads import CLUSTERED, DiffPoolHead, PositionHead  # noqa: E402
from skatom.models.neural.packing import BatchLayout, packed  # noqa: E402

ETHANOL = rattled(molecule("CH3CH2OH"))
# energies of ethanol
GRAPH, POSITIONS = -1.1468125565560072, 0.9401954604694114


@pytest.fixture(scope="module", params=CLUSTERED)
def network(request):
    found = random_network(SMOOTH["schnet"](), CLUSTERED[request.param](6, 3, cutoff=4.5))
    for name in found.head.shapes:  # features of clusters are sums, and multiplied with others
        found.weights[name] *= 0.3
    return found


def ssp(x):
    return np.logaddexp(0, x) - np.log(2)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def of_head(head, atoms):
    """The energy of a head with deterministic weights, its weights, and the features of atoms."""
    weights = {name: 0.5 * sines(k, shape) for k, (name, shape) in enumerate(head.shapes.items())}
    x = sines(20, (len(atoms), head.n_features))
    graphs = SMOOTH["schnet"]().graphs(Structures.from_ase([atoms]), np.array([1, 6, 8]))
    layout = BatchLayout.of(graphs, 1, 3, labels=(), on_card=False, dtype="float64")
    batch = batch_of(packed(graphs, layout, 4.5), layout, CPU)
    tensors = {name: torch.tensor(w) for name, w in weights.items()}
    return head.outputs(tensors, torch.tensor(x), batch)["energy"].item(), weights, x


def outputs(w, x):
    """The sum over clusters of the last two layers."""
    return (ssp(x @ w["head_1"] + w["head_bias_1"]) @ w["head_2"] + w["head_bias_2"]).sum()


class TestEquations:
    """Matrices of whole molecules, and numbers that were found with them."""

    def test_of_a_pooled_graph(self):
        found, w, x = of_head(DiffPoolHead(6, 3, cutoff=4.5, n_clusters=3), ETHANOL)
        r = ETHANOL.get_all_distances()
        a = np.where(r < 4.5, 0.5 * (np.cos(np.pi * r / 4.5) + 1), 0) - np.eye(len(r))

        def layer(name, adjacency, x):
            return np.hstack([x, adjacency @ x]) @ w[name] + w[f"{name}_bias"]

        s = softmax(layer("assign", a, x))
        pooled = s.T @ ssp(layer("embed", a, x))
        expected = outputs(w, ssp(layer("pooled", s.T @ a @ s, pooled)))
        assert found == pytest.approx(expected, rel=1e-12)
        assert found == pytest.approx(GRAPH, rel=1e-9)

    def test_of_pooled_positions(self):
        head = PositionHead(6, 3, cutoff=4.5, n_clusters=3)
        found, w, x = of_head(head, ETHANOL)
        s = softmax(x @ w["assign"] + w["assign_bias"])
        pooled, places = s.T @ x, s.T @ ETHANOL.positions / s.sum(axis=0)[:, None]
        messages = np.zeros_like(pooled)
        centers, cosines = np.linspace(0, 4.5, 8), np.linspace(-1, 1, 5)
        for i in range(3):
            for j in {0, 1, 2} - {i}:
                for k in {0, 1, 2} - {i}:
                    u, v = places[j] - places[i], places[k] - places[i]
                    p, q = (np.sqrt(d @ d + 0.1**2) for d in (u, v))
                    radial = np.exp(-2 * (7 / 4.5) ** 2 * (q - centers) ** 2)
                    angular = np.exp(-2 * (4 / 2) ** 2 * (u @ v / (p * q) - cosines) ** 2)
                    row = np.outer(radial, angular).ravel()
                    hidden = ssp(row @ w["pooled_filter_1"] + w["pooled_filter_bias_1"])
                    filters = hidden @ w["pooled_filter_2"] + w["pooled_filter_bias_2"]
                    messages[i] += pooled[k] * filters
        hidden = ssp(messages @ w["pooled_1"] + w["pooled_bias_1"])
        expected = outputs(w, pooled + hidden @ w["pooled_2"] + w["pooled_bias_2"])
        assert found == pytest.approx(expected, rel=1e-12)
        assert found == pytest.approx(POSITIONS, rel=1e-9)


class TestInvariance:
    def test_rotation_reflection_translation_and_order(self, network):
        energy, _, forces, _ = evaluated(network, ETHANOL)
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
        order = np.random.default_rng(2).permutation(len(ETHANOL))
        for sign in (1, -1):
            other = ETHANOL[order]
            other.positions = sign * other.positions @ turn.T + 3
            again = evaluated(network, other)
            assert again[0] == pytest.approx(energy, rel=1e-12)
            np.testing.assert_allclose(again[2], sign * forces[order] @ turn.T, atol=1e-12)

    def test_an_atom_alone_is_a_cluster(self, network):
        found = evaluated(network, Atoms("O"))
        assert np.isfinite(found[0]) and not found[2].any()

    def test_the_choice_of_the_cell_does_not_matter_to_a_graph(self):
        network = random_network(SMOOTH["schnet"](), DiffPoolHead(6, 3, cutoff=4.5))
        atoms = ice()
        other = atoms.copy()
        other.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 0, -1]]) @ atoms.cell.array)
        other.positions[1] += atoms.cell.array[0] - 2 * atoms.cell.array[2]
        expected = evaluated(network, atoms)[0]
        assert evaluated(network, other)[0] == pytest.approx(expected, rel=1e-12)


class TestFit:
    @pytest.mark.parametrize("pooling", CLUSTERED)
    def test_learns(self, pooling):
        structures = waters(24)
        y = labels_of(structures, ("energy", "forces"))
        model = SchNet(
            3.5, n_features=8, n_interactions=1, n_rbf=8, gamma=4.0, pooling=pooling, batch_size=8,
            max_iter=40, learning_rate_init=0.02, ema_decay=0.9, random_state=0,
        ).fit(structures, y)  # fmt: skip
        assert model.outputs_ == ("energy", "forces", "stress")
        assert model.history_["validation_loss"].min() < 0.3 * model.history_["loss"][0]
        with pytest.raises(ValueError, match="can neither be probed nor mix elements"):
            model.probe_energies(structures[0], [[3, 0, 0]], 1)

    def test_positions_of_crystals_are_refused(self):
        structures = crystals(4)
        with pytest.raises(ValueError, match="structure 0 is periodic, and positions of clusters"):
            SchNet(pooling="positions").fit(structures, np.arange(4.0))

    def test_is_a_choice_of_networks_that_have_further_ones(self):
        model = PointScatteringNetwork(pooling="diffpool", n_features=4, max_iter=1, random_state=0)
        structures = Structures.from_ase([WATER, ETHANOL])
        model = model.set_params(validation_fraction=0).fit(structures, [0.1, 0.2])
        assert type(model.network_.head) is DiffPoolHead and model.network_.head.n_hidden == 4
