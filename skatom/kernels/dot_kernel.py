"""Kernels whose values and derivatives follow from one function of three numbers."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from skatom._device import is_tensor
from skatom._intervals import POSITIVE
from skatom._typing import Array, FeaturesLike
from skatom.kernels.base import Kernel, slopes_of, squared_norms
from skatom.kernels.blocks import block, feature_covariance
from skatom.kernels.feature_kernel import FeatureKernel
from skatom.kernels.feature_rows import check_features
from skatom.parallel import split_rows

# Kernel values that are computed at once: their arrays stay in the cache.
_PIECE = 2**17


@dataclass(frozen=True)
class Profile:
    """φ(s, u, v) of many pairs, and its derivatives that models need.

    s is the dot product of two feature vectors, u and v are their squared norms.

    Attributes
    ----------
    value, s, u, v, ss, su, sv, uv : ndarray of float, or float
        φ, ∂φ/∂s, …, ∂²φ/∂s², ∂²φ/∂s∂u, …; they broadcast against each other.
    """

    value: np.ndarray
    s: np.ndarray
    u: np.ndarray
    v: np.ndarray
    ss: np.ndarray
    su: np.ndarray
    sv: np.ndarray
    uv: np.ndarray

    def __add__(self, other):
        return Profile(*(a + b for a, b in zip(self._fields(), other._fields(), strict=True)))

    def __mul__(self, other):
        f, g = self, other
        return Profile(
            f.value * g.value,
            *(getattr(f, a) * g.value + f.value * getattr(g, a) for a in "suv"),
            *(
                getattr(f, a + b) * g.value
                + getattr(f, a) * getattr(g, b)
                + getattr(f, b) * getattr(g, a)
                + f.value * getattr(g, a + b)
                for a, b in ("ss", "su", "sv", "uv")
            ),
        )

    def scaled(self, factor: Any) -> Any:
        return Profile(*(factor * a for a in self._fields()))

    def _fields(self):
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)


class DotKernel(FeatureKernel):
    r"""Base class of kernels of feature vectors with derivatives.

    Such a kernel is a function of three numbers,

    .. math:: k(x, y) = \varphi(s, u, v), \quad s = x \cdot y,\; u = |x|^2,\; v = |y|^2

    so that every derivative is a combination of x, y and the unit matrix:

    .. math::
        \partial_x k &= \varphi_s y + 2 \varphi_u x

        \partial_x \partial_y^\top k &= \varphi_s I + \varphi_{ss} y x^\top
            + 2 \varphi_{su} x x^\top + 2 \varphi_{sv} y y^\top + 4 \varphi_{uv} x y^\top

    These kernels can be added and multiplied with each other, and multiplied by positive numbers.

    A subclass implements `value` and `profile`, with functions that numpy and torch have in
    common. A kernel with fewer than two derivatives overrides ``n_derivatives``.
    """

    @abstractmethod
    def value(self, s: Array, u: Array, v: Array) -> Array:
        """φ(s, u, v).

        Parameters
        ----------
        s, u, v : ndarray of float
            Dot products of pairs and the squared norms of their members; they broadcast.

        Returns
        -------
        ndarray of float
        """

    @abstractmethod
    def profile(self, s: Array, u: Array, v: Array) -> Profile:
        """φ(s, u, v) and its derivatives.

        Parameters
        ----------
        s, u, v : ndarray of float
            Dot products of pairs and the squared norms of their members; they broadcast.

        Returns
        -------
        Profile
        """

    def first_derivatives(self, s: Array, u: Array, v: Array) -> tuple:
        """φ(s, u, v), ∂φ/∂s and ∂φ/∂u, of `profile`, for what needs no more.

        Parameters
        ----------
        s, u, v : ndarray of float
            Dot products of pairs and the squared norms of their members; they broadcast.

        Returns
        -------
        tuple of three ndarray of float, or float
        """
        profile = self.profile(s, u, v)
        return profile.value, profile.s, profile.u

    @property
    def n_derivatives(self) -> Any:
        return 2

    def matrix(self, X: Array, Y: Array) -> Array:
        products, own, others = X @ Y.T, squared_norms(X)[:, None], squared_norms(Y)
        if is_tensor(products) or products.size <= _PIECE:
            return self.value(products, own, others)
        # in place, so that what `value` makes on the way is not as large as the matrix
        for rows in split_rows(len(X), max(1, _PIECE // len(Y))):
            products[rows] = self.value(products[rows], own[rows], others)
        return products

    def matrix_diagonal(self, X: Array) -> Array:
        norms = squared_norms(X)
        return self.value(norms, norms, norms)

    @property
    def has_virials(self) -> Any:
        return True

    def covariance_blocks(
        self, X: FeaturesLike, Y: Any, rows: tuple[str, ...], columns: tuple[str, ...]
    ) -> Array:
        check_features(X, Y)
        if rows == columns == ("energy",):
            return self(X, Y)
        return feature_covariance(self, X, Y, rows, columns)

    def block(
        self,
        rows: Any,
        columns: Any,
        row_layout: Any,
        column_layout: Any,
        piece: Any,
        group: Any,
        lower: Any,
    ) -> Any:
        """Covariances of some structures with others, see `skatom.kernels.blocks.block`."""
        return block(self, rows, columns, row_layout, column_layout, piece, group, lower)

    def __add__(self, other):
        return Sum(self, other) if isinstance(other, DotKernel) else super().__add__(other)

    def __mul__(self, other):
        if isinstance(other, Kernel):
            return Product(self, other) if isinstance(other, DotKernel) else NotImplemented
        return Scaled(self, other) if isinstance(other, Real) else NotImplemented


class Scaled(DotKernel):
    """A kernel of features times a positive number, c k(x, y), written ``c * kernel``.

    Parameters
    ----------
    kernel : DotKernel
        The kernel k.
    factor : float, default=1.0
        The factor c.

    Examples
    --------
    >>> from skatom.kernels import Gaussian
    >>> (2.0 * Gaussian(sigma=2.0))([[0.0]], [[2.0]]).round(4)
    array([[1.2131]])
    """

    _parameter_constraints = {
        "kernel": [DotKernel],
        "factor": [POSITIVE],
    }

    def __init__(self, kernel: DotKernel, factor: float = 1.0) -> None:
        self.kernel = kernel
        self.factor = factor

    @property
    def n_derivatives(self) -> Any:
        return self.kernel.n_derivatives

    def value(self, s: Array, u: Array, v: Array) -> Array:
        return self.factor * self.kernel.value(s, u, v)

    def profile(self, s: Array, u: Array, v: Array) -> Profile:
        return self.kernel.profile(s, u, v).scaled(self.factor)

    scales = ("factor",)

    def log_slopes(self, X: Array) -> dict[str, Array]:
        return {"factor": self(X), **slopes_of(self, "kernel", X, self.factor)}

    def spectral_scales(self, shape: tuple[int, int], random: Any) -> Array:
        return self.kernel.spectral_scales(shape, random)


class _Pair(DotKernel):
    _parameter_constraints = {"left": [DotKernel], "right": [DotKernel]}

    def __init__(self, left: Any, right: Any) -> None:
        self.left = left
        self.right = right

    @property
    def n_derivatives(self) -> Any:
        return min(self.left.n_derivatives, self.right.n_derivatives)


class Sum(_Pair):
    """The sum of two kernels of features, k₁(x, y) + k₂(x, y), written ``left + right``.

    Parameters
    ----------
    left, right : DotKernel
        The two kernels.

    Examples
    --------
    >>> from skatom.kernels import Gaussian, Polynomial
    >>> (Gaussian(sigma=2.0) + Polynomial(zeta=2))([[1.0]], [[3.0]]).round(4)
    array([[9.6065]])
    """

    def value(self, s: Array, u: Array, v: Array) -> Array:
        return self.left.value(s, u, v) + self.right.value(s, u, v)

    def profile(self, s: Array, u: Array, v: Array) -> Profile:
        return self.left.profile(s, u, v) + self.right.profile(s, u, v)

    def log_slopes(self, X: Array) -> dict[str, Array]:
        return {**slopes_of(self, "left", X), **slopes_of(self, "right", X)}

    def spectral_scales(self, shape: tuple[int, int], random: Any) -> Array:
        left, right = (k.spectral_scales(shape, random) for k in (self.left, self.right))
        origin = np.zeros((1, shape[1]))
        variances = [float(k.matrix_diagonal(origin)[0]) for k in (self.left, self.right)]
        from_left = random.uniform(size=(shape[0], 1)) * sum(variances) < variances[0]
        return np.where(from_left, left, right)


class Product(_Pair):
    """The product of two kernels of features, k₁(x, y) k₂(x, y), written ``left * right``.

    Parameters
    ----------
    left, right : DotKernel
        The two kernels.

    Examples
    --------
    >>> from skatom.kernels import Gaussian, Polynomial
    >>> (Gaussian(sigma=2.0) * Polynomial(zeta=2))([[1.0]], [[3.0]]).round(4)
    array([[5.4588]])
    """

    def value(self, s: Array, u: Array, v: Array) -> Array:
        return self.left.value(s, u, v) * self.right.value(s, u, v)

    def profile(self, s: Array, u: Array, v: Array) -> Profile:
        return self.left.profile(s, u, v) * self.right.profile(s, u, v)

    def log_slopes(self, X: Array) -> dict[str, Array]:
        left, right = self.left(X), self.right(X)
        return {**slopes_of(self, "left", X, right), **slopes_of(self, "right", X, left)}
