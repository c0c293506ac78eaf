"""What a network of graphs learns from: graphs, labels and their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom.models.neural.graphs import Graphs, ranges
from skatom.models.neural.packing import NUMBERS


@dataclass(frozen=True)
class LabelledGraphs:
    """Graphs of n structures with labels in the unit of the network.

    Attributes
    ----------
    graphs : Graphs
    labels : dict of ndarray
        Labels by the names of `NUMBERS`, and under ``NAME_weight`` the weights of their squared
        errors, which are zero where there is no label. The weighted errors of all structures have
        the mean 1 where each error is its noise.
    """

    graphs: Graphs
    labels: dict

    @classmethod
    def of(cls, graphs, labels, constants, scale):
        """Labels minus what constants of the elements give, divided by the scale of the network.

        Parameters
        ----------
        graphs : Graphs
        labels : dict of NetworkLabel
            By name; those without any label are left out.
        constants : dict of ndarray
            What constants of the elements give, by name.
        scale : float
        """
        found, count = {}, 0
        for name, label in labels.items():
            if not label.has.any():
                continue
            rows = label.of_rows(graphs.n_atoms)
            has = rows.reshape(-1, *(1,) * (label.values.ndim - 1))
            noise = label.noise.reshape(has.shape)
            left = label.values - constants.get(name, 0.0)
            found[name] = np.where(has, left, 0) / scale
            found[f"{name}_weight"] = np.where(has, (scale / noise) ** 2, 0)
            count += rows.sum() * (label.values.size // len(rows))
        share = len(graphs) / count
        for name in found:
            if name.endswith("weight"):
                found[name] *= share
        return cls(graphs, found)

    def __len__(self):
        return len(self.graphs)

    @property
    def names(self):
        """Names of the labels."""
        return tuple(name for name in self.labels if name in NUMBERS)

    def batch(self, chosen):
        """The graphs of chosen structures and their labels; the weights are divided by their
        number."""
        atoms, _ = ranges(self.graphs.offsets, chosen)
        rows = {}
        for name in self.names:
            own = atoms if NUMBERS[name][0] == "atom" else chosen
            weight = f"{name}_weight"
            rows |= {name: self.labels[name][own], weight: self.labels[weight][own] / len(chosen)}
        return self.graphs[chosen], rows
