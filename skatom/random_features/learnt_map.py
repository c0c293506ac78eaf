"""What transformers share whose features are numbered, and whose map is learnt as a whole."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skatom._typing import Array, ArrayLike


class NumberedFeatures:
    """The names of the features of an estimator, and its map, from its attribute ``map_``."""

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """Names of the random features, which are numbered.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features that are mapped.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        return self.map_.feature_names(_check_feature_names_in(self, input_features))

    def _map(self) -> Any:
        return self.map_
