"""Derivatives of atomic features by finite differences."""

import numpy as np

from skatom import Structures


def cotangent_for(features):
    return np.random.default_rng(0).normal(size=features.values.shape)


def slopes_of_displacements(features, cotangent, transform=None):
    """dE/dR (n_atoms, 3) of E = Σ cotangent · values.

    ``transform`` makes the features of other structures. None: that of their descriptor does.
    """

    def displace(atom, axis):
        def change(step, x):
            positions = x.positions.copy()
            positions[atom, axis] += step
            return positions, x.cells

        return change

    n_atoms = len(features.structures.numbers)
    changes = [displace(atom, axis) for atom in range(n_atoms) for axis in range(3)]
    return _slopes(features, cotangent, changes, transform).sum(axis=1).reshape(n_atoms, 3)


def slopes_of_strains(features, cotangent, transform=None):
    """dE/dε (n, 3, 3) of the energy E = Σ cotangent · values of each structure."""

    def strain(a, b):
        def change(step, x):
            matrix = np.eye(3)
            matrix[a, b] += step
            return x.positions @ matrix.T, x.cells @ matrix.T

        return change

    changes = [strain(a, b) for a in range(3) for b in range(3)]
    return _slopes(features, cotangent, changes, transform).T.reshape(-1, 3, 3)


def _slopes(features, cotangent, changes, transform):
    """Slopes (n_changes, n) of E = Σ cotangent · values of each structure, to fourth order.

    Each change is a function (step, structures) -> positions, cells.
    """
    x, step = features.structures, 1e-4
    copies = [change(k * step, x) for change in changes for k in (-2, -1, 1, 2)]
    n = len(copies)
    starts = np.arange(n)[:, None] * len(x.numbers) + x.offsets[:-1]
    moved = Structures(
        np.tile(x.numbers, n),
        np.concatenate([positions for positions, _ in copies]),
        np.append(starts, n * len(x.numbers)),
        np.concatenate([cells for _, cells in copies]),
        np.tile(x.pbc, (n, 1)),
    )
    transform = features.descriptor.transform if transform is None else transform
    values = transform(moved).values.reshape(n, *cotangent.shape)
    e = np.einsum("nrf,rf->nr", values, cotangent)
    if len(cotangent) != len(x):  # rows are atoms
        e = np.add.reduceat(e, x.offsets[:-1], axis=1)
    e = e.reshape(len(changes), 4, len(x))
    return (8 * (e[:, 2] - e[:, 1]) - (e[:, 3] - e[:, 0])) / (12 * step)
