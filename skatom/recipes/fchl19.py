"""``fchl19``: FCHL19 with kernel ridge regression of energies and forces."""

from sklearn.pipeline import Pipeline

from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian
from skatom.models import ForceKernelRidge
from skatom.recipes.base import Cost, Recipe
from skatom.solvers import PackedCholesky

_WIDTH = 512


# Two harmonics of the angle, both of weight, and their shells where neighbours are.
_ANGULAR = {
    "n_r3": 20, "eta3": 5.0, "weight3": 0.23, "zeta": 0.5, "n_fourier": 2, "decay2": 1.44
}  # fmt: skip


def _defaults(facts, given):
    one = facts.is_one_molecule
    shape = {f"fchl19.{name}": value for name, value in _ANGULAR.items()}
    cutoff = given.get("fchl19.cutoff", 8.0 if one else 6.0)
    return shape | {
        "fchl19.cutoff": cutoff,
        "fchl19.cutoff3": min(6.0, cutoff) if isinstance(cutoff, float) else 6.0,
        "kernel.sigma": 2.0,
        "basis": "derivatives",
        "alpha": 1e-9 if one else 1e-7,
        "alpha_forces": 1e-8 if one else 1e-6,
        "max_memory": None,
    }


def _build(settings, random_state, verbose, device):
    model = dict(settings)
    descriptor, kernel = model.pop("fchl19"), model.pop("kernel")
    return Pipeline([
        ("fchl19", FCHL19(**descriptor, device=device)),
        ("ridge", ForceKernelRidge(
            Gaussian(**kernel), **model, random_state=random_state, verbose=verbose
        )),
    ])  # fmt: skip


def _cost(settings, structures, targets):
    size = 0
    if targets.labelled("energy").any():
        size += len(structures)
    if targets.labelled("forces").any() and settings["basis"] == "derivatives":
        size += 3 * len(structures.numbers)
    if settings["basis"] == "operators":
        size = len(structures.numbers)
    return Cost(
        memory=PackedCholesky.memory(size, _WIDTH), flops=size**3 / 3, work=float(size) ** 2
    )


def _stages(facts, settings):
    sigma, alpha = settings["kernel.sigma"], settings["alpha_forces"]
    return [
        {"kernel.sigma": [factor * sigma for factor in (0.5, 1.0, 2.0)]},
        {"alpha_forces": [factor * alpha for factor in (0.01, 0.1, 1.0, 10.0)]},
    ]


FCHL19_RECIPE = Recipe(
    name="fchl19",
    summary="molecules, up to some 1,000 structures: FCHL19, kernel ridge regression",
    parts={"": ForceKernelRidge, "fchl19": FCHL19, "kernel": Gaussian},
    defaults=_defaults,
    build=_build,
    cost=_cost,
    stages=_stages,
    probe_frames=16,
    trial_atoms=700,
    has_device=True,
)
