"""The forward pass of deep tensor neural networks."""

import torch

from skatom.models._torch.networks.ends import EndRows, EndSums
from skatom.models._torch.networks.layers import WithSlopes, cosine_cutoff, gaussians


def features(architecture, weights, batch):
    """Features of the atoms (n_atoms, n_features), see `DTNNArchitecture`."""
    filters, smoothing = _functions_of_distances(architecture, weights, batch.vectors)
    if batch.presence is not None:
        seen = EndRows.apply(batch.presence, batch)
        smoothing = seen if smoothing is None else smoothing * seen
    x = batch.one_hot @ weights["embedding"]
    for _ in range(architecture.n_interactions):
        h = torch.addmm(weights["atoms_to_factors_bias"], x, weights["atoms_to_factors"])
        products = EndRows.apply(h, batch) * filters
        messages = torch.tanh(products @ weights["factors_to_atoms"])
        if smoothing is not None:
            messages = messages * smoothing
        x = x + EndSums.apply(messages.flip(0), batch)
    return x


def _functions_of_distances(architecture, weights, vectors):
    """The factors of the edges (1, n_edges, n_factors), which all passes share, and what brings
    messages to zero at the cutoff (1, n_edges, 1), or None."""
    distances = torch.linalg.vector_norm(vectors, dim=1)
    d = distances.detach()
    a = architecture
    values, slopes = gaussians(d, a.n_rbf, a.rbf_stop, a.gamma)
    matrix, bias = weights["distances_to_factors"], weights["distances_to_factors_bias"]
    pairs = [(torch.addmm(bias, values, matrix), slopes @ matrix)]
    if a.cutoff_function == "cosine":
        pairs.append([x[:, None] for x in cosine_cutoff(d, a.cutoff)])
    if vectors.requires_grad:
        found = [WithSlopes.apply(v[None], s[None], distances) for v, s in pairs]
    else:
        found = [v[None] for v, _ in pairs]
    return found[0], (found[1] if len(found) > 1 else None)
