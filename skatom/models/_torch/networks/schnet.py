"""The forward pass of SchNet."""

from functools import partial

import torch

from skatom.models._torch.networks.edge_sums import Convolution
from skatom.models._torch.networks.filter_tables import looked_up, table_of
from skatom.models._torch.networks.layers import (
    DualSoftplus,
    WithSlopes,
    cosine_cutoff,
    gaussians,
    shifted_softplus,
)


def features(architecture, weights, batch):
    """Features of the atoms (n_atoms, n_features), see `SchNetArchitecture`."""
    filters = _filters(architecture, weights, batch.vectors).unbind(0)
    x = batch.one_hot @ weights["embedding"]
    # an atom without neighbours has a message of zero
    scale = 1 / batch.degrees.clamp(min=1) if architecture.normalize_filter else None
    names = ("atoms_to_filters", "filters_to_atoms", "filters_to_atoms_bias", "dense", "dense_bias")
    blocks = zip(*(weights[name].unbind(0) for name in names), strict=True)
    for t, (w_in, w_out, b_out, w_dense, b_dense) in enumerate(blocks):
        messages = Convolution.apply(batch.sent(x @ w_in), filters[t % len(filters)], batch)
        if scale is not None:
            messages = messages * scale
        hidden = shifted_softplus(torch.addmm(b_out, messages, w_out))
        x = x + torch.addmm(b_dense, hidden, w_dense)
    return x


def tables(architecture, weights):
    """The table of the filters by name, where it pays."""
    a = architecture
    known = {name: w.double() for name, w in weights.items() if name.startswith("filter")}
    found = table_of(
        partial(_functions_of_distances, a, known), a.cutoff, a.gamma**-0.5,
        (len(known["filter_1"]), a.n_filters),
    )  # fmt: skip
    return {} if found is None else {"filter_table": found}


def _filters(architecture, weights, vectors):
    """The filters (T, n_edges, n_filters), or (1, …) if all interactions share them.

    They depend on the distances alone: those of all interactions are made in a few products, of
    the radial functions and of their slopes.
    """
    distances = torch.linalg.vector_norm(vectors, dim=1)
    if "filter_table" in weights:
        table = weights["filter_table"]
        values, slopes = looked_up(table, architecture.cutoff, distances.detach())
    else:
        values, slopes = _functions_of_distances(architecture, weights, distances.detach())
    if not vectors.requires_grad:
        return values
    return WithSlopes.apply(values, slopes, distances)


def _functions_of_distances(architecture, weights, d):
    """The filters of distances and their slopes, (T, n, n_filters) each."""
    a = architecture
    values, slopes = gaussians(d, a.n_rbf, a.rbf_stop, a.gamma)
    for k in (1, 2):
        matrix, bias = weights[f"filter_{k}"], weights[f"filter_bias_{k}"]
        values, slopes = DualSoftplus.apply(values @ matrix + bias, slopes @ matrix)
    if a.cutoff_function == "cosine":
        f, of_f = (x[:, None] for x in cosine_cutoff(d, a.cutoff))
        values, slopes = values * f, slopes * f + values * of_f
    return values, slopes
