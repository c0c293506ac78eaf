"""SchNet: numbers of known weights, exact properties, and training."""

import pickle
from dataclasses import replace

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
    sines,
)
from ase import Atoms  # noqa: E402
from ase.build import bulk, molecule  # noqa: E402
from models_under_contract import labels_of, waters  # noqa: E402

from skatom import Structures, Targets  # noqa: E402
from skatom.metrics import neg_force_mae  # noqa: E402
from skatom.models import DTNN, Committee, SchNet  # noqa: E402
from skatom.models._torch.networks.potential import GraphPotential, batch_of  # noqa: E402
from skatom.models.neural import training_checkpoint  # noqa: E402
from skatom.models.neural.fitted_network import FittedNetwork  # noqa: E402
from skatom.models.neural.graph_training import GraphTraining  # noqa: E402
from skatom.models.neural.graphs import Graphs  # noqa: E402
from skatom.models.neural.heads import EnergyHead  # noqa: E402
from skatom.models.neural.packing import BatchLayout, packed  # noqa: E402
from skatom.models.neural.schedules import Schedule  # noqa: E402
from skatom.models.neural.schnet_architecture import SchNetArchitecture  # noqa: E402

CSCL = Atoms([3, 9], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=3 * np.eye(3), pbc=True)


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


def some_schnet(**changes):
    return random_network(replace(SMOOTH["schnet"](), **changes))


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
        network = some_schnet(n_interactions=1)
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

    def test_normalised_filters_of_ones_give_means(self):
        """Filters of ones and equal features: each message is the feature itself."""
        network = some_schnet(n_interactions=1, normalize_filter=True, cutoff_function="hard")
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


SMALL = {
    "cutoff": 3.5, "n_features": 8, "n_interactions": 2, "n_rbf": 12, "gamma": 6.0,
    "batch_size": 5, "max_iter": 12, "learning_rate_init": 0.02, "ema_decay": 0.9,
    "validation_fraction": 0.2, "random_state": 0,
}  # fmt: skip


def data(n=12, names=("energy", "forces")):
    structures = waters(n)
    return structures, labels_of(structures, names)


class TestTraining:
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

    def test_parts_of_the_data_one_after_the_other(self):
        """As many calls as iterations are a fit with steps of one length, whatever is saved
        in between."""
        structures, targets = data(20)
        settings = SMALL | {"validation_fraction": 0, "max_iter": 4, "batch_size": 20}
        model = SchNet(**settings)
        for k in range(4):
            model = pickle.loads(pickle.dumps(model.partial_fit(structures, targets)))
            assert model.n_iter_ == k + 1
        fixed = settings | {"schedule": "plateau", "patience": 99}
        whole = SchNet(**fixed).fit(structures, targets)
        found = np.stack([m.predict(structures) for m in (model, whole)])
        np.testing.assert_allclose(*found, rtol=1e-6)
        for _ in range(30):
            model.partial_fit(structures[:10], targets[:10]).partial_fit(
                structures[10:], targets[10:]
            )
        errors = [-neg_force_mae(m, structures, targets) for m in (model, whole)]
        assert errors[0] < 0.5 * errors[1]
        before = model.predict(structures)
        with pytest.raises(ValueError, match="contains C, which was not in the structures"):
            model.partial_fit([molecule("CH4")], [-5.0])
        with pytest.raises(ValueError, match="loss is not finite: lower learning_rate_init=1e"):
            model.set_params(learning_rate_init=1e30, batch_size=5).partial_fit(structures, targets)
        np.testing.assert_array_equal(model.predict(structures), before)

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

    def test_of_another_architecture_are_refused(self, killed):
        other = DTNN(3.5, max_iter=60, checkpoint=killed.checkpoint)
        with pytest.raises(ValueError, match="training with model='SchNet', not 'DTNN': set it as"):
            other.fit(*data())

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

    def test_an_element_that_was_not_learnt(self):
        model = SchNet(**SMALL).fit(*data())
        with pytest.raises(ValueError, match="contains C, which was not in the structures"):
            model.predict([molecule("CH4")])

    def test_a_folder_that_does_not_exist(self, tmp_path):
        """Before the training, which could not be kept there after a minute."""
        model = SchNet(**SMALL, checkpoint=tmp_path / "missing" / "schnet.checkpoint")
        with pytest.raises(
            ValueError, match="is in .*missing, a folder that does not exist: create"
        ):
            model.fit(*data())

    def test_a_property_of_another_target(self):
        model = SchNet(**SMALL).fit(*data())
        with pytest.raises(ValueError, match="no dipole; .*; fit this one with target='dipole'$"):
            model.predict(data()[0], return_dipole=True)

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
