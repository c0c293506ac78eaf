"""A fitted network of graphs: numpy arrays, and tensors beside them on the devices that use it."""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np

from skatom._cpu.voigt import FROM_VOIGT
from skatom.models.neural.packing import NUMBERS, BatchLayout, packed
from skatom.models.neural.probes import probe_graphs
from skatom.structures import groups_by_size

# Edges and atoms that are worked on at once on the CPU and on a card.
_TOGETHER = {False: 2**13, True: 2**17}
# What the rows of a network's numbers belong to.
_PER = {name: per for name, (per, _) in NUMBERS.items()} | {"features": "atom"}
# Pairs of probes and atoms that are worked on at once.
_PROBED = 2**15

_on_devices, _doubles = WeakKeyDictionary(), WeakKeyDictionary()


class FittedNetwork:
    """Properties as a network of graphs, and derivatives of energies.

    Parameters
    ----------
    architecture : Architecture
    head : Head
    weights : dict of ndarray
        By name, of the type in which they were trained.
    scale : float
        Factor of the network's numbers, in the unit of the property.
    constants : ndarray of float, shape (n_species,)
        Constants of the elements, which are added, in the same unit.
    species : ndarray of int, shape (n_species,)
        Sorted atomic numbers.
    """

    def __init__(self, architecture, head, weights, scale, constants, species):
        self.architecture, self.head, self.weights = architecture, head, weights
        self.scale, self.constants, self.species = scale, constants, species

    @property
    def dtype(self):
        """ "float32" or "float64"."""
        return str(self.theta().dtype)

    def theta(self):
        """All weights as one vector."""
        return vector_of(self.weights)

    def evaluate(self, structures, device, derivatives):
        """The properties that the head gives, and derivatives of the energy.

        Parameters
        ----------
        structures : Structures
        device : Device
        derivatives : bool

        Returns
        -------
        dict of ndarray of float
            By name; with derivatives "gradient" (n_atoms, 3) in eV/Å and "virial" (n, 3, 3) in eV
            among them.
        """
        graphs = self.architecture.graphs(structures, self.species)
        parts = self._parts(graphs, device, derivatives)
        of_elements = self.head.of_elements(graphs, self.constants)
        found = {
            name: self.scale * np.concatenate([part[name] for part in parts])
            + of_elements.get(name, 0.0)
            for name in parts[0]
        }
        if "local_energies" in found:  # sums in double precision
            found["energy"] = np.add.reduceat(found["local_energies"], graphs.offsets[:-1])
        if derivatives:
            found["virial"] = found["virial"][:, FROM_VOIGT]
        return found

    def mixed_energies(self, structures, shares, device, presence=None):
        """Energies of structures whose atoms are of several elements, without the baseline.

        Parameters
        ----------
        structures : Structures
        shares : ndarray of float, shape (n_atoms, n_species)
            Shares of the elements in each atom.
        device : Device
        presence : ndarray of float, shape (n_atoms,), default=None
            How much of each atom there is, from 0 to 1. None: all.

        Returns
        -------
        ndarray of float, shape (n,)
        """
        seen = None if presence is None else presence[:, None]
        graphs = self.architecture.graphs(structures, self.species)
        graphs = replace(graphs, shares=shares, presence=seen)
        parts = self._parts(graphs, device, False)
        local = self.scale * np.concatenate([part["local_energies"] for part in parts])
        local = local + shares @ self.constants
        if presence is not None:
            local = local * presence
        return np.add.reduceat(local, graphs.offsets[:-1])

    def probe_energies(self, structure, points, kind, device):
        """Energies of atoms that feel a structure and are not felt, without the baseline.

        Parameters
        ----------
        structure : Structures
            One structure.
        points : ndarray of float, shape (n, 3)
            Where these atoms are, in Å.
        kind : int
            Index of their element among the species.
        device : Device

        Returns
        -------
        ndarray of float, shape (n,)
        """
        n_atoms = len(structure.numbers)
        together = max(1, _PROBED // n_atoms)
        found = [np.empty(0)]
        for start in range(0, len(points), together):
            some = points[start : start + together]
            graphs = probe_graphs(structure, some, kind, self.species, self.architecture.cutoff)
            local = self._part(graphs, device, False)["local_energies"][n_atoms:]
            found.append(self.scale * local + self.constants[kind])
        return np.concatenate(found)

    def features(self, structures, device):
        """What the head makes its properties of.

        Parameters
        ----------
        structures : Structures
        device : Device

        Returns
        -------
        ndarray of float, shape (n_atoms, n_features)
            In double precision.
        """
        graphs, double = self.architecture.graphs(structures, self.species), self._in_double()
        found = [np.empty((0, self.architecture.n_features))]
        for part in self._batches(graphs, device):
            found.append(double._done(part, device, "features")["features"])
        return np.concatenate(found)

    def _in_double(self):
        """The network with its weights in double precision."""
        if self.dtype == "float64":
            return self
        if self not in _doubles:
            weights = {name: values.astype(float) for name, values in self.weights.items()}
            _doubles[self] = FittedNetwork(
                self.architecture, self.head, weights, self.scale, self.constants, self.species
            )
        return _doubles[self]

    def _parts(self, graphs, device, derivatives):
        """The network's numbers for groups of structures."""
        return [self._part(part, device, derivatives) for part in self._batches(graphs, device)]

    def _batches(self, graphs, device):
        """Graphs of as many structures as are worked on at once."""
        for group in groups_by_size(self.architecture.rows(graphs), _TOGETHER[device.is_card]):
            yield graphs[np.arange(group.start, group.stop)]

    def _part(self, graphs, device, derivatives):
        """The network's numbers for a batch."""
        return self._done(graphs, device, "__call__", derivatives)

    def _done(self, graphs, device, work, *arguments):
        """What a method of the `NetworkOnDevice` makes of a batch."""
        device.check_memory(
            np.dtype(self.dtype).itemsize * self.architecture.numbers(graphs).sum(),
            f"a prediction with {len(graphs.first)} pairs of neighbours",
            "lower the cutoff, or predict smaller structures",
        )
        n_rows = {"structure": len(graphs), "atom": len(graphs.kinds)}
        is_sorted = device.is_card or graphs.one_way is not None
        layout = BatchLayout.of(
            graphs, len(graphs), len(self.species), labels=(), on_card=is_sorted, dtype=self.dtype
        )
        arrays = packed(graphs, layout, self.architecture.cutoff)
        found = getattr(on_device(self, device), work)(arrays, layout, *arguments)
        return {name: values[: n_rows[_PER[name]]] for name, values in found.items()}


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
