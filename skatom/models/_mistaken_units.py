"""Factors by which labels differ from those in eV and Å if their unit is another."""

from dataclasses import dataclass

import numpy as np
from ase import units

_KCAL, _KJ = units.mol / units.kcal, units.mol / units.kJ
# Ratios within this factor of that of a unit are that unit without doubt.
NAMED = 1.35
# How many times as large as in eV and Å labels are, by the mistake.
OF_ENERGIES = {
    "the energies are in kcal/mol": _KCAL,
    "the energies are in kJ/mol": _KJ,
    "the energies are in meV": 1e3,
    "the energies are in hartree": 1 / units.Hartree,
    "the energies are in rydberg": 1 / units.Rydberg,
    "the forces are in kcal/mol/Å": 1 / _KCAL,
    "the forces are in kJ/mol/Å": 1 / _KJ,
    "the forces are in hartree/bohr": units.Hartree / units.Bohr,
    "the forces are in meV/Å": 1e-3,
    "the forces are in rydberg/bohr": units.Rydberg / units.Bohr,
    "the forces are in hartree/Å": units.Hartree,
    "the forces are in eV/bohr, or energies in hartree and forces in hartree/bohr": 1 / units.Bohr,
}
OF_STRESSES = {
    "they are in GPa": 1 / units.GPa,
    "they are in kbar": 10 / units.GPa,
    "they are in bar": 1e4 / units.GPa,
    "they are in hartree/bohr³": units.Bohr**3 / units.Hartree,
    "they are in rydberg/bohr³": units.Bohr**3 / units.Rydberg,
}


@dataclass(frozen=True)
class Contradiction:
    """A sentence, and the signed ratio of labels to their expectation, or None."""

    text: str
    ratio: float = None


def near(ratio, factors, within):
    """The factors by name that are near a ratio."""
    reach = np.log(within)
    return {name: of for name, of in factors.items() if abs(np.log(ratio / of)) < reach}


def suspicion(factors, otherwise):
    """What may have happened."""
    if not factors:
        return f"{otherwise}; what is the unit?"
    names = " or ".join(f"{name} (factor {of:.3g})" for name, of in factors.items())
    return f"it looks as if {names}"
