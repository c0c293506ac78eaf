"""Kernels of feature vectors, called on arrays or on the features of atoms."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from skatom._typing import Array, ArrayLike, FeaturesLike
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.origin import check_same_origin
from skatom.kernels.atom_sums import own_sums, sums_of_atoms
from skatom.kernels.base import Kernel
from skatom.kernels.feature_rows import check_features
from skatom.kernels.row_blocks import checked_rows, matrix_of_rows


class FeatureKernel(Kernel):
    r"""Base class of kernels :math:`k(x, y)` of feature vectors.

    Called on arrays or `StructureFeatures`, it compares their rows. Called on `AtomicFeatures`, it
    compares structures, by the sum over their atoms of the same element (see `StructureKernel` for
    other ways),

    .. math:: K(A, B) = \sum_{I \in A} \sum_{J \in B} \delta_{Z_I Z_J} k(q_I, q_J)

    A subclass implements ``matrix(X, Y)`` and ``matrix_diagonal(X)``.
    """

    @abstractmethod
    def matrix(self, X: Array, Y: Array) -> Array:
        """Kernel values of the rows of two arrays, without checks.

        Parameters
        ----------
        X, Y : ndarray of float, shapes (n, n_features) and (m, n_features)

        Returns
        -------
        ndarray of float, shape (n, m)
        """

    @abstractmethod
    def matrix_diagonal(self, X: Array) -> Array:
        """k(x, x) of each row of an array, without checks.

        Parameters
        ----------
        X : ndarray of float, shape (n, n_features)

        Returns
        -------
        ndarray of float, shape (n,)
        """

    def spectral_scales(self, shape: tuple[int, int], random: Any) -> Array:
        """Factors that turn standard normal vectors into draws from the spectral density.

        The spectral density of a kernel k(x − y) is its Fourier transform. Random features have
        such frequencies, see `RandomFourierFeatures <skatom.random_features>`.

        Parameters
        ----------
        shape : tuple of int
            ``(n, n_features)``, the number of frequencies and their dimension.
        random : RandomState
            Source of random numbers.

        Returns
        -------
        ndarray of float, shape (n, 1) or (n, n_features)

        Raises
        ------
        ValueError
            If the kernel has no spectral density that is known.
        """
        raise ValueError(
            f"{self} has no spectral density: use Gaussian, Matern, Laplacian, GammaExponential, "
            "or sums and multiples of these"
        )

    def __call__(self, X: ArrayLike, Y: Any = None) -> Array:
        """The matrix of kernel values.

        Parameters
        ----------
        X : array-like of float, shape (n, n_features), or AtomicFeatures of n structures
            The rows.
        Y : the same, of m rows, default=None
            The columns. None: X.

        Returns
        -------
        ndarray of float, shape (n, m)

        Raises
        ------
        ValueError
            If arrays are not of two dimensions, not finite, or of different features.
        MemoryError
            If the matrix would not fit in memory.
        """
        self.check_parameters()
        if isinstance(X, AtomicFeatures):
            return sums_of_atoms(self.matrix, X, Y)
        check_same_origin(X, Y)
        return matrix_of_rows(self.matrix, self.matrix_diagonal, *checked_rows(X, Y))

    def diagonal(self, X: ArrayLike) -> Array:
        """k(x, x) of each row, or of each structure.

        Parameters
        ----------
        X : array-like of float, shape (n, n_features), or AtomicFeatures of n structures

        Returns
        -------
        ndarray of float, shape (n,)
        """
        if isinstance(X, AtomicFeatures):
            return own_sums(self.matrix, X)
        return self.matrix_diagonal(checked_rows(X)[0])

    def covariance_blocks(
        self, X: FeaturesLike, Y: Any, rows: tuple[str, ...], columns: tuple[str, ...]
    ) -> Array:
        check_features(X, Y)
        return self(X, Y)
