"""The layers of PaiNN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom.models.neural.architecture import Architecture, glorot


@dataclass(frozen=True)
class PaiNNArchitecture(Architecture):
    """Interactions of numbers and vectors of atoms, see `skatom.models.PaiNN`.

    Attributes
    ----------
    n_interactions, n_rbf : int
    smallest_norm : float
        The length of a vector of zeros: lengths are smooth functions.
    """

    n_interactions: int
    n_rbf: int
    smallest_norm: float = 1e-2

    @property
    def shapes(self):
        n, k, t = self.n_features, self.n_rbf, self.n_interactions
        return {
            "embedding": (self.n_species, n),
            "filter": (t, k, 3 * n), "filter_bias": (t, 1, 3 * n),
            "message_1": (t, n, n), "message_bias_1": (t, n),
            "message_2": (t, n, 3 * n), "message_bias_2": (t, 3 * n),
            "mixing": (t, n, 2 * n),
            "update_1": (t, 2 * n, n), "update_bias_1": (t, n),
            "update_2": (t, n, 3 * n), "update_bias_2": (t, 3 * n),
        }  # fmt: skip

    def initial(self, rng):
        first = {
            name: np.zeros(shape) if "bias" in name else glorot(rng, shape)
            for name, shape in self.shapes.items()
        }
        first["embedding"] = rng.normal(size=self.shapes["embedding"])
        return first

    def features(self, weights, batch):
        from skatom.models._torch.networks.painn import features

        return features(self, weights, batch)

    @property
    def numbers_per_edge(self):
        return 2 * self.n_rbf + 20 * self.n_interactions * self.n_features
