"""The base class of all kernels, and their sums and multiples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Real
from typing import Any

from skatom._device import namespace
from skatom._intervals import POSITIVE
from skatom._typing import Array, FeaturesLike
from skatom.base import BaseEstimator, check_parameters

# Kernels that have covariances of forces with forces, which errors recommend.
_SMOOTH = (
    "Gaussian, Matern(nu=2.5), Cosine or Polynomial of atomic features, or NBody or ManyBody of "
    "structures"
)


class Kernel(BaseEstimator, ABC):
    """Base class of kernels :math:`k(x, y)`, similarities of vectors, environments or structures.

    A kernel is called on the objects that it compares, and returns the matrix of their kernel
    values. Its parameters are those of an estimator, so that a grid search reaches them as
    ``kernel__sigma``. Kernels can be added, and multiplied by positive numbers.

    A subclass implements

    - ``_parameter_constraints``, and an ``__init__`` that stores the parameters,
    - ``__call__(X, Y=None)``, which begins with ``self.check_parameters()``,
    - ``diagonal(X)``,
    - if energies may be learnt together with forces, ``n_derivatives`` and
      ``covariance_blocks(X, Y, rows, columns)``.

    `FeatureKernel` is the base class of kernels of feature vectors, `DotKernel` that of kernels
    whose derivatives follow from one function.
    """

    _parameter_constraints: dict = {}
    #: Names of positive parameters that `RowKernel <skatom.gaussian_process.RowKernel>` optimises.
    scales: tuple[str, ...] = ()

    def log_slopes(self, X: Array) -> dict[str, Array]:
        """Derivatives of the matrix of some rows with respect to logarithms of ``scales``.

        Parameters
        ----------
        X : ndarray of float, shape (n, n_features)
            The rows.

        Returns
        -------
        dict of str to ndarray of float, shape (n, n)
            By the name of the parameter, as in ``get_params``.
        """
        return {}

    @abstractmethod
    def __call__(self, X: FeaturesLike, Y: Any = None) -> Array:
        """The matrix of kernel values.

        Parameters
        ----------
        X : features, structures or arrays, n of them
            Objects of the rows.
        Y : the same, m of them, default=None
            Objects of the columns. None: X.

        Returns
        -------
        ndarray of float, shape (n, m)
        """

    @abstractmethod
    def diagonal(self, X: FeaturesLike) -> Array:
        """The diagonal k(x, x) of the matrix.

        Parameters
        ----------
        X : features, structures or arrays, n of them
            The objects that the kernel compares.

        Returns
        -------
        ndarray of float, shape (n,)
        """

    @property
    def n_derivatives(self) -> Any:
        """Number of derivatives of the covariances.

        0: covariances of energies with energies only; 1: also of forces with energies; 2: also of
        forces with forces.
        """
        return 0

    @property
    def has_virials(self) -> Any:
        """Whether the derivatives of the covariances include those with respect to strains."""
        return False

    def covariance_blocks(
        self, X: FeaturesLike, Y: Any, rows: tuple[str, ...], columns: tuple[str, ...]
    ) -> Array:
        """The matrix that `skatom.kernels.covariance` returns; call that, which checks arguments.

        Parameters
        ----------
        X : structures or their features
        Y : the same, or None
            Objects of the columns. None: X.
        rows, columns : tuple of str
            Some of "energy", "forces" and "virial", in this order, within the available
            derivatives.

        Returns
        -------
        ndarray of float, shape (n_rows, n_columns)
        """
        return self(X, Y)

    def check_parameters(self) -> None:
        """Raise a ValueError if a parameter is out of range."""
        parameters = self.get_params(deep=False)
        check_parameters(self._parameter_constraints, parameters, type(self).__name__)
        for value in parameters.values():
            if isinstance(value, Kernel):
                value.check_parameters()

    def check_derivatives(self, n: Any) -> Any:
        """Raise a ValueError if the covariances have fewer than ``n`` derivatives."""
        if self.n_derivatives >= n:
            return
        if self.n_derivatives:
            raise ValueError(
                f"{self} has no second derivatives, and so no covariance of forces with forces: "
                f"ask for rows or columns of energies alone, or use {_SMOOTH}"
            )
        raise ValueError(
            f"{self} has no derivatives, and so no covariance of forces: ask for energies alone, "
            f"or use {_SMOOTH}"
        )

    def check_virials(self) -> None:
        """Raise a ValueError if the covariances have no derivatives with respect to strains."""
        if not self.has_virials:
            raise ValueError(
                f"{self} has no covariances of virials: ask for energies and forces alone, or use "
                "Gaussian, Matern, Cosine or Polynomial of features"
            )

    def __add__(self, other):
        return KernelSum(self, other) if isinstance(other, Kernel) else NotImplemented

    def __mul__(self, other):
        return ScaledKernel(self, other) if isinstance(other, Real) else NotImplemented

    def __rmul__(self, other):
        return self.__mul__(other)  # of the subclass


class KernelSum(Kernel):
    """The sum of two kernels, k(x, y) = k₁(x, y) + k₂(x, y), written ``left + right``.

    Two `DotKernel` add up to a `Sum`, which has derivatives, and two kernels of n-plets to an
    `NBodySum`.

    Parameters
    ----------
    left, right : Kernel
        Kernels that compare the same kind of objects.

    Examples
    --------
    >>> from skatom.kernels import Gaussian, Laplacian
    >>> kernel = Gaussian(sigma=1.0) + Laplacian(sigma=1.0)
    >>> kernel([[0.0]], [[1.0]]).round(4)
    array([[0.9744]])
    """

    _parameter_constraints = {"left": [Kernel], "right": [Kernel]}

    def __init__(self, left: Kernel, right: Kernel) -> None:
        self.left = left
        self.right = right

    def __call__(self, X: FeaturesLike, Y: Any = None) -> Array:
        self.check_parameters()
        return self.left(X, Y) + self.right(X, Y)

    def diagonal(self, X: FeaturesLike) -> Array:
        return self.left.diagonal(X) + self.right.diagonal(X)

    @property
    def n_derivatives(self) -> Any:
        return min(self.left.n_derivatives, self.right.n_derivatives)

    @property
    def has_virials(self) -> Any:
        return self.left.has_virials and self.right.has_virials

    def covariance_blocks(
        self, X: FeaturesLike, Y: Any, rows: tuple[str, ...], columns: tuple[str, ...]
    ) -> Array:
        matrix = self.left.covariance_blocks(X, Y, rows, columns)
        matrix += self.right.covariance_blocks(X, Y, rows, columns)
        return matrix

    def log_slopes(self, X: Array) -> dict[str, Array]:
        return {**slopes_of(self, "left", X), **slopes_of(self, "right", X)}


class ScaledKernel(Kernel):
    """A kernel times a positive number, c k(x, y), written ``c * kernel``.

    A `DotKernel` times a number is a `Scaled`, which has derivatives.

    Parameters
    ----------
    kernel : Kernel
        The kernel k.
    factor : float, default=1.0
        The factor c.

    Examples
    --------
    >>> from skatom.kernels import Laplacian
    >>> kernel = 2.0 * Laplacian(sigma=1.0)
    >>> kernel([[0.0]], [[1.0]]).round(4)
    array([[0.7358]])
    """

    _parameter_constraints = {
        "kernel": [Kernel],
        "factor": [POSITIVE],
    }

    def __init__(self, kernel: Kernel, factor: float = 1.0) -> None:
        self.kernel = kernel
        self.factor = factor

    def __call__(self, X: FeaturesLike, Y: Any = None) -> Array:
        self.check_parameters()
        return self.factor * self.kernel(X, Y)

    def diagonal(self, X: FeaturesLike) -> Array:
        return self.factor * self.kernel.diagonal(X)

    @property
    def n_derivatives(self) -> Any:
        return self.kernel.n_derivatives

    @property
    def has_virials(self) -> Any:
        return self.kernel.has_virials

    def covariance_blocks(
        self, X: FeaturesLike, Y: Any, rows: tuple[str, ...], columns: tuple[str, ...]
    ) -> Array:
        matrix = self.kernel.covariance_blocks(X, Y, rows, columns)
        matrix *= self.factor
        return matrix

    scales = ("factor",)

    def log_slopes(self, X: Array) -> dict[str, Array]:
        return {"factor": self(X), **slopes_of(self, "kernel", X, self.factor)}


def slopes_of(kernel, name, X, factor=1.0):
    """`Kernel.log_slopes` of the kernel that is a parameter of another, times a factor."""
    slopes = getattr(kernel, name).log_slopes(X)
    return {f"{name}__{key}": factor * slope for key, slope in slopes.items()}


def squared_norms(X):
    """|x|² of each row, shape (n,)."""
    return namespace(X).einsum("ij,ij->i", X, X)
