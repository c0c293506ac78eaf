"""``ace``: a linear atomic cluster expansion, for molecules."""

from sklearn.pipeline import Pipeline

from skatom.descriptors import AtomicClusterExpansion
from skatom.descriptors.cluster_basis import ClusterBasis, terms
from skatom.models import LinearPotential
from skatom.recipes.base import Cost, Recipe

# Degrees by the number of species: some 300 to 6,000 coefficients.
_DEGREES = {1: (12, 9, 8, 7), 2: (12, 7, 7, 6), 3: (12, 6.5, 6.5, 5.5), 4: (12, 6, 6, 5)}
_MANY_SPECIES = (10, 4, 4, 3)


def _defaults(facts, given):
    cutoff = facts.scaled(2.3, 4.5, 6.5)
    return {
        "alpha": 1e-9,
        "smoothness": 2,
        "noise_energy": 1e-3,
        "noise_forces": 0.01,
        "noise_virial": 0.1,
        "expansion.cutoff": cutoff,
        "expansion.product_cutoff": round(0.75 * given.get("expansion.cutoff", cutoff), 1),
        "expansion.degrees": _DEGREES.get(len(facts.species), _MANY_SPECIES),
        "expansion.l_weight": 0.4,
    }


def _build(settings, random_state, verbose, device):
    model = dict(settings)
    given = model.pop("expansion", {})
    expansion = AtomicClusterExpansion(**given, device=device, verbose=verbose)
    return Pipeline([("expansion", expansion), ("linear", LinearPotential(**model))])


def _cost(settings, structures, targets):
    n_species = len(structures.species)
    degrees = tuple(float(d) for d in settings["expansion.degrees"])
    basis = ClusterBasis(degrees, float(settings["expansion.l_weight"]), n_species)
    n_features = len(terms(basis))
    columns = float(n_species * n_features)
    rows = 3 * len(structures.numbers) + 7 * len(structures)
    return Cost(
        memory=8.0 * columns * (12 * columns + 12 * 2048) + 8.0 * rows * n_features / 3,
        flops=2.0 * rows * columns**2 + 8 * columns**3,
        work=float(len(structures.numbers)) * n_features,
    )


def _stages(facts, settings):
    cutoff = settings["expansion.cutoff"]
    first, *products = settings["expansion.degrees"]
    return [
        {"expansion.product_cutoff": [round(f * cutoff, 1) for f in (0.65, 0.75, 1.0)]},
        {"expansion.degrees": [(first, *(d + step for d in products)) for step in (-1, 0)]},
        {"alpha": [1e-10, 1e-9, 1e-8]},
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
