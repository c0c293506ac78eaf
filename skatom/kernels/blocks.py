"""Covariances of energies and forces under a kernel of atoms."""

import numpy as np

from skatom._rigid_motions import completion, kept_coordinates, rigid_motions
from skatom.kernels._cpu.covariance import Derivatives, Layout, add_covariances
from skatom.kernels.environments import Environments, jacobian_bases
from skatom.memory import check_memory
from skatom.parallel import threads_over_blas
from skatom.structures import offsets_from_counts

# Rows of the matrix that a thread works on: enough for fast products.
_ROWS = 512


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
        Environments(side, bases, of_side.kept if forces else None)
        for side, of_side in zip(sides, struck, strict=True)
    ]
    rows, columns = made[0], made[-1]
    layouts = [layout(side.n_dof, np.full(len(side.n_dof), energies)) for side in (rows, columns)]
    out = np.zeros([int(l.starts[-1]) for l in layouts])
    with threads_over_blas() as pool:
        for group in row_groups(layouts[1].starts, _ROWS):
            start, stop = layouts[1].starts[[*group]]
            first = group[0] if Y is None else 0
            fill_columns(
                kernel, rows, columns, *layouts, group, first, Y is None,
                out[layouts[0].starts[first] :, start:stop], pool,
            )  # fmt: skip
        if Y is None:
            _mirror(out)
        if forces:
            out = struck[0].complete(out)
            out = struck[-1].complete(out.T).T
    if Y is None:
        _mirror(out)
    return out


class _StruckForces:
    """Rows of forces without the coordinates that follow from others, and these in turn."""

    def __init__(self, structures, energies):
        self.energies = int(energies)
        self.kept, self.completions = [], []
        for s in range(len(structures)):
            motions = rigid_motions(structures[s])[0]
            self.kept.append(kept_coordinates(motions))
            self.completions.append(completion(motions, self.kept[-1]))

    def complete(self, matrix):
        """The matrix with all rows."""
        n = self.energies
        sizes = np.array([n + len(t) for t in self.completions])
        out = np.empty((sizes.sum(), matrix.shape[1]))
        place = taken = 0
        for size, transform in zip(sizes, self.completions, strict=True):
            out[place : place + n] = matrix[taken : taken + n]
            taken += n
            part = matrix[taken : taken + transform.shape[1]]
            np.matmul(transform, part, out=out[place + n : place + size])
            taken += len(part)
            place += size
        return out


def layout(n_dof, has_energy):
    """Rows of structures: the energy of those that have one, then the forces."""
    return Layout(offsets_from_counts(n_dof + has_energy), np.asarray(has_energy, bool))


def row_groups(starts, size):
    """Pairs (first, last) of consecutive structures with about ``size`` rows each."""
    edges = np.unique(np.searchsorted(starts, np.arange(0, starts[-1], size)))
    edges = np.append(edges[edges < len(starts) - 1], len(starts) - 1)
    return list(zip(edges[:-1], edges[1:], strict=True))


def fill_columns(kernel, rows, columns, row_layout, column_layout, group, first, lower, out, pool):
    """Write the columns of the structures of ``group``, for the rows of ``first`` and those after.

    ``lower``: the matrix is symmetric, and what lies above the diagonal blocks is left zero.
    """
    out[:] = 0.0
    origin = (row_layout.starts[first], column_layout.starts[group[0]])
    shifted = row_layout.starts[first:] - origin[0]
    pieces = [(first + f, first + l) for f, l in row_groups(shifted, _ROWS)]

    def work(piece):
        for z, a in columns.sides.items():
            if z not in rows.sides:
                continue
            b = rows.sides[z]
            part_a = slice(a.starts[group[0]], a.starts[group[1]])
            part_b = slice(b.starts[piece[0]], b.starts[piece[1]])
            s = rows.values[z][part_b] @ columns.values[z][part_a].T
            if s.size == 0:
                continue
            u, v = columns.norms[z][part_a], rows.norms[z][part_b, None]
            phi = _derivatives(kernel, s, u, v, rows.n_dof.any() or columns.n_dof.any())
            add_covariances(a, b, column_layout, row_layout, group, piece, phi, lower, origin, out)

    list(pool.map(work, pieces))


def _derivatives(kernel, s, u, v, needed):
    if not needed:
        value, nothing = kernel.value(s, u, v), np.zeros((0, 0))
        return Derivatives(np.ascontiguousarray(value), *[nothing] * 7)
    profile = kernel.profile(s, u, v)
    return Derivatives(
        *(np.ascontiguousarray(np.broadcast_to(f, s.shape)) for f in vars(profile).values())
    )


def _mirror(matrix, size=1024):
    """Copy the lower triangle to the upper one, block by block."""
    for i in range(0, len(matrix), size):
        rows = slice(i, i + size)
        for j in range(0, i, size):
            matrix[j : j + size, rows] = matrix[rows, j : j + size].T
        block = matrix[rows, rows]
        block[:] = np.tril(block) + np.tril(block, -1).T
