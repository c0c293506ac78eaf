"""The base class of selectors of samples and features."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.feature_selection import SelectorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skatom._typing import Array, ArrayLike
from skatom.base import BaseEstimator
from skatom.descriptors.feature_transformer import FeatureTransformer, fit_table, transform_table
from skatom.descriptors.maps import Select
from skatom.descriptors.structure_features import StructureFeatures
from skatom.parallel import serial_blas

# The parameter ``first``: points that are selected already.
FIRST = [Interval(Integral, 0, None, closed="left"), "array-like", None]


class Selector(FeatureTransformer, SelectorMixin, BaseEstimator):
    """Base class of selectors of columns, as in `sklearn.feature_selection`, or of rows.

    Selected columns of `StructureFeatures` and `AtomicFeatures` keep their derivatives and stay in
    their original order. Selected rows are in the order of selection: of `StructureFeatures` they
    are `StructureFeatures` again; of `AtomicFeatures`, whose rows are environments, they are an
    array, since an atom cannot be cut out of its structure. ``transform`` selects rows of the
    samples given to ``fit``, or of any table with one row for each of them.

    A subclass implements ``_select(points, limit)``, which takes the candidates as rows and returns
    the indices of at most ``limit`` of them in the order of selection.
    """

    _parameter_constraints = {
        "n_select": [Interval(Integral, 1, None, closed="left"), None],
        "axis": [StrOptions({"features", "samples"})],
        "random_state": ["random_state"],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Select the columns or rows.

        Parameters
        ----------
        X : array-like of float, shape (n_samples, n_features), StructureFeatures or AtomicFeatures
            The candidates.
        y : ignored

        Returns
        -------
        self
        """
        table = fit_table(self, X)
        points = table if self.axis == "samples" else table.T
        limit = self.n_select or max(1, len(points) // 2)
        if limit > len(points):
            raise ValueError(
                f"n_select={limit}, but there are only {len(points)} {self.axis}: select fewer"
            )
        self.n_candidates_ = len(points)
        with serial_blas():  # small products, one after the other: threads would only wait
            self.selected_ = self._select(points, limit)
        return self

    def _first(self, points, limit):
        """The points that are selected already, (n,)."""
        first = np.atleast_1d(np.asarray([] if self.first is None else self.first, int))
        outside = first[(first < 0) | (first >= len(points))]
        if len(outside):
            raise ValueError(f"first={outside[0]}, but there are only {len(points)} {self.axis}")
        if len(first) > limit or len(np.unique(first)) < len(first):
            raise ValueError(
                f"first has {len(first)} points, of which {len(np.unique(first))} are different, "
                f"for n_select={limit}: name each once, and select as many or more"
            )
        return first

    def _get_support_mask(self):
        check_is_fitted(self)
        mask = np.zeros(self.n_candidates_, bool)
        mask[self.selected_] = True
        return mask

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """Names of the features after ``transform``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of all features.

        Returns
        -------
        ndarray of str
        """
        if self._keeps_rows:
            return super().get_feature_names_out(input_features)
        check_is_fitted(self)
        return _check_feature_names_in(self, input_features)

    @property
    def _keeps_rows(self):
        return self.axis == "features"

    def _transform(self, X):
        if self._keeps_rows:
            return super()._transform(X)
        table = transform_table(self, X)
        if len(table) != self.n_candidates_:
            raise ValueError(
                f"{len(table)} samples, but {self.n_candidates_} were given to fit: samples are "
                "selected from those alone; use .selected_ to index anything else that belongs to "
                "them"
            )
        return (X if isinstance(X, StructureFeatures) else table)[self.selected_]

    def _map(self):
        return Select(np.sort(self.selected_), self.n_features_in_)
