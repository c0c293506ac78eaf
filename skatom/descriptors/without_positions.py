"""The base of descriptors of which elements there are, not where their atoms are."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils.validation import check_is_fitted

from skatom._typing import ArrayLike
from skatom.descriptors.base import StructureDescriptor
from skatom.descriptors.feature_transformer import in_container
from skatom.memory import check_memory
from skatom.structures import as_structures


class _TableTransform:
    """Transforms structures or tables.

    It comes before StructureDescriptor in the bases and not after TransformerMixin, which would
    wrap features of structures where ``set_output`` or the global configuration asks for it.
    """

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Check the parameters and compute the features.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or a table as in ``transform``
            The data.
        y : ignored

        Returns
        -------
        StructureFeatures or ndarray, as from ``transform``
        """
        X = X if self._is_table(X) else as_structures(X)
        return self.fit(X).transform(X)

    def transform(self, X: Any) -> Any:
        """Compute the features.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or a table
            The n structures, or what the class says a table of them is.

        Returns
        -------
        StructureFeatures of structures, ndarray of a table; both of shape (n, n_features)
        """
        check_is_fitted(self)
        if not self._is_table(X):
            return super().transform(X)
        self._check_size(len(X))
        return in_container(self, self._of_table(X), X)


class PositionFreeDescriptor(_TableTransform, StructureDescriptor):
    """Base class of descriptors of elements, whose derivatives with respect to positions are zero.

    They take structures, or a table that says what a structure would tell; features of a table
    are an array. A subclass implements

    - ``_is_table(X)``, and ``_of_table(X)``: the features of a table, (n, n_features);
    - ``_of_structures(structures)``: those of structures;
    - ``_names()``: the names of the features;
    - ``_check_fit()``, if there are parameters to check.
    """

    def _check_fit(self):
        pass

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters; nothing is learnt from the data.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or a table as in ``transform``
            The data.
        y : ignored

        Returns
        -------
        self
        """
        if not self._is_table(X):
            as_structures(X)
        self._check_fit()
        self.n_features_out_ = len(self._names())
        return self

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names of the features."""
        check_is_fitted(self)
        return np.array(self._names(), object)

    def _check_size(self, n_rows):
        check_memory(
            8.0 * n_rows * self.n_features_out_,
            f"the array of {n_rows} x {self.n_features_out_} features",
            "transform fewer rows at a time",
        )

    def _check_structures(self, structures):
        self._check_size(len(structures))

    def _values(self, structures):
        return self._of_structures(structures)

    def _pullback(self, structures, cotangent):
        return np.zeros((len(structures.numbers), 3)), np.zeros((len(structures), 3, 3))

    def _jacobian(self, structures, needed):
        n = self.n_features_out_
        return np.zeros((len(structures.numbers), 3, n)), np.zeros((len(structures), 3, 3, n))
