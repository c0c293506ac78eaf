"""Filters that predictions look up: as exact as single precision, and only there."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from architectures_under_contract import CPU, SMOOTH, random_network  # noqa: E402

from skatom.models._torch.networks.filter_tables import looked_up, table_of  # noqa: E402
from skatom.models._torch.networks.potential import GraphPotential  # noqa: E402
from skatom.models.neural.fitted_network import FittedNetwork, on_device  # noqa: E402


def gaussian(distances):
    """Values and slopes (1, n, 1) of exp(-10 (d - 1)²)."""
    left = distances[None, :, None] - 1
    values = torch.exp(-10 * left * left)
    return values, -20 * left * values


def test_values_and_slopes_to_rounding():
    table = table_of(gaussian, 5.0, 10**-0.5, (1, 1))
    distances = torch.linspace(0.01, 5.0, 997, dtype=torch.float64)
    found = looked_up(table, 5.0, distances.float())
    exact = gaussian(distances.float().double())
    for values, known, error in zip(found, exact, (3e-7, 1e-6), strict=True):
        assert float((values - known).abs().max()) < error


def test_slopes_are_those_of_the_cubics():
    """Energies and forces have no steps where one ends and the next one begins."""
    table = table_of(gaussian, 5.0, 10**-0.5, (1, 1)).double()
    step = 5.0 / len(table)
    ends = table.sum(1)[:-1, 0, 0]  # each cubic ends where the next one begins
    np.testing.assert_allclose(ends, table[1:, 0, 0, 0], atol=2e-7)
    slopes = (table[:, 1] + 2 * table[:, 2] + 3 * table[:, 3])[:-1, 0, 0] / step
    np.testing.assert_allclose(slopes, table[1:, 1, 0, 0] / step, atol=2e-6)


def test_a_large_table_is_not_made():
    assert table_of(gaussian, 1e6, 10**-0.5, (1, 1)) is None


def test_only_networks_in_single_precision_have_one():
    double = random_network(SMOOTH["schnet"]())
    single = FittedNetwork(
        double.architecture, double.head,
        {name: w.astype(np.float32) for name, w in double.weights.items()},
        double.scale, double.constants, double.species,
    )  # fmt: skip
    assert not on_device(double, CPU).potential.tables
    table = on_device(single, CPU).potential.tables["filter_table"]
    assert table.dtype == torch.float32 and table.shape[1:] == (4, 3, 5)
    assert not GraphPotential(single.architecture, single.head).tables  # as in training
