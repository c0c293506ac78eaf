"""A small model with analytic forces and stress, to test what takes any model."""

import numpy as np
from ase.neighborlist import neighbor_list

from skatom.base import BaseEstimator
from skatom.structures import as_structures
from skatom.targets import as_targets


class PairPotential(BaseEstimator):
    """Least-squares pair potential.

    E = Σ_k w_k Σ_pairs (1 - (r/cutoff)²)³ r^-k, for k in ``powers``.
    """

    def __init__(self, cutoff=4.0, powers=(3, 6, 9)):
        self.cutoff = cutoff
        self.powers = powers

    def fit(self, X, y):
        structures = as_structures(X)
        energies = as_targets(y, structures).require("energy")
        features = [self._sums(atoms)[0] for atoms in structures.to_ase()]
        self.coef_ = np.linalg.lstsq(np.array(features), energies, rcond=None)[0]
        return self

    def predict(self, X, return_forces=False, return_stress=False):
        sums = [self._sums(atoms) for atoms in as_structures(X).to_ase()]
        answer = [np.array([energy @ self.coef_ for energy, _, _ in sums])]
        if return_forces:
            answer.append(np.concatenate([forces @ self.coef_ for _, forces, _ in sums]))
        if return_stress:
            answer.append(np.array([stress @ self.coef_ for _, _, stress in sums]))
        return tuple(answer) if len(answer) > 1 else answer[0]

    def _sums(self, atoms):
        """Energy (k,), forces (N, 3, k) and stress (3, 3, k) of each basis function."""
        i, distances, vectors = neighbor_list("idD", atoms, self.cutoff)
        r, powers = distances[:, None], np.array(self.powers)
        window = 1.0 - (r / self.cutoff) ** 2
        values = window**3 * r**-powers
        slopes = values * (-6.0 * r / self.cutoff**2 / window - powers / r)
        gradients = vectors[:, :, None] / distances[:, None, None] * slopes[:, None, :]
        forces = np.zeros((len(atoms), 3, len(powers)))
        np.add.at(forces, i, gradients)
        virial = 0.5 * np.einsum("px,pyk->xyk", vectors, gradients)
        volume = atoms.get_volume() if atoms.cell.rank == 3 else np.inf
        return 0.5 * values.sum(axis=0), forces, virial / volume


def binding_pair_potential():
    """A fitted pair potential whose dimer is bound by 0.09 eV at 1.8 Å, made without data."""
    model = PairPotential()
    model.coef_ = np.array([0.0, -20.0, 80.0])
    return model
