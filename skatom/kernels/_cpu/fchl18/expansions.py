"""Expansions of the environments of FCHL18 in distances and channels, and their derivatives.

Environments and features of pairs are those of `skatom.kernels._cpu.fchl18.pairs`.
"""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit


class DistanceGrid(NamedTuple):
    """Points (first + k) spacing, k = 0 … size − 1, under Gaussians of the width."""

    first: int
    size: int
    spacing: float
    width: float
    table: np.ndarray  # √weight exp(-(k spacing)²/2 width²), k = 0 … half a window


@callee(cache=True, fastmath=FASTMATH)
def _window(d, grid, phi):
    """φ_k(d) on the grid points around d; returns the first of them.

    A recurrence in k from the nearest point: one exponential for all.
    """
    half = len(grid.table) - 1
    nearest = np.int64(np.floor(d / grid.spacing + 0.5))
    rest = d - nearest * grid.spacing
    scaled = rest / grid.width
    value = np.exp(-0.5 * scaled * scaled)
    ratio = np.exp(rest * grid.spacing / (grid.width * grid.width))
    up, down, inverse = value, value, 1 / ratio
    phi[half] = value * grid.table[0]
    for k in range(1, half + 1):
        up *= ratio
        down *= inverse
        phi[half + k] = up * grid.table[k]
        phi[half - k] = down * grid.table[k]
    return nearest - half - grid.first


def expand(starts, distances, channels, features, mixing, grid, out):
    """out[e, z, f, k] = Σ_i mixing[z, channel_i] features[i, f] φ_k(d_i) over the pairs of e."""
    _expand(starts, distances, channels, features, features[None], mixing, grid, out)


def expand_slopes(distances, channels, features, slopes, mixing, grid, out):
    """Derivatives of one environment's expansion, (n_rows, n_channels, n_features, n_points).

    ``slopes`` (n_rows, n_pairs, n_features + 1) are those of the pairs' features and, last, of
    their distances, see `feature_slopes`; features and their slopes are mixed as for `expand`.
    """
    starts = np.array([0, len(distances)])
    _expand(starts, distances, channels, features, slopes, mixing, grid, out)


def expand_directions(starts, distances, channels, features, slopes, mixing, grid, out):
    """Derivatives of the expansions of environments, each along one direction.

    ``slopes`` (n_pairs, n_features + 1) of all pairs; out[e]: as of `expand`.
    """
    _expand(starts, distances, channels, features, slopes[None], mixing, grid, out)


def distance_basis(distances, grid):
    """φ_k(d) and its slope, (n_pairs, 2, size), zero outside the window."""
    n, out = len(distances), np.empty((len(distances), 2, grid.size))
    # each pair is an environment with one feature, which is 1
    rows = np.empty((2, n, 2))
    rows[:] = [[[1.0, 0.0]], [[0.0, 1.0]]]
    _expand(
        np.arange(n + 1), distances, np.zeros(n, np.int64), np.ones((n, 1)), rows,
        np.ones((1, 1)), grid, out.reshape(2 * n, 1, 1, grid.size),
    )  # fmt: skip
    return out


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def _expand(starts, distances, channels, features, slopes, mixing, grid, out):
    """Expansions of environments, or their derivatives: these have ``slopes`` of distances, too."""
    phi = np.empty(2 * len(grid.table) - 1)
    weighted = np.empty(len(phi))
    n_rows, n_features = len(slopes), features.shape[1]
    moves = slopes.shape[2] > n_features
    for e in range(len(starts) - 1):
        first = e * n_rows
        out[first : first + n_rows] = 0.0
        for i in range(starts[e], starts[e + 1]):
            begin = _window(distances[i], grid, phi)
            low, high = max(begin, 0), min(begin + len(phi), grid.size)
            n = high - low
            if n <= 0:
                continue
            window = phi[low - begin : high - begin]
            if moves:
                for k in range(n):
                    point = (grid.first + low + k) * grid.spacing
                    weighted[k] = (point - distances[i]) / (grid.width * grid.width) * window[k]
            for r in range(n_rows):
                for z in range(len(mixing)):
                    weight = mixing[z, channels[i]]
                    if weight == 0.0:
                        continue
                    for f in range(n_features):
                        row, a = out[first + r, z, f, low:high], weight * slopes[r, i, f]
                        if moves:
                            b = weight * features[i, f] * slopes[r, i, n_features]
                            for k in range(n):
                                row[k] += a * window[k] + b * weighted[k]
                        else:
                            for k in range(n):
                                row[k] += a * window[k]


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def pull_pairs(starts, distances, channels, features, grid, cotangents, out):
    """Derivatives of Σ_e cotangents[e] · expansion(e) along features and distances of pairs.

    cotangents (n, n_channels, n_features, n_points); out (n_pairs, n_features + 1).
    """
    phi = np.empty(2 * len(grid.table) - 1)
    n_features = features.shape[1]
    for e in range(len(starts) - 1):
        for i in range(starts[e], starts[e + 1]):
            begin = _window(distances[i], grid, phi)
            low, high = max(begin, 0), min(begin + len(phi), grid.size)
            along_distance = 0.0
            for f in range(n_features):
                row = cotangents[e, channels[i], f]
                value, slope = 0.0, 0.0
                for k in range(low, high):
                    point = (grid.first + k) * grid.spacing
                    value += row[k] * phi[k - begin]
                    slope += row[k] * phi[k - begin] * (point - distances[i])
                out[i, f] = value
                along_distance += features[i, f] * slope
            out[i, n_features] = along_distance / (grid.width * grid.width)
