"""``schnet``: a neural potential of the graph of atoms."""

from skatom.models import SchNet
from skatom.neighbors import neighbor_list
from skatom.recipes.base import Cost, Recipe

# Training steps, about, and structures of a step: few at a time where there are few.
_STEPS = 20_000
_LARGEST_BATCH, _BATCHES = 32, 30
# Products of a training step beside those of the filters, and numbers that it keeps for a filter.
_PASSES, _KEPT = 5, 25


def _defaults(facts, given):
    sizes = {"cutoff": facts.scaled(2.3, 4.5, 6.0), "n_features": 64, "n_interactions": 3}
    return sizes | training_settings(facts, given)


def training_settings(facts, given):
    """Settings of the training of neural potentials."""
    batch_size = max(1, min(_LARGEST_BATCH, facts.n_structures // _BATCHES))
    steps = max(1, facts.n_structures // given.get("batch_size", batch_size))
    return {
        "noise_energy": 0.03,
        "noise_forces": 0.03,
        "noise_virial": 0.1,
        "batch_size": batch_size,
        "max_iter": max(100, _STEPS // steps),
        "learning_rate_init": 1e-3,
    }


def _build(settings, random_state, verbose, device):
    return SchNet(**settings, random_state=random_state, verbose=verbose, device=device)


def _cost(settings, structures, targets):
    n, t = settings["n_features"], settings["n_interactions"]
    return cost_of_edges(settings, structures, kept=_KEPT * t * n, flops=2.0 * _PASSES * t * n * n)


def cost_of_edges(settings, structures, kept, flops):
    """The `Cost` of a training that keeps so many numbers for each edge of a batch."""
    few = structures[:: max(1, len(structures) // 20)]
    edges = len(neighbor_list(few, settings["cutoff"])) / (2 * len(few)) * len(structures)
    steps = max(1, len(structures) / settings["batch_size"]) * settings["max_iter"]
    share = min(1.0, settings["batch_size"] / len(structures))
    return Cost(
        memory=4.0 * kept * edges * share, flops=flops * edges * settings["max_iter"], work=steps
    )


def _stages(facts, settings):
    cutoff, rate = settings["cutoff"], settings["learning_rate_init"]
    return [
        {"cutoff": [round(f * cutoff, 1) for f in (0.85, 1.0)]},
        {"learning_rate_init": [0.5 * rate, rate, 2 * rate]},
    ]


SCHNET = Recipe(
    name="schnet",
    summary="a neural potential, for many structures and a graphics card; needs torch",
    parts={"": SchNet},
    defaults=_defaults,
    build=_build,
    cost=_cost,
    stages=_stages,
    short={"max_iter": 5},
    probe={"max_iter": 2},
    probe_frames=20,
    noises=("noise_energy", "noise_forces", "noise_virial"),
    has_device=True,
)
