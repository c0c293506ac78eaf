"""What the density coefficients of training structures have in common, and what is learnt from it.

    C[l, a, n, n'] = Σ_i Σ_m c_i[a, n, lm] c_i[a, n', lm]      G[a, b] = Σ_i c_i[a] · c_i[b]

over all centres i: the covariance of the radial functions of each species a and degree l, and the
Gram matrix of the species. Both are sums over m and all else that a rotation mixes, so they do not
depend on how structures are turned.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from skatom.descriptors._cpu.density import coefficients
from skatom.memory import check_memory
from skatom.neighbors import neighbor_list
from skatom.parallel import available_threads, split_rows, threads_over_blas, tree_reduce
from skatom.structures import groups_by_size

# Atoms whose neighbours are found together, and the coefficients of one piece of them, in bytes.
_BATCH = 4096
_PIECE_BYTES = 2**22
# Directions without variance take this fraction of the largest variance.
_TIE = 1e-12


@dataclass
class DensityCovariance:
    """Sums over centres, which add up.

    Parameters
    ----------
    radial : ndarray of float, shape (l_max + 1, n_species, n_max, n_max)
        C.
    species : ndarray of float, shape (n_species, n_species)
        G.
    """

    radial: np.ndarray
    species: np.ndarray

    def merge(self, other):
        """The sums over the centres of both."""
        return DensityCovariance(self.radial + other.radial, self.species + other.species)


def density_covariance(structures, species, density):
    """The covariance of the density coefficients of all atoms.

    Parameters
    ----------
    structures : Structures
    species : ndarray of int, shape (n_atoms,)
        Index of the species of every atom.
    density : Density

    Returns
    -------
    DensityCovariance
    """
    n_species, n_lm = len(density.table_of), (density.l_max + 1) ** 2
    of_sum = 8 * ((density.l_max + 1) * n_species * density.n_max**2 + n_species**2)
    of_atom = 8 * n_lm * n_species * density.n_max
    size = int(np.clip(_PIECE_BYTES // of_atom, 16, 512))
    check_memory(
        available_threads() * 3.0 * size * of_atom + (available_threads() + 20.0) * of_sum,
        f"the covariance of the density of {n_species} species in {density.n_max} radial functions",
        "reduce n_primitives or l_max",
    )
    with threads_over_blas() as team:
        return tree_reduce(_parts(structures, species, density, size, team))


def _parts(structures, species, density, size, team):
    """The covariances of pieces of ``size`` atoms of all structures."""
    for batch in groups_by_size(structures.offsets, _BATCH):
        pairs = neighbor_list(structures[batch], density.cutoff)
        own = species[structures.offsets[batch.start] : structures.offsets[batch.stop]]
        piece = partial(_piece, pairs, own, own[pairs.indices], density)
        yield from team.map(piece, split_rows(len(own), size))


def _piece(pairs, centers, neighbors, density, rows):
    n_species, l_max, n_max = len(density.table_of), density.l_max, density.n_max
    c = np.empty((rows.stop - rows.start, n_species, (l_max + 1) ** 2, n_max))
    coefficients(
        rows.start, rows.stop, pairs.offsets, pairs.vectors, centers, neighbors, density, c
    )
    c = np.ascontiguousarray(c.transpose(1, 2, 0, 3))
    radial = np.empty((l_max + 1, n_species, n_max, n_max))
    for l in range(l_max + 1):
        part = c[:, l * l : (l + 1) ** 2].reshape(n_species, -1, n_max)
        np.matmul(part.transpose(0, 2, 1), part, out=radial[l])
    flat = c.reshape(n_species, -1)
    return DensityCovariance(radial, flat @ flat.T)


def radial_contraction(covariance, n_max):
    """Leading eigenvectors of covariances of radial functions, as rows.

    Parameters
    ----------
    covariance : ndarray of float, shape (..., n_primitives, n_primitives)
    n_max : int
        Number of rows.

    Returns
    -------
    ndarray of float, shape (..., n_max, n_primitives)
        Orthonormal rows. Those without variance are the smoothest that are left, for the
        primitive functions are sorted by their number of nodes.
    """
    n_primitives = covariance.shape[-1]
    largest = np.trace(covariance, axis1=-2, axis2=-1).max()
    smoothest = np.diag(np.arange(n_primitives, 0, -1) / n_primitives)
    _, vectors = np.linalg.eigh(covariance + _TIE * largest * smoothest)
    rows = np.swapaxes(vectors, -2, -1)[..., ::-1, :][..., :n_max, :]
    # the sign of an eigenvector is arbitrary: make it the same everywhere
    place = np.abs(rows).argmax(axis=-1, keepdims=True)
    return np.ascontiguousarray(rows * np.sign(np.take_along_axis(rows, place, axis=-1)))
