"""What makes properties of the features of atoms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skatom.models.neural.architecture import glorot


@dataclass(frozen=True)
class Head(ABC):
    """Maps the features of atoms to properties of atoms and structures.

    A head has two class attributes and four methods:

    - ``gives``: names of the properties that it predicts. With "energy" it may give the derivatives
      "forces" and "stress" as well, which follow by themselves;
    - ``learns``: names of the labels, out of the energy family or the others of
      `skatom.Targets`;
    - ``shapes`` and ``initial(rng)``: the shapes of its weights by name, and the first weights;
    - ``outputs(weights, features, batch)``: a dict of tensors by the names of properties, in
      the unit of the network, of a dict of tensors, features (n_atoms, n_features) and a
      `GraphBatch`. Where it has ``local_energies``, the energy is their sum;
    - ``of_elements(graphs, constants)``: what constants of the elements (n_species,) alone would
      give, a dict of numpy arrays by the same names. It is linear in the constants: predictions
      are the network's outputs times its scale, and these.
    """

    gives: ClassVar[tuple]
    learns: ClassVar[tuple]
    # whether the property grows with the structure, and its error with the root of its size
    extensive: ClassVar[bool] = True
    # whether energies depend on positions otherwise than by the vectors of edges
    of_positions: ClassVar[bool] = False

    @property
    @abstractmethod
    def shapes(self):
        """Shapes of the weights by name."""

    @abstractmethod
    def initial(self, rng):
        """The first weights by name."""

    @abstractmethod
    def outputs(self, weights, features, batch):
        """Tensors by the names of properties."""

    @abstractmethod
    def of_elements(self, graphs, constants):
        """Arrays by the names of properties, of constants of the elements."""


@dataclass(frozen=True)
class AtomicHead(Head):
    """A layer of n_hidden neurons and one of one, for each atom.

    The last weights are zero at first, so that training begins with constants of the elements.

    Attributes
    ----------
    n_features, n_hidden : int
    activation : str
        A name in `skatom.models._torch.networks.layers.ACTIVATIONS`.
    """

    n_features: int
    n_hidden: int
    activation: str = "shifted_softplus"

    @property
    def shapes(self):
        return {
            "head_1": (self.n_features, self.n_hidden), "head_bias_1": (self.n_hidden,),
            "head_2": (self.n_hidden, 1), "head_bias_2": (1,),
        }  # fmt: skip

    def initial(self, rng):
        first = {name: np.zeros(shape) for name, shape in self.shapes.items()}
        first["head_1"] = glorot(rng, self.shapes["head_1"])
        return first

    def numbers(self, weights, features):
        """A number for each atom, a tensor (n_atoms,)."""
        from skatom.models._torch.networks.layers import ACTIVATIONS

        activation = ACTIVATIONS[self.activation]
        hidden = activation(features @ weights["head_1"] + weights["head_bias_1"])
        return (hidden @ weights["head_2"] + weights["head_bias_2"])[:, 0]


class EnergyHead(AtomicHead):
    """Energies that are sums of those of the atoms."""

    gives = ("energy", "forces", "stress", "local_energies")
    learns = ("energy", "forces", "stress")

    def outputs(self, weights, features, batch):
        local = self.numbers(weights, features)
        return {"energy": batch.sums_of_atoms(local), "local_energies": local}

    def of_elements(self, graphs, constants):
        local = constants[graphs.kinds]
        return {"energy": _sums(local, graphs), "local_energies": local}


class MeanHead(EnergyHead):
    """Energies, or other intensive numbers, that are means over the atoms."""

    extensive = False

    def outputs(self, weights, features, batch):
        local = self.numbers(weights, features)
        local = local * batch.of_structures(batch.shares)
        return {"energy": batch.sums_of_atoms(local), "local_energies": local}

    def of_elements(self, graphs, constants):
        local = constants[graphs.kinds] / np.repeat(graphs.n_atoms, graphs.n_atoms)
        return {"energy": _sums(local, graphs), "local_energies": local}


class ChargeHead(AtomicHead):
    """Charges of atoms."""

    gives = learns = ("charges",)

    def outputs(self, weights, features, batch):
        return {"charges": self.numbers(weights, features)}

    def of_elements(self, graphs, constants):
        return {"charges": constants[graphs.kinds]}


class DipoleHead(AtomicHead):
    """Dipoles of charges at the atoms, which sum up to zero."""

    gives = ("dipole", "charges")
    learns = ("dipole",)

    def outputs(self, weights, features, batch):
        charges = self.numbers(weights, features)
        means = batch.sums_of_atoms(charges) * batch.shares
        charges = charges - batch.of_structures(means)
        dipole = batch.sums_of_atoms(charges[:, None] * batch.positions)
        return {"dipole": dipole, "charges": charges}

    def of_elements(self, graphs, constants):
        charges = constants[graphs.kinds]
        charges = charges - np.repeat(_sums(charges, graphs) / graphs.n_atoms, graphs.n_atoms)
        return {"dipole": _sums(charges[:, None] * graphs.positions, graphs), "charges": charges}


class DipoleNormHead(DipoleHead):
    """Lengths of the dipoles of charges at the atoms, whose sign is unknown."""

    gives = learns = ("dipole_norm",)

    def initial(self, rng):
        # a dipole of zero has no slope
        return super().initial(rng) | {"head_2": glorot(rng, self.shapes["head_2"])}

    def outputs(self, weights, features, batch):
        dipole = super().outputs(weights, features, batch)["dipole"]
        return {"dipole_norm": dipole.norm(dim=1)}  # whose slope at zero is zero

    def of_elements(self, graphs, constants):
        return {"dipole_norm": np.zeros(len(graphs))}


# Heads by what is learnt, and by how energies are made of the numbers of atoms.
HEADS = {"dipole": DipoleHead, "dipole_norm": DipoleNormHead, "charges": ChargeHead}
POOLINGS = {"sum": EnergyHead, "mean": MeanHead}


def _sums(values, graphs):
    return np.add.reduceat(values, graphs.offsets[:-1])
