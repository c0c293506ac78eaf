"""Scaling and selection of features, whose derivatives stay lazy."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from ase.data import chemical_symbols
from scipy.linalg import eigh
from sklearn.base import OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skatom._typing import Array, ArrayLike, FeaturesLike
from skatom._warnings import warn
from skatom.base import BaseEstimator
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.feature_transformer import FeatureTransformer, fit_table, transform_table
from skatom.descriptors.features import Features
from skatom.descriptors.maps import Scale, Select
from skatom.parallel import split_rows
from skatom.structures import structure_of

# A feature whose range is this small relative to its size is constant.
_CONSTANT = 1e-12
# So is one whose range is this small relative to the largest range: it is the rounding of zeros.
_NOTHING = 1e-20
# CUR stops where what is left of every column is rounding error.
_EXHAUSTED = 1e-13
# Rows whose limits are in memory at once.
_ROWS = 1024


class FeatureScaler(FeatureTransformer, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Scale features, species by species for atoms, and detect features out of range.

    .. math::
        G' = \frac{2 (G - G_{min})}{G_{max} - G_{min}} - 1 \qquad
        G' = \frac{G - \bar G}{G_{max} - G_{min}} \qquad
        G' = \frac{G - \bar G}{s}

    for "minmax", "center" and "standard", with the extremes, the mean and the standard deviation s
    in the training data: over the atoms of one species for `AtomicFeatures`, over all rows for
    `StructureFeatures` and arrays. A constant feature is only shifted. Scaled features keep their
    derivatives.

    Parameters
    ----------
    scaling : {"minmax", "center", "standard"}, default="minmax"
        Which of the equations is used.
    out_of_range : {"warn", "raise", "ignore"}, default="warn"
        What to do about features outside of the range of the training data, for which a model
        extrapolates.
    tolerance : float, default=1e-9
        How far outside of the range a feature may lie, as a fraction of the range.

    Attributes
    ----------
    species_ : ndarray of int, or None
        Sorted atomic numbers in the training data; None if its rows were not atoms.
    minimum_, maximum_ : ndarray of float, shape (n_species, n_features)
        Range of each feature. There is a single row if the rows of the training data were not
        atoms.
    shift_, scale_ : ndarray of float, shape (n_species, n_features)
        Shift and scale of each feature, G' = (G - shift) / scale, with rows like ``minimum_``.

    Raises
    ------
    ValueError
        If the number of features differs from the training data, a species was not in the training
        data, or features of structures are scaled after a fit to features of atoms.

    References
    ----------
    .. [1] J. Behler, Int. J. Quantum Chem. 115, 1032 (2015).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import ACSF, FeatureScaler
    >>> features = ACSF().fit_transform([molecule("CH3OH"), molecule("H2O")])
    >>> scaled = FeatureScaler().fit_transform(features)
    >>> float(scaled.values.min().round(9)), float(scaled.values.max().round(9))
    (-1.0, 1.0)
    >>> gradient, virial = scaled.pullback(scaled.values)
    """

    _parameter_constraints = {
        "scaling": [StrOptions({"minmax", "center", "standard"})],
        "out_of_range": [StrOptions({"warn", "raise", "ignore"})],
        "tolerance": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self, scaling: str = "minmax", *, out_of_range: str = "warn", tolerance: float = 1e-9
    ) -> None:
        self.scaling = scaling
        self.out_of_range = out_of_range
        self.tolerance = tolerance

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: FeaturesLike, y: Any = None) -> Self:
        """Learn the range of the features.

        Parameters
        ----------
        X : AtomicFeatures, StructureFeatures, or array-like of float, shape (n, n_features)
            The training data.
        y : ignored

        Returns
        -------
        self
        """
        values = fit_table(self, X)
        if isinstance(X, AtomicFeatures):
            self.species_ = X.species
            parts = [values[X.numbers == z] for z in self.species_]
        else:
            self.species_, parts = None, [values]
        self.minimum_ = np.stack([part.min(axis=0) for part in parts])
        self.maximum_ = np.stack([part.max(axis=0) for part in parts])
        width = self.maximum_ - self.minimum_
        if self.scaling == "minmax":
            self.shift_, scale = 0.5 * (self.minimum_ + self.maximum_), 0.5 * width
        else:
            self.shift_ = np.stack([part.mean(axis=0) for part in parts])
            scale = width
            if self.scaling == "standard":
                scale = np.stack([part.std(axis=0) for part in parts])
        size = np.maximum(np.abs(self.maximum_), np.abs(self.minimum_))
        constant = width <= np.maximum(_CONSTANT * size, _NOTHING * width.max(initial=0.0))
        self.scale_ = np.where(constant, 1.0, scale)
        return self

    def count_out_of_range(self, X: FeaturesLike) -> Array:
        """Number of features of each row that lie outside of the range of the training data.

        Parameters
        ----------
        X : AtomicFeatures, StructureFeatures, or array-like of float, shape (n, n_features)
            The features, not scaled.

        Returns
        -------
        ndarray of int, shape (n_atoms,), or (n,) for rows that are not atoms
        """
        check_is_fitted(self)
        values = transform_table(self, X)
        atoms = X.structures if isinstance(X, AtomicFeatures) else None
        self._map().check(values.shape[1], atoms)
        return self._outside(X, values).sum(axis=1)

    def _map(self):
        return Scale(self.shift_, self.scale_, self.species_)

    def _transform(self, X):
        scaled = super()._transform(X)
        if self.out_of_range != "ignore":
            values = transform_table(self, X)
            self._report(X, values, self._outside(X, values))
        return scaled

    def _outside(self, X, values):
        width = self.maximum_ - self.minimum_
        size = np.maximum(np.abs(self.maximum_), np.abs(self.minimum_))
        slack = self.tolerance * width + _CONSTANT * size
        low, high = self.minimum_ - slack, self.maximum_ + slack
        outside = np.empty(values.shape, bool)
        for part in split_rows(len(values), _ROWS):
            own = 0 if self.species_ is None else np.searchsorted(self.species_, X.numbers[part])
            outside[part] = (values[part] < low[own]) | (values[part] > high[own])
        return outside

    def _report(self, X, values, outside):
        if not outside.any():
            return
        found = np.flatnonzero(outside.any(axis=1))
        row = int(found[0])
        feature = int(np.argmax(outside[row]))
        name, kind = f"feature {feature}", 0
        if isinstance(X, Features):
            name = X.feature_names[feature]
        what, which = "rows", f"row {row}"
        if isinstance(X, AtomicFeatures):
            s = structure_of(X.offsets, row)
            symbol = chemical_symbols[X.numbers[row]]
            what, which = "atoms", f"atom {row - X.offsets[s]} ({symbol}) of structure {s}"
            if self.species_ is not None:
                kind = np.searchsorted(self.species_, X.numbers[row])
        message = (
            f"{len(found)} {what} have features outside of the range of the training data, the "
            f"first of them {which}, whose {name} is {values[row, feature]:.6g} and not between "
            f"{self.minimum_[kind, feature]:.6g} and {self.maximum_[kind, feature]:.6g}: a model "
            "extrapolates there"
        )
        if self.out_of_range == "raise":
            raise ValueError(message)
        warn(message, UserWarning)


class FeatureSelector(FeatureTransformer, TransformerMixin, BaseEstimator):
    r"""Keep a few features that represent the others.

    "cur": with the leading right singular vector :math:`v` of the features :math:`X` of all
    atoms or structures, select the column of the largest :math:`v_d^2`, make the other columns
    orthogonal to it, and repeat [1]_.

    "correlation": go through the features in order of decreasing variance, and keep a feature if
    its correlation with all features kept so far is small. Selected features keep their
    derivatives.

    Parameters
    ----------
    n_select : int, default=None
        Number of features to keep. None: for "cur" all that are linearly independent; for
        "correlation" all that pass.
    method : {"cur", "correlation"}, default="cur"
        Method of selection.
    max_correlation : float, default=0.9
        Largest absolute correlation coefficient of two selected features, for "correlation".
    min_range : float, default=1e-6
        Leave out features whose range is below this fraction of the largest range, as constant.

    Attributes
    ----------
    support_ : ndarray of int
        Indices of the selected features, in order of importance.

    Raises
    ------
    ValueError
        If fewer than ``n_select`` features vary, or are independent or weakly correlated enough.

    References
    ----------
    .. [1] G. Imbalzano, A. Anelli, D. Giofré, S. Klees, J. Behler, M. Ceriotti, J. Chem. Phys.
       148, 241730 (2018).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import ACSF, FeatureSelector
    >>> features = ACSF().fit_transform([molecule("CH3OH"), molecule("CH3CHO")])
    >>> FeatureSelector(n_select=10).fit_transform(features)
    AtomicFeatures(2 structures, 13 atoms, 10 features, species H C O)
    """

    _parameter_constraints = {
        "n_select": [Interval(Integral, 1, None, closed="left"), None],
        "method": [StrOptions({"cur", "correlation"})],
        "max_correlation": [Interval(Real, 0, 1, closed="both")],
        "min_range": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        n_select: int | None = None,
        *,
        method: str = "cur",
        max_correlation: float = 0.9,
        min_range: float = 1e-6,
    ) -> None:
        self.n_select = n_select
        self.method = method
        self.max_correlation = max_correlation
        self.min_range = min_range

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: FeaturesLike, y: Any = None) -> Self:
        """Select the features.

        Parameters
        ----------
        X : AtomicFeatures, StructureFeatures, or array-like of float, shape (n, n_features)
            The training data.
        y : ignored

        Returns
        -------
        self
        """
        values = fit_table(self, X, ensure_min_samples=2)
        width = np.ptp(values, axis=0)
        candidates = np.flatnonzero((width > 0) & (width >= self.min_range * width.max()))
        limit = len(candidates) if self.n_select is None else self.n_select
        if limit > len(candidates) or not limit:
            raise ValueError(
                f"n_select={limit}, but only {len(candidates)} of {len(width)} features vary: "
                "lower it"
            )
        values = values[:, candidates]
        if self.method == "cur":
            chosen = _cur(values, limit)
        else:
            chosen = _uncorrelated(values, limit, self.max_correlation)
        if self.n_select is not None and len(chosen) < limit:
            rule = "linearly independent" if self.method == "cur" else "weakly correlated"
            raise ValueError(
                f"n_select={limit}, but only {len(chosen)} features are {rule}: lower it"
            )
        self.support_ = candidates[chosen]
        return self

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """Names of the selected features.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of all features.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        return _check_feature_names_in(self, input_features)[self.support_]

    def _map(self):
        return Select(self.support_, self.n_features_in_)


def _cur(values, limit):
    """Columns by CUR with one singular vector a step, on the Gram matrix of the columns."""
    gram = values.T @ values
    smallest = _EXHAUSTED * gram.diagonal().max()
    chosen = []
    while len(chosen) < limit and gram.diagonal().max() > smallest:
        _, vector = eigh(gram, subset_by_index=[len(gram) - 1, len(gram) - 1])
        score = np.where(gram.diagonal() > smallest, vector[:, 0] ** 2, -1.0)
        score[chosen] = -1.0
        column = int(np.argmax(score))
        if score[column] < 0:
            break
        chosen.append(column)
        gram -= np.outer(gram[:, column], gram[column]) / gram[column, column]
        gram[column] = gram[:, column] = 0.0
    return chosen


def _uncorrelated(values, limit, max_correlation):
    correlation = np.abs(np.corrcoef(values, rowvar=False)).reshape(values.shape[1], -1)
    chosen = []
    for column in np.argsort(-values.var(axis=0), kind="stable"):
        if len(chosen) == limit:
            break
        if not (correlation[column, chosen] > max_correlation).any():
            chosen.append(int(column))
    return chosen
