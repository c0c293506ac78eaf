"""The matrix of any kernel as a step of a Pipeline."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils.validation import check_is_fitted

from skatom._device import on_host
from skatom._typing import Array
from skatom.base import BaseEstimator
from skatom.descriptors.origin import check_origin, origin_of
from skatom.kernels.base import Kernel


class KernelMatrix(TransformerMixin, BaseEstimator):
    r"""Kernel values of structures with the training structures, for scikit-learn's estimators.

    .. math:: X \mapsto K, \qquad K_{ij} = k(X_i, X_j^{\text{fit}})

    In a Pipeline, it turns features of atoms, or structures, into the matrix that an estimator with
    ``kernel="precomputed"`` takes: `sklearn.kernel_ridge.KernelRidge`, `sklearn.svm.SVR`,
    `sklearn.decomposition.KernelPCA`, … A search reaches the parameters of the kernel, and each of
    its folds has its own training structures.

    Parameters
    ----------
    kernel : Kernel
        A kernel of what comes before: of features, or of structures, such as `NBody`.

    Attributes
    ----------
    X_fit_ : AtomicFeatures, StructureFeatures, Structures, list of ase.Atoms or array
        The training structures.

    Raises
    ------
    MemoryError
        If the matrix would not fit in memory.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import SVR
    >>> from skatom.datasets import load_boron_nitride
    >>> from skatom.descriptors import SOAP
    >>> from skatom.kernels import Cosine, KernelMatrix, StructureKernel
    >>> data = load_boron_nitride()
    >>> kernel = StructureKernel(Cosine(2), match="average", normalize=True)
    >>> model = make_pipeline(
    ...     SOAP(cutoff=3.0, n_max=4, l_max=3), KernelMatrix(kernel), SVR(kernel="precomputed")
    ... )
    >>> per_atom = data.targets.energy / data.structures.n_atoms
    >>> model.fit(data.structures[:20], per_atom[:20]).predict(data.structures[20:23]).shape
    (3,)
    """

    _parameter_constraints = {"kernel": [Kernel]}

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Keep the training structures.

        Parameters
        ----------
        X : what the kernel compares, n of them
        y : ignored

        Returns
        -------
        self
        """
        self.kernel.check_parameters()
        self.X_fit_, self._origin = X, origin_of(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """Keep the training structures and compare them with each other.

        Parameters
        ----------
        X : what the kernel compares, n of them
        y : ignored

        Returns
        -------
        ndarray of float, shape (n, n)
        """
        return on_host(self.kernel(self.fit(X, y).X_fit_))

    def transform(self, X: Any) -> Array:
        """Compare structures with the training structures.

        Parameters
        ----------
        X : what the kernel compares, m of them

        Returns
        -------
        ndarray of float, shape (m, n)
        """
        check_is_fitted(self)
        check_origin(self, X)
        return on_host(self.kernel(X, self.X_fit_))
