"""Errors of predicted energies, forces and stresses, and scorers made of them.

All errors are in eV, eV/Å and eV/Å³. The reference is a `Targets` or an array. Structures that a
`Targets` marks as not labelled (NaN throughout) are left out of the mean.
"""

import numpy as np

from skatom._prediction import comparable, predict, predictable
from skatom.descriptors.features import as_batch, structures_of
from skatom.properties import OUTPUTS
from skatom.targets import Targets, as_targets

__all__ = [
    "energy_mae",
    "energy_rmse",
    "evaluate",
    "force_angle_error",
    "force_mae",
    "force_magnitude_error",
    "force_rmse",
    "neg_energy_mae",
    "neg_energy_rmse",
    "neg_force_mae",
    "neg_force_rmse",
    "neg_stress_mae",
    "neg_stress_rmse",
    "stress_mae",
    "stress_rmse",
]


def energy_mae(y_true, y_pred, *, per_atom=False):
    r"""Mean absolute error of energies.

    .. math:: \frac1n \sum_s \left|\hat E_s - E_s\right|

    Parameters
    ----------
    y_true : Targets or array-like of shape (n,), eV
        Reference.
    y_pred : Targets or array-like of shape (n,), eV
        Prediction.
    per_atom : bool, default=False
        Divide each error by the structure's number of atoms; ``y_true`` must then be Targets with
        ``offsets``.

    Returns
    -------
    float
        eV, or eV/atom.

    Raises
    ------
    ValueError
        If the shapes differ, nothing is labelled, or atoms cannot be counted.

    Examples
    --------
    >>> from skatom.metrics import energy_mae
    >>> energy_mae([-1.0, -2.0], [-1.5, -2.0])
    0.25
    """
    return _mae(_energy_errors(y_true, y_pred, per_atom))


def energy_rmse(y_true, y_pred, *, per_atom=False):
    r"""Root-mean-square error of energies.

    .. math:: \sqrt{\frac1n \sum_s \left(\hat E_s - E_s\right)^2}

    Parameters
    ----------
    y_true, y_pred, per_atom
        Reference, prediction and whether to divide by the number of atoms, as in `energy_mae`.

    Returns
    -------
    float
        eV, or eV/atom.

    Examples
    --------
    >>> from skatom.metrics import energy_rmse
    >>> energy_rmse([-1.0, -2.0], [-1.3, -1.6])
    0.353...
    """
    return _rmse(_energy_errors(y_true, y_pred, per_atom))


def force_mae(y_true, y_pred, *, per_atom=False):
    r"""Mean absolute error of forces.

    .. math::

        \frac{1}{3N} \sum_{a,x} \left|\hat F_{ax} - F_{ax}\right|
        \qquad\text{or, per atom,}\qquad
        \frac1N \sum_a \left|\hat{\mathbf F}_a - \mathbf F_a\right|

    Parameters
    ----------
    y_true : Targets or array-like of shape (n_atoms, 3) or (n, N, 3), eV/Å
        Reference.
    y_pred : Targets or array-like of the same shape, eV/Å
        Prediction.
    per_atom : bool, default=False
        Average the lengths of the error vectors rather than their Cartesian components. The
        literature usually reports components.

    Returns
    -------
    float
        eV/Å.

    Raises
    ------
    ValueError
        If the shapes differ or nothing is labelled.

    Examples
    --------
    >>> from skatom.metrics import force_mae
    >>> force_mae([[0.0, 0.0, 0.0]], [[0.3, 0.0, 0.4]])
    0.233...
    >>> force_mae([[0.0, 0.0, 0.0]], [[0.3, 0.0, 0.4]], per_atom=True)
    0.5
    """
    return _mae(_force_errors(y_true, y_pred, per_atom))


def force_rmse(y_true, y_pred, *, per_atom=False):
    r"""Root-mean-square error of forces.

    .. math::

        \sqrt{\frac{1}{3N} \sum_{a,x} \left(\hat F_{ax} - F_{ax}\right)^2}
        \qquad\text{or, per atom,}\qquad
        \sqrt{\frac1N \sum_a \left|\hat{\mathbf F}_a - \mathbf F_a\right|^2}

    Parameters
    ----------
    y_true, y_pred, per_atom
        Reference, prediction and whether to take vectors, as in `force_mae`.

    Returns
    -------
    float
        eV/Å.

    Examples
    --------
    >>> from skatom.metrics import force_rmse
    >>> force_rmse([[0.0, 0.0, 0.0]], [[0.3, 0.0, 0.4]])
    0.288...
    """
    return _rmse(_force_errors(y_true, y_pred, per_atom))


def force_magnitude_error(y_true, y_pred):
    r"""Mean absolute error of the forces' magnitudes.

    .. math:: \frac1N \sum_a \Bigl|\, |\hat{\mathbf F}_a| - |\mathbf F_a| \,\Bigr|

    Parameters
    ----------
    y_true, y_pred
        Reference and prediction, as in `force_mae`.

    Returns
    -------
    float
        eV/Å.

    References
    ----------
    Chmiela et al., Comput. Phys. Commun. 240, 38 (2019),
    https://doi.org/10.1016/j.cpc.2019.02.007

    Examples
    --------
    >>> from skatom.metrics import force_magnitude_error
    >>> force_magnitude_error([[1.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]])
    1.0
    """
    true, pred = paired("forces", y_true, y_pred)
    return _mae(np.linalg.norm(pred, axis=1) - np.linalg.norm(true, axis=1))


def force_angle_error(y_true, y_pred):
    r"""Mean angle between predicted and reference forces, as a fraction of 180°.

    .. math::

        \frac1N \sum_a \frac1\pi
        \arccos \frac{\hat{\mathbf F}_a \cdot \mathbf F_a}{|\hat{\mathbf F}_a| |\mathbf F_a|}

    Atoms whose reference force is zero are left out of the mean. A predicted force of zero, where
    the reference is not zero, counts as a right angle, 1/2, the average of random directions.

    Parameters
    ----------
    y_true, y_pred
        Reference and prediction, as in `force_mae`.

    Returns
    -------
    float
        0 (parallel) to 1 (opposite), dimensionless; NaN if every reference force is zero.

    References
    ----------
    Chmiela et al., Comput. Phys. Commun. 240, 38 (2019),
    https://doi.org/10.1016/j.cpc.2019.02.007

    Examples
    --------
    >>> from skatom.metrics import force_angle_error
    >>> force_angle_error([[1.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]])
    0.5
    """
    true, pred = paired("forces", y_true, y_pred)
    has_direction = true.any(axis=1)
    if not has_direction.any():
        return float("nan")
    true, pred = true[has_direction], pred[has_direction]
    # arctan2 keeps the digits of small angles, which the arccosine loses
    angles = np.arctan2(
        np.linalg.norm(np.cross(true, pred), axis=1), np.einsum("ax,ax->a", true, pred)
    )
    return float(np.mean(np.where(pred.any(axis=1), angles / np.pi, 0.5)))


def stress_mae(y_true, y_pred):
    r"""Mean absolute error of the stress.

    .. math:: \frac{1}{9n} \sum_s \sum_{xy} \left|\hat\sigma_{s,xy} - \sigma_{s,xy}\right|

    Parameters
    ----------
    y_true : Targets or array-like of shape (n, 3, 3), eV/Å³
        Reference.
    y_pred : Targets or array-like of shape (n, 3, 3), eV/Å³
        Prediction.

    Returns
    -------
    float
        eV/Å³.

    Raises
    ------
    ValueError
        If the shapes differ or nothing is labelled.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.metrics import stress_mae
    >>> stress_mae(np.zeros((1, 3, 3)), 0.03 * np.eye(3)[None])
    0.01
    """
    true, pred = paired("stress", y_true, y_pred)
    return _mae(pred - true)


def stress_rmse(y_true, y_pred):
    r"""Root-mean-square error of the stress.

    .. math:: \sqrt{\frac{1}{9n} \sum_s \sum_{xy} (\hat\sigma_{s,xy} - \sigma_{s,xy})^2}

    Parameters
    ----------
    y_true, y_pred
        Reference and prediction, as in `stress_mae`.

    Returns
    -------
    float
        eV/Å³.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.metrics import stress_rmse
    >>> stress_rmse(np.zeros((1, 3, 3)), 0.03 * np.eye(3)[None])
    0.0173...
    """
    true, pred = paired("stress", y_true, y_pred)
    return _rmse(pred - true)


def neg_energy_mae(estimator, X, y):
    """Scorer: minus `energy_mae` of ``estimator.predict(X)``.

    For ``scoring=`` in `GridSearchCV`, `cross_validate` and similar; higher is better.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        The model.
    X : Structures or list of ase.Atoms
        The structures to predict.
    y : Targets or array-like of shape (n,)
        Reference values.

    Returns
    -------
    float
        eV.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from sklearn.model_selection import cross_val_score
    >>> from skatom.metrics import neg_energy_mae
    >>> X, energies = [[0.0], [1.0], [2.0], [3.0]], [0.0, 0.0, 1.0, 1.0]
    >>> cross_val_score(DummyRegressor(), X, energies, cv=2, scoring=neg_energy_mae)
    array([-1., -1.])
    """
    return -energy_mae(y, prediction(estimator, X, "energy"))


def neg_energy_rmse(estimator, X, y):
    """Scorer: minus `energy_rmse` of ``estimator.predict(X)``.

    For ``scoring=`` in `GridSearchCV`, `cross_validate` and similar; higher is better.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        The model.
    X : Structures or list of ase.Atoms
        The structures to predict.
    y : Targets or array-like of shape (n,)
        Reference values.

    Returns
    -------
    float
        eV.

    See Also
    --------
    neg_energy_mae : The mean absolute error, with an example.
    """
    return -energy_rmse(y, prediction(estimator, X, "energy"))


def neg_force_mae(estimator, X, y):
    """Scorer: minus `force_mae` of ``estimator.predict(X, return_forces=True)``.

    For ``scoring=`` in `GridSearchCV`, `cross_validate` and similar; higher is better.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        The model.
    X : Structures or list of ase.Atoms
        The structures to predict.
    y : Targets with forces
        Reference values.

    Returns
    -------
    float
        eV/Å.

    Raises
    ------
    ValueError
        If ``y`` has no forces or the estimator does not predict them.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.metrics import neg_force_mae
    >>> from skatom.models import GDML
    >>> ethanol = load_ethanol()
    >>> search = GridSearchCV(GDML(), {"sigma": [5.0, 20.0]}, scoring=neg_force_mae, cv=2)
    >>> search.fit(ethanol.structures[::20], ethanol.targets[::20]).best_params_
    {'sigma': 20.0}
    """
    return -force_mae(y, prediction(estimator, X, "forces"))


def neg_force_rmse(estimator, X, y):
    """Scorer: minus `force_rmse` of ``estimator.predict(X, return_forces=True)``.

    For ``scoring=`` in `GridSearchCV`, `cross_validate` and similar; higher is better.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        The model.
    X : Structures or list of ase.Atoms
        The structures to predict.
    y : Targets with forces
        Reference values.

    Returns
    -------
    float
        eV/Å.

    Raises
    ------
    ValueError
        If ``y`` has no forces or the estimator does not predict them.

    See Also
    --------
    neg_force_mae : The mean absolute error of forces, with an example.
    """
    return -force_rmse(y, prediction(estimator, X, "forces"))


def neg_stress_mae(estimator, X, y):
    """Scorer: minus `stress_mae` of ``estimator.predict(X, return_stress=True)``.

    For ``scoring=`` in `GridSearchCV`, `cross_validate` and similar; higher is better.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        The model.
    X : Structures or list of ase.Atoms
        The structures to predict.
    y : Targets with stresses
        Reference values.

    Returns
    -------
    float
        eV/Å³.

    Raises
    ------
    ValueError
        If ``y`` has no stresses or the estimator does not predict them.

    See Also
    --------
    neg_force_mae : The mean absolute error of forces, with an example.
    """
    return -stress_mae(y, prediction(estimator, X, "stress"))


def neg_stress_rmse(estimator, X, y):
    """Scorer: minus `stress_rmse` of ``estimator.predict(X, return_stress=True)``.

    For ``scoring=`` in `GridSearchCV`, `cross_validate` and similar; higher is better.

    Parameters
    ----------
    estimator : fitted estimator or Pipeline
        The model.
    X : Structures or list of ase.Atoms
        The structures to predict.
    y : Targets with stresses
        Reference values.

    Returns
    -------
    float
        eV/Å³.

    Raises
    ------
    ValueError
        If ``y`` has no stresses or the estimator does not predict them.

    See Also
    --------
    neg_force_mae : The mean absolute error of forces, with an example.
    """
    return -stress_rmse(y, prediction(estimator, X, "stress"))


def evaluate(model, X, y):
    """All errors that apply, from one prediction.

    These are the errors of every property that the model predicts and ``y`` has labels for, except
    energies of a model that learnt forces alone, whose zero is arbitrary. The function has the
    signature of a scorer, so ``cross_validate(model, X, y, scoring=evaluate)`` collects all errors.

    Parameters
    ----------
    model : fitted estimator or Pipeline
    X : Structures, list of ase.Atoms, or AtomicFeatures for a model of features
    y : Targets, or array-like of energies

    Returns
    -------
    dict of str to float
        The errors that apply of ``energy_mae``, ``energy_rmse``, ``energy_mae_per_atom``,
        ``energy_rmse_per_atom``, ``force_mae``, ``force_rmse``, ``force_magnitude_error``,
        ``force_angle_error``, ``stress_mae``, ``stress_rmse``.

    Raises
    ------
    ValueError
        If ``y`` does not fit ``X``, or has no label that the model predicts.

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.metrics import evaluate
    >>> from skatom.models import GDML
    >>> ethanol = load_ethanol()
    >>> model = GDML().fit(ethanol.structures[:50], ethanol.targets[:50])
    >>> sorted(evaluate(model, ethanol.structures[50:80], ethanol.targets[50:80]))
    ['energy_mae', 'energy_mae_per_atom', 'energy_rmse', 'energy_rmse_per_atom',
     'force_angle_error', 'force_mae', 'force_magnitude_error', 'force_rmse']
    """
    X = as_batch(X)
    structures = structures_of(X)
    targets = as_targets(y, structures)
    names = [name for name in comparable(model) if targets.labelled(name).any()]
    if not names:
        raise ValueError(
            f"nothing to compare: the model predicts {', '.join(comparable(model))}, the targets "
            f"have {', '.join(targets.names)}"
        )
    answers = predict(model, X, names)
    figures = {}
    if "energy" in names:
        energies = Targets(targets.energy, offsets=structures.offsets)
        for error in (energy_mae, energy_rmse):
            name = error.__name__
            figures[name] = error(energies, answers["energy"])
            figures[f"{name}_per_atom"] = error(energies, answers["energy"], per_atom=True)
    if "forces" in names:
        for error in (force_mae, force_rmse, force_magnitude_error, force_angle_error):
            figures[error.__name__] = error(targets, answers["forces"])
    if "stress" in names:
        for error in (stress_mae, stress_rmse):
            figures[error.__name__] = error(targets, answers["stress"])
    return figures


def prediction(estimator, X, name):
    if name not in predictable(estimator):
        raise ValueError(
            f"the model does not predict {name}, only {', '.join(predictable(estimator))}: choose "
            "another scorer"
        )
    return predict(estimator, X, [name])[name]


def _energy_errors(y_true, y_pred, per_atom):
    if not per_atom:
        true, pred = paired("energy", y_true, y_pred)
        return pred - true
    if getattr(y_true, "offsets", None) is None:
        raise ValueError(
            "per_atom needs the number of atoms of each structure: give y_true as "
            "Targets(energy, offsets=structures.offsets)"
        )
    n_atoms = np.diff(y_true.offsets)[y_true.labelled("energy")]
    true, pred = paired("energy", y_true, y_pred)
    return (pred - true) / n_atoms


def _force_errors(y_true, y_pred, per_atom):
    true, pred = paired("forces", y_true, y_pred)
    return np.linalg.norm(pred - true, axis=1) if per_atom else pred - true


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


def _mae(errors):
    return float(np.mean(np.abs(errors)))


def _rmse(errors):
    return float(np.sqrt(np.mean(np.square(errors))))
