"""Energies while atoms change their elements or fade: known numbers, and the ends of paths."""

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
from models_under_contract import labels_of, waters  # noqa: E402
from test_dtnn import golden  # noqa: E402

from skatom import Structures  # noqa: E402
from skatom.attribution import alchemical_path  # noqa: E402
from skatom.baseline import PairRepulsion  # noqa: E402
from skatom.models import DTNN, LinearPotential, PaiNN, SchNet  # noqa: E402
from skatom.models._torch.networks.potential import GraphPotential, batch_of  # noqa: E402
from skatom.models.neural.packing import BatchLayout, packed  # noqa: E402


def test_golden_number():
    """Water whose oxygen is half nitrogen."""
    shares = np.eye(10)[WATER.numbers]
    shares[0, [7, 8]] = 0.5
    found = golden(2).mixed_energies(Structures.from_ase([WATER]), shares, CPU)
    assert found[0] == pytest.approx(-32.348044414413, abs=2e-12)


def test_golden_number_without_an_atom():
    found = golden(2).mixed_energies(
        Structures.from_ase([WATER]), np.eye(10)[WATER.numbers], CPU, np.array([1.0, 1.0, 0.0])
    )
    assert found[0] == pytest.approx(-21.434682069310, abs=2e-12)


@pytest.mark.parametrize("name", ["schnet-normalised", "schnet-shared", "dtnn-hard", "painn"])
def test_absent_atoms_are_not_there_in_crystals(name):
    """Nor are their images."""
    network, atoms = random_network(ARCHITECTURES[name]()), ice() * (2, 1, 1)
    there = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    shares = np.eye(3)[np.searchsorted(network.species, atoms.numbers)]
    found = network.mixed_energies(Structures.from_ase([atoms]), shares, CPU, there)
    assert found[0] == pytest.approx(evaluated(network, atoms[there == 1])[0], rel=1e-12)


@pytest.mark.parametrize("name", ["schnet-normalised", "dtnn", "painn"])
def test_atoms_fade_alike_in_the_batches_of_a_card(name):
    network = random_network(ARCHITECTURES[name]())
    graphs = network.architecture.graphs(Structures.from_ase([ice()]), network.species)
    graphs = replace(graphs, presence=np.array([[0.3], [1.0], [0.6]]))
    found = []
    for on_card in (False, True):
        layout = BatchLayout.of(graphs, 1, 3, labels=(), on_card=on_card, dtype="float64")
        batch = batch_of(packed(graphs, layout, 4.5), layout, CPU)
        potential = GraphPotential(network.architecture, network.head)
        outputs = potential.outputs(torch.tensor(network.theta()), batch)
        found.append(float(outputs["energy"][0]))
    assert found[1] == pytest.approx(found[0], rel=1e-12)
    whole = network.evaluate(Structures.from_ase([ice()]), CPU, False)["energy"][0]
    assert abs(network.scale * found[0] + network.constants[[2, 0, 0]].sum() - whole) > 1e-3


@pytest.fixture(scope="module", params=[SchNet, DTNN, PaiNN])
def model(request):
    data = waters(12)
    return request.param(
        n_features=8, n_interactions=2, max_iter=2, dtype="float64", random_state=0,
        baseline=["elements", PairRepulsion(cutoff=3.3, inner=0.1)],
    ).fit(data, labels_of(data, ("energy", "forces")))  # fmt: skip


def test_ends_are_molecules(model):
    paths = waters(2)
    first, last = paths.to_ase()
    last.numbers[1] = 8
    found = alchemical_path(model, paths, last.numbers, [0.0, 1.0])
    np.testing.assert_allclose(found, model.predict([first, last]), rtol=0, atol=1e-10)


def test_is_smooth(model):
    """Steps of the slope fall with the step of the path."""
    found = alchemical_path(model, waters(1), [8, 8, 1], np.linspace(0, 1, 101))
    coarse = np.abs(np.diff(found[::10], 2)).max()
    assert 0 < np.abs(np.diff(found, 2)).max() < 0.05 * coarse


def faded(model, presence, numbers=(8, 1, 1), fraction=0.0):
    fractions = np.full(len(presence), fraction)
    return alchemical_path(model, waters(1), numbers, fractions, presence)


def test_presence_of_one_changes_nothing(model):
    found, expected = faded(model, np.ones((1, 3))), model.predict(waters(1))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_absent_atoms_are_not_there(model):
    """With a baseline of pairs, and while others change their elements."""
    there = np.array([[1, 1, 0], [0, 1, 1], [0, 1, 0]])
    first = waters(1).to_ase()[0]
    expected = model.predict([first[mask == 1] for mask in there])
    np.testing.assert_allclose(faded(model, there), expected, rtol=0, atol=1e-10)
    first.numbers[1] = 8
    expected = model.predict([first[mask == 1] for mask in there])
    found = faded(model, there, (8, 8, 1), 1.0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    assert faded(model, np.zeros((1, 3))) == 0


def test_fading_is_smooth(model):
    """Steps of the slope fall with the step of the path."""
    beta = np.linspace(0, 1, 101)
    found = faded(model, np.stack([np.ones(101), np.ones(101), beta], 1))
    coarse = np.abs(np.diff(found[::10], 2)).max()
    assert 0 < np.abs(np.diff(found, 2)).max() < 0.05 * coarse


def test_each_atom_fades_by_itself(model):
    """The slope along one presence does not depend on how the others are written."""
    one, two, both = faded(model, [[1, 0.5, 1], [1, 1, 0.5], [1, 0.5, 0.5]])
    assert len({round(e, 6) for e in (one, two, both)}) == 3
    swapped = waters(1).to_ase()[0][[0, 2, 1]]
    again = alchemical_path(model, [swapped], [8, 1, 1], [0.0], [[1, 1, 0.5]])
    assert again[0] == pytest.approx(one, abs=1e-10)


def test_errors(model):
    def path(X=None, numbers=(8, 8, 1), fractions=(0.0, 1.0), presence=None):
        return alchemical_path(model, waters(1) if X is None else X, numbers, fractions, presence)

    with pytest.raises(ValueError, match=r"shape \(2, 2\), and there are 2 fractions and 3 atoms"):
        path(presence=np.ones((2, 2)))
    with pytest.raises(ValueError, match="presence=1.1 must be a number from 0 to 1"):
        path(presence=[[1, 1, 1], [1, 1, 1.1]])

    with pytest.raises(ValueError, match="must be numbers from 0 to 1"):
        path(fractions=[0.0, 1.1])
    with pytest.raises(ValueError, match="3 structures of .* do not fit 2 fractions and 3 numbers"):
        path(waters(3))
    with pytest.raises(ValueError, match="do not fit 2 fractions and 2 numbers"):
        path(numbers=[8, 1])
    with pytest.raises(ValueError, match="contains N, which was not in the structures"):
        path(numbers=[7, 1, 1])
    X = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(ValueError, match="LinearPotential has no vectors of elements"):
        alchemical_path(LinearPotential().fit(X, X[:, 0]), waters(1), [8, 1, 1], [0.5])
