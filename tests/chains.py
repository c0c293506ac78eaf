"""A chain of points in the plane, whose energy is a sum over three neighbours at a time."""

import numpy as np

N_POINTS = 8
PAIRS = np.triu_indices(N_POINTS, k=1)
# The columns of the distances within each three consecutive points.
WINDOWS = np.array([
    [np.flatnonzero((PAIRS[0] == i) & (PAIRS[1] == j))[0] for i, j in ((m, m + 1), (m + 1, m + 2),
                                                                       (m, m + 2))]
    for m in range(N_POINTS - 2)
])  # fmt: skip


def chain_data(n_trajectories, n_steps, seed):
    """Distances (n, 28) along smooth trajectories, and energies (n,)."""
    rng = np.random.default_rng(seed)
    times = np.linspace(0, 2 * np.pi, n_steps, endpoint=False)
    points = np.zeros((n_trajectories, n_steps, N_POINTS, 2))
    points[..., 0] = np.arange(N_POINTS)
    for k in (1, 2, 3):
        waves = rng.normal(scale=0.25 / k, size=(2, n_trajectories, 1, N_POINTS, 2))
        points += waves[0] * np.cos(k * times)[:, None, None]
        points += waves[1] * np.sin(k * times)[:, None, None]
    points = points.reshape(-1, N_POINTS, 2)
    distances = np.linalg.norm(points[:, PAIRS[0]] - points[:, PAIRS[1]], axis=2)
    return distances, energies(distances)


def energies(distances):
    a, b, c = np.moveaxis(distances[:, WINDOWS], 2, 0)
    return np.sum((a - 1) ** 2 + (b - 1) ** 2 + 0.5 * (c - 2) ** 2, axis=1)
