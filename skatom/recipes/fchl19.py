"""``fchl19``: FCHL19 with kernel ridge regression of energies and forces."""

import numpy as np
from ase import Atoms
from sklearn.pipeline import Pipeline

from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian
from skatom.models import ForceKernelRidge
from skatom.recipes.base import Cost, Recipe
from skatom.recipes.settings import nested
from skatom.solvers import PackedCholesky
from skatom.structures import Structures

_WIDTH = 512
# Dimensions that the Jacobians of one species span, relative to the number of features, about.
_RANK = 0.5

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
    n_features = _n_features(settings, structures.species)
    # the features and, by species, their copy
    memory = 16.0 * len(structures.numbers) * n_features
    if settings["basis"] == "operators":
        size = len(structures.numbers)
    else:
        coordinates = _coordinates(structures, targets)
        size = int(targets.labelled("energy").sum() + coordinates.sum())
        memory += 8.0 * _RANK * n_features * (structures.n_atoms @ coordinates)
    return Cost(
        memory=PackedCholesky.memory(size, _WIDTH) + memory,
        flops=size**3 / 3,
        work=float(size) ** 2,
    )


def _coordinates(structures, targets):
    """The rows of each structure beside its energy: no forces along its rigid motions."""
    rotations = np.array([0, 0, 2, 3])[np.minimum(structures.n_atoms, 3)]
    motions = 3 + rotations * ~structures.pbc.any(axis=1)
    forces, stress = (targets.labelled(name) for name in ("forces", "stress"))
    return forces * (3 * structures.n_atoms - motions) + 6 * stress


def _n_features(settings, species):
    """Number of features of an atom, or zero if the fit will say what is wrong with a setting."""
    positions = 2.0 * np.arange(len(species))[:, None] * np.array([1.0, 0.0, 0.0])
    row = Structures.from_ase([Atoms(numbers=species, positions=positions)])
    try:
        return FCHL19(**nested(settings)["fchl19"]).fit(row).n_features_out_
    except (ValueError, TypeError):
        return 0


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
