"""What the commands print."""

import sys
import textwrap
from pathlib import Path

# key of skatom.metrics.evaluate -> label in the table, unit, and a second unit of the property
_ROWS = {
    "energy_mae": ("energy MAE", "eV", "kcal/mol", "energy"),
    "energy_rmse": ("energy RMSE", "eV", "kcal/mol", "energy"),
    "energy_mae_per_atom": ("energy MAE per atom", "eV", "kcal/mol", "energy"),
    "energy_rmse_per_atom": ("energy RMSE per atom", "eV", "kcal/mol", "energy"),
    "force_mae": ("force MAE, components", "eV/Å", "kcal/mol/Å", "forces"),
    "force_rmse": ("force RMSE, components", "eV/Å", "kcal/mol/Å", "forces"),
    "force_magnitude_error": ("force MAE, magnitudes", "eV/Å", "kcal/mol/Å", "forces"),
    "force_angle_error": ("force angle, mean", "degrees", None, None),
    "stress_mae": ("stress MAE, components", "eV/Å³", "GPa", "stress"),
    "stress_rmse": ("stress RMSE, components", "eV/Å³", "GPa", "stress"),
    "dipole_mae": ("dipole MAE, components", "e·Å", "D", "dipole"),
    "dipole_rmse": ("dipole RMSE, components", "e·Å", "D", "dipole"),
    "polarizability_mae": ("polarisability MAE", "Å³", "bohr³", "polarizability"),
    "polarizability_rmse": ("polarisability RMSE", "Å³", "bohr³", "polarizability"),
}
# What figures without a property are multiplied by: angles are fractions of 180°.
_DEGREES = 180.0
_MOST_PERMUTATIONS = 23


def warn(message):
    """Print a warning as one line."""
    print(f"skatom: warning: {one_line(message)}", file=sys.stderr)


def one_line(error):
    """The message of an error as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def describe(name, data):
    """Print what a file has."""
    from ase.symbols import Symbols

    formula = Symbols(data.structures[:1].numbers).formula.format("hill")
    print(f"Data      {name}: {len(data.structures)} frames, the first of {formula}")
    print(f"          with {', '.join(data.targets.names)}")


def print_errors(model, data, test, what):
    """Print a table of the errors of a model."""
    from skatom._units import unit_factor
    from skatom.metrics import evaluate

    figures = evaluate(model, data.structures[test], data.targets[test])
    print(f"\nErrors on {len(test)} {what}")
    for name, (label, unit, other, of) in _ROWS.items():
        if name not in figures:
            continue
        value, second = figures[name], ""
        if other is None:
            value *= _DEGREES
        else:
            second = f"{value / unit_factor(other, of):12.4g} {other}"
        print(f"  {label:24}{value:10.4g} {unit:8}{second}".rstrip())
    print()


def describe_symmetry(model):
    """The permutations found, as cycles such as (H6 H7 H8)."""
    from ase.data import chemical_symbols

    labels = [f"{chemical_symbols[z]}{a}" for a, z in enumerate(model.numbers_)]
    cycles = ["".join(_cycles(permutation, labels)) for permutation in model.permutations_[1:]]
    print(f"Symmetry  {len(model.permutations_)} permutations of like atoms, counted from 0:")
    text = ", ".join(["identity", *cycles[:_MOST_PERMUTATIONS]])
    text += ", …" if len(cycles) > _MOST_PERMUTATIONS else ""
    print(textwrap.indent(textwrap.fill(text, 80, break_on_hyphens=False), 10 * " "))


def _cycles(permutation, labels):
    left = set(range(len(labels)))
    while left:
        atom, cycle = min(left), []
        while atom in left:
            left.remove(atom)
            cycle.append(labels[atom])
            atom = int(permutation[atom])
        if len(cycle) > 1:
            yield f"({' '.join(cycle)})"


def save(model, path):
    """Save a model, and say so."""
    from skatom._persistence import save_model

    save_model(model, path)
    print(f"Saved     {path}: the model, {Path(path).stat().st_size / 1e6:.2f} MB")
