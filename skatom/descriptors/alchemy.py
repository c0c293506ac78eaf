"""Similarity of the elements: mixing species into fewer channels."""

import numpy as np
from ase.data import covalent_radii

from skatom.elements import group

# The similarity falls to exp(-1/2) over these differences of covalent radius (Å) and group.
_RADIUS_SCALE = 0.4
_GROUP_SCALE = 3.0


def mixing_matrix(compression, species):
    """U (n_channels, n_species): channel J receives U_Ja times the density of species a.

    Parameters
    ----------
    compression : None, int or array-like
        None: every species is a channel. An int K: the K leading eigenvectors of `similarity`,
        each times the square root of its eigenvalue. An array: U itself.
    species : ndarray of int
        Sorted atomic numbers.
    """
    n_species = len(species)
    if compression is None:
        return np.eye(n_species)
    if np.ndim(compression) == 0:
        if compression > n_species:
            raise ValueError(
                f"species_compression={compression} is more than the {n_species} species: choose "
                "fewer, or None to keep every species apart"
            )
        values, vectors = _leading_eigenvectors(similarity(species), compression)
        return vectors * np.sqrt(values.clip(0))[:, None]
    matrix = np.array(compression, dtype=float, order="C")
    if matrix.ndim != 2 or matrix.shape[1] != n_species or not np.isfinite(matrix).all():
        raise ValueError(
            f"species_compression of the shape {matrix.shape} must be a finite matrix with one "
            f"column for each of the {n_species} species {species}, in this order"
        )
    return matrix


def learnt_mixing(gram, n_channels):
    """The leading eigenvectors, as rows (n_channels, n_species), of the similarity in some data.

    Parameters
    ----------
    gram : ndarray of float, shape (n_species, n_species)
        G_ab, the sum of c_a · c_b over environments. The similarity κ_ab = G_ab / √(G_aa G_bb) is 1
        for a = b, and 0 for a species without any density.
    n_channels : int
    """
    lengths = np.sqrt(np.diag(gram))
    lengths = np.where(lengths > 0, lengths, 1.0)
    return _leading_eigenvectors(gram / np.outer(lengths, lengths), n_channels)[1]


def _leading_eigenvectors(matrix, n):
    """The n largest eigenvalues, and their eigenvectors as rows."""
    values, vectors = np.linalg.eigh(matrix)
    rows = vectors.T[::-1][:n]
    # the sign of an eigenvector is arbitrary: make it the same everywhere
    rows = rows * np.sign(rows.sum(axis=1) + 1e-12)[:, None]
    return values[::-1][:n], np.ascontiguousarray(rows)


def similarity(species):
    """κ_ab = exp(-(r_a - r_b)²/2s² - (g_a - g_b)²/2t²) in covalent radius r and group g.

    Shape (n_species, n_species). The form is that of De et al., Phys. Chem. Chem. Phys. 18, 13754
    (2016), with the group in place of the electronegativity.
    """
    radii, groups = covalent_radii[species], np.array([group(z) for z in species])
    return np.exp(
        -((radii[:, None] - radii) ** 2) / (2 * _RADIUS_SCALE**2)
        - (groups[:, None] - groups) ** 2 / (2 * _GROUP_SCALE**2)
    )
