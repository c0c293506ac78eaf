"""``painn``: a neural potential whose atoms have vectors."""

from skatom.models import PaiNN
from skatom.recipes.base import Cost, Recipe
from skatom.recipes.schnet import batches, edges_of, stages

# Numbers in a training step: products of an atom, in squares of the number of features, and what
# is kept for each feature of an edge.
_PRODUCTS, _KEPT = 90, 60


def _defaults(facts, given):
    return {
        "cutoff": facts.scaled(2.1, 4.0, 5.0),
        "n_features": 64,
        "n_interactions": 3,
        "noise_energy": 0.03,
        "noise_forces": 0.03,
        "noise_virial": 0.1,
        **batches(facts, given),
        "learning_rate_init": 2e-3,
    }


def _build(settings, random_state, verbose, device):
    return PaiNN(**settings, random_state=random_state, verbose=verbose, device=device)


def _cost(settings, structures, targets):
    n, t = settings["n_features"], settings["n_interactions"]
    edges, n_iter = edges_of(structures, settings["cutoff"]), settings["max_iter"]
    share = min(1.0, settings["batch_size"] / len(structures))
    products = t * n * (_PRODUCTS * n * len(structures.numbers) + 10 * _KEPT * edges)
    return Cost(
        memory=4.0 * _KEPT * t * n * edges * share,
        flops=2.0 * n_iter * products,
        work=max(1, len(structures) / settings["batch_size"]) * n_iter,
    )


PAINN = Recipe(
    name="painn",
    summary="a neural potential whose atoms have vectors, the most accurate one; needs torch",
    parts={"": PaiNN},
    defaults=_defaults,
    build=_build,
    cost=_cost,
    stages=stages,
    probe={"max_iter": 2},
    probe_frames=20,
    noises=("noise_energy", "noise_forces", "noise_virial"),
    has_device=True,
)
