"""Variances of the predictions of a sparse Gaussian process."""

import numpy as np
from scipy.linalg import solve_triangular

from skatom._cpu.voigt import FROM_VOIGT
from skatom.kernels.base import squared_norms
from skatom.models._cpu import tangents as _cpu
from skatom.models.sparse.device_variance import DeviceDeviations, device_of_all
from skatom.models.sparse.rows import energy_rows, with_neighbors
from skatom.models.sparse.tangents import (
    chunks,
    force_bytes,
    force_tangents,
    strain_bytes,
    strain_tangents,
)
from skatom.parallel import split_rows, threads_over_blas

# Rows of tangents that a thread works on at once, centres whose kernel matrix is then made as a
# whole, and representatives that they are compared with.
_ROWS, _CENTERS, _COLUMNS = 768, 512, 1024
# Rows of a triangular solve in one thread, and the size of its blocks.
_SOLVED, _BLOCK = 256, 128


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
        self._copies = {}

    def by_name(self, features, names):
        """The arrays of ``names`` that are standard deviations: energy, forces and stress."""
        found, there = {}, self._beside(features)
        if "energy_std" in names:
            found["energy_std"] = there.of_energies(features)
        if "forces_std" in names:
            found["forces_std"] = there.of_forces(features)
        if "stress_std" in names:
            volumes = features[0].structures.volumes()[:, None]
            found["stress_std"] = (there.of_virials(features) / volumes)[:, FROM_VOIGT]
        return found

    def _beside(self, features):
        """The deviations where the features are; on the host where some of them are."""
        device = device_of_all(features)
        if device is None:
            return self
        if device not in self._copies:
            self._copies[device] = DeviceDeviations(self, device)
        return self._copies[device]

    def of_energies(self, features):
        """Standard deviations of the energies of a batch of structures: shape (n,)."""
        features = [of_term.to("cpu") for of_term in features]
        rows = energy_rows(self.blocks, features, len(self.triangle))
        prior = energy_prior(self.blocks, features)
        with threads_over_blas() as pool:
            return np.sqrt(self.variances(rows, prior, pool))

    def of_forces(self, features):
        """Standard deviations of the force components of all atoms: shape (n_atoms, 3)."""
        return self._of_tangents(features, force_tangents, force_bytes)

    def of_virials(self, features):
        """Standard deviations of xx, yy, zz, yz, xz, xy of the virials: shape (n, 6)."""
        return self._of_tangents(features, strain_tangents, strain_bytes)

    def _of_tangents(self, features, make, n_bytes):
        features = with_neighbors([of_term.to("cpu") for of_term in features])
        parts = []
        with threads_over_blas() as pool:
            sizes = np.max([n_bytes(of_term) for of_term in features], axis=0)
            for targets in chunks(sizes + 48 * len(self.triangle)):  # and their rows
                prior, rows = functionals(self.blocks, features, make, targets, pool)
                variances = self.variances(rows.reshape(prior.size, -1), prior.ravel(), pool)
                parts.append(np.sqrt(variances).reshape(prior.shape))
        return np.concatenate(parts)

    def variances(self, rows, prior, pool):
        """Variances (n,) of functionals with the rows :math:`k_{*M}` and the priors k**."""
        left = prior.copy()
        for block, factor in zip(self.blocks, self.prior_factors, strict=True):
            left -= solved_norms(factor.T, rows[:, block.columns], pool)
        return np.maximum(left, 0.0) + solved_norms(self.triangle, rows, pool)


def solved_norms(triangle, rows, pool):
    """|R⁻ᵀ row|² of each row, for an upper triangle R, in products of blocks over threads."""
    if len(rows) < _BLOCK:
        solved = solve_triangular(triangle, rows.T, trans="T", check_finite=False)
        return squared_norms(solved.T)
    columns = split_rows(len(triangle), _BLOCK)
    inverses = [
        solve_triangular(triangle[part, part], np.eye(part.stop - part.start)) for part in columns
    ]
    norms = np.empty(len(rows))

    def solve(some):
        left = rows[some].copy()
        for part, inverse in zip(columns, inverses, strict=True):
            left[:, part] = left[:, part] @ inverse
            left[:, part.stop :] -= left[:, part] @ triangle[part, part.stop :]
        norms[some] = squared_norms(left)

    list(pool.map(solve, split_rows(len(rows), _SOLVED)))
    return norms


def energy_prior(blocks, features):
    """Σ_ij k(x_i, x_j) over the atoms of each structure, for all kernels: shape (n,)."""
    total = np.zeros(len(features[0]))
    for block in blocks:
        of_term = features[block.term]
        for s in range(len(total)):
            atoms = slice(*of_term.offsets[s : s + 2])
            x = of_term.values[atoms][of_term.numbers[atoms] == block.number]
            norms = squared_norms(x)
            total[s] += block.kernel.value(x @ x.T, norms[:, None], norms).sum()
    return total


def functionals(blocks, features, make, targets, pool):
    """Prior variances and rows k_{*M} of derivatives of the energy.

    Parameters
    ----------
    blocks : list of Block
    features : list of AtomicFeatures or WholeStructures
        Features of a batch by each descriptor, with their neighbour lists.
    make : callable
        `force_tangents` or `strain_tangents`.
    targets : slice
        The atoms, or the structures, along whose axes the derivatives are.
    pool : ThreadTeam

    Returns
    -------
    prior : ndarray of float, shape (n_targets, n_axes)
    rows : ndarray of float, shape (n_targets, n_axes, n_columns)
    """
    parts = [_of_block(block, features[block.term], make, targets, pool) for block in blocks]
    priors, rows = zip(*parts, strict=True)
    return sum(priors), np.concatenate(rows, axis=2)


def _of_block(block, features, make, targets, pool):
    """Prior variances and rows (n_targets, n_axes, M) of one block."""
    tangents = make(features, block.number, targets, pool)
    shape = (targets.stop - targets.start, tangents.values.shape[1])
    prior, rows = np.zeros(shape), np.zeros((*shape, len(block.vectors)))

    def add(some):
        _add(block, features.values, tangents.part(some), prior[some], rows[some])

    list(pool.map(add, _groups(tangents.starts)))
    return prior, rows


def _groups(starts):
    """Slices of targets with about `_ROWS` rows together."""
    edges = np.flatnonzero(np.diff(starts[:-1] // _ROWS, prepend=-1))
    return [slice(a, b) for a, b in zip(edges, [*edges[1:], len(starts) - 1], strict=True)]


def _add(block, values, tangents, prior, rows):
    """Add the part of one block to the prior variances and rows of a few targets."""
    centers, places = np.unique(tangents.centers, return_inverse=True)
    sizes = np.diff(tangents.starts)
    if len(sizes) > 1 and len(centers) ** 2 > min(_CENTERS**2, 4 * np.sum(sizes**2)):
        for k in range(len(sizes)):  # they have few centres in common
            one = slice(k, k + 1)
            _add(block, values, tangents.part(one), prior[one], rows[one])
    elif len(centers) > _CENTERS:
        x = values[tangents.centers]
        own = np.einsum("raf,rf->ra", tangents.values, x)
        prior += _large_prior(block.kernel, x, tangents.values, own)
        _add_rows(block, tangents, x, np.arange(len(x)), own, rows)
    elif len(centers):
        x, t = values[centers], tangents.values
        along = _products(t, x)
        own = along[np.arange(len(t)), :, places]
        norms = squared_norms(x)
        profile = block.kernel.profile(x @ x.T, norms[:, None], norms)
        curvatures = _arrays(profile, ("s", "ss", "su", "sv", "uv"), 2 * (len(x),))
        _cpu.add_priors(tangents.starts, places, t, along, *curvatures, prior)
        _add_rows(block, tangents, x, places, own, rows)


def _add_rows(block, tangents, x, places, own, rows):
    norms = squared_norms(x)
    width = max(1, _COLUMNS * _ROWS // max(_ROWS, len(tangents.values)))
    for part in split_rows(len(block.vectors), width):
        z = block.vectors[part]
        profile = block.kernel.profile(x @ z.T, norms[:, None], block.norms[part])
        slopes = _arrays(profile, ("s", "u"), (len(x), len(z)))
        products = _products(tangents.values, z)
        _cpu.add_rows(tangents.starts, places, products, own, *slopes, rows[:, :, part])


def _products(t, x):
    """t_i · x_j: ndarray of float, shape (n_rows, n_axes, n)."""
    return (t.reshape(-1, t.shape[2]) @ x.T).reshape(*t.shape[:2], len(x))


def _arrays(profile, names, shape):
    """Derivatives of a profile, which may be numbers, as arrays of one shape."""
    return [np.ascontiguousarray(np.broadcast_to(getattr(profile, name), shape)) for name in names]


def _large_prior(kernel, x, t, own):
    """Σ_ij t_iᵀ (∂x ∂yᵀ k)(x_i, x_j) t_j of one target of many rows, in blocks: shape (n_axes,)."""
    norms, total = squared_norms(x), np.zeros(t.shape[1])
    for part in split_rows(len(x), _BLOCK):
        p = kernel.profile(x[part] @ x.T, norms[part, None], norms)
        for axis in range(t.shape[1]):
            mine, all_rows = t[part, axis], t[:, axis]
            there, here = (all_rows @ x[part].T).T, mine @ x.T  # t_j · x_i, t_i · x_j
            one, other = own[part, axis, None], own[:, axis]
            hessian = p.s * (mine @ all_rows.T) + p.ss * here * there
            hessian = hessian + 2 * p.su * one * there + 2 * p.sv * here * other
            total[axis] += (hessian + 4 * p.uv * one * other).sum()
    return total
