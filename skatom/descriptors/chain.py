"""Maps of features that follow each other, and the chain rule through them."""

from typing import NamedTuple

import numpy as np

from skatom.descriptors.maps import FeatureMap


class Link(NamedTuple):
    """A map of a chain, and the rows that it was applied to unless it is linear."""

    map: FeatureMap
    inputs: np.ndarray | None

    @classmethod
    def make(cls, feature_map, values):
        return cls(feature_map, None if feature_map.linear else values)


class Chain(tuple):
    """Maps that follow each other."""

    def append(self, feature_map, values):
        """One more map, of features with these values."""
        return Chain((*self, Link.make(feature_map, values)))

    def select(self, rows):
        """The chain of some of the rows."""
        return Chain(Link(m, None if inputs is None else inputs[rows]) for m, inputs in self)

    def n_features(self, n_features):
        """Features behind the last map, of so many before the first."""
        return self[-1].map.n_features_out if self else n_features

    def names(self, names):
        """Names of the features behind the last map."""
        for link in self:
            names = link.map.feature_names(names)
        return names

    def pullback(self, cotangent, n_rows, numbers=None):
        """Cotangents (n_rows or 1, …) before the first map, from those behind the last one."""
        if len(cotangent) == 1 and any(not m.linear or m.species is not None for m, _ in self):
            cotangent = np.broadcast_to(cotangent, (n_rows, cotangent.shape[1]))
        for feature_map, inputs in reversed(self):
            cotangent = feature_map.pullback(inputs, cotangent, numbers)
        return cotangent

    def pushforward(self, tangents, rows, numbers=None):
        """Tangents behind the last map; ``rows`` (n,): of which atom or structure each is one."""
        for feature_map, inputs in self:
            x = None if inputs is None else inputs[rows]
            tangents = feature_map.pushforward(x, tangents, numbers)
        return tangents


NO_MAPS = Chain()
