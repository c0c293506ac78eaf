"""Tangents of features on a device, and the variances of the derivatives along them.

The formulae are those of the compiled loops. A target, an atom that moves or a cell that is
strained, has a row for each centre whose features change; in products of small matrices the rows
of several targets are padded to the same number.
"""

from typing import NamedTuple

import numpy as np
import torch

from skatom._cpu.voigt import VOIGT
from skatom._device import device_of
from skatom.kernels.base import squared_norms
from skatom.models._torch.sparse_rows import full, segment_sums
from skatom.parallel import split_rows

# Numbers in the derivatives along the pairs of a piece of centres, and in the products of a group
# of targets with representatives or with each other.
_JACOBIAN, _PRODUCTS = 2**25, 2**26


class TangentTensors(NamedTuple):
    """The tangents of several targets, see `skatom.models.sparse.tangents.Tangents`."""

    starts: np.ndarray  # (n_targets + 1,)
    centers: torch.Tensor  # (n_rows,)
    values: torch.Tensor  # (n_rows, n_axes, n_features)

    def part(self, targets):
        """The tangents of a slice of the targets."""
        starts = self.starts[targets.start : targets.stop + 1]
        rows = slice(starts[0], starts[-1])
        return TangentTensors(starts - starts[0], self.centers[rows], self.values[rows])


def force_tangents(features, number, atoms):
    """The tangents of the centres of one species as each of a slice of the atoms moves."""
    pairs, mine = features.neighbors, features.numbers == number
    device = device_of(features.values)
    wanted = (pairs.indices >= atoms.start) & (pairs.indices < atoms.stop)
    seen = np.flatnonzero(wanted & mine[pairs.centers])
    own = atoms.start + np.flatnonzero(mine[atoms])
    moving = np.concatenate([pairs.indices[seen], own])
    centers = np.concatenate([pairs.centers[seen], own])
    order = np.argsort(moving, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    slots, own_slots = np.full(len(pairs), -1), np.full(len(mine), -1)
    slots[seen], own_slots[own] = place[: len(seen)], place[len(seen) :]
    values = device.empty(len(order), 3, features.n_features)
    for some in _pieces(np.unique(centers), pairs, 3 * features.n_features):
        part = pairs.take(some)
        jacobian = features.derivatives.along_pairs(part)
        starts = np.repeat(pairs.offsets[some] - part.offsets[:-1], np.diff(part.offsets))
        slot = slots[np.arange(len(part)) + starts]
        there = np.flatnonzero(slot >= 0)
        values[device.tensor(slot[there])] = jacobian[device.tensor(there)]
        here = np.flatnonzero(own_slots[some] >= 0)
        sums = segment_sums(jacobian, part.offsets)
        values[device.tensor(own_slots[some[here]])] = -sums[device.tensor(here)]
    starts = np.searchsorted(moving[order], np.arange(atoms.start, atoms.stop + 1))
    return TangentTensors(starts, device.tensor(centers[order]), values)


def strain_tangents(features, number, structures):
    """The tangents of the centres of one species as each of a slice of the cells is strained."""
    offsets = features.offsets[structures.start : structures.stop + 1]
    centers = offsets[0] + np.flatnonzero(features.numbers[offsets[0] : offsets[-1]] == number)
    device, first = device_of(features.values), 0
    values = device.empty(len(centers), 6, features.n_features)
    for some in _pieces(centers, features.neighbors, 6 * features.n_features):
        part = features.neighbors.take(some)
        jacobian, r = features.derivatives.along_pairs(part), device.tensor(part.vectors)
        terms = [
            0.5 * (r[:, a, None] * jacobian[:, b] + r[:, b, None] * jacobian[:, a])
            for a, b in zip(*VOIGT, strict=True)
        ]
        values[first : first + len(some)] = segment_sums(torch.stack(terms, 1), part.offsets)
        first += len(some)
    return TangentTensors(np.searchsorted(centers, offsets), device.tensor(centers), values)


def _pieces(centers, pairs, width):
    """Parts of the centres whose derivatives, ``width`` for a pair, are made together."""
    filled = np.cumsum(np.diff(pairs.offsets)[centers]) * width // _JACOBIAN
    edges = np.flatnonzero(np.diff(filled)) + 1
    return [piece for piece in np.split(centers, edges) if len(piece)]


def add_functionals(block, features, tangents, prior, rows):
    """Add prior variances (n_targets, n_axes) and rows (n_targets, n_axes, M) of a block."""
    n_axes, n_features = tangents.values.shape[1:]
    width = n_axes * max(n_features, len(block.vectors), 1)
    for some in _groups(tangents.starts, width):
        part = tangents.part(some)
        if len(part.centers):
            prior[some] += _priors(block.kernel, features.values, part)
            rows[some] += _rows(block, features.values, part)


def _groups(starts, width):
    """Slices of targets whose rows, padded, have few enough products."""
    groups, first, most = [], 0, 0
    for k, count in enumerate(np.diff(starts)):
        most = max(most, count)
        if k > first and (k + 1 - first) * most * width > _PRODUCTS:
            groups.append(slice(first, k))
            first, most = k, count
    return [*groups, slice(first, len(starts) - 1)]


def _padded(starts, device):
    """Places (n_targets, n) of the rows of each target, and which of them exist."""
    counts, every = np.diff(starts), np.arange(np.diff(starts).max())
    exist = every < counts[:, None]
    places = np.where(exist, starts[:-1, None] + every, 0)
    return device.tensor(places), device.tensor(exist)


def _priors(kernel, values, tangents):
    """Σ_ij t_iᵀ (∂x ∂yᵀ k)(x_i, x_j) t_j of each target, (n_targets, n_axes)."""
    places, exist = _padded(tangents.starts, device_of(values))
    x = values[tangents.centers[places]]
    t = (tangents.values[places] * exist[:, :, None, None]).transpose(1, 2)
    own, norms = (t @ x[:, None].mT).diagonal(dim1=2, dim2=3), (x * x).sum(2)
    total = t.new_zeros(t.shape[:2])
    size = max(1, _PRODUCTS // places.numel())
    for some in split_rows(places.shape[1], size):
        p = kernel.profile(x[:, some] @ x.mT, norms[:, some, None], norms[:, None])
        for axis in range(t.shape[1]):
            mine, all_rows = t[:, axis, some], t[:, axis]
            there, here = x[:, some] @ all_rows.mT, mine @ x.mT  # t_j · x_i, t_i · x_j
            one, other = own[:, axis, some, None], own[:, axis, None]
            hessian = p.s * (mine @ all_rows.mT) + p.ss * here * there
            hessian += 2 * p.su * one * there + 2 * p.sv * here * other
            total[:, axis] += (hessian + 4 * p.uv * one * other).sum((1, 2))
    return total


def _rows(block, values, tangents):
    """The derivatives of Σ_i k(x_i, z_m) of each target, (n_targets, n_axes, M)."""
    t, x = tangents.values, values[tangents.centers]
    shape = len(x), len(block.vectors)
    slope, radial = (full(f, shape, x)[:, None] for f in block.slopes(x))
    products = (t.flatten(0, 1) @ block.vectors.T).view(*t.shape[:2], -1)
    products *= slope
    products.addcmul_(torch.einsum("raf,rf->ra", t, x)[:, :, None], radial, value=2.0)
    return segment_sums(products, tangents.starts)


def energy_priors(block, features):
    """Σ_ij k(x_i, x_j) over the atoms of each structure, (n,)."""
    atoms = np.flatnonzero(features.numbers == block.number)
    x, starts = features.values[atoms], np.searchsorted(atoms, features.offsets)
    total = x.new_zeros(len(features))
    for some in _groups(starts, max(1, features.n_features)):
        if starts[some.start] == starts[some.stop]:
            continue
        first = starts[some.start]
        places, exist = _padded(starts[some.start : some.stop + 1] - first, device_of(x))
        rows = x[first + places]
        norms = (rows * rows).sum(2)
        for part in split_rows(places.shape[1], max(1, _PRODUCTS // places.numel())):
            products = rows[:, part] @ rows.mT
            k = block.kernel.value(products, norms[:, part, None], norms[:, None])
            k = k * (exist[:, part, None] & exist[:, None])
            total[some] += k.sum((1, 2))
    return total


def solved_norms(lower, rows):
    """|L⁻¹ row|² of each row, for a lower triangle L."""
    return squared_norms(torch.linalg.solve_triangular(lower, rows.T, upper=False).T)
