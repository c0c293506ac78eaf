"""The kernel expansion of one spherical component of a tensor."""

import numpy as np

from skatom.models.tensor.environments import CovariantEnvironments, blocks_of


class TensorExpansion:
    r"""The expansion of one order λ in a fitted `TensorKernelRidge`.

    .. math::
        T_\mu(A) = \sum_{j \in A} F_\mu(X_j) \cdot W(X_j), \qquad
        W(X) = \sum_k \big(p(X) \cdot p(X_k)\big)^{\zeta-1} g_k, \qquad
        g_k = \sum_\mu F_\mu(X_k)\, c_{A(k)\mu}

    The sum runs over the environments k of the same species: those of all training structures, or
    the representatives. For ζ = 1 it is a vector and for ζ = 2 a matrix times p, for any number of
    environments.

    Parameters
    ----------
    lam, zeta : int
    parts : iterable of (CovariantEnvironments, ndarray)
        The environments, and the coefficients c of their owners, shape (n, 2λ + 1).
    counts : mapping of int to int
        Number of environments of each atomic number in all parts.

    Attributes
    ----------
    references : dict of int to ndarray of shape (n_k, n_invariants) or None
        p of the environments of each species; None if the sum over them is kept instead.
    weights : dict of int to ndarray
        g_k, shape (n_k, n_features), or their sum, (n_features,) or (n_invariants, n_features).
    """

    def __init__(self, lam, zeta, parts, counts):
        self.lam, self.zeta = lam, zeta
        self.references, self.weights = {}, {}
        for environments, c in parts:
            for z, (owner, covariants, invariants) in environments.groups.items():
                g = np.einsum("mad,am->ad", covariants, c[owner])
                if zeta == 1:
                    invariants, g = None, g.sum(axis=0)
                elif zeta == 2 and counts[z] > invariants.shape[1]:
                    invariants, g = None, invariants.T @ g
                self._add(z, invariants, g)

    def _add(self, z, reference, weights):
        if z not in self.weights:
            self.references[z], self.weights[z] = reference, weights
        elif reference is None:
            self.weights[z] += weights
        else:
            self.references[z] = np.concatenate([self.references[z], reference])
            self.weights[z] = np.concatenate([self.weights[z], weights])

    def components(self, features):
        """The components (n, 2λ + 1) of the structures of TensorFeatures."""
        components = []
        for block in blocks_of(features, self.lam):
            environments = CovariantEnvironments.of_structures(block, self.lam)
            part = np.zeros((environments.n, 2 * self.lam + 1))
            for z, (owner, covariants, invariants) in environments.groups.items():
                if z in self.weights:  # else no environment of this species represents it
                    field = self._field(z, invariants)
                    np.add.at(part, owner, np.einsum("mad,ad->am", covariants, field))
            components.append(part)
        return np.concatenate(components)

    def _field(self, z, invariants):
        """W of environments of one species: shape (n_atoms, n_features)."""
        weights, reference = self.weights[z], self.references[z]
        if self.zeta == 1:
            return np.broadcast_to(weights, (len(invariants), len(weights)))
        if reference is None:
            return invariants @ weights
        return (invariants @ reference.T) ** (self.zeta - 1) @ weights
