"""Expansion of the neighbour densities of many centres on a device, and its transpose.

    c[i, a, lm, n] = Σ_j w(r_ij) G_nl(r_ij) Y_lm(r_ij / r_ij)   over the neighbours j of species a

as in the compiled loops, with one row for each pair.
"""

from functools import cached_property, lru_cache

import numpy as np
import torch

from skatom.descriptors._torch.harmonics import harmonics, harmonics_with_gradients


@lru_cache(maxsize=32)
def degrees(l_max, device):
    """The degree l of every component (l, m)."""
    every = np.arange(l_max + 1)
    return torch.as_tensor(np.repeat(every, 2 * every + 1), device=device)


class PairFunctions:
    """The functions of every pair that expansions and their derivatives are made of.

    Parameters
    ----------
    pairs : PairTensors
    density : Density
        With tensors instead of arrays.
    """

    def __init__(self, pairs, density):
        self.pairs = pairs
        self.density = density
        self.r = torch.linalg.vector_norm(pairs.vectors, dim=1)
        self.unit = pairs.vectors / self.r[:, None]
        self.degrees = degrees(density.l_max, str(self.r.device))

    @cached_property
    def harmonics(self):
        """Y_lm, (n_pairs, n_lm)."""
        return harmonics(self.unit, self.density.norm, self.density.l_max).T.contiguous()

    @cached_property
    def with_gradients(self):
        """Y_lm (n_pairs, n_lm), and the gradients of the solid harmonics (n_pairs, 3, n_lm)."""
        y, gradients = harmonics_with_gradients(self.unit, self.density.norm, self.density.l_max)
        return y.T.contiguous(), gradients.permute(2, 0, 1).contiguous()

    @cached_property
    def weights(self):
        """w(r) of every pair and its derivative, see the compiled `neighbor_weight`."""
        density, r = self.density, self.r
        u, du = torch.ones_like(r), torch.zeros_like(r)
        if density.exponent > 0:
            power = (r / density.scale) ** density.exponent
            u = density.rate / (density.rate + power)
            du = -u * density.exponent * power / (r * (density.rate + power))
        if density.cutoff_width == 0:
            return u, du
        start = density.cutoff - density.cutoff_width
        x = np.pi / density.cutoff_width * torch.clip(r - start, 0.0)
        f, df = 0.5 * (1 + torch.cos(x)), -0.5 * np.pi / density.cutoff_width * torch.sin(x)
        return f * u, df * u + f * du

    @cached_property
    def _interval(self):
        table, spacing = self.density.table, self.density.spacing
        k = torch.clip((self.r / spacing).long(), max=table.shape[1] - 1)
        tables = self.density.table_of[self.pairs.species]
        return table[tables, k], (self.r - k.double() * spacing)[:, None]

    @cached_property
    def _plain(self):
        """G_nl(r), (n_pairs, (l_max + 1) n_max)."""
        p, x = self._interval
        g = p[:, 0]
        for power in range(1, 6):
            g = torch.addcmul(p[:, power], g, x)
        return g

    @cached_property
    def radial(self):
        """w(r) G_nl(r), (n_pairs, l_max + 1, n_max)."""
        return self._by_degree(self.weights[0][:, None] * self._plain)

    @cached_property
    def radial_slopes(self):
        """Their derivatives."""
        p, x = self._interval
        g = 5 * p[:, 0]
        for power in range(1, 5):
            g = torch.addcmul((5 - power) * p[:, power], g, x)
        w, dw = self.weights
        return self._by_degree(dw[:, None] * self._plain + w[:, None] * g)

    def _by_degree(self, g):
        return g.view(len(g), self.density.l_max + 1, self.density.n_max)


def pair_functions(pairs, density, derivatives):
    """The `PairFunctions`, the derivatives of which are computed when they are used."""
    return PairFunctions(pairs, density)


def expand(functions):
    """c (n_centers, n_lm, n_species, n_max) of the neighbours and of the centre itself."""
    pairs, density = functions.pairs, functions.density
    n_species, n_max, y = density.mixing.shape[1], density.n_max, functions.harmonics
    terms = y.new_empty((*y.shape, n_max))
    for l, part in by_degree(density.l_max):
        torch.mul(y[:, part, None], functions.radial[:, l, None], out=terms[:, part])
    c = terms.new_zeros((len(pairs.own) * n_species, terms.shape[1:].numel()))
    c.index_add_(0, pairs.centers * n_species + pairs.species, terms.flatten(1))
    c = c.view(-1, n_species, y.shape[1], n_max).transpose(1, 2).contiguous()
    every = torch.arange(len(c), device=c.device)
    own = density.table[density.table_of[pairs.own], 0, 5, :n_max]
    c[every, 0, pairs.own] += density.central_weight * density.norm[0] * own
    return c


def expansion_gradients(functions, dc):
    """dE/dr_ij (n_pairs, 3) for the cotangent dc (n_centers, n_lm, n_species, n_max)."""
    pairs, inverse = functions.pairs, 1 / functions.r[:, None]
    y, gradients = functions.with_gradients
    rows = dc.transpose(1, 2)[pairs.centers, pairs.species]
    a, b = torch.empty_like(y), torch.empty_like(y)
    for l, part in by_degree(functions.density.l_max):
        torch.sum(rows[:, part] * functions.radial[:, l, None], 2, out=a[:, part])
        torch.sum(rows[:, part] * functions.radial_slopes[:, l, None], 2, out=b[:, part])
    along = (y * (b - functions.degrees * inverse * a)).sum(1)
    across = (gradients * a[:, None]).sum(2)
    return along[:, None] * functions.unit + inverse * across


def by_degree(l_max):
    """Every degree l and the slice of its components (l, m)."""
    return [(l, slice(l * l, (l + 1) ** 2)) for l in range(l_max + 1)]


def tangents(functions):
    """Derivatives (n_pairs, 3, n_lm, n_max) along its vector of what each neighbour adds to c."""
    y, gradients = functions.with_gradients
    along = functions.unit[:, :, None] * y[:, None]
    turn = (1 / functions.r)[:, None, None] * (gradients - functions.degrees * along)
    radial = functions.radial[:, None, functions.degrees]
    slopes = functions.radial_slopes[:, None, functions.degrees]
    return turn[..., None] * radial + along[..., None] * slopes
