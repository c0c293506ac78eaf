"""Covariances of energies and their derivatives of pairs of structures, summed over one species.

With rows I of structure a (features x, Jacobian J_I) and J of structure b (features y), and
derivatives F = -dE/dq with respect to the coordinates q of a structure,

    E_b E_a = Σ φ                         F_b E_a = -Σ J_Jᵀ (φ_s x + 2 φ_v y)
    E_b F_a = -Σ_I g_I J_I                F_b F_a = Σ_I G_I J_I

    g_I = Σ_J φ_s yᵀ + 2 φ_u xᵀ
    G_I = Σ_J φ_s J_Jᵀ + J_Jᵀx (φ_ss yᵀ + 2 φ_su xᵀ) + J_Jᵀy (2 φ_sv yᵀ + 4 φ_uv xᵀ)

The products of Jacobians are the work. Atoms of b are summed before the product with J_I, so that
there is one product for each atom of a instead of one for each pair. Features of an element do not
change with atoms of another one: coordinates of atoms of one element are a class, features with the
same classes a group, and only products of groups with what both classes have are made. What
multiplies y or x is a product of small matrices, since J_I y and J_J x are numbers.
"""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import add_product, callee, njit
from skatom.kernels._cpu.packing import groups, pack_runs, pack_structure
from skatom.parallel import small_steps

# Numbers in the gradients of the structures b that are multiplied at once: they stay in the cache.
_GRADIENTS = 2**17
# Voigt's order of the components of a strain.
STRAINS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_STRAINS = np.array(STRAINS)


class Side(NamedTuple):
    """The rows of one species in a list of structures, its atoms or the structure itself.

    Structure s has the atoms ``starts[s] … starts[s + 1] - 1`` of this species, and the rows
    ``row_starts[s] … row_starts[s + 1] - 1`` of their Jacobians: for each of the ``n_dof[s]``
    coordinates one row of every atom. A run is some consecutive coordinates of one class.
    """

    starts: np.ndarray  # (n + 1,)
    projected: np.ndarray  # (n_atoms, rank): features in the basis of the Jacobians
    row_starts: np.ndarray  # (n + 1,)
    jacobians: np.ndarray  # (n_rows, rank)
    own: np.ndarray  # (n_rows,): Jᵀx of the same atom
    n_dof: np.ndarray  # (n,)
    run_starts: np.ndarray  # (n + 1,): where the runs of each structure begin
    runs: np.ndarray  # (n_runs, 3): first coordinate, the one after the last, class
    support: np.ndarray  # (n_classes, rank): zero where no coordinate of a class changes a feature

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
            self.n_dof[first:last], self.run_starts[first : last + 1], self.runs, self.support,
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


class Scratch(NamedTuple):
    """Memory for what is made of one structure a and some structures b."""

    left: np.ndarray  # of the products of numbers
    right: np.ndarray
    packed_a: np.ndarray  # the Jacobian of a, group by group
    packed_b: np.ndarray  # those of all b, run by run
    places: np.ndarray  # (n_runs, n_groups): where these begin
    weights: np.ndarray  # φ_s of two structures
    summed: np.ndarray  # Σ_J φ_s J_Jᵀ of a run
    gradients: np.ndarray  # those of several runs, row by row
    targets: np.ndarray  # their rows in the matrix
    products: np.ndarray


def add_covariances(a, b, a_rows, b_rows, phi, diagonal, out):
    """Add what one species contributes to ``out``: rows of the structures b, columns of a.

    Pairs with b < a + ``diagonal`` are left out. Derivatives ``phi`` may be numbers or have axes of
    one element where they do not depend on both atoms.
    """
    fields = phi if np.size(phi.s) else phi[:1]
    phi = np.empty((len(fields), *phi.value.T.shape))
    with small_steps():
        for k, field in enumerate(fields):
            phi[k] = np.transpose(field)
    of_groups = groups(a.support, b.support)
    _add_covariances(
        a, b, a_rows, b_rows, phi,
        a.projected @ b.jacobians.T,  # x_Iᵀ J_J
        a.jacobians @ b.projected.T,  # J_Iᵀ y_J
        of_groups, diagonal, _scratch(a, b, of_groups), out,
    )  # fmt: skip


def _scratch(a, b, of_groups):
    def largest(values):
        return int(values.max(initial=0))

    n_i, n_j = largest(np.diff(a.starts)), largest(np.diff(b.starts))
    dof_a, dof_b = largest(a.n_dof), largest(b.n_dof)
    of_a, of_b = (largest(side.runs[:, 1] - side.runs[:, 0]) for side in (a, b))
    n_rows, widest = int(b.n_dof.sum()), n_i * largest(np.diff(of_groups.edges))
    pairs, n_features = n_i * (n_j + 1), int(of_groups.edges[-1])
    gradients = min(max(_GRADIENTS, of_b * widest), n_rows * widest)
    return Scratch(
        *map(np.empty, (
            (dof_b + 1) * pairs, dof_a * pairs, dof_a * n_i * n_features,
            len(b.jacobians) * n_features,
        )),
        np.empty((len(b.runs), len(of_groups.edges) - 1), np.int64),
        *map(np.empty, (n_i * n_j, of_b * widest, gradients)),
        np.empty(n_rows, np.int64), np.empty(n_rows * of_a),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _add_covariances(
    a, b, a_rows, b_rows, phi, slopes, along, groups, diagonal, scratch, out
):  # fmt: skip
    """`add_covariances` for ``phi`` (8, n_atoms of a, n_atoms of b)."""
    pack_runs(b, groups, scratch.places, scratch.packed_b)
    for sa in range(len(a.n_dof)):
        begin, dof_a = a.starts[sa], a.n_dof[sa]
        n_i = a.starts[sa + 1] - begin
        first, column = max(0, sa + diagonal), a_rows.starts[sa]
        if n_i == 0 or first >= len(b.n_dof):
            continue
        if a_rows.has_energy[sa]:
            for sb in range(first, len(b.n_dof)):
                _add_energy_column(
                    begin, begin + n_i, b.starts[sb], b.starts[sb + 1], b.row_starts[sb],
                    b.n_dof[sb], b_rows.has_energy[sb], phi, slopes, b.own, b_rows.starts[sb],
                    column, out,
                )  # fmt: skip
            column += 1
        if dof_a == 0:
            continue
        for sb in range(first, len(b.n_dof)):
            _add_numbers(
                begin, n_i, a.row_starts[sa], dof_a, b.starts[sb],
                b.starts[sb + 1] - b.starts[sb], b.row_starts[sb], b.n_dof[sb],
                b_rows.has_energy[sb], phi, slopes, along, a.own, b.own, scratch.left,
                scratch.right, out[b_rows.starts[sb], column:], out.shape[1],
            )  # fmt: skip
        pack_structure(a.jacobians, a.row_starts[sa], dof_a * n_i, groups, scratch.packed_a)
        for g in range(len(groups.edges) - 1):
            _add_group(a, sa, b, first, g, groups, phi, b_rows, scratch, column, out)


@callee(cache=True, fastmath=FASTMATH)
def _add_energy_column(
    i_begin, i_end, j_begin, j_end, place, n_dof, has_energy, phi, slopes, own, row, column, out
):  # fmt: skip
    """E_b E_a and F_b E_a."""
    if has_energy:
        total = 0.0
        for i in range(i_begin, i_end):
            for j in range(j_begin, j_end):
                total += phi[_VALUE, i, j]
        out[row, column] += total
        row += 1
    for c in range(n_dof):
        total = 0.0
        for j in range(j_begin, j_end):
            for i in range(i_begin, i_end):
                total += phi[_S, i, j] * slopes[i, place] + 2 * phi[_V, i, j] * own[place]
            place += 1
        out[row + c, column] -= total


@callee(cache=True, fastmath=FASTMATH)
def _add_numbers(
    i_begin, n_i, a_row, a_dof, j_begin, n_j, b_row, b_dof, has_energy, phi, slopes, along, own_a,
    own_b, left, right, out, stride,
):  # fmt: skip
    """What multiplies J_Iᵀ y and J_Iᵀ x in -g J_I and G J_I, for one structure b."""
    if n_j == 0:
        return
    n_energies, width = 1 if has_energy else 0, n_i * (n_j + 1)
    for k in range(n_i):
        i, place = i_begin + k, k * (n_j + 1)
        if has_energy:
            total = 0.0
            for j in range(n_j):
                left[place + j] = -phi[_S, i, j_begin + j]
            for j in range(n_j):
                total -= 2 * phi[_U, i, j_begin + j]
            left[place + n_j] = total
        for c in range(b_dof):
            row, at, total = b_row + c * n_j, (n_energies + c) * width + place, 0.0
            for j in range(n_j):
                slope, own, y = slopes[i, row + j], 2 * own_b[row + j], j_begin + j
                left[at + j] = phi[_SS, i, y] * slope + phi[_SV, i, y] * own
            for j in range(n_j):
                slope, own, y = slopes[i, row + j], 2 * own_b[row + j], j_begin + j
                total += phi[_SU, i, y] * slope + phi[_UV, i, y] * own
            left[at + n_j] = 2 * total
        for c in range(a_dof):
            row, at = a_row + c * n_i + k, c * width + place
            for j in range(n_j):
                right[at + j] = along[row, j_begin + j]
            right[at + n_j] = own_a[row]
    add_product(n_energies + b_dof, a_dof, width, left, right, True, 1.0, out, stride)


@callee(cache=True)
def _add_group(a, sa, b, first, g, groups, phi, b_rows, scratch, column, out):
    """Σ_IJ φ_s J_Jᵀ J_I over the features of one group, for the structures b from ``first`` on."""
    begin, size = a.starts[sa], groups.edges[g + 1] - groups.edges[g]
    n_i, gradients = a.starts[sa + 1] - begin, scratch.gradients
    width = n_i * size
    for kind in range(len(b.support)):
        n_rows = 0
        for sb in range(first, len(b.n_dof)):
            n_j = b.starts[sb + 1] - b.starts[sb]
            for run in range(b.run_starts[sb], b.run_starts[sb + 1]):
                place = scratch.places[run, g]
                if n_j == 0 or place < 0 or b.runs[run, 2] != kind:
                    continue
                n_dof = b.runs[run, 1] - b.runs[run, 0]
                if (n_rows + n_dof) * width > len(gradients):
                    _add_products(a, sa, g, groups, n_rows, width, scratch, column, out)
                    n_rows = 0
                for k in range(n_i):
                    for j in range(n_j):
                        scratch.weights[k * n_j + j] = phi[_S, begin + k, b.starts[sb] + j]
                add_product(
                    n_i, n_dof * size, n_j, scratch.weights, scratch.packed_b[place:], False, 0.0,
                    scratch.summed, n_dof * size,
                )  # fmt: skip
                row = b_rows.starts[sb] + b_rows.has_energy[sb] + b.runs[run, 0]
                for c in range(n_dof):
                    scratch.targets[n_rows] = row + c
                    for k in range(n_i):
                        source, at = (k * n_dof + c) * size, n_rows * width + k * size
                        _copy(scratch.summed[source : source + size], gradients[at : at + size])
                    n_rows += 1
        _add_products(a, sa, g, groups, n_rows, width, scratch, column, out)


@callee(cache=True)
def _copy(row, out):
    for d in range(len(row)):
        out[d] = row[d]


@callee(cache=True)
def _add_products(a, sa, g, groups, n_rows, width, scratch, column, out):
    """Add the products of gradients (n_rows, width) with the Jacobian of a structure a."""
    if n_rows == 0:
        return
    feature = groups.segments[groups.segment_starts[g], 0]
    start = groups.edges[g] * (a.row_starts[sa + 1] - a.row_starts[sa])
    for run in range(a.run_starts[sa], a.run_starts[sa + 1]):
        begin, n_dof = a.runs[run, 0], a.runs[run, 1] - a.runs[run, 0]
        if a.support[a.runs[run, 2], feature] == 0.0:
            continue
        jacobian = scratch.packed_a[start + begin * width :]
        add_product(
            n_rows, n_dof, width, scratch.gradients, jacobian, True, 0.0, scratch.products, n_dof
        )
        for row in range(n_rows):
            product = scratch.products[row * n_dof : (row + 1) * n_dof]
            _add_row(1.0, product, out[scratch.targets[row], column + begin :])


@callee(cache=True, fastmath=FASTMATH)
def _add_row(weight, row, out):
    for d in range(len(row)):
        out[d] += weight * row[d]


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
    """Jᵀx and the support, once the Jacobians are complete."""
    for s, n_dof in enumerate(side.n_dof):
        rows = slice(side.row_starts[s], side.row_starts[s + 1])
        if rows.start < rows.stop:
            x, jacobian = side.projected[side.starts[s] : side.starts[s + 1]], side.jacobian_of(s)
            np.einsum("cad,ad->ca", jacobian, x, out=side.own[rows].reshape(n_dof, len(x)))
            for begin, end, kind in side.runs[side.run_starts[s] : side.run_starts[s + 1]]:
                side.support[kind] += jacobian[begin:end].any(axis=(0, 1))
