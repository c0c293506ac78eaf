"""Whether two linear potentials are models of the same problem."""

import joblib
from sklearn.utils.validation import check_is_fitted

# What two models must have in common to be merged, by its name in messages.
_SAME = {
    "parameters": lambda m: {k: repr(v) for k, v in m.get_params().items()},
    "kinds of features": lambda m: m._learnt_from,
    "numbers of features": lambda m: m.n_features_in_,
    "species": lambda m: None if m.species_ is None else m.species_.tolist(),
    "columns": lambda m: m._design.n_columns,
    "baselines": lambda m: joblib.hash(m.baseline_),
}


def check_mergeable(first, second):
    """Raise a ValueError unless two fitted models differ in nothing but their data."""
    for model in (first, second):
        check_is_fitted(model)
    for what, of in _SAME.items():
        if of(first) != of(second):
            raise ValueError(
                f"the two models have different {what} and cannot be merged: fit both with the "
                "same descriptor and parameters to data of the same species, with a baseline "
                "that is given, not fitted"
            )
