"""All errors of a model's predictions at once."""

from __future__ import annotations

from functools import partial

from skatom._prediction import comparable, predict
from skatom._typing import Estimator, FeaturesLike, TargetsLike
from skatom.descriptors.features import as_batch, structures_of
from skatom.metrics import energy_force_errors as _of_energy
from skatom.metrics import tensor_errors as _of_tensors
from skatom.targets import Targets, as_targets

# The figures of each label: name and function of reference and prediction.
FIGURES = {
    "energy": {
        "energy_mae": _of_energy.energy_mae,
        "energy_mae_per_atom": partial(_of_energy.energy_mae, per_atom=True),
        "energy_rmse": _of_energy.energy_rmse,
        "energy_rmse_per_atom": partial(_of_energy.energy_rmse, per_atom=True),
    },
    "forces": {
        "force_mae": _of_energy.force_mae,
        "force_rmse": _of_energy.force_rmse,
        "force_magnitude_error": _of_energy.force_magnitude_error,
        "force_angle_error": _of_energy.force_angle_error,
    },
    "stress": {"stress_mae": _of_tensors.stress_mae, "stress_rmse": _of_tensors.stress_rmse},
    "dipole": {"dipole_mae": _of_tensors.dipole_mae, "dipole_rmse": _of_tensors.dipole_rmse},
    "polarizability": {
        "polarizability_mae": _of_tensors.polarizability_mae,
        "polarizability_rmse": _of_tensors.polarizability_rmse,
    },
    "dipole_norm": {
        "dipole_norm_mae": _of_tensors.dipole_norm_mae,
        "dipole_norm_rmse": _of_tensors.dipole_norm_rmse,
    },
    "charges": {"charges_mae": _of_tensors.charges_mae, "charges_rmse": _of_tensors.charges_rmse},
}


def evaluate(model: Estimator, X: FeaturesLike, y: TargetsLike) -> dict:
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
        ``force_angle_error``, ``stress_mae``, ``stress_rmse``, ``dipole_mae``, ``dipole_rmse``,
        ``polarizability_mae``, ``polarizability_rmse``, ``dipole_norm_mae``, ``dipole_norm_rmse``,
        ``charges_mae``, ``charges_rmse``.

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
    return figures_of(*compared(model, as_batch(X), y))


def compared(model, X, y):
    """Labels and predictions of what the model predicts and any structure is labelled with.

    Parameters
    ----------
    model : fitted estimator or Pipeline
    X : Structures or features
    y : Targets, or array-like of energies

    Returns
    -------
    labels : Targets
    predicted : dict of str to ndarray
    """
    structures = structures_of(X)
    targets = as_targets(y, structures)
    names = [name for name in comparable(model) if targets.labelled(name).any()]
    if not names:
        raise ValueError(
            f"nothing to compare: the model predicts {', '.join(comparable(model))}, the targets "
            f"have {', '.join(targets.names)}"
        )
    answers = predict(model, X, names)
    # the number of atoms of each structure, for errors per atom
    labels = {name: getattr(targets, name) for name in names}
    labelled = Targets(**labels, offsets=structures.offsets)
    return labelled, {name: answers[name] for name in names}


def figures_of(labels, predicted):
    """The errors that apply, by name."""
    return {
        figure: error(labels, values)
        for name, values in predicted.items()
        for figure, error in FIGURES[name].items()
    }
