"""The base class of linear models of tables, or of features of structures."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skatom._layers import DenseLayer, LayeredRows
from skatom._typing import FeaturesLike
from skatom.baseline import count_species
from skatom.elements import species_index
from skatom.models._feature_regressor import FeatureRegressor, kind_of


class LinearModel(FeatureRegressor):
    """A linear model of arrays, or of features of structures.

    A subclass fits ``coef_`` and ``intercept_``, and sets ``_learnt_from``: the name of the class
    of the features, None for arrays.
    """

    def layers_of(self, X: FeaturesLike) -> tuple:
        """The layers that a prediction is made of, for `skatom.attribution`: one, which is linear.

        Parameters
        ----------
        X : array-like of shape (n, n_features), AtomicFeatures or StructureFeatures
            The features, as in `fit`.

        Returns
        -------
        inputs : ndarray of float, shape (n_rows, n_features)
            The features of atoms, structures or samples.
        parts : list of LayeredRows
            The layers of all rows; their outputs add up to the prediction without the baseline.
        """
        check_is_fitted(self)
        X = self._checked(X)
        if self._learnt_from is None:
            x = X.values if kind_of(X) else X
            return x, [_linear(np.arange(len(x)), self.coef_, np.full(len(x), self.intercept_))]
        if self._learnt_from == "StructureFeatures":
            constants = count_species(X.structures, self.species_) @ self._energies_of_elements
            return X.values, [_linear(np.arange(len(X)), self.coef_.ravel(), constants)]
        kinds = species_index(X.structures, self.species_)
        constants = self._energies_of_elements[kinds]
        if self.coef_.ndim == 1:
            return X.values, [_linear(np.arange(len(kinds)), self.coef_, constants)]
        rows = [np.flatnonzero(kinds == k) for k in np.unique(kinds)]
        return X.values, [_linear(r, self.coef_[kinds[r[0]]], constants[r]) for r in rows]

    @property
    def _energies_of_elements(self):
        return np.broadcast_to(self.intercept_, len(self.species_))


def _linear(rows, coef, constants):
    return LayeredRows(rows, [DenseLayer(coef[:, None], np.zeros(1))], constants)
