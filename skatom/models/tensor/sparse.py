"""Least squares of one order λ on representative environments, and its standard deviations."""

from itertools import pairwise

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpstrf

from skatom._progress import tqdm
from skatom.memory import check_memory
from skatom.models.tensor.dense import grams
from skatom.models.tensor.environments import (
    CovariantEnvironments,
    blocks_of,
    check_not_symmetric,
    kernel_between,
    kernel_diagonal,
)
from skatom.models.tensor.expansion import TensorExpansion
from skatom.solvers import StreamedQR

# What is left of a column of the kernel matrix below this share of its largest diagonal element
# is rounding error.
_DEPENDENT = 1e-12


def fit_sparse(
    features, lam, zeta, components, noise, representatives, keep=False, max_memory=None, verbose=0
):
    """Least squares for the coefficients of representative environments.

    Parameters
    ----------
    features : TensorFeatures of n structures
    lam, zeta : int
    components : ndarray of float, shape (n, 2λ + 1)
    noise : ndarray of float, shape (n,)
        Noise variance of each structure, relative to the mean of the diagonal of K.
    representatives : CovariantEnvironments
        The features of M atoms, from `CovariantEnvironments.of_atoms`.
    keep : bool
        Return what standard deviations need.
    max_memory : float or None
    verbose : int

    Returns
    -------
    TensorExpansion, SparsePosterior or None
    """
    n_mu = components.shape[1]
    size = representatives.n * n_mu
    what = f"{representatives.n} representative environments with {n_mu} components each"
    _check_memory(16.0 * size**2, f"the kernel matrix of {what}", max_memory)
    own = kernel_between(representatives, representatives, lam, zeta)
    check_not_symmetric(np.trace(own), representatives.n, lam)
    columns, factor = independent_columns(own)
    del own
    n_bytes = 2 * StreamedQR.memory(len(columns)) + (0 if max_memory is None else factor.nbytes)
    _check_memory(n_bytes, f"the factorisation for {what}", max_memory)
    rows, mean = StreamedQR(len(columns)), 0.0
    blocks = tqdm(blocks_of(features, lam), desc="fit", disable=not verbose, leave=False)
    for block, part in zip(blocks, _slices(blocks), strict=True):
        environments = CovariantEnvironments.of_structures(block, lam)
        mean += np.einsum("nmm->", kernel_diagonal(environments, zeta)) / components.size
        kernel = kernel_between(environments, representatives, lam, zeta)[:, columns]
        weights = 1 / np.sqrt(np.repeat(noise[part], n_mu))
        rows.update(weights[:, None] * kernel, weights * components[part].ravel())
    # with all variances in units of the mean of the diagonal, which is known at the end only
    solver = StreamedQR(len(columns), prior=np.sqrt(mean) * factor.T).merge(rows)
    c = np.zeros(representatives.n * n_mu)
    c[columns] = solver.solve()
    counts = {z: len(owner) for z, (owner, _, _) in representatives.groups.items()}
    expansion = TensorExpansion(lam, zeta, [(representatives, c.reshape(-1, n_mu))], counts)
    if not keep:
        return expansion, None
    triangle = solver.triangle / np.sqrt(mean)
    posterior = SparsePosterior(lam, zeta, representatives, columns, factor, triangle)
    return expansion, posterior.calibrate(features, components, c[columns], mean * noise)


class SparsePosterior:
    r"""Posterior covariances of the components of order λ.

    .. math::
        s^2 \big[ K(A, A) - K_{AM} K_{MM}^{-1} K_{MA}
            + K_{AM} (K_{MM} + B^\top \Lambda^{-1} B)^{-1} K_{MA} \big]

    with the rows B of the training structures and their noise variances Λ. The first two terms are
    what the representatives cannot describe, the third what the labels leave open.

    Parameters
    ----------
    lam, zeta : int
    representatives : CovariantEnvironments
    columns : ndarray of int
        The independent ones among the components of all representatives.
    factor : ndarray
        Lower Cholesky factor of :math:`K_{MM}`, of these columns.
    triangle : ndarray
        Upper triangle R with :math:`R^\top R = K_{MM} + B^\top \Lambda^{-1} B`.

    Attributes
    ----------
    scale : float
        The prior variance s² in units of K.
    """

    def __init__(self, lam, zeta, representatives, columns, factor, triangle):
        self.lam, self.zeta, self.representatives = lam, zeta, representatives
        self.columns, self.factor, self.triangle = columns, factor, triangle
        self.scale = 1.0

    def calibrate(self, features, components, coefficients, noise):
        r"""Determine s² so that leave-one-out errors are as large as their deviations.

        .. math:: s^2 = \frac1m \sum_A e_A^\top \Sigma_A^{-1} e_A, \qquad
            e_A = (I - H)^{-1} r_A, \qquad \Sigma_A = \nu_A (I - H)^{-1} + D_A

        with the residuals r, the noise variance ν, the leverage H and what the representatives
        cannot describe, D, of each training structure A. The likelihood of the least squares takes
        D for a part of the labels and would give a much larger s².

        Parameters
        ----------
        features : TensorFeatures
            The n training structures.
        components : ndarray of float, shape (n, 2λ + 1)
        coefficients : ndarray of float
            Solution of the least squares, for the independent columns.
        noise : ndarray of float, shape (n,)
            Noise variance of each structure in units of K.

        Returns
        -------
        self
        """
        total, blocks = 0.0, blocks_of(features, self.lam)
        for block, part in zip(blocks, _slices(blocks), strict=True):
            cross, lacking, open_ = self._parts(block)
            residuals = components[part] - (cross.T @ coefficients).reshape(len(block), -1)
            variance = noise[part, None, None]
            others = np.linalg.inv(np.eye(cross.shape[1] // len(block)) - open_ / variance)
            errors = others @ residuals[:, :, None]
            solved = np.linalg.solve(variance * others + lacking, errors)
            total += np.sum(errors * solved)
        self.scale = float(total) / components.size
        return self

    def covariances(self, features):
        """Covariances of the structures of TensorFeatures, shape (n, 2λ + 1, 2λ + 1)."""
        parts = []
        for block in blocks_of(features, self.lam):
            _, lacking, open_ = self._parts(block)
            parts.append(self.scale * (lacking + open_))
        return np.concatenate(parts)

    def _parts(self, block):
        """K_MA, what the representatives cannot describe, and what the labels leave open."""
        n_mu = 2 * self.lam + 1
        rows = CovariantEnvironments.of_structures(block, self.lam)
        cross = kernel_between(rows, self.representatives, self.lam, self.zeta)[:, self.columns].T
        explained = grams(solve_triangular(self.factor, cross, lower=True), n_mu)
        open_ = grams(solve_triangular(self.triangle, cross, trans="T"), n_mu)
        return cross, kernel_diagonal(rows, self.zeta) - explained, open_


def independent_columns(matrix):
    """Columns that span a positive semi-definite matrix, and the Cholesky factor of their block.

    A planar environment has no component across its plane, so its 2λ + 1 columns depend on each
    other, whatever its orientation.

    Returns
    -------
    columns : ndarray of int, shape (rank,)
    factor : ndarray of float, shape (rank, rank)
        Lower Cholesky factor of ``matrix[columns][:, columns]``.
    """
    largest = matrix.diagonal().max()
    factor, order, rank, _ = dpstrf(matrix, tol=_DEPENDENT * largest, lower=1)
    return order[:rank] - 1, np.tril(factor[:rank, :rank])


def _slices(blocks):
    """The places of the structures of blocks among all of them."""
    edges = np.cumsum([0, *(len(block) for block in blocks)])
    return [slice(*pair) for pair in pairwise(edges)]


def _check_memory(n_bytes, what, max_memory):
    remedy = "reduce n_sparse" + ("" if max_memory is None else ", or raise max_memory")
    check_memory(n_bytes, what, remedy, max_memory)
