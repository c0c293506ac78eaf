"""Messages to atoms from their neighbours: one function of each name.

``e`` are the features of edges and ``fade`` the cutoff function: of each edge in what is done
before the first pass, and in the slots of a `neighbor_table` in the messages, where ``fade`` is
zero in empty slots. ``h`` are the states of the atoms (n_atoms, d) and ``there`` those of their
neighbours (n_atoms, n_slots, d).
"""

import torch

from skatom.models._torch.networks.layers import shifted_softplus


def edge_layers(w, e, fade):
    """Hidden layers of the edge network and a constant, whose matrices are its biases."""
    k = 1
    while f"message_edges_{k}" in w:
        e = shifted_softplus(e @ w[f"message_edges_{k}"] + w[f"message_edges_bias_{k}"])
        k += 1
    return torch.cat([e, torch.ones_like(e[..., :1])], -1) * fade


def labels(w, e, fade):
    """The numbers of edges as they are, each of which has a matrix."""
    return e * fade


def edge_network(w, h, there, functions, fade, batch):
    """Σ A(e) h_w, where A = Σ_k φ_k(e) A_k: the sum over neighbours is made before the product."""
    sums = functions.transpose(1, 2) @ there
    return sums.flatten(1) @ w["message_matrix"]


def operators(w, h, there, e, fade, batch):
    """Σ_k P_k h Θ_k, where the numbers of edges and atoms are the elements of matrices P_k."""
    own = batch.atom_numbers[:, -e.shape[2] :]  # the diagonals
    sums = e.transpose(1, 2) @ there + own[:, :, None] * h[:, None, :]
    return sums.flatten(1) @ w["message_matrix"]


def pair(w, h, there, e, fade, batch):
    """Σ f(h_v, h_w, e), a network of two layers."""
    hidden = (h @ w["message_own"] + w["message_bias_1"])[:, None]
    hidden = shifted_softplus(hidden + there @ w["message_there"] + e @ w["message_edges"])
    # the second layer is linear: after the sum
    return (hidden * fade).sum(1) @ w["message_2"] + fade.sum(1) * w["message_bias_2"]


def concatenation(w, h, there, e, fade, batch):
    """(Σ h_w, Σ e)."""
    return (torch.cat([there, e], -1) * fade).sum(1)


def edges(w, h, there, e, fade, batch):
    """Σ e, where edges have states of their own."""
    return (e * fade).sum(1)


def filters(w, h, there, e, fade, batch):
    """Σ W_1 h_w ∘ g(W_3 g(W_2 e)), the continuous-filter convolution."""
    made = shifted_softplus(e @ w["message_filter_1"] + w["message_filter_bias_1"])
    made = shifted_softplus(made @ w["message_filter_2"] + w["message_filter_bias_2"])
    return ((there @ w["message_atoms"]) * made * fade).sum(1)


# What is made of the edges before the first pass, where they have no states of their own.
PREPARED = {"edge_network": edge_layers, "matrix": labels}
MESSAGES = {
    "edge_network": edge_network, "matrix": edge_network, "operators": operators, "pair": pair,
    "edges": edges, "concatenation": concatenation, "filters": filters,
}  # fmt: skip
