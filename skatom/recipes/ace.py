"""``ace``: a linear atomic cluster expansion, for molecules."""

import numpy as np
from sklearn.pipeline import Pipeline

from skatom.descriptors import AtomicClusterExpansion
from skatom.models import LinearPotential
from skatom.recipes.base import Cost, Recipe

# Degrees by the number of species: some 300 to 6,000 coefficients.
_DEGREES = {1: (12, 9, 8, 7), 2: (12, 7, 7, 6), 3: (12, 6.5, 7, 6), 4: (12, 6, 6.5, 5)}
_MANY_SPECIES = (10, 4, 4, 3)
# Rows of derivatives that are made at once, with their making.
_ROWS_BYTES = 2**27
# Structures whose neighbours tell how many features there will be.
_COUNTED = 50
# The penalty for one atom, and its limits. The best one is 3e-9 for 60 frames of aspirin, 1e-10 for
# 320 of 3BPA and 1e-11 for 800 of aspirin, whatever the number of features.
_PENALTY, _PENALTIES = 3e-3, (1e-11, 1e-8)


def _defaults(facts, given):
    cutoff = facts.scaled(2.3, 4.5, 6.5)
    alpha = np.clip(_PENALTY / facts.n_atoms**2, *_PENALTIES)
    return {
        "alpha": float(f"{alpha:.0e}"),
        "smoothness": 2,
        "scaling": 0.0,
        "noise_energy": 1e-3,
        "noise_forces": 0.01,
        "noise_virial": 0.1,
        "expansion.cutoff": cutoff,
        "expansion.product_cutoff": round(0.65 * given.get("expansion.cutoff", cutoff), 1),
        "expansion.degrees": _DEGREES.get(len(facts.species), _MANY_SPECIES),
        "expansion.l_weight": 0.4,
    }


def _build(settings, random_state, verbose, device):
    model = dict(settings)
    given = model.pop("expansion", {})
    expansion = AtomicClusterExpansion(**given, device=device, verbose=verbose)
    return Pipeline([("expansion", expansion), ("linear", LinearPotential(**model))])


def _cost(settings, structures, targets):
    given = {k.split(".")[1]: v for k, v in settings.items() if k.startswith("expansion.")}
    told = AtomicClusterExpansion(**given).fit(structures[:_COUNTED]).feature_species()
    n_features, columns = told.shape[1], float(told.sum())
    rows = 3 * len(structures.numbers) + 7 * len(structures)
    return Cost(
        memory=8.0 * columns * (columns + 2 * len(structures))  # sums, factor; rows of energies
        + 8.0 * rows * n_features / 3
        + _ROWS_BYTES,
        flops=2.0 * rows * columns**2 + columns**3 / 3,
        work=float(len(structures.numbers)) * n_features,
    )


def _stages(facts, settings):
    cutoff = settings["expansion.cutoff"]
    first, *products = settings["expansion.degrees"]
    return [
        {"expansion.product_cutoff": [round(f * cutoff, 1) for f in (0.6, 0.65, 0.8)]},
        {"expansion.degrees": [(first, *(d + step for d in products)) for step in (-1, 0)]},
        {"alpha": [1e-11, 1e-10, 1e-9, 1e-8]},
    ]


ACE = Recipe(
    name="ace",
    summary="a linear cluster expansion up to five bodies, for molecules of a few elements",
    parts={"": LinearPotential, "expansion": AtomicClusterExpansion},
    defaults=_defaults,
    build=_build,
    cost=_cost,
    stages=_stages,
    probe={"expansion.degrees": (6, 4, 4)},
    probe_frames=20,
    has_device=True,
    noises=("noise_energy", "noise_forces", "noise_virial"),
)
