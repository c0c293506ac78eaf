"""Scattering paths: the features, and the maps that selected features need."""

from functools import cached_property
from math import floor
from typing import NamedTuple

import numpy as np

from skatom.descriptors.scattering.grids import Level
from skatom.descriptors.scattering.wavelets import Wavelet
from skatom.parallel import split_rows

# Fields of one task, in points: small enough for the cache, large against the cost of a call.
TASK_POINTS = 2**17


class Seconds(NamedTuple):
    """Second-order maps of a task that are made on the same grid."""

    pairs: np.ndarray
    wavelets: tuple  # the second wavelet of each
    degrees: np.ndarray  # their l
    wanted: np.ndarray  # which channels, (n_pairs, n_channels of the task)
    sources: np.ndarray  # channels of which any map is wanted, (n_channels of the task,)


class Task(NamedTuple):
    """A first-order map for some channels, and the second-order maps that begin with it."""

    wavelet: int
    level: Level  # of the grid
    channels: np.ndarray
    first: np.ndarray  # positions in ``channels`` whose first order is a feature
    seconds: list  # of (pair, positions in ``channels``)
    groups: list  # of `Seconds`: the same pairs by their grids


class Paths:
    """All features of a set of wavelets, and their order.

    The order is: order 0, 1, 2; channel; first wavelet; second wavelet; exponent.

    Parameters
    ----------
    channels : list of str
    orbitals : list of (n, l)
    scales : sequence of float
    order : {0, 1, 2}
    exponents : sequence of float
    scale_gap : float
        The smallest j2 − j1 of a pair.
    pairing : {"all", "lexicographic", "same_l"}
    multiresolution : bool
    fineness : float, default=0
        From 0 to 1: how far the grids of `Wavelet.refinement` are refined.
    """

    def __init__(
        self, channels, orbitals, scales, order, exponents, scale_gap, pairing, multiresolution,
        fineness=0.0,
    ):  # fmt: skip
        self.channels = channels
        self.exponents = np.array(exponents, dtype=float)
        self.root = _common_denominator(self.exponents)
        self.wavelets = [Wavelet(n, l, float(j)) for n, l in orbitals for j in scales] * (order > 0)
        self.multiresolution = multiresolution
        self.fineness = fineness
        self.pairs = [
            (a, b)
            for a, first in enumerate(self.wavelets)
            for b, second in enumerate(self.wavelets)
            if order > 1 and _allowed(first, second, scale_gap, pairing)
        ]
        self.starting = [[] for _ in self.wavelets]
        for pair, (a, _) in enumerate(self.pairs):
            self.starting[a].append(pair)
        n_c, n_q = len(channels), len(self.exponents)
        self.shapes = [
            (n_c, n_q), (n_c, len(self.wavelets), n_q), (n_c, len(self.pairs), n_q),
        ]  # fmt: skip
        self.sizes = [int(np.prod(shape)) for shape in self.shapes]

    def __len__(self):
        return sum(self.sizes)

    def split(self, row):
        """Arrays of the three orders, of the `shapes`, from one row of all features."""
        ends = np.cumsum(self.sizes)[:2]
        return [
            part.reshape(shape)
            for part, shape in zip(np.split(row, ends), self.shapes, strict=True)
        ]

    def names(self):
        """Names such as ``S2[Si;n3l2j0;n3l1j1;q4/3]``."""
        maps = [
            [""],
            [f";{w}" for w in self.wavelets],
            [f";{self.wavelets[a]};{self.wavelets[b]}" for a, b in self.pairs],
        ]
        powers = [_fraction(q) for q in self.exponents]
        return np.array(
            [
                f"S{order}[{channel}{path};q{q}]"
                for order, paths in enumerate(maps)
                for channel in self.channels
                for path in paths
                for q in powers
            ],
            dtype=object,
        )

    def level(self, wavelet, scale=None):
        """Level of the grid of a wavelet.

        ``scale``: the scale for which the grid must be fine enough. None: that of the wavelet.
        """
        wavelet = self.wavelets[wavelet]
        octaves = floor(wavelet.j if scale is None else scale) if self.multiresolution else 0
        return Level(octaves, self.fineness * wavelet.refinement(octaves))

    def tasks(self, first, second, n_points):
        """The tasks that compute the needed features.

        Parameters
        ----------
        first : ndarray of bool, shape (n_channels, n_wavelets)
            First-order features that are needed.
        second : ndarray of bool, shape (n_channels, n_pairs)
            Second-order features that are needed.
        n_points : tuple of int
            Numbers of points of the grids of the first-order maps in `maps`, which determine how
            many channels are treated together.

        Returns
        -------
        list of Task
            A map whose second wavelet is narrower than the first is made on the grid of the
            second, a task of its own.
        """
        tasks = []
        for (w, level), points in zip(self.maps, n_points, strict=True):
            own = self.level(w)
            pairs = [pair for pair in self.starting[w] if self._source_level(pair) == level]
            wanted = second[:, pairs].any(axis=1) | (first[:, w] & (level == own))
            channels = np.flatnonzero(wanted)
            for part in split_rows(len(channels), max(1, TASK_POINTS // points)):
                tasks.append(
                    self._task(w, level, channels[part], first, second, pairs, level == own)
                )
        return tasks

    def _source_level(self, pair):
        """The level on which the first map of a pair is made for the second."""
        a, b = self.pairs[pair]
        return self.level(a, min(self.wavelets[a].j, self.wavelets[b].j))

    @cached_property
    def maps(self):
        """(wavelet, level) of all first-order maps."""
        return [
            (w, level)
            for w in range(len(self.wavelets))
            for level in sorted({self.level(w), *map(self._source_level, self.starting[w])})
        ]

    def _task(self, w, level, channels, first, second, pairs, own):
        seconds = [(p, np.flatnonzero(second[channels, p])) for p in pairs]
        seconds = [(p, rows) for p, rows in seconds if len(rows)]
        by_grid = {}
        for p, _ in seconds:
            other = self.pairs[p][1]
            by_grid.setdefault((self.level(other), self.wavelets[other].j), []).append(p)
        return Task(
            w, level, channels, np.flatnonzero(first[channels, w] & own), seconds,
            [self._seconds(some, channels, second) for some in by_grid.values()],
        )  # fmt: skip

    def _seconds(self, pairs, channels, second):
        wavelets = tuple(self.wavelets[self.pairs[p][1]] for p in pairs)
        wanted = second[channels][:, pairs].T.copy()
        degrees = np.array([wavelet.l for wavelet in wavelets])
        return Seconds(np.array(pairs), wavelets, degrees, wanted, wanted.any(axis=0))


def _allowed(first, second, scale_gap, pairing):
    if second.j - first.j < scale_gap - 1e-9:
        return False
    if pairing == "lexicographic":
        return (second.n, second.l) > (first.n, first.l)
    return pairing == "all" or second.l == first.l


def _common_denominator(exponents):
    """The smallest d of which all exponents are multiples of 1/d, or 0 if that is above 6."""
    for d in range(1, 7):
        if np.abs(exponents * d - np.rint(exponents * d)).max() < 1e-12:
            return d
    return 0


def _fraction(q):
    """4/3 for 1.333…; a decimal number where no small denominator fits."""
    d = _common_denominator(np.array([q]))
    if d == 0:
        return f"{q:g}"
    return f"{round(q * d)}/{d}" if d > 1 else str(round(q))
