"""Shapes of the weights of messages, updates of atoms and updates of edges, by the names of each.

d: the size of an atom's state, k: that of an edge's, m: that of a message.
"""


def _two_layers(name, n_in, n_hidden, n_out):
    return {
        f"{name}_1": (n_in, n_hidden), f"{name}_bias_1": (n_hidden,),
        f"{name}_2": (n_hidden, n_out), f"{name}_bias_2": (n_out,),
    }  # fmt: skip


def _edge_network(a, d, k, m):
    widths = [k, *a.n_layers * [a.n_filters]]
    shapes = {}
    for layer, (n, width) in enumerate(zip(widths[:-1], widths[1:], strict=True), start=1):
        shapes[f"message_edges_{layer}"] = n, width
        shapes[f"message_edges_bias_{layer}"] = (width,)
    return shapes | {"message_matrix": ((widths[-1] + 1) * d, m)}


def _matrix(a, d, k, m):
    return {"message_matrix": (k * d, m)}


def _pair(a, d, k, m):
    return {
        "message_own": (d, a.n_filters), "message_there": (d, a.n_filters),
        "message_edges": (k, a.n_filters), "message_bias_1": (a.n_filters,),
        "message_2": (a.n_filters, m), "message_bias_2": (m,),
    }  # fmt: skip


def _filters(a, d, k, m):
    return {"message_atoms": (d, m), **_two_layers("message_filter", k, m, m)}


def _nothing(a, d, k, m):
    return {}


MESSAGES = {
    "edge_network": _edge_network, "matrix": _matrix, "operators": _matrix, "pair": _pair,
    "filters": _filters, "edges": _nothing, "concatenation": _nothing,
}  # fmt: skip


def message_size(a, d, k):
    """The size of a message: free, or given by what it is made of."""
    free = {
        "edge_network": 2 * d if a.directed else d, "matrix": 2 * d if a.directed else d,
        "filters": a.n_filters, "edges": k, "concatenation": d + k,
    }  # fmt: skip
    return free.get(a.message, d)


def _gru(a, d, m):
    return {
        "update_of_message": (m, 3 * d), "update_bias": (3 * d,), "update_gates": (d, 2 * d),
        "update_state": (d, d),
    }  # fmt: skip


def _weave(a, d, m):
    return {
        "update_0": (d, d), "update_bias_0": (d,), "update_1": (d + m, d), "update_bias_1": (d,),
    }  # fmt: skip


UPDATES = {
    "gru": _gru,
    "residual": lambda a, d, m: _two_layers("update", m, d, d),
    "network": lambda a, d, m: _two_layers("update", 2 * d + m, a.n_filters, d),
    "weave": _weave,
    "by_degree": lambda a, d, m: {"update_by_degree": (a.n_degrees, m, d)},
    "sigmoid": lambda a, d, m: {},
    "relu": lambda a, d, m: {},
}


def _edges_network(a, d, k):
    hidden = a.n_filters
    return {
        "edges_own": (d, hidden), "edges_there": (d, hidden), "edges_edges": (k, hidden),
        "edges_bias_1": (hidden,), "edges_2": (hidden, k), "edges_bias_2": (k,),
    }  # fmt: skip


def _edges_weave(a, d, k):
    hidden = a.n_filters
    return {
        "edges_2": (k, hidden), "edges_bias_2": (hidden,), "edges_own": (d, hidden),
        "edges_there": (d, hidden), "edges_bias_3": (hidden,), "edges_4": (2 * hidden, k),
        "edges_bias_4": (k,),
    }  # fmt: skip


EDGE_UPDATES = {"network": _edges_network, "weave": _edges_weave}
