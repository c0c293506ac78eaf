"""Covariances of energies and their derivatives under a kernel of features, block by block."""

import numpy as np

from skatom._device import beside, check_together, device_of, is_tensor, namespace
from skatom._rigid_motions import completions, kept_coordinates, rigid_motions
from skatom.kernels._cpu.covariance import Derivatives, Layout
from skatom.kernels.bases import jacobian_bases
from skatom.kernels.coordinates import by_element, coordinates_of
from skatom.kernels.environments import Environments, loops_of
from skatom.memory import check_memory
from skatom.parallel import serial_blas, small_steps, threads_over_blas
from skatom.structures import groups_by_size, offsets_from_counts

# Number of rows of the matrix that a thread works on: enough for fast products. A small matrix is
# cut into smaller pieces, so that all threads have work.
_ROWS, _GROUPS = 384, 4
# The same on a device, which has one thread.
_TENSOR_ROWS = 2048


def feature_covariance(kernel, X, Y, rows, columns):
    """The matrix that `skatom.kernels.covariance` returns for a kernel of features.

    Parameters
    ----------
    kernel : DotKernel or StructureKernel
        A kernel with the method ``block``.
    X : AtomicFeatures or StructureFeatures of n structures
    Y : the same, or None
        None: X.
    rows, columns : tuple of str
        Some of "energy", "forces" and "virial".

    Returns
    -------
    ndarray of float, shape (n_rows, n_columns)
    """
    symmetric = Y is None and rows == columns
    Y = X if Y is None else Y
    wanted = [(X, rows), (Y, columns)]
    shape = [int(row_counts(batch.structures.n_atoms, kinds).sum()) for batch, kinds in wanted]
    check_together(Y.values, X.values, "Y")
    device = device_of(X.values)
    check = check_memory if device is None else device.check_memory
    check(
        9.0 * shape[0] * shape[1],
        f"the {shape[0]} x {shape[1]} covariance matrix",
        "use fewer structures",
    )
    bases = jacobian_bases(*[X] if Y is X else [X, Y])
    sides = [_Side(*one, bases) for one in wanted[: 1 if symmetric else 2]]
    out = np.empty(shape) if device is None else device.empty(*shape)
    return _assemble(kernel, sides[0], sides[-1], symmetric, out)


def row_counts(n_atoms, kinds):
    """Number of rows of structures of so many atoms, shape (n,)."""
    counts = {"energy": np.ones_like(n_atoms), "forces": 3 * n_atoms}
    counts["virial"] = 6 * counts["energy"]
    return sum(counts[kind] for kind in kinds)


def kinds_of_rows(n_atoms, kinds):
    """For each row of structures of so many atoms, the place of its kind in ``kinds``."""
    counts = np.stack([row_counts(n_atoms, (kind,)) for kind in kinds], axis=1)
    return np.repeat(np.tile(np.arange(len(kinds)), len(n_atoms)), counts.ravel())


def _assemble(kernel, left, right, symmetric, out):
    """Write all blocks of the covariance matrix of two sides."""

    def work(task):
        piece, group = task
        part = kernel.block(
            left.environments, right.environments, left.layout, right.layout, piece, group,
            symmetric,
        )  # fmt: skip
        part = left.complete(part, *piece)
        part = right.complete(part.T, *group).T
        at = (slice(*left.places[[*piece]]), slice(*right.places[[*group]]))
        if symmetric:
            if piece == group:
                part = namespace(part).tril(part) + namespace(part).tril(part, -1).T
            out[at[::-1]] = part.T
        out[at] = part

    most = _TENSOR_ROWS if is_tensor(out) else _ROWS
    pieces, groups = (
        row_groups(side.layout.starts, min(most, 1 + side.layout.starts[-1] // _GROUPS))
        for side in (left, right)
    )
    tasks = [(p, g) for g in groups for p in pieces if not symmetric or p >= g]
    with threads_over_blas() as pool:
        list(map(work, tasks) if is_tensor(out) else pool.map(work, tasks))
    return out


class _Side:
    """The rows, or the columns, of a covariance matrix.

    Six coordinates of the forces of each molecule follow from the others: their rows are not
    computed but completed.

    Attributes
    ----------
    environments : Environments
        The environments, with the coordinates that are computed.
    layout : Layout
        Where the computed rows of each structure are.
    places : ndarray of int, shape (n + 1,)
        Where all rows of each structure begin.
    """

    def __init__(self, features, kinds, bases):
        structures = features.structures
        self._n_others = int("energy" in kinds), 6 * ("virial" in kinds)
        self._completions = None
        kept = self._strike(structures) if "forces" in kinds else [np.arange(0)] * len(features)
        coordinates = None
        if "forces" in kinds or "virial" in kinds:
            coordinates = [
                coordinates_of(of_one, "virial" in kinds, n)
                for of_one, n in zip(kept, structures.n_atoms, strict=True)
            ]
        self.environments = Environments(features, coordinates, bases)
        self.layout = layout(self.environments.n_dof, np.full(len(features), "energy" in kinds))
        self.places = offsets_from_counts(row_counts(structures.n_atoms, kinds))

    def _strike(self, structures):
        kept, self._completions = [None] * len(structures), [None] * len(structures)
        for size in np.unique(structures.n_atoms):
            of_size = np.flatnonzero(structures.n_atoms == size)
            with serial_blas():  # the matrices are small
                motions = rigid_motions(structures[of_size])
            numbers = structures.numbers[structures.offsets[of_size][:, None] + np.arange(size)]
            coordinates = list(map(by_element, kept_coordinates(motions), numbers))
            made = completions(motions, coordinates)
            for s, own, transform in zip(of_size, coordinates, made, strict=True):
                kept[s], self._completions[s] = own, transform
        return kept

    def complete(self, matrix, first, last):
        """The matrix with all rows of the structures first … last - 1, from those computed."""
        if self._completions is None:
            return matrix
        before, after = self._n_others
        transforms = self._completions[first:last]
        shape = int(self.places[last] - self.places[first]), matrix.shape[1]
        out = matrix.new_empty(shape) if is_tensor(matrix) else np.empty(shape)
        if not is_tensor(matrix) and len({transform.shape for transform in transforms}) == 1:
            self._complete_alike(np.stack(transforms), matrix, out)
            return out
        place = taken = 0
        for transform in transforms:
            size, kept = transform.shape
            out[place : place + before] = matrix[taken : taken + before]
            place, taken = place + before, taken + before
            transform = beside(transform, matrix)
            namespace(matrix).matmul(
                transform, matrix[taken : taken + kept], out=out[place : place + size]
            )
            place, taken = place + size, taken + kept
            out[place : place + after] = matrix[taken : taken + after]
            place, taken = place + after, taken + after
        return out

    def _complete_alike(self, transforms, matrix, out):
        """`complete` for structures of one size, without a step of Python for each."""
        before, after = self._n_others
        n, size, kept = transforms.shape
        given = matrix.reshape(n, before + kept + after, out.shape[1])
        whole = out.reshape(n, before + size + after, out.shape[1])
        whole[:, :before] = given[:, :before]
        end = before + size
        np.matmul(transforms, given[:, before : before + kept], out=whole[:, before:end])
        whole[:, end:] = given[:, before + kept :]


def layout(n_dof, has_energy):
    """Rows of structures: the energy of those that have one, then the derivatives."""
    return Layout(offsets_from_counts(n_dof + has_energy), np.asarray(has_energy, bool))


def row_groups(starts, size, first=0):
    """Pairs of a first and a last structure, from ``first`` on, with about ``size`` rows each."""
    return [(group.start, group.stop) for group in groups_by_size(starts, size, first)]


def fill_columns(kernel, rows, columns, row_layout, column_layout, group, first, lower, out, pool):
    """Write the columns of the structures of ``group``, for the rows of ``first`` and those after.

    ``lower``: the matrix is symmetric, and elements above the diagonal blocks are left zero.
    """
    starts, size = row_layout.starts, _TENSOR_ROWS if is_tensor(out) else _ROWS

    def work(piece):
        out[slice(*(starts[[*piece]] - starts[first]))] = kernel.block(
            rows, columns, row_layout, column_layout, piece, group, lower
        )

    pieces = row_groups(starts, size, first)
    list(map(work, pieces) if is_tensor(out) else pool.map(work, pieces))


def block(
    kernel, rows, columns, row_layout, column_layout, piece, group, lower, weights=None
):  # fmt: skip
    """The covariances of the structures of ``piece``, as rows, with those of ``group``.

    Parameters
    ----------
    kernel : DotKernel
    rows, columns : Environments
    row_layout, column_layout : Layout
    piece, group : tuple of int
        The first structure, and the one after the last.
    lower : bool
        The matrix is symmetric, and elements above its diagonal blocks are left zero.
    weights : dict of int to float, default=None
        Factors of the kernels of each species. None: 1.

    Returns
    -------
    ndarray of float
    """
    b_rows, a_rows = row_layout.part(*piece), column_layout.part(*group)
    shape, device = (b_rows.starts[-1], a_rows.starts[-1]), device_of(rows.features.values)
    out = np.zeros(shape) if device is None else device.zeros(*shape)
    add_covariances = loops_of(out).add_covariances
    diagonal = group[0] - piece[0] if lower else piece[0] - piece[1] - group[1]
    for z in rows.sides.keys() & columns.sides.keys():
        a, b = columns.sides[z].part(*group), rows.sides[z].part(*piece)
        atoms_a, atoms_b = (
            slice(*e.sides[z].starts[[*part]]) for e, part in ((columns, group), (rows, piece))
        )
        s = columns.values[z][atoms_a] @ rows.values[z][atoms_b].T
        if 0 not in s.shape:
            u, v = columns.norms[z][atoms_a, None], rows.norms[z][atoms_b]
            with small_steps():
                phi = _derivatives(kernel, s, u, v, rows.n_dof.any() or columns.n_dof.any())
                if weights is not None:
                    phi = Derivatives(*(weights[z] * f for f in phi))
            add_covariances(a, b, a_rows, b_rows, phi, diagonal, out)
    return out


def _derivatives(kernel, s, u, v, needed):
    """The `Derivatives`, (n_atoms of a, n_atoms of b), only φ itself if no others are needed."""
    xp = namespace(s)
    if not needed:
        nothing = s[:0, :0] if is_tensor(s) else np.zeros((0, 0))
        return Derivatives(kernel.value(s, u, v), *[nothing] * 7)
    fields = vars(kernel.profile(s, u, v)).values()
    if is_tensor(s):
        return Derivatives(*(xp.broadcast_to(f, s.shape) for f in fields))
    return Derivatives(*map(np.asarray, fields))
