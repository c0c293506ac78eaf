"""Labels and units of the errors that `skatom.metrics.evaluate` gives, for tables."""

from typing import NamedTuple

from skatom._units import unit_factor

_KCAL = 1.0 / unit_factor("kcal/mol", "energy")
_GPA = 1.0 / unit_factor("GPa", "stress")
_DEBYE = 1.0 / unit_factor("D", "dipole")
_BOHR3 = 1.0 / unit_factor("bohr³", "polarizability")


class FigureLabel(NamedTuple):
    """How an error is shown: its name, its unit and a second unit, with factors to both."""

    text: str
    unit: str
    factor: float = 1.0
    other: str | None = None
    other_factor: float | None = None


LABELS_OF_FIGURES = {
    "energy_mae": FigureLabel("energy MAE", "eV", 1.0, "kcal/mol", _KCAL),
    "energy_rmse": FigureLabel("energy RMSE", "eV", 1.0, "kcal/mol", _KCAL),
    "energy_mae_per_atom": FigureLabel("energy MAE per atom", "eV", 1.0, "kcal/mol", _KCAL),
    "energy_rmse_per_atom": FigureLabel("energy RMSE per atom", "eV", 1.0, "kcal/mol", _KCAL),
    "force_mae": FigureLabel("force MAE, components", "eV/Å", 1.0, "kcal/mol/Å", _KCAL),
    "force_rmse": FigureLabel("force RMSE, components", "eV/Å", 1.0, "kcal/mol/Å", _KCAL),
    "force_magnitude_error": FigureLabel("force MAE, magnitudes", "eV/Å", 1.0, "kcal/mol/Å", _KCAL),
    "force_angle_error": FigureLabel("force angle, mean", "degrees", 180.0),
    "stress_mae": FigureLabel("stress MAE, components", "eV/Å³", 1.0, "GPa", _GPA),
    "stress_rmse": FigureLabel("stress RMSE, components", "eV/Å³", 1.0, "GPa", _GPA),
    "dipole_mae": FigureLabel("dipole MAE, components", "e·Å", 1.0, "D", _DEBYE),
    "dipole_rmse": FigureLabel("dipole RMSE, components", "e·Å", 1.0, "D", _DEBYE),
    "polarizability_mae": FigureLabel("polarisability MAE", "Å³", 1.0, "bohr³", _BOHR3),
    "polarizability_rmse": FigureLabel("polarisability RMSE", "Å³", 1.0, "bohr³", _BOHR3),
    "dipole_norm_mae": FigureLabel("dipole length MAE", "e·Å", 1.0, "D", _DEBYE),
    "dipole_norm_rmse": FigureLabel("dipole length RMSE", "e·Å", 1.0, "D", _DEBYE),
    "charges_mae": FigureLabel("charge MAE", "e"),
    "charges_rmse": FigureLabel("charge RMSE", "e"),
}
