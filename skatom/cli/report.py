"""What the commands print."""

import sys
import textwrap
from pathlib import Path

_KCAL = 23.060548  # kcal/mol in an eV
_GPA = 160.21766  # GPa in an eV/Å³
_DEBYE = 4.8032047  # D in an e·Å
_BOHR3 = 6.7483346  # bohr³ in an Å³
# key of skatom.metrics.evaluate -> label in the table, unit, conversion factor, and the same two
# for a second unit
_ROWS = {
    "energy_mae": ("energy MAE", "eV", 1.0, "kcal/mol", _KCAL),
    "energy_rmse": ("energy RMSE", "eV", 1.0, "kcal/mol", _KCAL),
    "energy_mae_per_atom": ("energy MAE per atom", "eV", 1.0, "kcal/mol", _KCAL),
    "energy_rmse_per_atom": ("energy RMSE per atom", "eV", 1.0, "kcal/mol", _KCAL),
    "force_mae": ("force MAE, components", "eV/Å", 1.0, "kcal/mol/Å", _KCAL),
    "force_rmse": ("force RMSE, components", "eV/Å", 1.0, "kcal/mol/Å", _KCAL),
    "force_magnitude_error": ("force MAE, magnitudes", "eV/Å", 1.0, "kcal/mol/Å", _KCAL),
    "force_angle_error": ("force angle, mean", "degrees", 180.0, None, None),
    "stress_mae": ("stress MAE, components", "eV/Å³", 1.0, "GPa", _GPA),
    "stress_rmse": ("stress RMSE, components", "eV/Å³", 1.0, "GPa", _GPA),
    "dipole_mae": ("dipole MAE, components", "e·Å", 1.0, "D", _DEBYE),
    "dipole_rmse": ("dipole RMSE, components", "e·Å", 1.0, "D", _DEBYE),
    "polarizability_mae": ("polarisability MAE", "Å³", 1.0, "bohr³", _BOHR3),
    "polarizability_rmse": ("polarisability RMSE", "Å³", 1.0, "bohr³", _BOHR3),
}
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
    from skatom.metrics import evaluate

    figures = evaluate(model, data.structures[test], data.targets[test])
    print(f"\nErrors on {len(test)} {what}")
    for name, (label, unit, factor, other, other_factor) in _ROWS.items():
        if name in figures:
            second = f"{figures[name] * other_factor:12.4g} {other}" if other else ""
            print(f"  {label:24}{figures[name] * factor:10.4g} {unit:8}{second}".rstrip())
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
