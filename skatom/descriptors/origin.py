"""Whether features are those of the descriptor and the maps that an estimator was fitted with."""

from copy import copy
from operator import is_

import numpy as np

from skatom.descriptors.features import Features
from skatom.descriptors.tensor_features import TensorFeatures

# Parameters that say how features are made, or whether they are summed, not which they are.
_HOW = {"device", "n_jobs", "pool", "random_state", "verbose"}
# Characters of values in messages.
_LONGEST = 40
# Differences of learnt arrays, relative to the largest element, that another machine or device may
# make of the same structures.
_ROUNDING = 1e-6


def origin_of(X):
    """What made features, for an estimator to keep: descriptor, maps, pooling; None of arrays.

    The descriptor is without its device.
    """
    if not isinstance(X, Features | TensorFeatures):
        return None
    descriptor = copy(X.descriptor)
    if hasattr(descriptor, "device"):
        descriptor.device = "cpu"
    return [descriptor, *_steps(X)]


def _steps(X):
    """What was done to features after the descriptor, in turn."""
    return [] if isinstance(X, TensorFeatures) else X.derivatives.steps


def check_origin(estimator, X):
    """Raise a ValueError if features come from another descriptor, or map, than those of ``fit``.

    As many features of another cutoff, or of distances or a scale that were learnt from other
    structures, would give wrong results in silence. ``estimator._origin`` is the `origin_of` the
    features of ``fit``.
    """
    origin = getattr(estimator, "_origin", None)
    if origin is None or not isinstance(X, Features | TensorFeatures):
        return
    if (difference := difference_of(origin[0], X.descriptor)) is not None:
        raise ValueError(
            f"X was made by another descriptor than the features in fit of "
            f"{type(estimator).__name__}, with {difference}: transform all structures by one "
            "fitted descriptor, as a Pipeline does"
        )
    mine, others = origin[1:], _steps(X)
    if (difference := _difference_of_steps(mine, others)) is None:
        return
    expected, given = (
        "StructureFeatures" if any(isinstance(step, str) for step in steps) else "AtomicFeatures"
        for steps in (mine, others)
    )
    if given != expected:
        raise ValueError(
            f"X is {given}, but {type(estimator).__name__} was fitted to {expected}: give it "
            f"{expected}"
        )
    raise ValueError(
        f"X has {difference} after the descriptor, compared with the features in fit of "
        f"{type(estimator).__name__}: transform all structures by the same fitted steps, as a "
        "Pipeline does"
    )


def check_same_origin(*sides):
    """Raise a ValueError if two sets of features that are compared differ in what made them."""
    origins = [
        [side.descriptor, *_steps(side)]
        for side in sides
        if isinstance(side, Features | TensorFeatures)
    ]
    for origin in origins[1:]:
        if (difference := difference_of_origins(origins[0], origin)) is not None:
            raise ValueError(
                f"features of different origin are compared, the second with {difference}: "
                "transform all structures by the same fitted steps, as a Pipeline does"
            )


def difference_of_origins(first, second):
    """What distinguishes the second of two origins, in words; None if nothing does."""
    difference = difference_of(first[0], second[0])
    return difference or _difference_of_steps(first[1:], second[1:])


def _difference_of_steps(first, second):
    names = [
        " and ".join(
            step if isinstance(step, str) else f"the map {type(step).__name__}" for step in steps
        )
        or "nothing"
        for steps in (first, second)
    ]
    if names[0] != names[1]:
        return f"{names[1]} in place of {names[0]}"
    for mine, other in zip(first, second, strict=True):
        if not _same(mine, other):
            return f"another map {type(other).__name__}"
    return None


def difference_of(first, second):
    """What distinguishes the features of the second descriptor, in words; None if nothing does."""
    if type(first) is not type(second):
        return f"the class {type(second).__name__} in place of {type(first).__name__}"
    mine, others = vars(first), vars(second)
    if all(map(is_, mine.values(), others.values())):  # copies of one descriptor
        return None
    for name, value in mine.items():
        if name.startswith("_") or name in _HOW or name not in others:
            continue
        if not _same(value, others[name]):
            return _described(name, others[name], value)
    return None


def _described(name, given, expected):
    """An attribute and its values, if these are short."""
    texts = [f"{v:.6g}" if isinstance(v, float) else repr(v) for v in (given, expected)]
    if max(map(len, texts)) > _LONGEST or texts[0] == texts[1]:
        return f"another {name}"
    return f"{name}={texts[0]} in place of {texts[1]}"


def _same(first, second):
    """Whether two parameters or learnt attributes are equal; descriptors share most of them."""
    if first is second:
        return True
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.shape(first) == np.shape(second) and _same_elements(
            np.asarray(first), np.asarray(second)
        )
    if type(first) is not type(second):
        return bool(np.all(first == second))
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[k], second[k]) for k in first)
    if hasattr(first, "__dict__") and not callable(first):
        return difference_of(first, second) is None
    return bool(np.all(first == second))


def _same_elements(first, second):
    """Whether arrays of one shape are equal, real numbers within rounding; NaN equals itself."""
    same = (first == second) | ((first != first) & (second != second))
    if same.all() or first.dtype.kind != "f" or second.dtype.kind != "f":
        return bool(same.all())
    finite = np.isfinite(first) & np.isfinite(second)
    limit = _ROUNDING * np.abs(first[finite]).max(initial=0.0)
    return bool(np.all(same | (finite & (np.abs(first - second) <= limit))))
