"""``hdnnp``: networks of elements on symmetry functions."""

from sklearn.pipeline import Pipeline

from skatom.descriptors import ACSF
from skatom.descriptors.symmetry_functions import centered, shifted
from skatom.models import HDNNP
from skatom.neighbors import neighbor_list
from skatom.recipes.base import Cost, Recipe
from skatom.recipes.settings import nested

# Training steps, and atoms of a step, about.
_STEPS, _ATOMS = 60_000, 60
# Operations of a training step for an element of a Jacobian.
_PASSES = 4.0


def _defaults(facts, given):
    few = len(facts.species) <= 2
    n_atoms = facts.n_atoms / facts.n_structures
    batch_size = max(1, round(_ATOMS / n_atoms))
    n_batches = max(1, facts.n_structures // given.get("batch_size", batch_size))
    return {
        "acsf.cutoff": 5.0,
        "acsf.cutoff_function": "tanh3",
        "n_radial": 10,
        "first_radius": facts.scaled(0.7, 1.0, 2.5) if facts.periodic else 0.8,
        "angular_etas": (0.003, 0.03, 0.1) if few else (0.03,),
        "zetas": (1, 4, 16) if few else (1, 4),
        "hidden_layer_sizes": (20, 20),
        "electrostatics": False,
        "noise_energy": 0.01,
        "noise_forces": 0.1,
        "noise_virial": 0.1,
        "batch_size": batch_size,
        "learning_rate_init": 5e-3,
        "max_iter": min(1000, max(50, _STEPS // n_batches)),
    }


def _descriptor(model, device="cpu"):
    """The descriptor, whose settings are taken out of those of the model."""
    acsf = model.pop("acsf", {})
    n, first = model.pop("n_radial"), model.pop("first_radius")
    etas, zetas = model.pop("angular_etas"), model.pop("zetas")
    cutoff = acsf["cutoff"]
    tables = {
        "g2": [*shifted(n, cutoff, first).tolist(), *centered(2, cutoff, 1.0, 2.0).tolist()],
        "g4": [(eta, zeta, sign) for eta in etas for zeta in zetas for sign in (1.0, -1.0)],
    }
    return ACSF(**{"device": device} | tables | acsf)


def _build(settings, random_state, verbose, device):
    model = dict(settings)
    acsf = _descriptor(model, device)
    return Pipeline(
        [("acsf", acsf), ("hdnnp", HDNNP(**model, random_state=random_state, verbose=verbose))]
    )


def _cost(settings, structures, targets):
    acsf = _descriptor(nested(settings)).fit(structures)
    few = structures[:: max(1, len(structures) // 20)]
    blocks = len(neighbor_list(few, settings["acsf.cutoff"])) / len(few) * len(structures)
    numbers = 3.0 * acsf.n_features_out_ * blocks
    return Cost(
        memory=4 * numbers, flops=_PASSES * numbers * settings["max_iter"],
        work=float(len(structures.numbers)) * settings["max_iter"],
    )  # fmt: skip


def _stages(facts, settings):
    rate = settings["learning_rate_init"]
    return [
        {"acsf.cutoff": [4.5, 5.0, 6.0]},
        {"learning_rate_init": [0.5 * rate, rate, 2 * rate]},
    ]


HDNNP_RECIPE = Recipe(
    name="hdnnp",
    summary="networks of elements on symmetry functions, with charges if they are wanted",
    parts={"": HDNNP, "acsf": ACSF},
    defaults=_defaults,
    build=_build,
    cost=_cost,
    stages=_stages,
    probe={"max_iter": 2},
    probe_frames=20,
    has_device=True,
    noises=("noise_energy", "noise_forces", "noise_virial"),
)
