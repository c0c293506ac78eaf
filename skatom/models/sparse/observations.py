"""What a sparse Gaussian process learns from: labels less their baseline, and their noise."""

from dataclasses import dataclass
from numbers import Real

import numpy as np

from skatom.models.sparse.rows import voigt


@dataclass(frozen=True)
class Observations:
    """Labels of a batch of structures and the standard deviations of their noise.

    Attributes
    ----------
    energy, sigma_energy : ndarray of float, shape (n,)
    forces : ndarray of float, shape (n_atoms, 3)
    sigma_forces : ndarray of float, shape (n_atoms,)
    virial : ndarray of float, shape (n, 6)
        dE/dε, in Voigt's order.
    sigma_virial : ndarray of float, shape (n,)
    has_energy, has_forces, has_virial : ndarray of bool, shape (n,)
    offsets : ndarray of int, shape (n + 1,)
    """

    energy: np.ndarray
    sigma_energy: np.ndarray
    forces: np.ndarray
    sigma_forces: np.ndarray
    virial: np.ndarray
    sigma_virial: np.ndarray
    has_energy: np.ndarray
    has_forces: np.ndarray
    has_virial: np.ndarray
    offsets: np.ndarray

    def of_structure(self, s):
        """The labels that a structure has, energy, forces, virial, and their noise."""
        atoms = slice(*self.offsets[s : s + 2])
        labels, sigmas = [], []
        if self.has_energy[s]:
            labels.append([self.energy[s]])
            sigmas.append([self.sigma_energy[s]])
        if self.has_forces[s]:
            labels.append(self.forces[atoms].ravel())
            sigmas.append(np.repeat(self.sigma_forces[atoms], 3))
        if self.has_virial[s]:
            labels.append(self.virial[s])
            sigmas.append(np.full(6, self.sigma_virial[s]))
        if not labels:
            return np.empty(0), np.empty(0)
        return np.concatenate(labels), np.concatenate(sigmas)


def observe(structures, targets, baseline, sigmas, configurations):
    """Take the baseline off the labels and give each its noise.

    Parameters
    ----------
    structures : Structures
    targets : Targets
    baseline : tuple of ndarray
        Its energies (n,), forces (n_atoms, 3) and dE/dε (n, 3, 3).
    sigmas : dict
        Of "energy", "forces" and "virial", see `_resolve`.
    configurations : array-like of shape (n,), default=None
        Names of the groups that the structures belong to.

    Returns
    -------
    Observations
    """
    n, n_atoms = len(structures), len(structures.numbers)
    energy, forces, virial = baseline
    has = {name: targets.labelled(name) for name in ("energy", "forces", "stress")}
    flat = np.flatnonzero(has["stress"] & ~structures.pbc.all(axis=1))
    if len(flat):
        raise ValueError(
            f"structure {flat[0]} has a stress but is not periodic in three directions: make its "
            "stress NaN throughout (not labelled), or set pbc=True and a cell"
        )
    root = np.sqrt(structures.n_atoms)
    sigma = {
        name: _resolve(f"sigma_{name}", value, structures, configurations, has[label])
        for (name, value), label in zip(sigmas.items(), has, strict=True)
    }
    found = {
        "energy": np.full(n, np.nan) if targets.energy is None else targets.energy - energy,
        "forces": np.full((n_atoms, 3), np.nan)
        if targets.forces is None
        else targets.forces - forces,
        "virial": np.full((n, 6), np.nan),
    }
    if targets.stress is not None:
        volumes = np.abs(np.linalg.det(structures.cells))
        found["virial"] = voigt(targets.stress * volumes[:, None, None] - virial)
    return Observations(
        found["energy"], sigma["energy"] * root,
        found["forces"], sigma["forces"],
        found["virial"], sigma["virial"] * root,
        has["energy"], has["forces"], has["stress"], structures.offsets,
    )  # fmt: skip


def _resolve(name, value, structures, configurations, labelled):
    """Standard deviations of a batch, one for each structure; for forces, for each atom."""
    n, per_atom = len(structures), name == "sigma_forces"
    if isinstance(value, dict):
        of_structure = _of_groups(name, value, configurations, n, labelled)
    elif isinstance(value, Real):
        of_structure = np.full(n, float(value))
    else:
        of_structure = np.asarray(value, float)
    result = of_structure
    if per_atom and of_structure.shape == (n,):
        result = np.repeat(of_structure, structures.n_atoms)
    expected = (len(structures.numbers) if per_atom else n,)
    if result.shape != expected:
        raise ValueError(
            f"{name} has the shape {of_structure.shape}: give a number, a dict of numbers by "
            f"configuration, or one for each structure, ({n},)"
            + (f", or each atom, {expected}" if per_atom else "")
        )
    if not (np.isfinite(result) & (result > 0)).all():
        raise ValueError(
            f"{name} must be positive and finite: labels without noise cannot be weighed against "
            "each other; give a small number such as 1e-4 instead of 0, and make labels that are "
            "to be ignored NaN"
        )
    return result


def _of_groups(name, value, configurations, n, labelled):
    if configurations is None:
        raise ValueError(f"{name} is a dict by configuration: pass fit(..., configurations=names)")
    configurations = np.asarray(configurations)
    if configurations.shape != (n,):
        raise ValueError(
            f"configurations have the shape {configurations.shape}: name one for each of the {n} "
            "structures"
        )
    missing = sorted({str(c) for c in configurations[labelled]} - set(value))
    if missing:
        raise ValueError(f"{name} has no entry for {', '.join(missing)}, only {list(value)}")
    # those that are not labelled need no entry, and their number is never used
    return np.array([value.get(str(c), 1.0) for c in configurations])
