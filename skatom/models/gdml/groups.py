"""Groups of frames that are alike."""

import numpy as np

# Steps of the power iteration for a principal axis, which need not be exact.
_STEPS = 10


def alike_groups(values, pair_permutations, size):
    """Cut frames into groups of nearly equal size, at most ``size``, that are alike.

    Halves of frames are cut again across their longest principal axis, in the space of descriptors
    averaged over the symmetry group.

    Parameters
    ----------
    values : ndarray of float, shape (M, D)
    pair_permutations : ndarray of int, shape (S, D)
    size : int

    Returns
    -------
    list of ndarray of int, which together are all frames
    """
    symmetric = np.mean([values[:, pairs] for pairs in pair_permutations], axis=0)
    return _cut(symmetric, np.arange(len(values)), -(-len(values) // size))


def _cut(values, frames, n_groups):
    if n_groups == 1:
        return [frames]
    left = n_groups // 2
    cut = round(len(frames) * left / n_groups)
    order = frames[np.argsort(_along_principal_axis(values[frames]), kind="stable")]
    return [*_cut(values, order[:cut], left), *_cut(values, order[cut:], n_groups - left)]


def _along_principal_axis(values):
    centered = values - values.mean(axis=0)
    axis = centered[np.einsum("ip,ip->i", centered, centered).argmax()]
    for _ in range(_STEPS):
        axis = (centered @ axis) @ centered
        axis = axis / (np.linalg.norm(axis) or 1.0)
    return centered @ axis
