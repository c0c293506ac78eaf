"""SchNet: numbers of known weights, exact properties, and training."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ase import Atoms  # noqa: E402
from ase.build import bulk, molecule  # noqa: E402
from models_under_contract import crystals, labels_of, waters  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from skatom import Structures, Targets  # noqa: E402
from skatom._device import resolve_torch  # noqa: E402
from skatom.models import Committee, SchNet  # noqa: E402
from skatom.models._torch.networks.potential import GraphPotential, batch_of  # noqa: E402
from skatom.models._torch.networks.training import TrainingSteps  # noqa: E402
from skatom.models.neural import training_checkpoint  # noqa: E402
from skatom.models.neural.fitted_network import FittedNetwork  # noqa: E402
from skatom.models.neural.graph_training import GraphTraining  # noqa: E402
from skatom.models.neural.graphs import Graphs  # noqa: E402
from skatom.models.neural.heads import EnergyHead  # noqa: E402
from skatom.models.neural.labelled_graphs import LabelledGraphs  # noqa: E402
from skatom.models.neural.network_labels import labels_of_energies  # noqa: E402
from skatom.models.neural.packing import BatchLayout, packed  # noqa: E402
from skatom.models.neural.schedules import Schedule  # noqa: E402
from skatom.models.neural.schnet_architecture import SchNetArchitecture  # noqa: E402

WATER = Atoms("OHH", [[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]])
CSCL = Atoms([3, 9], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=3 * np.eye(3), pbc=True)
CPU = resolve_torch("cpu", "SchNet")


def sines(p, shape):
    """Parameter number p: sin(p + 0.37 m) in C order."""
    return np.sin(p + 0.37 * np.arange(np.prod(shape))).reshape(shape)


def golden(cutoff=100.0, cutoff_function="hard", normalize_filter=False):
    """The network of deterministic weights; E_σ = 2, E_μ = -10."""
    architecture = SchNetArchitecture(
        10, cutoff, 4, 5, 2, 11, 5.0, 4.0, cutoff_function, normalize_filter, False
    )
    head = EnergyHead(4, 3)
    names = [name for name in architecture.shapes if name != "embedding"]
    weights = {"embedding": sines(1, (10, 4))}
    for k, name in enumerate(names):
        shape = architecture.shapes[name][1:]
        weights[name] = np.stack([sines(2 + 9 * t + k, shape) for t in range(2)])
    for k, (name, shape) in enumerate(head.shapes.items()):
        weights[name] = sines(20 + k, shape)
    return FittedNetwork(architecture, head, weights, 2.0, np.full(10, -10.0), np.arange(10))


def evaluated(network, atoms):
    """Energy, energies of atoms and forces of one structure."""
    found = network.evaluate(Structures.from_ase([atoms]), CPU, True)
    return found["energy"][0], found["local_energies"], -found["gradient"], found["virial"][0]


def random_network(**changes):
    """A network in which everything contributes, with random weights."""
    settings = {
        "n_species": 3, "cutoff": 4.5, "n_features": 6, "n_filters": 5, "n_interactions": 3,
        "n_rbf": 8, "rbf_stop": 4.5, "gamma": 4.0, "cutoff_function": "cosine",
        "normalize_filter": False, "shared_filters": False, **changes,
    }  # fmt: skip
    architecture, head = SchNetArchitecture(**settings), EnergyHead(6, 3)
    rng = np.random.RandomState(0)
    shapes = architecture.shapes | head.shapes
    weights = {name: 0.7 * rng.normal(size=shape) for name, shape in shapes.items()}
    species = np.array([1, 6, 8])
    return FittedNetwork(architecture, head, weights, 0.5, np.array([-1.0, -2.0, -3.0]), species)


def rattled(atoms, seed=0):
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(scale=0.05, size=atoms.positions.shape)
    return atoms


def ice(seed=0):
    """A skewed cell of water, smaller than the cutoff in two directions."""
    atoms = WATER.copy()
    atoms.set_cell([[3.4, 0, 0], [0.9, 3.1, 0], [-0.7, 0.5, 5.2]])
    atoms.pbc = True
    return rattled(atoms, seed)


class TestGoldenNumbers:
    def test_of_water(self):
        energy, local, forces, _ = evaluated(golden(), WATER)
        assert energy == pytest.approx(-38.715095263859, abs=2e-12)
        np.testing.assert_allclose(local, [-10.8393642176, *2 * [-13.9378655231]], atol=1e-10)
        expected = [[0, 0, 0.3059927], [0, -0.0627096, -0.1529964], [0, 0.0627096, -0.1529964]]
        np.testing.assert_allclose(forces, expected, atol=1e-7)

    def test_of_water_with_a_cutoff(self):
        energy, local, forces, _ = evaluated(golden(2.0, "cosine"), WATER)
        assert energy == pytest.approx(-39.556142694272, abs=2e-12)
        np.testing.assert_allclose(local, [-11.0201804500, *2 * [-14.2679811222]], atol=1e-10)
        expected = [[0, 0, 0.1932591], [0, 0.5949836, -0.0966295], [0, -0.5949836, -0.0966295]]
        np.testing.assert_allclose(forces, expected, atol=1e-7)

    def test_of_an_atom(self):
        for network in (golden(), golden(2.0, "cosine"), golden(2.0, "hard", True)):
            energy, *_ = evaluated(network, Atoms("O"))
            assert energy == pytest.approx(-11.241013037733, abs=2e-12)

    def test_of_molecules_far_apart(self):
        """Energies add up with a cutoff; without one, filters are constants at any distance."""
        apart = WATER.copy()
        apart.positions += [50, 0, 0]
        apart += WATER
        assert evaluated(golden(), apart)[0] == pytest.approx(-73.269934262148, abs=5e-12)
        energy = evaluated(golden(2.0, "cosine"), apart)[0]
        assert energy == pytest.approx(-79.112285388544, abs=5e-12)

    @pytest.mark.parametrize(
        "cutoff_function, normalize_filter, energy",
        [
            ("hard", True, -24.448924540662),
            ("cosine", False, -24.338601415750),
            ("cosine", True, -24.485161724915),
        ],
    )
    def test_of_a_crystal_and_its_supercell(self, cutoff_function, normalize_filter, energy):
        network = golden(4.0, cutoff_function, normalize_filter)
        assert evaluated(network, CSCL)[0] == pytest.approx(energy, abs=2e-12)
        double = evaluated(network, CSCL * (2, 1, 1))[0]
        assert double == pytest.approx(2 * energy, abs=4e-12)

    def test_of_sorted_and_padded_batches(self):
        """What a card does, without one."""
        network = golden(4.0, "hard", True)
        potential = GraphPotential(network.architecture, network.head)
        graphs = Graphs.of(Structures.from_ase([CSCL, WATER, Atoms("O")]), np.arange(10), 4.0)
        found = []
        for on_card in (False, True):
            layout = BatchLayout.of(graphs, 4, 10, labels=(), on_card=on_card, dtype="float64")
            batch = batch_of(packed(graphs, layout, 4.0), layout, CPU)
            outputs = potential.predict(torch.tensor(network.theta()), batch)
            found.append({name: tensor.numpy() for name, tensor in outputs.items()})
        assert len(found[1]["gradient"]) > len(found[0]["gradient"])
        for name, plain in found[0].items():
            n = {"gradient": 6, "local_energies": 6}.get(name, 3)
            np.testing.assert_allclose(found[1][name][:n], plain[:n], atol=1e-13)
            assert np.isfinite(found[1][name]).all()

    @pytest.mark.parametrize(
        "sizes, count",
        [
            ((64, 64, 6, 300), 223_553), ((64, 64, 3, 200), 96_833), ((30, 60, 3, 200), 64_321),
            ((256, 256, 6, 50), 1_714_433), ((128, 128, 6, 200), 571_009),
        ],
    )  # fmt: skip
    def test_numbers_of_weights(self, sizes, count):
        n, m, t, k = sizes
        architecture = SchNetArchitecture(100, 5.0, n, m, t, k, 5.0, 10.0, "hard", False, False)
        head = EnergyHead(n, n // 2)
        assert architecture.n_weights + sum(map(np.prod, head.shapes.values())) == count


class TestProperties:
    def test_convolution_is_the_sum_over_all_pairs(self):
        """One interaction by explicit loops over pairs and images."""
        network = random_network(n_interactions=1)
        w, architecture = network.weights, network.architecture
        atoms = ice()
        kinds = np.searchsorted(network.species, atoms.numbers)

        def ssp(x):
            return np.logaddexp(0, x) - np.log(2)

        features = w["embedding"][kinds]
        h = features @ w["atoms_to_filters"][0]
        sums = np.zeros_like(h)
        images = np.mgrid[-3:4, -3:4, -3:4].reshape(3, -1).T @ atoms.cell.array
        for i in range(3):
            for j in range(3):
                for image in images:
                    r = np.linalg.norm(atoms.positions[j] + image - atoms.positions[i])
                    if 0 < r < 4.5:
                        g = np.exp(-4.0 * (r - np.linspace(0, 4.5, 8)) ** 2)
                        f = ssp(g @ w["filter_1"][0] + w["filter_bias_1"][0, 0])
                        f = ssp(f @ w["filter_2"][0] + w["filter_bias_2"][0, 0])
                        sums[i] += h[j] * f * (np.cos(np.pi * r / 4.5) + 1) / 2
        hidden = ssp(sums @ w["filters_to_atoms"][0] + w["filters_to_atoms_bias"][0])
        features = features + hidden @ w["dense"][0] + w["dense_bias"][0]
        hidden = ssp(features @ w["head_1"] + w["head_bias_1"])
        expected = 0.5 * (hidden @ w["head_2"] + w["head_bias_2"])[:, 0] + network.constants[kinds]
        np.testing.assert_allclose(evaluated(network, atoms)[1], expected, rtol=1e-12)
        assert architecture.n_interactions == 1

    @pytest.mark.parametrize("changes", [
        {}, {"cutoff_function": "hard"}, {"normalize_filter": True}, {"shared_filters": True},
    ])  # fmt: skip
    @pytest.mark.parametrize(
        "atoms", [rattled(molecule("CH3CH2OH")), ice()], ids=["molecule", "ice"]
    )
    def test_forces_and_virials_are_slopes_of_the_energy(self, changes, atoms):
        network = random_network(**changes)
        _, _, forces, virial = evaluated(network, atoms)
        rng, h = np.random.default_rng(0), 1e-4
        steps = np.array([-2, -1, 1, 2])

        def slope(energies):
            return (8 * (energies[2] - energies[1]) - (energies[3] - energies[0])) / (12 * h)

        for direction in rng.normal(size=(3, len(atoms), 3)):
            moved = [atoms.copy() for _ in steps]
            for k, copy in zip(steps, moved, strict=True):
                copy.positions += k * h * direction
            found = slope([evaluated(network, copy)[0] for copy in moved])
            assert found == pytest.approx(-(forces * direction).sum(), abs=1e-7)
        for a, b in ((0, 0), (2, 1)):
            moved = [atoms.copy() for _ in steps]
            for k, copy in zip(steps, moved, strict=True):
                strain = np.eye(3)
                strain[a, b] += k * h
                if atoms.pbc.any():
                    copy.set_cell(atoms.cell.array @ strain.T)
                copy.positions = atoms.positions @ strain.T
            found = slope([evaluated(network, copy)[0] for copy in moved])
            assert found == pytest.approx(virial[a, b], abs=1e-7)

    def test_forces_and_torques_of_a_molecule_vanish(self):
        atoms = rattled(molecule("CH3CH2OH"))
        forces = evaluated(random_network(), atoms)[2]
        np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(np.cross(atoms.positions, forces).sum(axis=0), 0, atol=1e-12)

    def test_rotation_reflection_and_order(self):
        network, atoms = random_network(), rattled(molecule("CH3CH2OH"))
        energy, local, forces, _ = evaluated(network, atoms)
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
        order = np.random.default_rng(2).permutation(len(atoms))
        for sign in (1, -1):
            other = atoms[order]
            other.positions = sign * other.positions @ turn.T + 3
            again = evaluated(network, other)
            assert again[0] == pytest.approx(energy, rel=1e-12)
            np.testing.assert_allclose(again[1], local[order], rtol=1e-12)
            np.testing.assert_allclose(again[2], sign * forces[order] @ turn.T, atol=1e-12)

    def test_choice_of_the_cell(self):
        network, atoms = random_network(), ice()
        energy = evaluated(network, atoms)[0]
        other = atoms.copy()
        other.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 0, -1]]) @ atoms.cell.array)
        other.positions[1] += atoms.cell.array[0] - 2 * atoms.cell.array[2]
        assert evaluated(network, other)[0] == pytest.approx(energy, rel=1e-12)
        assert evaluated(network, atoms * (1, 2, 2))[0] == pytest.approx(4 * energy, rel=1e-12)

    def test_a_large_empty_cell_is_a_molecule(self):
        network, atoms = random_network(), rattled(WATER)
        boxed = Atoms(atoms.numbers, atoms.positions, cell=30 * np.eye(3), pbc=True)
        assert evaluated(network, boxed)[0] == pytest.approx(
            evaluated(network, atoms)[0], rel=1e-12
        )

    def test_energy_and_forces_at_the_cutoff(self):
        """Continuous with the cosine; the hard cutoff has a step."""
        for name in ("cosine", "hard"):
            network = random_network(cutoff_function=name)
            pairs = [Atoms("OH", [[0, 0, 0], [0, 0, 4.5 + x]]) for x in (-5e-7, 5e-7)]
            (inside, _, before, _), (outside, _, after, _) = (evaluated(network, p) for p in pairs)
            if name == "cosine":
                assert abs(inside - outside) < 1e-8
                assert np.abs(before - after).max() < 1e-5  # the slope of f_c ends with a kink
            else:
                assert abs(inside - outside) > 1e-3

    def test_normalised_filters_of_ones_give_means(self):
        """Filters of ones and equal features: each message is the feature itself."""
        network = random_network(n_interactions=1, normalize_filter=True, cutoff_function="hard")
        ones = np.log(2 * np.e - 1)  # whose shifted softplus is 1
        w = network.weights
        w["filter_2"][...], w["filter_bias_2"][...] = 0, ones
        w["embedding"][...] = w["embedding"][0]
        left = []
        for atoms in (WATER, ice(), ice() * (2, 1, 1)):
            kinds = np.searchsorted(network.species, atoms.numbers)
            left.append(evaluated(network, atoms)[1] - network.constants[kinds])
        np.testing.assert_allclose(np.concatenate(left), left[0][0], rtol=1e-12)

    def test_one_edge_of_each_pair_and_of_opposite_images(self):
        structures = Structures.from_ase([bulk("Cu", cubic=True), bulk("Cu"), Atoms("Cu")])
        graphs = Graphs.of(structures, np.array([29]), 4.0)
        # 12 neighbours at 2.55 Å and 6 at 3.61 Å
        np.testing.assert_array_equal(graphs.n_edges, [4 * 9, 9, 0])

    def test_predictions_of_many_batches_are_those_of_one(self, monkeypatch):
        network = random_network()
        structures = Structures.from_ase([rattled(molecule("CH3CH2OH"), k) for k in range(5)])
        whole = network.evaluate(structures, CPU, True)
        monkeypatch.setattr("skatom.models.neural.fitted_network._TOGETHER", {False: 30})
        for name, values in network.evaluate(structures, CPU, True).items():
            np.testing.assert_allclose(values, whole[name], atol=1e-12)


SMALL = {
    "cutoff": 3.5, "n_features": 8, "n_interactions": 2, "n_rbf": 12, "gamma": 6.0,
    "batch_size": 5, "max_iter": 12, "learning_rate_init": 0.02, "ema_decay": 0.9,
    "validation_fraction": 0.2, "random_state": 0,
}  # fmt: skip


class Operations(TorchDispatchMode):
    """Notes the operations within its context."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(str(function))
        return function(*args, **(kwargs or {}))


def data(n=12, names=("energy", "forces")):
    structures = waters(n)
    return structures, labels_of(structures, names)


@pytest.mark.filterwarnings("ignore:SchNet. the model reproduces")
class TestTraining:
    def test_the_slope_of_the_loss_is_that_of_differences(self):
        """Of energies, forces and virials, through both forms of a batch."""
        structures = crystals(3)
        targets = labels_of(structures, ("energy", "forces", "stress"))
        model = SchNet(**SMALL | {"dtype": "float64", "max_iter": 2})
        network = model.fit(structures, targets).network_
        potential = GraphPotential(network.architecture, network.head)
        graphs = Graphs.of(structures, network.species, 3.5)
        noise = {"noise_energy": 0.1, "noise_forces": 0.1, "noise_virial": 0.1}
        labels = labels_of_energies(structures, targets, None, noise, None, None, True)
        data = LabelledGraphs.of(graphs, labels, {"energy": -40.0}, 0.5)
        rng = np.random.default_rng(0)
        theta = network.theta() + 0.1 * rng.normal(size=network.theta().shape)
        direction = rng.normal(size=theta.shape)
        for on_card in (False, True):
            layout = BatchLayout.of(
                graphs, 3, 2, labels=data.names, on_card=on_card, dtype="float64"
            )
            arrays = packed(graphs, layout, 3.5, data.batch(np.arange(3))[1])

            def loss(t, arrays=arrays, layout=layout):
                return potential.errors(t, batch_of(arrays, layout, CPU), data.names)

            t = torch.tensor(theta, requires_grad=True)
            (slope,) = torch.autograd.grad(loss(t), t)
            h = 1e-5
            ends = [loss(torch.tensor(theta + k * h * direction)).item() for k in (-1, 1)]
            expected = (ends[1] - ends[0]) / (2 * h)
            assert float(slope.numpy() @ direction) == pytest.approx(expected, rel=1e-6)

    def test_steps_and_predictions_can_be_recorded(self):
        """Nothing waits for a card, or brings numbers from the host, which no graph may do."""
        structures = crystals(3)
        network = random_network(n_species=2)
        potential = GraphPotential(network.architecture, network.head)
        graphs = Graphs.of(structures, np.array([3, 9]), 3.5)
        targets = labels_of(structures, ("energy", "forces", "stress"))
        noise = {"noise_energy": 0.1, "noise_forces": 0.1, "noise_virial": 0.1}
        labels = labels_of_energies(structures, targets, None, noise, None, None, True)
        learnt = LabelledGraphs.of(graphs, labels, {}, 0.5)
        layout = BatchLayout.of(graphs, 3, 2, labels=learnt.names, on_card=True, dtype="float64")
        batch = batch_of(packed(graphs, layout, 3.5, learnt.batch(np.arange(3))[1]), layout, CPU)
        for solver in ("adam", "sgd"):
            theta = np.concatenate([np.zeros(0)] + [
                np.ones(shape).ravel() for shape in potential.shapes.values()
            ])  # fmt: skip
            steps = TrainingSteps(potential, theta, solver, 0.9, 1.0, learnt.names, CPU)
            with Operations() as seen:
                steps._step(batch)
                steps._validate(batch)
                potential.predict(steps.mean, batch)
            assert {"aten.segment_reduce.default"} <= seen.names
            words = (
                "_local_scalar_dense",
                "nonzero",
                "lift_fresh",
                "aten.index.Tensor",
                "index_add",
            )
            assert not [name for name in seen.names if any(word in name for word in words)]

    def test_without_training_energies_are_those_of_the_elements(self):
        structures, targets = data()
        model = SchNet(**SMALL | {"max_iter": 1, "learning_rate_init": 1e-12})
        energy, forces = model.fit(structures, targets).predict(structures, return_forces=True)
        np.testing.assert_allclose(energy, targets.energy.mean(), atol=1e-3)
        assert np.abs(forces).max() < 1e-6

    @pytest.mark.parametrize("changes", [
        {}, {"solver": "sgd", "learning_rate_init": 0.01, "max_gradient_norm": 1.0},
        {"schedule": "plateau", "patience": 1}, {"schedule": "exponential"}, {"n_cycles": 3},
        {"validation_fraction": 0}, {"shared_filters": True, "normalize_filter": True},
    ])  # fmt: skip
    def test_the_loss_falls(self, changes):
        structures, targets = data()
        model = SchNet(**SMALL | {"max_iter": 60} | changes).fit(structures, targets)
        name = "loss" if changes.get("validation_fraction") == 0 else "validation_loss"
        losses = model.history_[name]
        assert losses[-1] < 0.3 * model.history_["loss"][0]
        assert model.n_iter_ == 60
        if name == "validation_loss":
            best = np.argmin(losses)
            assert model.best_iteration_ == model.history_["iteration"][best]

    def test_its_course_is_drawn(self):
        from skatom.plotting import TrainingDisplay

        model = SchNet(**SMALL | {"max_iter": 60}).fit(*data())
        lines = TrainingDisplay.from_estimator(model).ax_.lines
        np.testing.assert_array_equal(lines[0].get_ydata(), model.history_["loss"])
        np.testing.assert_array_equal(lines[1].get_ydata(), model.history_["validation_loss"])
        assert lines[2].get_xdata()[0] == 2 * model.best_iteration_
        with pytest.raises(ValueError, match="Committee has no history_: fit a neural potential"):
            TrainingDisplay.from_estimator(Committee(model))

    def test_energies_alone_and_forces_alone(self):
        structures, targets = data()
        alone = SchNet(**SMALL).fit(structures, targets.energy)
        assert alone.absolute_energies_
        forces = Targets(forces=targets.forces, offsets=targets.offsets)
        relative = SchNet(**SMALL).fit(structures, forces)
        assert not relative.absolute_energies_
        shifted = Targets(energy=targets.energy + 7, offsets=targets.offsets)
        other = SchNet(**SMALL | {"dtype": "float64"}).fit(structures, shifted)
        plain = SchNet(**SMALL | {"dtype": "float64"}).fit(structures, targets.energy)
        np.testing.assert_allclose(
            other.predict(structures), plain.predict(structures) + 7, rtol=1e-8
        )

    def test_structures_without_some_labels(self):
        structures, targets = data()
        energy, forces = targets.energy.copy(), targets.forces.copy()
        energy[:6], forces[18:] = np.nan, np.nan
        parts = Targets(energy=energy, forces=forces, offsets=targets.offsets)
        model = SchNet(**SMALL).fit(structures, parts)
        assert np.isfinite(model.predict(structures)).all()

    def test_isolated_atoms_and_molecules_together(self):
        images = [*waters(6).to_ase(), Atoms("O"), Atoms("H"), Atoms("OH", [[0, 0, 0], [0, 0, 9]])]
        energies = np.array([*6 * [-10.0], -8.0, -1.0, -9.0])
        model = SchNet(**SMALL | {"max_iter": 3}).fit(images, energies)
        energy, forces = model.predict(images, return_forces=True)
        assert np.isfinite(energy).all() and np.isfinite(forces).all()
        np.testing.assert_array_equal(forces[-4:], 0)
        assert energy[-1] == pytest.approx(energy[-2] + energy[-3], abs=1e-5)

    def test_a_seed_repeats_a_fit(self):
        structures, targets = data()
        one, two = (SchNet(**SMALL).fit(structures, targets).network_ for _ in range(2))
        np.testing.assert_array_equal(one.theta(), two.theta())
        other = SchNet(**SMALL | {"random_state": 1}).fit(structures, targets).network_
        assert (one.theta() != other.theta()).any()

    def test_types(self):
        structures, targets = data()
        for dtype in ("float32", "float64"):
            network = SchNet(**SMALL | {"dtype": dtype}).fit(structures, targets).network_
            assert network.dtype == dtype

    def test_single_precision_predicts_what_double_does(self):
        double = random_network()
        single = FittedNetwork(
            double.architecture, double.head,
            {name: w.astype(np.float32) for name, w in double.weights.items()},
            double.scale, double.constants, double.species,
        )  # fmt: skip
        structures = Structures.from_ase([rattled(molecule("CH3CH2OH")), ice()])
        found, expected = (n.evaluate(structures, CPU, True) for n in (single, double))
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, atol=1e-5 * np.abs(values).max())

    def test_devices_of_torch_on_the_cpu_are_one(self):
        structures, targets = data()
        found = [
            SchNet(**SMALL, device=device).fit(structures, targets).network_.theta()
            for device in ("cpu", "torch")
        ]
        np.testing.assert_array_equal(*found)

    def test_warm_start_goes_on(self):
        structures, targets = data()
        model = SchNet(**SMALL | {"max_iter": 30, "warm_start": True}).fit(structures, targets)
        first = model.history_["loss"][0]
        model.set_params(learning_rate_init=1e-4).fit(structures, targets)
        assert model.history_["loss"][0] < 0.3 * first
        model.set_params(n_features=4)
        with pytest.raises(ValueError, match="network of n_features=8, and n_features is 4 now"):
            model.fit(structures, targets)

    def test_time_ends_it(self):
        structures, targets = data()
        model = SchNet(**SMALL | {"max_iter": 10**6, "max_time": 0.3}).fit(structures, targets)
        assert model.n_iter_ < 10**4
        assert model.history_["learning_rate"][-1] == pytest.approx(1e-6, rel=1e-6)

    def test_no_improvement_ends_it(self):
        structures, targets = data()
        settings = {"max_iter": 1000, "learning_rate_init": 1e-12, "learning_rate_min": 1e-13,
                    "n_iter_no_change": 60}  # fmt: skip
        model = SchNet(**SMALL | settings).fit(structures, targets)
        assert model.n_iter_ < 1000

    def test_a_committee_has_a_spread(self):
        structures, targets = data()
        committee = Committee(SchNet(**SMALL), 2, random_state=0).fit(structures, targets)
        assert (committee.predict(structures, return_forces_std=True)[1] > 0).any()

    def test_a_loss_that_is_not_finite_keeps_the_last_good_weights(self, monkeypatch):
        structures, targets = data()
        settings = SMALL | {"max_iter": 200}
        rate = Schedule.rate
        monkeypatch.setattr(
            Schedule, "rate", lambda self, done: np.nan if done > 0.5 else rate(self, done)
        )
        with pytest.warns(RuntimeWarning, match="not finite at step .*; lower learning_rate_init"):
            model = SchNet(**settings).fit(structures, targets)
        assert model.n_iter_ < 150
        assert np.isfinite(model.predict(structures)).all()

    def test_a_loss_that_is_not_finite_from_the_beginning_is_an_error(self):
        structures, targets = data()
        with pytest.raises(ValueError, match="not finite within the first"):
            SchNet(**SMALL | {"learning_rate_init": 1e30}).fit(structures, targets)


@pytest.mark.filterwarnings("ignore:SchNet. the model reproduces")
class TestCheckpoints:
    @pytest.fixture
    def killed(self, tmp_path, monkeypatch):
        """A training that was killed after its first check, and its file."""
        monkeypatch.setattr(training_checkpoint, "_SECONDS", 0.0)
        path = tmp_path / "schnet.checkpoint"
        model = SchNet(**SMALL | {"max_iter": 60, "checkpoint": path})
        iterate = GraphTraining._iterate

        def killed(self):
            if self.iteration == 40:
                raise KeyboardInterrupt
            iterate(self)

        with monkeypatch.context() as patch:
            patch.setattr(GraphTraining, "_iterate", killed)
            with pytest.raises(KeyboardInterrupt):
                model.fit(*data())
        assert path.exists()
        return model

    def test_an_interrupted_training_goes_on_as_if_it_were_not(self, killed):
        assert not hasattr(killed, "network_")
        resumed = killed.fit(*data())
        whole = SchNet(**SMALL | {"max_iter": 60}).fit(*data())
        np.testing.assert_array_equal(resumed.network_.theta(), whole.network_.theta())
        np.testing.assert_array_equal(resumed.history_["loss"], whole.history_["loss"])
        assert not killed.checkpoint.exists()

    def test_of_another_network_are_refused(self, killed):
        with pytest.raises(ValueError, match="training with n_features=8, not 4: set it as it was"):
            killed.set_params(n_features=4).fit(*data())

    def test_of_other_data_are_refused(self, killed):
        with pytest.raises(ValueError, match="training with other structures or labels"):
            killed.fit(*data(11))

    def test_other_files_are_refused(self, killed):
        killed.checkpoint.write_bytes(b"something else")
        with pytest.raises(ValueError, match="is not a checkpoint of a training"):
            killed.fit(*data())


class TestErrors:
    def test_too_few_structures(self):
        structures, targets = data(1)
        with pytest.raises(ValueError, match="leaves out 1 of 1 structures, and none to learn"):
            SchNet(**SMALL).fit(structures, targets)

    @pytest.mark.filterwarnings("ignore:SchNet. the model reproduces")
    def test_an_element_that_was_not_learnt(self):
        model = SchNet(**SMALL).fit(*data())
        with pytest.raises(ValueError, match="contains C, which was not in the structures"):
            model.predict([molecule("CH4")])

    def test_no_torch(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "torch", None)
        with pytest.raises(ImportError, match="SchNet needs torch, which is not installed: pip"):
            SchNet(**SMALL).fit(*data())

    def test_no_card(self):
        if torch.cuda.is_available():
            pytest.skip("there is a card")
        with pytest.raises(ValueError, match="device='cuda' needs"):
            SchNet(**SMALL, device="cuda").fit(*data())

    def test_too_large_a_batch(self, monkeypatch):
        monkeypatch.setattr("skatom.memory.available_memory", lambda: 2.0**20)
        with pytest.raises(MemoryError, match="a training step on .* lower batch_size=1000"):
            SchNet(**SMALL | {"batch_size": 1000, "n_features": 256}).fit(*data(100))

    @pytest.mark.parametrize("name, value", [
        ("cutoff", 0), ("cutoff_function", "none"), ("n_rbf", 1), ("dtype", "float16"),
        ("validation_fraction", 1.0), ("schedule", "linear"), ("batch_size", 0),
    ])  # fmt: skip
    def test_parameters(self, name, value):
        with pytest.raises(ValueError, match=name):
            SchNet(**SMALL | {name: value}).fit(*data())


def test_schedules():
    cosine = Schedule("cosine", 1.0, 0.1, 2, 5)
    rates = [cosine.rate(x) for x in (0, 0.25, 0.499999, 0.5, 1.0)]
    np.testing.assert_allclose(rates, [1, 0.55, 0.1, 1, 0.1], atol=1e-4)
    exponential = Schedule("exponential", 1.0, 0.01, 1, 5)
    np.testing.assert_allclose([exponential.rate(x) for x in (0, 0.5, 1)], [1, 0.1, 0.01])
    plateau = Schedule("plateau", 1.0, 0.2, 1, 2)
    found = []
    for error in (3, 2, 2, 2, 1, 1, 1, 1, 1, 1):
        plateau.watch(error)
        found.append(plateau.rate(0.3))
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2])
