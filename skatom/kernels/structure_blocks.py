"""Covariances under a function of sums over atoms, by the chain rule.

With the covariances s of energies and derivatives under the sum, u and v those of a structure with
itself, and the function φ(s, u, v) of their energies, the derivatives of φ are

    ∂φ = φ_s ∂s + φ_u ∂u
    ∂∂'φ = φ_s ∂∂'s + φ_ss ∂s ∂'s + φ_su ∂u ∂'s + φ_sv ∂s ∂'v + φ_uv ∂u ∂'v

The signs of forces and virials are those of s, u and v.
"""

import numpy as np

from skatom.kernels.blocks import block, layout


def composed_block(kernel, rows, columns, row_layout, column_layout, piece, group):
    """Covariances of some structures with others, see `skatom.kernels.blocks.block`.

    Parameters
    ----------
    kernel : StructureKernel
    rows, columns : Environments
    row_layout, column_layout : Layout
    piece, group : tuple of int

    Returns
    -------
    ndarray of float
    """
    sides = _AllRows(rows, piece), _AllRows(columns, group)
    x, y = sides
    s = block(
        kernel.kernel, rows, columns, x.layout, y.layout, piece, group, False,
        kernel.factors(rows.values),
    )  # fmt: skip
    s *= kernel.scales(rows.features)[x.structures][:, None]
    s *= kernel.scales(columns.features)[y.structures]
    if kernel.normalize or kernel.zeta != 1:
        u, v = (own_covariances(kernel, side.environments)[side.rows] for side in sides)
        s = _composed(kernel.function, s, u, v, x, y)
    return s[np.ix_(x.kept(row_layout), y.kept(column_layout))]


def own_covariances(kernel, environments):
    """The kernel of each structure with itself, and its derivatives, shape (n_rows,).

    Parameters
    ----------
    kernel : StructureKernel
    environments : Environments

    Returns
    -------
    ndarray of float
        Of each structure the value, then the derivatives with the opposite sign.
    """

    def make():
        energies = environments.whole.without_derivatives()
        factors = kernel.factors(environments.values)
        full, alone = (
            layout(e.n_dof, np.ones(len(e.n_dof), bool)) for e in (environments, energies)
        )
        parts = [np.empty(0)]
        for s, scale in enumerate(kernel.scales(environments.features)):
            part = block(
                kernel.kernel, environments.whole, energies, full, alone, *[(s, s + 1)] * 2, False,
                factors,
            )[:, 0]  # fmt: skip
            part[1:] *= 2  # both sides of the kernel move
            parts.append(scale**2 * part)
        return np.concatenate(parts)

    return environments.whole.once(kernel, make)


class _AllRows:
    """The rows of some structures, each with its energy whether it is wanted or not."""

    def __init__(self, environments, piece):
        self.environments = environments
        self.piece = piece
        self.layout = layout(environments.n_dof, np.ones(len(environments.n_dof), bool))
        part = self.layout.part(*piece)
        self.energies = part.starts[:-1]
        counts = np.diff(part.starts)
        self.place = np.repeat(np.arange(len(counts)), counts)
        self.structures = piece[0] + self.place
        self.rows = slice(*self.layout.starts[[*piece]])

    def kept(self, wanted):
        """The rows that a layout has."""
        dropped = self.energies[~wanted.has_energy[slice(*self.piece)]]
        return np.delete(np.arange(len(self.place)), dropped)


def _composed(function, s, u, v, x, y):
    between, own_x, own_y = s[np.ix_(x.energies, y.energies)], u[x.energies], v[y.energies]
    if len(x.energies) == len(u) and len(y.energies) == len(v):
        return function.value(between, own_x[:, None], own_y)
    profile = vars(function.profile(between, own_x[:, None], own_y))
    of_pairs = {name: np.broadcast_to(f, between.shape) for name, f in profile.items()}

    def of(name, rows=slice(None), columns=slice(None)):
        return of_pairs[name][x.place[rows]][:, y.place[columns]]

    to_y, to_x = s[:, y.energies[y.place]], s[x.energies[x.place]]
    u, rows, columns = u[:, None], x.energies, y.energies
    out = of("s") * s  # one function at a time: all would take many times as much memory
    out += of("ss") * to_y * to_x
    out += of("su") * u * to_x
    out += of("sv") * to_y * v
    out += of("uv") * u * v
    out[rows] = of("s", rows) * s[rows] + of("v", rows) * v
    out[:, columns] = of("s", columns=columns) * s[:, columns] + of("u", columns=columns) * u
    out[np.ix_(rows, columns)] = of_pairs["value"]
    return out
