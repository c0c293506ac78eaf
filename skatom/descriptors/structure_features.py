"""Features of structures with derivatives that are computed when asked for."""

import numpy as np

from skatom.descriptors.features import Features


class StructureFeatures(Features):
    """Features of each structure of a batch, with lazy derivatives.

    What the ``transform`` of a descriptor of whole structures returns, or of a local one with
    ``pool="sum"`` or ``"mean"``. `numpy.asarray` of it is the table of the values, so every
    estimator of scikit-learn takes it as it would an array, and ``train_test_split`` and
    ``GridSearchCV`` split it. Indexing rows with an int, slice, mask or index array gives a
    ``StructureFeatures`` again, always of two dimensions, and so does ``[:, columns]``, which
    keeps some of the features and their derivatives.

    Estimators of scikit-learn give plain arrays and so end the derivatives: `map`,
    `FeatureScaler` and `FeatureSelector` keep them.

    Parameters
    ----------
    values : ndarray of float, shape (n, n_features)
    derivatives : StructureDerivatives
        The structures, and how the values depend on them.

    Attributes
    ----------
    values, derivatives
        The parameters.
    structures : Structures
        What the values belong to.
    descriptor : estimator
        The fitted descriptor that made them, before any maps.
    feature_names : ndarray of str, shape (n_features,)
    n_features : int
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
    def shape(self):
        return self.values.shape

    @property
    def ndim(self):
        return 2

    @property
    def dtype(self):
        return self.values.dtype

    def _rows(self, key):
        rows = np.atleast_1d(np.arange(len(self))[key])
        return StructureFeatures(self.values[rows], self.derivatives.select(rows))

    def map(self, feature_map):
        """Features y = f(x) of every structure, with their derivatives.

        Parameters
        ----------
        feature_map : FeatureMap

        Returns
        -------
        StructureFeatures

        Raises
        ------
        ValueError
            If the map is one of another number of features, or of the features of atoms.
        """
        feature_map.check(self.n_features)
        mapped = self.derivatives.mapped(feature_map, self.values)
        return StructureFeatures(feature_map.value(self.values, None), mapped)

    def pullback(self, cotangent):
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
            The second shape: the same for every structure, as in a linear model.

        Returns
        -------
        gradient : ndarray of float, shape (n_atoms, 3)
        virial : ndarray of float, shape (n, 3, 3)
        """
        return self.derivatives.pullback(self._checked_cotangent(cotangent, "structure"))

    def jacobian(self, batch):
        """Dense derivatives of the features of a few structures.

        Parameters
        ----------
        batch : int, slice, mask or index array
            Which structures. The result holds n_features numbers for each coordinate and each
            component of the strain, so take a few at a time. Where features know no Jacobian, as
            those of `WaveletScattering`, it is put together from one pullback for each feature.

        Returns
        -------
        StructureJacobian
        """
        return self.derivatives.select(batch).jacobian()

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self):
        return f"StructureFeatures({len(self)} structures, {self.n_features} features)"
