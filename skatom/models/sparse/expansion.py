"""The predictor of a sparse Gaussian process: a sum over descriptors."""

import numpy as np

from skatom._device import on_host
from skatom.base import Predictor
from skatom.models._environment_expansion import EnvironmentExpansion


class SparseExpansion(Predictor):
    """The energy of a structure as a sum of expansions in the features of several descriptors.

    X is a list of AtomicFeatures or WholeStructures of the same structures, one for each
    descriptor.

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
        return self.by_name(X, ("energy",))["energy"]

    def local_energies(self, X):
        """Energies of the atoms, shape (n_atoms,)."""
        return self.by_name(X, ("local_energies",))["local_energies"]

    def differentiate(self, X):
        """Energies (n,), gradient (n_atoms, 3) and virial (n, 3, 3)."""
        found = self.by_name(X, ("energy", "gradient", "virial"))
        return found["energy"], found["gradient"], found["virial"]

    def by_name(self, X, names):
        """The arrays of ``names`` that are means: energy, local_energies, gradient and virial."""
        parts = self.by_term(X, derivatives=not {"gradient", "virial"}.isdisjoint(names))
        wanted = parts[0].keys() - ({"local_energies"} - set(names))
        return {name: sum(part[name] for part in parts) for name in wanted}

    def by_term(self, X, derivatives):
        """A dict for each term: local_energies, energy and, if wanted, gradient and virial."""
        found = []
        for features, expansion in zip(X, self.terms, strict=True):
            local, cotangent = expansion.of_atoms(features, derivatives)
            local = on_host(local)
            energy = np.add.reduceat(local, features.offsets[:-1])
            found.append({"local_energies": local, "energy": energy})
            if derivatives:
                gradient, virial = map(on_host, features.pullback(cotangent))
                found[-1] |= {"gradient": gradient, "virial": virial}
        return found
