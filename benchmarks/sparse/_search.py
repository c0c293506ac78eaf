"""Cross-validation of sparse Gaussian processes over their noises, with rows that are made once.

The rows of the design matrix do not depend on the noises; these only weigh them. So the rows of all
structures are made once for a descriptor, those of the forces in each fold are reduced to their
triangle, and a fit with other noises is a factorisation of a few triangles: as accurate as a fit
from the beginning, in seconds.
"""

import io
import itertools
import lzma
import warnings

import ase.io
import numpy as np
from scipy.linalg import solve_triangular
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state

from skatom import Structures, Targets
from skatom.baseline import fit_baseline, less_baseline
from skatom.models.sparse.fitting import features_of, representative_blocks, start_solver
from skatom.models.sparse.rows import all_derivative_rows, energy_rows, with_neighbors
from skatom.models.sparse.terms import named_terms
from skatom.parallel import serial_blas

FOLDS = 5
_BATCH = 4


def read_grouped(path):
    """Structures, Targets and the kind of each structure; in the file of Ni, AIMD has no name."""
    with lzma.open(path, "rt") as file:
        text = io.StringIO(file.read())  # ASE seeks, which is slow in compressed files
    images = ase.io.read(text, index=":", format="extxyz")
    groups = np.array([str(image.info.get("group", "AIMD")) for image in images])
    return Structures.from_ase(images), Targets.from_ase(images), groups


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
        baseline = fit_baseline(model.baseline, structures, targets)
        self.observed = less_baseline(targets, structures, baseline)
        self.n_atoms = structures.n_atoms
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        self.fold = np.empty(len(structures), int)
        with warnings.catch_warnings():
            # a group of fewer structures than folds is in some of these only
            warnings.filterwarnings("ignore", message="The least populated class")
            for k, (_, left_out) in enumerate(folds.split(groups, groups)):
                self.fold[left_out] = k
        self.fold_of_force = np.repeat(self.fold, 3 * self.n_atoms)
        terms = named_terms(model.terms)
        descriptors = [clone(term.descriptor).fit(structures) for term in terms]
        blocks = representative_blocks(
            structures, descriptors, terms, model.selection, model.n_candidates,
            check_random_state(model.random_state),
        )  # fmt: skip
        solver, _ = start_solver(blocks)
        self.prior = solver.triangle  # nothing else was taken yet
        with serial_blas():
            self.energies, self.forces = _rows(blocks, descriptors, solver.n_columns, structures)
            self.triangles = [self._triangle(k) for k in range(FOLDS)]

    def _triangle(self, k):
        mine = self.fold_of_force == k
        rows = np.column_stack([self.forces[mine], self.observed.forces.ravel()[mine]])
        return np.linalg.qr(rows, mode="r")

    def errors(self, noise_energy, noise_forces):
        """MAE of energies (eV/atom) and forces (eV/Å) of structures that were left out.

        ``noise_energy`` is a number, or a dict of numbers by group.
        """
        if isinstance(noise_energy, dict):
            noise_energy = np.array([noise_energy[group] for group in self.groups])
        noise_energy = noise_energy * np.sqrt(self.n_atoms)
        energy, force = np.empty(len(self.fold)), np.empty(len(self.forces))
        for k in range(FOLDS):
            with serial_blas():
                coef = self._fit_without(k, noise_energy, noise_forces)
            mine, of_force = self.fold == k, self.fold_of_force == k
            energy[mine] = self.energies[mine] @ coef - self.observed.energy[mine]
            force[of_force] = self.forces[of_force] @ coef
        force -= self.observed.forces.ravel()
        return float(np.abs(energy / self.n_atoms).mean()), float(np.abs(force).mean())

    def _fit_without(self, k, noise_energy, noise_forces):
        kept = self.fold != k
        rows = np.column_stack([self.energies[kept], self.observed.energy[kept]])
        n = len(self.prior)
        stack = [
            np.column_stack([self.prior, np.zeros(n)]),
            rows / noise_energy[kept, None],
        ]
        stack += [t / noise_forces for j, t in enumerate(self.triangles) if j != k]
        triangle = np.linalg.qr(np.concatenate(stack), mode="r")
        return solve_triangular(triangle[:n, :n], triangle[:n, n])


def _rows(blocks, descriptors, n_columns, structures):
    """Rows of energies (n, M) and forces (3 n_atoms, M), not weighted."""
    energies = np.empty((len(structures), n_columns))
    forces = np.empty((3 * len(structures.numbers), n_columns))
    for start in range(0, len(structures), _BATCH):
        batch = slice(start, min(start + _BATCH, len(structures)))
        features = features_of(descriptors, structures, batch)
        energies[batch] = energy_rows(blocks, features, n_columns)
        features = with_neighbors(features)
        for s in range(batch.start, batch.stop):
            derived, _ = all_derivative_rows(blocks, features, s - start, strained=False)
            own = slice(*(3 * structures.offsets[s : s + 2]))
            forces[own] = derived.reshape(-1, n_columns)
    return energies, forces


def search(make_model, data, settings, stages, noises, displacement, name):
    """The best settings of a descriptor, one stage after the other.

    Parameters
    ----------
    make_model : callable
        A model for a dict of settings.
    data : tuple
        Structures, Targets and groups.
    settings : dict
        Those to begin with.
    stages : list of dict of lists
        Values to combine.
    noises : dict of lists
        Values of noise_energy and noise_forces, all of them tried with every combination.
    displacement : float
        How an error of forces is weighed against one of energies, Å.
    name : str
        Printed with each result.

    Returns
    -------
    dict
    """
    for grid in stages:
        found = []
        for values in itertools.product(*grid.values()):
            tried = dict(zip(grid, values, strict=True))
            rows = FoldedRows(make_model(settings | tried), *data)
            score, errors, noise = _best_noise(rows, noises, displacement)
            found.append((score, tried | noise))
            _report(name, tried | noise, errors)
        settings = settings | min(found, key=lambda pair: pair[0])[1]
    return settings


def search_noises(model, data, settings, noises, factors, displacement, name):
    """Settings with the best noise of forces, and of energies for each group.

    What a model of finite cutoff and few representatives cannot express is larger for a surface or
    a melt than for a strained crystal. So the noise of each group is multiplied in turn by each of
    the ``factors``. Other parameters are those of `search`.

    Returns
    -------
    dict
    """
    rows, names = FoldedRows(model, *data), np.unique(data[2]).tolist()
    best, errors, noise = _best_noise(rows, noises, displacement)
    _report(name, noise, errors)
    noise["noise_energy"] = dict.fromkeys(names, noise["noise_energy"])
    for group in names:
        start = noise["noise_energy"]
        for factor in factors:
            tried = noise | {"noise_energy": start | {group: factor * start[group]}}
            score, of_tried = _score(rows, tried, displacement)
            if score < best:
                best, errors, noise = score, of_tried, tried
    _report(name, noise, errors)
    return settings | noise


def _best_noise(rows, noises, displacement):
    """The best score, its errors, and the noises that give it."""
    found = []
    for values in itertools.product(*noises.values()):
        noise = dict(zip(noises, values, strict=True))
        found.append((*_score(rows, noise, displacement), noise))
    return min(found, key=lambda one: one[0])


def _score(rows, noise, displacement):
    energy, force = rows.errors(**noise)
    return energy + displacement * force, (energy, force)


def _report(name, settings, errors):
    print(f"  {name}: {settings}: {1e3 * errors[0]:.3f} meV/atom, {errors[1]:.4f} eV/Å", flush=True)
