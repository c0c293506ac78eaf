"""Cross-validation of sparse Gaussian processes over their noises, with rows that are made once.

The rows of the design matrix do not depend on the noises; these only weigh them. So the rows of all
structures are made once for a descriptor, those of the forces in each fold are reduced to their
triangle, and a fit with other noises is a factorisation of a few triangles: as accurate as a fit
from the beginning, and a hundred times faster.
"""

import io
import itertools
import lzma

import ase.io
import numpy as np
from scipy.linalg import block_diag, solve_triangular
from sklearn.model_selection import StratifiedKFold

from skatom.models._sparse_rows import all_derivative_rows, energy_rows, neighbors_of
from skatom.parallel import serial_blas

FOLDS = 5
# An error of forces weighs as much as that of energies when an atom moves so far, Å.
DISPLACEMENT = 0.03
_BATCH = 4


def groups_of(path):
    """The kind of each structure of an extended XYZ file; in that of Ni, AIMD has no name."""
    with lzma.open(path, "rt") as file:
        text = io.StringIO(file.read())  # ASE seeks, which is slow in compressed files
    images = ase.io.read(text, index=":", format="extxyz")
    return np.array([str(image.info.get("group", "AIMD")) for image in images])


class FoldedRows:
    """Rows of energies and forces of a model that has its representatives, but is not fitted.

    Representatives come from all structures: their choice sees no label.

    Parameters
    ----------
    model : SparseGaussianProcess
        With ``terms``.
    structures, targets : Structures and Targets
        With energies and forces throughout.
    groups : array-like of str
        The kinds of the structures, which are spread evenly over the folds.
    """

    def __init__(self, model, structures, targets, groups):
        self.groups = np.asarray(groups)
        self.observed = model._start(structures, structures, targets, None)
        self.n_atoms = structures.n_atoms
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        self.fold = np.empty(len(structures), int)
        for k, (_, left_out) in enumerate(folds.split(groups, groups)):
            self.fold[left_out] = k
        self.fold_of_force = np.repeat(self.fold, 3 * self.n_atoms)
        self.prior = block_diag(*(factor.T for factor in model.prior_factors_))
        with serial_blas():
            self.energies, self.forces = _rows(model, structures)
            self.triangles = [self._triangle(k) for k in range(FOLDS)]

    def _triangle(self, k):
        mine = self.fold_of_force == k
        rows = np.column_stack([self.forces[mine], self.observed.forces.ravel()[mine]])
        return np.linalg.qr(rows, mode="r")

    def errors(self, sigma_energy, sigma_forces):
        """MAE of energies (eV/atom) and forces (eV/Å) of structures that were left out.

        ``sigma_energy`` is a number, or a dict of numbers by group.
        """
        if isinstance(sigma_energy, dict):
            sigma_energy = np.array([sigma_energy[group] for group in self.groups])
        sigma_energy = sigma_energy * np.sqrt(self.n_atoms)
        energy, force = np.empty(len(self.fold)), np.empty(len(self.forces))
        for k in range(FOLDS):
            with serial_blas():
                coef = self._fit_without(k, sigma_energy, sigma_forces)
            mine, of_force = self.fold == k, self.fold_of_force == k
            energy[mine] = self.energies[mine] @ coef - self.observed.energy[mine]
            force[of_force] = self.forces[of_force] @ coef
        force -= self.observed.forces.ravel()
        return float(np.abs(energy / self.n_atoms).mean()), float(np.abs(force).mean())

    def _fit_without(self, k, sigma_energy, sigma_forces):
        kept = self.fold != k
        rows = np.column_stack([self.energies[kept], self.observed.energy[kept]])
        n = len(self.prior)
        stack = [
            np.column_stack([self.prior, np.zeros(n)]),
            rows / sigma_energy[kept, None],
        ]
        stack += [t / sigma_forces for j, t in enumerate(self.triangles) if j != k]
        triangle = np.linalg.qr(np.concatenate(stack), mode="r")
        return solve_triangular(triangle[:n, :n], triangle[:n, n])


def _rows(model, structures):
    """Rows of energies (n, M) and forces (3 n_atoms, M), not weighted."""
    n_columns = model.solver_.n_columns
    energies = np.empty((len(structures), n_columns))
    forces = np.empty((3 * len(structures.numbers), n_columns))
    for start in range(0, len(structures), _BATCH):
        batch = slice(start, min(start + _BATCH, len(structures)))
        features = model._features(None, structures, batch)
        energies[batch] = energy_rows(model.blocks_, features, n_columns)
        pairs = neighbors_of(features)
        for s in range(batch.start, batch.stop):
            derived, _ = all_derivative_rows(
                model.blocks_, features, pairs, s - start, strained=False
            )
            own = slice(*(3 * structures.offsets[s : s + 2]))
            forces[own] = derived.reshape(-1, n_columns)
    return energies, forces


def search(make_model, data, settings, stages, noises, name):
    """The best settings, one stage after the other.

    Parameters
    ----------
    make_model : callable
        A model for a dict of settings and a number of representatives.
    data : tuple
        Structures, Targets and groups of the training part.
    settings : dict
        Those to begin with.
    stages : list of (dict of lists, int)
        Values to combine, and the number of representatives to try them with.
    noises : dict of lists
        Values of sigma_energy and sigma_forces, all of them tried with every combination.
    name : str
        Printed with each result.

    Returns
    -------
    dict
    """
    for grid, n_sparse in stages:
        found = []
        for values in itertools.product(*grid.values()):
            tried = dict(zip(grid, values, strict=True))
            rows = FoldedRows(make_model(settings | tried, n_sparse), *data)
            score, errors, noise = _best_noise(rows, noises)
            found.append((score, tried | noise))
            print(
                f"  {name}, M = {n_sparse}: {tried | noise}: {1e3 * errors[0]:.3f} meV/atom, "
                f"{errors[1]:.4f} eV/Å",
                flush=True,
            )
        settings = settings | min(found, key=lambda pair: pair[0])[1]
    return settings


def _best_noise(rows, noises):
    """The best score, its errors, and the noises that give it."""
    found = []
    for values in itertools.product(*noises.values()):
        noise = dict(zip(noises, values, strict=True))
        found.append((*_score(rows, noise), noise))
    return min(found, key=lambda one: one[0])


def _score(rows, noise):
    energy, force = rows.errors(**noise)
    return energy + DISPLACEMENT * force, (energy, force)


def search_groups(model, data, settings, factors, name):
    """Settings with a noise of energies for each group, changed one after the other.

    What a model of finite cutoff and few representatives cannot express is larger for a surface or
    a melt than for a strained crystal.

    Parameters
    ----------
    model : SparseGaussianProcess
    data : tuple
        Structures, Targets and groups of the training part.
    settings : dict
    factors : list of float
        By which the noise of a group may be multiplied.
    name : str
        Printed with the result.

    Returns
    -------
    dict
    """
    rows, names = FoldedRows(model, *data), np.unique(data[2]).tolist()
    noise = {key: settings[key] for key in ("sigma_energy", "sigma_forces")}
    noise["sigma_energy"] = dict.fromkeys(names, noise["sigma_energy"])
    best, errors = _score(rows, noise)
    for group in names:
        start = noise["sigma_energy"]
        for factor in factors:
            tried = noise | {"sigma_energy": start | {group: factor * start[group]}}
            score, of_tried = _score(rows, tried)
            if score < best:
                best, errors, noise = score, of_tried, tried
    print(f"  {name}: {noise}: {1e3 * errors[0]:.3f} meV/atom, {errors[1]:.4f} eV/Å", flush=True)
    return settings | noise
