"""``mtp``: a moment tensor potential, linear in all its coefficients."""

from sklearn.pipeline import Pipeline

from skatom.descriptors import MomentTensor
from skatom.models import LinearPotential
from skatom.recipes.base import Cost, Recipe

# Levels, with radial functions in steps of two, and about how many features an atom then has.
# Folds of the training parts of mlearn prefer 20 or 22, where a fit takes half a minute.
_LEVELS = {1: (20, 950), 2: (12, 330), 3: (8, 200)}
_MANY_SPECIES = (6, 100)


def _defaults(facts, given):
    level, _ = _LEVELS.get(len(facts.species), _MANY_SPECIES)
    return {
        "noise_energy": 1e-3,
        "noise_forces": 0.03,
        "noise_virial": 0.1,
        "moments.cutoff": facts.scaled(2.1, 4.0, 6.5),
        "moments.level": level,
        "moments.mu_level": 2,
        "moments.max_mu": 10,
        "moments.by_center": False,
    }


def _build(settings, random_state, verbose, device):
    model = dict(settings)
    moments = MomentTensor(**model.pop("moments", {}), verbose=verbose)
    return Pipeline([("moments", moments), ("linear", LinearPotential(**model))])


def _cost(settings, structures, targets):
    n_species = len(structures.species)
    _, n_features = _LEVELS.get(n_species, _MANY_SPECIES)
    columns = float(n_species * n_features)
    rows = 3 * len(structures.numbers) + 7 * len(structures)
    return Cost(
        memory=8.0 * columns * (12 * columns + 12 * 2048) + 8.0 * rows * n_features / 3,
        flops=2.0 * rows * columns**2 + 60 * columns**3,
        work=float(len(structures.numbers)),
    )


def _stages(facts, settings):
    level, cutoff = settings["moments.level"], settings["moments.cutoff"]
    return [
        {"moments.cutoff": [round(factor * cutoff, 1) for factor in (0.85, 1.0, 1.15)]},
        {"moments.level": [n for n in (level - 2, level, level + 2) if 2 <= n <= 28]},
        {"noise_energy": [3e-4, 1e-3, 3e-3]},
    ]


MTP = Recipe(
    name="mtp",
    summary="a linear moment tensor potential: fits in seconds, predicts fast, any size of data",
    parts={"": LinearPotential, "moments": MomentTensor},
    defaults=_defaults,
    build=_build,
    cost=_cost,
    stages=_stages,
    probe={"moments.level": 4},
    probe_frames=20,
    noises=("noise_energy", "noise_forces", "noise_virial"),
)
