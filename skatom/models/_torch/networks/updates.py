"""The next states of atoms, of their states h, their messages m and their first states x."""

import torch
from torch.nn.functional import relu

from skatom.models._torch.networks.layers import shifted_softplus


def gru(w, h, m, x, batch):
    """A gated recurrent unit: (1 - z) h + z tanh(W m + U (r h))."""
    of_m = m @ w["update_of_message"] + w["update_bias"]
    n = h.shape[1]
    gates = torch.sigmoid(of_m[:, : 2 * n] + h @ w["update_gates"])
    z, r = gates[:, :n], gates[:, n:]
    return h + z * (torch.tanh(of_m[:, 2 * n :] + (r * h) @ w["update_state"]) - h)


def residual(w, h, m, x, batch):
    """h + W_5 g(W_4 m)."""
    hidden = shifted_softplus(m @ w["update_1"] + w["update_bias_1"])
    return h + hidden @ w["update_2"] + w["update_bias_2"]


def network(w, h, m, x, batch):
    """A network of two layers of (h, x, m)."""
    given = torch.cat([h, x, m], 1)
    hidden = shifted_softplus(given @ w["update_1"] + w["update_bias_1"])
    return hidden @ w["update_2"] + w["update_bias_2"]


def weave(w, h, m, x, batch):
    """ReLU(W_1 (ReLU(W_0 h), m))."""
    own = relu(h @ w["update_0"] + w["update_bias_0"])
    return relu(torch.cat([own, m], 1) @ w["update_1"] + w["update_bias_1"])


def by_degree(w, h, m, x, batch):
    """σ(H_deg m), a matrix for each number of neighbours; the last one serves larger ones."""
    matrices = w["update_by_degree"]
    kinds = torch.arange(len(matrices), dtype=m.dtype, device=m.device)
    of_kind = (batch.degrees.clamp(max=len(matrices) - 1) == kinds).to(m.dtype)
    spread = (of_kind[:, :, None] * m[:, None, :]).flatten(1)
    return torch.sigmoid(spread @ matrices.flatten(0, 1))


def sigmoid(w, h, m, x, batch):
    """σ(m)."""
    return torch.sigmoid(m)


def rectified(w, h, m, x, batch):
    """ReLU(m)."""
    return relu(m)


UPDATES = {
    "gru": gru, "residual": residual, "network": network, "weave": weave, "by_degree": by_degree,
    "sigmoid": sigmoid, "relu": rectified,
}  # fmt: skip
