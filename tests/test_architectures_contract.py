"""What every architecture of neural potentials promises: derivatives, invariances, batches."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from architectures_under_contract import (  # noqa: E402
    ARCHITECTURES,
    CPU,
    SMOOTH,
    WATER,
    evaluated,
    ice,
    random_network,
    rattled,
)
from ase import Atoms  # noqa: E402
from ase.build import molecule  # noqa: E402
from models_under_contract import labels_of  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from skatom import Structures  # noqa: E402
from skatom.models._torch.networks.potential import GraphPotential, batch_of  # noqa: E402
from skatom.models._torch.networks.training import TrainingSteps  # noqa: E402
from skatom.models.neural.fitted_network import FittedNetwork  # noqa: E402
from skatom.models.neural.labelled_graphs import LabelledGraphs  # noqa: E402
from skatom.models.neural.network_labels import labels_of_energies  # noqa: E402
from skatom.models.neural.packing import BatchLayout, packed  # noqa: E402

ETHANOL = rattled(molecule("CH3CH2OH"))


@pytest.fixture(scope="module", params=ARCHITECTURES)
def network(request):
    return random_network(ARCHITECTURES[request.param]())


class TestWeights:
    def test_first_ones_have_the_shapes_in_their_order(self, network):
        architecture = network.architecture
        first = architecture.initial(np.random.RandomState(0))
        assert list(first) == list(architecture.shapes)
        assert {k: v.shape for k, v in first.items()} == architecture.shapes
        assert all(np.isfinite(v).all() for v in first.values())

    def test_all_of_them_contribute(self, network):
        batch = _batch(network, [ETHANOL, WATER], False)[0]
        theta = torch.tensor(network.theta(), requires_grad=True)
        potential = GraphPotential(network.architecture, network.head)
        (slopes,) = torch.autograd.grad(potential.outputs(theta, batch)["energy"].sum(), theta)
        for name, slope in potential.weights(slopes).items():
            assert slope.abs().max() > 1e-9, name


class TestDerivatives:
    @pytest.mark.parametrize("atoms", [ETHANOL, ice()], ids=["molecule", "ice"])
    def test_forces_and_virials_are_slopes_of_the_energy(self, network, atoms):
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

    def test_forces_and_torques_of_a_molecule_vanish(self, network):
        forces = evaluated(network, ETHANOL)[2]
        np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(np.cross(ETHANOL.positions, forces).sum(axis=0), 0, atol=1e-12)

    def test_the_slope_of_the_loss_is_that_of_differences(self, network):
        """Of energies, forces and virials, through both forms of a batch."""
        theta, rng = network.theta(), np.random.default_rng(0)
        direction = rng.normal(size=theta.shape)
        potential = GraphPotential(network.architecture, network.head)
        for on_card in (False, True):
            batch, names = _batch(network, [ice(0), ice(1)], on_card, labelled=True)

            def loss(t, batch=batch, names=names):
                return potential.errors(t, batch, names)

            t = torch.tensor(theta, requires_grad=True)
            (slope,) = torch.autograd.grad(loss(t), t)
            h = 1e-5
            ends = [loss(torch.tensor(theta + k * h * direction)).item() for k in (-1, 1)]
            expected = (ends[1] - ends[0]) / (2 * h)
            assert float(slope.numpy() @ direction) == pytest.approx(expected, rel=1e-6)


class TestInvariance:
    def test_rotation_reflection_and_order(self, network):
        energy, local, forces, _ = evaluated(network, ETHANOL)
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
        order = np.random.default_rng(2).permutation(len(ETHANOL))
        for sign in (1, -1):
            other = ETHANOL[order]
            other.positions = sign * other.positions @ turn.T + 3
            again = evaluated(network, other)
            assert again[0] == pytest.approx(energy, rel=1e-12)
            np.testing.assert_allclose(again[1], local[order], rtol=1e-12)
            np.testing.assert_allclose(again[2], sign * forces[order] @ turn.T, atol=1e-12)

    def test_choice_of_the_cell(self, network):
        atoms = ice()
        energy = evaluated(network, atoms)[0]
        other = atoms.copy()
        other.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 0, -1]]) @ atoms.cell.array)
        other.positions[1] += atoms.cell.array[0] - 2 * atoms.cell.array[2]
        assert evaluated(network, other)[0] == pytest.approx(energy, rel=1e-12)
        assert evaluated(network, atoms * (1, 2, 2))[0] == pytest.approx(4 * energy, rel=1e-12)

    def test_a_large_empty_cell_is_a_molecule(self, network):
        boxed = Atoms(WATER.numbers, WATER.positions, cell=30 * np.eye(3), pbc=True)
        energy = evaluated(network, WATER)[0]
        assert evaluated(network, boxed)[0] == pytest.approx(energy, rel=1e-12)

    def test_molecules_far_apart_add_up(self, network):
        apart = WATER.copy()
        apart.positions += [50, 0, 0]
        energy = evaluated(network, apart + WATER)[0]
        assert energy == pytest.approx(2 * evaluated(network, WATER)[0], rel=1e-12)

    @pytest.mark.parametrize("name", ARCHITECTURES)
    def test_energy_and_forces_at_the_cutoff(self, name):
        """Continuous where the cutoff is smooth; a hard one has a step."""
        network = random_network(ARCHITECTURES[name]())
        pairs = [Atoms("OH", [[0, 0, 0], [0, 0, 4.5 + x]]) for x in (-5e-7, 5e-7)]
        (inside, _, before, _), (outside, _, after, _) = (evaluated(network, p) for p in pairs)
        if name in SMOOTH:
            assert abs(inside - outside) < 1e-8
            assert np.abs(before - after).max() < 1e-5  # the slope of f_c ends with a kink
        else:
            assert abs(inside - outside) > 1e-3


class TestBatches:
    def test_sorted_and_padded_ones(self, network):
        """What a card does, without one; among them an atom alone."""
        images = [ice(), ETHANOL, Atoms("O")]
        potential = GraphPotential(network.architecture, network.head)
        theta, found = torch.tensor(network.theta()), []
        for on_card in (False, True):
            batch, _ = _batch(network, images, on_card, n_structures=4)
            outputs = potential.predict(theta, batch)
            found.append({name: tensor.numpy() for name, tensor in outputs.items()})
        assert len(found[1]["gradient"]) > len(found[0]["gradient"])
        for name, plain in found[0].items():
            n = 3 if name in ("energy", "virial") else 13
            assert np.isfinite(found[1][name]).all(), name
            np.testing.assert_allclose(found[1][name][:n], plain[:n], atol=1e-12, err_msg=name)

    def test_parts_of_them(self, network, monkeypatch):
        structures = Structures.from_ase([rattled(ETHANOL, k) for k in range(3)])
        whole = network.evaluate(structures, CPU, True)
        monkeypatch.setattr("skatom.models.neural.fitted_network._TOGETHER", {False: 30})
        for name, values in network.evaluate(structures, CPU, True).items():
            np.testing.assert_allclose(values, whole[name], atol=1e-12)

    def test_steps_and_predictions_can_be_recorded(self, network):
        """Nothing waits for a card, or brings numbers from the host, which no graph may do; and
        nothing is added in the order of threads."""
        potential = GraphPotential(network.architecture, network.head)
        batch, names = _batch(network, [ice(0), ice(1)], True, labelled=True)
        steps = TrainingSteps(potential, network.theta(), "adam", 0.9, 1.0, names, CPU)
        with Operations() as seen:
            steps._step(batch)
            steps._validate(batch)
            potential.predict(steps.mean, batch)
        words = (
            "_local_scalar_dense", "nonzero", "lift_fresh", "aten.index.Tensor", "index_add",
            "index_put", "scatter",
        )  # fmt: skip
        assert not [name for name in seen.names if any(word in name for word in words)]

    def test_single_precision_predicts_what_double_does(self, network):
        single = FittedNetwork(
            network.architecture, network.head,
            {name: w.astype(np.float32) for name, w in network.weights.items()},
            network.scale, network.constants, network.species,
        )  # fmt: skip
        structures = Structures.from_ase([ETHANOL, ice()])
        found, expected = (n.evaluate(structures, CPU, True) for n in (single, network))
        rounding = 1e-7 * np.abs(expected["energy"]).max()  # also where all forces are small
        for name, values in expected.items():
            atol = 2e-5 * np.abs(values).max() + rounding
            np.testing.assert_allclose(found[name], values, atol=atol)


class Operations(TorchDispatchMode):
    """Notes the operations within its context."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(str(function))
        return function(*args, **(kwargs or {}))


def _batch(network, images, on_card, labelled=False, n_structures=None):
    """A `GraphBatch` of structures, and the names of its labels."""
    structures = Structures.from_ase(images)
    cutoff = network.architecture.cutoff
    graphs, names, labels = network.architecture.graphs(structures, network.species), (), None
    if labelled:
        targets = labels_of(structures, ("energy", "forces", "stress"))
        noise = {"noise_energy": 0.1, "noise_forces": 0.1, "noise_virial": 0.1}
        found = labels_of_energies(structures, targets, None, noise, None, None, True)
        data = LabelledGraphs.of(graphs, found, {}, 5.0)
        names, labels = data.names, data.batch(np.arange(len(images)))[1]
    layout = BatchLayout.of(
        graphs, n_structures or len(images), 3, labels=names, on_card=on_card, dtype="float64"
    )
    return batch_of(packed(graphs, layout, cutoff, labels), layout, CPU), names
