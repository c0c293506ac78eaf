"""Baselines: the part of the energy that is subtracted before a model learns the rest."""

from skatom.baseline.atomic import AtomicBaseline, count_species
from skatom.baseline.base import Baseline
from skatom.baseline.combine import (
    BaselineSum,
    as_baseline,
    check_virial,
    energies_of_elements,
    fit_baseline,
    less_baseline,
    named_parts,
)
from skatom.baseline.estimator import EstimatorBaseline
from skatom.baseline.repulsion import PairRepulsion

__all__ = [
    "AtomicBaseline",
    "Baseline",
    "BaselineSum",
    "EstimatorBaseline",
    "PairRepulsion",
    "as_baseline",
    "check_virial",
    "count_species",
    "energies_of_elements",
    "fit_baseline",
    "less_baseline",
    "named_parts",
]
