"""Translations and rotations of structures, along which there are no forces."""

import numpy as np


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
    """The coordinates of each frame that are left when one is struck for each rigid motion.

    The struck coordinates are chosen as by pivoted QR, so that they span the rigid motions well:
    each is the one along which the motions that are left are largest.

    Parameters
    ----------
    motions : ndarray of float, shape (n, 3 N, 6)
        From `rigid_motions`.

    Returns
    -------
    list of ndarray of int, sorted
    """
    ranks = np.round(np.einsum("ick,ick->i", motions, motions))
    kept = np.ones(motions.shape[:2], bool)
    left = motions.copy()
    for step in range(motions.shape[2]):
        frames = np.flatnonzero(step < ranks)
        of_frames = left[frames]
        struck = np.einsum("ick,ick->ic", of_frames, of_frames).argmax(axis=1)
        kept[frames, struck] = False
        axis = of_frames[np.arange(len(frames)), struck]
        axis /= np.linalg.norm(axis, axis=1, keepdims=True)
        along = np.einsum("ick,ik->ic", of_frames, axis)
        left[frames] = of_frames - along[:, :, None] * axis[:, None, :]
    return [np.flatnonzero(row) for row in kept]


def completions(motions, kept):
    """Matrices T (3 N, n_kept) that make forces of their kept coordinates: f = T f[kept].

    Forces have no component along rigid motions, so the struck components follow from the others.

    Parameters
    ----------
    motions : ndarray of float, shape (n, 3 N, 6)
        From `rigid_motions`.
    kept : list of ndarray of int
        Kept coordinates of each frame, as from `kept_coordinates`, in any order.

    Returns
    -------
    list of ndarray of float
    """
    found = [None] * len(motions)
    ranks = motions.any(axis=1).sum(axis=1)
    for rank in np.unique(ranks):
        frames = np.flatnonzero(ranks == rank)
        places, own = np.arange(len(frames))[:, None], motions[frames, :, :rank]
        coordinates = np.stack([kept[frame] for frame in frames])
        struck = np.ones(own.shape[:2], bool)
        struck[places, coordinates] = False
        struck = np.nonzero(struck)[1].reshape(len(frames), -1)
        out = np.zeros((*own.shape[:2], coordinates.shape[1]))
        out[places, coordinates, np.arange(coordinates.shape[1])] = 1.0
        # motionsᵀ f = 0
        missing, given = (own[places, rows].transpose(0, 2, 1) for rows in (struck, coordinates))
        out[places, struck] = -np.linalg.solve(missing, given)
        for frame, transform in zip(frames, out, strict=True):
            found[frame] = transform
    return found
