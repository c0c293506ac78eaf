"""The forward pass of learnt point scattering."""

import torch

from skatom.models._torch.networks.layers import cosine_cutoff, smooth
from skatom.models._torch.networks.neighborhoods import OfEdges, OfNeighbors, signs_of_slots
from skatom.models._torch.networks.solid_harmonics import harmonics
from skatom.models.neural.radial_wavelets import POWERS, radial_polynomial


def features(architecture, weights, batch):
    """Features of the atoms (n_atoms, n_features), see `PointScatteringArchitecture`."""
    a = architecture
    filters = _filters(a, batch)
    h = batch.one_hot
    for k in range(1, a.n_layers + 1):
        squares = _squares(a, filters, h @ weights[f"mixing_{k}"], batch)
        h = squares.sqrt()
    return torch.cat([h if q == 1 else squares ** (q / 2) for q in POWERS], 1)


def _filters(a, batch):
    """The wavelets at the neighbours (n_atoms, n_slots, n_fields): columns of each orbital, of each
    width and of each m, one within the other."""
    distances = torch.linalg.vector_norm(batch.vectors, dim=1)
    fade = smooth([f[:, None] for f in cosine_cutoff(distances.detach(), a.cutoff)], distances)
    x = torch.stack([distances / width for width in a.widths], 1)
    decay = torch.exp(-0.5 * x * x) * fade
    degrees = [l for _, l in a.orbitals]
    angular = harmonics(batch.vectors / distances[:, None], max(degrees))
    found = [
        ((_radial(n, l, x) * decay)[:, :, None] * angular[l][:, None]).flatten(1)
        for n, l in a.orbitals
    ]
    blocks = OfEdges.apply(torch.cat(found, 1), batch).split([b.shape[1] for b in found], 2)
    # a wavelet of odd l has the opposite sign at the other end of an edge
    signs = signs_of_slots(batch)
    pairs = zip(degrees, blocks, strict=True)
    return torch.cat([block * signs if l % 2 else block for l, block in pairs], 2)


def _radial(n, l, x):
    """xˡ times the polynomial of an orbital."""
    t, (*rest, value) = 0.5 * x * x, radial_polynomial(n, l)
    for c in reversed(rest):
        value = value * t + c
    return value * x**l


def _squares(a, filters, h, batch):
    """Squared moduli (n_atoms, n_moduli d) of the fields of features h (n_atoms, d)."""
    fields = filters.transpose(1, 2) @ OfNeighbors.apply(h, batch)
    n, count = len(a.widths), [len(a.widths) * (2 * l + 1) for _, l in a.orbitals]
    found = []
    for (orbital, l), block in zip(a.orbitals, fields.split(count, 1), strict=True):
        if l == 0:  # the atom itself is at the centre of its wavelets
            block = block + radial_polynomial(orbital, l)[0] * h[:, None]
        found.append(block.unflatten(1, (n, 2 * l + 1)).square().sum(2))
    return torch.cat(found, 1).flatten(1) + a.smallest_modulus**2
