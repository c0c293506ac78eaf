"""Units by name: factors to eV, Å and e, and dimensions."""

import re
from dataclasses import dataclass

from ase import units

# name, in lower case -> factor and powers of (energy, length, charge, amount of substance)
_ENERGY, _LENGTH, _CHARGE, _AMOUNT = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)
_PRESSURE, _MOLAR_ENERGY, _DIPOLE = (1, -3, 0, 0), (1, 0, 0, 1), (0, 1, 1, 0)
_UNITS = {
    "ev": (1.0, _ENERGY),
    "mev": (1e-3, _ENERGY),
    "hartree": (units.Hartree, _ENERGY),
    "ha": (units.Hartree, _ENERGY),
    "eh": (units.Hartree, _ENERGY),
    "mha": (1e-3 * units.Hartree, _ENERGY),
    "ry": (units.Rydberg, _ENERGY),
    "rydberg": (units.Rydberg, _ENERGY),
    "kcal": (units.kcal / units.mol, _MOLAR_ENERGY),
    "kj": (units.kJ / units.mol, _MOLAR_ENERGY),
    "mol": (1.0, _AMOUNT),
    "ang": (1.0, _LENGTH),
    "angstrom": (1.0, _LENGTH),
    "å": (1.0, _LENGTH),
    "a": (1.0, _LENGTH),
    "bohr": (units.Bohr, _LENGTH),
    "a0": (units.Bohr, _LENGTH),
    "nm": (10.0, _LENGTH),
    "pm": (0.01, _LENGTH),
    "gpa": (units.GPa, _PRESSURE),
    "mpa": (1e-3 * units.GPa, _PRESSURE),
    "pa": (units.Pascal, _PRESSURE),
    "kbar": (1e3 * units.bar, _PRESSURE),
    "bar": (units.bar, _PRESSURE),
    "e": (1.0, _CHARGE),
    "debye": (units.Debye, _DIPOLE),
    "d": (units.Debye, _DIPOLE),
}
_ALIASES = {"cm^-1": units.invcm, "1/cm": units.invcm}
# km/mol for a squared slope of a dipole along a normal coordinate of 1 e²/amu
INFRARED_INTENSITY = units._Nav * units._e**2 / (12 * units._eps0 * units._c**2 * units._amu) / 1000
_FACTOR = re.compile(r"(a0|[^\W\d]+)(?:(?:\^|\*\*)?(-?\d+))?$")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


@dataclass(frozen=True)
class Dimension:
    """What a property is, as powers of (energy, length, charge, amount), and units of it."""

    powers: tuple
    what: str
    examples: str


DIMENSIONS = {
    "energy": Dimension(_ENERGY, "an energy", "eV, meV, Hartree, Ry, kcal/mol, kJ/mol"),
    "forces": Dimension(
        (1, -1, 0, 0), "energy per length", "eV/Ang, Ha/bohr, Ry/bohr, kcal/mol/Ang, kJ/mol/nm"
    ),
    "stress": Dimension(
        _PRESSURE, "energy per volume", "eV/Ang^3, GPa, kbar, Ha/bohr^3, kcal/mol/Ang^3"
    ),
    "virial": Dimension(_ENERGY, "an energy", "eV, Ha, Ry, kcal/mol"),
    "dipole": Dimension(_DIPOLE, "charge times length", "e*Ang, Debye, e*bohr"),
    "polarizability": Dimension((0, 3, 0, 0), "a volume", "Ang^3, bohr^3"),
    "dipole_norm": Dimension(_DIPOLE, "charge times length", "e*Ang, Debye, e*bohr"),
    "charges": Dimension(_CHARGE, "a charge", "e"),
    "positions": Dimension(_LENGTH, "a length", "Ang, Bohr, nm"),
    "lattice": Dimension(_LENGTH, "a length", "Ang, Bohr, nm"),
}


def unit_factor(text, of):
    """The factor to skatom's unit, by which values in a unit are multiplied.

    Parameters
    ----------
    text : str
        The unit, such as ``"kcal/mol/Ang"``, ``"kbar"`` or ``"Ha/bohr^3"``; a minus in front
        changes the sign.
    of : str
        The property, a key of `DIMENSIONS`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the unit is unknown, or a unit of something else.
    """
    name = text.strip()
    sign = -1.0 if name.startswith(("-", "−")) else 1.0
    name = name.lstrip("-−+ ")
    wanted = DIMENSIONS[of]
    factor, powers = _parsed(name, text, wanted)
    if powers != wanted.powers:
        raise ValueError(
            f"{text!r} is not a unit of {of}, which is {wanted.what}: give one such as "
            f"{wanted.examples}"
        )
    return sign * factor


def _parsed(name, text, wanted):
    alias = _ALIASES.get(name.casefold())
    if alias is not None:
        return alias, _ENERGY
    # every factor with its sign: "kcal/mol/Ang" is kcal · mol⁻¹ · Ang⁻¹
    parts = re.split(r"([/·* ])", re.sub(r"\*\*", "^", re.sub(r"\s*([/·*])\s*", r"\1", name)))
    factor, powers = 1.0, (0, 0, 0, 0)
    for divided, part in zip(["*", *parts[1::2]], parts[::2], strict=True):
        match = _FACTOR.match(part.translate(_SUPERSCRIPTS))
        known = match and _UNITS.get(match[1].casefold())
        if known is None:
            raise ValueError(
                f"unknown unit {text!r}: give one such as {wanted.examples}, or a number by which "
                "to multiply"
            )
        power = int(match[2] or 1) * (-1 if divided == "/" else 1)
        factor *= known[0] ** power
        powers = tuple(p + power * q for p, q in zip(powers, known[1], strict=True))
    return factor, powers
