"""Scorers: functions of a model, structures and labels for ``scoring=``; higher is better."""

from __future__ import annotations

from collections.abc import Callable

from skatom._typing import Estimator, StructuresLike, TargetsLike
from skatom.metrics import energy_force_errors as _of_energy
from skatom.metrics import tensor_errors as _of_tensors
from skatom.metrics.comparison import prediction
from skatom.properties import OUTPUTS

_DOCSTRING = """Scorer: minus `{metric}` of the model's predictions.

    For ``scoring=`` in `GridSearchCV`, `cross_validate` and similar; higher is better.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        The model.
    X : Structures or list of ase.Atoms
        The structures to predict.
    y : Targets
        Reference values. Arrays are taken for labels of structures, as in `{metric}`.

    Returns
    -------
    float
        {unit}.

    Raises
    ------
    ValueError
        If ``y`` has no labels of this property ({quantity}) or the estimator does not predict it.

    See Also
    --------
    get_scorer : The scorer of a name, with an example.
    """


def _scorer(quantity, metric):
    """Minus an error of one property that a model predicts."""

    def scorer(estimator: Estimator, X: StructuresLike, y: TargetsLike) -> float:
        return -metric(y, prediction(estimator, X, quantity))

    scorer.__name__ = scorer.__qualname__ = f"neg_{metric.__name__}"
    scorer.__doc__ = _DOCSTRING.format(
        metric=metric.__name__, quantity=quantity, unit=OUTPUTS[quantity].unit
    )
    return scorer


neg_energy_mae = _scorer("energy", _of_energy.energy_mae)
neg_energy_rmse = _scorer("energy", _of_energy.energy_rmse)
neg_force_mae = _scorer("forces", _of_energy.force_mae)
neg_force_rmse = _scorer("forces", _of_energy.force_rmse)
neg_stress_mae = _scorer("stress", _of_tensors.stress_mae)
neg_stress_rmse = _scorer("stress", _of_tensors.stress_rmse)
neg_dipole_mae = _scorer("dipole", _of_tensors.dipole_mae)
neg_dipole_rmse = _scorer("dipole", _of_tensors.dipole_rmse)
neg_polarizability_mae = _scorer("polarizability", _of_tensors.polarizability_mae)
neg_polarizability_rmse = _scorer("polarizability", _of_tensors.polarizability_rmse)
neg_dipole_norm_mae = _scorer("dipole_norm", _of_tensors.dipole_norm_mae)
neg_dipole_norm_rmse = _scorer("dipole_norm", _of_tensors.dipole_norm_rmse)
neg_charges_mae = _scorer("charges", _of_tensors.charges_mae)
neg_charges_rmse = _scorer("charges", _of_tensors.charges_rmse)

_SCORERS = {name: scorer for name, scorer in list(globals().items()) if name.startswith("neg_")}


def get_scorer(name: str) -> Callable:
    """The scorer of a name, as `sklearn.metrics.get_scorer` gives those of scikit-learn.

    Parameters
    ----------
    name : str
        One of `get_scorer_names`, such as "neg_force_mae".

    Returns
    -------
    callable
        A function of a fitted model, ``X`` and ``y``, for ``scoring=``.

    Raises
    ------
    ValueError
        If there is no scorer of this name.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import LambdaSOAP
    >>> from skatom.metrics import get_scorer
    >>> from skatom.models import TensorKernelRidge
    >>> ethanol = load_ethanol()
    >>> model = make_pipeline(LambdaSOAP(n_max=2, l_max=2), TensorKernelRidge("dipole"))
    >>> grid = {"lambdasoap__cutoff": [1.2, 4.0]}
    >>> search = GridSearchCV(model, grid, scoring=get_scorer("neg_dipole_rmse"), cv=2)
    >>> search.fit(ethanol.structures[::50], ethanol.targets[::50]).best_params_
    {'lambdasoap__cutoff': 4.0}
    """
    if name not in _SCORERS:
        raise ValueError(f"there is no scorer {name!r}: choose from {', '.join(_SCORERS)}")
    return _SCORERS[name]


def get_scorer_names() -> list[str]:
    """Names of all scorers of `skatom.metrics`.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from skatom.metrics import get_scorer_names
    >>> get_scorer_names()[:2]
    ['neg_energy_mae', 'neg_energy_rmse']
    """
    return list(_SCORERS)
