"""The predictor of a sparse Gaussian process: a sum over descriptors."""

import numpy as np

from skatom._device import on_host
from skatom.base import Predictor
from skatom.models._environment_expansion import EnvironmentExpansion


class SparseExpansion(Predictor):
    """The energy of a structure as a sum of expansions in the features of several descriptors.

    X is a list of AtomicFeatures of the same structures, one for each descriptor.

    Parameters
    ----------
    blocks : list of Block
    coefficients : ndarray of float, shape (n_columns,)
    """

    def __init__(self, blocks, coefficients):
        self.terms = []
        for term in sorted({block.term for block in blocks}):
            own = [block for block in blocks if block.term == term]
            self.terms.append(
                EnvironmentExpansion(
                    own[0].kernel,
                    {block.number: block.vectors for block in own},
                    {block.number: coefficients[block.columns] for block in own},
                )
            )

    def energies(self, X):
        """Energies of the structures, shape (n,)."""
        return np.add.reduceat(self.local_energies(X), X[0].offsets[:-1])

    def local_energies(self, X):
        """Energies of the atoms, shape (n_atoms,)."""
        return sum(
            expansion.local_energies(features)
            for features, expansion in zip(X, self.terms, strict=True)
        )

    def differentiate(self, X):
        """Energies (n,), gradient (n_atoms, 3) and virial (n, 3, 3)."""
        found = self.by_name(X, ("energy", "gradient", "virial"))
        return found["energy"], found["gradient"], found["virial"]

    def by_name(self, X, names):
        """The arrays of ``names`` that are means: energy, local_energies, gradient and virial."""
        derivatives = not {"gradient", "virial"}.isdisjoint(names)
        local, gradient, virial = 0.0, 0.0, 0.0
        for features, expansion in zip(X, self.terms, strict=True):
            energies, cotangent = expansion.of_atoms(features, derivatives)
            local = local + on_host(energies)
            if derivatives:
                slopes, strain = map(on_host, features.pullback(cotangent))
                gradient, virial = gradient + slopes, virial + strain
        found = {"energy": np.add.reduceat(local, X[0].offsets[:-1])}
        if "local_energies" in names:
            found["local_energies"] = local
        if derivatives:
            found |= {"gradient": gradient, "virial": virial}
        return found
