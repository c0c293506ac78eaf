"""What a fit will take: memory by formulas, time by measured pieces of the same work."""

from __future__ import annotations

import itertools
import time
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError
from scipy.optimize import nnls

from skatom._checkpoints import kept_every
from skatom.parallel import available_threads, serial_blas, works_elsewhere
from skatom.recipes.fitting import fit

# Size of the product that measures the speed of dense linear algebra, and what share of it
# factorisations of large matrices reach.
_SIZE, _OF_PRODUCTS = 1500, 0.8
# Seconds of a fit that tell its pace, the fewest batches, and the fewest smaller fits.
_LONG_ENOUGH, _BATCHES, _SMALLER_FITS = 1.0, 4, 3
# Weight of this speed beside the times of fits. In fits of a second the factorisation takes so
# small a part that their times do not tell its pace, on which the estimate of hours depends.
_WEIGHT_OF_PRODUCTS = 1.0


@dataclass(frozen=True)
class Estimate:
    """What a fit will take.

    Attributes
    ----------
    memory : float or None
        Bytes of the largest matrices; None if a setting is no number, which the fit refuses.
    seconds : float or None
        Time; None if there are so few structures that a short fit would take as long, or it
        failed.
    columns : int or None
        Columns of a factorisation that jobs can share, see `Cost`.
    """

    memory: float | None
    seconds: float | None
    columns: int | None = None


def estimate(recipe, settings, structures, targets, configurations=None, device="cpu"):
    """Memory and time of a fit: by its formulas, and by a measured piece of it.

    Parameters
    ----------
    recipe : Recipe
    settings : dict
        All settings, by dotted name.
    structures : Structures
    targets : Targets
    configurations : ndarray of str, or None
    device : str

    Returns
    -------
    Estimate
    """
    try:
        cost = recipe.cost(settings, structures, targets)
    except TypeError:
        return Estimate(None, None)
    if len(structures) <= 3 * recipe.probe_frames and not recipe.short:
        return Estimate(cost.memory, None, cost.columns)
    data = _Data(recipe, structures, targets, configurations, device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data.fit(settings | recipe.probe, data.part(recipe.probe_frames))  # which compiles
            if recipe.representatives is None or works_elsewhere():
                seconds = _by_smaller_fits(data, settings, cost)
            else:
                seconds = _by_first_batches(data, settings)
    except (LinAlgError, MemoryError):  # too few structures, or too large ones
        seconds = None
    return Estimate(cost.memory, seconds, cost.columns)


@dataclass(frozen=True)
class _Data:
    """What is fitted."""

    recipe: object
    structures: object
    targets: object
    configurations: object
    device: str

    def part(self, n):
        """So many structures at equal distances."""
        return np.unique(np.linspace(0, len(self.structures) - 1, n).astype(int))

    def fit(self, settings, part):
        names = None if self.configurations is None else self.configurations[part]
        model = self.recipe.make(settings, device=self.device)
        return fit(model, self.structures[part], self.targets[part], names)


class _Enough(Exception):
    """Ends a fit whose pace is known."""


def _by_first_batches(data, settings):
    """The time of a fit from that of its preparation and of its first batches.

    The first batches have structures of all parts of the data.
    """
    n = len(data.structures)
    first = data.part(max(1, n // 8))
    order = np.concatenate([first, np.setdiff1d(np.arange(n), first)])
    edges = np.concatenate([[0], np.cumsum(data.structures.n_atoms[order])])
    begin, marks = time.perf_counter(), []

    def mark(model):
        marks.append((time.perf_counter() - begin, edges[model.n_structures_seen_]))
        if len(marks) > _BATCHES and marks[-1][0] - marks[0][0] > _LONG_ENOUGH:
            raise _Enough

    try:
        with kept_every(0.0, mark):
            data.fit(settings, order)
    except _Enough:
        return _by_pace(marks, edges[-1])
    return time.perf_counter() - begin


def _by_pace(marks, n_atoms):
    """The time at which all atoms are done, from the times at which some were."""
    (first, done), (last, more) = marks[0], marks[-1]
    return last + (n_atoms - more) * (last - first) / (more - done)


def _by_smaller_fits(data, settings, cost):
    """The time of a fit from those of smaller ones, the last of which is long enough."""
    n_structures, costs, times = len(data.structures), [], []
    short = {name: min(settings[name], most) for name, most in data.recipe.short.items()}
    for k in itertools.count():
        part = data.part(min(2**k * data.recipe.probe_frames, n_structures))
        begin = time.perf_counter()
        data.fit(settings | short, part)
        times.append(time.perf_counter() - begin)
        of_part = data.structures[part], data.targets[part]
        costs.append(data.recipe.cost(settings | short, *of_part))
        if len(part) == n_structures and not short:
            return times[-1]
        if len(part) == n_structures or _tells_enough(times):
            break
    last = slice(-_SMALLER_FITS, None)
    return _extrapolated(costs[last], times[last], cost, _flops_per_second())


def _tells_enough(times):
    """Whether the last of smaller fits took so long that no larger one is needed."""
    return times[-1] > (1.5 * _LONG_ENOUGH if len(times) >= _SMALLER_FITS else 3 * _LONG_ENOUGH)


def _extrapolated(costs, times, cost, speed):
    """The time of a fit, from those of smaller ones: t = a · work + b · flops + c, none negative.

    Relative errors are weighed, 1 / b is near the speed of products where fits do not tell, and c,
    what does not grow, is there if at least three tell.
    """
    work, flops = costs[-1].work, costs[-1].flops
    rows = np.array([[c.work / work, c.flops / flops, 1.0] for c in costs])
    rows /= np.array(times)[:, None]
    rows = np.vstack([rows, [0.0, _WEIGHT_OF_PRODUCTS * speed / flops, 0.0]])
    rows[:, 2] *= len(times) >= _SMALLER_FITS
    a, b, c = nnls(rows, np.append(np.ones(len(times)), _WEIGHT_OF_PRODUCTS))[0]
    return float(a * cost.work / work + b * cost.flops / flops + c)


def _flops_per_second():
    """The speed of factorisations of large matrices, from that of a product in one thread."""
    a = np.random.default_rng(0).normal(size=(_SIZE, _SIZE))
    with serial_blas():
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - begin)
    return _OF_PRODUCTS * available_threads() * 2.0 * _SIZE**3 / min(times)
