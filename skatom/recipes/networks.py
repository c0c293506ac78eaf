"""What recipes of networks of graphs have in common."""

from functools import partial

from skatom.neighbors import neighbor_list
from skatom.recipes.base import Cost, Recipe

# Training steps, about, and structures of a step: few at a time where there are few.
_STEPS = 20_000
_LARGEST_BATCH, _BATCHES = 32, 30


def network_recipe(name, model, summary, defaults, cost, stages):
    """The `Recipe` of a class of networks, whose settings are its parameters."""
    return Recipe(
        name=name, summary=summary, parts={"": model}, defaults=defaults,
        build=partial(_build, model), cost=cost, stages=stages, short={"max_iter": 5},
        probe={"max_iter": 2}, probe_frames=20,
        noises=("noise_energy", "noise_forces", "noise_virial"), has_device=True,
    )  # fmt: skip


def _build(model, settings, random_state, verbose, device):
    return model(**settings, random_state=random_state, verbose=verbose, device=device)


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


def cost_of_edges(settings, structures, kept, flops):
    """The `Cost` of a training that keeps so many numbers for each edge of a batch."""
    few = structures[:: max(1, len(structures) // 20)]
    edges = len(neighbor_list(few, settings["cutoff"])) / (2 * len(few)) * len(structures)
    steps = max(1, len(structures) / settings["batch_size"]) * settings["max_iter"]
    share = min(1.0, settings["batch_size"] / len(structures))
    return Cost(
        memory=4.0 * kept * edges * share, flops=flops * edges * settings["max_iter"], work=steps
    )
