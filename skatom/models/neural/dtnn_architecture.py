"""The layers of deep tensor neural networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom.models.neural.architecture import Architecture, glorot


@dataclass(frozen=True)
class DTNNArchitecture(Architecture):
    """Factorised tensor layers of atoms and distances, see `skatom.models.DTNN`.

    Attributes
    ----------
    n_factors, n_interactions, n_rbf : int
    rbf_stop, gamma : float
        The last centre of the radial functions in Å, and their sharpness in Å⁻².
    cutoff_function : {"cosine", "hard"}
    """

    n_factors: int
    n_interactions: int
    n_rbf: int
    rbf_stop: float
    gamma: float
    cutoff_function: str

    @property
    def shapes(self):
        n, m, k = self.n_features, self.n_factors, self.n_rbf
        return {
            "embedding": (self.n_species, n),
            "atoms_to_factors": (n, m), "atoms_to_factors_bias": (m,),
            "distances_to_factors": (k, m), "distances_to_factors_bias": (m,),
            "factors_to_atoms": (m, n),
        }  # fmt: skip

    def initial(self, rng):
        first = {name: np.zeros(shape) for name, shape in self.shapes.items()}
        for name in ("atoms_to_factors", "distances_to_factors"):
            first[name] = glorot(rng, self.shapes[name])
        first["embedding"] = rng.normal(size=self.shapes["embedding"]) * self.n_features**-0.25
        return first

    def features(self, weights, batch):
        from skatom.models._torch.networks.dtnn import features

        return features(self, weights, batch)

    @property
    def numbers_per_edge(self):
        of_messages = 4 * self.n_interactions * (self.n_factors + self.n_features)
        return 4 * self.n_rbf + 4 * self.n_factors + of_messages
