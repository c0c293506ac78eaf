"""Networks of angular filters: explicit loops over triples, what they see, files, training."""

import joblib
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from architectures_under_contract import WATER, evaluated, ice, random_network  # noqa: E402
from ase import Atoms  # noqa: E402
from models_under_contract import labels_of, waters  # noqa: E402

from skatom import Structures  # noqa: E402
from skatom.models import AngularFilterNetwork  # noqa: E402
from skatom.models.neural.angular_filter_architecture import (  # noqa: E402
    AngularFilterArchitecture,
)

SMALL = {
    "cutoff": 3.5, "n_features": 8, "n_hidden": 8, "n_interactions": 2, "n_radial": 8,
    "n_angular": 6, "batch_size": 5, "max_iter": 60, "learning_rate_init": 0.01, "ema_decay": 0.9,
    "random_state": 0,
}  # fmt: skip


def architecture(message_from="neighbor", n_interactions=2):
    return AngularFilterArchitecture(3, 4.5, 6, 5, n_interactions, 6, 4, message_from)


def softplus(x):
    return np.logaddexp(0, x) - np.log(2)


def neighbors(atoms, i, cutoff):
    """(atom, vector, distance) of every neighbour of atom i, images included."""
    images = np.mgrid[-3:4, -3:4, -3:4].reshape(3, -1).T if atoms.pbc.any() else np.zeros((1, 3))
    for j, position in enumerate(atoms.positions):
        for image in images @ atoms.cell.array:
            vector = position + image - atoms.positions[i]
            r = np.linalg.norm(vector)
            if 0 < r < cutoff:
                yield j, vector, r


def bell(t, first, last, n):
    """Gaussians whose standard deviation is half the distance of their centres."""
    centers = np.linspace(first, last, n)
    return np.exp(-((t - centers) ** 2) / (2 * (0.5 * (centers[1] - centers[0])) ** 2))


def message(network, t, x, atoms, i):
    """The sum over all ordered pairs of neighbours of atom i, which may be the same one."""
    a = network.architecture
    w = {k: v[t] for k, v in network.weights.items() if k.startswith("filter")}
    near, found = list(neighbors(atoms, i, a.cutoff)), np.zeros(a.n_features)
    for _, other, r in near:
        for k, vector, s in near:
            cosine = vector @ other / (r * s)
            basis = np.outer(bell(s, 0, a.cutoff, a.n_radial), bell(cosine, -1, 1, a.n_angular))
            hidden = np.einsum("ab,abm->m", basis, w["filter_1"]) + w["filter_bias_1"]
            fade = np.prod(np.cos(np.pi * np.array([r, s]) / a.cutoff) + 1) / 4
            filters = fade * (softplus(hidden) @ w["filter_2"] + w["filter_bias_2"])
            found += filters * x[k if a.message_from == "neighbor" else i]
    return found


def local_energies(network, atoms):
    w, kinds = network.weights, np.searchsorted(network.species, atoms.numbers)
    x = w["embedding"][kinds]
    for t in range(network.architecture.n_interactions):
        messages = np.array([message(network, t, x, atoms, i) for i in range(len(atoms))])
        hidden = softplus(messages @ w["dense_1"][t] + w["dense_bias_1"][t])
        x = x + hidden @ w["dense_2"][t] + w["dense_bias_2"][t]
    hidden = softplus(x @ w["head_1"] + w["head_bias_1"])
    return 0.5 * (hidden @ w["head_2"] + w["head_bias_2"])[:, 0] + network.constants[kinds]


@pytest.mark.parametrize("message_from", ["neighbor", "center"])
class TestEquations:
    def test_of_water(self, message_from):
        network = random_network(architecture(message_from))
        expected = local_energies(network, WATER)
        np.testing.assert_allclose(evaluated(network, WATER)[1], expected, rtol=1e-11)

    def test_of_ice(self, message_from):
        network = random_network(architecture(message_from, 1))
        expected = local_energies(network, ice())
        np.testing.assert_allclose(evaluated(network, ice())[1], expected, rtol=1e-11)

    def test_elements_of_neighbors_are_seen_by_their_messages_alone(self, message_from):
        network = random_network(architecture(message_from))
        carbon = Atoms("OCH", WATER.positions)
        before, after = (evaluated(network, atoms)[1][0] for atoms in (WATER, carbon))
        if message_from == "center":
            assert before == pytest.approx(after, rel=1e-13)
        else:
            assert abs(before - after) > 1e-4

    def test_without_the_last_matrices_energies_are_those_of_compositions(self, message_from):
        network = random_network(architecture(message_from))
        names = ("dense_2", "dense_bias_2")
        network.weights = network.weights | {k: 0 * network.weights[k] for k in names}
        other = WATER.copy()
        other.rattle(0.3, seed=1)
        energies = [evaluated(network, atoms)[0] for atoms in (WATER, other)]
        assert energies[0] == pytest.approx(energies[1], rel=1e-14)


def test_one_interaction_sees_angles():
    """Two hydrogen atoms that are out of each other's reach, at two angles."""
    network = random_network(architecture(n_interactions=1))
    local = []
    for angle in (2.0, 2.5):
        positions = [[0, 0, 0], [3, 0, 0], [3 * np.cos(angle), 3 * np.sin(angle), 0]]
        local.append(evaluated(network, Atoms("OHH", positions))[1])
    assert abs(local[0][0] - local[1][0]) > 1e-4
    np.testing.assert_allclose(local[0][1:], local[1][1:], rtol=1e-13)


def test_the_number_of_weights():
    """Filters of 100 basis functions, and two matrices more for each layer."""
    a = AngularFilterArchitecture(4, 5.0, 128, 128, 3, 10, 10, "neighbor")
    of_filters = 100 * 128 + 128 * 128 + 2 * 128
    of_atoms = 2 * 128 * 128 + 2 * 128
    assert a.n_weights == 4 * 128 + 3 * (of_filters + of_atoms)


def test_memory_grows_with_pairs_of_neighbors():
    """As many numbers as pairs, and so structures with many are predicted a few at a time."""
    a, species = architecture(), np.array([1, 6, 8])
    dense, sparse = (a.graphs(Structures.from_ase([x]), species) for x in (ice(), WATER))
    most = [int(graphs.degrees(1).max()) for graphs in (dense, sparse)]
    per_edge = [a.numbers(graphs)[0] / graphs.n_edges[0] for graphs in (dense, sparse)]
    assert (most[0] >= 16, most[1]) == (True, 2)
    assert per_edge[0] > 2 * per_edge[1]
    assert a.rows(dense)[-1] == 2 * (dense.n_edges[0] + 3)
    assert a.rows(sparse)[-1] == sparse.n_edges[0] + 3


class TestEstimator:
    def test_training_lowers_the_loss_and_is_repeated(self):
        structures = waters(12)
        targets = labels_of(structures, ("energy", "forces"))
        model = AngularFilterNetwork(**SMALL, validation_fraction=0.2)
        losses = model.fit(structures, targets).history_["validation_loss"]
        assert losses[-1] < 0.3 * model.history_["loss"][0]
        theta = model.network_.theta()
        np.testing.assert_array_equal(model.fit(structures, targets).network_.theta(), theta)

    def test_files(self, tmp_path):
        structures = waters(8)
        model = AngularFilterNetwork(**SMALL | {"max_iter": 40})
        model.fit(structures, labels_of(structures, ("energy", "forces")))
        joblib.dump(model, tmp_path / "model")
        again = joblib.load(tmp_path / "model").predict(structures, return_forces=True)
        for one, other in zip(again, model.predict(structures, return_forces=True), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_too_many_pairs_for_memory(self):
        structures = waters(8)
        model = AngularFilterNetwork(**SMALL | {"n_hidden": 10**9})
        with pytest.raises(MemoryError, match="lower batch_size=5, or the cutoff"):
            model.fit(structures, labels_of(structures, ("energy",)))
