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
from skatom._scratch import scratch_arrays
from skatom.kernels._cpu.packing import groups, pack_runs, pack_structure

# Numbers in the gradients of the structures b that are multiplied at once: they stay in the cache.
_GRADIENTS = 2**17


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
    longest: int  # number of coordinates of the longest run, or more

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
            self.longest,
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
    """φ and its derivatives of all pairs of atoms, (n_atoms of a, n_atoms of b) each."""

    value: np.ndarray
    s: np.ndarray
    u: np.ndarray
    v: np.ndarray
    ss: np.ndarray
    su: np.ndarray
    sv: np.ndarray
    uv: np.ndarray


class Scratch(NamedTuple):
    """Memory for what is made of some structures, or of one structure a and some structures b."""

    slopes: np.ndarray  # x_Iᵀ J_J
    along: np.ndarray  # J_Iᵀ y_J
    left: np.ndarray  # of the products of numbers
    right: np.ndarray
    packed_a: np.ndarray  # the Jacobian of a, group by group
    packed_b: np.ndarray  # those of all b, run by run
    weights: np.ndarray  # φ_s of two structures
    summed: np.ndarray  # Σ_J φ_s J_Jᵀ of a run
    gradients: np.ndarray  # those of several runs, row by row
    products: np.ndarray


def add_covariances(a, b, a_rows, b_rows, phi, diagonal, out):
    """Add what one species contributes to ``out``: rows of the structures b, columns of a.

    Pairs with b < a + ``diagonal`` are left out. Derivatives ``phi`` may be numbers or have axes of
    one element where they do not depend on both atoms; without coordinates they are not needed.
    """
    shape = len(a.projected), len(b.projected)
    whole = Derivatives(*(field if field.size == 0 else _whole(field, shape) for field in phi))
    of_groups = groups(a.support, b.support)
    scratch = Scratch(*scratch_arrays(_sizes(a, b, of_groups)))
    _add_covariances(a, b, a_rows, b_rows, whole, of_groups, diagonal, scratch, out)


def _whole(field, shape):
    """A field that compiled code can read: of all pairs, and in their order."""
    if field.shape == shape:
        return np.require(field, float, "CW")
    out = np.empty(shape)
    out[:] = field
    return out


def _sizes(a, b, of_groups):
    """Numbers in the arrays of `Scratch`."""
    n_i, n_j = (int((side.starts[1:] - side.starts[:-1]).max()) for side in (a, b))
    dof_a, dof_b = int(a.n_dof.max()), int(b.n_dof.max())
    edges, atoms_b, rows_b = of_groups.edges, len(b.projected), len(b.jacobians)
    n_rows, widest = int(b.n_dof.sum()), n_i * int((edges[1:] - edges[:-1]).max(initial=0))
    pairs, n_features, of_b = n_i * (n_j + 1), int(edges[-1]), b.longest * widest
    return (
        len(a.projected) * rows_b, len(a.jacobians) * atoms_b, (dof_b + 1) * pairs, dof_a * pairs,
        dof_a * n_i * n_features, rows_b * n_features, n_i * n_j, of_b,
        min(max(_GRADIENTS, of_b), n_rows * widest), n_rows * a.longest,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _add_covariances(a, b, a_rows, b_rows, phi, groups, diagonal, scratch, out):
    """`add_covariances` for the derivatives of all pairs."""
    n_b, rank = len(b.n_dof), a.projected.shape[1]
    first_run = b.run_starts[0]
    places = np.empty((b.run_starts[n_b] - first_run, len(groups.edges) - 1), np.int64)
    pack_runs(b, first_run, groups, places, scratch.packed_b)
    targets = np.empty(b_rows.starts[n_b], np.int64)
    n_atoms, rows, own_rows, atoms = (
        len(a.projected), len(b.jacobians), len(a.jacobians), len(b.projected)
    )  # fmt: skip
    add_product(
        n_atoms, rows, rank, a.projected, b.jacobians, True, 0.0, scratch.slopes, rows
    )  # fmt: skip
    add_product(
        own_rows, atoms, rank, a.jacobians, b.projected, True, 0.0, scratch.along, atoms
    )  # fmt: skip
    slopes = scratch.slopes[: n_atoms * rows].reshape(n_atoms, rows)
    along = scratch.along[: own_rows * atoms].reshape(own_rows, atoms)
    for sa in range(len(a.n_dof)):
        begin, dof_a = a.starts[sa], a.n_dof[sa]
        n_i = a.starts[sa + 1] - begin
        first, column = max(0, sa + diagonal), a_rows.starts[sa]
        if n_i == 0 or first >= n_b:
            continue
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
        for sb in range(first, n_b):
            _add_numbers(
                begin, n_i, a.row_starts[sa], dof_a, b.starts[sb],
                b.starts[sb + 1] - b.starts[sb], b.row_starts[sb], b.n_dof[sb],
                b_rows.has_energy[sb], phi, slopes, along, a.own, b.own, scratch.left,
                scratch.right, out[b_rows.starts[sb], column:], out.shape[1],
            )  # fmt: skip
        pack_structure(a.jacobians, a.row_starts[sa], dof_a * n_i, groups, scratch.packed_a)
        for g in range(len(groups.edges) - 1):
            _add_group(
                a, sa, b, first, first_run, g, groups, phi.s, b_rows, places, targets, scratch,
                column, out,
            )  # fmt: skip


@callee(cache=True, fastmath=FASTMATH)
def _add_energy_column(
    i_begin, i_end, j_begin, j_end, place, n_dof, has_energy, phi, slopes, own, row, column, out
):  # fmt: skip
    """E_b E_a and F_b E_a."""
    if has_energy:
        total = 0.0
        for i in range(i_begin, i_end):
            for j in range(j_begin, j_end):
                total += phi.value[i, j]
        out[row, column] += total
        row += 1
    for c in range(n_dof):
        total = 0.0
        for j in range(j_begin, j_end):
            for i in range(i_begin, i_end):
                total += phi.s[i, j] * slopes[i, place] + 2 * phi.v[i, j] * own[place]
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
                left[place + j] = -phi.s[i, j_begin + j]
            for j in range(n_j):
                total -= 2 * phi.u[i, j_begin + j]
            left[place + n_j] = total
        for c in range(b_dof):
            row, at, total = b_row + c * n_j, (n_energies + c) * width + place, 0.0
            for j in range(n_j):
                slope, own, y = slopes[i, row + j], 2 * own_b[row + j], j_begin + j
                left[at + j] = phi.ss[i, y] * slope + phi.sv[i, y] * own
            for j in range(n_j):
                slope, own, y = slopes[i, row + j], 2 * own_b[row + j], j_begin + j
                total += phi.su[i, y] * slope + phi.uv[i, y] * own
            left[at + n_j] = 2 * total
        for c in range(a_dof):
            row, at = a_row + c * n_i + k, c * width + place
            for j in range(n_j):
                right[at + j] = along[row, j_begin + j]
            right[at + n_j] = own_a[row]
    add_product(n_energies + b_dof, a_dof, width, left, right, True, 1.0, out, stride)


@callee(cache=True)
def _add_group(
    a, sa, b, first, first_run, g, groups, phi_s, b_rows, places, targets, scratch, column, out
):  # fmt: skip
    """Σ_IJ φ_s J_Jᵀ J_I over the features of one group, for the structures b from ``first`` on."""
    begin, size = a.starts[sa], groups.edges[g + 1] - groups.edges[g]
    n_i, gradients = a.starts[sa + 1] - begin, scratch.gradients
    width = n_i * size
    for kind in range(len(b.support)):
        n_rows = 0
        for sb in range(first, len(b.n_dof)):
            n_j = b.starts[sb + 1] - b.starts[sb]
            for run in range(b.run_starts[sb], b.run_starts[sb + 1]):
                place = places[run - first_run, g]
                if n_j == 0 or place < 0 or b.runs[run, 2] != kind:
                    continue
                n_dof = b.runs[run, 1] - b.runs[run, 0]
                if (n_rows + n_dof) * width > len(gradients):
                    _add_products(a, sa, g, groups, n_rows, width, targets, scratch, column, out)
                    n_rows = 0
                for k in range(n_i):
                    for j in range(n_j):
                        scratch.weights[k * n_j + j] = phi_s[begin + k, b.starts[sb] + j]
                add_product(
                    n_i, n_dof * size, n_j, scratch.weights, scratch.packed_b[place:], False, 0.0,
                    scratch.summed, n_dof * size,
                )  # fmt: skip
                row = b_rows.starts[sb] + b_rows.has_energy[sb] + b.runs[run, 0]
                for c in range(n_dof):
                    targets[n_rows] = row + c
                    for k in range(n_i):
                        source, at = (k * n_dof + c) * size, n_rows * width + k * size
                        _copy(scratch.summed[source : source + size], gradients[at : at + size])
                    n_rows += 1
        _add_products(a, sa, g, groups, n_rows, width, targets, scratch, column, out)


@callee(cache=True)
def _copy(row, out):
    for d in range(len(row)):
        out[d] = row[d]


@callee(cache=True)
def _add_products(a, sa, g, groups, n_rows, width, targets, scratch, column, out):
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
            _add_row(1.0, product, out[targets[row], column + begin :])


@callee(cache=True, fastmath=FASTMATH)
def _add_row(weight, row, out):
    for d in range(len(row)):
        out[d] += weight * row[d]
