"""Covariances of energies and forces under a kernel of atoms."""

import numpy as np

from skatom._rigid_motions import completion, kept_coordinates, rigid_motions
from skatom.kernels._cpu.covariance import Derivatives, Layout, add_covariances
from skatom.kernels.environments import Environments, jacobian_bases
from skatom.memory import check_memory
from skatom.parallel import threads_over_blas
from skatom.structures import groups_by_size, offsets_from_counts

# Rows of the matrix that a thread works on: enough for fast products. Of a small matrix fewer, so
# that all threads have work.
_ROWS, _GROUPS = 512, 6


def covariance(kernel, X, Y=None, energies=True, forces=True):
    r"""Covariance matrix of the energies and forces of structures.

    .. math::
        \mathrm{cov}(E, E') = \sum_{I \in s} \sum_{J \in s'} \delta_{Z_I Z_J} k(q_I, q_J), \quad
        \mathrm{cov}(F, E') = -\frac{\partial}{\partial R} \mathrm{cov}(E, E'), \quad
        \mathrm{cov}(F, F') = \frac{\partial^2}{\partial R \partial R'} \mathrm{cov}(E, E')

    where q are the features of atoms and the sums run over atoms of the same element. The rows of
    each structure follow those of the one before it: its energy, then its forces.

    Parameters
    ----------
    kernel : Kernel
        Of the features of atoms; differentiable if ``forces``.
    X : AtomicFeatures of n structures
    Y : AtomicFeatures, default=None
        The columns. None: X.
    energies, forces : bool, default=True
        Which rows and columns to make.

    Returns
    -------
    ndarray of float, shape (n + 3 n_atoms of X, n + 3 n_atoms of Y)
        Less what is left out.

    Raises
    ------
    MemoryError
        If the matrix would not fit.

    References
    ----------
    A. S. Christensen, O. A. von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import FCHL19
    >>> from skatom.kernels import Gaussian, covariance
    >>> features = FCHL19().fit_transform([molecule("H2O"), molecule("H2")])
    >>> covariance(Gaussian(20.0), features).shape
    (17, 17)
    """
    kernel.check_parameters()
    sides = [X] if Y is None else [X, Y]
    shape = [energies * len(side) + forces * 3 * len(side.numbers) for side in (X, sides[-1])]
    check_memory(
        16.0 * shape[0] * shape[1],
        f"the {shape[0]} x {shape[1]} covariance matrix",
        "take fewer structures",
    )
    bases = jacobian_bases(*sides) if forces else None
    # six coordinates of each molecule follow from the others, and are not computed
    struck = [_StruckForces(side.structures, energies) if forces else None for side in sides]
    made = [
        Environments(side, of_side.kept if forces else None, bases)
        for side, of_side in zip(sides, struck, strict=True)
    ]
    rows, columns = made[0], made[-1]
    energies_of = [np.full(len(side), energies) for side in (X, sides[-1])]
    layouts = [layout(e.n_dof, has) for e, has in zip((rows, columns), energies_of, strict=True)]
    # where the rows are once those struck are back
    places = [
        layout(3 * side.n_atoms * forces, has).starts
        for side, has in zip((X, sides[-1]), energies_of, strict=True)
    ]
    out = np.empty(shape)

    def work(task):
        piece, group = task
        part = block(kernel, rows, columns, *layouts, piece, group, Y is None)
        if forces:
            part = struck[0].complete(part, *piece)
            part = struck[-1].complete(part.T, *group).T
        at = (slice(*places[0][[*piece]]), slice(*places[1][[*group]]))
        if Y is None:
            if piece == group:
                part = np.tril(part) + np.tril(part, -1).T
            out[at[::-1]] = part.T
        out[at] = part

    pieces, groups = (
        row_groups(l.starts, min(_ROWS, 1 + l.starts[-1] // _GROUPS)) for l in layouts
    )
    with threads_over_blas() as pool:
        list(pool.map(work, [(p, g) for g in groups for p in pieces if Y is not None or p >= g]))
    return out


class _StruckForces:
    """The coordinates of forces that do not follow from others, and how to make all from them."""

    def __init__(self, structures, energies):
        self.energies = int(energies)
        self.kept, self.completions = [], []
        for s in range(len(structures)):
            motions = rigid_motions(structures[s])[0]
            self.kept.append(kept_coordinates(motions))
            self.completions.append(completion(motions, self.kept[-1]))

    def complete(self, matrix, first, last):
        """The matrix with all rows of the structures first … last - 1, from those that are kept."""
        n, completions = self.energies, self.completions[first:last]
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

    ``lower``: the matrix is symmetric, and what lies above the diagonal blocks is left zero.
    """
    starts = row_layout.starts

    def work(piece):
        out[slice(*(starts[[*piece]] - starts[first]))] = block(
            kernel, rows, columns, row_layout, column_layout, piece, group, lower
        )

    list(pool.map(work, row_groups(starts, _ROWS, first)))


def block(kernel, rows, columns, row_layout, column_layout, piece, group, lower):
    """The covariances of the structures of ``piece``, as rows, with those of ``group``.

    ``lower``: the matrix is symmetric, and what lies above its diagonal blocks is left zero.
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
