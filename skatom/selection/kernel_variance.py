"""The variance of a Gaussian process as a measure of novelty."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from sklearn.utils._param_validation import StrOptions

from skatom._device import on_host
from skatom._intervals import POSITIVE
from skatom.kernels.base import Kernel
from skatom.memory import check_memory
from skatom.selection.feature_novelty import FeatureNovelty

# What is left of a variance below this share of the prior is rounding error.
_NOTHING = 1e-12


class KernelVariance(FeatureNovelty):
    r"""Standard deviation of a Gaussian process, which does not depend on labels.

    .. math::
        s^2(x) = k(x, x) - k(x, X)\, \big[ k(X, X) + \sigma^2 \big]^{-1} k(X, x)

    with the known structures X. `select` takes the structure of largest deviation, or the one that
    makes the variance of the whole pool smallest, counts it as known and goes on, so those of a
    batch are new to each other, too. A kernel of features of atoms is summed over the atoms, and
    the deviation is then that of energies; it is that of energies per atom with
    ``StructureKernel(kernel, match="average")``.

    Parameters
    ----------
    kernel : Kernel
        The kernel k of features, structures or rows of an array.
    descriptor : transformer or Pipeline, default=None
        Makes features of structures; used as it is if it is fitted. None: X are features already.
    noise : float, default=1e-3
        Standard deviation σ of the labels' noise, in units of the square root of the kernel.
    criterion : {"largest", "mean"}, default="largest"
        What `select` looks at. "largest": the structure's own deviation, which finds the extreme
        ones first. "mean": by how much a label of it would lower the mean variance of the pool
        [2]_, which takes what many others are like, and is better where the mean error counts; it
        needs the covariances of all candidates with each other.

    Attributes
    ----------
    species_ : ndarray of int, or None
        Atomic numbers of the species that are known.
    n_structures_seen_ : int
        Number of known structures.

    Raises
    ------
    ValueError
        If the kernel matrix of the known structures is not positive definite.
    MemoryError
        If it does not fit in memory.

    References
    ----------
    .. [1] C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning, MIT Press
       (2006), algorithm 2.1.
    .. [2] D. A. Cohn, Z. Ghahramani, M. I. Jordan, J. Artif. Intell. Res. 4, 129 (1996).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.kernels import Gaussian
    >>> from skatom.selection import KernelVariance
    >>> measure = KernelVariance(Gaussian(1.0)).fit([[0.0], [1.0]])
    >>> measure.score([[0.0], [0.5], [4.0]]).round(3)
    array([0.001, 0.175, 1.   ])
    >>> measure.select([[4.0], [4.1], [-3.0]], 2)
    array([1, 2])
    """

    _parameter_constraints = {
        **FeatureNovelty._parameter_constraints,
        "kernel": [Kernel],
        "noise": [POSITIVE],
        "criterion": [StrOptions({"largest", "mean"})],
    }

    def __init__(
        self,
        kernel: Kernel,
        descriptor: Any = None,
        *,
        noise: float = 1e-3,
        criterion: str = "largest",
    ) -> None:
        self.kernel = kernel
        self.descriptor = descriptor
        self.noise = noise
        self.criterion = criterion

    # a kernel of features of atoms is summed over the atoms
    scores_atoms_ = False
    _how_by_atom = "another measure"

    def _learn(self, X):
        self._parts, self._factor = [], np.empty((0, 0))
        self._learn_more(X)

    def _learn_more(self, X):
        """Extend the Cholesky factor by the rows of X."""
        n, own = len(self._factor), on_host(self.kernel(X))
        check_memory(
            16.0 * (n + len(own)) ** 2,
            f"the Cholesky factor of {n + len(own)} known rows",
            "give fewer structures, or a kernel of structures in place of one of atoms",
        )
        across = self._solved(X)
        own.flat[:: len(own) + 1] += self.noise**2
        own -= across.T @ across
        try:
            corner = cholesky(own, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            raise ValueError(
                f"the kernel matrix is not positive definite with noise={self.noise}: raise it"
            ) from None
        factor = np.zeros((n + len(corner), n + len(corner)))
        factor[:n, :n], factor[n:, :n], factor[n:, n:] = self._factor, across.T, corner
        self._parts, self._factor = [*self._parts, deepcopy(X)], factor

    def _solved(self, X):
        """The triangular factor's inverse times k(known, X)."""
        if not self._parts:
            return np.empty((0, len(X)))
        columns = np.concatenate([on_host(self.kernel(part, X)) for part in self._parts])
        return solve_triangular(self._factor, columns, lower=True, check_finite=False)

    def _variances(self, X, solved):
        prior = on_host(self.kernel.diagonal(X))
        left = prior - np.einsum("kn,kn->n", solved, solved)
        return np.where(left > _NOTHING * prior, left, 0.0)

    def _scores(self, X):
        return np.sqrt(self._variances(X, self._solved(X)))

    def _choose(self, X, n):
        solved = self._solved(X)
        if self.criterion == "mean":
            return self._choose_by_mean(X, n, solved)
        left, chosen = self._variances(X, solved), []
        smallest = _NOTHING * left.max(initial=0.0)
        while len(chosen) < n:
            row = int(left.argmax())
            if left[row] <= smallest:
                break
            chosen.append(row)
            column = on_host(self.kernel(X, X[row : row + 1]))[:, 0] - solved[:, row] @ solved
            step = column / np.sqrt(left[row] + self.noise**2)
            solved = np.vstack([solved, step])
            left = np.maximum(left - step**2, 0.0)
            left[chosen] = 0.0
        return np.array(chosen, int)

    def _choose_by_mean(self, X, n, solved):
        """Those whose labels lower the mean variance of the pool most."""
        check_memory(
            24.0 * len(X) ** 2,
            f"the covariances of {len(X)} candidates",
            "give a smaller pool, or criterion='largest'",
        )
        left, chosen = on_host(self.kernel(X)) - solved.T @ solved, []
        squares, smallest = np.einsum("ij,ij->j", left, left), _NOTHING * left.diagonal().max()
        while len(chosen) < n:
            gains = squares / (np.maximum(left.diagonal(), 0.0) + self.noise**2)
            gains[chosen] = 0.0
            row = int(gains.argmax())
            if left[row, row] <= smallest:
                break
            chosen.append(row)
            step = left[:, row] / np.sqrt(left[row, row] + self.noise**2)
            # |c - s s_j|² of all columns, without a pass through the matrix for each
            squares += step**2 * (step @ step) - 2 * step * (left @ step)
            left -= np.outer(step, step)
        return np.array(chosen, int)
