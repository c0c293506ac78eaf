"""Covariances of energies and forces of pairs of structures, summed over the atoms of one species.

With atoms I of structure a (features x, Jacobian J_I) and J of structure b (features y),

    E_b E_a = Σ φ
    E_b F_a = -Σ J_Iᵀ (φ_s y + 2 φ_u x)
    F_b E_a = -Σ J_Jᵀ (φ_s x + 2 φ_v y)
    F_b F_a = Σ J_Jᵀ (φ_s + φ_ss x yᵀ + 2 φ_su x xᵀ + 2 φ_sv y yᵀ + 4 φ_uv y xᵀ) J_I

The first term of the last line is Σ_I (Σ_J φ_s J_J)ᵀ J_I: the matched atoms of b are summed before
the matrix product, so that there is one product for each atom of a instead of one for each pair.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

# Rows of the inner dimension of one matrix product: what it reads and writes stays in cache.
_INNER = 512


class Side(NamedTuple):
    """The atoms of one species in a list of structures.

    Structure s has the atoms ``starts[s] … starts[s + 1] - 1`` of this species, and its
    derivatives are taken along ``n_dof[s]`` coordinates.
    """

    starts: np.ndarray  # (n + 1,)
    projected: np.ndarray  # (n_atoms, rank): features in the basis of the Jacobians
    own: np.ndarray  # flat, (n_atoms of s, n_dof[s]) for each structure: Jᵀx of each atom
    own_starts: np.ndarray  # (n + 1,)
    jacobians: np.ndarray  # flat, (rank, n_atoms of s, n_dof[s]) for each structure
    jacobian_starts: np.ndarray  # (n + 1,)
    n_dof: np.ndarray  # (n,)

    def jacobian_of(self, s):
        """(rank, n_atoms of s, n_dof[s]), a view."""
        part = self.jacobians[self.jacobian_starts[s] : self.jacobian_starts[s + 1]]
        return part.reshape(self.projected.shape[1], -1, self.n_dof[s])


class Layout(NamedTuple):
    """Where the rows of each structure are: its energy, if it has one, then its forces."""

    starts: np.ndarray  # (n + 1,)
    has_energy: np.ndarray  # (n,) bool


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
def add_covariances(a, b, a_rows, b_rows, a_range, b_range, phi, lower, origin, out):
    """Add what one species contributes to ``out``, for the structures a and b of two ranges.

    The rows and columns of ``out`` begin with the row and column of the layouts that ``origin``
    names; φ begins with the first atoms of the ranges. ``lower``: skip pairs with b < a.
    """
    first_a, last_a = a_range
    first_b, last_b = b_range
    atom_a, atom_b = a.starts[first_a], b.starts[first_b]
    n_a, n_b = a.starts[last_a] - atom_a, b.starts[last_b] - atom_b
    if n_a == 0 or n_b == 0:
        return
    rank = a.projected.shape[1]
    dof_a = max(1, a.n_dof[first_a:last_a].max())
    dof_b = max(1, b.n_dof[first_b:last_b].max())
    most_a = np.diff(a.starts[first_a : last_a + 1]).max()
    most_b = np.diff(b.starts[first_b : last_b + 1]).max()
    x, y = a.projected[atom_a : atom_a + n_a], b.projected[atom_b : atom_b + n_b]

    # Jᵀ_J x_I of all atoms I of a's, for each structure b: (n_a, n_J, dof) each
    right = np.empty(n_a * (b.own_starts[last_b] - b.own_starts[first_b]))
    for sb in range(first_b, last_b):
        width = b.own_starts[sb + 1] - b.own_starts[sb]
        if width:
            begin = n_a * (b.own_starts[sb] - b.own_starts[first_b])
            jacobian = b.jacobians[b.jacobian_starts[sb] : b.jacobian_starts[sb + 1]]
            np.dot(
                x,
                jacobian.reshape(rank, width),
                right[begin : begin + n_a * width].reshape(n_a, width),
            )

    left = np.empty(n_b * most_a * dof_a)
    mixed = np.empty(most_a * most_b * dof_a)
    sums = np.empty((_INNER + most_a) * dof_b)
    product = np.empty(dof_b * dof_a)
    for sa in range(first_a, last_a):
        n_i, dof_i = a.starts[sa + 1] - a.starts[sa], a.n_dof[sa]
        if n_i == 0:
            continue
        i0 = a.starts[sa] - atom_a
        own_a = a.own[a.own_starts[sa] : a.own_starts[sa + 1]].reshape(n_i, dof_i)
        jac_a = a.jacobians[a.jacobian_starts[sa] : a.jacobian_starts[sa + 1]]
        jac_a = jac_a.reshape(rank, n_i * dof_i)
        left_a = left[: n_b * n_i * dof_i].reshape(n_b, n_i * dof_i)
        if dof_i:
            np.dot(y, jac_a, left_a)
        left_a = left_a.reshape(n_b, n_i, dof_i)
        for sb in range(max(first_b, sa) if lower else first_b, last_b):
            n_j, dof_j = b.starts[sb + 1] - b.starts[sb], b.n_dof[sb]
            if n_j == 0:
                continue
            j0 = b.starts[sb] - atom_b
            own_b = b.own[b.own_starts[sb] : b.own_starts[sb + 1]].reshape(n_j, dof_j)
            jac_b = b.jacobians[b.jacobian_starts[sb] : b.jacobian_starts[sb + 1]]
            begin = n_a * (b.own_starts[sb] - b.own_starts[first_b]) + i0 * n_j * dof_j
            right_ab = right[begin : begin + n_i * n_j * dof_j].reshape(n_i, n_j, dof_j)
            left_ab = left_a[j0 : j0 + n_j]
            row, column = b_rows.starts[sb] - origin[0], a_rows.starts[sa] - origin[1]
            box = (i0, n_i, j0, n_j)
            if b_rows.has_energy[sb]:
                if a_rows.has_energy[sa]:
                    out[row, column] += phi.value[j0 : j0 + n_j, i0 : i0 + n_i].sum()
                    column += 1
                _energy_force(phi, box, left_ab, own_a, out[row, column:])
                column = a_rows.starts[sa] - origin[1]
                row += 1
            if a_rows.has_energy[sa]:
                if dof_j:
                    _force_energy(phi, box, right_ab, own_b, out[row:, column])
                column += 1
            if dof_i == 0 or dof_j == 0:
                continue
            block = out[row : row + dof_j, column : column + dof_i]
            result = product[: dof_j * dof_i].reshape(dof_j, dof_i)
            # Σ_I (Σ_J φ_s J_J)ᵀ J_I, some components of the features at a time
            step = max(1, _INNER // n_i)
            jac_b = jac_b.reshape(rank, n_j, dof_j)
            for d in range(0, rank, step):
                many = min(step, rank - d)
                summed = sums[: many * n_i * dof_j].reshape(many, n_i, dof_j)
                _weighted_sums(phi.s, box, jac_b[d : d + many], summed)
                np.dot(
                    summed.reshape(many * n_i, dof_j).T,
                    jac_a[d : d + many].reshape(many * n_i, dof_i),
                    result,
                )
                block += result
            # what is left are outer products of Jᵀx and Jᵀy
            factor = mixed[: n_i * n_j * dof_i].reshape(n_i, n_j, dof_i)
            _mix(phi.ss, phi.su, box, left_ab, own_a, factor)
            np.dot(right_ab.reshape(n_i * n_j, dof_j).T, factor.reshape(n_i * n_j, dof_i), result)
            block += result
            _mix(phi.sv, phi.uv, box, left_ab, own_a, factor)
            for i in range(1, n_i):
                factor[0] += factor[i]
            np.dot(own_b.T, factor[0], result)
            for p in range(dof_j):
                for q in range(dof_i):
                    block[p, q] += 2 * result[p, q]


@njit(cache=True, nogil=True)
def _weighted_sums(weights, box, jacobians, out):
    """out[d, I] = Σ_J weights[J, I] jacobians[d, J]; four J at a time, to read and write less."""
    i0, n_i, j0, n_j = box
    width, rest = out.shape[2], n_j % 4
    for d in range(len(out)):
        for i in range(n_i):
            for c in range(width):
                out[d, i, c] = 0.0
            for j in range(rest):
                w = weights[j0 + j, i0 + i]
                for c in range(width):
                    out[d, i, c] += w * jacobians[d, j, c]
            for j in range(rest, n_j, 4):
                w0, w1 = weights[j0 + j, i0 + i], weights[j0 + j + 1, i0 + i]
                w2, w3 = weights[j0 + j + 2, i0 + i], weights[j0 + j + 3, i0 + i]
                for c in range(width):
                    out[d, i, c] += (w0 * jacobians[d, j, c] + w1 * jacobians[d, j + 1, c]) + (
                        w2 * jacobians[d, j + 2, c] + w3 * jacobians[d, j + 3, c]
                    )


@njit(cache=True, nogil=True)
def _mix(of_left, of_own, box, left, own, out):
    """out[I, J] = of_left[J, I] left[J, I] + 2 of_own[J, I] own[I]."""
    i0, n_i, j0, n_j = box
    width = out.shape[2]
    for i in range(n_i):
        own_row = own[i]
        for j in range(n_j):
            f, g = of_left[j0 + j, i0 + i], 2 * of_own[j0 + j, i0 + i]
            row, left_row = out[i, j], left[j, i]
            for c in range(width):
                row[c] = f * left_row[c] + g * own_row[c]


@njit(cache=True, nogil=True)
def _energy_force(phi, box, left, own, out):
    """Subtract Σ φ_s Jᵀ_I y + 2 φ_u Jᵀ_I x."""
    i0, n_i, j0, n_j = box
    for i in range(n_i):
        own_row = own[i]
        own_weight = 0.0
        for j in range(n_j):
            f, row = phi.s[j0 + j, i0 + i], left[j, i]
            own_weight += 2 * phi.u[j0 + j, i0 + i]
            for c in range(len(row)):
                out[c] -= f * row[c]
        for c in range(len(own_row)):
            out[c] -= own_weight * own_row[c]


@njit(cache=True, nogil=True)
def _force_energy(phi, box, right, own, out):
    """Subtract Σ φ_s Jᵀ_J x + 2 φ_v Jᵀ_J y."""
    i0, n_i, j0, n_j = box
    for j in range(n_j):
        own_row = own[j]
        own_weight = 0.0
        for i in range(n_i):
            f, row = phi.s[j0 + j, i0 + i], right[i, j]
            own_weight += 2 * phi.v[j0 + j, i0 + i]
            for c in range(len(row)):
                out[c] -= f * row[c]
        for c in range(len(own_row)):
            out[c] -= own_weight * own_row[c]


@njit(cache=True, nogil=True)
def scatter(centers, indices, values, place, out):
    """Jacobians of atoms from those along pair vectors r_kj = r_j - r_k.

    ``values`` (n_pairs, 3, rank) of the pairs whose centre has this species, ``place`` the number
    of the centre among those atoms of its structure that do, ``indices`` and ``centers`` the
    atoms within the structure; ``out`` (n_atoms of the species, 3 N, rank).
    """
    for p in range(len(centers)):
        j, k = 3 * indices[p], 3 * centers[p]
        atom = out[place[p]]
        for axis in range(3):
            row, plus, minus = values[p, axis], atom[j + axis], atom[k + axis]
            for d in range(len(row)):
                plus[d] += row[d]
                minus[d] -= row[d]
