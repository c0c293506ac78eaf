"""``dtnn``: a deep tensor neural network, for energies of molecules of any composition."""

from skatom.models import DTNN
from skatom.recipes.networks import cost_of_edges, network_recipe, training_settings

# Products of a training step, for both ends of an edge, and numbers that it keeps.
_PASSES, _KEPT = 10, 20


def _defaults(facts, given):
    sizes = {
        "cutoff": facts.scaled(2.3, 4.5, 6.0), "n_features": 30, "n_factors": 60,
        "n_interactions": 3,
    }  # fmt: skip
    return sizes | training_settings(facts, given) | {"learning_rate_init": 3e-3}


def _cost(settings, structures, targets):
    n, m, t = (settings[name] for name in ("n_features", "n_factors", "n_interactions"))
    flops = 2.0 * _PASSES * t * n * m
    return cost_of_edges(settings, structures, kept=_KEPT * t * (n + m), flops=flops)


def _stages(facts, settings):
    rate, n = settings["learning_rate_init"], settings["n_features"]
    return [
        {"learning_rate_init": [0.5 * rate, rate, 2 * rate]},
        {"n_features": [n, 2 * n]},
    ]


DTNN_RECIPE = network_recipe(
    "dtnn",
    DTNN,
    "a small neural potential, for energies of many molecules; needs torch",
    _defaults,
    _cost,
    _stages,
)
