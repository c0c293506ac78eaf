"""Variances of the predictions of a sparse Gaussian process."""

import numpy as np
from scipy.linalg import solve_triangular

from skatom.kernels.base import squared_norms
from skatom.models.sparse.rows import all_derivative_rows, energy_rows, with_neighbors


class Deviations:
    r"""Standard deviations of the predictions of a sparse Gaussian process.

    .. math::
        k_{**} - k_{*M} K_{MM}^{-1} k_{M*} + k_{*M} (K_{MM} + A^\top A)^{-1} k_{M*}

    is the variance of a linear functional of the energy (DTC: deterministic training conditional).

    Parameters
    ----------
    blocks : list of Block
    prior_factors : list of ndarray
        Lower Cholesky factors of K_MM of each block.
    triangle : ndarray of float, shape (n_columns, n_columns)
        Upper triangle R with :math:`R^\top R = K_{MM} + A^\top A`.
    """

    def __init__(self, blocks, prior_factors, triangle):
        self.blocks = blocks
        self.prior_factors = prior_factors
        self.triangle = triangle

    def of_energies(self, features):
        """Standard deviations of the energies of a batch of structures: shape (n,)."""
        features = [of_term.to("cpu") for of_term in features]
        rows = energy_rows(self.blocks, features, len(self.triangle))
        return np.sqrt(self.variances(rows, energy_prior(self.blocks, features)))

    def of_forces(self, features):
        """Standard deviations of the force components of all atoms: shape (n_atoms, 3)."""
        features = with_neighbors([of_term.to("cpu") for of_term in features])
        parts = []
        for s in range(len(features[0])):
            rows, _ = all_derivative_rows(self.blocks, features, s, strained=False)
            prior = force_prior(self.blocks, features, s)
            variances = self.variances(rows.reshape(-1, rows.shape[2]), prior.ravel())
            parts.append(np.sqrt(variances).reshape(-1, 3))
        return np.concatenate(parts)

    def variances(self, rows, prior):
        """Variances (n,) of functionals with the rows :math:`k_{*M}` and the priors k**."""
        explained = np.zeros(len(rows))
        for block, factor in zip(self.blocks, self.prior_factors, strict=True):
            own = rows[:, block.columns].T
            explained += squared_norms(solve_triangular(factor, own, lower=True).T)
        learnt = squared_norms(solve_triangular(self.triangle, rows.T, trans="T").T)
        return np.maximum(prior - explained, 0.0) + learnt


def energy_prior(blocks, features):
    """Σ_ij k(x_i, x_j) over the atoms of each structure, for all kernels: shape (n,)."""
    offsets, total = features[0].offsets, np.zeros(len(features[0]))
    for block in blocks:
        of_term = features[block.term]
        for s in range(len(total)):
            atoms = slice(*offsets[s : s + 2])
            x = of_term.values[atoms][of_term.numbers[atoms] == block.number]
            norms = squared_norms(x)
            total[s] += block.kernel.value(x @ x.T, norms[:, None], norms).sum()
    return total


def force_prior(blocks, features, structure):
    """Prior variances of the forces on the atoms of one structure: shape (n_atoms, 3)."""
    n_atoms = features[0].n_atoms[structure]
    variance = np.zeros((n_atoms, 3))
    for term in sorted({block.term for block in blocks}):
        of_species = {block.number: block.kernel for block in blocks if block.term == term}
        of_term = features[term][structure]
        jacobian = of_term.jacobian(slice(None))
        pairs = jacobian.pairs
        order = np.argsort(pairs.indices, kind="stable")
        edges = np.searchsorted(pairs.indices[order], np.arange(n_atoms + 1))
        for atom in range(n_atoms):
            moved = order[edges[atom] : edges[atom + 1]]
            own = np.arange(*pairs.offsets[atom : atom + 2])
            centers, place = np.unique(
                np.concatenate([pairs.centers[moved], [atom] * len(own)]).astype(int),
                return_inverse=True,
            )
            if not len(centers):
                continue
            slopes = np.zeros((len(centers), 3, of_term.values.shape[1]))
            np.add.at(slopes, place[: len(moved)], jacobian.values[moved])
            np.subtract.at(slopes, place[len(moved) :], jacobian.values[own])
            for number, kernel in of_species.items():
                same = of_term.numbers[centers] == number
                x = of_term.values[centers[same]]
                variance[atom] += _slope_variance(kernel, x, slopes[same])
    return variance


def _slope_variance(kernel, x, slopes):
    """Σ_ij t_iᵀ (∂x ∂yᵀ k)(x_i, x_j) t_j for the slopes t (n, 3, n_features) of each axis."""
    norms = squared_norms(x)
    p = kernel.profile(x @ x.T, norms[:, None], norms)
    result = np.empty(3)
    for axis in range(3):
        t = slopes[:, axis]
        cross = t @ x.T  # t_i · x_j
        own = cross.diagonal()
        hessian = p.s * (t @ t.T) + p.ss * cross * cross.T
        hessian = hessian + 2 * p.su * own[:, None] * cross.T + 2 * p.sv * cross * own
        hessian = hessian + 4 * p.uv * np.outer(own, own)
        result[axis] = hessian.sum()
    return result
