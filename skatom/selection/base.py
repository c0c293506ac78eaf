"""What selectors of samples and features share."""

from numbers import Integral

import numpy as np
from sklearn.base import _fit_context
from sklearn.feature_selection import SelectorMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skatom.base import BaseEstimator
from skatom.parallel import serial_blas


class Selector(SelectorMixin, BaseEstimator):
    """Base class of selectors of columns, as in `sklearn.feature_selection`, or of rows.

    A subclass writes ``_select(points, limit)``, which takes the candidates as rows and returns
    the indices of at most ``limit`` in the order of selection.
    """

    _parameter_constraints = {
        "n_select": [Interval(Integral, 1, None, closed="left"), None],
        "axis": [StrOptions({"features", "samples"})],
        "random_state": ["random_state"],
    }

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Select.

        Parameters
        ----------
        X : array-like of float, shape (n_samples, n_features)
        y : Ignored

        Returns
        -------
        self
        """
        X = validate_data(self, X, dtype=float)
        points = X if self.axis == "samples" else X.T
        limit = self.n_select or max(1, len(points) // 2)
        if limit > len(points):
            raise ValueError(
                f"n_select={limit}, but there are only {len(points)} {self.axis}: select fewer"
            )
        self.n_candidates_ = len(points)
        with serial_blas():  # small products, one after the other: threads would only wait
            self.selected_ = self._select(points, limit)
        return self

    def _get_support_mask(self):
        check_is_fitted(self)
        mask = np.zeros(self.n_candidates_, bool)
        mask[self.selected_] = True
        return mask

    def transform(self, X):
        """Keep what was selected.

        Parameters
        ----------
        X : array-like of float, shape (n_samples, n_features)
            With ``axis="samples"``: the samples given to ``fit``, or as many others.

        Returns
        -------
        ndarray of float
            The columns in their own order, or the rows in the order of selection.
        """
        if self.axis == "features":
            return super().transform(X)
        check_is_fitted(self)
        X = validate_data(self, X, dtype=float, reset=False)
        if len(X) != self.n_candidates_:
            raise ValueError(
                f"{len(X)} samples, but {self.n_candidates_} were given to fit: samples are "
                "selected from those alone; use .selected_ to index anything else that belongs to "
                "them"
            )
        return X[self.selected_]
