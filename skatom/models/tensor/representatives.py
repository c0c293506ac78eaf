"""The selection of representative environments."""

import numpy as np
from ase.data import chemical_symbols

from skatom._warnings import warn
from skatom.kernels import Cosine
from skatom.models.sparse.fitting import number_of
from skatom.models.tensor.environments import rows_of_atoms
from skatom.parallel import serial_blas
from skatom.solvers.sampling import farthest_points, greedy_cur

# Number of atoms of a species, drawn at random, among which representatives are selected.
_CANDIDATES = 5000


def representative_atoms(features, used, n_sparse, selection, zeta, rng):
    """Indices of the representative environments, by species, counted over all structures.

    Parameters
    ----------
    features : TensorFeatures
        The structures.
    used : ndarray of bool, shape (n,)
        Structures whose atoms may be selected.
    n_sparse : int or dict of int by symbol
        Number of representatives of each species.
    selection : {"fps", "cur", "random"}, or array-like of int
        Method, or the indices.
    zeta : int
        Exponent of the kernel in whose metric points are far.
    rng : numpy.random.RandomState

    Returns
    -------
    ndarray of int
    """
    numbers = features.structures.numbers
    available = np.repeat(used, features.structures.n_atoms)
    if not isinstance(selection, str):
        return _given(selection, available)
    return np.concatenate([
        _of_species(
            features, np.flatnonzero(available & (numbers == z)), number_of(n_sparse, z), selection,
            zeta, rng,
        )
        for z in np.unique(numbers[available])
    ])  # fmt: skip


def _given(selection, available):
    selection = np.asarray(selection)
    if selection.ndim != 1 or not np.issubdtype(selection.dtype, np.integer) or not len(selection):
        raise ValueError(
            f"selection of shape {selection.shape} and type {selection.dtype} must be 'fps', "
            "'cur', 'random' or a list of indices of atoms"
        )
    if not 0 <= selection.min() <= selection.max() < len(available):
        raise ValueError(
            f"selection has indices from {selection.min()} to {selection.max()}, but there are "
            f"{len(available)} atoms"
        )
    if not available[selection].all():
        atom = selection[~available[selection]][0]
        raise ValueError(
            f"selection has the atom {atom}, whose structure has the weight 0: leave it out"
        )
    return np.unique(selection)


def _of_species(features, atoms, limit, selection, zeta, rng):
    symbol = chemical_symbols[features.structures.numbers[atoms[0]]]
    if limit > len(atoms):
        warn(
            f"n_sparse={limit}, but there are only {len(atoms)} environments of {symbol}: all of "
            "them represent themselves",
            UserWarning,
        )
        return atoms
    drawn = limit if selection == "random" else max(limit, _CANDIDATES)
    if drawn < len(atoms):
        atoms = np.sort(rng.choice(atoms, drawn, replace=False))
    if limit == len(atoms):
        return atoms
    (candidates,) = rows_of_atoms(features, atoms, lambda batch: (batch.invariants(),))
    with serial_blas():
        if selection == "cur":
            chosen = greedy_cur(candidates, limit)
        else:
            first = [rng.randint(len(candidates))]
            chosen, _ = farthest_points(candidates, limit, first, Cosine(zeta))
    if len(chosen) < limit:
        warn(
            f"n_sparse={limit}, but only {len(chosen)} environments of {symbol} differ from each "
            "other: these represent all",
            UserWarning,
        )
    return atoms[chosen]
