"""Matrices of random directions, and their products with rows of features."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import qr

from skatom._device import beside, is_tensor
from skatom.parallel import run_in_threads
from skatom.random_features._cpu import hadamard

# Below, the products of three short Hadamard matrices are far from random directions.
_SHORTEST = 64


class DenseProjection:
    """Products with a matrix W.

    Parameters
    ----------
    matrix : ndarray of float, shape (n_out, n_in)
        The matrix.
    """

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix
        self.n_out, self.n_in = matrix.shape

    def apply(self, x: Any) -> Any:
        """x Wᵀ of rows x (n, n_in)."""
        return x @ beside(self.matrix, x).T

    def pull_back(self, cotangent: Any) -> Any:
        """c W of rows c (n, n_out)."""
        return cotangent @ beside(self.matrix, cotangent)


class HadamardProjection:
    r"""Products with structured random matrices, in a time of n_out log(n_in) for a row.

    .. math:: W = \mathrm{diag}(\ell)\, H D_3 H D_2 H D_1

    below each other, with Hadamard matrices H, which are orthogonal up to a factor, and diagonal
    matrices D of random signs [1]_. Tensors are multiplied with the matrix as it stands, which a
    card does faster.

    Parameters
    ----------
    signs : ndarray of float, shape (n_blocks, 3, d)
        The diagonals; d is a power of two.
    lengths : ndarray of float, shape (n_out,)
        Norms of the rows of W, d columns wide.
    n_in : int
        Number of columns, the first ones, that are used.

    References
    ----------
    .. [1] F. X. Yu, A. T. Suresh, K. Choromanski, D. Holtmann-Rice, S. Kumar, Advances in Neural
       Information Processing Systems 29, 1975 (2016).
    """

    def __init__(self, signs: Any, lengths: Any, n_in: int) -> None:
        self.signs = signs
        self.lengths = lengths
        self.n_out, self.n_in = len(lengths), n_in
        # three transforms multiply lengths by d^(3/2)
        self._factors = lengths * signs.shape[2] ** -1.5
        self._dense = None

    def __getstate__(self):
        return {**vars(self), "_dense": None}

    def apply(self, x: Any) -> Any:
        """x Wᵀ of rows x (n, n_in)."""
        if is_tensor(x):
            return self.as_matrix().apply(x)
        out = np.empty((len(x), self.n_out))
        return self._run(hadamard.project, x, out)

    def pull_back(self, cotangent: Any) -> Any:
        """c W of rows c (n, n_out)."""
        if is_tensor(cotangent):
            return self.as_matrix().pull_back(cotangent)
        out = np.empty((len(cotangent), self.n_in))
        return self._run(hadamard.pull_back, cotangent, out)

    def _run(self, loop, rows, out):
        rows = np.require(rows, float, ["C", "W"])
        run_in_threads(loop, len(rows), rows, self.signs, self._factors, out)
        return out

    def as_matrix(self) -> DenseProjection:
        """The same matrix as an array."""
        if self._dense is None:
            self._dense = DenseProjection(self.apply(np.eye(self.n_in)).T)
        return self._dense


def draw_normal(n_out: int, n_in: int, random: Any) -> DenseProjection:
    """A matrix of standard normal numbers."""
    return DenseProjection(random.normal(size=(n_out, n_in)))


def draw_orthogonal(n_out: int, n_in: int, random: Any) -> DenseProjection:
    """Rows like normal ones, each n_in of which are orthogonal to each other."""
    blocks = []
    for _ in range(0, n_out, n_in):
        q, r = qr(random.normal(size=(n_in, n_in)))
        blocks.append(q * np.sign(r.diagonal()))
    directions = np.concatenate(blocks)[:n_out]
    return DenseProjection(_lengths(n_out, n_in, random)[:, None] * directions)


def draw_hadamard(n_out: int, n_in: int, random: Any) -> HadamardProjection:
    """Rows like normal ones, orthogonal in blocks, from Hadamard matrices and random signs."""
    d = max(_SHORTEST, 1 << (n_in - 1).bit_length())
    signs = random.choice([-1.0, 1.0], size=(-(-n_out // d), 3, d))
    return HadamardProjection(signs, _lengths(n_out, d, random), n_in)


def scaled(projection: Any, factors: Any) -> Any:
    """The projection whose matrix is multiplied by ``factors``, (n_out, 1) or (n_out, n_in)."""
    if isinstance(projection, HadamardProjection):
        if factors.shape[1] == 1:
            lengths = projection.lengths * factors[:, 0]
            return HadamardProjection(projection.signs, lengths, projection.n_in)
        projection = projection.as_matrix()
    return DenseProjection(factors * projection.matrix)


def _lengths(n_out, n_in, random):
    """Norms of normal rows of ``n_in`` numbers."""
    return np.sqrt(random.chisquare(n_in, size=n_out))
