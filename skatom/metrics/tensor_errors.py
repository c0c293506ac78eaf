"""Errors of other properties than energies and forces: means over their components."""

from __future__ import annotations

from skatom._typing import TargetsLike
from skatom.metrics.comparison import mean_absolute, paired, root_mean_square
from skatom.properties import OUTPUTS

_DOCSTRING = r"""{title} of the {words}.

    .. math:: {formula}

    The sum runs over n {owners} s and {components} components c.

    Parameters
    ----------
    y_true : Targets or array-like of shape {shape}, {unit}
        Reference.
    y_pred : Targets or array-like of shape {shape}, {unit}
        Prediction.

    Returns
    -------
    float
        {unit}.

    Raises
    ------
    ValueError
        If the shapes differ or nothing is labelled.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.metrics import {name}
    >>> {name}(np.zeros({zeros}), {example})
    {result}
    """
_KINDS = {
    "mae": (
        mean_absolute,
        "Mean absolute error",
        r"\frac{1}{k n} \sum_s \sum_c \left|\hat T_{sc} - T_{sc}\right|",
    ),
    "rmse": (
        root_mean_square,
        "Root-mean-square error",
        r"\sqrt{\frac{1}{k n} \sum_s \sum_c \left(\hat T_{sc} - T_{sc}\right)^2}",
    ),
}
_WORDS = {"dipole_norm": "lengths of dipoles", "charges": "charges of atoms"}
# a prediction by the number of indices of the property, and its errors where the reference is zero
_EXAMPLES = {
    0: ("[0.2]", {"mae": "0.2", "rmse": "0.2"}),
    1: ("[[0.3, 0.0, 0.4]]", {"mae": "0.233...", "rmse": "0.288..."}),
    2: ("0.03 * np.eye(3)[None]", {"mae": "0.01", "rmse": "0.0173..."}),
}


def _error(quantity, kind):
    """The function of one property and one kind of mean."""
    mean, title, formula = _KINDS[kind]
    per, shape = OUTPUTS[quantity].per, OUTPUTS[quantity].shape
    example, results = _EXAMPLES[len(shape)]

    def error(y_true: TargetsLike, y_pred: TargetsLike) -> float:
        true, pred = paired(quantity, y_true, y_pred)
        return mean(pred - true)

    error.__name__ = error.__qualname__ = f"{quantity}_{kind}"
    error.__doc__ = _DOCSTRING.format(
        title=title, words=f"components of the {quantity}" if shape else _WORDS[quantity],
        formula=formula, owners=f"{per}s", components="k" if shape else "k = 1",
        shape=str(("n" if per == "structure" else "n_atoms", *shape)).replace("'", ""),
        zeros=str((1, *shape)), unit=OUTPUTS[quantity].unit, name=error.__name__,
        example=example, result=results[kind],
    )  # fmt: skip
    return error


stress_mae, stress_rmse = _error("stress", "mae"), _error("stress", "rmse")
dipole_mae, dipole_rmse = _error("dipole", "mae"), _error("dipole", "rmse")
polarizability_mae = _error("polarizability", "mae")
polarizability_rmse = _error("polarizability", "rmse")
dipole_norm_mae, dipole_norm_rmse = _error("dipole_norm", "mae"), _error("dipole_norm", "rmse")
charges_mae, charges_rmse = _error("charges", "mae"), _error("charges", "rmse")
