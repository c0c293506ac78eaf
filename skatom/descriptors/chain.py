"""Maps of features that follow each other, and the chain rule through them."""

from dataclasses import dataclass

import numpy as np

from skatom.descriptors.maps import FeatureMap


@dataclass(frozen=True)
class Link:
    """A map of a chain, and the rows that it was applied to unless it is linear."""

    map: FeatureMap
    inputs: np.ndarray | None

    @classmethod
    def make(cls, feature_map, values):
        return cls(feature_map, None if feature_map.linear else values)


class Chain:
    """Maps that follow each other.

    Parameters
    ----------
    links : iterable of Link
    """

    def __init__(self, links=()):
        self.links = list(links)

    def __len__(self):
        return len(self.links)

    def append(self, feature_map, values):
        """One more map, of features with these values."""
        return Chain([*self.links, Link.make(feature_map, values)])

    def select(self, rows):
        """The chain of some of the rows."""
        return Chain(
            Link(link.map, None if link.inputs is None else link.inputs[rows])
            for link in self.links
        )

    def n_features(self, n_features):
        """Features behind the last map, of so many before the first."""
        return self.links[-1].map.n_features_out if self.links else n_features

    def names(self, names):
        """Names of the features behind the last map."""
        for link in self.links:
            names = link.map.feature_names(names)
        return names

    def pullback(self, cotangent, n_rows, numbers=None):
        """Cotangents (n_rows or 1, …) before the first map, from those behind the last one."""
        maps = [link.map for link in self.links]
        if len(cotangent) == 1 and any(not m.linear or m.species is not None for m in maps):
            cotangent = np.broadcast_to(cotangent, (n_rows, cotangent.shape[1]))
        for link in reversed(self.links):
            cotangent = link.map.pullback(link.inputs, cotangent, numbers)
        return cotangent

    def pushforward(self, tangents, rows, numbers=None):
        """Tangents behind the last map; ``rows`` (n,): of which atom or structure each is one."""
        for link in self.links:
            x = None if link.inputs is None else link.inputs[rows]
            tangents = link.map.pushforward(x, tangents, numbers)
        return tangents


NO_MAPS = Chain()
