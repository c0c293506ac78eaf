"""Scaling and selection of the features of atoms, whose derivatives stay lazy."""

import warnings
from numbers import Integral, Real

import numpy as np
from ase.data import chemical_symbols
from scipy.linalg import eigh
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom.base import BaseEstimator
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.structures import structure_of

# A feature whose range is this small against its size is constant.
_CONSTANT = 1e-12
# CUR stops where what is left of every column is rounding.
_EXHAUSTED = 1e-13


class MappedDescriptor:
    """A descriptor followed by a shift, a scale for each species, and a choice of columns.

    It takes the descriptor's place in `AtomicFeatures`, so that derivatives pass through.

    Parameters
    ----------
    descriptor : AtomicDescriptor or MappedDescriptor
    transformer : FeatureScaler or FeatureSelector
        Its ``transform`` is the map.
    columns : ndarray of int, default=None
        The features to keep. None: all.
    scale : ndarray of float, shape (n_species, n_features), default=None
        Divisors of the features for every species of the descriptor. None: 1.
    """

    def __init__(self, descriptor, transformer, columns=None, scale=None):
        self.descriptor = descriptor
        self.transformer = transformer
        self.columns = columns
        self.scale = scale

    @property
    def species_(self):
        return self.descriptor.species_

    def transform(self, X):
        """Features of structures."""
        return self.transformer.transform(self.descriptor.transform(X))

    def get_feature_names_out(self, input_features=None):
        """Names of the features."""
        names = self.descriptor.get_feature_names_out()
        return names if self.columns is None else names[self.columns]

    def _n_features(self):
        return self.descriptor._n_features() if self.columns is None else len(self.columns)

    def _neighbors(self, structures):
        return self.descriptor._neighbors(structures)

    def _species_index(self, structures):
        return self.descriptor._species_index(structures)

    def _pair_gradients(self, pairs, species, cotangent, out):
        if self.scale is not None:
            cotangent = cotangent / self.scale[species]
        if self.columns is not None:
            full = np.zeros((len(cotangent), self.descriptor._n_features()))
            full[:, self.columns] = cotangent
            cotangent = full
        self.descriptor._pair_gradients(pairs, species, cotangent, out)

    def _pair_jacobian(self, pairs, species, out):
        full = out
        if self.columns is not None:
            full = np.empty((*out.shape[:2], self.descriptor._n_features()))
        self.descriptor._pair_jacobian(pairs, species, full)
        if self.columns is not None:
            out[:] = full[:, :, self.columns]
        if self.scale is not None:
            out /= self.scale[species[pairs.centers]][:, None]


class FeatureScaler(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    r"""Scale the features of the atoms of each species, and watch the range of new ones.

    .. math::
        G' = \frac{2 (G - G_{min})}{G_{max} - G_{min}} - 1 \qquad
        G' = \frac{G - \bar G}{G_{max} - G_{min}} \qquad
        G' = \frac{G - \bar G}{s}

    for "minmax", "center" and "standard", with the extremes, the mean and the standard deviation
    of the atoms of one species in the training data. A constant feature is shifted only.

    Parameters
    ----------
    scaling : {"minmax", "center", "standard"}, default="minmax"
    out_of_range : {"warn", "raise", "ignore"}, default="warn"
        What to do where a feature lies outside of the range of the training data, where a model
        extrapolates.
    tolerance : float, default=1e-9
        How far outside, as a part of the range.

    Attributes
    ----------
    species_ : ndarray of int
        Atomic numbers in the training data, sorted.
    minimum_, maximum_ : ndarray of float, shape (n_species, n_features)
    shift_, scale_ : ndarray of float, shape (n_species, n_features)
        G' = (G - shift) / scale.

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

    def __init__(self, scaling="minmax", *, out_of_range="warn", tolerance=1e-9):
        self.scaling = scaling
        self.out_of_range = out_of_range
        self.tolerance = tolerance

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the range of the features of every species.

        Parameters
        ----------
        X : AtomicFeatures
        y : Ignored

        Returns
        -------
        self
        """
        _check_features(X)
        self.species_ = X.species
        parts = [X.values[X.numbers == z] for z in self.species_]
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
        constant = width <= _CONSTANT * np.maximum(np.abs(self.maximum_), np.abs(self.minimum_))
        self.scale_ = np.where(constant, 1.0, scale)
        return self

    def transform(self, X):
        """Scale the features.

        Parameters
        ----------
        X : AtomicFeatures

        Returns
        -------
        AtomicFeatures
            Its derivatives are those of the scaled features.
        """
        check_is_fitted(self)
        _check_features(X, self.scale_.shape[1])
        index = self._index(X)
        if self.out_of_range != "ignore":
            self._report(X, self._outside(X, index))
        values = (X.values - self.shift_[index]) / self.scale_[index]
        # Species of the descriptor that fit did not see: _index let no atom of them pass.
        kinds = X.descriptor.species_
        rows = np.searchsorted(self.species_, kinds).clip(max=len(self.species_) - 1)
        seen = np.isin(kinds, self.species_)[:, None]
        scale = np.where(seen, self.scale_[rows], np.nan)
        mapped = MappedDescriptor(X.descriptor, self, scale=scale)
        return AtomicFeatures(values, X.structures, mapped)

    def count_out_of_range(self, X):
        """How many features of each atom lie outside of the range of the training data.

        Parameters
        ----------
        X : AtomicFeatures
            Not scaled.

        Returns
        -------
        ndarray of int, shape (n_atoms,)
        """
        check_is_fitted(self)
        _check_features(X, self.scale_.shape[1])
        return self._outside(X, self._index(X)).sum(axis=1)

    def _index(self, X):
        unseen = np.setdiff1d(X.species, self.species_)
        if len(unseen):
            atom = int(np.argmax(X.numbers == unseen[0]))
            raise ValueError(
                f"structure {structure_of(X.offsets, atom)} contains "
                f"{chemical_symbols[unseen[0]]}, which was not in the features given to fit: fit "
                "on structures that contain every species"
            )
        return np.searchsorted(self.species_, X.numbers)

    def _outside(self, X, index):
        width = self.maximum_ - self.minimum_
        size = np.maximum(np.abs(self.maximum_), np.abs(self.minimum_))
        slack = self.tolerance * width + _CONSTANT * size
        low, high = self.minimum_ - slack, self.maximum_ + slack
        return (X.values < low[index]) | (X.values > high[index])

    def _report(self, X, outside):
        if not outside.any():
            return
        atoms = np.flatnonzero(outside.any(axis=1))
        atom = int(atoms[0])
        feature = int(np.argmax(outside[atom]))
        s = structure_of(X.offsets, atom)
        kind = np.searchsorted(self.species_, X.numbers[atom])
        message = (
            f"{len(atoms)} atoms have features outside of the range of the training data, the "
            f"first of them atom {atom - X.offsets[s]} ({chemical_symbols[X.numbers[atom]]}) of "
            f"structure {s}, whose {X.descriptor.get_feature_names_out()[feature]} is "
            f"{X.values[atom, feature]:.6g} and not between {self.minimum_[kind, feature]:.6g} "
            f"and {self.maximum_[kind, feature]:.6g}: a model extrapolates there"
        )
        if self.out_of_range == "raise":
            raise ValueError(message)
        warnings.warn(message, UserWarning, stacklevel=3)


class FeatureSelector(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    r"""Keep a few features that represent the others.

    "cur": with the leading right singular vector :math:`v` of the features :math:`X` of all
    atoms, take the column of the largest :math:`v_d^2`, make the other columns orthogonal to it,
    and repeat [1]_.

    "correlation": go through the features from the largest variance down, and keep one if its
    coefficient of correlation with all that were kept is small.

    Parameters
    ----------
    n_features : int, default=None
        How many to keep. None: for "cur" all that are linearly independent; for "correlation" all
        that pass.
    method : {"cur", "correlation"}, default="cur"
    max_correlation : float, default=0.9
        Of two features that are kept, for "correlation".
    min_range : float, default=1e-6
        Leave out features whose range is below this part of the largest range: they are constant.

    Attributes
    ----------
    support_ : ndarray of int
        The features that are kept, in order of importance.

    References
    ----------
    .. [1] G. Imbalzano, A. Anelli, D. Giofré, S. Klees, J. Behler, M. Ceriotti, J. Chem. Phys.
       148, 241730 (2018).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import ACSF, FeatureSelector
    >>> features = ACSF().fit_transform([molecule("CH3OH"), molecule("CH3CHO")])
    >>> FeatureSelector(n_features=10).fit_transform(features)
    AtomicFeatures(2 structures, 13 atoms, 10 features, species H C O)
    """

    _parameter_constraints = {
        "n_features": [Interval(Integral, 1, None, closed="left"), None],
        "method": [StrOptions({"cur", "correlation"})],
        "max_correlation": [Interval(Real, 0, 1, closed="both")],
        "min_range": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(self, n_features=None, *, method="cur", max_correlation=0.9, min_range=1e-6):
        self.n_features = n_features
        self.method = method
        self.max_correlation = max_correlation
        self.min_range = min_range

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Choose the features.

        Parameters
        ----------
        X : AtomicFeatures
        y : Ignored

        Returns
        -------
        self
        """
        _check_features(X)
        width = np.ptp(X.values, axis=0)
        candidates = np.flatnonzero((width > 0) & (width >= self.min_range * width.max()))
        limit = len(candidates) if self.n_features is None else self.n_features
        if limit > len(candidates):
            raise ValueError(
                f"n_features={limit}, but only {len(candidates)} of {len(width)} features vary"
            )
        values = X.values[:, candidates]
        if self.method == "cur":
            chosen = _cur(values, limit)
        else:
            chosen = _uncorrelated(values, limit, self.max_correlation)
        if self.n_features is not None and len(chosen) < limit:
            rule = "linearly independent" if self.method == "cur" else "weakly correlated"
            raise ValueError(f"n_features={limit}, but only {len(chosen)} features are {rule}")
        self.support_ = candidates[chosen]
        self.n_features_in_ = X.values.shape[1]
        return self

    def transform(self, X):
        """Keep the chosen features.

        Parameters
        ----------
        X : AtomicFeatures

        Returns
        -------
        AtomicFeatures
            Its derivatives are those of the features that are kept.
        """
        check_is_fitted(self)
        _check_features(X, self.n_features_in_)
        mapped = MappedDescriptor(X.descriptor, self, columns=self.support_)
        return AtomicFeatures(X.values[:, self.support_], X.structures, mapped)


def _check_features(X, n_features=None):
    if not isinstance(X, AtomicFeatures):
        raise TypeError(
            f"got {type(X).__name__}, but need AtomicFeatures, from a descriptor with pool=None; "
            "for plain arrays see sklearn.preprocessing and sklearn.feature_selection"
        )
    if n_features is not None and X.values.shape[1] != n_features:
        raise ValueError(f"got {X.values.shape[1]} features, but fit saw {n_features}")


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
