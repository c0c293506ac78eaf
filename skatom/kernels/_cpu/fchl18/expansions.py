"""Expansions of the environments of FCHL18 in distances and channels, and their derivatives.

Environments and features of pairs are those of `skatom.kernels._cpu.fchl18.pairs`.
"""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import njit


class DistanceGrid(NamedTuple):
    """Points (first + k) spacing, k = 0 … size − 1, under Gaussians of the width."""

    first: int
    size: int
    spacing: float
    width: float
    table: np.ndarray  # √weight exp(-(k spacing)²/2 width²), k = 0 … half a window


@njit(cache=True, inline="always")
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


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def expand(starts, distances, channels, features, mixing, grid, out):
    """out[e, z, f, k] = Σ_i mixing[z, channel_i] features[i, f] φ_k(d_i) over the pairs of e."""
    phi = np.empty(2 * len(grid.table) - 1)
    n_features = features.shape[1]
    for e in range(len(starts) - 1):
        out[e] = 0.0
        for i in range(starts[e], starts[e + 1]):
            begin = _window(distances[i], grid, phi)
            low, high = max(begin, 0), min(begin + len(phi), grid.size)
            if low >= high:
                continue
            window = phi[low - begin : high - begin]
            for z in range(len(mixing)):
                weight = mixing[z, channels[i]]
                if weight == 0.0:
                    continue
                for f in range(n_features):
                    factor = weight * features[i, f]
                    row = out[e, z, f, low:high]
                    for k in range(len(row)):
                        row[k] += factor * window[k]


@njit(cache=True, nogil=True)
def distance_basis(distances, grid, values, slopes):
    """φ_k(d) and its slope, (n_pairs, size), zero outside the window."""
    phi = np.empty(2 * len(grid.table) - 1)
    values[:] = 0.0
    slopes[:] = 0.0
    for i in range(len(distances)):
        begin = _window(distances[i], grid, phi)
        for k in range(max(begin, 0), min(begin + len(phi), grid.size)):
            point = (grid.first + k) * grid.spacing
            values[i, k] = phi[k - begin]
            slopes[i, k] = (point - distances[i]) / (grid.width * grid.width) * phi[k - begin]


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def expand_slopes(distances, channels, features, slopes, mixing, grid, out):
    """Derivatives of one environment's expansion, (n_rows, n_channels, n_features, n_points).

    ``slopes`` (n_rows, n_pairs, n_features + 1) are those of the pairs' features and, last, of
    their distances, see `feature_slopes`; features and their slopes are mixed as for `expand`.
    """
    phi = np.empty(2 * len(grid.table) - 1)
    weighted = np.empty(len(phi))
    n_features = features.shape[1]
    out[:] = 0.0
    for i in range(len(distances)):
        begin = _window(distances[i], grid, phi)
        low, high = max(begin, 0), min(begin + len(phi), grid.size)
        if low >= high:
            continue
        n = high - low
        window = phi[low - begin : high - begin]
        for k in range(n):
            point = (grid.first + low + k) * grid.spacing
            weighted[k] = (point - distances[i]) / (grid.width * grid.width) * window[k]
        for r in range(len(slopes)):
            along_distance = slopes[r, i, n_features]
            for z in range(len(mixing)):
                weight = mixing[z, channels[i]]
                if weight == 0.0:
                    continue
                for f in range(n_features):
                    a = weight * slopes[r, i, f]
                    b = weight * features[i, f] * along_distance
                    row = out[r, z, f, low:high]
                    for k in range(n):
                        row[k] += a * window[k] + b * weighted[k]


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


@njit(cache=True, nogil=True)
def expand_directions(starts, distances, channels, features, slopes, mixing, grid, out):
    """Derivatives of the expansions of environments, each along one direction.

    ``slopes`` (n_pairs, n_features + 1) of all pairs; out[e]: as of `expand`.
    """
    for e in range(len(starts) - 1):
        pairs = slice(starts[e], starts[e + 1])
        expand_slopes(
            distances[pairs], channels[pairs], features[pairs],
            slopes[pairs].reshape(1, -1, slopes.shape[1]), mixing, grid, out[e : e + 1],
        )  # fmt: skip
