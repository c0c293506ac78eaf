"""The selection of representative environments, and their prior."""

from collections import deque

import numpy as np
from scipy.linalg import LinAlgError, cholesky

from skatom._warnings import warn
from skatom.models.sparse.centers import WHOLE, described
from skatom.parallel import serial_blas, split_rows, threads_over_blas
from skatom.solvers.sampling import farthest_points, greedy_cur

# Share of the mean of its diagonal that is added to K_MM, and the largest share that is tried.
_JITTER, _LARGEST_JITTER = 1e-12, 1e-6
# Rows of the kernel matrix that a thread makes at once.
_ROWS = 64


def choose_representatives(source, number, kernel, limit, selection, n_candidates, rng):
    """Features of the representative environments of one species, or structures.

    Parameters
    ----------
    source : CenterSource
    number : int
        Atomic number, or `WHOLE`.
    kernel : Kernel
    limit : int
        Number of representatives.
    selection : {"fps", "cur", "random"}, or array-like of int
        Method, or indices of centres.
    n_candidates : int
        Number of centres, drawn at random, among which they are selected.
    rng : numpy.random.RandomState

    Returns
    -------
    ndarray of float, shape (M, n_features)
    """
    mine = np.flatnonzero(source.numbers == number)
    if not isinstance(selection, str):
        return source.values(_given(selection, source.numbers, mine))
    if limit > len(mine):
        warn(
            f"n_sparse={limit}, but there are only {len(mine)} {described(number)}: all of them "
            "represent themselves",
            UserWarning,
        )
        limit = len(mine)
    n_drawn = limit if selection == "random" else max(limit, n_candidates)
    if n_drawn < len(mine):
        mine = np.sort(rng.choice(mine, n_drawn, replace=False))
    candidates = source.values(mine)
    if limit == len(candidates) or selection == "random":
        return candidates
    with serial_blas():
        if selection == "cur":
            chosen = greedy_cur(candidates, limit)
        else:
            points, begin = source.beside(candidates, mine), [rng.randint(len(candidates))]
            chosen, _ = farthest_points(points, limit, begin, kernel)
    if len(chosen) < limit:
        warn(
            f"n_sparse={limit}, but only {len(chosen)} {described(number)} differ from each other: "
            "these represent all",
            UserWarning,
        )
    return candidates[chosen]


def _given(selection, numbers, mine):
    """The given centres that are of this species."""
    selection = np.asarray(selection)
    if selection.ndim != 1 or not np.issubdtype(selection.dtype, np.integer):
        raise ValueError(
            f"selection of shape {selection.shape} and type {selection.dtype} must be 'fps', "
            "'cur', 'random' or a list of indices of atoms, or of structures for their features"
        )
    if len(selection) and not 0 <= selection.min() <= selection.max() < len(numbers):
        raise ValueError(
            f"selection has indices from {selection.min()} to {selection.max()}, but there are "
            f"{len(numbers)} {'structures' if WHOLE in numbers else 'atoms'}"
        )
    return selection[np.isin(selection, mine)]


def prior_root(block):
    """Lower Cholesky factor of K_MM of a block, with as small a jitter as possible."""
    matrix = np.empty((len(block.vectors), len(block.vectors)))

    def fill(rows):
        matrix[rows] = block.values(block.vectors[rows])

    # threads of BLAS would wait for more work, and take time from those that learn
    with threads_over_blas() as team:
        deque(team.map(fill, split_rows(len(matrix), _ROWS)), 0)
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
            warn(
                f"representative {described(block.number)} are nearly alike: {jitter:.0e} of its "
                "mean was added to the diagonal of their kernel matrix; reduce n_sparse",
                UserWarning,
            )
        return factor
    raise LinAlgError(
        f"the kernel matrix of {len(matrix)} representative {described(block.number)} is not "
        f"positive definite: {block.kernel} is no kernel of these features"
    )
