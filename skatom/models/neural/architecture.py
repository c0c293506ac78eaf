"""What an architecture of networks of graphs is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod

import numpy as np

from skatom.models.neural.graphs import Graphs


@dataclass(frozen=True)
class Architecture(ABC):
    """Maps a batch of graphs to the features of its atoms; heads make energies of them.

    A subclass has its sizes as fields and implements

    - ``shapes``: a dict of the shapes of its weights by name, in their order;
    - ``initial(rng)``: a dict of the first weights, numpy arrays;
    - ``features(weights, batch)``: the features, a tensor (n_atoms, n_features), of a dict of
      tensors and a `GraphBatch`. Torch's automatic differentiation follows it: once by the vectors
      of edges and, in training, once more by the weights;
    - ``numbers_per_edge``: how many numbers a prediction keeps for each edge, for estimates of
      memory; ``numbers`` where atoms or pairs of edges count as well.

    Attributes
    ----------
    n_species : int
    cutoff : float
        Atoms closer than this are neighbours, in Å.
    n_features : int
    """

    n_species: int
    cutoff: float
    n_features: int

    @property
    @abstractmethod
    def shapes(self):
        """Shapes of the weights by name."""

    @abstractmethod
    def initial(self, rng):
        """The first weights by name."""

    @abstractmethod
    def features(self, weights, batch):
        """The features of the atoms."""

    def graphs(self, structures, species):
        """The `Graphs` of structures: neighbours within the cutoff, if a subclass has no others."""
        return Graphs.of(structures, species, self.cutoff)

    @property
    def has_plain_graphs(self):
        """Whether graphs have nothing but atoms and their neighbours within the cutoff."""
        return type(self).graphs is Architecture.graphs

    def tables(self, weights):
        """Tensors that ``features`` may use in place of layers, by name, beside the weights.

        They are made once for predictions on the CPU in single precision; none by default.
        """
        return {}

    @property
    @abstractmethod
    def numbers_per_edge(self):
        """How many numbers a prediction keeps for each edge."""

    def numbers(self, graphs):
        """How many numbers a prediction keeps for each structure, an array of float."""
        return float(self.numbers_per_edge) * graphs.n_edges

    def rows(self, graphs):
        """Where structures begin, counted in atoms and edges: so many are predicted at once."""
        return graphs.offsets + graphs.edge_offsets

    @property
    def n_weights(self):
        return sum(map(prod, self.shapes.values()))


def glorot(rng, shape):
    """Weights between two layers, whose signals keep their variance, uniform; (…, n_in, n_out)."""
    limit = np.sqrt(6 / (shape[-2] + shape[-1]))
    return rng.uniform(-limit, limit, shape)
