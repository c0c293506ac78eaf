"""How many components of a kernel matrix labels need, and what of them is noise."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from scipy.linalg import eigh
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, _fit_context
from sklearn.preprocessing import KernelCenterer
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from skatom._device import on_host
from skatom._typing import Array, ArrayLike
from skatom.base import BaseEstimator
from skatom.descriptors.origin import check_origin, origin_of
from skatom.kernels import Gaussian, Kernel
from skatom.memory import check_memory
from skatom.parallel import split_rows

# Smallest variance of a part of the labels, relative to that of all: zeros have a logarithm.
_FLOOR = 1e-300
# Numbers that are summed up at once.
_PIECE = 2**20


class RelevantDimension(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    r"""The number of leading components of a kernel matrix that labels need.

    With the eigenvectors u₁, u₂, … of the kernel matrix, in the order of decreasing eigenvalues,
    the labels have the coefficients :math:`z_i = u_i^\top y`. Information about them is in the
    first d of these; the others are noise of constant variance. The likelihood of two groups of
    normal numbers is largest where

    .. math::
        L(d) = \frac{d}{N} \log\Big(\frac{1}{d} \sum_{i \leq d} z_i^2\Big)
        + \frac{N - d}{N} \log\Big(\frac{1}{N - d} \sum_{i > d} z_i^2\Big)

    is smallest. "loo" takes the smallest leave-one-out error of the projection
    :math:`S_d = U_d U_d^\top` instead,

    .. math::
        L(d) = \frac{1}{N} \sum_j \left(\frac{y_j - (S_d y)_j}{1 - (S_d)_{jj}}\right)^2

    A kernel or descriptor suits the labels if d and the noise are small. No model needs to be more
    accurate than the noise.

    Parameters
    ----------
    kernel : Kernel or "precomputed", default=None
        The kernel of what is given to `fit`: rows, features or structures. "precomputed": a kernel
        matrix is given. None: `Gaussian <skatom.kernels.Gaussian>` of the length scale 1.
    center : bool, default=True
        Subtract the mean of the labels, and center the kernel in its feature space, as
        `sklearn.decomposition.KernelPCA` does. False: take both as they are.
    method : {"likelihood", "loo"}, default="likelihood"
        Which L(d) is smallest.
    max_dim : int, default=None
        Largest dimension. None: N − 1; half of the samples is safer if these are few.

    Attributes
    ----------
    dimension_ : int, or ndarray of int, shape (n_targets,)
        The relevant dimension d.
    noise_std_ : float, or ndarray of float, shape (n_targets,)
        Standard deviation of the noise, :math:`\sqrt{\sum_{i>d} z_i^2 / (N - d)}`, in the unit of
        the labels.
    signal_fraction_ : float, or ndarray of float, shape (n_targets,)
        The part of the variance of the labels that is no noise, 1 − N noise² / Σ z².
    denoised_ : ndarray of float, shape (n,) or (n, n_targets)
        The labels without the noise, :math:`\sum_{i \leq d} z_i u_i`, plus the mean.
    coefficients_ : ndarray of float, shape (n,) or (n, n_targets)
        The coefficients z.
    losses_ : ndarray of float, shape (max_dim,) or (max_dim, n_targets)
        L(1), L(2), ….
    eigenvalues_ : ndarray of float, shape (n,)
        Eigenvalues of the kernel matrix, the largest first.

    Raises
    ------
    ValueError
        If there are fewer than three samples, labels are constant, or a precomputed matrix is not
        square and symmetric.
    MemoryError
        If the eigenvectors would not fit in memory.

    References
    ----------
    .. [1] M. L. Braun, J. M. Buhmann, K.-R. Müller, J. Mach. Learn. Res. 9, 1875 (2008).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.decomposition import RelevantDimension
    >>> from skatom.kernels import Gaussian
    >>> random = np.random.default_rng(0)
    >>> X = random.uniform(-3, 3, (200, 1))
    >>> y = np.sin(2 * X[:, 0]) + random.normal(scale=0.1, size=200)
    >>> relevant = RelevantDimension(Gaussian(1.0)).fit(X, y)
    >>> relevant.dimension_, round(relevant.noise_std_, 2)
    (7, 0.1)

    Linear regression on as many components of `sklearn.decomposition.KernelPCA` is a model:

    >>> from sklearn.decomposition import KernelPCA
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.gaussian_process import RowKernel
    >>> components = KernelPCA(relevant.dimension_, kernel=RowKernel(Gaussian(1.0)))
    >>> model = make_pipeline(components, LinearRegression()).fit(X, y)
    >>> bool(np.allclose(model.predict(X), relevant.denoised_))
    True
    """

    _parameter_constraints = {
        "kernel": [Kernel, StrOptions({"precomputed"}), None],
        "center": ["boolean"],
        "method": [StrOptions({"likelihood", "loo"})],
        "max_dim": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        kernel: Any = None,
        *,
        center: bool = True,
        method: str = "likelihood",
        max_dim: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.center = center
        self.method = method
        self.max_dim = max_dim

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Find the relevant dimension.

        Parameters
        ----------
        X : what the kernel compares, n of them, or array-like of float, shape (n, n)
            The samples, or their kernel matrix if ``kernel="precomputed"``.
        y : array-like of float, shape (n,) or (n, n_targets)
            Labels.

        Returns
        -------
        self
        """
        X, y = self._checked(X, y)
        n = len(y)
        check_memory(
            48.0 * n * n, f"the eigenvectors of the kernel of {n} samples", "use fewer samples"
        )
        matrix = _checked_matrix(X) if self.kernel == "precomputed" else self._matrix(X, None)
        self._origin = origin_of(X)
        self.X_fit_, self.centerer_ = X, KernelCenterer().fit(matrix) if self.center else None
        matrix = self.centerer_.transform(matrix) if self.center else matrix
        values, vectors = eigh(matrix, check_finite=False)
        self.eigenvalues_, vectors = values[::-1], vectors[:, ::-1]
        targets = y.reshape(n, -1)
        mean = targets.mean(axis=0) if self.center else np.zeros(targets.shape[1])
        most = n - 1 if self.max_dim is None else min(self.max_dim, n - 1)
        found = [self._target(vectors, column, most) for column in (targets - mean).T]
        losses, coefficients, dimensions, noises = map(np.array, zip(*found, strict=True))
        denoised = np.stack(
            [vectors[:, :d] @ z[:d] for d, z in zip(dimensions, coefficients, strict=True)], axis=1
        )
        signals = 1 - n * noises**2 / (coefficients**2).sum(axis=1)
        self.losses_, self.coefficients_ = (_as(y, a.T) for a in (losses, coefficients))
        self.denoised_ = _as(y, denoised + mean)
        self.dimension_, self.noise_std_, self.signal_fraction_ = (
            a if y.ndim > 1 else a[0].item() for a in (dimensions, noises, signals)
        )
        self._n_features_out = int(dimensions.max())
        scales = np.sqrt(np.maximum(self.eigenvalues_[: self._n_features_out], 0))
        leading = vectors[:, : self._n_features_out]
        self.components_ = np.divide(leading, scales, out=np.zeros_like(leading), where=scales > 0)
        return self

    def transform(self, X: Any) -> Array:
        """The leading components of samples, as many as the (largest) relevant dimension.

        Parameters
        ----------
        X : what the kernel compares, m of them, or array-like of float, shape (m, n)
            The samples, or their kernel values with those of `fit`.

        Returns
        -------
        ndarray of float, shape (m, n_components)
            As of `sklearn.decomposition.KernelPCA`, up to signs.
        """
        check_is_fitted(self)
        check_origin(self, X)
        if _is_table(X):
            X = validate_data(self, X, dtype=float, reset=False)
        matrix = X if self.kernel == "precomputed" else self._matrix(X, self.X_fit_)
        if self.center:
            matrix = self.centerer_.transform(matrix)
        return matrix @ self.components_

    def _checked(self, X, y):
        if _is_table(X):
            X, y = validate_data(
                self, X, y, dtype=float, y_numeric=True, multi_output=True, ensure_min_samples=3
            )
        else:
            y = check_array(y, dtype=float, ensure_2d=False, ensure_min_samples=3)
            check_consistent_length(X, y)
        y = np.asarray(y, float)
        if np.any(np.ptp(y, axis=0) == 0):
            raise ValueError("labels are constant, and every dimension describes them: give others")
        return X, y

    def _matrix(self, X, Y):
        kernel = Gaussian() if self.kernel is None else self.kernel
        return on_host(kernel(X, Y))

    def _target(self, vectors, y, most):
        """L, z, the dimension and the noise of one target."""
        z = vectors.T @ y
        losses = (_likelihood if self.method == "likelihood" else _leave_one_out)(
            vectors, y, z, most
        )
        dimension = 1 + int(np.argmin(losses))
        return losses, z, dimension, np.sqrt(np.mean(z[dimension:] ** 2))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags


def _is_table(X):
    """Whether X is an array, or what becomes one, and no structures or their features."""
    first = X[0] if isinstance(X, list | tuple) and len(X) else X
    return not any(hasattr(x, name) for x in (X, first) for name in ("pullback", "positions"))


def _checked_matrix(matrix):
    if matrix.shape[0] != matrix.shape[1] or not np.allclose(matrix, matrix.T, rtol=1e-8):
        raise ValueError(
            f"kernel='precomputed' and a matrix of {matrix.shape[0]} x {matrix.shape[1]} numbers "
            "that is not symmetric: give the kernel of all training samples with each other"
        )
    return matrix


def _likelihood(vectors, y, z, most):
    n, squares = len(z), z**2
    d = np.arange(1, most + 1)
    head = np.cumsum(squares)[:most] / d
    tail = (np.cumsum(squares[::-1])[::-1][1:])[:most] / (n - d)
    head, tail = np.maximum([head, tail], _FLOOR * squares.mean())
    return d / n * np.log(head) + (n - d) / n * np.log(tail)


def _leave_one_out(vectors, y, z, most):
    losses = np.zeros(most)
    for rows in split_rows(len(y), max(1, _PIECE // len(y))):
        leading = vectors[rows, :most]
        rest = y[rows, None] - np.cumsum(leading * z[:most], axis=1)
        free = 1 - np.cumsum(leading**2, axis=1)
        losses += ((rest / np.maximum(free, np.finfo(float).eps)) ** 2).sum(axis=0)
    return losses / len(y)


def _as(y, array):
    """A column for each target, or a vector if y is one."""
    return array if y.ndim > 1 else array[:, 0]
