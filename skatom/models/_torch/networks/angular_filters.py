"""The forward pass of networks of angular filters."""

import torch

from skatom.models._torch.networks.layers import (
    cosine_cutoff,
    gaussians,
    shifted_softplus,
    smooth,
)
from skatom.models._torch.networks.neighborhoods import OfEdges, OfNeighbors, signs_of_slots

_NAMES = (
    "filter_1", "filter_bias_1", "filter_2", "filter_bias_2",
    "dense_1", "dense_bias_1", "dense_2", "dense_bias_2",
)  # fmt: skip


def features(architecture, weights, batch):
    """Features of the atoms (n_atoms, n_features), see `AngularFilterArchitecture`."""
    a = architecture
    radial, fades, angular = _functions(a, batch)
    x = batch.one_hot @ weights["embedding"]
    for t in range(a.n_interactions):
        w = {name: weights[name][t] for name in _NAMES}
        filters = _filters(w, radial, fades, angular)
        if a.message_from == "neighbor":
            messages = (OfNeighbors.apply(x, batch) * filters).sum(1)
        else:
            messages = x * filters.sum(1)
        hidden = shifted_softplus(torch.addmm(w["dense_bias_1"], messages, w["dense_1"]))
        x = x + torch.addmm(w["dense_bias_2"], hidden, w["dense_2"])
    return x


def _filters(w, radial, fades, angular):
    """Filters of neighbours k, sums over the others j (n_atoms, n_slots, n_features).

    The second layer is linear: it comes after the sum. The radial functions are summed before the
    angular ones, once for all j.
    """
    matrices = (radial @ w["filter_1"].flatten(1)).unflatten(2, w["filter_1"].shape[1:])
    hidden = shifted_softplus(angular @ matrices + w["filter_bias_1"])
    sums = (fades.transpose(1, 2)[:, :, None] @ hidden)[:, :, 0]
    weights = fades.sum(1, keepdim=True)
    return fades * (sums @ w["filter_2"] + weights * w["filter_bias_2"])


def _functions(a, batch):
    """What filters depend on: the radial functions (n_atoms, n_slots, n_radial), the cutoff
    function, zero in empty slots, (…, 1), and the angular functions of each pair of neighbours
    (n_atoms, n_slots, n_slots, n_angular)."""
    distances = torch.linalg.vector_norm(batch.vectors, dim=1)
    d = distances.detach()
    radial = smooth(gaussians(d, a.n_radial, a.cutoff, _sharpness(a.cutoff, a.n_radial)), distances)
    fade = smooth([f[:, None] for f in cosine_cutoff(d, a.cutoff)], distances)
    units = batch.vectors / distances[:, None]
    rows = OfEdges.apply(torch.cat([radial, fade, units], 1), batch)
    radial, fades, units = rows.split([a.n_radial, 1, 3], 2)
    units = units * signs_of_slots(batch)
    cosines = units @ units.transpose(1, 2)
    # centres from -1 to 1
    step = 2 / (a.n_angular - 1)
    centers = torch.arange(a.n_angular, dtype=d.dtype, device=d.device) * step - 1
    left = cosines[..., None] - centers
    return radial, fades, torch.exp(-_sharpness(2.0, a.n_angular) * left * left)


def _sharpness(length, n):
    """γ of Gaussians that cross one standard deviation from their n equidistant centres."""
    return 2 * ((n - 1) / length) ** 2
