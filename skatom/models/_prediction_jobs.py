"""Predictions of many structures in jobs, in other processes or on a Dask cluster."""

from functools import partial

import numpy as np

from skatom._device import is_tensor
from skatom.descriptors.features import Features, structures_of
from skatom.parallel import map_jobs, split_sizes, works_elsewhere
from skatom.structures import Structures

# Atoms of a job: enough for half a second or more, and few in memory.
_ATOMS = 4096


def predicted_in_jobs(model, X, names):
    """Arrays by name, or None if there are no jobs elsewhere or too few structures for two.

    Parameters
    ----------
    model : StructureRegressor
        The fitted model.
    X : Structures or Features
        The structures; of anything else the prediction is made here.
    names : list of str

    Returns
    -------
    dict of ndarray, or None
    """
    if not isinstance(X, Structures | Features):
        return None
    pieces = split_sizes(structures_of(X).n_atoms, _ATOMS)
    if len(pieces) < 2 or not works_elsewhere() or is_tensor(getattr(X, "values", None)):
        return None
    predict = partial(_outputs, model._for_jobs(names), names)
    parts = list(map_jobs(predict, [X[piece] for piece in pieces]))
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _outputs(model, names, X):
    found = model._outputs(X, names)
    return {name: found[name] for name in names}
