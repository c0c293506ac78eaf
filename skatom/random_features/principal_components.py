"""Principal components of features, element by element."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from scipy.linalg import eigh
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval

from skatom._typing import FeaturesLike
from skatom.base import BaseEstimator
from skatom.descriptors import AtomicFeatures, Linear
from skatom.descriptors.feature_transformer import FeatureTransformer, fit_table
from skatom.memory import check_memory
from skatom.parallel import split_rows
from skatom.random_features.learnt_map import NumberedFeatures

# Rows of which the covariance is summed at once.
_BLOCK = 1024


class PrincipalComponents(NumberedFeatures, FeatureTransformer, TransformerMixin, BaseEstimator):
    r"""The leading principal components of features, with their derivatives.

    .. math:: y = V^\top (x - \bar x), \qquad
        \frac1n \sum_i (x_i - \bar x)(x_i - \bar x)^\top = V \Lambda V^\top + \ldots

    with the eigenvectors V of the largest eigenvalues of the covariance: over the atoms of each
    element for `AtomicFeatures`, over all rows for `StructureFeatures` and arrays. Distances
    between atoms of the same element change little as long as the components explain the variance,
    so kernels and `RandomFourierFeatures` cost less and are as accurate.

    Parameters
    ----------
    n_components : int, default=64
        Number of components.
    by_element : bool, default=True
        Whether the atoms of each element have components of their own.

    Attributes
    ----------
    components_ : ndarray of float, shape (n_species, n_components, n_features)
        The eigenvectors Vᵀ, of a single species if all rows have the same components. The largest
        number of each is positive.
    mean_ : ndarray of float, shape (n_species, n_features)
        The means of the features.
    explained_variance_ratio_ : ndarray of float, shape (n_species, n_components)
        Part of the variance along each component.
    species_ : ndarray of int, or None
        Sorted atomic numbers in the training data; None if all rows have the same components.

    Raises
    ------
    ValueError
        If there are fewer features, or fewer rows of an element, than components.

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import FCHL19
    >>> from skatom.random_features import PrincipalComponents
    >>> features = FCHL19().fit_transform(load_ethanol().structures[:20])
    >>> components = PrincipalComponents(12)
    >>> components.fit_transform(features)
    AtomicFeatures(20 structures, 180 atoms, 12 features, species H C O)
    >>> bool(components.explained_variance_ratio_.sum(axis=1).min() > 0.99)
    True
    """

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "by_element": ["boolean"],
    }

    def __init__(self, n_components: int = 64, *, by_element: bool = True) -> None:
        self.n_components = n_components
        self.by_element = by_element

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: FeaturesLike, y: Any = None) -> Self:
        """Compute the components.

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
        n_in = values.shape[1]
        by_element = self.by_element and isinstance(X, AtomicFeatures)
        self.species_ = X.species if by_element else None
        kinds = [X.numbers == z for z in self.species_] if by_element else None
        counts = [int(kind.sum()) for kind in kinds] if by_element else [len(values)]
        least = min(n_in, *counts)
        if self.n_components > least:
            raise ValueError(
                f"n_components={self.n_components}, but there are {n_in} features and "
                f"{min(counts)} rows of the rarest kind: take at most {least}"
            )
        rows = _BLOCK + (max(counts) if by_element else 0)
        check_memory(
            16.0 * n_in**2 + 8.0 * rows * n_in,
            f"the covariance of {n_in} features",
            "select features first, with FeatureSelector",
        )
        parts = (values[kind] for kind in kinds) if by_element else (values,)
        found = [_leading(part, self.n_components) for part in parts]
        self.mean_, self.components_, self.explained_variance_ratio_ = map(
            np.stack, zip(*found, strict=True)
        )
        self.map_ = Linear(self.components_, self.mean_, self.species_)
        return self


def _leading(rows, n_components):
    """The mean, the leading components and their parts of the variance."""
    n_in = rows.shape[1]
    mean = rows.mean(axis=0)
    covariance = np.zeros((n_in, n_in))
    for block in split_rows(len(rows), _BLOCK):
        centered = rows[block] - mean
        covariance += centered.T @ centered
    covariance /= len(rows)
    variances, vectors = eigh(covariance, subset_by_index=[n_in - n_components, n_in - 1])
    components = vectors[:, ::-1].T
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(n_components), largest])[:, None]
    total = covariance.trace()
    return mean, components, np.maximum(variances[::-1], 0.0) / (total if total > 0 else 1.0)
