"""Kernels of skatom in scikit-learn's estimators of plain rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.gaussian_process.kernels import Hyperparameter
from sklearn.gaussian_process.kernels import Kernel as ScikitKernel

from skatom._typing import Array, ArrayLike
from skatom.kernels import GammaExponential, Gaussian, Kernel, Laplacian, Matern
from skatom.memory import check_memory


class RowKernel(ScikitKernel):
    r"""A kernel of skatom as a kernel of scikit-learn.

    .. math::
        K_{ij} = k(x_i, x_j), \qquad \frac{\partial K_{ij}}{\partial \log \theta}

    `sklearn.kernel_ridge.KernelRidge`, `sklearn.decomposition.KernelPCA` and others call a function
    for two rows at a time, but a kernel of this kind for all rows, so that the matrix is made block
    by block in threads. `sklearn.gaussian_process.GaussianProcessRegressor` maximises its
    likelihood over length scales and factors θ, with their derivatives, and adds and multiplies
    this kernel with its own. `sklearn.svm.SVR` takes the kernels of skatom themselves, too.

    Parameters
    ----------
    kernel : Kernel
        A kernel of feature vectors.
    scale_bounds : tuple of float, default=(1e-5, 1e5)
        Smallest and largest length scale, and factor, in an optimisation.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from sklearn.kernel_ridge import KernelRidge
    >>> from skatom.gaussian_process import RowKernel
    >>> from skatom.kernels import Laplacian, Matern
    >>> X = np.random.default_rng(0).uniform(size=(40, 3))
    >>> y = np.sin(3 * X).sum(axis=1)
    >>> ridge = KernelRidge(kernel=RowKernel(Laplacian(sigma=5.0)), alpha=1e-6).fit(X, y)
    >>> process = GaussianProcessRegressor(RowKernel(1.0 * Matern()), alpha=1e-8).fit(X, y)
    >>> [scale.name for scale in process.kernel_.hyperparameters]
    ['factor', 'kernel__sigma']
    """

    def __init__(self, kernel: Kernel, scale_bounds: tuple[float, float] = (1e-5, 1e5)) -> None:
        self.kernel = kernel
        self.scale_bounds = scale_bounds

    def __call__(self, X: ArrayLike, Y: Any = None, eval_gradient: bool = False) -> Any:
        """The matrix of kernel values, and its derivatives.

        Parameters
        ----------
        X : array-like of float, shape (n, n_features)
            The rows.
        Y : array-like of float, shape (m, n_features), default=None
            The columns. None: X.
        eval_gradient : bool, default=False
            Also return derivatives with respect to ``theta``; only without Y.

        Returns
        -------
        K : ndarray of float, shape (n, m)
        gradient : ndarray of float, shape (n, n, n_dims)
            With ``eval_gradient``.
        """
        if not eval_gradient:
            return self.kernel(X, Y)
        if Y is not None:
            raise ValueError("eval_gradient=True needs Y=None: derivatives are those of K(X, X)")
        names, values = self._names(), self.kernel(X)
        check_memory(
            8.0 * values.size * (len(names) + 2),
            f"the derivatives of the kernel matrix of {len(values)} rows",
            "use fewer rows, or optimizer=None",
        )
        slopes = self.kernel.log_slopes(np.asarray(X, float))
        gradient = np.empty((*values.shape, len(names)))
        for k, name in enumerate(names):
            gradient[:, :, k] = slopes[name]
        return values, gradient

    def diag(self, X: ArrayLike) -> Array:
        """k(x, x) of each row.

        Parameters
        ----------
        X : array-like of float, shape (n, n_features)

        Returns
        -------
        ndarray of float, shape (n,)
        """
        return self.kernel.diagonal(X)

    def is_stationary(self) -> bool:
        """Whether the kernel depends on differences of rows alone.

        Returns
        -------
        bool
        """
        kernels = [self.kernel, *self.kernel.get_params().values()]
        leaves = [k for k in kernels if isinstance(k, Kernel) and not _has_kernels(k)]
        return all(isinstance(k, Gaussian | Matern | GammaExponential | Laplacian) for k in leaves)

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """Length scales and factors of the kernel, sorted by name."""
        return [Hyperparameter(name, "numeric", self.scale_bounds) for name in self._names()]

    @property
    def theta(self) -> Array:
        """Logarithms of length scales and factors, shape (n_dims,)."""
        parameters = self.kernel.get_params()
        return np.log([parameters[name] for name in self._names()])

    @theta.setter
    def theta(self, theta):
        self.kernel.set_params(**dict(zip(self._names(), np.exp(theta).tolist(), strict=True)))

    def __repr__(self):
        return f"RowKernel({self.kernel})"

    def _names(self):
        """Names of the scales of the kernel and of those that it consists of."""
        parameters = self.kernel.get_params()
        owners = {name: name.rpartition("__") for name in parameters}
        return sorted(
            name
            for name, (owner, _, last) in owners.items()
            if last in getattr(parameters[owner] if owner else self.kernel, "scales", ())
        )


def _has_kernels(kernel):
    return any(isinstance(value, Kernel) for value in kernel.get_params(deep=False).values())
