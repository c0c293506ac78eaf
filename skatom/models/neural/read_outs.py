"""Read-outs: energies of structures of the states of all their atoms."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skatom.models.neural.architecture import glorot
from skatom.models.neural.heads import EnergyHead, Head


@dataclass(frozen=True)
class ReadOut(Head):
    """Energies of structures, of the states of atoms that a network of messages keeps.

    A subclass implements ``shapes`` and ``energies``, a dict of tensors, and says by ``keeps``
    which states it needs, see `MessagePassingArchitecture`. The last weights are zero at first.

    Attributes
    ----------
    n_features, n_hidden : int
        Size of what is kept of an atom, and of the hidden layer.
    n_states : int
        Size of the state of an atom.
    smooth : bool
        Whether energies have derivatives by positions.
    """

    n_features: int
    n_hidden: int
    n_states: int
    smooth: bool

    keeps: ClassVar[str] = "last"
    local: ClassVar[bool] = False

    @property
    def gives(self):
        derivatives = ("forces", "stress") if self.smooth else ()
        return ("energy", *derivatives, *(("local_energies",) if self.local else ()))

    @property
    def learns(self):
        return ("energy", "forces", "stress") if self.smooth else ("energy",)

    @abstractmethod
    def outputs(self, weights, features, batch):
        """Energies of structures, and of atoms where they have any."""

    def of_elements(self, graphs, constants):
        found = EnergyHead.of_elements(self, graphs, constants)
        return found if self.local else {"energy": found["energy"]}

    def initial(self, rng):
        return {
            name: np.zeros(shape) if "bias" in name or name == "head_2" else glorot(rng, shape)
            for name, shape in self.shapes.items()
        }

    def _layers(self, name, n):
        return {
            f"{name}_1": (n, self.n_hidden), f"{name}_bias_1": (self.n_hidden,),
            f"{name}_2": (self.n_hidden, 1), f"{name}_bias_2": (1,),
        }  # fmt: skip


class SumReadOut(ReadOut):
    r"""The sum over the atoms of a network of their states, :math:`\sum_v f(h_v^T)`."""

    local = True

    @property
    def shapes(self):
        return self._layers("head", self.n_features)

    def outputs(self, weights, features, batch):
        from skatom.models._torch.networks.read_outs import two_layers

        local = two_layers(weights, "head", features)
        return {"energy": batch.sums_of_atoms(local), "local_energies": local}


class GatedSumReadOut(ReadOut):
    r"""A sum over the atoms with gates, :math:`\sum_v \sigma(i(h_v^T, h_v^0)) j(h_v^T)`."""

    keeps = "ends"
    local = True

    @property
    def shapes(self):
        return self._layers("gate", self.n_features) | self._layers("head", self.n_states)

    def outputs(self, weights, features, batch):
        from skatom.models._torch.networks.read_outs import gated

        local = gated(weights, features)
        return {"energy": batch.sums_of_atoms(local), "local_energies": local}


class NetworkOfSumReadOut(ReadOut):
    r"""A network of the sum over the atoms, :math:`f(\sum_v h_v^T)`."""

    @property
    def shapes(self):
        return self._layers("head", self.n_features)

    def outputs(self, weights, features, batch):
        from skatom.models._torch.networks.read_outs import two_layers

        return {"energy": two_layers(weights, "head", batch.sums_of_atoms(features))}


class FingerprintReadOut(ReadOut):
    r"""A network of :math:`\sum_{v, t} \mathrm{softmax}(W_t h_v^t)`."""

    keeps = "all"

    @property
    def shapes(self):
        n = self.n_states
        fingerprint = {"fingerprint": (self.n_features // n, n, 2 * n)}
        return fingerprint | self._layers("head", 2 * n)

    def outputs(self, weights, features, batch):
        from skatom.models._torch.networks.read_outs import fingerprints, two_layers

        return {"energy": two_layers(weights, "head", fingerprints(weights, features, batch))}


@dataclass(frozen=True)
class Set2SetReadOut(ReadOut):
    """A network of what `set2set` reads of the atoms' states in n_steps steps."""

    n_steps: int

    keeps = "ends"

    @property
    def shapes(self):
        n = self.n_states
        return {
            "memory": (self.n_features, n), "lstm": (2 * n, 4 * n), "lstm_bias": (4 * n,),
            **self._layers("head", 2 * n),
        }  # fmt: skip

    def outputs(self, weights, features, batch):
        from skatom.models._torch.networks.read_outs import set2set, two_layers

        answer = set2set(weights, features, batch, self.n_steps)
        return {"energy": two_layers(weights, "head", answer)}


READ_OUTS = {
    "sum": SumReadOut, "gated_sum": GatedSumReadOut, "network_of_sum": NetworkOfSumReadOut,
    "fingerprint": FingerprintReadOut, "set2set": Set2SetReadOut,
}  # fmt: skip
