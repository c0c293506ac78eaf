"""Fits of a recipe's model."""

from __future__ import annotations

from sklearn.pipeline import Pipeline


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
