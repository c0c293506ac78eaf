"""The network with which a training begins."""

from __future__ import annotations

from dataclasses import asdict

from skatom.models.neural.first_constants import constants_of_elements, scale_of
from skatom.models.neural.fitted_network import FittedNetwork


def first_network(architecture, head, graphs, labels, species, before):
    """The network of the last fit, or one of constants of the elements, without weights.

    Parameters
    ----------
    architecture : Architecture
    head : Head
    graphs : Graphs
        The structures to learn from.
    labels : dict of NetworkLabel
    species : ndarray of int, shape (n_species,)
        Sorted atomic numbers.
    before : FittedNetwork or None
        The network of the last fit.

    Returns
    -------
    FittedNetwork

    Raises
    ------
    ValueError
        If the last network is of another form.
    """
    if before is not None:
        _check_same(before, architecture, head)
        return before
    constants = constants_of_elements(head, graphs, labels, len(species))
    scale = scale_of(head, graphs, labels, head.of_elements(graphs, constants))
    return FittedNetwork(architecture, head, {}, scale, constants, species)


def first_weights(network, random):
    """Random weights by name."""
    return network.architecture.initial(random) | network.head.initial(random)


def _check_same(before, architecture, head):
    """Raise a ValueError if a network cannot go on as one of another form."""
    if type(before.head) is not type(head):
        raise ValueError(
            "warm_start=True goes on with a network of another target or pooling: set them as "
            "they were, or warm_start=False"
        )
    own, other = asdict(before.architecture), asdict(architecture)
    name = next((k for k in own if own[k] != other[k]), None)
    if name is not None:
        raise ValueError(
            f"warm_start=True goes on with a network of {name}={own[name]!r}, and {name} is "
            f"{other[name]!r} now: set it as it was, or warm_start=False"
        )
