"""``greedy``: a short linear model of many features."""

from sklearn.pipeline import Pipeline

from skatom.descriptors import SOAP, MomentTensor
from skatom.models import GreedyOLS
from skatom.recipes.base import Cost, Recipe

# Features of an atom, about, for the estimate of memory: those of moment tensors of level 16.
_FEATURES = 1500


def _defaults(facts, given):
    n_species = len(facts.species)
    kind = given.get("descriptor", "moments" if facts.periodic else "soap")
    found = {
        "descriptor": kind,
        "noise_energy": 1e-3,
        "noise_forces": 0.03,
        "noise_virial": 0.1,
    }
    if kind == "soap":
        return found | {
            "n_terms": 300,
            "soap.cutoff": 4.0,
            "soap.n_max": 6,
            "soap.l_max": 4,
            "soap.sigma": 0.4,
            "soap.species_compression": None if n_species <= 4 else 4,
        }
    return found | {
        "n_terms": 200,
        "moments.cutoff": facts.scaled(2.1, 4.0, 6.5),
        "moments.level": 16 if n_species == 1 else 12,
        "moments.species_compression": None if n_species <= 2 else 2,
    }


def _build(settings, random_state, verbose, device):
    model = dict(settings)
    parts = {part: model.pop(part, {}) for part in ("soap", "moments")}
    kind = model.pop("descriptor")
    if kind not in parts:
        raise ValueError(f"descriptor is {kind!r}: give moments or soap")
    made = SOAP(**parts["soap"]) if kind == "soap" else MomentTensor(**parts["moments"])
    regressor = GreedyOLS(**model, random_state=random_state, verbose=verbose)
    return Pipeline([(kind, made), ("greedy", regressor)])


def _cost(settings, structures, targets):
    rows = 3 * len(structures.numbers) + 7 * len(structures)
    return Cost(
        memory=3 * 8.0 * _FEATURES**2 + min(2.0**30, 8.0 * rows * _FEATURES),
        flops=2.0 * rows * _FEATURES**2,
        work=float(len(structures.numbers)),
    )


def _stages(facts, settings):
    cutoff = f"{settings['descriptor']}.cutoff"
    return [
        {cutoff: [round(factor * settings[cutoff], 1) for factor in (0.85, 1.0, 1.15)]},
        {"n_terms": [n for factor in (0.5, 1, 2) for n in [int(factor * settings["n_terms"])]]},
        {"noise_energy": [3e-4, 1e-3, 3e-3]},
    ]


GREEDY = Recipe(
    name="greedy",
    summary="a short linear model of moment tensors, or of SOAP for molecules",
    parts={"": GreedyOLS, "soap": SOAP, "moments": MomentTensor},
    defaults=_defaults,
    build=_build,
    cost=_cost,
    stages=_stages,
    probe={"n_terms": 20},
    probe_frames=20,
    noises=("noise_energy", "noise_forces", "noise_virial"),
)
