"""The standard deviation that a model predicts as a measure of novelty."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import HasMethods, StrOptions

from skatom._prediction import last_step, predict, predictable, unwrap
from skatom._typing import Estimator, FeaturesLike
from skatom._warnings import warn
from skatom.selection.novelty import Novelty, structures_of
from skatom.structures import as_structures, is_atoms

# Deviations below this, in eV or eV/Å, are rounding error.
_NOTHING = 1e-12


class PredictedDeviation(Novelty):
    r"""The standard deviation that a model predicts: of a Gaussian process, of a `Committee`.

    .. math::
        s = \max_a \Big( \sum_x s_{F_{ax}}^2 \Big)^{1/2} \quad\text{or}\quad s_E / N

    The deviation of the force on an atom is by atoms, and that of a structure is the largest of
    these. `select` takes the structures of largest deviation; they may be like each other, unlike
    those that the other measures choose.

    Parameters
    ----------
    model : fitted estimator or Pipeline
        A model that predicts the deviation.
    of : {"forces", "energy"}, default="forces"
        Whose deviation: that of forces in eV/Å, or that of energies in eV per atom.

    Attributes
    ----------
    model_ : estimator or Pipeline
        The model after `fit` or `partial_fit`; before, there is none, and `model` is used.

    Raises
    ------
    ValueError
        If the model does not predict the deviation.

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import SGDML, Committee
    >>> from skatom.selection import PredictedDeviation
    >>> data = load_ethanol()
    >>> committee = Committee(SGDML(), n_models=3, random_state=0)
    >>> committee = committee.fit(data.structures[::40], data.targets[::40])
    >>> measure = PredictedDeviation(committee)
    >>> measure.score(data.structures[1:3], by_atom=True).shape
    (18,)
    """

    _how_by_atom = "of='forces'"

    _parameter_constraints = {
        "model": [HasMethods(["fit", "predict"])],
        "of": [StrOptions({"forces", "energy"})],
    }

    def __init__(self, model: Estimator, of: str = "forces") -> None:
        self.model = model
        self.of = of

    def fit(self, X: FeaturesLike, y: Any = None) -> Self:
        """Fit a copy of the model.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or features
            The structures.
        y : Targets, or array-like of shape (n,)
            Their labels.

        Returns
        -------
        self
        """
        self._validate_params()
        self.model_ = clone(unwrap(self.model)).fit(X, y)
        return self

    def partial_fit(self, X: FeaturesLike, y: Any = None) -> Self:
        """Learn from more structures, if the model has ``partial_fit``.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or features
            More structures.
        y : Targets, or array-like of shape (n,)
            Their labels.

        Returns
        -------
        self
        """
        if not hasattr(self._fitted, "partial_fit"):
            raise ValueError(
                f"{type(last_step(self._fitted)).__name__} has no partial_fit: fit to all "
                "structures again"
            )
        self.model_ = self._fitted.partial_fit(X, y)
        return self

    @property
    def _fitted(self):
        return getattr(self, "model_", unwrap(self.model))

    @property
    def species_(self):
        """Atomic numbers that the model knows; None if it does not say."""
        return getattr(last_step(self._fitted), "species_", None)

    @property
    def scores_atoms_(self):
        """Whether `score` can say how new each atom is."""
        return self.of == "forces"

    def __sklearn_is_fitted__(self):
        return True

    def _described(self, X):
        return as_structures(X) if is_atoms(X) else X

    def _scores(self, X):
        name = f"{self.of}_std"
        if name not in predictable(self._fitted):
            raise ValueError(
                f"{type(last_step(self._fitted)).__name__} predicts no {name}: take a model that "
                f"does, such as Committee({type(last_step(self._fitted)).__name__}())"
            )
        found = predict(self._fitted, X, [name])[name]
        if len(found) > 1 and found.max() < _NOTHING:
            warn("all deviations are 0: members of a committee must differ in their data or seeds")
        if self.of == "forces":
            return np.linalg.norm(found, axis=1)
        structures = structures_of(X)
        return found if structures is None else found / structures.n_atoms

    def _choose(self, X, n):
        found = self._scores(X)
        if self.of == "forces":
            found = np.maximum.reduceat(found, structures_of(X).offsets[:-1])
        order = np.argsort(-found, kind="stable")
        return order[found[order] > 0][:n]
