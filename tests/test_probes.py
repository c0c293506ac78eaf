"""Probes of networks of graphs: atoms that feel a structure and are not felt."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from architectures_under_contract import (  # noqa: E402
    ARCHITECTURES,
    CPU,
    WATER,
    evaluated,
    ice,
    random_network,
)
from ase import Atoms  # noqa: E402
from models_under_contract import labels_of, waters  # noqa: E402
from test_dtnn import golden  # noqa: E402

from skatom import Structures  # noqa: E402
from skatom.attribution import local_chemical_potential  # noqa: E402
from skatom.baseline import PairRepulsion  # noqa: E402
from skatom.models import Committee, MessagePassingNetwork, PaiNN, SchNet  # noqa: E402
from skatom.models.neural.probes import probe_graphs  # noqa: E402

POINTS = np.array([[0, 0, 2.0], [1.3, 0.8, 0.5], [-1.0, 1.5, -0.7], [0, 0, 30.0]])
PLAIN = [name for name, make in ARCHITECTURES.items() if make().has_plain_graphs]


def test_golden_numbers():
    """Of a hydrogen atom beside water; with one pass it is an atom that is added."""
    water = Structures.from_ase([WATER])
    for n_interactions, energy in ((1, -10.774271710781), (2, -10.774355161560)):
        found = golden(n_interactions).probe_energies(water, POINTS, 1, CPU)
        assert found[0] == pytest.approx(energy, abs=2e-12)


@pytest.mark.parametrize("name", PLAIN)
class TestProbesOfEveryArchitecture:
    def test_are_not_felt(self, name):
        network, atoms = random_network(ARCHITECTURES[name]()), ice()
        structure = Structures.from_ase([atoms])
        graphs = probe_graphs(structure, POINTS, 2, network.species, 4.5)
        found = network._part(graphs, CPU, False)["local_energies"][: len(atoms)]
        local = network.scale * found + network.constants[graphs.kinds[: len(atoms)]]
        np.testing.assert_allclose(local, evaluated(network, atoms)[1], rtol=0, atol=1e-12)

    def test_are_alone(self, name):
        network, water = random_network(ARCHITECTURES[name]()), Structures.from_ase([WATER])
        together = network.probe_energies(water, POINTS, 2, CPU)
        for point, energy in zip(POINTS, together, strict=True):
            alone = network.probe_energies(water, point[None], 2, CPU)
            assert alone[0] == pytest.approx(energy, abs=1e-12)

    def test_are_atoms_where_none_hears_twice(self, name):
        """After one interaction there is no answer of the others."""
        architecture = replace(ARCHITECTURES[name](), n_interactions=1)
        network, water = random_network(architecture), Structures.from_ase([WATER])
        found = network.probe_energies(water, POINTS, 0, CPU)
        for point, energy in zip(POINTS, found, strict=True):
            local = evaluated(network, WATER + Atoms("H", [point]))[1]
            assert local[-1] == pytest.approx(energy, abs=1e-12)

    def test_feel_images(self, name):
        network, atoms = random_network(ARCHITECTURES[name]()), ice()
        points = POINTS[:3] + 0.3
        found = network.probe_energies(Structures.from_ase([atoms]), points, 2, CPU)
        double = Structures.from_ase([atoms * (1, 1, 2)])
        for shift in (np.zeros(3), atoms.cell[2]):
            again = network.probe_energies(double, points + shift, 2, CPU)
            np.testing.assert_allclose(again, found, rtol=0, atol=1e-11)


@pytest.mark.parametrize("cls", [SchNet, PaiNN])
def test_of_a_fitted_model_with_a_baseline(cls):
    data = waters(12)
    labels = labels_of(data, ("energy", "forces"))
    repulsion = PairRepulsion(cutoff=3.3, inner=0.1)
    model = cls(
        n_features=8, n_interactions=1, max_iter=2, baseline=repulsion, dtype="float64",
        random_state=0,
    ).fit(data, labels)  # fmt: skip
    found = local_chemical_potential(model, data[0], POINTS)
    more = [data[0].to_ase()[0] + Atoms("H", [point]) for point in POINTS]
    local = model.predict(more, return_local_energies=True)[1].reshape(len(more), -1)
    np.testing.assert_allclose(found, local[:, -1], rtol=0, atol=1e-10)


def test_of_a_committee_is_the_mean_of_its_members():
    data = waters(12)
    network = SchNet(n_features=4, n_interactions=2, max_iter=2, dtype="float64")
    model = Committee(network, 2, random_state=0).fit(data, labels_of(data, ("energy", "forces")))
    found = [local_chemical_potential(member, data[0], POINTS) for member in model.estimators_]
    assert np.abs(found[1] - found[0]).max() > 1e-6
    mean = local_chemical_potential(model, data[0], POINTS)
    np.testing.assert_allclose(mean, np.mean(found, axis=0), rtol=0, atol=1e-13)


def test_errors():
    data = waters(12)
    labels = labels_of(data, ("energy",))
    small = {"n_features": 4, "max_iter": 1, "random_state": 0}
    model = SchNet(pooling="mean", **small).fit(data, labels)
    with pytest.raises(ValueError, match="this SchNet can neither be probed nor mix elements"):
        local_chemical_potential(model, data[0], POINTS)
    model = SchNet(**small).fit(data, labels)
    with pytest.raises(ValueError, match="contains N, which was not in the structures"):
        model.probe_energies(data[0], POINTS, 7)
    model = MessagePassingNetwork(max_iter=1, random_state=0).fit(data, labels)
    with pytest.raises(ValueError, match="kind='insertion'"):
        local_chemical_potential(model, data[0], POINTS)
    found = local_chemical_potential(model, data[0], POINTS[:3], kind="insertion")
    assert found.shape == (3,)
