"""Heads that pool the atoms of a structure to a few clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skatom.models.neural.architecture import glorot
from skatom.models.neural.heads import AtomicHead, EnergyHead


@dataclass(frozen=True)
class ClusterHead(AtomicHead):
    """Energies that are sums over clusters, to which atoms belong in part.

    Attributes
    ----------
    n_features, n_hidden, activation
        As in `AtomicHead`.
    cutoff : float
        Range of the edges and of the radial functions, in Å.
    n_clusters : int
    """

    cutoff: float = 5.0
    n_clusters: int = 4

    gives: ClassVar[tuple] = ("energy", "forces", "stress")
    learns: ClassVar[tuple] = gives

    def of_elements(self, graphs, constants):
        return {"energy": EnergyHead.of_elements(self, graphs, constants)["energy"]}

    def initial(self, rng):
        return {
            name: np.zeros(shape) if "bias" in name or name == "head_2" else glorot(rng, shape)
            for name, shape in self.shapes.items()
        }

    def sums(self, weights, features):
        """Energies (n,) of features of clusters (n, n_clusters, n_features)."""
        return (
            self.numbers(weights, features.flatten(0, 1)).unflatten(0, (-1, self.n_clusters)).sum(1)
        )


class DiffPoolHead(ClusterHead):
    r"""Differentiable pooling of a graph (Ying et al., NeurIPS 31, 2018).

    .. math::

        S = \mathrm{softmax}(g_S(A, X)), \qquad X' = S^\top g_X(A, X), \qquad A' = S^\top A S,
        \qquad E = \sum_a o(g'(A', X')_a), \qquad g(A, X) = \rho(X W + A X W' + b)

    The adjacency A of atoms is the cutoff function of their distance, so that energies are smooth.
    """

    @property
    def shapes(self):
        f, c = self.n_features, self.n_clusters
        return {
            "assign": (2 * f, c), "assign_bias": (c,), "embed": (2 * f, f), "embed_bias": (f,),
            "pooled": (2 * f, f), "pooled_bias": (f,), **super().shapes,
        }  # fmt: skip

    def outputs(self, weights, features, batch):
        from skatom.models._torch.networks.cluster_heads import pooled_graph

        return {"energy": self.sums(weights, pooled_graph(self, weights, features, batch))}


@dataclass(frozen=True)
class PositionHead(ClusterHead):
    r"""Pooling of atoms with their positions, and angular filters of the clusters.

    .. math::

        S = \mathrm{softmax}(X W + b), \qquad X' = S^\top X, \qquad
        R'_a = \frac{\sum_i S_{ia} R_i}{\sum_i S_{ia}}, \qquad
        E = \sum_a o\Big( X'_a + v\Big( \sum_{b, c \ne a} X'_c \circ
        F(r'_{ac}, \cos \angle_a(b, c)) \Big) \Big)

    The filters F are those of `AngularFilterArchitecture`, of the positions of clusters (thesis of
    X. Brumwell, Michigan State University, 2021, section 6.2.2). Without the denominator, positions
    would not follow translations. Lengths are :math:`\sqrt{r^2 + \delta^2}`: clusters may be at one
    place.

    Attributes
    ----------
    n_radial, n_angular : int
        Gaussians of lengths and of cosines.
    smallest_length : float
        δ in Å.
    """

    n_radial: int = 8
    n_angular: int = 5
    smallest_length: float = 0.1

    of_positions: ClassVar[bool] = True

    @property
    def shapes(self):
        f, c = self.n_features, self.n_clusters
        return {
            "assign": (f, c), "assign_bias": (c,),
            "pooled_filter_1": (self.n_radial * self.n_angular, f), "pooled_filter_bias_1": (f,),
            "pooled_filter_2": (f, f), "pooled_filter_bias_2": (f,),
            "pooled_1": (f, f), "pooled_bias_1": (f,), "pooled_2": (f, f), "pooled_bias_2": (f,),
            **super().shapes,
        }  # fmt: skip

    def outputs(self, weights, features, batch):
        from skatom.models._torch.networks.cluster_heads import pooled_positions

        return {"energy": self.sums(weights, pooled_positions(self, weights, features, batch))}


CLUSTERED = {"diffpool": DiffPoolHead, "positions": PositionHead}
