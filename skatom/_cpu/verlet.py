"""Pairs of a list with a skin that are within the cutoff now."""

from skatom._numba import njit


@njit(cache=True, nogil=True)
def near_pairs(starts, indices, images, positions, cutoff, offsets, near, vectors):
    """Collect the pairs closer than the cutoff, in their order; returns their number.

    Parameters
    ----------
    starts, indices : ndarray of int
        The pairs of each centre, as in `NeighborList`, of a longer list.
    images : ndarray of float, shape (n_pairs, 3)
        The lattice vector from j to its image.
    positions : ndarray of float, shape (n_atoms, 3)
    cutoff : float
    offsets, near, vectors : ndarray
        Filled: where the pairs of each centre begin, their neighbours and vectors. The last two
        have room for all pairs, and one more.
    """
    n, square_of_cutoff = 0, cutoff * cutoff
    for i in range(len(starts) - 1):
        offsets[i] = n
        for p in range(starts[i], starts[i + 1]):
            j = indices[p]
            square = 0.0
            for x in range(3):
                component = positions[j, x] - positions[i, x] + images[p, x]
                vectors[n, x] = component
                square += component * component
            if square < square_of_cutoff:
                near[n] = j
                n += 1
    offsets[len(starts) - 1] = n
    return n
