"""The passes of networks of messages."""

import torch

from skatom.models._torch.networks.edge_updates import EDGE_UPDATES
from skatom.models._torch.networks.layers import cosine_cutoff, gaussians, smooth
from skatom.models._torch.networks.messages import MESSAGES, PREPARED
from skatom.models._torch.networks.neighborhoods import OfEdges, OfNeighbors
from skatom.models._torch.networks.updates import UPDATES, gru


def features(architecture, weights, batch):
    """The states of the atoms that the read-out takes, see `MessagePassingArchitecture`."""
    a = architecture
    h = _first_states(a, weights, batch)
    passes = _Passes(a, weights, batch, h)
    states = [h]
    for t in range(a.n_passes):
        states.append(passes(t, states[-1]))
    return torch.cat({"last": states[-1:], "ends": [states[-1], h], "all": states}[a.keeps], 1)


def _first_states(a, weights, batch):
    """A vector of each element and of each number that is known of an atom beside it."""
    known = batch.one_hot
    if a.n_atom_numbers:
        known = torch.cat([known, batch.atom_numbers[:, : a.n_atom_numbers]], 1)
    return known @ weights["embedding"]


class _Passes:
    """The passes, one after the other, and what they share; x are the first states."""

    def __init__(self, architecture, weights, batch, x):
        a = self.architecture = architecture
        self.weights, self.batch, self.x = weights, batch, x
        known, fade = _edges(a, batch)
        self.fade = batch.slot_mask if fade is None else OfEdges.apply(fade, batch)
        prepare = None if a.edge_update else PREPARED.get(a.message)
        self.edges = None if prepare else OfEdges.apply(known, batch)
        ones = known.new_ones((len(known), 1)) if fade is None else fade
        self.prepared = [
            [
                OfEdges.apply(prepare(self._of("message", step, tower), known, ones), batch)
                for tower in range(a.n_towers)
            ]
            for step in range(a.n_steps if prepare else 0)
        ]
        self.master = None
        if a.master_size:
            # a row for each structure of the batch
            self.master = weights["master_state"].expand(batch.n_structures, -1)

    def _of(self, part, step, tower=0):
        """The weights of a part by name, for a step and a tower."""
        return {k: w[step, tower] for k, w in self.weights.items() if k.startswith(part)}

    def __call__(self, t, h):
        """The next states of the atoms."""
        a = self.architecture
        step = t % a.n_steps
        if a.edge_update == "network":
            self._update_edges(step, h)
        messages = self._messages(step, h)
        if a.edge_update == "weave" and t + 1 < a.n_passes:
            self._update_edges(step, h)
        if self.master is not None:
            messages = messages + self.batch.of_structures(self.master) @ self._master("to_atoms")
            to_master = self.batch.sums_of_atoms(h @ self._master("of_atoms"))
            own = {k.removeprefix("master_"): w for k, w in self.weights.items()}
            self.master = gru(own, self.master, to_master, None, None)
        parts = zip(*(s.chunk(a.n_towers, 1) for s in (h, messages, self.x)), strict=True)
        found = [
            UPDATES[a.update](self._of("update", step, tower), *part, self.batch)
            for tower, part in enumerate(parts)
        ]
        if a.n_towers == 1:
            return found[0]
        return torch.cat(found, 1) @ self.weights["mix"][step] + self.weights["mix_bias"][step]

    def _messages(self, step, h):
        """The messages of all towers, side by side."""
        a, found = self.architecture, []
        for tower, own in enumerate(h.chunk(a.n_towers, 1)):
            there = OfNeighbors.apply(own, self.batch)
            edges = self.prepared[step][tower] if self.prepared else self.edges
            weights = self._of("message", step, tower)
            found.append(MESSAGES[a.message](weights, own, there, edges, self.fade, self.batch))
        return torch.cat(found, 1)

    def _update_edges(self, step, h):
        update = EDGE_UPDATES[self.architecture.edge_update]
        there = OfNeighbors.apply(h, self.batch)
        self.edges = update(self._of("edges", step), h, there, self.edges)

    def _master(self, name):
        return self.weights[f"master_{name}"]


def _edges(a, batch):
    """What is known of edges (n_edges, k), and the cutoff function (n_edges, 1) or None."""
    distances = torch.linalg.vector_norm(batch.vectors, dim=1)
    d, known, fade = distances.detach(), [], None
    if a.edges == "gaussians":
        known.append(smooth(gaussians(d, a.n_rbf, a.cutoff, a.gamma), distances))
    elif a.edges == "distances":
        known.append(distances[:, None])
    if a.n_edge_numbers:
        known.append(batch.edge_numbers)
    if a.cutoff_function == "cosine":
        fade = smooth([f[:, None] for f in cosine_cutoff(d, a.cutoff)], distances)
    return torch.cat(known, 1), fade
