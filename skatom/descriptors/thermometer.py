"""Thermometer coding of features: several steps in place of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skatom._device import beside, namespace
from skatom._typing import Array, ArrayLike, FeaturesLike
from skatom.base import BaseEstimator
from skatom.descriptors.feature_transformer import FeatureTransformer, fit_table
from skatom.descriptors.maps import FeatureMap


class Thermometer(FeatureMap):
    """Steps of each feature, y_fc = tanh(x_f + s_c).

    Parameters
    ----------
    shifts : array-like of float, shape (n_steps,)
        The shifts s.
    n_features : int
        Number of features of x.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.descriptors import Thermometer
    >>> Thermometer([1.0, 0.0], 2).value(np.array([[0.0, -1.0]])).round(3)
    array([[ 0.762,  0.   ,  0.   , -0.762]])
    """

    def __init__(self, shifts: ArrayLike, n_features: int) -> None:
        self.shifts = np.array(shifts, dtype=float)
        self.n_features_in, self.n_features_out = n_features, n_features * len(self.shifts)

    def value(self, x: Any, numbers: ArrayLike | None = None) -> Any:
        return self._steps(x).reshape(len(x), self.n_features_out)

    def pullback(self, x: Any, cotangent: Any, numbers: ArrayLike | None = None) -> Any:
        steps = self._steps(x)
        return ((1 - steps * steps) * cotangent.reshape(steps.shape)).sum(2)

    def pushforward(self, x: Any, tangents: Any, numbers: ArrayLike | None = None) -> Any:
        steps = self._steps(x)
        pushed = tangents[:, :, :, None] * (1 - steps * steps)[:, None]
        return pushed.reshape(len(x), tangents.shape[1], self.n_features_out)

    def feature_names(self, names: Sequence[str]) -> Any:
        return np.array([f"{name}{s:+g}" for name in names for s in self.shifts], dtype=object)

    def depends_on(self, chosen: Any) -> Any:
        return np.reshape(chosen, (self.n_features_in, -1)).any(axis=1)

    def _steps(self, x):
        """y (n, n_features, n_steps)."""
        return namespace(x).tanh(x[:, :, None] + beside(self.shifts, x))


class ThermometerEncoder(FeatureTransformer, TransformerMixin, BaseEstimator):
    r"""Smooth steps of each feature, which tell a network apart what is small and what is large.

    .. math:: y_{fc} = \tanh(x_f + s_c)

    The features should have mean zero and unit variance; scale the steps again before a network
    [1]_. They keep their derivatives. The steps of a feature lie beside each other, so that parts
    of ``n_groups`` of a `StructuredMLPRegressor` stay together, and the relevance of a feature is
    the sum over its steps, ``relevances.reshape(n, -1, len(shifts)).sum(axis=2)``.

    Parameters
    ----------
    shifts : array-like of float, shape (n_steps,), default=(2, 1, 0, -1, -2)
        The shifts s.

    Attributes
    ----------
    map_ : Thermometer
        The map of the features.

    References
    ----------
    .. [1] G. Montavon, in Machine Learning Meets Quantum Physics, Lecture Notes in Physics 968,
       37 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.descriptors import ThermometerEncoder
    >>> ThermometerEncoder().fit_transform(np.array([[0.0], [1.0]])).round(2)
    array([[ 0.96,  0.76,  0.  , -0.76, -0.96],
           [ 1.  ,  0.96,  0.76,  0.  , -0.76]])
    """

    _parameter_constraints = {"shifts": ["array-like"]}

    def __init__(self, shifts: ArrayLike = (2, 1, 0, -1, -2)) -> None:
        self.shifts = shifts

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: FeaturesLike, y: Any = None) -> Self:
        """Learn the number of features.

        Parameters
        ----------
        X : AtomicFeatures, StructureFeatures, or array-like of float, shape (n, n_features)
            The training data.
        y : ignored

        Returns
        -------
        self
        """
        shifts = np.asarray(self.shifts)
        if shifts.ndim != 1 or not len(shifts) or not np.isfinite(shifts.astype(float)).all():
            raise ValueError(
                f"shifts={self.shifts!r} must be one or more finite numbers, such as (1, 0, -1)"
            )
        self.map_ = Thermometer(shifts, fit_table(self, X).shape[1])
        return self

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """Names such as ``x0+2``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        return self.map_.feature_names(_check_feature_names_in(self, input_features))

    def _map(self):
        return self.map_
