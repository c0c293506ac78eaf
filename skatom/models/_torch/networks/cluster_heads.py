"""Features of the clusters that atoms are pooled to."""

import torch

from skatom.models._torch.networks.edge_sums import Convolution
from skatom.models._torch.networks.layers import (
    ACTIVATIONS,
    cosine_cutoff,
    gaussians,
    shifted_softplus,
    smooth,
)


def pooled_graph(head, weights, features, batch):
    """Features (n, n_clusters, n_features) of the pooled graph, see `DiffPoolHead`."""
    activation, c = ACTIVATIONS[head.activation], head.n_clusters
    distances = torch.linalg.vector_norm(batch.vectors, dim=1)
    edges = smooth([f[:, None] for f in cosine_cutoff(distances.detach(), head.cutoff)], distances)

    def over_neighbors(x):
        return Convolution.apply(x, edges.expand(-1, x.shape[1]), batch)

    def layer(name, x):
        return x @ weights[name] + weights[f"{name}_bias"]

    both = torch.cat([features, over_neighbors(features)], 1)
    shares = torch.softmax(layer("assign", both), 1)
    rows = torch.cat([activation(layer("embed", both)), over_neighbors(shares)], 1)
    x, a = _pooled(shares, rows, batch).split([head.n_features, c], 2)
    return activation(layer("pooled", torch.cat([x, a @ x], 2)))


def pooled_positions(head, weights, features, batch):
    """Features (n, n_clusters, n_features) of clusters in space, see `PositionHead`."""
    shares = torch.softmax(features @ weights["assign"] + weights["assign_bias"], 1)
    rows = torch.cat([features, batch.positions, torch.ones_like(features[:, :1])], 1)
    x, positions, sizes = _pooled(shares, rows, batch).split([head.n_features, 3, 1], 2)
    positions = positions / (sizes + (sizes == 0))  # structures of no atoms pad a batch
    filters = _cluster_filters(head, weights, positions)
    messages = (filters * x[:, None]).sum(2)
    hidden = shifted_softplus(messages @ weights["pooled_1"] + weights["pooled_bias_1"])
    return x + hidden @ weights["pooled_2"] + weights["pooled_bias_2"]


def _pooled(shares, rows, batch):
    """Sums over atoms of rows (n_atoms, m), by their shares in the clusters: (n, n_clusters, m)."""
    both = (shares[:, :, None] * rows[:, None]).flatten(1)
    return batch.sums_of_atoms(both).unflatten(1, (shares.shape[1], -1))


def _cluster_filters(head, weights, positions):
    """Sums over clusters b of the filters of clusters a and c, (n, a, c, n_features)."""
    vectors = positions[:, None] - positions[:, :, None]
    lengths = (vectors.square().sum(3) + head.smallest_length**2).sqrt()
    units = vectors / lengths[..., None]
    radial, _ = gaussians(
        lengths.flatten(), head.n_radial, head.cutoff, _sharpness(head.cutoff, head.n_radial)
    )
    radial = radial.view(*lengths.shape, -1)
    cosines = units @ units.transpose(2, 3)  # a, b, c
    angular, _ = gaussians(
        cosines.flatten() + 1, head.n_angular, 2.0, _sharpness(2.0, head.n_angular)
    )
    angular = angular.view(*cosines.shape, -1)
    rows = (radial[:, :, None, :, :, None] * angular[..., None, :]).flatten(4)
    hidden = shifted_softplus(rows @ weights["pooled_filter_1"] + weights["pooled_filter_bias_1"])
    filters = hidden @ weights["pooled_filter_2"] + weights["pooled_filter_bias_2"]
    others = 1 - torch.eye(head.n_clusters, dtype=positions.dtype, device=positions.device)
    return (filters * others[:, :, None, None]).sum(2) * others[:, :, None]


def _sharpness(length, n):
    """γ of Gaussians that cross one standard deviation from their n equidistant centres."""
    return 2 * ((n - 1) / length) ** 2
