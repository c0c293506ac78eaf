"""What is read of the states of all atoms of a structure: one number each."""

import torch

from skatom.models._torch.networks.layers import shifted_softplus


def two_layers(w, name, x):
    """A layer of neurons and one of one, (n,)."""
    hidden = shifted_softplus(x @ w[f"{name}_1"] + w[f"{name}_bias_1"])
    return (hidden @ w[f"{name}_2"] + w[f"{name}_bias_2"])[:, 0]


def set2set(weights, features, batch, n_steps):
    """q* (n_structures, 2 d) of memories (n_atoms, d): a query, and what it is answered.

    In each step an LSTM makes a query q of the last answer, atoms weigh by the softmax of their
    products with q, and the answer is their mean with these weights.
    """
    memories = features @ weights["memory"]
    d = memories.shape[1]
    answer = memories.new_zeros((batch.n_structures, 2 * d))
    cell = memories.new_zeros((batch.n_structures, d))
    for _ in range(n_steps):
        gates = answer @ weights["lstm"] + weights["lstm_bias"]
        keep, write, show = torch.sigmoid(gates[:, : 3 * d]).chunk(3, 1)
        cell = keep * cell + write * torch.tanh(gates[:, 3 * d :])
        query = show * torch.tanh(cell)
        read = weighted_means(memories, (memories * batch.of_structures(query)).sum(1), batch)
        answer = torch.cat([query, read], 1)
    return answer


def weighted_means(values, exponents, batch):
    """Σ e^x v / Σ e^x over the atoms of each structure; zero where a structure has no atoms."""
    with torch.no_grad():
        owners = batch.atom_owners
        largest = exponents.new_full((batch.n_structures + 1,), -torch.inf)
        largest = largest.scatter_reduce(0, owners, exponents, "amax").index_select(0, owners)
    weights = torch.exp(exponents - largest)[:, None]
    sums = batch.sums_of_atoms(torch.cat([weights * values, weights], 1))
    return sums[:, :-1] / sums[:, -1:].clamp(min=torch.finfo(sums.dtype).tiny)


def fingerprints(weights, features, batch):
    """Σ_v Σ_t softmax(W_t h_v^t), (n_structures, n_bits)."""
    matrices = weights["fingerprint"]
    states = features.chunk(len(matrices), 1)
    bits = sum(torch.softmax(h @ w, 1) for h, w in zip(states, matrices.unbind(0), strict=True))
    return batch.sums_of_atoms(bits)


def gated(weights, features):
    """σ(i(h, h⁰)) j(h) of each atom (n_atoms,)."""
    h = features[:, : features.shape[1] // 2]
    return torch.sigmoid(two_layers(weights, "gate", features)) * two_layers(weights, "head", h)
