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
from skatom._numba import callee, njit
from skatom.kernels._cpu.packing import groups, packed_runs, packed_structure

# Numbers in the gradients of the structures b that are multiplied at once: they stay in the cache.
_GRADIENTS = 2**18
# Voigt's order of the components of a strain.
STRAINS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


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


@njit(cache=True, nogil=True)
def add_covariances(a, b, a_rows, b_rows, phi, diagonal, out):
    """Add what one species contributes to ``out``: rows of the structures b, columns of a.

    Pairs with b < a + ``diagonal`` are left out.
    """
    slopes = np.dot(b.jacobians, a.projected.T)  # J_Jᵀ x_I
    order, edges, segments, segment_starts = groups(a.support, b.support)
    features = b.projected[:, order]
    places, packed_b = packed_runs(b, segments, segment_starts)
    most_atoms, longest = 0, 0
    for sa in range(len(a.n_dof)):
        most_atoms = max(most_atoms, a.starts[sa + 1] - a.starts[sa])
    for run in range(len(b.runs)):
        longest = max(longest, b.runs[run, 1] - b.runs[run, 0])
    widest = 0
    for g in range(len(edges) - 1):
        widest = max(widest, edges[g + 1] - edges[g])
    # those of some rows, and of a run, in another order
    memory = np.empty(max(_GRADIENTS, 2 * longest * most_atoms * widest))
    for sa in range(len(a.n_dof)):
        begin, end, n_dof = a.starts[sa], a.starts[sa + 1], a.n_dof[sa]
        if begin == end:
            continue
        first, column = max(0, sa + diagonal), a_rows.starts[sa]
        if a_rows.has_energy[sa]:
            for sb in range(first, len(b.n_dof)):
                _add_energy_column(phi, slopes, b, sb, (begin, end), b_rows, out[:, column])
            column += 1
        if n_dof == 0 or first >= len(b.n_dof):
            continue
        rows = slice(a.row_starts[sa], a.row_starts[sa + 1])
        packed = packed_structure(a.jacobians[rows], edges, segments, segment_starts)
        along_y = _along_features(packed, n_dof, features, edges)
        block = out[:, column : column + n_dof]
        for sb in range(first, len(b.n_dof)):
            _add_along_features(
                phi, slopes, b, sb, begin, along_y, a.own[rows], b_rows.has_energy[sb],
                block[b_rows.starts[sb] : b_rows.starts[sb + 1]],
            )  # fmt: skip
        for g in range(len(edges) - 1):
            _add_group(
                a, sa, b, first, segments[segment_starts[g], 0], edges[g : g + 2], packed,
                places[:, g], packed_b, phi, b_rows, memory, block,
            )  # fmt: skip


@callee(allocates=True, cache=True)
def _along_features(packed, n_dof, features, edges):
    """J_Iᵀ y_J, (n_dof · n_atoms of a, atoms of b), from features in order of their groups."""
    n_rows = len(packed) // features.shape[1]
    total = np.zeros((n_rows, len(features)))
    for g in range(len(edges) - 1):
        begin, end = edges[g], edges[g + 1]
        part = packed[begin * n_rows : end * n_rows].reshape(n_rows, end - begin)
        _add(np.dot(part, np.ascontiguousarray(features[:, begin:end]).T), total)
    return total


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
def _add_along_features(phi, slopes, b, sb, begin_a, along_y, own, has_energy, out):
    """What multiplies J_Iᵀ y and J_Iᵀ x in -g J_I and G J_I, for one structure b."""
    begin, n_j = b.starts[sb], b.starts[sb + 1] - b.starts[sb]
    height, n_dof = out.shape
    n_i, these = len(own) // n_dof, slice(begin, begin + n_j)
    if n_j == 0:
        return
    left, right = np.zeros((height, n_i * (n_j + 1))), np.empty((n_dof, n_i * (n_j + 1)))
    for k in range(n_i):
        i, place = begin_a + k, slice(k * (n_j + 1), (k + 1) * (n_j + 1))
        s, ss, sv = phi.s[these, i], phi.ss[these, i], phi.sv[these, i]
        su, uv = phi.su[these, i], phi.uv[these, i]
        if has_energy:
            target = left[0, place]
            for j in range(n_j):
                target[j] = -s[j]
                target[n_j] -= 2 * phi.u[begin + j, i]
        for c in range(height - has_energy):
            row = b.row_starts[sb] + c * n_j
            along, own_b = slopes[row : row + n_j, i], b.own[row : row + n_j]
            target, along_x = left[has_energy + c, place], 0.0
            for j in range(n_j):
                target[j] = ss[j] * along[j] + 2 * sv[j] * own_b[j]
                along_x += su[j] * along[j] + 2 * uv[j] * own_b[j]
            target[n_j] = 2 * along_x
        for c in range(n_dof):
            source, target = along_y[c * n_i + k, these], right[c, place]
            for j in range(n_j):
                target[j] = source[j]
            target[n_j] = own[c * n_i + k]
    _add(np.dot(left, right.T), out)


@callee(allocates=True, cache=True)
def _add_group(
    a, sa, b, first, feature, edges, packed_a, places, packed_b, phi, b_rows, memory, out
):  # fmt: skip
    """Σ_IJ φ_s J_Jᵀ J_I over the features of one group, for the structures b from ``first`` on."""
    begin, end = a.starts[sa], a.starts[sa + 1]
    n_i, size = end - begin, edges[1] - edges[0]
    width, half = n_i * size, len(memory) // 2
    gradients = memory[: half // width * width].reshape(-1, width)
    targets = np.empty(len(gradients), np.int64)
    for kind in range(len(b.support)):
        n_rows = 0
        for sb in range(first, len(b.n_dof)):
            n_j = b.starts[sb + 1] - b.starts[sb]
            for run in range(b.run_starts[sb], b.run_starts[sb + 1]):
                if n_j == 0 or places[run] < 0 or b.runs[run, 2] != kind:
                    continue
                n_dof = b.runs[run, 1] - b.runs[run, 0]
                if n_rows + n_dof > len(gradients):
                    _add_products(
                        a, sa, feature, edges[0], gradients[:n_rows], targets, packed_a, out
                    )
                    n_rows = 0
                jacobian = packed_b[places[run] : places[run] + n_j * n_dof * size]
                weights = phi.s[b.starts[sb] : b.starts[sb + 1], begin:end]
                summed = memory[half : half + n_dof * width].reshape(n_i, n_dof * size)
                np.dot(np.ascontiguousarray(weights.T), jacobian.reshape(n_j, -1), summed)
                for k in range(n_i):
                    for c in range(n_dof):
                        source = summed[k, c * size : (c + 1) * size]
                        target = gradients[n_rows + c, k * size : (k + 1) * size]
                        for d in range(size):
                            target[d] = source[d]
                row = b_rows.starts[sb] + b_rows.has_energy[sb] + b.runs[run, 0]
                for c in range(n_dof):
                    targets[n_rows + c] = row + c
                n_rows += n_dof
        _add_products(a, sa, feature, edges[0], gradients[:n_rows], targets, packed_a, out)


@callee(allocates=True, cache=True)
def _add_products(a, sa, feature, edge, gradients, targets, packed, out):
    """Add the products of gradients (rows, n_atoms · width) with the Jacobian of a structure a."""
    n_rows, width = gradients.shape
    if n_rows == 0:
        return
    start = edge * (a.row_starts[sa + 1] - a.row_starts[sa])
    for run in range(a.run_starts[sa], a.run_starts[sa + 1]):
        begin, end = a.runs[run, 0], a.runs[run, 1]
        if a.support[a.runs[run, 2], feature] == 0.0:
            continue
        jacobian = packed[start + begin * width : start + end * width].reshape(-1, width)
        product = np.dot(gradients, jacobian.T)
        for row in range(n_rows):
            source, target = product[row], out[targets[row], begin:end]
            for c in range(len(source)):
                target[c] += source[c]


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
    """Jᵀx and the support, once the Jacobians are complete."""
    for s in range(len(side.n_dof)):
        begin, end = side.starts[s], side.starts[s + 1]
        row = side.row_starts[s]
        for run in range(side.run_starts[s], side.run_starts[s + 1]):
            support = side.support[side.runs[run, 2]]
            for _ in range(side.runs[run, 0], side.runs[run, 1]):
                for i in range(begin, end):
                    total = 0.0
                    x, slopes = side.projected[i], side.jacobians[row]
                    for d in range(len(x)):
                        total += x[d] * slopes[d]
                        support[d] += abs(slopes[d])
                    side.own[row] = total
                    row += 1
