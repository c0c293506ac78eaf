"""``nbody`` and ``mapped``: pairs and triangles, as a Gaussian process and as its tables."""

from functools import partial

from skatom.kernels import NBody
from skatom.models import MappedForceField, NBodyGaussianProcess
from skatom.recipes.base import Cost, Recipe


def _defaults(facts, given):
    return {
        "pairs.sigma": 0.5,
        "pairs.cutoff": facts.scaled(2.1, 4.0, 6.0) if facts.periodic else 5.0,
        "pairs.amplitude": 1.0,
        "triangles.sigma": 0.6,
        "triangles.cutoff": facts.scaled(1.6, 2.9, 5.0) if facts.periodic else 4.0,
        "triangles.amplitude": 0.3,
        "noise_energy": 0.006,
        "noise_forces": 0.1,
        "noise_virial": 0.1,
        "n_environments": min(500, facts.n_atoms),
    }


def _build(settings, random_state, verbose, device, mapped):
    model = dict(settings)
    pairs, triangles = model.pop("pairs"), model.pop("triangles")
    tables = model.pop("tables", {})
    kernel = NBody(order=2, **pairs) + NBody(order=3, **triangles)
    model = NBodyGaussianProcess(kernel, **model, random_state=random_state, verbose=verbose)
    return MappedForceField(model, **tables) if mapped else model


def _cost(settings, structures, targets):
    n_environments = settings["n_environments"]
    atoms = len(structures.numbers)
    size = 3 * (atoms if n_environments is None else min(n_environments, atoms))
    for name, rows in (("energy", 1), ("stress", 6)):
        size += rows * int(targets.labelled(name).sum())
    return Cost(memory=24.0 * size**2, flops=size**3 / 3, work=float(size) ** 2)


def _stages(facts, settings):
    cutoffs = {
        name: [round(factor * settings[name], 1) for factor in (0.85, 1.0, 1.15)]
        for name in ("pairs.cutoff", "triangles.cutoff")
    }
    return [cutoffs, {"noise_energy": [0.002, 0.006, 0.02], "noise_forces": [0.03, 0.1]}]


def _recipe(name, summary, parts, mapped):
    return Recipe(
        name=name,
        summary=summary,
        parts={"": NBodyGaussianProcess, "pairs": NBody, "triangles": NBody} | parts,
        defaults=_defaults,
        build=partial(_build, mapped=mapped),
        cost=_cost,
        stages=_stages,
        probe={"n_environments": 60},
        noises=("noise_energy", "noise_forces", "noise_virial"),
    )


NBODY_RECIPE = _recipe(
    "nbody", "simple materials, few data: pairs and triangles, Gaussian process", {}, False
)
MAPPED_RECIPE = _recipe(
    "mapped",
    "the same as tables: as fast as a classical potential, for LAMMPS",
    {"tables": MappedForceField},
    True,
)
