"""From derivatives along pair vectors to derivatives along atoms and strains."""

import numpy as np

from skatom._numba import njit
from skatom.parallel import run_in_threads

# Atoms whose pairs are added by one thread at least.
_SMALLEST = 1024


def collect(starts, indices, vectors, gradients, offsets):
    """dE/dR_k (n_atoms, 3) and dE/dstrain (n, 3, 3) from dE/dr_ij (n_pairs, 3).

    r_ij = r_j - r_i, so a pair pulls on j with its gradient and on i with the opposite; under the
    strain r -> (1 + e) r it changes by e r_ij. Threads share structures, not pairs: the order of a
    sum does not depend on their number.
    """
    on_atoms = np.zeros((len(starts) - 1, 3))
    on_strain = np.zeros((len(offsets) - 1, 3, 3))
    n = len(on_strain)
    run_in_threads(
        _collect, n, starts, indices, vectors, gradients, offsets, on_atoms, on_strain,
        smallest=max(1, _SMALLEST * n // max(1, len(on_atoms))),
    )  # fmt: skip
    return on_atoms, on_strain


@njit(cache=True, nogil=True)
def _collect(first, last, starts, indices, vectors, gradients, offsets, on_atoms, on_strain):
    """`collect` for the structures first … last - 1."""
    for s in range(first, last):
        for i in range(offsets[s], offsets[s + 1]):
            for k in range(starts[i], starts[i + 1]):
                j = indices[k]
                for a in range(3):
                    g = gradients[k, a]
                    on_atoms[j, a] += g
                    on_atoms[i, a] -= g
                    for b in range(3):
                        on_strain[s, a, b] += g * vectors[k, b]


@njit(cache=True, nogil=True)
def collect_jacobian(centers, indices, vectors, jacobian, weight, columns, on_atoms, on_strain):
    """Add weight · Σ_i d x_i/dR_k (n_atoms, 3, …) and d/dstrain (3, 3, …).

    ``jacobian`` (n_pairs, 3, n_features): d x_i / dr_ij of the pairs of one structure;
    ``columns`` (n_pairs,): the first column of the sum to which the features of the centre add.
    """
    # with three axes known to the compiler, it would make fifteen copies of the inner loops
    n_axes, n_features = jacobian.shape[1:]
    for k in range(len(centers)):
        i, j, c = centers[k], indices[k], columns[k]
        for a in range(n_axes):
            row, here, there = jacobian[k, a], on_atoms[i, a, c:], on_atoms[j, a, c:]
            for f in range(n_features):
                there[f] += weight * row[f]
            for f in range(n_features):
                here[f] -= weight * row[f]
            for b in range(n_axes):
                strain, factor = on_strain[a, b, c:], weight * vectors[k, b]
                for f in range(n_features):
                    strain[f] += factor * row[f]
