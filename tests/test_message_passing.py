"""Networks of messages: each preset as explicit loops over atoms, identities, training, errors."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ase import Atoms  # noqa: E402
from ase.build import molecule  # noqa: E402
from models_under_contract import crystals, labels_of, waters  # noqa: E402

from skatom import Structures  # noqa: E402
from skatom._device import resolve_torch  # noqa: E402
from skatom.bonds import BOND_KINDS, Bonds  # noqa: E402
from skatom.models import MessagePassingNetwork  # noqa: E402
from skatom.models._torch.networks.potential import GraphPotential, batch_of  # noqa: E402
from skatom.models._torch.networks.read_outs import set2set  # noqa: E402
from skatom.models.neural.fitted_network import FittedNetwork  # noqa: E402
from skatom.models.neural.message_passing_architecture import (  # noqa: E402
    MessagePassingArchitecture,
)
from skatom.models.neural.message_passing_presets import PRESETS  # noqa: E402
from skatom.models.neural.molecular_graphs import BONDED, DISCRETE, OPERATORS  # noqa: E402
from skatom.models.neural.packing import BatchLayout, packed  # noqa: E402
from skatom.models.neural.read_outs import SumReadOut  # noqa: E402

CPU = resolve_torch("cpu", "MessagePassingNetwork")
SPECIES, CUTOFF = np.array([1, 6, 8]), 4.0
CONSTANTS = np.array([-1.0, -2.0, -3.0])


def molecules():
    """Formaldehyde, water and an atom, with their bonds."""
    images = [molecule("H2CO"), molecule("H2O"), Atoms("O")]
    structures = Structures.from_ase(images)
    pairs = [[0, 1], [1, 2], [1, 3], [4, 5], [4, 6]]
    features = np.random.default_rng(5).normal(size=(8, 2))
    return structures.with_bonds(Bonds(pairs, [2, 1, 1, 1, 1], structures.offsets, features))


def random_network(preset="edge_network", bond_features=None, seed=0, **changes):
    """A network in which everything contributes, with random weights."""
    settings = {
        "n_features": 4, "n_passes": 2, "n_filters": 3, "n_rbf": 5, "gamma": 2.0, "cutoff": CUTOFF,
        "order": 3, "n_readout_steps": 2, **changes,
    }  # fmt: skip
    model = MessagePassingNetwork(preset, **settings)
    needs_bonds = model._parts().edges in BONDED
    model.n_bond_features_ = 0 if needs_bonds and bond_features is None else bond_features
    architecture = model._architecture(len(SPECIES))
    head = model._head(architecture.n_features)
    rng = np.random.RandomState(seed)
    shapes = architecture.shapes | head.shapes
    weights = {name: 0.6 * rng.normal(size=shape) for name, shape in shapes.items()}
    return FittedNetwork(architecture, head, weights, 0.5, CONSTANTS, SPECIES)


def energies(network, structures):
    return network.evaluate(structures, CPU, False)["energy"]


def ssp(x):
    return np.logaddexp(0, x) - np.log(2)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


class Loops:
    """The energy of one molecule by loops over atoms and pairs, as the equations say it."""

    def __init__(self, network, structure):
        self.a, self.w, self.s = network.architecture, network.weights, structure
        self.kinds = np.searchsorted(SPECIES, structure.numbers)
        self.n, self.bonds = len(structure.numbers), structure.known_bonds
        self.network = network
        self.edges = {v: {u: self.edge(v, u) for u in self.neighbors(v)} for v in range(self.n)}

    def adjacency(self):
        a = np.zeros((self.n, self.n))
        for i, j in self.bonds.pairs:
            a[i, j] = a[j, i] = 1
        return a

    def distance(self, v, u):
        return np.linalg.norm(self.s.positions[u] - self.s.positions[v])

    def neighbors(self, v):
        if self.a.edges in DISCRETE and self.a.edges != "bins":
            bonded = np.flatnonzero(self.adjacency()[v])
            everyone = [u for u in range(self.n) if u != v]
            return everyone if self.a.virtual_edges or self.a.edges in OPERATORS else bonded
        return [u for u in range(self.n) if u != v and self.distance(v, u) < CUTOFF]

    def edge(self, v, u):
        """What is known of an edge, and its cutoff function."""
        r, known = self.distance(v, u), []
        if self.a.edges == "distances":
            known.append(r)
        if self.a.edges == "gaussians":
            known += [*np.exp(-2.0 * (r - np.linspace(0, CUTOFF, 5)) ** 2)]
        order = None
        if self.a.has_bonds:
            ends = (self.bonds.pairs == sorted([v, u])).all(axis=1)
            order = self.bonds.orders[ends][0] if ends.any() else None
            known += [float(order == kind) for kind in BOND_KINDS]
        if self.a.edges == "bins":
            limits = [0, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, np.inf]
            within = [a <= r < b for a, b in zip(limits[:-1], limits[1:], strict=True)]
            known += [float(x and order is None) for x in within]
        if self.a.virtual_edges:
            known.append(float(order is None))
        smooth = self.a.cutoff_function == "cosine"
        return np.array(known), (np.cos(np.pi * r / CUTOFF) + 1) / 2 if smooth else 1.0

    def step(self, t):
        """The weights of a pass."""
        t = 0 if self.a.tied else t
        parts = ("message", "update", "edges")
        return {k: x[t, 0] for k, x in self.w.items() if k.startswith(parts)}

    def states(self):
        x = np.eye(len(SPECIES))[self.kinds]
        if self.a.n_atom_numbers:
            x = np.hstack([x, self.bonds.atom_features])
        h = [x @ self.w["embedding"]]
        e = {(v, u): self.edges[v][u][0] for v in self.edges for u in self.edges[v]}
        for t in range(self.a.n_passes):
            w, old = self.step(t), h[-1]
            if self.a.edge_update == "network":
                e = {vu: self.updated_edge(w, old, vu, e[vu]) for vu in e}
            m = [self.message(w, old, v, e) for v in range(self.n)]
            if self.a.edge_update == "weave":
                e = {vu: self.updated_edge(w, old, vu, e[vu]) for vu in e}
            h.append(np.array([self.updated(w, old, h[0], m, v) for v in range(self.n)]))
        return h

    def message(self, w, h, v, e):
        if self.a.message == "operators":
            return self.filtered(w, h)[v]
        nothing = 0 * self.term(w, h, v, v, np.zeros(self.a.n_known))
        terms = [self.term(w, h, v, u, e[v, u]) * self.edges[v][u][1] for u in self.edges[v]]
        return nothing + sum(terms)

    def term(self, w, h, v, u, e):
        """M(h_v, h_u, e)."""
        name = self.a.message
        if name == "edge_network":
            for k in range(1, self.a.n_layers + 1):
                e = ssp(e @ w[f"message_edges_{k}"] + w[f"message_edges_bias_{k}"])
            matrices = w["message_matrix"].reshape(len(e) + 1, h.shape[1], -1)
            return np.einsum("kij,i,k->j", matrices, h[u], [*e, 1])
        if name == "matrix":
            matrices = w["message_matrix"].reshape(len(e), h.shape[1], -1)
            return h[u] @ matrices[np.argmax(e)]
        if name == "pair":
            both = h[v] @ w["message_own"] + h[u] @ w["message_there"] + e @ w["message_edges"]
            return ssp(both + w["message_bias_1"]) @ w["message_2"] + w["message_bias_2"]
        if name == "filters":
            f = ssp(e @ w["message_filter_1"] + w["message_filter_bias_1"])
            f = ssp(f @ w["message_filter_2"] + w["message_filter_bias_2"])
            return (h[u] @ w["message_atoms"]) * f
        return {"concatenation": np.append(h[u], e), "edges": e}[name]

    def filtered(self, w, h):
        """A filter of the graph, of the definition of each."""
        a, eye = self.adjacency(), np.eye(self.n)
        theta = w["message_matrix"].reshape(self.a.order, h.shape[1], -1)
        degrees = a.sum(axis=1)
        if self.a.edges == "renormalized":
            root = np.diag((degrees + 1) ** -0.5)
            return root @ (a + eye) @ root @ h @ theta[0]
        root = np.diag([d**-0.5 if d else 0 for d in degrees])
        laplacian = eye - root @ a @ root
        if self.a.edges == "chebyshev":
            x = laplacian - eye
            return sum(p @ h @ m for p, m in zip((eye, x, 2 * x @ x - eye), theta, strict=True))
        # F_ij = the sum of θ_k times hats of the eigenvalues, with corners at 0, 1 and 2
        values, vectors = np.linalg.eigh(laplacian)
        hats = [np.interp(values, [0, 1, 2], row) for row in np.eye(3)]
        filters = np.einsum("kn,kij->ijn", hats, theta)
        out = np.zeros((self.n, theta.shape[2]))
        for i in range(h.shape[1]):
            for j in range(theta.shape[2]):
                out[:, j] += vectors @ np.diag(filters[i, j]) @ vectors.T @ h[:, i]
        return out

    def updated(self, w, h, x, messages, v):
        """U(h_v, m_v)."""
        m, name, d = messages[v], self.a.update, h.shape[1]
        if name == "gru":
            of_m = m @ w["update_of_message"] + w["update_bias"]
            gates = sigmoid(of_m[: 2 * d] + h[v] @ w["update_gates"])
            z, r = gates[:d], gates[d:]
            return (1 - z) * h[v] + z * np.tanh(of_m[2 * d :] + (r * h[v]) @ w["update_state"])
        if name == "residual":
            hidden = ssp(m @ w["update_1"] + w["update_bias_1"])
            return h[v] + hidden @ w["update_2"] + w["update_bias_2"]
        if name == "network":
            hidden = ssp(np.concatenate([h[v], x[v], m]) @ w["update_1"] + w["update_bias_1"])
            return hidden @ w["update_2"] + w["update_bias_2"]
        if name == "weave":
            own = relu(h[v] @ w["update_0"] + w["update_bias_0"])
            return relu(np.append(own, m) @ w["update_1"] + w["update_bias_1"])
        if name == "by_degree":
            return sigmoid(m @ w["update_by_degree"][len(self.edges[v])])
        return {"sigmoid": sigmoid, "relu": relu}[name](m)

    def updated_edge(self, w, h, ends, e):
        v, u = ends
        if self.a.edge_update == "network":
            both = h[v] @ w["edges_own"] + h[u] @ w["edges_there"] + e @ w["edges_edges"]
            return ssp(ssp(both + w["edges_bias_1"]) @ w["edges_2"] + w["edges_bias_2"])
        of_edge = relu(e @ w["edges_2"] + w["edges_bias_2"])
        of_atoms = relu(h[v] @ w["edges_own"] + h[u] @ w["edges_there"] + w["edges_bias_3"])
        return relu(np.append(of_edge, of_atoms) @ w["edges_4"] + w["edges_bias_4"])

    def layers(self, name, x):
        w = self.w
        hidden = ssp(x @ w[f"{name}_1"] + w[f"{name}_bias_1"])
        return (hidden @ w[f"{name}_2"] + w[f"{name}_bias_2"])[..., 0]

    def energy(self):
        h, w = self.states(), self.w
        name = type(self.network.head).__name__
        if name == "Set2SetReadOut":
            p = np.hstack([h[-1], h[0]]) @ w["memory"]
            answer, cell = np.zeros(8), np.zeros(4)
            for _ in range(2):
                keep, write, show, new = np.split(answer @ w["lstm"] + w["lstm_bias"], 4)
                cell = sigmoid(keep) * cell + sigmoid(write) * np.tanh(new)
                q = sigmoid(show) * np.tanh(cell)
                answer = np.append(q, softmax(p @ q) @ p)
            number = self.n * self.layers("head", answer)
        elif name == "GatedSumReadOut":
            gates = sigmoid(self.layers("gate", np.hstack([h[-1], h[0]])))
            number = (gates * self.layers("head", h[-1])).sum()
        elif name == "FingerprintReadOut":
            bits = sum(
                softmax(row @ m) for x, m in zip(h, w["fingerprint"], strict=True) for row in x
            )
            number = self.layers("head", bits)
        elif name == "SumReadOut":
            number = self.layers("head", h[-1]).sum()
        else:
            number = self.layers("head", h[-1].sum(axis=0))
        return 0.5 * number + CONSTANTS[self.kinds].sum()


class TestPresets:
    @pytest.mark.parametrize("preset", PRESETS)
    def test_are_what_loops_over_atoms_give(self, preset):
        network, structures = random_network(preset), molecules()
        expected = [Loops(network, structures[s]).energy() for s in range(3)]
        np.testing.assert_allclose(energies(network, structures), expected, rtol=1e-12)

    @pytest.mark.parametrize("preset, changes", [
        ("edge_network", {"edges": "distances", "n_layers": 1, "cutoff_function": "hard"}),
        ("edge_network", {"bond_features": 2}),
        ("gated_graph", {"bond_features": 0}),
        ("gated_graph", {"edges": "bonds", "virtual_edges": True}),
        ("chebyshev", {"bond_features": 2}),
        ("interaction_network", {"message": "edge_network", "read_out": "set2set"}),
    ])  # fmt: skip
    def test_with_other_parts(self, preset, changes):
        network, structures = random_network(preset, **changes), molecules()
        expected = [Loops(network, structures[s]).energy() for s in range(3)]
        np.testing.assert_allclose(energies(network, structures), expected, rtol=1e-12)

    @pytest.mark.parametrize("preset", PRESETS)
    def test_do_not_depend_on_the_order_of_atoms(self, preset):
        network, whole = random_network(preset), molecules()[:1]
        order = np.array([3, 0, 2, 1])
        new = np.argsort(order)
        other = Structures(whole.numbers[order], whole.positions[order])
        bonds = whole.known_bonds
        other = other.with_bonds(Bonds(new[bonds.pairs], bonds.orders, other.offsets))
        np.testing.assert_allclose(energies(network, other), energies(network, whole), rtol=1e-12)

    @pytest.mark.parametrize("preset", PRESETS)
    def test_of_sorted_and_padded_batches(self, preset):
        """What a card does, without one."""
        network, structures = random_network(preset), molecules()
        graphs = network.architecture.graphs(structures, SPECIES)
        potential, found = GraphPotential(network.architecture, network.head), []
        for on_card in (False, True):
            layout = BatchLayout.of(graphs, 4, 3, labels=(), on_card=on_card, dtype="float64")
            batch = batch_of(packed(graphs, layout, CUTOFF), layout, CPU)
            theta = torch.tensor(network.theta(), requires_grad=True)
            energy = potential.outputs(theta, batch)["energy"]
            (slope,) = torch.autograd.grad(energy[:3].sum(), theta)
            found.append((energy.detach().numpy()[:3], slope.numpy()))
        for plain, padded in zip(*found, strict=True):
            np.testing.assert_allclose(padded, plain, rtol=1e-11, atol=1e-13)


class TestIdentities:
    def golden(self, cutoff_function="hard"):
        """The convolutions of SchNet with deterministic weights, as messages."""
        architecture = MessagePassingArchitecture(
            10, 5.0, 4, 4, 2, "filters", "residual", None, "last", "gaussians", cutoff_function,
            False, False, False, False, 0, 5, 2, 11, 7, 1, 0, 4, 4.0,
        )  # fmt: skip
        head = SumReadOut(4, 3, 4, True)
        order = [
            "message_filter_1", "message_filter_bias_1", "message_filter_2",
            "message_filter_bias_2", "message_atoms", "update_1", "update_bias_1", "update_2",
            "update_bias_2",
        ]  # fmt: skip

        def sines(p, shape):
            return np.sin(p + 0.37 * np.arange(np.prod(shape))).reshape(shape)

        weights = {"embedding": sines(1, (10, 4))}
        for name, shape in architecture.shapes.items():
            if name in order:
                k = 2 + order.index(name)
                weights[name] = np.stack([sines(k + 9 * t, shape[1:]) for t in range(2)])
        for k, (name, shape) in enumerate(head.shapes.items()):
            weights[name] = sines(20 + k, shape)
        return FittedNetwork(architecture, head, weights, 2.0, np.full(10, -10.0), np.arange(10))

    def test_messages_by_filters_are_those_of_schnet(self):
        water = Structures([8, 1, 1], [[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]])
        found = self.golden().evaluate(water, CPU, True)
        assert found["energy"][0] == pytest.approx(-38.715095263859, abs=2e-12)
        expected = [[0, 0, 0.3059927], [0, -0.0627096, -0.1529964], [0, 0.0627096, -0.1529964]]
        np.testing.assert_allclose(-found["gradient"], expected, atol=1e-7)

    @pytest.mark.parametrize("sizes, count", [
        ((64, 64, 6, 300), 223_553), ((30, 60, 3, 200), 64_321), ((128, 128, 6, 200), 571_009),
    ])  # fmt: skip
    def test_numbers_of_weights_are_those_of_schnet(self, sizes, count):
        n, m, t, k = sizes
        architecture = MessagePassingArchitecture(
            100, 5.0, n, n, t, "filters", "residual", None, "last", "gaussians", "hard", False,
            False, False, False, 0, m, 2, k, 7, 1, 0, 4, 10.0,
        )  # fmt: skip
        shapes = architecture.shapes | SumReadOut(n, n // 2, n, True).shapes
        assert sum(map(np.prod, shapes.values())) == count

    def test_numbers_of_weights_of_the_edge_network(self):
        """Of the released sizes: d = 50, four layers of 50 for 50 x 100 matrices, and a GRU."""
        model = MessagePassingNetwork(n_features=50, n_layers=4, edges="distances")
        model.n_bond_features_ = 0
        architecture, d = model._architecture(5), 50
        edges = 5 * 50 + 50 + 3 * (50 * 50 + 50) + (50 + 1) * d * 2 * d
        gru = 3 * (2 * d * d + d) + 3 * d * d
        assert architecture.n_weights == 5 * d + edges + gru

    def test_a_lookup_is_an_edge_network(self):
        """One label of each edge: A(e) of the edge network without its constant."""
        lookup = random_network("gated_graph", edges="bonds")
        network = random_network("gated_graph", edges="bonds", message="edge_network", n_layers=1)
        w = network.weights = {**network.weights, **lookup.weights}
        k, scale = 4, 50.0
        # hidden neurons that are 1 for their label and 0 otherwise
        assert network.architecture.n_filters == 3  # bonds of three kinds
        w["message_edges_1"] = np.full((1, 1, k, 3), -scale)
        w["message_edges_1"][0, 0, [0, 1, 2], [0, 1, 2]] = np.log(2 * np.e - 1)
        w["message_edges_bias_1"] = np.zeros((1, 1, 3))
        matrices = lookup.weights["message_matrix"].reshape(k, 4, -1)
        # a neuron far below is at -ln 2, whatever the label: the constant takes it back
        below = -np.log(2)
        inverse = np.linalg.inv(np.full((3, 3), below) + (1 - below) * np.eye(3))
        mixed = np.tensordot(inverse, matrices[:3], 1)
        constant = np.zeros_like(mixed[:1])
        w["message_matrix"] = np.concatenate([mixed, constant]).reshape(1, 1, 4 * 4, -1)
        np.testing.assert_allclose(
            energies(network, molecules()), energies(lookup, molecules()), rtol=1e-10
        )

    def test_virtual_edges_of_a_complete_graph_change_nothing(self):
        structures = Structures.from_ase([Atoms("OHH", [[0, 0, 0], [0, 0, 1], [0, 1, 0]])])
        bonds = Bonds([[0, 1], [0, 2], [1, 2]], None, structures.offsets)
        plain = random_network("gated_graph", edges="bonds")
        more = random_network("gated_graph", edges="bonds", virtual_edges=True)
        matrices = plain.weights["message_matrix"]
        more.weights = plain.weights | {
            "message_matrix": np.concatenate([matrices, np.ones_like(matrices[:, :, :4])], axis=2)
        }
        structures = structures.with_bonds(bonds)
        np.testing.assert_allclose(energies(more, structures), energies(plain, structures))

    def test_an_update_without_weights_halves_the_state(self):
        network = random_network("gated_graph", read_out="network_of_sum", n_passes=1)
        for name in network.weights:
            if name.startswith("update"):
                network.weights[name] = np.zeros_like(network.weights[name])
        loops = Loops(network, molecules()[:1])
        halved = 0.5 * np.eye(3)[loops.kinds] @ network.weights["embedding"]
        expected = 0.5 * loops.layers("head", halved.sum(axis=0)) + CONSTANTS[loops.kinds].sum()
        assert energies(network, molecules()[:1])[0] == pytest.approx(expected, rel=1e-12)

    def test_set2set_without_weights_gives_means(self):
        graphs = random_network().architecture.graphs(molecules(), SPECIES)
        layout = BatchLayout.of(graphs, 3, 3, labels=(), on_card=False, dtype="float64")
        batch = batch_of(packed(graphs, layout, CUTOFF), layout, CPU)
        memories = torch.tensor(np.random.default_rng(0).normal(size=(8, 4)))
        rng = np.random.default_rng(1)
        for scale in (0.0, 1.0):
            weights = {
                "memory": torch.eye(4, dtype=torch.float64),
                "lstm": torch.tensor(scale * rng.normal(size=(8, 16))),
                "lstm_bias": torch.tensor(scale * rng.normal(size=16)),
            }
            answer = set2set(weights, memories, batch, 3)
            if scale == 0:
                means = [memories[a:b].mean(0) for a, b in ((0, 4), (4, 7), (7, 8))]
                np.testing.assert_allclose(answer[:, 4:], torch.stack(means), rtol=1e-12)
                np.testing.assert_array_equal(answer[:, :4], 0)
            # the mean of one atom is that atom, whatever the query
            np.testing.assert_allclose(answer[2, 4:], memories[7], rtol=1e-12)

    def test_set2set_of_copies_adds_up(self):
        """Means over two copies far apart are those of one, and there are twice as many atoms."""
        one = molecule("H2CO")
        both = one.copy()
        both.positions += [20, 0, 0]
        both += one
        network = random_network()
        found = energies(network, Structures.from_ase([one, both]))
        assert found[1] == pytest.approx(2 * found[0], rel=1e-12)

    def test_towers_are_networks_side_by_side(self):
        """Of two towers, mixed by the unit matrix, each is a network of half the size."""
        both = random_network("gated_graph", n_towers=2, read_out="sum", edges="bonds")
        both.weights["mix"] = np.eye(4)[None]
        both.weights["mix_bias"] = np.zeros((1, 4))
        total = 0.0
        for tower in range(2):
            half = random_network("gated_graph", read_out="sum", edges="bonds", n_features=2)
            own = slice(2 * tower, 2 * tower + 2)
            w = {k: x[:, [tower]] for k, x in both.weights.items() if k[:4] in ("mess", "upda")}
            w |= {"embedding": both.weights["embedding"][:, own]}
            half.weights = {name: w.get(name) for name in half.architecture.shapes}
            states = Loops(half, molecules()[:1]).states()[-1]
            total = total + states @ both.weights["head_1"][own]
        hidden = ssp(total + both.weights["head_bias_1"])
        local = hidden @ both.weights["head_2"] + both.weights["head_bias_2"]
        kinds = np.searchsorted(SPECIES, molecules()[:1].numbers)
        expected = 0.5 * local.sum() + CONSTANTS[kinds].sum()
        assert energies(both, molecules()[:1])[0] == pytest.approx(expected, rel=1e-12)

    def test_a_master_node_is_written_and_read(self):
        """One pass by hand, with messages of the master alone."""
        network = random_network(
            "gated_graph", read_out="network_of_sum", master_size=3, edges="bonds"
        )
        w, structure = network.weights, molecules()[:1]
        w["message_matrix"] = np.zeros_like(w["message_matrix"])
        kinds = np.searchsorted(SPECIES, structure.numbers)
        h, g = w["embedding"][kinds], w["master_state"]
        gru = {k: w[k][0, 0] for k in w if k.startswith("update")}
        master = {k.removeprefix("master_"): w[k] for k in w if k.startswith("master_update")}

        def step(u, state, m):
            d = len(state)
            of_m = m @ u["update_of_message"] + u["update_bias"]
            gates = sigmoid(of_m[: 2 * d] + state @ u["update_gates"])
            new = np.tanh(of_m[2 * d :] + (gates[d:] * state) @ u["update_state"])
            return (1 - gates[:d]) * state + gates[:d] * new

        for _ in range(2):
            written = (h @ w["master_of_atoms"]).sum(axis=0)
            h = np.array([step(gru, row, g @ w["master_to_atoms"]) for row in h])
            g = step(master, g, written)
        hidden = ssp(h.sum(axis=0) @ w["head_1"] + w["head_bias_1"])
        number = (hidden @ w["head_2"] + w["head_bias_2"])[0]
        expected = 0.5 * number + CONSTANTS[kinds].sum()
        assert energies(network, structure)[0] == pytest.approx(expected, rel=1e-12)

    def test_spectral_filters_of_ones_change_nothing(self):
        """Hat functions add up to one."""
        spectral, plain = random_network("spectral"), random_network("chebyshev")
        matrix = plain.weights["message_matrix"].reshape(2, 1, 3, 4, 4)
        matrix[:, :, 1:] = 0  # T_0 = 1
        same = np.repeat(matrix[:, :, :1], 3, axis=2)
        spectral.weights = plain.weights | {"message_matrix": same.reshape(2, 1, 12, 4)}
        np.testing.assert_allclose(
            energies(spectral, molecules()), energies(plain, molecules()), rtol=1e-12
        )


SMALL = {
    "n_features": 4, "n_passes": 2, "n_filters": 4, "n_rbf": 8, "cutoff": 3.5, "batch_size": 5,
    "n_readout_steps": 2, "max_iter": 4, "learning_rate_init": 0.02, "ema_decay": 0.9,
    "validation_fraction": 0, "random_state": 0,
}  # fmt: skip


def bonded_waters(n=10):
    structures = waters(n)
    pairs = [[3 * k, 3 * k + h] for k in range(n) for h in (1, 2)]
    return structures.with_bonds(Bonds(pairs, None, structures.offsets))


class TestTraining:
    def test_the_loss_of_energies_and_forces_falls(self):
        structures = waters(10)
        targets = labels_of(structures, ("energy", "forces"))
        model = MessagePassingNetwork(**SMALL | {"max_iter": 50}).fit(structures, targets)
        assert model.history_["loss"][-1] < 0.3 * model.history_["loss"][0]
        assert model.outputs_ == ("energy", "forces", "stress")

    def test_steps_can_be_recorded(self):
        """Nothing waits for a card, or brings numbers from the host, with any read-out."""
        from test_architectures_contract import Operations

        structures = molecules()
        for preset in ("edge_network", "neural_fingerprints", "spectral", "weave"):
            network = random_network(preset)
            graphs = network.architecture.graphs(structures, SPECIES)
            layout = BatchLayout.of(graphs, 3, 3, labels=(), on_card=True, dtype="float64")
            batch = batch_of(packed(graphs, layout, CUTOFF), layout, CPU)
            theta = torch.tensor(network.theta(), requires_grad=True)
            potential = GraphPotential(network.architecture, network.head)
            with Operations() as seen:
                energy = potential.outputs(theta, batch)["energy"]
                torch.autograd.grad(energy.sum(), theta)
            words = ("_local_scalar", "nonzero", "lift_fresh", "aten.index.Tensor", "index_add")
            assert not [name for name in seen.names if any(word in name for word in words)]

    @pytest.mark.parametrize("preset", ["gated_graph", "weave", "chebyshev"])
    def test_graphs_of_bonds_give_energies_alone(self, preset):
        structures = bonded_waters()
        targets = labels_of(structures, ("energy", "forces"))
        model = MessagePassingNetwork(preset, **SMALL)
        with pytest.warns(UserWarning, match="does not learn from forces"):
            model.fit(structures, targets)
        assert model.outputs_[0] == "energy" and "forces" not in model.outputs_
        assert np.isfinite(model.predict(structures[2:4])).all()

    def test_read_outs_say_whether_atoms_have_energies(self):
        structures = waters(6)
        energy = labels_of(structures, ("energy",)).energy
        for read_out, has in (("gated_sum", True), ("sum", True), ("network_of_sum", False)):
            model = MessagePassingNetwork(read_out=read_out, **SMALL).fit(structures, energy)
            assert ("local_energies" in model.outputs_) == has

    def test_bonds_that_were_learnt_from_are_needed_again(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "rdkit", None)
        structures = bonded_waters()
        energy = labels_of(structures, ("energy",)).energy
        model = MessagePassingNetwork(**SMALL).fit(structures, energy)
        assert model.network_.architecture.has_bonds
        with pytest.raises(ImportError, match="give them by structures.with_bonds"):
            model.predict(waters(2))
        # a fit without bonds forgets those of the last one
        again = model.fit(waters(10), energy)
        assert not again.network_.architecture.has_bonds
        assert np.isfinite(again.predict(waters(2))).all()

    def test_a_part_without_bonds_is_refused_and_changes_nothing(self):
        structures = bonded_waters()
        energy = labels_of(structures, ("energy",)).energy
        model = MessagePassingNetwork(**SMALL).partial_fit(structures, energy)
        found = model.partial_fit(structures, energy).predict(structures)
        with pytest.raises(ValueError, match="has_bonds=True, and has_bonds is False now"):
            model.partial_fit(waters(10), energy)
        np.testing.assert_array_equal(model.predict(structures), found)

    def test_features_of_atoms_enter_the_first_states(self):
        structures = waters(10)
        features = np.random.default_rng(0).normal(size=(30, 3))
        bonds = bonded_waters().known_bonds
        given = Bonds(bonds.pairs, None, bonds.offsets, features)
        energy = labels_of(structures, ("energy",)).energy
        model = MessagePassingNetwork(**SMALL).fit(structures.with_bonds(given), energy)
        assert model.network_.weights["embedding"].shape == (2 + 3, 4)
        with pytest.raises(ValueError, match="have 0 atom_features, and the network learnt from 3"):
            model.predict(structures.with_bonds(bonds))

    def test_bonds_are_perceived_where_they_are_not_given(self):
        pytest.importorskip("rdkit")
        structures = waters(6)
        energy = labels_of(structures, ("energy",)).energy
        model = MessagePassingNetwork("gated_graph", edges="bonds", **SMALL)
        found = model.fit(structures, energy).predict(structures.to_ase())
        np.testing.assert_array_equal(found, model.predict(structures))

    def test_isolated_atoms_and_crystals(self):
        images = [*crystals(4).to_ase(), Atoms("Li"), Atoms("F")]
        energies = np.array([*4 * [-70.0], -9.0, -27.0])
        for preset in ("edge_network", "interaction_network", "schnet_edge_updates"):
            model = MessagePassingNetwork(preset, **SMALL).fit(images, energies)
            energy, forces = model.predict(images, return_forces=True)
            assert np.isfinite(energy).all()
            np.testing.assert_array_equal(forces[-2:], 0)
        # a batch without any edge
        assert np.isfinite(model.predict([Atoms("Li")])).all()

    @pytest.mark.parametrize("changes, message", [
        ({"n_towers": 3}, "n_features=4 states have no 3 equal parts"),
        ({"preset": "weave", "n_towers": 2, "edges": "gaussians"}, "set n_towers=1, or another"),
        ({"message": "operators"}, "message='operators' does not go with edges='gaussians'"),
        ({"edges": "spectral"}, "message='edge_network' does not go with edges='spectral'"),
        ({"update": "relu"}, "update='relu' makes states of 8 numbers, and n_features is 4"),
        ({"virtual_edges": True}, "virtual_edges=True needs edges='bonds', and they are"),
    ])  # fmt: skip
    def test_parts_that_do_not_fit_together_are_errors(self, changes, message):
        structures = bonded_waters()
        energy = labels_of(structures, ("energy",)).energy
        with pytest.raises(ValueError, match=message):
            MessagePassingNetwork(**SMALL | changes).fit(structures, energy)

    def test_edges_of_too_many_pairs_are_an_error(self, monkeypatch):
        monkeypatch.setattr("skatom.models.neural.molecular_graphs._OF_PAIR", 10**13)
        network = random_network("spectral")
        with pytest.raises(MemoryError, match="pairs of atoms of 3 structures .* give smaller or"):
            network.architecture.graphs(molecules(), SPECIES)

    def test_bonds_of_periodic_structures_are_an_error(self):
        structures = crystals(4)
        pairs = [[4 * k, 4 * k + 1] for k in range(4)]
        bonded = structures.with_bonds(Bonds(pairs, None, structures.offsets))
        with pytest.raises(ValueError, match="structure 0 is periodic, and bonds are those of"):
            MessagePassingNetwork(**SMALL).fit(bonded, np.arange(4.0))

    @pytest.mark.parametrize("target", ["dipole", "charges"])
    def test_charges_of_atoms_instead_of_a_read_out(self, target):
        structures = bonded_waters()
        targets = labels_of(structures, (target,))
        for preset in ("edge_network", "gated_graph"):
            model = MessagePassingNetwork(preset, target=target, **SMALL).fit(structures, targets)
            assert model.outputs_[0] == target
            # charges of oxygen and hydrogen, which constants of the elements give
            found = model.predict(structures)
            np.testing.assert_allclose(found, getattr(targets, target), atol=0.05)

    def test_warm_start_meets_another_read_out(self):
        structures = waters(6)
        energy = labels_of(structures, ("energy",)).energy
        model = MessagePassingNetwork(**SMALL, warm_start=True).fit(structures, energy)
        with pytest.raises(ValueError, match="warm_start=True goes on with a network"):
            model.set_params(read_out="sum").fit(structures, energy)
