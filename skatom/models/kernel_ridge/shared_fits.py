"""Kernel ridge regressions of parts of the same features, which share what they have in common."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import joblib
import numpy as np
from sklearn.base import clone

from skatom._device import device_of, device_parameter
from skatom._typing import ArrayLike, FeaturesLike, TargetsLike
from skatom.kernels import FCHL18, DotKernel
from skatom.models._diagnosis import undiagnosed
from skatom.models._shared_parts import SharedParts
from skatom.models.kernel_ridge.derivative_system import CholeskySystem
from skatom.models.kernel_ridge.factors import derivative_system
from skatom.models.kernel_ridge.inputs import is_array
from skatom.models.kernel_ridge.labels import RidgeLabels
from skatom.solvers.stored_matrix import StoredMatrix
from skatom.targets import as_targets

_LABELS = ("energy", "forces", "stress")


def shared_fits(
    models: list,
    X: FeaturesLike,
    y: TargetsLike,
    parts: list,
    configurations: ArrayLike | None = None,
) -> Iterator:
    """Fit several models to several parts of the data, and share what they have in common.

    With ``basis="derivatives"`` and a kernel of features, Jacobians are made once for all models,
    and the covariance matrix of all structures once for each kernel, if it fits in memory beside a
    factor.

    Parameters
    ----------
    models : list of ForceKernelRidge
        Not fitted; they are cloned.
    X, y, configurations : as for ``fit``, of n structures
    parts : list of ndarray of int
        Indices of the structures of each part.

    Yields
    ------
    m, p, fit : int, int, callable
        ``fit()`` returns model m, fitted to part p. Call it before the next one is asked for.
    """
    groups = {}
    for m, model in enumerate(models):
        groups.setdefault(joblib.hash(model.kernel), []).append(m)
    shared = None
    if all(_can_share(model, X) for model in models):
        shared = SharedMatrix(X, as_targets(y, X.structures), [np.sort(part) for part in parts])
    for group in groups.values():
        if shared is not None:
            shared.begin(len(group))
        for p, part in enumerate(parts):
            for m in group:
                chosen = part if shared is None else shared.parts[p]
                names = None if configurations is None else np.asarray(configurations)[chosen]
                yield m, p, partial(_fit, models[m], X[chosen], y[chosen], names, shared, chosen)
    if shared is not None:
        shared.begin(0)


def _can_share(model, X):
    kernel = model._kernel()
    return not is_array(X, kernel) and not isinstance(kernel, FCHL18)


def _fit(model, X, y, configurations, shared, part):
    fitted = clone(model)
    with undiagnosed():
        if shared is None:
            return fitted.fit(X, y, configurations)
        fitted._validate_params()
        return fitted._learn(X, y, configurations, partial(shared.system, part))


class SharedMatrix(SharedParts):
    """Features with their Jacobians and bases, and one covariance matrix.

    Parameters
    ----------
    X : AtomicFeatures or StructureFeatures
    targets : Targets
    parts : list of ndarray of int, sorted
    """

    def __init__(self, X, targets, parts):
        super().__init__(parts)
        labelled = np.logical_or.reduce([targets.labelled(name) for name in _LABELS])
        self.rows = self.rows[labelled[self.rows]]
        self.features, self.targets, self._systems = X, targets, {}

    def system(self, part, model, kernel, X, labels, used):
        """What `derivative_system` gives, made of the shared one.

        Parameters
        ----------
        part : ndarray of int
        model, kernel, X, labels : as in `derivative_system`
        used : ndarray of bool
            Which structures of the part have labels.
        """
        whole = self._whole(model, kernel)
        places = np.searchsorted(self.rows, part[used])
        if whole is None or not whole.has_labels_of(labels, places):
            return derivative_system(model, kernel, X, labels)
        system = whole.part(places, kernel, labels, model.max_memory)
        key, size = joblib.hash([kernel, model.max_memory]), int(system.layout.starts[-1])
        stored = self.kept(key, partial(self._matrix, whole, kernel, model.max_memory, size))
        if stored is not None:
            starts = whole.layout.starts
            rows = [np.arange(starts[s], starts[s + 1]) for s in places]
            system.copy_from(stored, np.concatenate(rows))
        return system

    def _whole(self, model, kernel):
        """The system of all structures, None if it is none of derivatives or does not fit."""
        if model.solver == "cg" or not isinstance(kernel, DotKernel):
            return None
        if model.max_memory not in self._systems:
            self._systems[model.max_memory] = self._made(model, kernel)
        return self._systems[model.max_memory]

    def _made(self, model, kernel):
        X, targets = self.features[self.rows], self.targets[self.rows]
        zeros = dict.fromkeys(("energy", "forces", "virial", "dipole"), np.zeros(len(X)))
        learnt = [name for name in _LABELS if targets.labelled(name).any()]
        try:
            labels = RidgeLabels(X.structures, targets, zeros, learnt)
            return CholeskySystem(kernel, X, labels, model.max_memory)
        except MemoryError:
            return None

    def _matrix(self, whole, kernel, max_memory, size):
        """The `StoredMatrix` of all structures, None if it is not worthwhile."""
        sizes, n_rows = [len(part) for part in self.parts], (int(whole.layout.starts[-1]), size)
        values = self.features.values
        if not self.pays(sizes, n_rows, max_memory, device_of(values)):
            return None
        system = whole.with_kernel(kernel)
        return StoredMatrix(system, system.edges(), device_parameter(values))
