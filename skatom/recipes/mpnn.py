"""``mpnn``: messages between atoms, by matrices that an edge network makes of distances."""

from skatom.models import MessagePassingNetwork
from skatom.recipes.networks import cost_of_edges, network_recipe, training_settings

# Products of a training step for each feature and filter of an edge, and numbers that it keeps.
_PRODUCTS, _KEPT = 40, 30


def _defaults(facts, given):
    sizes = {
        "preset": "edge_network", "read_out": "sum", "cutoff": facts.scaled(2.3, 4.5, 6.0),
        "n_features": 64, "n_filters": 16, "n_passes": 3,
    }  # fmt: skip
    return sizes | training_settings(facts, given)


def _cost(settings, structures, targets):
    n, t = settings["n_features"], settings["n_passes"]
    m = settings.get("n_filters") or n
    return cost_of_edges(
        settings, structures, kept=_KEPT * t * (n + m), flops=2.0 * _PRODUCTS * t * n * m
    )


def _stages(facts, settings):
    rate, n = settings["learning_rate_init"], settings["n_features"]
    return [
        {"learning_rate_init": [0.5 * rate, rate, 2 * rate]},
        {"n_features": [n // 2, n]},
    ]


MPNN = network_recipe(
    "mpnn",
    MessagePassingNetwork,
    "messages between atoms, for energies of many molecules; needs torch",
    _defaults,
    _cost,
    _stages,
)
