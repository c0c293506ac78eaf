"""What a search chooses from: a pool, or the points of a box."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from skatom._device import on_host
from skatom._typing import Array, ArrayLike
from skatom.descriptors.features import Features, as_batch
from skatom.structures import Structures, is_atoms


class Box:
    r"""Points between bounds, :math:`a_k \le x_k \le b_k`.

    Parameters
    ----------
    low : array-like of float, shape (d,)
        Lower bounds a.
    high : array-like of float, shape (d,)
        Upper bounds b.
    n_candidates : int, default=2000
        Points among which a search chooses the next: half of them anywhere in the box, half of them
        near the best so far.

    Raises
    ------
    ValueError
        If bounds are not finite, or not in order.

    Examples
    --------
    >>> from skatom.active import Box
    >>> Box([0.0, -1.0], [1.0, 1.0])
    Box(low=[0.0, -1.0], high=[1.0, 1.0])
    """

    def __init__(self, low: ArrayLike, high: ArrayLike, n_candidates: int = 2000) -> None:
        self.low, self.high = np.asarray(low, float), np.asarray(high, float)
        self.n_candidates = n_candidates
        if self.low.shape != self.high.shape or self.low.ndim != 1 or not self.low.size:
            raise ValueError(
                f"low {self.low.shape} and high {self.high.shape} must be as many, and one row"
            )
        if not np.isfinite([self.low, self.high]).all() or (self.low >= self.high).any():
            raise ValueError(f"bounds from {self.low} to {self.high} make no box: give low < high")

    def sample(self, n: int, random: Any) -> Array:
        """Points (n, d) anywhere in the box."""
        return random.uniform(self.low, self.high, (n, len(self.low)))

    def around(self, point: ArrayLike, n: int, random: Any) -> Array:
        """Points (n, d) near one, at distances from a tenth of the box to a ten-thousandth."""
        widths = (self.high - self.low) * 10.0 ** random.uniform(-4, -1, (n, 1))
        return np.clip(point + widths * random.normal(size=(n, len(self.low))), self.low, self.high)

    def __repr__(self):
        return f"Box(low={self.low.tolist()}, high={self.high.tolist()})"


def as_pool(candidates):
    """Structures, features, an array, or a Box."""
    if isinstance(candidates, Box | Structures | Features):
        return candidates
    if is_atoms(candidates):
        return as_batch(candidates)
    return np.asarray(candidates)


def fingerprint(pool):
    """A text that differs for other candidates."""
    digest = hashlib.sha256()
    if isinstance(pool, Features):
        parts = [np.ascontiguousarray(on_host(pool.values))]
    elif isinstance(pool, Structures):
        parts = [pool.numbers, pool.positions, pool.cells, pool.offsets]
    elif isinstance(pool, Box):
        parts = [pool.low, pool.high]
    else:
        parts = [np.ascontiguousarray(pool)]
    for part in parts:
        digest.update(repr(part.shape).encode() + np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
