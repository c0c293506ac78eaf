r"""Covariances of energies and forces of pairs of structures on a device.

The formulae are those of the compiled loops, for all pairs of structures at once: atoms I of
structures a and J of structures b, padded to the same numbers of atoms and of coordinates. With

    L = [φ_ss J_Jᵀx + 2 φ_sv J_Jᵀy, φ_s]      R = [y_J; J_Jᵀ]

the matrices G of all rows of b and all atoms I are one batched product, G = Lᵀ R, and their
products with the Jacobians of a another.
"""

from typing import NamedTuple

import numpy as np
import torch

from skatom._cpu.voigt import VOIGT
from skatom._device import device_of
from skatom.structures import groups_by_size

# Rows of Jacobians that are multiplied with features at a time.
_ROWS = 2**17
# Numbers in the matrices G of one piece, on the CPU and on a card.
_NUMBERS = {False: 2**24, True: 2**28}


def add_jacobians(centers, indices, vectors, values, atom, structure, coordinate, strain, side):
    """Add to the Jacobians of one species those along pair vectors r_kj = r_j - r_k.

    ``values`` (n_pairs, 3, rank) of the pairs of ``centers`` k with ``indices`` j, and their
    ``vectors`` (n_pairs, 3). Of every atom are given ``atom``, its number in the species, its
    ``structure``, and in ``coordinate`` (n_atoms, 3) the coordinates of the structure that are its
    own, -1 where there is none. ``strain`` (n, 6) are the coordinates of each structure that are
    components of the strain with the opposite sign, symmetrised.
    """
    owners, device = structure[centers], device_of(values)
    width = np.diff(side.starts)[owners, None]
    first = (side.row_starts[owners] + atom[centers] - side.starts[owners])[:, None]
    for ends, sign in ((indices, 1.0), (centers, -1.0)):
        _add_rows(first, coordinate[ends], width, values, sign, side.jacobians)
    if (strain >= 0).any():
        slopes = _along_strains(device.tensor(vectors), values)
        _add_rows(first, strain[owners], width, slopes, 1.0, side.jacobians)


def _along_strains(vectors, values):
    """Derivatives (n_pairs, 6, rank) along the strains with the opposite sign, symmetrised."""
    outer = vectors[:, :, None, None] * values[:, None]  # (n_pairs, b, a, rank)
    rows, columns = VOIGT
    return -0.5 * (outer[:, rows, columns] + outer[:, columns, rows])


def _add_rows(first, place, width, values, sign, jacobians):
    """Add values (n_pairs, m, rank) to the rows of their coordinates ``place``, if not negative."""
    kept, device = np.flatnonzero(place >= 0), device_of(values)
    values = values.flatten(0, 1)
    rows = device.tensor((first + place * width).ravel()[kept])
    chosen = values if len(kept) == len(values) else values[device.tensor(kept)]
    jacobians.index_add_(0, rows, chosen, alpha=sign)


def fill_own(side):
    """Jᵀx, once the Jacobians are complete."""
    atoms, _ = _rows_of(side)
    for rows in _pieces(atoms):
        side.own[rows] = (side.jacobians[rows] * side.projected[atoms[rows]]).sum(1)


def sums_along(side, weights):
    """Σ_c weights_c J_c of each atom (n_atoms, rank), for the coordinates c of all structures."""
    atoms, coordinates = _rows_of(side)
    out = torch.zeros_like(side.projected)
    for rows in _pieces(atoms):
        out.index_add_(0, atoms[rows], weights[coordinates[rows], None] * side.jacobians[rows])
    return out


def _rows_of(side):
    """The atom of each row of the Jacobians, and its coordinate among those of all structures."""
    counts, device = np.diff(side.starts), device_of(side.own)
    of_structure = np.repeat(np.arange(len(side.n_dof)), side.n_dof * counts)
    place = np.arange(len(of_structure)) - side.row_starts[of_structure]
    coordinate, atom = np.divmod(place, counts[of_structure])
    first = (np.cumsum(side.n_dof) - side.n_dof)[of_structure]
    return device.tensor(side.starts[of_structure] + atom), device.tensor(first + coordinate)


def _pieces(rows):
    return [slice(first, first + _ROWS) for first in range(0, len(rows), _ROWS)]


def add_covariances(a, b, a_rows, b_rows, phi, diagonal, out):
    """Add what one species contributes to ``out``: rows of the structures b, columns of a.

    The arguments are those of the compiled function; pairs above the ``diagonal`` are not left out.
    The rows are cut into pieces whose matrices G fit in memory.
    """
    if 0 in out.shape:
        return
    phi = type(phi)(*(f.T for f in phi))  # (n_atoms of b, n_atoms of a)
    size = max(1, _NUMBERS[device_of(out).is_card] // max(1, a.projected.numel()))
    for piece in groups_by_size(b_rows.starts, size):
        atoms, rows = (slice(*x[[piece.start, piece.stop]]) for x in (b.starts, b_rows.starts))
        if atoms.start < atoms.stop and rows.start < rows.stop:
            part = b.part(piece.start, piece.stop), b_rows.part(piece.start, piece.stop)
            _add_piece(a, a_rows, *part, type(phi)(*(f[atoms] for f in phi)), out[rows])


def _add_piece(a, a_rows, b, b_rows, phi, out):
    of_a, of_b = _padded(a, a_rows), _padded(b, b_rows)
    phi = _PaddedPhi(phi, of_b, of_a)
    slopes = _slopes(of_b, of_a)
    parts = []
    if of_a.has_energy:
        parts.append(_energy_columns(phi, slopes, of_b, len(of_a.values)))
    if of_a.n_dof:
        parts.append(_force_columns(phi, slopes, of_b, of_a))
    block = torch.cat(parts, 3).flatten(2, 3).flatten(0, 1)
    _add(block, of_b, of_a, out)


class PaddedSide(NamedTuple):
    """The structures that have atoms of a species, padded to equal numbers of atoms and rows."""

    has_energy: bool  # whether any of the structures has a row of its energy
    n_dof: int
    values: torch.Tensor  # (n, n_atoms, rank)
    jacobians: torch.Tensor  # (n, n_dof, n_atoms, rank)
    own: torch.Tensor  # (n, n_dof, n_atoms)
    atoms: torch.Tensor | None  # (n, n_atoms): places in the side, None where nothing is padded
    present: torch.Tensor | None  # (n, n_atoms): whether there is such an atom
    rows: torch.Tensor | None  # places of the rows in the matrix, None for all of them
    kept: torch.Tensor | None  # their places among the padded rows


def _padded(side, layout):
    counts = np.diff(side.starts)
    has_energy, n_dof = bool(layout.has_energy.any()), int(side.n_dof.max(initial=0))
    even = (counts == counts[0]).all() and (side.n_dof == n_dof).all()
    if even and (layout.has_energy == has_energy).all():
        n, width = len(counts), int(counts[0])
        return PaddedSide(
            has_energy, n_dof, side.projected.view(n, width, -1),
            side.jacobians.view(n, n_dof, width, side.projected.shape[1]),
            side.own.view(n, n_dof, width), None, None, None, None,
        )  # fmt: skip
    return _gathered(side, layout, np.flatnonzero(counts), has_energy, n_dof)


def _gathered(side, layout, found, has_energy, n_dof):
    """The padded side of the structures ``found``; places without an atom repeat some other."""
    device, counts = device_of(side.projected), np.diff(side.starts)[found]
    places = np.arange(counts.max())
    present = places < counts[:, None]
    atoms = np.where(present, side.starts[found][:, None] + places, side.starts[found][:, None])
    dof = np.arange(n_dof)
    real = dof < side.n_dof[found][:, None]
    rows = dof[:, None] * counts[:, None, None] + np.where(present, places, 0)[:, None]
    rows = np.where(real[..., None], side.row_starts[found][:, None, None] + rows, 0)
    energies = layout.has_energy[found]
    kept = np.concatenate([energies[:, None], real], 1) if has_energy else real
    place = layout.starts[found][:, None] + energies[:, None] + dof
    if has_energy:
        place = np.concatenate([layout.starts[found][:, None], place], 1)
    atoms, present, rows = map(device.tensor, (atoms, present, rows))
    jacobians, own = (
        x[rows] if n_dof else x.new_zeros((*rows.shape, *x.shape[1:]))
        for x in (side.jacobians, side.own)
    )
    return PaddedSide(
        has_energy, n_dof, side.projected[atoms], jacobians, own, atoms, present,
        device.tensor(place[kept]), device.tensor(np.flatnonzero(kept)),
    )  # fmt: skip


class _PaddedPhi:
    """φ and its derivatives as tensors (n_b, n_atoms of b, n_a · n_atoms of a), made when asked."""

    def __init__(self, phi, b, a):
        self._phi, self._b, self._a = phi, b, a

    def __getattr__(self, name):
        f, b, a = getattr(self._phi, name), self._b, self._a
        for dim, side in ((0, b), (1, a)):
            if side.atoms is not None:
                f = f.index_select(dim, side.atoms.flatten())
                present = side.present.flatten()
                f = f * (present[:, None] if dim == 0 else present)
        return f.reshape(*b.values.shape[:2], -1)


def _slopes(b, a):
    """J_Jᵀ x_I, (n_b, n_dof, n_atoms of b, n_a · n_atoms of a)."""
    products = b.jacobians.flatten(0, 2) @ a.values.flatten(0, 1).T
    return products.view(*b.own.shape, products.shape[1])


def _energy_columns(phi, slopes, b, n_a):
    """E_b E_a and F_b E_a, (n_b, its rows, n_a, 1)."""
    rows = []
    if b.has_energy:
        rows.append(phi.value.sum(1)[:, None])
    if b.n_dof:
        terms = phi.s[:, None] * slopes
        terms += 2 * b.own[..., None] * phi.v[:, None]
        rows.append(-terms.sum(2))
    rows = torch.cat(rows, 1)
    return rows.view(*rows.shape[:2], n_a, -1).sum(3, keepdim=True)


def _force_columns(phi, slopes, b, a):
    """E_b F_a and F_b F_a, (n_b, its rows, n_a, n_dof of a)."""
    n_a, n_i, _ = a.values.shape
    left, right, along_x = _factors(phi, slopes, b)
    g = left.flatten(0, 1).transpose(1, 2) @ right.flatten(0, 1)
    height = len(g)
    g = g.view(height, n_a, -1).transpose(0, 1)
    block = g @ a.jacobians.flatten(2).transpose(1, 2)
    along_x = along_x.reshape(height, n_a, n_i).transpose(0, 1)
    block.baddbmm_(along_x, a.own.transpose(1, 2))
    return block.transpose(0, 1).reshape(len(b.values), -1, n_a, a.n_dof)


def _factors(phi, slopes, b):
    """L and R of all rows of all structures b, and the multiples of x in g and G."""
    n_b, n_j, rank = b.values.shape
    n_e, width = int(b.has_energy), slopes.shape[-1]
    left = slopes.new_empty((n_b, n_e + b.n_dof, 2 * n_j, width))
    right = slopes.new_empty((n_b, n_e + b.n_dof, 2 * n_j, rank))
    along_x = slopes.new_empty((n_b, n_e + b.n_dof, width))
    right[:, :, :n_j] = b.values[:, None]
    right[:, n_e:, n_j:] = b.jacobians
    if n_e:
        left[:, 0, :n_j], left[:, 0, n_j:], right[:, 0, n_j:] = -phi.s, 0.0, 0.0
        along_x[:, 0] = -2 * phi.u.sum(1)
    own = 2 * b.own[..., None]
    along_y = left[:, n_e:, :n_j]
    torch.mul(slopes, phi.ss[:, None], out=along_y)
    along_y += own * phi.sv[:, None]
    left[:, n_e:, n_j:] = phi.s[:, None]
    terms = slopes.mul_(phi.su[:, None]).addcmul_(own, phi.uv[:, None])
    along_x[:, n_e:] = 2 * terms.sum(2)
    return left, right, along_x


def _add(block, b, a, out):
    """Add the padded block to the rows of b and the columns of a."""
    if b.rows is None and a.rows is None:
        out += block
        return
    if b.rows is not None:
        block = block[b.kept]
    if a.rows is not None:
        block = block[:, a.kept]
    rows, columns = (
        torch.arange(n, device=out.device) if side.rows is None else side.rows
        for n, side in zip(out.shape, (b, a), strict=True)
    )
    out[rows[:, None], columns] += block
