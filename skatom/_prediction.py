"""The properties that a fitted model can predict, and predictions by name."""

from inspect import signature

from sklearn.pipeline import Pipeline

from skatom.properties import LABELS, OUTPUTS, in_order


def unwrap(model):
    """The model itself, or the best one of a fitted search.

    ``GridSearchCV.predict`` takes no keywords, so it cannot return forces; what it found can.
    """
    return getattr(model, "best_estimator_", model)


def last_step(model):
    """The estimator at the end of pipelines and in searches."""
    while True:
        inner = unwrap(model.steps[-1][1] if isinstance(model, Pipeline) else model)
        if inner is model:
            return model
        model = inner


def predictable(model):
    """Names of the properties that ``model.predict`` gives, in the order of its answer.

    A model of skatom says so in ``outputs_``. Any other estimator predicts energies, and the
    properties whose keywords its ``predict`` takes.
    """
    model = last_step(model)
    if hasattr(model, "outputs_"):
        return model.outputs_
    keywords = signature(model.predict).parameters
    return tuple(name for name, p in OUTPUTS.items() if name == "energy" or p.keyword in keywords)


def comparable(model):
    """The properties of ``predictable(model)`` that can be compared with labels.

    The energies of a model that learnt forces alone are relative to an unknown zero.
    """
    absolute = getattr(last_step(model), "absolute_energies_", True)
    names = [name for name in predictable(model) if name in LABELS]
    return tuple(name for name in names if absolute or name != "energy")


def predict(model, X, names):
    """Predict once and return the named properties as a dict.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
    X : Structures or list of ase.Atoms
    names : collection of str
        Properties from ``predictable(model)``.

    Returns
    -------
    dict of str to ndarray
        Always includes the first of ``predictable(model)``.

    Raises
    ------
    ValueError
        If the model does not give one of them.
    """
    given = predictable(model)
    missing = set(names) - set(given)
    if missing:
        raise ValueError(
            f"{type(last_step(model)).__name__} does not predict {', '.join(in_order(missing))}, "
            f"only {', '.join(given)}"
        )
    first, *others = given
    extra = [name for name in others if name in names]
    answer = unwrap(model).predict(X, **{OUTPUTS[name].keyword: True for name in extra})
    return dict(zip([first, *extra], answer if extra else (answer,), strict=True))
