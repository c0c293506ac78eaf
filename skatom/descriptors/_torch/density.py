"""Expansion of the neighbour densities of many centres on a device, and its transpose.

    c[i, a, lm, n] = Σ_j w(r_ij) G_nl(r_ij) Y_lm(r_ij / r_ij)   over the neighbours j of species a

as in the compiled loops, with one row for each pair.
"""

from functools import cached_property

import numpy as np
import torch

from skatom.descriptors._torch.harmonics import harmonics, harmonics_with_gradients


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
        l_max = density.l_max
        # the degree l of every component (l, m)
        degrees = np.repeat(np.arange(l_max + 1), 2 * np.arange(l_max + 1) + 1)
        self.degrees = torch.as_tensor(degrees, device=self.r.device)

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
    def radial(self):
        """G_nl(r), (n_pairs, l_max + 1, n_max)."""
        p, x = self._interval
        g = p[:, 0]
        for power in range(1, 6):
            g = torch.addcmul(p[:, power], g, x)
        return self._by_degree(g)

    @cached_property
    def radial_slopes(self):
        """G'_nl(r)."""
        p, x = self._interval
        g = 5 * p[:, 0]
        for power in range(1, 5):
            g = torch.addcmul((5 - power) * p[:, power], g, x)
        return self._by_degree(g)

    def _by_degree(self, g):
        return g.view(len(g), self.density.l_max + 1, self.density.n_max)


def expand(functions):
    """c (n_centers, n_species, n_lm, n_max)."""
    pairs, density = functions.pairs, functions.density
    n_species, n_max = density.mixing.shape[1], density.n_max
    wy = functions.weights[0][:, None] * functions.harmonics
    terms = wy[:, :, None] * functions.radial[:, functions.degrees]
    c = terms.new_zeros((len(pairs.own) * n_species, terms.shape[1:].numel()))
    c.index_add_(0, pairs.centers * n_species + pairs.species, terms.flatten(1))
    c = c.view(-1, n_species, len(functions.degrees), n_max)
    every = torch.arange(len(c), device=c.device)
    own = density.table[density.table_of[pairs.own], 0, 5, :n_max]
    c[every, pairs.own, 0] += density.central_weight * density.norm[0] * own
    return c


def expansion_gradients(functions, dc):
    """dE/dr_ij (n_pairs, 3) for the cotangent dc (n_centers, n_species, n_lm, n_max)."""
    pairs, r = functions.pairs, functions.r
    w, dw = functions.weights
    y, gradients = functions.with_gradients
    rows = dc[pairs.centers, pairs.species]
    a = (rows * functions.radial[:, functions.degrees]).sum(2)
    b = (rows * functions.radial_slopes[:, functions.degrees]).sum(2)
    inner = (dw[:, None] - functions.degrees * (w / r)[:, None]) * a + w[:, None] * b
    along = (y * inner).sum(1)
    across = (gradients * a[:, None]).sum(2)
    return along[:, None] * functions.unit + (w / r)[:, None] * across


def tangents(functions):
    """Derivatives (n_pairs, 3, n_lm, n_max) along its vector of what each neighbour adds to c."""
    w, dw = functions.weights
    y, gradients = functions.with_gradients
    along = functions.unit[:, :, None] * y[:, None]
    turn = (w / functions.r)[:, None, None] * (gradients - functions.degrees * along)
    turn = turn + dw[:, None, None] * along
    radial = functions.radial[:, None, functions.degrees]
    slopes = functions.radial_slopes[:, None, functions.degrees]
    return turn[..., None] * radial + (w[:, None, None] * along)[..., None] * slopes
