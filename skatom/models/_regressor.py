"""The base class of models: outputs by name, the baseline, the score, requests of metadata."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import wraps
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from skatom._input_checks import structure_weights
from skatom._typing import Array, ArrayLike, FeaturesLike, TargetsLike
from skatom.base import BaseEstimator
from skatom.baseline import check_virial
from skatom.descriptors.features import structures_of
from skatom.models._consistency import inconsistencies
from skatom.models._diagnosis import diagnose, is_part, training_errors, undiagnosed
from skatom.models._prediction_jobs import predicted_in_jobs
from skatom.properties import LABELS, OUTPUTS, asked_for, in_order, takes_outputs
from skatom.structures import as_structures
from skatom.targets import as_targets

# The derivatives that outputs are made of.
_SOURCES = {"forces": "gradient", "stress": "virial"}


class StructureRegressor(RegressorMixin, BaseEstimator, ABC):
    """Base class of models of structures, or of features of structures.

    A subclass implements

    - ``gives``: names of all outputs that a model of the class may give, see `skatom.properties`;
    - ``learns``: names of all labels that it may learn from;
    - ``fit``, which sets ``outputs_`` (the outputs of this model in the registry's order; the
      first is what ``predict(X)`` returns), ``absolute_energies_`` and ``baseline_``;
    - ``_checked(X)``: X as ``predict`` needs it, or a ValueError;
    - ``_evaluate(X, names)``: a dict of the named arrays. Names include ``"gradient"``, ∂E/∂R, for
      forces, and ``"virial"``, ∂E/∂ε, for the stress; all without the baseline.
    """

    gives = ("energy", "forces", "stress")
    learns = ("energy", "forces")
    # whether training ends after some steps, whatever was learnt by then
    _trained_in_steps = False

    # Keywords of predict, and the groups of structures, pass through pipelines and searches without
    # a request where scikit-learn's routing of metadata is enabled.
    __metadata_request__predict = {"neighbors": True, **{p.keyword: True for p in OUTPUTS.values()}}
    __metadata_request__fit = {"configurations": True}
    __metadata_request__partial_fit = {"configurations": True}

    def __init_subclass__(cls, **options):
        if "fit" in vars(cls):
            cls.fit = _diagnosed(cls.fit)
        # afterwards, so that a fit whose diagnosis fails changes nothing
        super().__init_subclass__(**options)

    @abstractmethod
    def _checked(self, X):
        """X as `_evaluate` takes it."""

    @abstractmethod
    def _evaluate(self, X, names):
        """Arrays by name, without the baseline."""

    @takes_outputs
    def predict(self, X: FeaturesLike, *, neighbors: Any = None, **returns: Any) -> Array:
        """Predict the energies and the requested properties.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or features, as for ``fit``
            The n structures, of n_atoms atoms in all.
        neighbors : NeighborList, default=None
            Neighbour list of these structures, for example of a simulation engine, for models that
            take structures, see `Structures.with_neighbors`. None: it is computed.
        return_energy, return_forces, return_stress, return_dipole, return_polarizability, \
return_dipole_norm, return_charges, return_local_energies : bool, default=False
            Properties to return besides the first of ``outputs_``, which is always returned. The
            stress needs structures that are periodic in all three directions.
        return_std, return_forces_std, return_stress_std, return_dipole_std, \
return_polarizability_std, return_dipole_norm_std, return_charges_std, \
return_local_energies_std : bool, default=False
            Standard deviations to return: of the energy, of the forces, and so on.

        Returns
        -------
        ndarray, or tuple of them
            In this order: energy (n,) in eV, forces (n_atoms, 3) in eV/Å, stress (n, 3, 3) in
            eV/Å³, tension positive as in ASE, dipole (n, 3) in e·Å, polarizability (n, 3, 3),
            lengths of dipoles (n,) in e·Å, charges (n_atoms,) in e, local energies (n_atoms,) in
            eV, then the standard deviations in the same order, each of the shape and unit of its
            property.

        Raises
        ------
        ValueError
            If the model does not give a requested property; ``outputs_`` lists what it gives.
        """
        if not hasattr(self, "outputs_"):  # asking scikit-learn takes a tenth of a small prediction
            check_is_fitted(self)
        names = in_order({self.outputs_[0], *asked_for(returns)})
        self._check_given(names)
        X = self._checked(X if neighbors is None else _with_neighbors(X, neighbors))
        found = None if neighbors is not None else predicted_in_jobs(self, X, names)
        if found is None:
            found = self._outputs(X, names)
        return found[names[0]] if len(names) == 1 else tuple(found[name] for name in names)

    def _contradictions(self, structures, targets, names):
        """Sentences about labels, of these names, that contradict each other."""
        return inconsistencies(structures, targets, names)

    def _training_errors(self, X, structures, targets, names):
        """Residuals of labels of a few training structures, see `training_errors`."""
        return training_errors(self, X, structures, targets, names)

    def _for_jobs(self, names):
        """The fitted model with what predictions of these properties need, to be sent to jobs."""
        return self

    def _check_given(self, names):
        missing = [name for name in names if name not in self.outputs_]
        if missing:
            name = missing[0]
            others = ", ".join(models_that_give(name)) or "no model yet"
            raise ValueError(
                f"this {type(self).__name__} gives {', '.join(self.outputs_)} but no {name}; "
                f"{name} may be given by: {others}{self._remedy(name)}"
            )

    def _remedy(self, name):
        """What would make this model give a property, for the end of the error that it does not."""
        left_out = getattr(self, "keep_factor", True) is False and self._lacks_deviation(name)
        return "; this one gives it if it is fitted with keep_factor=True" if left_out else ""

    def _lacks_deviation(self, name):
        """Whether a property is the standard deviation of one that this model predicts."""
        return name in self.gives and name.removesuffix("_std") in self.outputs_

    def _outputs(self, X, names):
        volumes = structures_of(X).volumes()[:, None, None] if "stress" in names else None
        sources = tuple(_SOURCES.get(name, name) for name in names)
        found = self._evaluate(X, sources)
        if getattr(self, "baseline_", None) is not None:
            self._add_baseline(structures_of(X), found, sources)
        if "gradient" in found:
            found["forces"] = -found["gradient"]
        if "virial" in found and "stress" in names:
            found["stress"] = found["virial"] / volumes
        return found

    def _add_baseline(self, structures, found, names):
        known = {}
        if {"gradient", "virial"} & found.keys():
            parts = self.baseline_.differentiate(structures)
            known = dict(zip(("energy", "gradient", "virial"), parts, strict=True))
            if "virial" in names:
                check_virial(known["virial"], self.baseline_)
        elif "energy" in found:
            known = {"energy": self.baseline_.energies(structures)}
        if "local_energies" in found:
            known["local_energies"] = self.baseline_.local_energies(structures)
        for name in known.keys() & found.keys():
            found[name] = found[name] + known[name]

    def score(self, X: Any, y: TargetsLike, sample_weight: ArrayLike | None = None) -> float:
        r"""R² of the first output that is labelled: of energies, if the model learnt them.

        .. math:: R^2 = 1 - \frac{\sum_s u_s (y_s - \hat y_s)^2}{\sum_s u_s (y_s - \bar y)^2}

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or features, as for ``predict``
            The n structures.
        y : Targets, or array of energies
            Labels.
        sample_weight : array-like of float, shape (n,), default=None
            Weights u of the structures. None: 1.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        X = self._checked(X)
        if not hasattr(structures_of(X), "numbers"):  # an array
            return super().score(X, np.asarray(y), sample_weight)
        structures = structures_of(X)
        targets = as_targets(y, structures)
        name = self._scored(targets)
        found = self._outputs(X, in_order({self.outputs_[0], name}))[name]
        true = targets.require(name)
        weights = structure_weights(sample_weight, len(structures))
        if OUTPUTS[name].per == "atom":
            weights = np.repeat(weights, structures.n_atoms)
        weights = np.repeat(weights, max(1, int(np.prod(OUTPUTS[name].shape))))
        return r2_score(true.ravel(), found.ravel(), sample_weight=weights)

    def _scored(self, targets):
        """The first output that is labelled; relative energies are compared with nothing."""
        names = [n for n in self.outputs_ if n != "energy" or self.absolute_energies_]
        labelled = [n for n in names if n in LABELS and targets.labelled(n).any()]
        return (labelled or names)[0]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags


def _diagnosed(fit):
    """A ``fit`` that compares its labels with what was learnt from them, once they were learnt."""

    @wraps(fit)
    def diagnosed_fit(self, *args, **kwargs):
        part = is_part()
        with undiagnosed():
            fitted = fit(self, *args, **kwargs)
        if not part:
            given = signature(fit).bind(self, *args, **kwargs).arguments
            diagnose(self, given["X"], given.get("y"), given.get("sample_weight"))
        return fitted

    return diagnosed_fit


def _with_neighbors(X, neighbors):
    if hasattr(X, "descriptor"):
        raise ValueError(
            "X are features, which have their neighbours already: give neighbors to the transform "
            "of the descriptor, or structures.with_neighbors(neighbors) to a Pipeline"
        )
    return as_structures(X).with_neighbors(neighbors)


def models_that_give(name):
    """Names of the public models that may give a property."""
    models = import_module("skatom.models")
    classes = (getattr(models, public) for public in models.__all__)
    return [c.__name__ for c in classes if name in getattr(c, "gives", ())]
