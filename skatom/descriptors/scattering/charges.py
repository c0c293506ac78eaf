"""Channels: the charge that an atom of each element carries in a pseudo-density."""

from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

# Elements before which a shell is full: the noble gases.
_NOBLE = (0, 2, 10, 18, 36, 54, 86)
# The last element of each block of d and f shells; beyond it those electrons are core.
_FILLED = {30: 10, 48: 10, 80: 24, 112: 24}


def valence(number):
    """Number of valence electrons: those beyond the last noble gas, without full d and f shells.

    Parameters
    ----------
    number : int
        Atomic number.

    Returns
    -------
    int
    """
    shells = max(full for full in _NOBLE if full < number)
    filled = [n for last, n in _FILLED.items() if shells < last < number]
    return number - shells - sum(filled)


NAMED = {
    "total": float,
    "valence": valence,
    "core": lambda number: number - valence(number),
    "kinetic": np.sqrt,
}
DEFAULT = ("species", "valence", "core", "kinetic")


def channel_table(channels, species):
    """Names of the channels and the charge of each species in them.

    Parameters
    ----------
    channels : "auto", str, sequence or mapping
        See `WaveletScattering`.
    species : ndarray of int
        The atomic numbers that occur.

    Returns
    -------
    names : list of str
    charges : ndarray of float, shape (n_channels, n_species)
    """
    names, rows = [], []
    for name, rule in _entries(channels, species):
        names.append(name)
        rows.append([_charge(name, rule, int(number)) for number in species])
    if len(set(names)) < len(names):
        raise ValueError(f"channels {names}: two have the same name; name them by a dict")
    charges = np.array(rows, dtype=float)
    empty = np.flatnonzero(charges.max(axis=1) == 0)
    if len(empty):
        symbols = ", ".join(chemical_symbols[z] for z in species)
        raise ValueError(
            f"channel {names[empty[0]]!r} gives no charge to any species of the data ({symbols}): "
            "remove it, or name one of these"
        )
    return names, charges


def _entries(channels, species):
    """(name, rule) of every channel; a rule maps an atomic number to a charge."""
    if isinstance(channels, Mapping):
        items = list(channels.items())
    else:
        if isinstance(channels, str) or callable(channels):
            channels = DEFAULT if channels == "auto" else (channels,)
        items = [(getattr(c, "__name__", c), c) for c in channels]
    for name, rule in items:
        if rule == "species":
            for number in species:
                yield chemical_symbols[number], _only(number)
        elif isinstance(rule, str) and rule in NAMED:
            yield name, NAMED[rule]
        elif isinstance(rule, str) and rule in atomic_numbers:
            yield name, _only(atomic_numbers[rule])
        elif callable(rule) or isinstance(rule, Mapping):
            yield name, rule
        else:
            raise ValueError(
                f"channel {rule!r} is none of 'species', 'total', 'valence', 'core', 'kinetic', "
                "the symbol of an element, a function of the atomic number, or a dict of charges"
            )


def _only(element):
    return lambda number: float(number) if number == element else 0.0


def _charge(name, rule, number):
    if isinstance(rule, Mapping):
        symbol = chemical_symbols[number]
        if symbol not in rule and number not in rule:
            raise ValueError(
                f"channel {name!r} has no charge for {symbol}: add it to the dict, as 0 if need be"
            )
        value = rule[symbol] if symbol in rule else rule[number]
    else:
        value = rule(number)
    if not (np.isscalar(value) and np.isfinite(value) and value >= 0):
        raise ValueError(
            f"channel {name!r} gives {chemical_symbols[number]} the charge {value!r}; charges must "
            "be finite and not negative"
        )
    return float(value)
