"""Errors of predictions for every label, and scorers made of them.

Errors are in the units of `skatom.properties`: eV, eV/Å, eV/Å³, e·Å, Å³, e. The reference is a
`Targets` or an array. Structures that a `Targets` marks as not labelled (NaN throughout) are left
out of the mean.
"""

from skatom.metrics.calibration import calibration, coverage
from skatom.metrics.energy_force_errors import (
    energy_mae,
    energy_rmse,
    force_angle_error,
    force_mae,
    force_magnitude_error,
    force_rmse,
)
from skatom.metrics.evaluation import evaluate
from skatom.metrics.scorers import (
    get_scorer,
    get_scorer_names,
    neg_charges_mae,
    neg_charges_rmse,
    neg_dipole_mae,
    neg_dipole_norm_mae,
    neg_dipole_norm_rmse,
    neg_dipole_rmse,
    neg_energy_mae,
    neg_energy_rmse,
    neg_force_mae,
    neg_force_rmse,
    neg_polarizability_mae,
    neg_polarizability_rmse,
    neg_stress_mae,
    neg_stress_rmse,
)
from skatom.metrics.tensor_errors import (
    charges_mae,
    charges_rmse,
    dipole_mae,
    dipole_norm_mae,
    dipole_norm_rmse,
    dipole_rmse,
    polarizability_mae,
    polarizability_rmse,
    stress_mae,
    stress_rmse,
)

__all__ = [
    "calibration",
    "charges_mae",
    "charges_rmse",
    "coverage",
    "dipole_mae",
    "dipole_norm_mae",
    "dipole_norm_rmse",
    "dipole_rmse",
    "energy_mae",
    "energy_rmse",
    "evaluate",
    "force_angle_error",
    "force_mae",
    "force_magnitude_error",
    "force_rmse",
    "get_scorer",
    "get_scorer_names",
    "neg_charges_mae",
    "neg_charges_rmse",
    "neg_dipole_mae",
    "neg_dipole_norm_mae",
    "neg_dipole_norm_rmse",
    "neg_dipole_rmse",
    "neg_energy_mae",
    "neg_energy_rmse",
    "neg_force_mae",
    "neg_force_rmse",
    "neg_polarizability_mae",
    "neg_polarizability_rmse",
    "neg_stress_mae",
    "neg_stress_rmse",
    "polarizability_mae",
    "polarizability_rmse",
    "stress_mae",
    "stress_rmse",
]
