"""Charges of atoms as functions of their features, before the fit and after it."""

import numpy as np
from scipy.linalg import solve_triangular

from skatom.elements import species_index
from skatom.kernels import Polynomial
from skatom.models._environment_expansion import EnvironmentExpansion
from skatom.models.charges.charge_rows import (
    dipole_of_shared_charge,
    masses_of,
    sums_of_atoms,
    without_mean,
)
from skatom.models.neural.electrostatics import with_total
from skatom.models.sparse.fitting import representative_blocks
from skatom.models.sparse.representatives import prior_root
from skatom.models.sparse.terms import Term
from skatom.parallel import serial_blas


class ChargeBasis:
    r"""Functions of the features of each species whose sums are charges.

    They are the features, or :math:`L^{-1} k(Z, x)` for representatives Z with :math:`k(Z, Z) = L
    L^\top`, under which the square of the coefficients is the norm of the kernel; and a constant,
    whose square is the mean of those of the other functions.

    Parameters
    ----------
    X : AtomicFeatures
    weights : ndarray of float, shape (n_atoms,)
        Weights of the atoms in the mean.
    kernel : DotKernel or None
    n_sparse, selection, n_candidates, rng
        See `representative_blocks`.
    """

    def __init__(self, X, weights, kernel, n_sparse, selection, n_candidates, rng):
        self.species, self.kernel = X.structures.species, kernel
        self._blocks, widths = {}, np.full(len(self.species), X.n_features)
        if kernel is not None:
            terms = [Term("", None, kernel, n_sparse)]
            found = representative_blocks(X, None, terms, selection, n_candidates, rng)
            self._blocks = {block.number: block for block in found}
            # of given representatives there may be none of a species
            widths = [
                len(self._blocks[z].vectors) if z in self._blocks else 0 for z in self.species
            ]
        self._roots = {z: prior_root(block) for z, block in self._blocks.items()}
        self._edges = np.append(0, np.cumsum(np.array(widths) + 1))
        self.n_columns = int(self._edges[-1])
        squares = np.sum(X.values**2, axis=1) if kernel is None else kernel.diagonal(X.values)
        self._constant = float(np.sqrt(np.average(squares, weights=weights))) or 1.0

    def functions(self, X):
        """The functions of all atoms, zeros for those of other species, (n_atoms, n_columns)."""
        index = species_index(X.structures, self.species)
        found = np.zeros((len(index), self.n_columns))
        for k, z in enumerate(self.species):
            mine = np.flatnonzero(index == k)
            start, stop = self._edges[k : k + 2]
            found[mine, start : stop - 1] = self._of_species(z, X.values[mine])
            found[mine, stop - 1] = self._constant
        return found

    def _of_species(self, z, x):
        if self.kernel is None:
            return x
        if z not in self._blocks:
            return np.empty((len(x), 0))
        with serial_blas():
            return solve_triangular(self._roots[z], self._blocks[z].values(x).T, lower=True).T

    def expansion(self, coefficients, total_charge):
        """The `ChargeExpansion` of the coefficients of all functions."""
        parts = {
            int(z): coefficients[slice(*self._edges[k : k + 2])] for k, z in enumerate(self.species)
        }
        constants = np.array([self._constant * part[-1] for part in parts.values()])
        if self.kernel is None:
            vectors = {z: part[None, :-1] for z, part in parts.items()}
            weights = {z: np.ones(1) for z in parts}
        else:
            vectors = {z: block.vectors for z, block in self._blocks.items()}
            weights = {
                z: solve_triangular(root.T, parts[z][:-1]) for z, root in self._roots.items()
            }
        expansion = EnvironmentExpansion(self.kernel or Polynomial(), vectors, weights)
        return ChargeExpansion(expansion, constants, self.species, total_charge)


class ChargeExpansion:
    r"""Charges :math:`q_i = \tilde q_i + (Q - \sum_j \tilde q_j) / N` and their dipole.

    Parameters
    ----------
    expansion : EnvironmentExpansion
        Of :math:`\tilde q` without constants.
    constants : ndarray of float, shape (n_species,)
        Constants of :math:`\tilde q`, in e.
    species : ndarray of int, shape (n_species,)
    total_charge : float
        Q in e.
    """

    def __init__(self, expansion, constants, species, total_charge):
        self.expansion, self._constants = expansion, constants
        self.species, self.total_charge = species, total_charge

    def charges(self, X):
        """q of every atom, shape (n_atoms,)."""
        return with_total(self._free(X, False)[0], X.offsets, self.total_charge)

    def dipoles(self, X, charges):
        """The dipoles (n, 3) of charges about the centres of mass."""
        arms = without_mean(X.structures.positions, X.structures)
        moved = dipole_of_shared_charge(X.structures, self.total_charge)
        return sums_of_atoms(charges[:, None] * arms, X.offsets) + moved

    def dipole_gradients(self, X):
        """∂μ/∂R of every atom, shape (n_atoms, 3, 3): of the components of μ, along the axes of R.

        The charges change with the positions of neighbours, and the arms with their own.
        """
        structures, (free, slopes) = X.structures, self._free(X, True)
        charges = without_mean(free, structures)
        mass = masses_of(structures)
        heavy = mass / np.repeat(sums_of_atoms(mass, X.offsets), X.n_atoms)
        charges += self.total_charge * (np.repeat(1 / X.n_atoms, X.n_atoms) - heavy)
        found = charges[:, None, None] * np.eye(3)
        arms = without_mean(structures.positions, structures)
        for axis in range(3):
            found[:, axis] += X.pullback(arms[:, axis, None] * slopes)[0]
        return found

    def _free(self, X, with_slopes):
        """q̃ of every atom, and ∂q̃/∂x or None."""
        charges, slopes = self.expansion.of_atoms(X, with_slopes)
        return charges + self._constants[species_index(X.structures, self.species)], slopes
