"""Estimators that learn a map of features, and the container of their output."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import check_is_fitted, validate_data

from skatom._device import on_host
from skatom._typing import FeaturesLike
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.features import Features
from skatom.descriptors.origin import check_origin, origin_of


class FeatureTransformer:
    """The ``transform`` of an estimator that learns a `FeatureMap`, from features or arrays.

    A subclass implements ``fit``, which takes the table from `fit_table`, and ``_map()``, the
    learnt map. This class comes before scikit-learn's mixins in the bases, so that they do not wrap
    ``transform``: they would put AtomicFeatures in a data frame where ``set_output`` or the global
    configuration asks for one.
    """

    # whether a row of the output belongs to the same atom or structure as that row of the input
    _keeps_rows = True

    def fit_transform(self, X: FeaturesLike, y: Any = None) -> Any:
        """Learn the map and apply it to the same features.

        Parameters
        ----------
        X : AtomicFeatures, StructureFeatures, or array-like of float, shape (n, n_features)
            The features.
        y : ignored

        Returns
        -------
        AtomicFeatures, StructureFeatures or ndarray, as X is
        """
        return self.fit(X, y).transform(X)

    def transform(self, X: FeaturesLike) -> Any:
        """Apply the map.

        Parameters
        ----------
        X : AtomicFeatures, StructureFeatures, or array-like of float, shape (n, n_features)
            The features.

        Returns
        -------
        AtomicFeatures, StructureFeatures or ndarray, as X is
            The mapped features; their derivatives include the map.
        """
        check_is_fitted(self)
        return in_container(self, self._transform(X), X if self._keeps_rows else None)

    def _transform(self, X):
        if isinstance(X, Features):  # on a device they stay there
            _checked_values(self, X, X.values)
            return X.map(self._map())
        table = transform_table(self, X)
        self._map().check(table.shape[1])
        return self._map().value(table)


def fit_table(estimator, X, **checks):
    """The rows of features or of an array, checked, in the ``fit`` of an estimator."""
    estimator._origin = origin_of(X)
    values = on_host(X.values) if isinstance(X, Features) else X
    return validate_data(estimator, values, dtype=float, **checks)


def transform_table(estimator, X):
    """The rows of features or of an array, checked against those of ``fit``."""
    if isinstance(X, Features):
        return _checked_values(estimator, X, on_host(X.values))
    return validate_data(estimator, X, dtype=float, reset=False)


def _checked_values(estimator, X, values):
    """The values of features, which are as many and of the same descriptor as those of ``fit``."""
    # made by skatom: finite
    values = validate_data(estimator, values, reset=False, skip_check_array=True)
    check_origin(estimator, X)
    return values


def in_container(estimator, output, X):
    """The output in the container that ``set_output`` names; features of atoms are unchanged."""
    if isinstance(output, AtomicFeatures):
        return output
    table = _wrap_data_with_container("transform", np.asarray(output), X, estimator)
    return output if isinstance(table, np.ndarray) else table
