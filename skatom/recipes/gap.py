"""``gap``: SOAP and a pair potential in a sparse Gaussian process."""

import numpy as np

from skatom.descriptors import SOAP
from skatom.kernels import Cosine, Polynomial
from skatom.models import SparseGaussianProcess
from skatom.models.sparse.fitting import factorisation_memory
from skatom.recipes.base import Cost, Recipe

# Representatives of all species of crystals together, the fewest of one, and of one of molecules.
_REPRESENTATIVES, _FEWEST, _OF_MOLECULES = 2000, 500, 1000
# The features of an atom and their derivatives take the time of as many representatives, about.
_COLUMNS_OF_FEATURES = 400


def _defaults(facts, given):
    n_species = len(facts.species)
    found = _of_crystals(facts) if facts.periodic else _of_molecules()
    cutoff = given.get("soap.cutoff", found["soap.cutoff"])
    compression = given.get("soap.species_compression", _channels(facts))
    return found | {
        "selection": "random",
        "soap.n_max": 8,
        "soap.l_max": 6,
        "soap.species_compression": compression,
        "soap.radial_scaling.rate": 1.0,
        "soap.radial_scaling.exponent": 4.0,
        "kernel.delta": 1.0,
        "pairs.n_sparse": 12 if n_species == 1 else 24 if n_species < 4 else 36,
        "pairs.delta": 2.0,
        "pairs.cutoff": cutoff,
        "pairs.n_max": 12,
        "pairs.sigma": 0.3,
        "pairs.cutoff_width": 1.0,
        "pairs.species_compression": compression,
        "noise_virial": 0.1,
    }


def _of_crystals(facts):
    size = facts.spacing
    return {
        "n_sparse": max(_FEWEST, _REPRESENTATIVES // len(facts.species)),
        "soap.cutoff": facts.scaled(2.3, 3.5, 7.0),
        "soap.sigma": round(0.2 * size, 2),
        "soap.cutoff_width": round(0.8 * size, 1),
        "soap.radial_scaling.scale": round(size, 1),
        "kernel.zeta": 4,
        "noise_energy": 6e-4,
        "noise_forces": 0.02,
    }


def _of_molecules():
    return {
        "n_sparse": _OF_MOLECULES,
        "soap.cutoff": 5.0,
        "soap.sigma": 0.3,
        "soap.cutoff_width": 1.0,
        "soap.radial_scaling.scale": 2.0,
        "kernel.zeta": 3,
        "noise_energy": 2e-4,
        "noise_forces": 0.005,
    }


def _channels(facts):
    """Channels of the species: as many features as three species have, or two in crystals."""
    most = 2 if facts.periodic else 3
    return None if len(facts.species) <= most else most


def _build(settings, random_state, verbose, device):
    model = dict(settings)
    soap, kernel, pairs = (dict(model.pop(part)) for part in ("soap", "kernel", "pairs"))
    n_sparse, n_pairs = model.pop("n_sparse"), pairs.pop("n_sparse")
    delta, pair_delta = kernel.pop("delta"), pairs.pop("delta")
    terms = [("soap", SOAP(**soap, device=device), delta**2 * Cosine(**kernel), n_sparse)]
    if n_pairs:
        radial = SOAP(**({"nu": 1, "normalize": False} | pairs), device=device)
        terms.append(("pairs", radial, pair_delta**2 * Polynomial(zeta=1), n_pairs))
    return SparseGaussianProcess(terms=terms, **model, random_state=random_state, verbose=verbose)


def _cost(settings, structures, targets):
    numbers, counts = np.unique(structures.numbers, return_counts=True)
    of_species = np.zeros(len(numbers), int)
    for limit in (settings["n_sparse"], settings["pairs.n_sparse"]):
        of_species += np.minimum(_by_species(limit, numbers), counts)
    columns = int(of_species.sum())
    n_rows = 3 * len(structures.numbers) + 7 * len(structures)
    return Cost(
        memory=factorisation_memory(columns, n_rows),
        flops=2.0 * n_rows * columns**2,
        work=float(counts @ (of_species + _COLUMNS_OF_FEATURES)),
        columns=columns,
    )


def _by_species(limit, numbers):
    from ase.data import chemical_symbols

    if not isinstance(limit, dict):
        return np.full(len(numbers), limit)
    return np.array([limit.get(chemical_symbols[number], 0) for number in numbers])


def _stages(facts, settings):
    """How neighbours count by distance and which atoms represent, then their density."""
    cutoff, sigma = settings["soap.cutoff"], settings["soap.sigma"]
    return [
        {"soap.radial_scaling.exponent": [4.0, 2.0], "selection": ["random", "fps"]},
        {
            "soap.cutoff": [round(f * cutoff, 1) for f in (0.91, 1.09)],
            "soap.sigma": [round(f * sigma, 2) for f in (0.85, 1.1)],
        },
    ]


GAP = Recipe(
    name="gap",
    summary="crystals, liquids, molecules: SOAP and pairs, sparse Gaussian process",
    parts={"": SparseGaussianProcess, "soap": SOAP, "kernel": Cosine, "pairs": SOAP},
    defaults=_defaults,
    build=_build,
    cost=_cost,
    stages=_stages,
    probe={"n_sparse": 200, "selection": "random"},
    trial_atoms=7000,
    noises=("noise_energy", "noise_forces", "noise_virial"),
    has_device=True,
    representatives="n_sparse",
)
