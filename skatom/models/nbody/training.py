"""What a Gaussian process with an n-body kernel has observed: its values, noise and rows."""

import numpy as np


def observations(labels, atoms):
    """Energies, forces on some atoms and virials, one after the other, and their noise.

    Parameters
    ----------
    labels : Labels
    atoms : ndarray of int
        The atoms of the batch whose forces are learnt.

    Returns
    -------
    values : ndarray of float, shape (n,)
    scales : ndarray of float, shape (n, 3)
        Standard deviations of the noise of energies, of forces and of virials, one column each.
    """
    parts = [
        labels.energy[labels.has_energy], labels.forces[atoms].ravel(),
        labels.virial[labels.has_virial].ravel(),
    ]  # fmt: skip
    noises = [
        labels.noise_energy[labels.has_energy], np.repeat(labels.noise_forces[atoms], 3),
        np.repeat(labels.noise_virial[labels.has_virial], 6),
    ]  # fmt: skip
    values = np.concatenate(parts)
    kinds = np.repeat(np.arange(3), [len(part) for part in parts])
    scales = np.zeros((len(values), 3))
    scales[np.arange(len(values)), kinds] = np.concatenate(noises)
    return values, scales


def by_kind(values, labels, atoms):
    """Observations by the name of their property, in the units of the noise.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        Values of energies, forces on some atoms and virials, one after the other.
    labels : Labels
    atoms : ndarray of int
        The atoms of the batch whose forces are learnt.

    Returns
    -------
    dict of str to ndarray
        Energies and virials divided by √N.
    """
    roots = np.sqrt(np.diff(labels.offsets))
    n_energies, n_forces = labels.has_energy.sum(), 3 * len(atoms)
    energies, forces, virials = np.split(values, [n_energies, n_energies + n_forces])
    found = {
        "energy": energies / roots[labels.has_energy],
        "forces": forces,
        "stress": virials / np.repeat(roots[labels.has_virial], 6),
    }
    return {name: of_kind for name, of_kind in found.items() if len(of_kind)}


class TrainingRows:
    """The rows of the training set: energies, then forces, then virials.

    Parameters
    ----------
    kernel : NBodyKernel
    structures : Structures
    labels : Labels
    environments : ndarray of int
        The atoms of the batch whose forces are learnt.

    Attributes
    ----------
    rows : list of rows of the kernel
    noise : ndarray of float, shape (n,)
        Standard deviation of the noise of each observation, which the process determines.
    """

    def __init__(self, kernel, structures, labels, environments):
        self.rows, self.noise = [], None
        if labels.has_energy.any():
            self.rows.append(kernel.rows(structures[labels.has_energy], "energy"))
        if len(environments):
            owners = np.repeat(np.arange(len(structures)), structures.n_atoms)[environments]
            used = np.unique(owners)
            batch = structures[used]
            atoms = environments - structures.offsets[owners]
            atoms += batch.offsets[np.searchsorted(used, owners)]
            self.rows.append(kernel.rows(batch, "forces", atoms))
        if labels.has_virial.any():
            self.rows.append(kernel.rows(structures[labels.has_virial], "virial"))

    def covariance(self, kernel):
        """K, shape (n_observations, n_observations)."""
        return kernel.cross(self.rows)

    def cross(self, kernel, rows):
        """The kernel between other rows and these."""
        return kernel.cross([rows], self.rows)

    def of_term(self, k):
        """The rows of one term of a sum of kernels."""
        return [rows[k] if isinstance(rows, tuple) else rows for rows in self.rows]

    def weighted(self, k, alpha):
        """The rows of a term, and the coefficients of each of their groups."""
        rows = self.of_term(k)
        edges = np.cumsum([block.n_groups * block.n_rows for block in rows])[:-1]
        return rows, [
            part.reshape(block.n_groups, block.n_rows)
            for block, part in zip(rows, np.split(alpha, edges), strict=True)
        ]
