"""``sgdml`` and ``gdml``: the forces of one molecule."""

from functools import partial

from skatom.models import GDML, SGDML
from skatom.recipes.base import Cost, Recipe
from skatom.solvers import PackedCholesky

_SUMMARY = "one molecule: its forces by kernels of inverse distances"
# Columns that the factorisation of the kernel matrix treats together, about.
_WIDTH = 512


def _defaults(facts, given):
    return {"sigma": 20.0, "alpha": 1e-10, "energy_constraint": False, "max_memory": None}


def _build(settings, random_state, verbose, device, model):
    options = {"random_state": random_state} if model is SGDML else {}
    return model(**settings, **options, verbose=verbose, device=device)


def _cost(settings, structures, targets):
    n_frames, n_atoms = len(structures), int(structures.n_atoms[0])
    size = n_frames * max(1, 3 * n_atoms - 6)
    return Cost(
        memory=PackedCholesky.memory(size, _WIDTH), flops=size**3 / 3, work=float(size) ** 2
    )


def _stages(facts, settings):
    return [{"sigma": [factor * settings["sigma"] for factor in (0.25, 0.5, 1.0, 2.0)]}]


def _recipe(name, model, note):
    return Recipe(
        name=name,
        summary=f"{_SUMMARY}{note}",
        parts={"": model},
        defaults=_defaults,
        build=partial(_build, model=model),
        cost=_cost,
        stages=_stages,
        probe_frames=40,
        trial_atoms=1800,
        one_molecule=True,
        has_device=True,
    )


SGDML_RECIPE = _recipe("sgdml", SGDML, " and its symmetry")
GDML_RECIPE = _recipe("gdml", GDML, "")
