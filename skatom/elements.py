"""The periodic table, and errors about elements that a fitted object does not know."""

import numpy as np
from ase.data import chemical_symbols

from skatom.structures import structure_of

NOBLE_GASES = np.array([0, 2, 10, 18, 36, 54, 86, 118])


def period(z):
    """Row of the periodic table, from 1."""
    return int(np.searchsorted(NOBLE_GASES, z))


def group(z):
    """Column of the periodic table, 1 to 18; 3 for lanthanides and actinides."""
    begin, end = NOBLE_GASES[period(z) - 1 : period(z) + 1]
    if z - begin <= 2 and z != 2:
        return int(z - begin)
    return int(max(3, 18 - (end - z)))


def valence_electrons(z):
    """Electrons outside the last noble gas in s, p, d and f shells, by Madelung's rule."""
    row = period(z)
    left, found = int(z - NOBLE_GASES[row - 1]), {}
    for shell, room, first in (("s", 2, 1), ("f", 14, 6), ("d", 10, 4), ("p", 6, 2)):
        found[shell] = min(left, room) if row >= first else 0
        left -= found[shell]
    return tuple(found[shell] for shell in "spdf")


def symbols(numbers):
    """Symbols of atomic numbers as a text, such as ``"H, C, O"``."""
    return ", ".join(chemical_symbols[z] for z in numbers)


def species_index(structures, species):
    """Index of every atom's element among the species.

    Parameters
    ----------
    structures : Structures
    species : ndarray of int, shape (n_species,)
        Sorted atomic numbers seen in ``fit``.

    Returns
    -------
    ndarray of int, shape (n_atoms,)

    Raises
    ------
    ValueError
        If an element was not seen in ``fit``; the message names the first such structure.
    """
    index = np.searchsorted(species, structures.numbers)
    known = np.take(species, index, mode="clip") == structures.numbers
    if not known.all():
        atom = int(np.argmin(known))
        raise ValueError(
            f"structure {structure_of(structures.offsets, atom)} contains "
            f"{chemical_symbols[structures.numbers[atom]]}, which was not in the structures given "
            f"to fit (species {symbols(species)}): fit on structures that contain every species"
        )
    return index
