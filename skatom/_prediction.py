"""What a fitted model can predict, and its answer by name."""

from inspect import signature

from sklearn.pipeline import Pipeline

# in the order in which predict returns them
_OPTIONAL = ("forces", "stress", "dipole")


def unwrap(model):
    """The model itself, or the best one of a fitted search.

    ``GridSearchCV.predict`` takes no keywords, so it cannot return forces; what it found can.
    """
    return getattr(model, "best_estimator_", model)


def last_step(model):
    """The estimator at the end of pipelines and in searches."""
    model = unwrap(model)
    while isinstance(model, Pipeline):
        model = unwrap(model.steps[-1][1])
    return model


def predictable(model):
    """Names of the properties that ``model.predict`` gives, in the order of its answer."""
    model = last_step(model)
    if hasattr(model, "predicts_"):  # what it learnt decides
        return model.predicts_
    keywords = signature(model.predict).parameters
    return ("energy", *(name for name in _OPTIONAL if f"return_{name}" in keywords))


def comparable(model):
    """Those of ``predictable(model)`` that can be held against labels.

    The energies of a model that learnt forces alone are relative to an unknown zero.
    """
    names = predictable(model)
    return names if getattr(last_step(model), "absolute_energies_", True) else names[1:]


def predict(model, X, names):
    """Predict once and return a dict of the properties named.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
    X : Structures or list of ase.Atoms
    names : collection of str
        Some of ``predictable(model)``. The energy always comes along.

    Returns
    -------
    dict of str to ndarray
    """
    extra = [name for name in _OPTIONAL if name in names]
    answer = unwrap(model).predict(X, **{f"return_{name}": True for name in extra})
    return dict(zip(["energy", *extra], answer if extra else (answer,), strict=True))
