"""Lengths of structures that determine the scales of wavelets."""

import numpy as np

from skatom.neighbors import neighbor_list

# first radius in which the nearest pair of atoms is looked for, Å, and the last
_FIRST_RADIUS, _LAST_RADIUS = 1.5, 50.0
# extent of a single atom, Å
_COINCIDENT = 1e-3
# radius in which atoms at the same place are looked for, Å
_SAME_PLACE = 1e-2


def check_places(structures):
    """Raise a ValueError if two atoms are at the same place: maps do not need their distance."""
    neighbor_list(structures, _SAME_PLACE)


def nearest_distance(structures):
    """The smallest distance between two atoms, or between an atom and its image."""
    radius = _FIRST_RADIUS
    while radius < _LAST_RADIUS:
        pairs = neighbor_list(structures, radius)
        if len(pairs):
            return float(np.linalg.norm(pairs.vectors, axis=1).min())
        radius *= 2
    raise ValueError(
        'beta="auto" needs two atoms in one structure, but the nearest are further apart than '
        f"{_LAST_RADIUS:g} Å: give beta in Å"
    )


def half_edge(structures):
    """Half the narrowest cell, or where there is none half the largest extent of a molecule."""
    periodic = structures.pbc.all(axis=1)
    if periodic.any():
        return 0.5 * float(widths(structures.cells[periodic]).min())
    starts = structures.offsets[:-1]
    extents = np.maximum.reduceat(structures.positions, starts) - np.minimum.reduceat(
        structures.positions, starts
    )
    return max(0.5 * float(extents.max()), _COINCIDENT)


def widths(cells):
    """The smallest distance (n,) between opposite faces of cells (n, 3, 3)."""
    return 1 / np.linalg.norm(np.linalg.inv(cells), axis=1).max(axis=1)
