"""The next states of edges (n_atoms, n_slots, k) between states h of atoms."""

import torch
from torch.nn.functional import relu

from skatom.models._torch.networks.layers import shifted_softplus


def network(w, h, there, e):
    """g(W_2 g(W_1 (h_v, h_w, e)))."""
    hidden = (h @ w["edges_own"] + w["edges_bias_1"])[:, None]
    hidden = shifted_softplus(hidden + there @ w["edges_there"] + e @ w["edges_edges"])
    return shifted_softplus(hidden @ w["edges_2"] + w["edges_bias_2"])


def weave(w, h, there, e):
    """ReLU(W_4 (ReLU(W_2 e), ReLU(W_3 (h_v, h_w))))."""
    of_edge = relu(e @ w["edges_2"] + w["edges_bias_2"])
    of_atoms = (h @ w["edges_own"] + w["edges_bias_3"])[:, None] + there @ w["edges_there"]
    both = torch.cat([of_edge, relu(of_atoms)], -1)
    return relu(both @ w["edges_4"] + w["edges_bias_4"])


EDGE_UPDATES = {"network": network, "weave": weave}
