"""``painn``: a neural potential whose atoms have vectors."""

from skatom.models import PaiNN
from skatom.recipes.networks import cost_of_edges, network_recipe, training_settings

# Numbers in a training step for each feature of an edge: those that are kept, and products, of
# which atoms have most.
_KEPT, _PRODUCTS = 60, 30


def _defaults(facts, given):
    sizes = {"cutoff": facts.scaled(2.1, 4.0, 5.0), "n_features": 64, "n_interactions": 3}
    return sizes | training_settings(facts, given) | {"learning_rate_init": 2e-3}


def _cost(settings, structures, targets):
    n, t = settings["n_features"], settings["n_interactions"]
    return cost_of_edges(
        settings, structures, kept=_KEPT * t * n, flops=2.0 * _PRODUCTS * t * n * n
    )


def _stages(facts, settings):
    cutoff, rate = settings["cutoff"], settings["learning_rate_init"]
    return [
        {"learning_rate_init": [0.5 * rate, rate, 2 * rate]},
        {"cutoff": [round(f * cutoff, 1) for f in (0.8, 1.0)]},
    ]


PAINN = network_recipe(
    "painn",
    PaiNN,
    "a neural potential whose atoms have vectors, the most accurate one; needs torch",
    _defaults,
    _cost,
    _stages,
)
