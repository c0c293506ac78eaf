"""What all kernels share: values and derivatives from one function of three numbers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from skatom.base import BaseEstimator
from skatom.descriptors.atomic_features import AtomicFeatures


@dataclass(frozen=True)
class Profile:
    """φ(s, u, v) of many pairs, and the derivatives that models need.

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

    def scaled(self, factor):
        return Profile(*(factor * a for a in self._fields()))

    def _fields(self):
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)


class Kernel(BaseEstimator, ABC):
    """Base class of kernels of feature vectors.

    A kernel is called on arrays, or on `AtomicFeatures`, whose atoms it compares element by
    element and sums up (see `StructureKernel` for other ways). Kernels add and multiply, with
    each other and with positive numbers, and their parameters are those of an estimator, so that
    a grid search reaches them as ``kernel__sigma``.

    A kernel that derivatives are taken of is a function of three numbers,

    .. math:: k(x, y) = \\varphi(s, u, v), \\quad s = x \\cdot y,\\; u = |x|^2,\\; v = |y|^2

    for then every derivative is a combination of x, y and the unit matrix:

    .. math::
        \\partial_x k &= \\varphi_s y + 2 \\varphi_u x

        \\partial_x \\partial_y^\\top k &= \\varphi_s I + \\varphi_{ss} y x^\\top
            + 2 \\varphi_{su} x x^\\top + 2 \\varphi_{sv} y y^\\top + 4 \\varphi_{uv} x y^\\top

    A subclass writes `profile` and `value`.
    """

    _parameter_constraints: dict = {}

    @abstractmethod
    def value(self, s, u, v):
        """φ(s, u, v).

        Parameters
        ----------
        s, u, v : ndarray of float
            Dot products of pairs and the squared norms of their members, of shapes that broadcast.

        Returns
        -------
        ndarray of float
        """

    @abstractmethod
    def profile(self, s, u, v):
        """φ(s, u, v) and its derivatives.

        Parameters
        ----------
        s, u, v : ndarray of float

        Returns
        -------
        Profile
        """

    def __call__(self, X, Y=None):
        """The matrix of kernel values.

        Parameters
        ----------
        X : array-like of float, shape (n, n_features), or AtomicFeatures of n structures
        Y : the same, of m rows, default=None
            None: X.

        Returns
        -------
        ndarray of float, shape (n, m)
        """
        self.check_parameters()
        if isinstance(X, AtomicFeatures):
            from skatom.kernels.structure import StructureKernel

            return StructureKernel(self)(X, Y)
        X = np.asarray(X, float)
        return self._matrix(X, X if Y is None else np.asarray(Y, float))

    def diagonal(self, X):
        """k(x, x) of each row.

        Parameters
        ----------
        X : array-like of float, shape (n, n_features)

        Returns
        -------
        ndarray of float, shape (n,)
        """
        norms = squared_norms(np.asarray(X, float))
        return self.value(norms, norms, norms)

    def _matrix(self, X, Y):
        return self.value(X @ Y.T, squared_norms(X)[:, None], squared_norms(Y))

    def check_parameters(self):
        """Raise a ValueError if a parameter is out of range."""
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(deep=False), type(self).__name__
        )

    def __add__(self, other):
        return Sum(self, other)

    def __mul__(self, other):
        return Scaled(self, other) if isinstance(other, Real) else Product(self, other)

    __rmul__ = __mul__


class Scaled(Kernel):
    """A kernel times a positive number, c k(x, y); what ``c * kernel`` gives.

    Parameters
    ----------
    kernel : Kernel
    factor : float
        The variance c.
    """

    _parameter_constraints = {
        "kernel": [Kernel],
        "factor": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, kernel, factor=1.0):
        self.kernel = kernel
        self.factor = factor

    def value(self, s, u, v):
        return self.factor * self.kernel.value(s, u, v)

    def profile(self, s, u, v):
        return self.kernel.profile(s, u, v).scaled(self.factor)

    def diagonal(self, X):
        return self.factor * self.kernel.diagonal(X)

    def _matrix(self, X, Y):
        return self.factor * self.kernel._matrix(X, Y)

    def check_parameters(self):
        super().check_parameters()
        self.kernel.check_parameters()


class _Pair(Kernel):
    _parameter_constraints = {"left": [Kernel], "right": [Kernel]}

    def __init__(self, left, right):
        self.left = left
        self.right = right

    def check_parameters(self):
        super().check_parameters()
        self.left.check_parameters()
        self.right.check_parameters()


class Sum(_Pair):
    """The sum of two kernels; what ``left + right`` gives.

    Parameters
    ----------
    left, right : Kernel
    """

    def value(self, s, u, v):
        return self.left.value(s, u, v) + self.right.value(s, u, v)

    def profile(self, s, u, v):
        return self.left.profile(s, u, v) + self.right.profile(s, u, v)

    def diagonal(self, X):
        return self.left.diagonal(X) + self.right.diagonal(X)

    def _matrix(self, X, Y):
        return self.left._matrix(X, Y) + self.right._matrix(X, Y)


class Product(_Pair):
    """The product of two kernels; what ``left * right`` gives.

    Parameters
    ----------
    left, right : Kernel
    """

    def value(self, s, u, v):
        return self.left.value(s, u, v) * self.right.value(s, u, v)

    def profile(self, s, u, v):
        return self.left.profile(s, u, v) * self.right.profile(s, u, v)

    def diagonal(self, X):
        return self.left.diagonal(X) * self.right.diagonal(X)

    def _matrix(self, X, Y):
        return self.left._matrix(X, Y) * self.right._matrix(X, Y)


def squared_norms(X):
    """|x|² of each row, shape (n,)."""
    return np.einsum("ij,ij->i", X, X)
