"""Covariances of energies and their derivatives of pairs of structures, summed over one species.

With rows I of structure a (features x, Jacobian J_I) and J of structure b (features y), and
derivatives F = -dE/dq with respect to the coordinates q of a structure,

    E_b E_a = Σ φ                         F_b E_a = -Σ J_Jᵀ (φ_s x + 2 φ_v y)
    E_b F_a = -Σ_I g_I J_I                F_b F_a = Σ_I G_I J_I

    g_I = Σ_J φ_s yᵀ + 2 φ_u xᵀ
    G_I = Σ_J φ_s J_Jᵀ + J_Jᵀx (φ_ss yᵀ + 2 φ_su xᵀ) + J_Jᵀy (2 φ_sv yᵀ + 4 φ_uv xᵀ)

The atoms of b are summed before the product with J_I, so that there is one product for each atom of
a instead of one for each pair, and the gradients of several structures b stand in one matrix.
"""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import add_product, callee, njit

# Numbers in the gradients of the structures b that are multiplied at once: they stay in the cache.
_GRADIENTS = 2**18
# Voigt's order of the components of a strain.
STRAINS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_STRAINS = np.array(STRAINS)


class Side(NamedTuple):
    """The rows of one species in a list of structures, its atoms or the structure itself.

    Structure s has the atoms ``starts[s] … starts[s + 1] - 1`` of this species, and the rows
    ``row_starts[s] … row_starts[s + 1] - 1`` of their Jacobians: for each of the ``n_dof[s]``
    coordinates one row of every atom.
    """

    starts: np.ndarray  # (n + 1,)
    projected: np.ndarray  # (n_atoms, rank): features in the basis of the Jacobians
    row_starts: np.ndarray  # (n + 1,)
    jacobians: np.ndarray  # (n_rows, rank)
    own: np.ndarray  # (n_rows,): Jᵀx of the same atom
    n_dof: np.ndarray  # (n,)

    def jacobian_of(self, s):
        """(n_dof[s], n_atoms of s, rank), a view."""
        rows = self.jacobians[self.row_starts[s] : self.row_starts[s + 1]]
        return rows.reshape(self.n_dof[s], -1, rows.shape[1])

    def part(self, first, last):
        """The structures first … last - 1."""
        atoms = slice(self.starts[first], self.starts[last])
        rows = slice(self.row_starts[first], self.row_starts[last])
        return Side(
            self.starts[first : last + 1] - atoms.start, self.projected[atoms],
            self.row_starts[first : last + 1] - rows.start, self.jacobians[rows], self.own[rows],
            self.n_dof[first:last],
        )  # fmt: skip


class Layout(NamedTuple):
    """Where the rows of each structure are: its energy, if it has one, then its derivatives."""

    starts: np.ndarray  # (n + 1,)
    has_energy: np.ndarray  # (n,) bool

    def part(self, first, last):
        """The structures first … last - 1."""
        return Layout(
            self.starts[first : last + 1] - self.starts[first], self.has_energy[first:last]
        )


class Derivatives(NamedTuple):
    """φ and its derivatives of all pairs of atoms, (n_atoms of b, n_atoms of a) each."""

    value: np.ndarray
    s: np.ndarray
    u: np.ndarray
    v: np.ndarray
    ss: np.ndarray
    su: np.ndarray
    sv: np.ndarray
    uv: np.ndarray


# Places of the `Derivatives` in one array.
_VALUE, _S, _U, _V, _SS, _SU, _SV, _UV = range(8)


def add_covariances(a, b, a_rows, b_rows, phi, diagonal, out):
    """Add what one species contributes to ``out``: rows of the structures b, columns of a.

    Pairs with b < a + ``diagonal`` are left out.
    """
    n_i, n_j, height = ((x[1:] - x[:-1]).max() for x in (a.starts, b.starts, b_rows.starts))
    rank = b.projected.shape[1]
    size = max(_GRADIENTS, height * n_i * rank) if a.n_dof.any() else 0
    along_y, along_x = np.empty(height * n_i * n_j), np.empty(size // max(rank, 1) + height * n_i)
    fields = phi if phi.s.size else phi[:1]
    phi = np.empty((len(fields), *phi.value.T.shape))
    for k, field in enumerate(fields):
        phi[k] = field.T
    slopes = a.projected @ b.jacobians.T  # x_Iᵀ J_J
    b = b._replace(projected=np.ascontiguousarray(b.projected))
    _add_covariances(
        a, b, a_rows, b_rows, phi, slopes, diagonal, np.empty(size), along_y, along_x, out
    )


@njit(cache=True, nogil=True)
def _add_covariances(
    a, b, a_rows, b_rows, phi, slopes, diagonal, memory, along_y, along_x, out
):  # fmt: skip
    """`add_covariances` for ``phi`` (8, n_atoms of a, n_atoms of b), in memory that is given."""
    n_b, rank, stride = len(b.n_dof), b.projected.shape[1], out.shape[1]
    for sa in range(len(a.n_dof)):
        begin, dof_a = a.starts[sa], a.n_dof[sa]
        n_i = a.starts[sa + 1] - begin
        if n_i == 0:
            continue
        first = max(0, sa + diagonal)
        column = a_rows.starts[sa]
        if a_rows.has_energy[sa]:
            for sb in range(first, n_b):
                _add_energy_column(
                    begin, begin + n_i, b.starts[sb], b.starts[sb + 1], b.row_starts[sb],
                    b.n_dof[sb], b_rows.has_energy[sb], phi, slopes, b.own, b_rows.starts[sb],
                    column, out,
                )  # fmt: skip
            column += 1
        if dof_a == 0:
            continue
        while first < n_b:
            top, last = b_rows.starts[first], first + 1
            while last < n_b and (b_rows.starts[last + 1] - top) * n_i * rank <= len(memory):
                last += 1
            for sb in range(first, last):
                place = (b_rows.starts[sb] - top) * n_i
                _gradients(
                    begin, n_i, b.starts[sb], b.starts[sb + 1] - b.starts[sb], b.row_starts[sb],
                    b.n_dof[sb], b_rows.has_energy[sb], phi, slopes, b.own, b.projected,
                    b.jacobians, along_y, memory[place * rank :], along_x[place:],
                )  # fmt: skip
            height, row = b_rows.starts[last] - top, a.row_starts[sa]
            block = out[top, column:]
            add_product(
                height, dof_a, n_i * rank, memory, a.jacobians[row:], True, 1.0, block, stride
            )
            add_product(height, dof_a, n_i, along_x, a.own[row:], True, 1.0, block, stride)
            first = last


@callee(cache=True, fastmath=FASTMATH)
def _add_energy_column(
    i_begin, i_end, j_begin, j_end, place, n_dof, has_energy, phi, slopes, own, row, column, out
):  # fmt: skip
    """E_b E_a and F_b E_a."""
    if has_energy:
        for i in range(i_begin, i_end):
            for j in range(j_begin, j_end):
                out[row, column] += phi[_VALUE, i, j]
        row += 1
    for c in range(n_dof):
        total = 0.0
        for j in range(j_begin, j_end):
            for i in range(i_begin, i_end):
                total += phi[_S, i, j] * slopes[i, place] + 2 * phi[_V, i, j] * own[place]
            place += 1
        out[row + c, column] -= total


@callee(cache=True, fastmath=FASTMATH)
def _gradients(
    i_begin, n_i, j_begin, n_j, row_begin, n_dof, has_energy, phi, slopes, own, projected,
    jacobians, along_y, out, along_x,
):  # fmt: skip
    """-g and G of one structure b (its rows, n_atoms of a, rank), but for the multiples of x.

    These (its rows, n_atoms of a) are written to ``along_x``; ``along_y`` is scratch.
    """
    rank, n_energies = projected.shape[1], 1 if has_energy else 0
    for k in range(n_i):
        i = i_begin + k
        if has_energy:
            along_x[k] = 0.0
            for j in range(n_j):
                along_y[k * n_j + j] = -phi[_S, i, j_begin + j]
                along_x[k] -= 2 * phi[_U, i, j_begin + j]
        for c in range(n_dof):
            row, place, total = (n_energies + c) * n_i + k, row_begin + c * n_j, 0.0
            for j in range(n_j):
                slope, double = slopes[i, place + j], 2 * own[place + j]
                at = j_begin + j
                along_y[row * n_j + j] = phi[_SS, i, at] * slope + phi[_SV, i, at] * double
                total += phi[_SU, i, at] * slope + phi[_UV, i, at] * double
            along_x[row] = 2 * total
    height = (n_energies + n_dof) * n_i
    add_product(height, rank, n_j, along_y, projected[j_begin:], False, 0.0, out, rank)
    for k in range(n_i):
        weights = phi[_S, i_begin + k, j_begin : j_begin + n_j]
        for c in range(n_dof):
            row, place = (n_energies + c) * n_i + k, row_begin + c * n_j
            _add_rows(weights, jacobians[place : place + n_j], out[row * rank : (row + 1) * rank])


@callee(cache=True, fastmath=FASTMATH)
def _add_row(weight, row, out):
    for d in range(len(out)):
        out[d] += weight * row[d]


@callee(cache=True, fastmath=FASTMATH)
def _add_rows(weights, rows, out):
    """out += Σ_j weights[j] rows[j], up to four rows at a time, to read and write less."""
    rest = len(rows) % 4
    if rest == 1:
        _add_row(weights[0], rows[0], out)
    elif rest == 2:
        w0, w1 = weights[0], weights[1]
        r0, r1 = rows[0], rows[1]
        for d in range(len(out)):
            out[d] += w0 * r0[d] + w1 * r1[d]
    elif rest == 3:
        w0, w1, w2 = weights[0], weights[1], weights[2]
        r0, r1, r2 = rows[0], rows[1], rows[2]
        for d in range(len(out)):
            out[d] += w0 * r0[d] + w1 * r1[d] + w2 * r2[d]
    for j in range(rest, len(rows), 4):
        w0, w1, w2, w3 = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        r0, r1, r2, r3 = rows[j], rows[j + 1], rows[j + 2], rows[j + 3]
        for d in range(len(out)):
            out[d] += (w0 * r0[d] + w1 * r1[d]) + (w2 * r2[d] + w3 * r3[d])


@njit(cache=True, nogil=True)
def add_jacobians(
    centers, indices, vectors, values, atom, structure, coordinate, strain, side
):  # fmt: skip
    """Add to the Jacobians of one species those along pair vectors r_kj = r_j - r_k.

    ``values`` (n_pairs, 3, rank) of the pairs of ``centers`` k with ``indices`` j, and their
    ``vectors`` (n_pairs, 3). Of every atom are given ``atom``, its number in the species, its
    ``structure``, and in ``coordinate`` (n_atoms, 3) the coordinates of the structure that are its
    own, -1 where there is none. ``strain`` (n, 6) are the coordinates of each structure that are
    components of the strain with the opposite sign, symmetrised.
    """
    n_axes, n_strains = vectors.shape[1], strain.shape[1]
    for p in range(len(centers)):
        k, j = centers[p], indices[p]
        s = structure[k]
        width = side.starts[s + 1] - side.starts[s]
        first = side.row_starts[s] + atom[k] - side.starts[s]
        for axis in range(n_axes):
            # one loop for all rows to which a row is added: the compiler copies what is in it
            for target in range(-2, n_strains):
                if target == -2:
                    at, weight = coordinate[j, axis], 1.0
                elif target == -1:
                    at, weight = coordinate[k, axis], -1.0
                else:
                    at, weight = strain[s, target], 0.0
                    a, b = _STRAINS[target, 0], _STRAINS[target, 1]
                    if a == axis:
                        weight -= 0.5 * vectors[p, b]
                    if b == axis:
                        weight -= 0.5 * vectors[p, a]
                if at >= 0 and weight != 0.0:
                    _add_row(weight, values[p, axis], side.jacobians[first + at * width])


def fill_own(side):
    """Jᵀx, once the Jacobians are complete."""
    for s, n_dof in enumerate(side.n_dof):
        rows = slice(side.row_starts[s], side.row_starts[s + 1])
        if rows.start < rows.stop:
            x = side.projected[side.starts[s] : side.starts[s + 1]]
            own = side.own[rows].reshape(n_dof, len(x))
            np.einsum("cad,ad->ca", side.jacobian_of(s), x, out=own)
