"""The layers of SchNet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom.models.neural.architecture import Architecture, glorot


@dataclass(frozen=True)
class SchNetArchitecture(Architecture):
    """Continuous-filter convolutions of atoms, see `skatom.models.SchNet`.

    Attributes
    ----------
    n_filters, n_interactions, n_rbf : int
    rbf_stop, gamma : float
        The last centre of the radial functions in Å, and their sharpness in Å⁻².
    cutoff_function : {"cosine", "hard"}
    normalize_filter, shared_filters : bool
    """

    n_filters: int
    n_interactions: int
    n_rbf: int
    rbf_stop: float
    gamma: float
    cutoff_function: str
    normalize_filter: bool
    shared_filters: bool

    @property
    def shapes(self):
        n, m, k, t = self.n_features, self.n_filters, self.n_rbf, self.n_interactions
        s = 1 if self.shared_filters else t
        return {
            "embedding": (self.n_species, n),
            "filter_1": (s, k, m), "filter_bias_1": (s, 1, m),
            "filter_2": (s, m, m), "filter_bias_2": (s, 1, m),
            "atoms_to_filters": (t, n, m),
            "filters_to_atoms": (t, m, n), "filters_to_atoms_bias": (t, n),
            "dense": (t, n, n), "dense_bias": (t, n),
        }  # fmt: skip

    def initial(self, rng):
        first = {
            name: np.zeros(shape) if "bias" in name else glorot(rng, shape)
            for name, shape in self.shapes.items()
        }
        first["embedding"] = rng.normal(size=self.shapes["embedding"]) * self.n_features**-0.25
        return first

    def features(self, weights, batch):
        from skatom.models._torch.networks.schnet import features

        return features(self, weights, batch)

    def tables(self, weights):
        from skatom.models._torch.networks.schnet import tables

        return tables(self, weights)

    @property
    def numbers_per_edge(self):
        n_filters = 1 if self.shared_filters else self.n_interactions
        return 2 * self.n_rbf + (6 * n_filters + 2) * self.n_filters
