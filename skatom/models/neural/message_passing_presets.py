"""Networks of messages by name: what each is made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """The parts of a network of messages, by the names in `message_parts` and `read_outs`.

    Attributes
    ----------
    message, update, read_out, edges : str
    edge_update : {"network", "weave"} or None
    directed : bool
        Whether messages of either direction have matrices of their own, which doubles a message.
    tied : bool
        Whether all passes have the same weights.
    """

    message: str
    update: str
    read_out: str
    edges: str
    edge_update: str | None = None
    directed: bool = False
    tied: bool = False


PRESETS = {
    "edge_network": Preset("edge_network", "gru", "set2set", "gaussians", directed=True, tied=True),
    "gated_graph": Preset("matrix", "gru", "gated_sum", "bins", directed=True, tied=True),
    "neural_fingerprints": Preset("concatenation", "by_degree", "fingerprint", "bonds"),
    "interaction_network": Preset("pair", "network", "network_of_sum", "gaussians"),
    "weave": Preset("edges", "weave", "network_of_sum", "bins", "weave"),
    "schnet_edge_updates": Preset("filters", "residual", "sum", "gaussians", "network"),
    "spectral": Preset("operators", "sigmoid", "network_of_sum", "spectral"),
    "chebyshev": Preset("operators", "sigmoid", "network_of_sum", "chebyshev"),
    "graph_convolution": Preset("operators", "relu", "network_of_sum", "renormalized"),
}
