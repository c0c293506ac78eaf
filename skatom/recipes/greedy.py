"""``greedy``: a short linear model of many features."""

import numpy as np
from ase import Atoms
from sklearn.pipeline import Pipeline

from skatom.descriptors import SOAP, MomentTensor
from skatom.models import GreedyOLS
from skatom.recipes.base import Cost, Recipe
from skatom.recipes.settings import merged, nested
from skatom.structures import Structures

# Terms of the model of one or two species, and of each species of more, at most.
_TERMS, _OF_SPECIES = 300, 150


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
        found |= {
            "soap.cutoff": 4.0,
            "soap.n_max": 6,
            "soap.l_max": 4,
            "soap.sigma": 0.4,
            "soap.species_compression": None if n_species <= 4 else 4,
        }
    else:
        found |= {
            "moments.cutoff": facts.scaled(1.84, 3.5, 6.0),
            "moments.level": 18 if n_species == 1 else 12,
            "moments.mu_level": 2,
            "moments.species_compression": None if n_species <= 2 else 2,
        }
    n_features = _n_features(merged(found, given), facts.species)
    return found | {"n_terms": min(max(_TERMS, _OF_SPECIES * n_species), n_features)}


def _n_features(settings, species):
    """Number of features of an atom; all that can be chosen, if the settings are no descriptor's.

    Species and parameters tell it, without the structures.
    """
    positions = 2.0 * np.arange(len(species))[:, None] * np.array([1.0, 0.0, 0.0])
    row = Structures.from_ase([Atoms(numbers=species, positions=positions)])
    parts = nested(settings)
    try:
        return _descriptor(parts["descriptor"], parts).fit(row).n_features_out_
    except (ValueError, TypeError):  # the fit says what is wrong
        return _TERMS


def _descriptor(kind, parts):
    if kind not in ("moments", "soap"):
        raise ValueError(f"descriptor is {kind!r}: give moments or soap")
    return SOAP(**parts["soap"]) if kind == "soap" else MomentTensor(**parts["moments"])


def _build(settings, random_state, verbose, device):
    model = dict(settings)
    parts = {part: model.pop(part, {}) for part in ("soap", "moments")}
    kind = model.pop("descriptor")
    regressor = GreedyOLS(**model, random_state=random_state, verbose=verbose)
    return Pipeline([(kind, _descriptor(kind, parts)), ("greedy", regressor)])


def _cost(settings, structures, targets):
    rows = 3 * len(structures.numbers) + 7 * len(structures)
    n_features = _n_features(settings, structures.species)
    return Cost(
        memory=3 * 8.0 * n_features**2 + min(2.0**30, 8.0 * rows * n_features),
        flops=2.0 * rows * n_features**2,
        work=float(len(structures.numbers)),
    )


def _stages(facts, settings):
    cutoff = f"{settings['descriptor']}.cutoff"
    return [
        {cutoff: [round(factor * settings[cutoff], 1) for factor in (0.85, 1.0, 1.15)]},
        {"n_terms": sorted({max(1, settings["n_terms"] // 2), settings["n_terms"]})},
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
    probe_frames=20,
    noises=("noise_energy", "noise_forces", "noise_virial"),
)
