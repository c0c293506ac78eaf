"""Fits of a recipe's model, and what they will cost."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError
from sklearn.pipeline import Pipeline

from skatom.parallel import available_threads, serial_blas
from skatom.recipes.base import Cost

# Size of the product that measures the speed of dense linear algebra.
_SIZE = 600
# Shortest probe whose time says something, in seconds, and the most structures of one.
_SHORTEST, _MOST_FRAMES = 0.3, 200


def fit(model, structures, targets, configurations=None):
    """Fit the estimator of a recipe.

    Parameters
    ----------
    model : estimator
    structures : Structures
    targets : Targets
    configurations : ndarray of str, shape (n,), default=None
        For noises that are dicts.

    Returns
    -------
    The fitted estimator.
    """
    return model.fit(structures, targets, **fit_parameters(model, configurations))


def fit_parameters(model, configurations):
    """The keywords of ``fit`` that hand configurations to a model that has noises by name."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if configurations is None or not _has_named_noises(last):
        return {}
    prefix = f"{model.steps[-1][0]}__" if isinstance(model, Pipeline) else ""
    return {f"{prefix}configurations": configurations}


def _has_named_noises(model):
    model = getattr(model, "estimator", model)
    return any(
        isinstance(value, dict)
        for name, value in model.get_params(deep=False).items()
        if name.startswith(("noise", "alpha"))
    )


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
    """Memory and time of a fit: by its formulas, and by the time of a fit to a few structures.

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
    if len(structures) <= 3 * recipe.probe_frames:
        return Estimate(cost.memory, None, cost.columns)
    try:
        seconds = _seconds(recipe, settings, structures, targets, configurations, device, cost)
    except (LinAlgError, MemoryError):  # too few structures, or too large ones
        seconds = None
    return Estimate(cost.memory, seconds, cost.columns)


def _seconds(recipe, settings, structures, targets, configurations, device, cost):
    """The time of the whole fit, from that of short ones, the last of which is long enough."""
    probe = settings | {name: value for name, value in recipe.probe.items()}
    speed, n_frames, seconds = _flops_per_second(), min(recipe.probe_frames, len(structures)), 0.0
    made = False
    while seconds < _SHORTEST:
        chosen = np.unique(np.linspace(0, len(structures) - 1, n_frames).astype(int))
        names = None if configurations is None else configurations[chosen]
        part, labels = structures[chosen], targets[chosen]
        for _ in range(1 if made else 2):  # the first one compiles
            begin = time.perf_counter()
            model = recipe.make(probe, device=device)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit(model, part, labels, names)
            seconds = time.perf_counter() - begin
        made = True
        of_probe = recipe.cost(probe, part, labels)
        if n_frames in (len(structures), _MOST_FRAMES):
            break
        n_frames = min(4 * n_frames, len(structures), _MOST_FRAMES)
    return _scaled(seconds, of_probe, cost, speed)


def _scaled(seconds, of_probe: Cost, cost: Cost, speed):
    """The time of a fit from that of a smaller one: its dense algebra by its operations."""
    rest = max(seconds - of_probe.flops / speed, 0.2 * seconds)
    return rest * cost.work / of_probe.work + cost.flops / speed


def _flops_per_second():
    """The speed of a matrix product in one thread, times the number of threads."""
    a = np.random.default_rng(0).normal(size=(_SIZE, _SIZE))
    with serial_blas():
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - begin)
    # a factorisation reaches about half of the speed of a product
    return 0.5 * available_threads() * 2.0 * _SIZE**3 / min(times)
