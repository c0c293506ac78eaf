"""A fitted network of graphs: numpy arrays, and tensors beside them on the devices that use it."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from skatom.models.neural.graphs import Graphs
from skatom.models.neural.packing import BatchLayout, packed
from skatom.structures import groups_by_size

# Edges and atoms that are worked on at once on the CPU and on a card.
_TOGETHER = {False: 2**13, True: 2**17}

_on_devices = WeakKeyDictionary()


class FittedNetwork:
    """The energies of atoms as a network of graphs, and their derivatives.

    Parameters
    ----------
    architecture : Architecture
    head : EnergyHead
    weights : dict of ndarray
        By name, of the type in which they were trained.
    scale : float
        Factor of the network's numbers, in eV.
    energies : ndarray of float, shape (n_species,)
        Energies of the elements, which are added, in eV.
    species : ndarray of int, shape (n_species,)
        Sorted atomic numbers.
    """

    def __init__(self, architecture, head, weights, scale, energies, species):
        self.architecture, self.head, self.weights = architecture, head, weights
        self.scale, self.energies, self.species = scale, energies, species

    @property
    def dtype(self):
        """ "float32" or "float64"."""
        return str(self.theta().dtype)

    def theta(self):
        """All weights as one vector."""
        return vector_of(self.weights)

    def evaluate(self, structures, device, derivatives):
        """Energies of atoms, and derivatives of the energies.

        Parameters
        ----------
        structures : Structures
        device : Device
        derivatives : bool

        Returns
        -------
        local : ndarray of float, shape (n_atoms,), eV
        gradient : ndarray of float, shape (n_atoms, 3), eV/Å, or None
        virial : ndarray of float, shape (n, 3, 3), eV, or None
        """
        graphs = Graphs.of(structures, self.species, self.architecture.cutoff)
        rows = graphs.offsets + graphs.edge_offsets
        parts = [
            self._part(graphs[np.arange(group.start, group.stop)], device, derivatives)
            for group in groups_by_size(rows, _TOGETHER[device.is_card])
        ]
        found = [self.scale * np.concatenate(same) for same in zip(*parts, strict=True)]
        found[0] += self.energies[graphs.kinds]
        return found if derivatives else (*found, None, None)

    def _part(self, graphs, device, derivatives):
        """The network's numbers for a batch: atoms, ∂/∂R and ∂/∂ε."""
        n_bytes = np.dtype(self.dtype).itemsize * self.architecture.numbers_per_edge
        device.check_memory(
            float(n_bytes) * len(graphs.first),
            f"a prediction with {len(graphs.first)} pairs of neighbours",
            "lower the cutoff, or predict smaller structures",
        )
        n = len(graphs)
        layout = BatchLayout.of(
            graphs, n, len(self.species), labelled=False, on_card=device.is_card, dtype=self.dtype
        )
        arrays = packed(graphs, layout, self.architecture.cutoff)
        local, *others = on_device(self, device)(arrays, layout, derivatives)
        if not others:
            return (local[: len(graphs.kinds)],)
        gradient, virial = others
        return local[: len(graphs.kinds)], gradient[: len(graphs.kinds)], _symmetric(virial[:n])


def on_device(network, device):
    """The tensors of a network on a `Device`, which are made once and freed with it."""
    from skatom.models._torch.networks.evaluation import NetworkOnDevice
    from skatom.models._torch.networks.potential import GraphPotential

    known = _on_devices.setdefault(network, {})
    if device not in known:
        potential = GraphPotential(network.architecture, network.head)
        known[device] = NetworkOnDevice(potential, network.theta(), device)
    return known[device]


def vector_of(weights):
    """Weights by name as one vector."""
    return np.concatenate([values.ravel() for values in weights.values()])


def weights_of(vector, shapes):
    """A vector as weights by name."""
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    return {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def _symmetric(components):
    """Matrices (n, 3, 3) of their components xx, yy, zz, yz, xz, xy."""
    return components[:, [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
