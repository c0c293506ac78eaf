"""Vectors of elements, their principal components, and their picture."""

import numpy as np
import pytest
from models_under_contract import labels_of, waters

from skatom.attribution import SpeciesEmbedding, species_embedding
from skatom.models import DTNN, LinearPotential, MessagePassingNetwork, PaiNN, SchNet
from skatom.plotting import EmbeddingDisplay

METALS = SpeciesEmbedding(
    np.array([3, 8, 11, 16, 19]), np.random.default_rng(0).normal(size=(5, 7))
)


def test_principal_components_are_those_of_the_covariance():
    places, shares = METALS.principal_components(5)
    covariance = np.cov(METALS.vectors, rowvar=False, bias=True)
    expected = np.linalg.eigvalsh(covariance)[::-1][:5]
    np.testing.assert_allclose(places.var(axis=0), expected, atol=1e-12)
    np.testing.assert_allclose(shares, expected / np.trace(covariance), atol=1e-12)
    distances = np.linalg.norm(METALS.vectors[:, None] - METALS.vectors, axis=2)
    found = np.linalg.norm(places[:, None] - places, axis=2)
    np.testing.assert_allclose(found, distances, atol=1e-12)


def test_signs_do_not_depend_on_the_direction_of_the_vectors():
    turned = SpeciesEmbedding(METALS.species, -METALS.vectors)
    places, _ = METALS.principal_components(2)
    assert (places[np.abs(places).argmax(axis=0), [0, 1]] > 0).all()
    again, _ = turned.principal_components(2)
    np.testing.assert_allclose(np.abs(again), np.abs(places), atol=1e-12)


@pytest.mark.parametrize("cls", [SchNet, DTNN, PaiNN, MessagePassingNetwork])
def test_of_networks(cls):
    pytest.importorskip("torch")
    data = waters(12)
    model = cls(max_iter=1, random_state=0).fit(data, labels_of(data, ("energy",)))
    found = species_embedding(model)
    np.testing.assert_array_equal(found.species, [1, 8])
    weights = model.network_.weights["embedding"]
    np.testing.assert_array_equal(found.vectors, weights[:2])
    display = EmbeddingDisplay.from_estimator(model)
    assert [text.get_text() for text in display.ax_.texts] == ["H", "O"]


def test_picture_has_the_elements_at_their_components():
    display = EmbeddingDisplay(METALS).plot()
    places, shares = METALS.principal_components(2)
    np.testing.assert_array_equal(display.points_.get_offsets(), places)
    assert f"{100 * shares[0]:.0f} %" in display.ax_.get_xlabel()
    colors = display.points_.to_rgba(display.points_.get_array())
    assert (colors[0] == colors[2]).all() and (colors[0] != colors[1]).any()


def test_errors():
    with pytest.raises(ValueError, match="n_components=6 must be from 1 to 5"):
        METALS.principal_components(6)
    same = SpeciesEmbedding(np.array([1, 8]), np.ones((2, 4)))
    with pytest.raises(ValueError, match="vectors of 2 elements are equal"):
        same.principal_components(1)
    X = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(ValueError, match="LinearPotential has no vectors of elements"):
        species_embedding(LinearPotential().fit(X, X[:, 0]))
