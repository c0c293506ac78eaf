"""Covariances of energies and forces under a kernel of atomic features, block by block."""

import numpy as np

from skatom._rigid_motions import completion, kept_coordinates, rigid_motions
from skatom.kernels._cpu.covariance import Derivatives, Layout, add_covariances
from skatom.kernels.environments import Environments, jacobian_bases
from skatom.memory import check_memory
from skatom.parallel import threads_over_blas
from skatom.structures import groups_by_size, offsets_from_counts

# Number of rows of the matrix that a thread works on: enough for fast products. A small matrix is
# cut into smaller pieces, so that all threads have work.
_ROWS, _GROUPS = 384, 6


def feature_covariance(kernel, X, Y, rows, columns):
    """The matrix that `skatom.kernels.covariance` returns for a `DotKernel`.

    Parameters
    ----------
    kernel : DotKernel
    X : AtomicFeatures of n structures
    Y : AtomicFeatures or None
        None: X.
    rows, columns : tuple of str
        Some of "energy" and "forces".

    Returns
    -------
    ndarray of float, shape (n_rows, n_columns)
    """
    symmetric = Y is None and rows == columns
    Y = X if Y is None else Y
    wanted = [(X, rows), (Y, columns)]
    shape = [
        len(batch) * ("energy" in kinds) + len(batch.numbers) * 3 * ("forces" in kinds)
        for batch, kinds in wanted
    ]
    check_memory(
        16.0 * shape[0] * shape[1],
        f"the {shape[0]} x {shape[1]} covariance matrix",
        "use fewer structures",
    )
    bases = jacobian_bases(*[X] if Y is X else [X, Y])
    sides = [_Side(*one, bases) for one in wanted[: 1 if symmetric else 2]]
    return _assemble(kernel, sides[0], sides[-1], symmetric, np.empty(shape))


def _assemble(kernel, left, right, symmetric, out):
    """Write all blocks of the covariance matrix of two sides."""

    def work(task):
        piece, group = task
        part = block(
            kernel, left.environments, right.environments, left.layout, right.layout, piece, group,
            symmetric,
        )  # fmt: skip
        part = left.complete(part, *piece)
        part = right.complete(part.T, *group).T
        at = (slice(*left.places[[*piece]]), slice(*right.places[[*group]]))
        if symmetric:
            if piece == group:
                part = np.tril(part) + np.tril(part, -1).T
            out[at[::-1]] = part.T
        out[at] = part

    pieces, groups = (
        row_groups(side.layout.starts, min(_ROWS, 1 + side.layout.starts[-1] // _GROUPS))
        for side in (left, right)
    )
    with threads_over_blas() as pool:
        list(pool.map(work, [(p, g) for g in groups for p in pieces if not symmetric or p >= g]))
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
        self.energies, self.forces = "energy" in kinds, "forces" in kinds
        kept = self._strike(features.structures) if self.forces else None
        self.environments = Environments(features, kept, bases)
        has_energy = np.full(len(features), self.energies)
        self.layout = layout(self.environments.n_dof, has_energy)
        self.places = layout(3 * features.n_atoms * self.forces, has_energy).starts

    def _strike(self, structures):
        kept, self._completions = [None] * len(structures), [None] * len(structures)
        for size in np.unique(structures.n_atoms):
            of_size = np.flatnonzero(structures.n_atoms == size)
            motions = rigid_motions(structures[of_size])
            for s, own, coordinates in zip(
                of_size, motions, kept_coordinates(motions), strict=True
            ):
                kept[s], self._completions[s] = coordinates, completion(own, coordinates)
        return kept

    def complete(self, matrix, first, last):
        """The matrix with all rows of the structures first … last - 1, from those computed."""
        if not self.forces:
            return matrix
        n, completions = int(self.energies), self._completions[first:last]
        out = np.empty((sum(n + len(t) for t in completions), matrix.shape[1]))
        place = taken = 0
        for transform in completions:
            size, kept = transform.shape
            out[place : place + n] = matrix[taken : taken + n]
            place, taken = place + n, taken + n
            np.matmul(transform, matrix[taken : taken + kept], out=out[place : place + size])
            place, taken = place + size, taken + kept
        return out


def layout(n_dof, has_energy):
    """Rows of structures: the energy of those that have one, then the forces."""
    return Layout(offsets_from_counts(n_dof + has_energy), np.asarray(has_energy, bool))


def row_groups(starts, size, first=0):
    """Pairs of a first and a last structure, from ``first`` on, with about ``size`` rows each."""
    return [(group.start, group.stop) for group in groups_by_size(starts, size, first)]


def fill_columns(kernel, rows, columns, row_layout, column_layout, group, first, lower, out, pool):
    """Write the columns of the structures of ``group``, for the rows of ``first`` and those after.

    ``lower``: the matrix is symmetric, and elements above the diagonal blocks are left zero.
    """
    starts = row_layout.starts

    def work(piece):
        out[slice(*(starts[[*piece]] - starts[first]))] = block(
            kernel, rows, columns, row_layout, column_layout, piece, group, lower
        )

    list(pool.map(work, row_groups(starts, _ROWS, first)))


def block(kernel, rows, columns, row_layout, column_layout, piece, group, lower):
    """The covariances of the structures of ``piece``, as rows, with those of ``group``.

    ``lower``: the matrix is symmetric, and elements above its diagonal blocks are left zero.
    """
    b_rows, a_rows = row_layout.part(*piece), column_layout.part(*group)
    out = np.zeros((b_rows.starts[-1], a_rows.starts[-1]))
    diagonal = group[0] - piece[0] if lower else piece[0] - piece[1] - group[1]
    for z in rows.sides.keys() & columns.sides.keys():
        a, b = columns.sides[z].part(*group), rows.sides[z].part(*piece)
        atoms_a, atoms_b = (
            slice(*e.sides[z].starts[[*part]]) for e, part in ((columns, group), (rows, piece))
        )
        s = rows.values[z][atoms_b] @ columns.values[z][atoms_a].T
        if s.size:
            u, v = columns.norms[z][atoms_a], rows.norms[z][atoms_b, None]
            phi = _derivatives(kernel, s, u, v, rows.n_dof.any() or columns.n_dof.any())
            add_covariances(a, b, a_rows, b_rows, phi, diagonal, out)
    return out


def _derivatives(kernel, s, u, v, needed):
    if not needed:
        value, nothing = kernel.value(s, u, v), np.zeros((0, 0))
        return Derivatives(np.ascontiguousarray(value), *[nothing] * 7)
    profile = kernel.profile(s, u, v)
    return Derivatives(
        *(np.ascontiguousarray(np.broadcast_to(f, s.shape)) for f in vars(profile).values())
    )
