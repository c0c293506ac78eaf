"""The layers of networks of messages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom.models.neural.architecture import Architecture, glorot
from skatom.models.neural.message_parts import EDGE_UPDATES, MESSAGES, UPDATES, message_size
from skatom.models.neural.molecular_graphs import OPERATORS, molecular_graphs, n_edge_numbers


@dataclass(frozen=True)
class MessagePassingArchitecture(Architecture):
    """Messages between atoms and updates of their states, see `MessagePassingNetwork`.

    ``n_features`` is the number of features that the read-out takes: those of the last states
    (``keeps="last"``), of the last and the first ones ("ends"), or of all ("all").

    Attributes
    ----------
    n_states, n_passes : int
        Size d of an atom's state, and number of passes T.
    message, update : str
    edge_update : str or None
    keeps : {"last", "ends", "all"}
    edges : {"gaussians", "distances", "bins", "bonds", "spectral", "chebyshev", "renormalized"}
    cutoff_function : {"cosine", "hard"}
    has_bonds, virtual_edges, directed, tied : bool
        Whether bonds are known, all others pairs have edges too, messages of either direction have
        weights of their own, and all passes have the same weights.
    n_atom_numbers : int
    n_filters, n_layers, n_rbf, n_degrees, n_towers, master_size, order : int
    gamma : float
    """

    n_states: int
    n_passes: int
    message: str
    update: str
    edge_update: str | None
    keeps: str
    edges: str
    cutoff_function: str
    has_bonds: bool
    virtual_edges: bool
    directed: bool
    tied: bool
    n_atom_numbers: int
    n_filters: int
    n_layers: int
    n_rbf: int
    n_degrees: int
    n_towers: int
    master_size: int
    order: int
    gamma: float

    @property
    def n_steps(self):
        """How many passes have weights of their own."""
        return 1 if self.tied else self.n_passes

    @property
    def n_edge_numbers(self):
        """What is known of an edge beside its distance."""
        return n_edge_numbers(self)

    @property
    def n_known(self):
        """Size of an edge's first state."""
        return self.n_edge_numbers + {"gaussians": self.n_rbf, "distances": 1}.get(self.edges, 0)

    @property
    def shapes(self):
        d, k = self.n_states // self.n_towers, self.n_known
        m = message_size(self, d, k)
        shapes = {"embedding": (self.n_species + self.n_atom_numbers, self.n_states)}
        parts = MESSAGES[self.message](self, d, k, m) | UPDATES[self.update](self, d, m)
        of_step = {name: (self.n_steps, self.n_towers, *shape) for name, shape in parts.items()}
        if self.edge_update:
            edges = EDGE_UPDATES[self.edge_update](self, d, k)
            of_step |= {name: (self.n_steps, 1, *shape) for name, shape in edges.items()}
        if self.n_towers > 1:
            n = self.n_states
            of_step |= {"mix": (self.n_steps, n, n), "mix_bias": (self.n_steps, n)}
        return shapes | of_step | self._of_master(m)

    def _of_master(self, m):
        n = self.master_size
        if not n:
            return {}
        d = self.n_states
        return {
            "master_state": (n,), "master_to_atoms": (n, self.n_towers * m),
            "master_of_atoms": (d, n),
            "master_update_of_message": (n, 3 * n), "master_update_bias": (3 * n,),
            "master_update_gates": (n, 2 * n), "master_update_state": (n, n),
        }  # fmt: skip

    def initial(self, rng):
        first = {}
        for name, shape in self.shapes.items():
            if "bias" in name:
                first[name] = np.zeros(shape)
            elif name in ("embedding", "master_state"):
                first[name] = rng.normal(size=shape) * self.n_states**-0.25
            else:
                first[name] = glorot(rng, shape)
        return first

    def graphs(self, structures, species):
        return molecular_graphs(self, structures, species)

    def features(self, weights, batch):
        from skatom.models._torch.networks.message_passing import features

        return features(self, weights, batch)

    @property
    def numbers_per_edge(self):
        k, d = self.n_known, self.n_states
        wide = max(k, self.n_filters)
        return 4 * k + 4 * self.n_layers * wide + self.n_passes * 4 * (d + wide)


def check_parts(a):
    """Raise a ValueError if the parts of an architecture do not fit together."""
    d = a.n_states
    if d % a.n_towers:
        raise ValueError(
            f"n_features={d} states have no {a.n_towers} equal parts: set n_towers to a divisor"
        )
    if a.n_towers > 1 and a.edge_update:
        raise ValueError(
            f"n_towers={a.n_towers} needs edges without states of their own: set n_towers=1, or "
            "another preset"
        )
    if (a.message == "operators") != (a.edges in OPERATORS):
        raise ValueError(
            f"message={a.message!r} does not go with edges={a.edges!r}: 'operators' and the edges "
            f"{', '.join(OPERATORS)} need each other"
        )
    size = message_size(a, d // a.n_towers, a.n_known)
    if a.update in ("sigmoid", "relu") and size * a.n_towers != d:
        raise ValueError(
            f"update={a.update!r} makes states of {size * a.n_towers} numbers, and n_features is "
            f"{d}: set them equal, or choose another update"
        )
    if a.virtual_edges and a.edges != "bonds":
        raise ValueError(
            f"virtual_edges=True needs edges='bonds', and they are {a.edges!r}: set it False"
        )
