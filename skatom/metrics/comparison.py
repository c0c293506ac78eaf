"""Reference and prediction as arrays that can be compared."""

import numpy as np

from skatom._prediction import predict, predictable
from skatom.properties import OUTPUTS
from skatom.targets import Targets


def prediction(estimator, X, name):
    """The named property as the estimator predicts it, or a ValueError."""
    if name not in predictable(estimator):
        raise ValueError(
            f"the model does not predict {name}, only {', '.join(predictable(estimator))}: judge "
            "one of these"
        )
    return predict(estimator, X, [name])[name]


def paired(name, y_true, y_pred):
    """Reference and prediction as arrays of one shape, without structures that have no label."""
    true, pred = _values(name, y_true, "y_true"), _values(name, y_pred, "y_pred")
    if true.shape != pred.shape:
        raise ValueError(
            f"{name}: the reference has the shape {true.shape}, the prediction {pred.shape}; they "
            "must agree"
        )
    if isinstance(y_true, Targets):
        rows = ~np.isnan(true.reshape(len(true), -1)).any(axis=1)
        true, pred = true[rows], pred[rows]
    elif not np.isfinite(true).all():
        raise ValueError(f"{name}: the reference is not finite; leave such structures out")
    if not len(true):
        raise ValueError(f"no structure is labelled with {name}: there is nothing to compare")
    return true, pred


def _values(name, y, argument):
    """The property as an array (rows, *shape of one value)."""
    if isinstance(y, Targets):
        if getattr(y, name) is None:
            raise ValueError(f"{argument} has no {name}, only {', '.join(y.names)}")
        return getattr(y, name)
    values = np.asarray(y, dtype=float)
    shape = OUTPUTS[name].shape
    if name == "forces" and values.ndim == 3:
        values = values.reshape(-1, *values.shape[2:])
    if values.ndim != 1 + len(shape) or values.shape[1:] != shape:
        raise ValueError(
            f"{name} in {argument} has the shape {values.shape}; give "
            f"({'n_atoms' if OUTPUTS[name].per == 'atom' else 'n'}, {', '.join(map(str, shape))})"
        )
    return values


def mean_absolute(errors):
    """The mean of |errors|, a float."""
    return float(np.mean(np.abs(errors)))


def root_mean_square(errors):
    """The root of the mean of the squared errors, a float."""
    return float(np.sqrt(np.mean(np.square(errors))))
