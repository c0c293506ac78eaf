"""Kernel ridge regression of one order λ on all structures, and its standard deviations."""

import numpy as np

from skatom.memory import check_memory
from skatom.models.tensor.environments import (
    CovariantEnvironments,
    blocks_of,
    check_not_symmetric,
    fill_kernel,
    kernel_diagonal,
)
from skatom.models.tensor.expansion import TensorExpansion
from skatom.solvers import PackedCholesky

_WIDTH = 400


def fit_dense(features, lam, zeta, components, noise, keep=False, max_memory=None, verbose=0):
    """Solve (K + mean(diag K) noise) c = components.

    Parameters
    ----------
    features : TensorFeatures of n structures
    lam, zeta : int
    components : ndarray of float, shape (n, 2λ + 1)
    noise : ndarray of float, shape (n,)
        Noise variance of each structure, relative to the mean of the diagonal of K.
    keep : bool
        Return what standard deviations need.
    max_memory : float or None
    verbose : int

    Returns
    -------
    TensorExpansion, DensePosterior or None
    """
    n, n_mu = components.shape
    check_memory(
        PackedCholesky.memory(n * n_mu, _WIDTH),
        f"the kernel matrix of {n} structures with {n_mu} components each",
        "train on fewer structures, or on representative environments (n_sparse)",
        max_memory,
    )
    system = _System(features, lam, zeta, noise)
    cholesky = PackedCholesky(system.edges, verbose)
    try:
        cholesky.factor(system)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"the kernel matrix is singular to rounding errors with alpha={noise.min()}: raise "
            "alpha"
        ) from error
    c = cholesky.solve(components.ravel()).reshape(n, n_mu)
    starts = np.cumsum([0, *(len(block) for block in system.blocks)])
    parts = (
        (CovariantEnvironments.of_structures(block, lam), c[start : start + len(block)])
        for start, block in zip(starts[:-1], system.blocks, strict=True)
    )
    counts = np.bincount(features.structures.numbers, minlength=119)
    expansion = TensorExpansion(lam, zeta, parts, counts)
    if not keep:
        return expansion, None
    scale = float(np.sum(components * c)) / components.size
    return expansion, DensePosterior(features, lam, zeta, cholesky, scale)


class DensePosterior:
    r"""Posterior covariances of the components of order λ.

    .. math:: s^2 \big[ K(A, A) - K(A, \cdot)\, (K + \alpha \bar K I)^{-1} K(\cdot, A) \big]

    with :math:`s^2 = T^\top (K + \alpha\bar K I)^{-1}\, T / m`, which maximises the likelihood of
    the m components T. The training structures are kept and their features are computed again.

    Parameters
    ----------
    features : TensorFeatures
        The training structures.
    lam, zeta : int
    cholesky : PackedCholesky
        The factor of :math:`K + \alpha \bar K I`.
    scale : float
        The prior variance s² in units of K.
    """

    def __init__(self, features, lam, zeta, cholesky, scale):
        self.features, self.lam, self.zeta = features, lam, zeta
        self.cholesky, self.scale = cholesky, scale

    def covariances(self, features):
        """Covariances of the structures of TensorFeatures, shape (n, 2λ + 1, 2λ + 1)."""
        return np.concatenate([self._of_block(block) for block in blocks_of(features, self.lam)])

    def _of_block(self, block):
        n_mu = 2 * self.lam + 1
        columns = CovariantEnvironments.of_structures(block, self.lam)
        cross = np.empty((len(self.features) * n_mu, len(block) * n_mu))
        start = 0
        for training in blocks_of(self.features, self.lam):
            rows = CovariantEnvironments.of_structures(training, self.lam)
            stop = start + len(training) * n_mu
            fill_kernel(rows, columns, self.zeta, cross[start:stop])
            start = stop
        learnt = grams(self.cholesky.half_solve(cross), n_mu)
        return self.scale * (kernel_diagonal(columns, self.zeta) - learnt)


def grams(columns, n_mu):
    """The products VᵀV of every n_mu columns, shape (n, n_mu, n_mu)."""
    of_structure = columns.reshape(len(columns), -1, n_mu).transpose(1, 2, 0)
    return of_structure @ of_structure.transpose(0, 2, 1)


class _System:
    """K and the noise, in block columns of a few structures each."""

    def __init__(self, features, lam, zeta, noise):
        self.lam, self.zeta = lam, zeta
        self.blocks = blocks_of(features, lam)
        n_mu = 2 * lam + 1
        self.edges = np.cumsum([0, *(len(block) * n_mu for block in self.blocks)])
        trace = sum(
            np.einsum("nmm->", kernel_diagonal(self._environments(block), zeta))
            for block in self.blocks
        )
        check_not_symmetric(trace, len(features.structures.numbers), lam)
        self.noise = np.repeat(noise * trace / (len(noise) * n_mu), n_mu)

    def _environments(self, block):
        return CovariantEnvironments.of_structures(block, self.lam)

    def fill(self, start, stop, out):
        blocks = self.blocks[np.searchsorted(self.edges, start) :]
        columns = self._environments(blocks[0])
        begin = 0
        for block in blocks:
            rows = columns if begin == 0 else self._environments(block)
            end = begin + len(block) * (2 * self.lam + 1)
            fill_kernel(rows, columns, self.zeta, out[begin:end])
            begin = end
        out[: stop - start] += np.diag(self.noise[start:stop])
