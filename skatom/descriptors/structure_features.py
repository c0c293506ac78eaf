"""Features of structures with derivatives that are computed on demand."""

from __future__ import annotations

from typing import Any

import numpy as np

from skatom._device import on_host
from skatom._typing import ArrayLike
from skatom.descriptors.features import Features


class StructureFeatures(Features):
    """Features x_s of every structure s of a batch, with lazy derivatives.

    The ``transform`` of a descriptor of whole structures returns them, and of an atomic descriptor
    with ``pool="sum"`` or ``"mean"``. `numpy.asarray` gives the values, so every estimator of
    scikit-learn accepts them like an array, and ``train_test_split`` and ``GridSearchCV`` split
    them. Indexing rows with an int, slice, mask or index array gives ``StructureFeatures`` again,
    always with two dimensions, and so does ``[:, columns]``, which keeps some of the features and
    their derivatives.

    Transformers of scikit-learn return plain arrays, without derivatives; `map`, `FeatureScaler`
    and `FeatureSelector` keep the derivatives.

    Parameters
    ----------
    values : ndarray of float, shape (n, n_features)
        The features.
    derivatives : StructureDerivatives
        The structures, and the dependence of the values on them.

    Attributes
    ----------
    values, derivatives
        The parameters.
    structures : Structures
        The structures.
    descriptor : estimator
        The fitted descriptor that computed the features, before any maps.
    feature_names : ndarray of str, shape (n_features,)
        Names of the features.
    n_features : int
        Number of features.
    shape : tuple of int
        ``(n, n_features)``.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import molecule
    >>> from skatom.descriptors import SOAP
    >>> soap = SOAP(n_max=3, l_max=2, pool="sum")
    >>> features = soap.fit_transform([molecule("H2O"), molecule("CH4")])
    >>> features
    StructureFeatures(2 structures, 135 features)
    >>> np.asarray(features).shape, features[1].shape, features[:, :10].shape
    ((2, 135), (1, 135), (2, 10))

    The forces of a linear model E = w · values:

    >>> gradient, virial = features.pullback(np.ones(135))
    >>> forces = -gradient
    >>> forces.shape, virial.shape
    ((8, 3), (2, 3, 3))
    """

    @property
    def shape(self) -> Any:
        return self.values.shape

    @property
    def ndim(self) -> Any:
        return 2

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    def _rows(self, key):
        rows = np.atleast_1d(np.arange(len(self))[key])
        return StructureFeatures(self.values[rows], self.derivatives.select(rows))

    def map(self, feature_map: Any) -> StructureFeatures:
        """Features y = f(x) of every structure, with their derivatives.

        Parameters
        ----------
        feature_map : FeatureMap
            The map f.

        Returns
        -------
        StructureFeatures

        Raises
        ------
        ValueError
            If the map takes another number of features, or features of atoms.
        """
        self._check_map(feature_map)
        mapped = self.derivatives.mapped(feature_map, self.values)
        return StructureFeatures(feature_map.value(self.values, None), mapped)

    def pullback(self, cotangent: ArrayLike) -> tuple:
        """Apply the transposed Jacobian: the chain rule from features back to atoms.

        For a scalar E with the derivatives ``cotangent[s] = dE/d values[s]`` the result is

            gradient[k] = dE/dR_k,
            virial[s]   = dE/dε,   R → (1 + ε) R and cell vectors likewise,

        so that forces are ``-gradient`` and the stress (tension positive, as in ASE) is
        ``virial / volume``. With a `sklearn.preprocessing.StandardScaler` between the features
        and a linear model, the cotangent is ``coef_ / scale_``.

        Parameters
        ----------
        cotangent : array-like of float, shape (n, n_features) or (n_features,)
            Derivatives dE/d values. The second shape is for one row that all structures share, as
            in a linear model.

        Returns
        -------
        gradient : ndarray of float, shape (n_atoms, 3)
            dE/dR.
        virial : ndarray of float, shape (n, 3, 3)
            dE/dε.
        """
        return self.derivatives.pullback(self._checked_cotangent(cotangent, "structure"))

    def jacobian(self, batch: slice | ArrayLike) -> Any:
        """Dense derivatives of the features of a few structures.

        Parameters
        ----------
        batch : int, slice, mask or index array
            The structures. The result has n_features numbers for each coordinate and each
            component of the strain, so take a few structures at a time, and only the features that
            are needed, ``features[:, columns].jacobian(batch)``.

        Returns
        -------
        StructureJacobian
        """
        return self.derivatives.select(batch).jacobian()

    def __array__(self, dtype=None, copy=None):
        return np.array(on_host(self.values), dtype=dtype, copy=copy)

    def __repr__(self):
        return f"StructureFeatures({len(self)} structures, {self.n_features} features)"
