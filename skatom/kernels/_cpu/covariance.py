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
from skatom._numba import callee, njit

# Numbers in the gradients of the structures b that are multiplied at once: they stay in the cache.
_GRADIENTS = 2**18
# Voigt's order of the components of a strain.
STRAINS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


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


@njit(cache=True, nogil=True)
def add_covariances(a, b, a_rows, b_rows, phi, diagonal, out):
    """Add what one species contributes to ``out``: rows of the structures b, columns of a.

    Pairs with b < a + ``diagonal`` are left out.
    """
    n_b, rank = len(b.n_dof), a.projected.shape[1]
    slopes = np.dot(b.jacobians, a.projected.T)  # J_Jᵀ x_I
    most_rows, most_atoms, most_dof = 0, 0, 0
    for sb in range(n_b):
        most_rows = max(most_rows, b_rows.starts[sb + 1] - b_rows.starts[sb])
    for sa in range(len(a.n_dof)):
        most_atoms = max(most_atoms, a.starts[sa + 1] - a.starts[sa])
        most_dof = max(most_dof, a.n_dof[sa])
    memory = np.empty(max(_GRADIENTS, most_rows * most_atoms * rank) if most_dof > 0 else 0)
    for sa in range(len(a.n_dof)):
        atoms_a, dof_a = (a.starts[sa], a.starts[sa + 1]), a.n_dof[sa]
        n_i = atoms_a[1] - atoms_a[0]
        if n_i == 0:
            continue
        first = max(0, sa + diagonal)
        column = a_rows.starts[sa]
        if a_rows.has_energy[sa]:
            for sb in range(first, n_b):
                _add_energy_column(phi, slopes, b, sb, atoms_a, b_rows, out[:, column])
            column += 1
        if dof_a == 0:
            continue
        rows_a = slice(a.row_starts[sa], a.row_starts[sa + 1])
        jacobian = a.jacobians[rows_a].reshape(dof_a, n_i * rank)
        own = a.own[rows_a].reshape(dof_a, n_i)
        while first < n_b:
            top, last = b_rows.starts[first], first + 1
            while last < n_b and (b_rows.starts[last + 1] - top) * n_i * rank <= len(memory):
                last += 1
            height = b_rows.starts[last] - top
            gradients = memory[: height * n_i * rank].reshape(height, n_i, rank)
            along_x = np.zeros((height, n_i))
            for sb in range(first, last):
                rows_b = slice(b_rows.starts[sb] - top, b_rows.starts[sb + 1] - top)
                _gradients(
                    phi, slopes, b, sb, atoms_a, b_rows.has_energy[sb], gradients[rows_b],
                    along_x[rows_b],
                )  # fmt: skip
            block = out[top : top + height, column : column + dof_a]
            _add(np.dot(gradients.reshape(height, n_i * rank), jacobian.T), block)
            _add(np.dot(along_x, own.T), block)
            first = last


@callee(cache=True, fastmath=FASTMATH)
def _add_energy_column(phi, slopes, b, sb, atoms_a, b_rows, out):
    """E_b E_a and F_b E_a."""
    begin, end = b.starts[sb], b.starts[sb + 1]
    row = b_rows.starts[sb]
    if b_rows.has_energy[sb]:
        for j in range(begin, end):
            for i in range(atoms_a[0], atoms_a[1]):
                out[row] += phi.value[j, i]
        row += 1
    place = b.row_starts[sb]
    for c in range(b.n_dof[sb]):
        for j in range(begin, end):
            for i in range(atoms_a[0], atoms_a[1]):
                out[row + c] -= phi.s[j, i] * slopes[place, i] + 2 * phi.v[j, i] * b.own[place]
            place += 1


@callee(allocates=True, cache=True, fastmath=FASTMATH)
def _gradients(phi, slopes, b, sb, atoms_a, has_energy, out, along_x):
    """-g and G of one structure b (its rows, n_atoms of a, rank), but for the multiples of x.

    These (its rows, n_atoms of a) are added to ``along_x``.
    """
    begin, end = b.starts[sb], b.starts[sb + 1]
    height, n_i, rank = out.shape
    along_y = np.empty((height, n_i, end - begin))
    for k in range(n_i):
        i = atoms_a[0] + k
        if has_energy:
            for j in range(begin, end):
                along_y[0, k, j - begin] = -phi.s[j, i]
                along_x[0, k] -= 2 * phi.u[j, i]
        for c in range(b.n_dof[sb]):
            row = has_energy + c
            place = b.row_starts[sb] + c * (end - begin) - begin
            for j in range(begin, end):
                slope, own = slopes[place + j, i], 2 * b.own[place + j]
                along_y[row, k, j - begin] = phi.ss[j, i] * slope + phi.sv[j, i] * own
                along_x[row, k] += 2 * (phi.su[j, i] * slope + phi.uv[j, i] * own)
    np.dot(
        along_y.reshape(height * n_i, end - begin),
        b.projected[begin:end],
        out.reshape(height * n_i, rank),
    )
    weights = np.empty(end - begin)
    for k in range(n_i):
        for j in range(begin, end):
            weights[j - begin] = phi.s[j, atoms_a[0] + k]
        for c in range(b.n_dof[sb]):
            place = b.row_starts[sb] + c * (end - begin)
            _add_rows(weights, b.jacobians[place : place + end - begin], out[has_energy + c, k])


@callee(cache=True)
def _add(block, out):
    for i in range(len(out)):
        row, target = block[i], out[i]
        for j in range(len(target)):
            target[j] += row[j]


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
    for p in range(len(centers)):
        k, j = centers[p], indices[p]
        s = structure[k]
        width = side.starts[s + 1] - side.starts[s]
        first = side.row_starts[s] + atom[k] - side.starts[s]
        for axis in range(3):
            plus, minus = coordinate[j, axis], coordinate[k, axis]
            if plus >= 0:
                _add_row(1.0, values[p, axis], side.jacobians[first + plus * width])
            if minus >= 0:
                _add_row(-1.0, values[p, axis], side.jacobians[first + minus * width])
        for component in range(6):
            if strain[s, component] >= 0:
                a, b = STRAINS[component]
                row = side.jacobians[first + strain[s, component] * width]
                _add_row(-0.5 * vectors[p, b], values[p, a], row)
                _add_row(-0.5 * vectors[p, a], values[p, b], row)


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def fill_own(side):
    """Jᵀx, once the Jacobians are complete."""
    for s in range(len(side.n_dof)):
        begin, end = side.starts[s], side.starts[s + 1]
        row = side.row_starts[s]
        for _ in range(side.n_dof[s]):
            for i in range(begin, end):
                total = 0.0
                x, slopes = side.projected[i], side.jacobians[row]
                for d in range(len(x)):
                    total += x[d] * slopes[d]
                side.own[row] = total
                row += 1
