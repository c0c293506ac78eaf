"""Sums over the atoms of structures, element by element, on a device."""

import numpy as np

from skatom._device import device_of
from skatom.parallel import split_rows

# Numbers of atoms of the rows and of the columns in one piece.
_ROWS, _COLUMNS = 2048, 8192


def sums_of_atoms(matrix, X, Y, factors=None):
    """Σ_IJ k(q_I, q_J) over atoms of the same element, for all pairs of structures (n, m).

    ``factors``: of the sums of each element, 1 by default.
    """
    device = device_of(X.values)
    out = device.zeros(len(X), len(Y))
    of_x, of_y = (_by_species(batch, device) for batch in (X, Y))
    for z in of_x.keys() & of_y.keys():
        (x, rows), (y, columns) = of_x[z], of_y[z]
        factor = 1.0 if factors is None else factors[z]
        for some in split_rows(len(x), _ROWS):
            for others in split_rows(len(y), _COLUMNS):
                part = device.zeros(len(X), others.stop - others.start)
                part.index_add_(0, rows[some], matrix(x[some], y[others]))
                out.index_add_(1, columns[others], part, alpha=factor)
    return out


def _by_species(features, device):
    """The features of each species, and the structures of its atoms."""
    structures = np.repeat(np.arange(len(features)), features.n_atoms)
    found = {}
    for z in features.species:
        mine = np.flatnonzero(features.numbers == z)
        found[z] = features.values[device.tensor(mine)], device.tensor(structures[mine])
    return found
