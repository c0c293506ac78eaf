"""The layers of networks of angular filters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom.models.neural.architecture import Architecture, glorot


@dataclass(frozen=True)
class AngularFilterArchitecture(Architecture):
    """Filters of a distance and an angle, see `skatom.models.AngularFilterNetwork`.

    Attributes
    ----------
    n_hidden, n_interactions, n_radial, n_angular : int
        Size of the hidden layers, and numbers of layers and of Gaussians.
    message_from : {"neighbor", "center"}
        Whose features the filters multiply.
    """

    n_hidden: int
    n_interactions: int
    n_radial: int
    n_angular: int
    message_from: str

    @property
    def shapes(self):
        n, m, t = self.n_features, self.n_hidden, self.n_interactions
        return {
            "embedding": (self.n_species, n),
            "filter_1": (t, self.n_radial, self.n_angular, m), "filter_bias_1": (t, m),
            "filter_2": (t, m, n), "filter_bias_2": (t, n),
            "dense_1": (t, n, m), "dense_bias_1": (t, m),
            "dense_2": (t, m, n), "dense_bias_2": (t, n),
        }  # fmt: skip

    def initial(self, rng):
        first = {
            name: np.zeros(shape) if "bias" in name else glorot(rng, shape)
            for name, shape in self.shapes.items()
        }
        first["embedding"] = rng.normal(size=self.shapes["embedding"])
        return first

    def graphs(self, structures, species):
        return super().graphs(structures, species).with_table()

    def features(self, weights, batch):
        from skatom.models._torch.networks.angular_filters import features

        return features(self, weights, batch)

    @property
    def numbers_per_edge(self):
        of_layer = 8 * self.n_features + 4 * self.n_hidden + 2 * self.n_angular * self.n_hidden
        return 4 * self.n_radial + 2 * self.n_interactions * of_layer

    def numbers(self, graphs):
        of_pair = 3 * self.n_angular + 3.3 * self.n_interactions * self.n_hidden
        pairs = float(_n_slots(graphs)) ** 2 * graphs.n_atoms
        return super().numbers(graphs) + of_pair * pairs

    def rows(self, graphs):
        # fewer at once where atoms have many pairs of neighbours
        return super().rows(graphs) * max(1, _n_slots(graphs) // 8)


def _n_slots(graphs):
    """The most neighbours of an atom."""
    return int(graphs.degrees(1).max())
