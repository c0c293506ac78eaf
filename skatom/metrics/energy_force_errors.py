"""Errors of predicted energies and forces."""

from __future__ import annotations

import numpy as np

from skatom._typing import TargetsLike
from skatom.metrics.comparison import mean_absolute, paired, root_mean_square


def energy_mae(y_true: TargetsLike, y_pred: TargetsLike, *, per_atom: bool = False) -> float:
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
    return mean_absolute(_energy_errors(y_true, y_pred, per_atom))


def energy_rmse(y_true: TargetsLike, y_pred: TargetsLike, *, per_atom: bool = False) -> float:
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
    return root_mean_square(_energy_errors(y_true, y_pred, per_atom))


def force_mae(y_true: TargetsLike, y_pred: TargetsLike, *, per_atom: bool = False) -> float:
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
    return mean_absolute(_force_errors(y_true, y_pred, per_atom))


def force_rmse(y_true: TargetsLike, y_pred: TargetsLike, *, per_atom: bool = False) -> float:
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
    return root_mean_square(_force_errors(y_true, y_pred, per_atom))


def force_magnitude_error(y_true: TargetsLike, y_pred: TargetsLike) -> float:
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
    return mean_absolute(np.linalg.norm(pred, axis=1) - np.linalg.norm(true, axis=1))


def force_angle_error(y_true: TargetsLike, y_pred: TargetsLike) -> float:
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
