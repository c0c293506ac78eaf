"""Maps of features with derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skatom._device import beside, is_tensor
from skatom._typing import ArrayLike
from skatom.elements import species_index, symbols
from skatom.parallel import split_rows

# Rows whose shifts and scales are in memory at once.
_ROWS = 1024


class FeatureMap:
    r"""A function of the features of one atom or structure, y = f(x).

    `AtomicFeatures.map` and `StructureFeatures.map` apply it and give features whose derivatives
    follow by the chain rule; any number of maps can be composed. A subclass implements

    - ``n_features_in`` and ``n_features_out``, attributes or properties;
    - ``value(x, numbers)``: the rows y (n, n_features_out) of rows x (n, n_features_in);
    - ``pullback(x, cotangent, numbers)``: :math:`\sum_f c_f\, \partial y_f/\partial x` of every
      row, (n, n_features_in), for the rows c (n, n_features_out);
    - ``pushforward(x, tangents, numbers)``: :math:`\partial y/\partial x \cdot t` of every row,
      (n, k, n_features_out), for k directions t of each, (n, k, n_features_in);
    - ``feature_names(names)``, optionally; by default features are numbered;
    - ``degrees(degrees)``, optionally: the degrees of the features y, from those of the features
      x; by default they are not known;
    - ``depends_on(chosen)``, optionally: a mask of the features x on which the features y of the
      mask ``chosen`` depend; by default all. Others need no derivatives.

    ``numbers`` (n,) are the atomic numbers of the rows, None where the rows are structures.

    Attributes
    ----------
    linear : bool
        Whether the derivatives are independent of x. If so, the input of the map is not kept, and
        ``x`` is None in ``pullback`` and ``pushforward``.
    species : ndarray of int, or None
        The atomic numbers for which the map is defined. None: it does not depend on ``numbers``.
    """

    linear = False
    species = None

    def feature_names(self, names: Sequence[str]) -> Any:
        """Names of the features y, from the names of the features x."""
        prefix = type(self).__name__.lower()
        return np.array([f"{prefix}{k}" for k in range(self.n_features_out)], dtype=object)

    def degrees(self, degrees: Any) -> Any:
        """Degrees of the features y, from those of the features x; None if there are none."""
        return None

    def depends_on(self, chosen: Any) -> Any:
        """Mask (n_features_in,) of the features on which chosen ones, (n_features_out,), depend."""
        return np.ones(self.n_features_in, bool)

    def check(self, n_features: int, structures: Any = None) -> None:
        """Raise a ValueError unless the map applies to these features.

        Parameters
        ----------
        n_features : int
            Number of features.
        structures : Structures, default=None
            The structures whose atoms are the rows. None: the rows are not atoms.
        """
        if n_features != self.n_features_in:
            raise ValueError(
                f"got {n_features} features, but {type(self).__name__} is a map of "
                f"{self.n_features_in}: give it features of the descriptor it was made for"
            )
        if self.species is None:
            return
        if structures is None:
            raise ValueError(
                f"got features without atoms, but {type(self).__name__} is a map for each of the "
                f"species {symbols(self.species)}: give it AtomicFeatures"
            )
        species_index(structures, self.species)  # raises for species not seen in fit


class Scale(FeatureMap):
    """Shift and scale the features, y = (x − shift) / scale.

    Parameters
    ----------
    shift, scale : array-like of float, shape (n_features,) or (n_species, n_features)
        Shift and scale of each feature, for all rows or for the atoms of each species.
    species : array-like of int, shape (n_species,), default=None
        Sorted atomic numbers, if shift and scale differ between species.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import SOAP
    >>> from skatom.descriptors.maps import Scale
    >>> features = SOAP(n_max=2, l_max=1, pool="sum").fit_transform([molecule("H2O")])
    >>> scaled = features.map(Scale(features.values.mean(axis=0), 2.0))
    >>> float(abs(scaled.values).max())
    0.0
    """

    linear = True

    def __init__(
        self, shift: ArrayLike, scale: ArrayLike, species: ArrayLike | None = None
    ) -> None:
        shift, scale = np.broadcast_arrays(np.atleast_2d(shift), np.atleast_2d(scale))
        self.shift, self.scale = shift.astype(float), scale.astype(float)
        self.species = None if species is None else np.asarray(species)
        self.n_features_in = self.n_features_out = shift.shape[1]

    def value(self, x: Any, numbers: ArrayLike | None = None) -> Any:
        rows = self._rows(numbers)
        if is_tensor(x):
            return (x - beside(self.shift[rows], x)) / beside(self.scale[rows], x)
        out = np.empty_like(x)
        for part in split_rows(len(x), _ROWS):
            own = rows if self.species is None else rows[part]
            np.subtract(x[part], self.shift[own], out=out[part])
            out[part] /= self.scale[own]
        return out

    def pullback(self, x: Any, cotangent: Any, numbers: ArrayLike | None = None) -> Any:
        return cotangent / beside(self.scale[self._rows(numbers)], cotangent)

    def pushforward(self, x: Any, tangents: Any, numbers: ArrayLike | None = None) -> Any:
        return tangents / beside(self.scale[self._rows(numbers)][:, None], tangents)

    def feature_names(self, names: Sequence[str]) -> Any:
        return names

    def degrees(self, degrees: Any) -> Any:
        return degrees

    def depends_on(self, chosen: Any) -> Any:
        return chosen

    def _rows(self, numbers):
        return slice(None) if self.species is None else np.searchsorted(self.species, numbers)


class Select(FeatureMap):
    """Select some of the features, y_k = x[columns[k]].

    Parameters
    ----------
    columns : int, slice, or array-like of int or bool
        The features to keep, in their new order.
    n_features : int
        Number of features of x.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import SOAP
    >>> from skatom.descriptors.maps import Select
    >>> features = SOAP(n_max=2, l_max=1).fit_transform([molecule("H2O")])
    >>> features.map(Select([3, 0], features.n_features))
    AtomicFeatures(1 structures, 3 atoms, 2 features, species H O)
    """

    linear = True

    def __init__(self, columns: slice | ArrayLike, n_features: int) -> None:
        if not isinstance(columns, slice):
            columns = np.asarray(columns)
        self.columns = np.atleast_1d(np.arange(n_features)[columns])
        self.n_features_in, self.n_features_out = n_features, len(self.columns)

    @property
    def selects_all(self) -> bool:
        """Whether all features are kept, in their order."""
        return np.array_equal(self.columns, np.arange(self.n_features_in))

    def value(self, x: Any, numbers: ArrayLike | None = None) -> Any:
        return x[:, self.columns]

    def pullback(self, x: Any, cotangent: Any, numbers: ArrayLike | None = None) -> Any:
        if is_tensor(cotangent):
            full = cotangent.new_zeros((len(cotangent), self.n_features_in))
            return full.index_add_(1, beside(self.columns, cotangent), cotangent)
        full = np.zeros((len(cotangent), self.n_features_in))
        np.add.at(full, (slice(None), self.columns), cotangent)
        return full

    def pushforward(self, x: Any, tangents: Any, numbers: ArrayLike | None = None) -> Any:
        return tangents[:, :, self.columns]

    def feature_names(self, names: Sequence[str]) -> Any:
        return names[self.columns]

    def degrees(self, degrees: Any) -> Any:
        return degrees[self.columns]

    def depends_on(self, chosen: Any) -> Any:
        needed = np.zeros(self.n_features_in, bool)
        needed[self.columns[chosen]] = True
        return needed


class Linear(FeatureMap):
    """Linear combinations of the features, y = A (x − mean).

    Parameters
    ----------
    matrix : array-like of float, shape (n_features_out, n_features) or \
(n_species, n_features_out, n_features)
        The matrix A, for example the ``components_`` of `sklearn.decomposition.PCA`, for all rows
        or for the atoms of each species.
    mean : array-like of float, shape (n_features,) or (n_species, n_features), default=None
        Subtracted from the features. None: zero.
    species : array-like of int, shape (n_species,), default=None
        Sorted atomic numbers, if the matrix differs between species.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from sklearn.decomposition import PCA
    >>> from skatom.descriptors import SOAP
    >>> from skatom.descriptors.maps import Linear
    >>> features = SOAP(n_max=2, l_max=1).fit_transform([molecule("CH3OH")])
    >>> pca = PCA(3).fit(features.values)
    >>> features.map(Linear(pca.components_, pca.mean_))
    AtomicFeatures(1 structures, 6 atoms, 3 features, species H C O)
    """

    linear = True

    def __init__(
        self, matrix: ArrayLike, mean: ArrayLike | None = None, species: ArrayLike | None = None
    ) -> None:
        matrix = np.array(matrix, dtype=float)
        self.matrix = matrix[None] if matrix.ndim == 2 else matrix
        n_sets, self.n_features_out, self.n_features_in = self.matrix.shape
        mean = np.zeros(self.n_features_in) if mean is None else np.array(mean, dtype=float)
        self.mean = np.broadcast_to(mean, (n_sets, self.n_features_in))
        self.species = None if species is None else np.asarray(species)

    def value(self, x: Any, numbers: ArrayLike | None = None) -> Any:
        return self._joined(x, numbers, self.n_features_out, self._combined)

    def pullback(self, x: Any, cotangent: Any, numbers: ArrayLike | None = None) -> Any:
        return self._joined(
            cotangent, numbers, self.n_features_in, lambda e, c: c @ beside(self.matrix[e], c)
        )

    def pushforward(self, x: Any, tangents: Any, numbers: ArrayLike | None = None) -> Any:
        return self._joined(
            tangents, numbers, self.n_features_out, lambda e, t: t @ beside(self.matrix[e], t).T
        )

    def depends_on(self, chosen: Any) -> Any:
        return self.matrix[:, chosen].any(axis=(0, 1))

    def _combined(self, e, x):
        return (x - beside(self.mean[e], x)) @ beside(self.matrix[e], x).T

    def _joined(self, rows, numbers, width, function):
        """Arrays (…, width) of ``function(index of a species, its rows)`` of all rows."""
        if self.species is None:
            return function(0, rows)
        shape = (*rows.shape[:-1], width)
        out = rows.new_empty(shape) if is_tensor(rows) else np.empty(shape)
        kinds = np.searchsorted(self.species, numbers)
        for e in np.unique(kinds):
            own = np.flatnonzero(kinds == e)
            out[own] = function(e, rows[own])
        return out
