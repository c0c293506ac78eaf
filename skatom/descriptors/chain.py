"""Compositions of maps of features, and the chain rule through them."""

from dataclasses import dataclass

import numpy as np

from skatom._device import moved, namespace
from skatom.descriptors.maps import FeatureMap, Select


@dataclass(frozen=True)
class Link:
    """A map of a chain, and the rows that it was applied to, unless it is linear."""

    map: FeatureMap
    inputs: np.ndarray | None

    @classmethod
    def make(cls, feature_map, values):
        return cls(feature_map, None if feature_map.linear else values)


class Chain:
    """A composition of maps.

    Parameters
    ----------
    links : iterable of Link
        The maps, the first of which is applied first.
    """

    def __init__(self, links=()):
        self.links = list(links)

    def __len__(self):
        return len(self.links)

    def append(self, feature_map, values):
        """The chain followed by one more map; ``values`` are the features it is applied to."""
        return Chain([*self.links, Link.make(feature_map, values)])

    def select(self, rows):
        """The chain of some of the rows."""
        return Chain(
            Link(link.map, None if link.inputs is None else link.inputs[rows])
            for link in self.links
        )

    def to(self, device):
        """The chain with its inputs on a `Device`, or in numpy where it is None."""
        return Chain(
            Link(link.map, None if link.inputs is None else moved(link.inputs, device))
            for link in self.links
        )

    def n_features(self, n_features):
        """Number of features after the last map, from the number before the first."""
        return self.links[-1].map.n_features_out if self.links else n_features

    @property
    def maps(self):
        """The maps, in turn; columns that are selected one after the other are one selection."""
        maps = []
        for link in self.links:
            last, new = maps[-1] if maps else None, link.map
            if isinstance(last, Select) and isinstance(new, Select):
                maps[-1] = Select(last.columns[new.columns], last.n_features_in)
            else:
                maps.append(new)
        return [one for one in maps if not (isinstance(one, Select) and one.selects_all)]

    @property
    def linear(self):
        """Whether the derivatives of all maps are independent of the features."""
        return all(link.map.linear for link in self.links)

    @property
    def by_species(self):
        """Whether a map differs between species."""
        return any(link.map.species is not None for link in self.links)

    def depends_on(self, n_features):
        """Mask (n_features,) of the features before the first map that matter after the last."""
        needed = np.ones(self.n_features(n_features), bool)
        for link in reversed(self.links):
            needed = link.map.depends_on(needed)
        return needed

    def names(self, names):
        """Names of the features after the last map."""
        for link in self.links:
            names = link.map.feature_names(names)
        return names

    def degrees(self, degrees):
        """Degrees of the features after the last map, or None."""
        for link in self.links:
            degrees = None if degrees is None else link.map.degrees(degrees)
        return degrees

    def pullback(self, cotangent, n_rows, numbers=None):
        """Cotangents (n_rows or 1, …) before the first map, from cotangents after the last."""
        maps = [link.map for link in self.links]
        if len(cotangent) == 1 and any(not m.linear or m.species is not None for m in maps):
            shape = (n_rows, cotangent.shape[1])
            cotangent = namespace(cotangent).broadcast_to(cotangent, shape)
        for link in reversed(self.links):
            cotangent = link.map.pullback(link.inputs, cotangent, numbers)
        return cotangent

    def pushforward(self, tangents, rows, numbers=None):
        """Tangents after the last map; ``rows`` (n,) is the atom or structure of each tangent."""
        for link in self.links:
            x = None if link.inputs is None else link.inputs[rows]
            tangents = link.map.pushforward(x, tangents, numbers)
        return tangents


NO_MAPS = Chain()
