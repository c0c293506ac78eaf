"""The selection of representative environments, and their prior."""

import warnings

import numpy as np
from ase.data import chemical_symbols
from scipy.linalg import LinAlgError, cholesky

from skatom._device import on_host
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.parallel import serial_blas
from skatom.solvers.sampling import farthest_points, greedy_cur

# Share of the mean of its diagonal that is added to K_MM, and the largest share that is tried.
_JITTER, _LARGEST_JITTER = 1e-12, 1e-6
# Number of structures whose features are computed at once to keep those of a few atoms.
_BATCH = 16


def choose_representatives(source, number, kernel, limit, selection, n_candidates, rng):
    """Features of the representative environments of one species.

    Parameters
    ----------
    source : AtomicFeatures, or (Structures, fitted descriptor)
    number : int
        Atomic number.
    kernel : Kernel
    limit : int
        Number of representatives.
    selection : {"fps", "cur", "random"}, or array-like of int
        Method, or indices of atoms.
    n_candidates : int
        Number of atoms, drawn at random, among which they are selected.
    rng : numpy.random.RandomState

    Returns
    -------
    ndarray of float, shape (M, n_features)
    """
    numbers = (source if isinstance(source, AtomicFeatures) else source[0]).numbers
    atoms = np.flatnonzero(numbers == number)
    if not isinstance(selection, str):
        return _features_of(source, _given(selection, numbers, atoms))
    if limit > len(atoms):
        warnings.warn(
            f"n_sparse={limit}, but there are only {len(atoms)} environments of "
            f"{chemical_symbols[number]}: all of them represent themselves",
            UserWarning,
            stacklevel=7,
        )
        limit = len(atoms)
    n_drawn = limit if selection == "random" else max(limit, n_candidates)
    if n_drawn < len(atoms):
        atoms = np.sort(rng.choice(atoms, n_drawn, replace=False))
    candidates = _features_of(source, atoms)
    if limit == len(candidates) or selection == "random":
        return candidates
    with serial_blas():
        if selection == "cur":
            chosen = greedy_cur(candidates, limit)
        else:
            chosen, _ = farthest_points(candidates, limit, [rng.randint(len(candidates))], kernel)
    if len(chosen) < limit:
        warnings.warn(
            f"n_sparse={limit}, but only {len(chosen)} environments of "
            f"{chemical_symbols[number]} differ from each other: these represent all",
            UserWarning,
            stacklevel=7,
        )
    return candidates[chosen]


def _given(selection, numbers, atoms):
    """The given atoms that are of this species."""
    selection = np.asarray(selection)
    if selection.ndim != 1 or not np.issubdtype(selection.dtype, np.integer):
        raise ValueError(
            f"selection of shape {selection.shape} and type {selection.dtype} must be 'fps', "
            "'cur', 'random' or a list of indices of atoms"
        )
    if len(selection) and not 0 <= selection.min() <= selection.max() < len(numbers):
        raise ValueError(
            f"selection has indices from {selection.min()} to {selection.max()}, but there are "
            f"{len(numbers)} atoms"
        )
    return selection[np.isin(selection, atoms)]


def _features_of(source, atoms):
    """Features of some atoms, computed for a few structures at a time."""
    if isinstance(source, AtomicFeatures):
        return on_host(source.values[atoms])
    structures, descriptor = source
    owners = np.searchsorted(structures.offsets, atoms, side="right") - 1
    parts = np.empty((len(atoms), descriptor.n_features_out_))
    needed = np.unique(owners)
    for start in range(0, len(needed), _BATCH):
        batch = needed[start : start + _BATCH]
        features = descriptor.transform(structures[batch])
        mine = np.flatnonzero(np.isin(owners, batch))
        place = np.searchsorted(batch, owners[mine])
        rows = features.offsets[place] + atoms[mine] - structures.offsets[owners[mine]]
        parts[mine] = on_host(features.values[rows])
    return parts


def prior_root(block):
    """Lower Cholesky factor of K_MM of a block, with as small a jitter as possible."""
    matrix = block.values(block.vectors)
    diagonal, jitter = matrix.diagonal().copy(), _JITTER
    while jitter <= _LARGEST_JITTER:
        np.fill_diagonal(matrix, diagonal + jitter * diagonal.mean())
        try:
            with serial_blas():  # the matrix is small: threads would only wait
                factor = cholesky(matrix, lower=True)
        except LinAlgError:
            jitter *= 10
            continue
        if jitter > _JITTER:
            warnings.warn(
                f"representative environments of {chemical_symbols[block.number]} are nearly "
                f"alike: {jitter:.0e} of its mean was added to the diagonal of their kernel "
                "matrix; reduce n_sparse",
                UserWarning,
                stacklevel=7,
            )
        return factor
    raise LinAlgError(
        f"the kernel matrix of {len(matrix)} representative environments of "
        f"{chemical_symbols[block.number]} is not positive definite: {block.kernel} is no kernel "
        "of these features"
    )
