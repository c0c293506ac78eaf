"""Energies while atoms change their elements: known numbers, and the ends of paths."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from architectures_under_contract import CPU, WATER  # noqa: E402
from models_under_contract import labels_of, waters  # noqa: E402
from test_dtnn import golden  # noqa: E402

from skatom import Structures  # noqa: E402
from skatom.attribution import alchemical_path  # noqa: E402
from skatom.baseline import PairRepulsion  # noqa: E402
from skatom.models import DTNN, LinearPotential, PaiNN, SchNet  # noqa: E402


def test_golden_number():
    """Water whose oxygen is half nitrogen."""
    shares = np.eye(10)[WATER.numbers]
    shares[0, [7, 8]] = 0.5
    found = golden(2).mixed_energies(Structures.from_ase([WATER]), shares, CPU)
    assert found[0] == pytest.approx(-32.348044414413, abs=2e-12)


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


def test_errors(model):
    def path(X=None, numbers=(8, 8, 1), fractions=(0.0, 1.0)):
        return alchemical_path(model, waters(1) if X is None else X, numbers, fractions)

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
