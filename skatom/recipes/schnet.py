"""``schnet``: a neural potential of the graph of atoms."""

from skatom.models import SchNet
from skatom.recipes.networks import cost_of_edges, network_recipe, training_settings

# Products of a training step beside those of the filters, and numbers that it keeps for a filter.
_PASSES, _KEPT = 5, 25


def _defaults(facts, given):
    sizes = {"cutoff": facts.scaled(2.3, 4.5, 6.0), "n_features": 64, "n_interactions": 3}
    return sizes | training_settings(facts, given)


def _cost(settings, structures, targets):
    n, t = settings["n_features"], settings["n_interactions"]
    return cost_of_edges(settings, structures, kept=_KEPT * t * n, flops=2.0 * _PASSES * t * n * n)


def _stages(facts, settings):
    cutoff, rate = settings["cutoff"], settings["learning_rate_init"]
    return [
        {"cutoff": [round(f * cutoff, 1) for f in (0.85, 1.0)]},
        {"learning_rate_init": [0.5 * rate, rate, 2 * rate]},
    ]


SCHNET = network_recipe(
    "schnet",
    SchNet,
    "a neural potential, for many structures and a graphics card; needs torch",
    _defaults,
    _cost,
    _stages,
)
