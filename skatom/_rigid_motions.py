"""Translations and rotations of structures, along which there are no forces."""

import numpy as np
from scipy.linalg import qr


def rigid_motions(structures):
    """Orthonormal translations and rotations of n frames of N atoms, zero beyond their rank.

    A linear molecule has five; a periodic one, whose cell stays, translations only.

    Parameters
    ----------
    structures : Structures of N atoms each

    Returns
    -------
    ndarray of float, shape (n, 3 N, 6)
    """
    n_frames = len(structures)
    positions = structures.positions.reshape(n_frames, -1, 3)
    n_atoms = positions.shape[1]
    motions = np.zeros((n_frames, n_atoms, 3, 6))
    motions[..., :3] = np.eye(3)
    centered = positions - positions.mean(axis=1, keepdims=True)
    for axis in range(3):
        motions[..., 3 + axis] = np.cross(np.eye(3)[axis], centered)
    motions[structures.pbc.any(axis=1), :, :, 3:] = 0.0
    vectors, lengths, _ = np.linalg.svd(
        motions.reshape(n_frames, 3 * n_atoms, 6), full_matrices=False
    )
    # a single atom has fewer coordinates than there are motions
    kept = vectors * (lengths > 1e-6 * lengths[:, :1])[:, None, :]
    return np.pad(kept, ((0, 0), (0, 0), (0, 6 - kept.shape[2])))


def kept_coordinates(motions):
    """The coordinates that are left when one is struck for each rigid motion.

    The struck coordinates are chosen by pivoted QR, so that they span the rigid motions well.

    Parameters
    ----------
    motions : ndarray of float, shape (3 N, 6)
        Rigid motions of one frame, from `rigid_motions`.

    Returns
    -------
    ndarray of int, sorted
    """
    rank = int(np.round(np.sum(motions**2)))
    order = qr(motions.T, mode="r", pivoting=True)[1]
    return np.sort(order[rank:])


def kept_of_frames(motions):
    """`kept_coordinates` of each of n frames with motions (n, 3 N, 6): a list of n arrays.

    All frames are worked on together, which is faster for hundreds of them. Among coordinates that
    are equally good, the choice may differ.
    """
    n_frames, n_coordinates, _ = motions.shape
    ranks = np.round(np.sum(motions**2, axis=(1, 2))).astype(int)
    rest, frames = motions.copy(), np.arange(n_frames)
    kept = np.ones((n_frames, n_coordinates), bool)
    for step in range(ranks.max()):
        lengths = np.where(kept, np.einsum("nck,nck->nc", rest, rest), -1.0)
        struck = lengths.argmax(axis=1)
        kept[frames, struck] = step >= ranks
        pivot = rest[frames, struck]
        pivot /= np.linalg.norm(pivot, axis=1, keepdims=True) + (step >= ranks)[:, None]
        along = np.einsum("nck,nk->nc", rest, pivot)
        rest -= along[:, :, None] * pivot[:, None]
    return [np.flatnonzero(row) for row in kept]


def completion(motions, kept):
    """The matrix T (3 N, len(kept)) that makes forces of their kept coordinates: f = T f[kept].

    Forces have no component along rigid motions, so the struck components follow from the others.

    Parameters
    ----------
    motions : ndarray of float, shape (3 N, 6)
    kept : ndarray of int
        Kept coordinates, from `kept_coordinates`.

    Returns
    -------
    ndarray of float, shape (3 N, len(kept))
    """
    struck = np.setdiff1d(np.arange(len(motions)), kept)
    motions = motions[:, motions.any(axis=0)]
    out = np.zeros((len(motions), len(kept)))
    out[kept, np.arange(len(kept))] = 1.0
    # motionsᵀ f = 0
    out[struck] = -np.linalg.solve(motions[struck].T, motions[kept].T)
    return out
