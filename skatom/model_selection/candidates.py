"""Candidates of a search whose features are the same, and the features of every split."""

from dataclasses import dataclass, field
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skatom.descriptors.base import AtomicDescriptor, StructureDescriptor


@dataclass
class Candidates:
    """Candidates that differ in their last step only.

    Attributes
    ----------
    steps : list of (str, transformer)
        What is in front of the models, not fitted.
    places, models : list of int, list of estimator
        Their places in the grid, and their last steps.
    """

    steps: list
    places: list = field(default_factory=list)
    models: list = field(default_factory=list)


def grouped(estimator, candidates):
    """`Candidates` of equal steps in front of the model, in the order of the grid."""
    groups = {}
    for place, parameters in enumerate(candidates):
        made = clone(estimator).set_params(**clone_of_values(parameters))
        steps, model = (made.steps[:-1], made.steps[-1][1]) if _has_steps(made) else ([], made)
        steps = [step for step in steps if step[1] not in (None, "passthrough")]
        group = groups.setdefault(joblib.hash(steps), Candidates(steps))
        group.places.append(place)
        group.models.append(model)
    return list(groups.values())


def clone_of_values(parameters):
    """Parameters whose estimators and kernels are copies, as `set_params` changes them."""
    return {name: clone(value, safe=False) for name, value in parameters.items()}


def _has_steps(estimator):
    return isinstance(estimator, Pipeline)


@dataclass
class Split:
    """What the models of some candidates see of one or several splits.

    Attributes
    ----------
    splits : list of int
        Which splits of the search.
    steps : list of list of (str, transformer)
        The fitted steps of each split.
    X, y : features and labels
    trains : list of ndarray of int
        Which of them each split trains on.
    tests : list of (features, labels)
        What it tests on.
    """

    splits: list
    steps: list
    X: Any
    y: Any
    trains: list
    tests: list


def seen(steps, X, y, splits):
    """`Split`s: one of all splits if their features are the same, else one of each.

    A descriptor of skatom has learnt hardly more than the elements. Where a split has taught it
    the same as all structures did, features are made once for all splits. Other transformers are
    fitted to the training part of every split.

    Parameters
    ----------
    steps : list of (str, transformer)
    X, y : structures or features, and their labels
    splits : list of (train, test)
    """
    trains, tests = ([np.asarray(part) for part in parts] for parts in zip(*splits, strict=True))
    same = []
    while len(same) < len(steps) and isinstance(
        steps[len(same)][1], AtomicDescriptor | StructureDescriptor
    ):
        name, step = steps[len(same)]
        whole = clone(step).fit(X)
        if any(not _equal(whole, clone(step).fit(X[train])) for train in trains):
            break
        same.append((name, whole))
        X = whole.transform(X)
    rest = steps[len(same) :]
    if not rest:
        every, fitted = [*range(len(splits))], [same] * len(splits)
        yield Split(every, fitted, X, y, trains, [(X[test], y[test]) for test in tests])
        return
    for k, (train, test) in enumerate(zip(trains, tests, strict=True)):
        front = clone(Pipeline(rest))
        features = front.fit_transform(X[train], y[train])
        tested = front.transform(X[test]), y[test]
        yield Split([k], [[*same, *front.steps]], features, y[train], [_all(train)], [tested])


def _all(rows):
    return np.arange(len(rows))


def _equal(one, other):
    return joblib.hash(vars(one)) == joblib.hash(vars(other))
