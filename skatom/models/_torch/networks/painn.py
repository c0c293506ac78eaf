"""The forward pass of PaiNN."""

import torch
from torch.nn.functional import silu

from skatom.models._torch.networks.layers import cosine_cutoff, sine_waves
from skatom.models._torch.networks.vector_filters import Edges, directed_filters
from skatom.models._torch.networks.vector_sums import VectorConvolution

_NAMES = (
    "message_1", "message_bias_1", "message_2", "message_bias_2", "mixing",
    "update_1", "update_bias_1", "update_2", "update_bias_2",
)  # fmt: skip


def features(architecture, weights, batch):
    """Features of the atoms (n_atoms, n_features), see `PaiNNArchitecture`."""
    filters = _filters(architecture, weights, batch)
    numbers, vectors = batch.one_hot @ weights["embedding"], None
    blocks = zip(*(weights[name].unbind(0) for name in _NAMES), strict=True)
    for t, (*of_message, mixing, w_1, b_1, w_2, b_2) in enumerate(blocks):
        sources = batch.sent(_sources(of_message, numbers, vectors))
        found = VectorConvolution.apply(sources, filters[t], batch)
        numbers = numbers + found[:, 0]
        vectors = found[:, 1:] if vectors is None else vectors + found[:, 1:]
        u, v = (vectors @ mixing).chunk(2, 2)
        norms = (v.square().sum(1) + architecture.smallest_norm**2).sqrt()
        hidden = silu(torch.addmm(b_1, torch.cat([numbers, norms], 1), w_1))
        if t == architecture.n_interactions - 1:
            n = architecture.n_features  # the vectors are not used again
            of_products, own = torch.addmm(b_2[n:], hidden, w_2[:, n:]).chunk(2, 1)
        else:
            of_vectors, of_products, own = torch.addmm(b_2, hidden, w_2).chunk(3, 1)
            vectors = vectors + of_vectors[:, None] * u
        numbers = numbers + own + of_products * (u * v).sum(1)
    return numbers


def _sources(weights, numbers, vectors):
    """What atoms send: numbers, those of new vectors and, times a number each, their vectors."""
    w_1, b_1, w_2, b_2 = weights
    hidden = silu(torch.addmm(b_1, numbers, w_1))
    if vectors is None:
        n = 2 * numbers.shape[1]
        return torch.addmm(b_2[:n], hidden, w_2[:, :n]).unflatten(1, (2, -1))
    found = torch.addmm(b_2, hidden, w_2).unflatten(1, (3, -1))
    return torch.cat([found[:, :2], found[:, 2:] * vectors], 1)


def _filters(architecture, weights, batch):
    """Filters of each interaction, whose derivatives by the vectors of edges are known."""
    a, edges = architecture, Edges(batch)
    distances = edges.distances[:, 0]
    waves, slopes = sine_waves(distances, a.n_rbf, a.cutoff)
    f, of_f = (x[:, None] for x in cosine_cutoff(distances, a.cutoff))
    # a column for the bias; derivatives by the distance below the values
    values, slopes = [waves * f, f], [slopes * f + waves * of_f, of_f]
    rows = torch.cat([torch.cat(values, 1), torch.cat(slopes, 1)])
    found = []
    for matrix in torch.cat([weights["filter"], weights["filter_bias"]], 1).unbind(0):
        if not found:
            matrix = matrix[:, : 2 * a.n_features]  # there are no vectors yet
        radial, slopes = (rows @ matrix).unflatten(1, (-1, a.n_features)).chunk(2)
        found.append(directed_filters(radial, slopes, edges))
    return found
