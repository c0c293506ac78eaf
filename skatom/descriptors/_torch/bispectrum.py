"""The bispectrum of many centres on a device, and its derivatives.

    B = √(8π²) Σ_m1m2m3 W[m1, m2, m3] c_q1[l1 m1] c_q2[l2 m2] c_q3[l3 m3]

For each triple of l two products of matrices for each centre make all products of three channels,
of which those that the compiled loops keep are taken.
"""

from functools import lru_cache
from math import pi

import numpy as np
import torch

from skatom.descriptors.coupling import real_coupling


@lru_cache(maxsize=512)
def _coupling(l1, l2, l3, device):
    """W (2 l3 + 1, 2 l1 + 1, 2 l2 + 1), the third component first."""
    coupling = np.ascontiguousarray(np.moveaxis(real_coupling(l1, l2, l3), 2, 0))
    return torch.as_tensor(coupling, device=device)


@lru_cache(maxsize=64)
def _kept(n_channels, equal_first, equal_last, odd, device):
    """Places of the kept products (q1, q2, q3) in a cube, and √(8π² · number of their orders)."""
    q1, q2, q3 = np.indices(3 * (n_channels,)).reshape(3, -1)
    kept, equal = np.ones(len(q1), bool), np.zeros(len(q1), int)
    for same_degree, one, other in ((equal_first, q1, q2), (equal_last, q2, q3)):
        if same_degree:
            kept &= one + odd <= other
            equal += one == other
    factors = np.sqrt(8 * pi**2 * np.array([6.0, 3.0, 1.0])[equal[kept]])
    places = torch.as_tensor(np.flatnonzero(kept), device=device)
    return places, torch.as_tensor(factors, device=device)


class _Triple:
    """The products of one triple of l for coefficients c (…, n_lm, n_channels)."""

    def __init__(self, degrees, c):
        l1, l2, l3 = degrees
        device = str(c.device)
        self.rows = [slice(l * l, (l + 1) ** 2) for l in degrees]
        self.coupling = _coupling(l1, l2, l3, device)
        self.places, self.factors = _kept(
            c.shape[-1], l1 == l2, l2 == l3, (l1 + l2 + l3) % 2, device
        )
        self.a, self.b, self.c = self.parts(c)
        self.first = self.couple(self.a)
        self.second = self.first @ self.b

    def parts(self, c):
        """The components of each l."""
        return [c[..., rows, :] for rows in self.rows]

    def couple(self, a):
        """Σ_m1 W a, (…, (m3, q1), m2)."""
        return torch.einsum("cab,...ap->...cpb", self.coupling, a).flatten(-3, -2)

    def squares(self, second):
        """(…, m3, (q1, q2)) of (…, (m3, q1), q2)."""
        return second.unflatten(-2, (len(self.coupling), -1)).flatten(-2)

    def keep(self, cubes):
        """The kept products (…, n_kept) of all (…, (q1, q2), q3)."""
        return cubes.flatten(-2)[..., self.places] * self.factors


def spectrum(c, triples):
    """Unnormalised features (n, n_features) of coefficients (n, n_lm, n_channels)."""
    parts = []
    for degrees in _degrees(triples):
        t = _Triple(degrees, c)
        parts.append(t.keep(t.squares(t.second).mT @ t.c))
    return torch.cat(parts, 1)


def cotangent(c, triples, rows):
    """dE/dc (n, n_lm, n_channels) for dE/d features (n, n_features)."""
    dc, stop = torch.zeros_like(c), 0
    for degrees in _degrees(triples):
        t = _Triple(degrees, c)
        start, stop = stop, stop + len(t.places)
        cubes = c.new_zeros((len(c), c.shape[2] ** 3))
        cubes[:, t.places] = rows[:, start:stop] * t.factors
        cubes = cubes.view(len(c), -1, c.shape[2])
        first, second, third = t.rows
        dc[:, third] += t.squares(t.second) @ cubes
        pull = (cubes @ t.c.mT).mT.reshape(t.second.shape)
        dc[:, second] += t.first.mT @ pull
        pull = (pull @ t.b.mT).unflatten(-2, (len(t.coupling), -1))
        dc[:, first] += torch.einsum("cab,icpb->iap", t.coupling, pull)
    return dc


def tangent(c, dc, triples):
    """Derivatives (n_pairs, 3, n_features) for changes dc (n_pairs, 3, n_lm, n_channels)."""
    parts = []
    for degrees in _degrees(triples):
        t = _Triple(degrees, c[:, None])
        a, b, last = t.parts(dc)
        second = t.couple(a) @ t.b + t.first @ b
        cubes = t.squares(second).mT @ t.c + t.squares(t.second).mT @ last
        parts.append(t.keep(cubes))
    return torch.cat(parts, 2)


def _degrees(triples):
    """The l of each triple of `coupling_table`."""
    return [tuple(map(int, triple[:3])) for triple in triples]
