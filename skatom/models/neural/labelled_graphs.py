"""What a network of graphs learns from: graphs, labels and their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom.models.neural.graphs import Graphs, ranges

_OF_ATOMS = ("gradient", "gradient_weight")


@dataclass(frozen=True)
class LabelledGraphs:
    """Graphs of n structures with labels in the unit of the network.

    Attributes
    ----------
    graphs : Graphs
    labels : dict of ndarray
        energy (n,), gradient (n_atoms, 3), virial (n, 6), and the weights of their squared errors,
        which are zero where there is no label. The weighted errors of all structures have the mean
        1 where each error is its noise.
    """

    graphs: Graphs
    labels: dict

    @classmethod
    def of(cls, graphs, labels, energies, scale):
        """Labels divided by the scale of the network.

        Parameters
        ----------
        graphs : Graphs
        labels : Labels
        energies : ndarray of float, shape (n,)
            The energies minus those of the elements; NaN where there is none.
        scale : float
        """
        n = np.diff(labels.offsets)
        of_atoms = np.repeat(labels.has_forces, n)
        parts = {
            "energy": (labels.has_energy, energies, labels.noise_energy),
            "gradient": (of_atoms, -labels.forces, labels.noise_forces),
            "virial": (labels.has_virial, labels.virial, labels.noise_virial),
        }
        found, count = {}, 0
        for name, (has, values, noise) in parts.items():
            has = has if values.ndim == 1 else has[:, None]
            noise = noise.reshape(has.shape)
            found[name] = np.where(has, values, 0) / scale
            found[f"{name}_weight"] = np.where(has, (scale / noise) ** 2, 0)
            count += has.sum() * (values.size // max(has.size, 1))
        share = len(labels.energy) / count
        for name in parts:
            found[f"{name}_weight"] *= share
        return cls(graphs, found)

    def __len__(self):
        return len(self.graphs)

    @property
    def derivatives(self):
        """Whether there are labels of forces, and of virials."""
        return tuple(bool(self.labels[f"{name}_weight"].any()) for name in ("gradient", "virial"))

    def batch(self, chosen):
        """The graphs of chosen structures and their labels; the weights are divided by their
        number."""
        atoms, _ = ranges(self.graphs.offsets, chosen)
        rows = {
            name: values[atoms if name in _OF_ATOMS else chosen]
            for name, values in self.labels.items()
        }
        for name in rows:
            if name.endswith("weight"):
                rows[name] = rows[name] / len(chosen)
        return self.graphs[chosen], rows
