"""Whether two linear potentials are models of the same problem."""

import joblib
from sklearn.utils.validation import check_is_fitted

from skatom.descriptors.origin import difference_of_origins

# What two models must have in common to be merged, by its name in messages.
_SAME = {
    "kinds of features": lambda m: m._learnt_from or "a table",
    "numbers of features": lambda m: m.n_features_in_,
    "species": lambda m: None if m.species_ is None else m.species_.tolist(),
    "numbers of columns": lambda m: m._design.n_columns,
}


def check_mergeable(first, second):
    """Raise an error unless two fitted models differ in nothing but their data."""
    if type(first) is not type(second):
        raise TypeError(
            f"merge takes another {type(first).__name__}, but got {type(second).__name__}"
        )
    for model in (first, second):
        check_is_fitted(model)
    if (difference := _difference(first, second)) is not None:
        raise ValueError(
            f"the two models differ in {difference} and cannot be merged: fit both with the "
            "same fitted descriptor and parameters to data of the same species, with a baseline "
            "that is given, not fitted"
        )


def _difference(first, second):
    """What distinguishes two models apart from their data, in words; None if nothing does."""
    others = second.get_params()
    for name, value in first.get_params().items():
        if repr(value) != repr(others[name]):
            return f"the parameter {name} ({value!r} and {others[name]!r})"
    for what, of in _SAME.items():
        if of(first) != of(second):
            return f"{what} ({of(first)} and {of(second)})"
    if first._origin is not None and second._origin is not None:
        difference = difference_of_origins(first._origin, second._origin)
        if difference is not None:
            return f"their descriptors ({difference})"
    return None if joblib.hash(first.baseline_) == joblib.hash(second.baseline_) else "baselines"
