"""Rows of a sparse Gaussian process in folds, made once for all noises that are tried."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from skatom.baseline import fit_baseline
from skatom.memory import check_memory
from skatom.models._labels import Labels, check_labels
from skatom.models.sparse.fitting import features_of, representative_blocks, start_solver
from skatom.models.sparse.rows import all_derivative_rows, energy_rows, with_neighbors
from skatom.models.sparse.terms import named_terms
from skatom.parallel import threads_over_blas, tree_reduce
from skatom.solvers import StreamedQR
from skatom.structures import as_structures
from skatom.targets import as_targets

NOISES = ("noise_energy", "noise_forces", "noise_virial")
# Rows of forces that are kept to compute the errors of structures that were left out.
_KEPT_ROWS = 20_000
# Structures whose features are computed at once.
_BATCH = 4


class FoldedRows:
    r"""The least-squares problem of a sparse Gaussian process, in folds.

    .. math:: \alpha_k = \arg\min_\alpha \alpha^\top K_{MM}\, \alpha
        + \sum_{j \neq k} \sum_t f_t^{-2} \big|\Lambda_t^{-1/2} (A_{jt} \alpha - y_{jt})\big|^2

    The rows A of a kind t of labels (energies, forces, virials) do not depend on their noise Λ,
    which only weighs them. So all rows are made once, with the noises of the model; those of the
    forces and virials in a fold are reduced to their triangle. A fit without fold k, and with
    noises multiplied by factors f, is then a factorisation of a few triangles.

    Representatives are chosen from all structures: their choice sees no label.

    Parameters
    ----------
    model : SparseGaussianProcess
        With ``terms``; it need not be fitted.
    structures : Structures
    targets : Targets
    fold : ndarray of int, shape (n,)
        The fold of each structure, counted from 0.
    configurations : array-like of str, shape (n,), default=None
        For noises of the model given as dicts.
    """

    def __init__(self, model, structures, targets, fold, configurations=None):
        structures = as_structures(structures)
        targets = as_targets(targets, structures)
        check_labels(targets, model.learns, type(model).__name__)
        self.fold, self.n_atoms = np.asarray(fold), structures.n_atoms
        self.n_folds = int(self.fold.max()) + 1
        noise = {name: getattr(model, name) for name in NOISES}
        baseline = fit_baseline(model.baseline, structures, targets)
        self.labels = Labels.of(structures, targets, baseline, noise, configurations)
        terms = named_terms(model.terms)
        self._descriptors = [clone(term.descriptor).fit(structures) for term in terms]
        self._blocks = representative_blocks(
            structures, self._descriptors, terms, model.selection, model.n_candidates,
            check_random_state(model.random_state),
        )  # fmt: skip
        self.prior, _ = start_solver(self._blocks, model.max_memory)
        self._make_rows(structures, model.max_memory)

    def _make_rows(self, structures, max_memory):
        n_columns = self.prior.n_columns
        self._stride = max(1, int(np.ceil(3 * len(structures.numbers) / _KEPT_ROWS)))
        check_memory(
            8.0 * n_columns * (4 * self.n_folds * n_columns + len(structures) + _KEPT_ROWS),
            f"cross-validation with {n_columns} representative environments",
            "reduce n_sparse", max_memory,
        )  # fmt: skip
        self.energies = np.empty((len(structures), n_columns))
        kept, parts = [], [[] for _ in range(self.n_folds)]
        pieces = [piece for k in range(self.n_folds) for piece in self._pieces(k)]
        with threads_over_blas() as team:
            made = team.map(lambda piece: self._rows_of(structures, piece), pieces)
            for piece, (energies, triangles, some) in zip(pieces, made, strict=True):
                self.energies[piece] = energies
                parts[self.fold[piece[0]]].append(triangles)
                kept += some
            folds = [self._summed(part) for part in parts]
            others = [
                [folds[j] for j in range(self.n_folds) if j != k] for k in range(self.n_folds)
            ]
            self._others = list(team.map(self._summed, others))
        self.atoms_kept, self.rows_kept, self.forces_kept = map(
            np.concatenate, zip(*kept, strict=True)
        )

    def _pieces(self, k):
        """The structures of a fold in pieces of more rows of forces than columns, mostly."""
        mine = np.flatnonzero(self.fold == k)
        filled = np.cumsum(3 * self.n_atoms[mine]) // (2 * self.prior.n_columns)
        edges = np.flatnonzero(np.diff(filled)) + 1
        return [piece for piece in np.split(mine, edges) if len(piece)]

    def _rows_of(self, structures, piece):
        """Rows of energies, the triangles of forces and virials, and rows of forces to keep."""
        energies, forces, virials, kept = [], [], [], []
        for start in range(0, len(piece), _BATCH):
            batch = piece[start : start + _BATCH]
            features = features_of(self._descriptors, structures, batch)
            features = [of_term.to("cpu") for of_term in features]
            energies.append(energy_rows(self._blocks, features, self.prior.n_columns))
            features = with_neighbors(features)
            for place, s in enumerate(batch):
                if not self.labels.has_forces[s] and not self.labels.has_virial[s]:
                    continue
                of_forces, of_virial = all_derivative_rows(
                    self._blocks, features, place, self.labels.has_virial[s]
                )
                if self.labels.has_forces[s]:
                    forces.append(self._weighted_forces(of_forces, s, kept))
                if self.labels.has_virial[s]:
                    noise = self.labels.noise_virial[s]
                    virials.append((of_virial / noise, self.labels.virial[s] / noise))
        return np.concatenate(energies), [self._triangle(forces), self._triangle(virials)], kept

    def _weighted_forces(self, rows, s, kept):
        """Rows and labels of a structure's forces; some are kept as they are."""
        atoms = np.arange(*self.labels.offsets[s : s + 2])
        rows, labels = rows.reshape(3 * len(atoms), -1), self.labels.forces[atoms].ravel()
        of_row = np.repeat(atoms, 3)
        chosen = (3 * of_row + np.tile(np.arange(3), len(atoms))) % self._stride == 0
        kept.append((of_row[chosen], rows[chosen], labels[chosen]))
        noises = self.labels.noise_forces[of_row]
        return rows / noises[:, None], labels / noises

    def _triangle(self, rows):
        triangle = StreamedQR(self.prior.n_columns)
        if rows:
            triangle.update(*map(np.concatenate, zip(*rows, strict=True)))
        return triangle

    @staticmethod
    def _summed(parts):
        """The triangles of forces and of virials of several parts."""
        return [tree_reduce(list(same), StreamedQR.merge) for same in zip(*parts, strict=True)]

    def predicted(self, factors, energy_factors=1.0):
        """Energies of the structures and forces in the rows kept, each without its fold.

        Parameters
        ----------
        factors : dict
            What ``noise_energy``, ``noise_forces`` and ``noise_virial`` are multiplied by; one
            that is missing is 1, an infinite one leaves the labels out.
        energy_factors : float or ndarray of float, shape (n,), default=1.0
            What the noise of each energy is multiplied by besides.

        Returns
        -------
        energies : ndarray of float, shape (n,), eV
        forces : ndarray of float, eV/Å
        """
        of_energy = self.labels.noise_energy * energy_factors * factors.get("noise_energy", 1.0)
        energies, forces = np.empty(len(self.fold)), np.empty(len(self.rows_kept))
        of_rows = np.repeat(self.fold, self.n_atoms)[self.atoms_kept]
        with threads_over_blas() as team:
            fits = team.map(lambda k: self._without(k, of_energy, factors), range(self.n_folds))
            for k, coef in enumerate(fits):
                mine, of_force = self.fold == k, of_rows == k
                energies[mine] = self.energies[mine] @ coef
                forces[of_force] = self.rows_kept[of_force] @ coef
        return energies, forces

    def _without(self, k, noise_energy, factors):
        """The coefficients of a fit without a fold."""
        kept = (self.fold != k) & self.labels.has_energy & np.isfinite(noise_energy)
        fit = self.prior.copy()
        noise = noise_energy[kept]
        fit.update(self.energies[kept] / noise[:, None], self.labels.energy[kept] / noise)
        for triangle, name in zip(self._others[k], NOISES[1:], strict=True):
            factor = 1 / factors.get(name, 1.0)
            if factor and triangle.n_rows:
                fit.absorb(triangle.scaled(factor))
        return fit.solve()

    def errors(self, factors, energy_factors=1.0):
        """Mean absolute errors of structures that were left out; see `predicted`.

        Returns
        -------
        energy : float, eV per atom
            Zero if no structure has an energy, as that of the forces.
        forces : float, eV/Å
        """
        energies, forces = self.predicted(factors, energy_factors)
        has = self.labels.has_energy
        energy = np.abs((energies - self.labels.energy) / self.n_atoms)[has]
        force = np.abs(forces - self.forces_kept)
        return tuple(float(error.mean()) if len(error) else 0.0 for error in (energy, force))
