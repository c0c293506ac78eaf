"""How many atoms of which elements there are in structures, formulas and dicts of amounts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase.data import atomic_numbers
from ase.formula import Formula

from skatom.elements import species_index
from skatom.structures import as_structures


def is_formulas(X):
    """Whether X is a list or array of chemical formulas, or of dicts of amounts by symbol."""
    listed = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.ndim == 1)
    return listed and len(X) > 0 and isinstance(X[0], str | Mapping)


def amounts_of(X):
    """Amounts of the elements in each composition, and their sorted atomic numbers.

    Parameters
    ----------
    X : Structures, list of ase.Atoms, or list of formulas or of dicts of amounts by symbol
        The n compositions.

    Returns
    -------
    amounts : ndarray of float, shape (n, n_species)
    species : ndarray of int, shape (n_species,)

    Raises
    ------
    ValueError
        If X is none of these, a formula cannot be read, or an amount is negative.
    """
    if not is_formulas(X):
        structures = as_structures(X)
        species = structures.species
        owners = np.repeat(np.arange(len(structures)), structures.n_atoms)
        amounts = np.zeros((len(structures), len(species)))
        np.add.at(amounts, (owners, species_index(structures, species)), 1.0)
        return amounts, species
    parts = [_amounts(k, item) for k, item in enumerate(X)]
    species = np.unique([z for part in parts for z in part])
    amounts = np.zeros((len(parts), len(species)))
    for row, part in zip(amounts, parts, strict=True):
        row[np.searchsorted(species, list(part))] = list(part.values())
    return amounts, species


def _amounts(k, item):
    """{atomic number: amount} of one formula or dict, without zeros."""
    try:
        given = Formula(item).count() if isinstance(item, str) else dict(item)
        found = {atomic_numbers[symbol]: float(amount) for symbol, amount in given.items()}
    except (ValueError, KeyError, TypeError, AssertionError):
        found = {0: 1.0}
    if 0 in found or not all(0 <= amount < np.inf for amount in found.values()):
        raise ValueError(
            f"composition {k}, {item!r}, cannot be read: give a formula such as 'BaTiO3', or a "
            "dict of amounts, none negative, such as {'Ba': 1, 'Ti': 1, 'O': 3}"
        )
    found = {z: amount for z, amount in found.items() if amount}
    if not found:
        raise ValueError(f"composition {k}, {item!r}, has no atoms: give a formula with elements")
    return found
