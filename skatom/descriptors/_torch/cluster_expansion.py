"""Projections of the neighbours of many centres and their products, on a device.

    A_clmn = Σ_j U_c(j) R_n(r_j) Y_lm(r_j / r_j)        A_cn = Σ_j U_c(j) S_n(r_j)

as in the compiled loops, whose table of products it shares, with one row for each pair.
"""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from skatom.descriptors._torch import products
from skatom.descriptors._torch.density import by_degree
from skatom.descriptors._torch.features import segment_sums
from skatom.descriptors._torch.harmonics import harmonics, harmonics_with_gradients
from skatom.descriptors._torch.pairs import made_once
from skatom.descriptors._torch.pairs import on_device as tensors_of


class TensorProjections(NamedTuple):
    """`Projections` with tensors, and what the host knows of them."""

    parameters: Any
    n_radial: tuple  # of each sphere, by l
    spheres: tuple
    mixes: bool
    plan: products.ProductPlan


def on_device(compiled, device):
    """The parameters of the loops: tensors and the table of products, which are made once."""
    n_radial = tuple(map(tuple, compiled.n_radial.tolist()))
    mixing = compiled.mixing
    mixes = not np.array_equal(mixing, np.eye(*mixing.shape))
    plan = made_once(compiled.starts, device, _plan_on(compiled, device))
    spheres = tuple(compiled.spheres.tolist())
    return TensorProjections(tensors_of(compiled, device), n_radial, spheres, mixes, plan)


def _plan_on(compiled, device):
    """A function that makes the table of products on a device."""

    def plan(starts):
        tables = compiled.left, compiled.right, compiled.factors, compiled.scalars
        return products.program(_n_given(compiled), starts, *tables, device)

    return plan


def _n_components(p):
    """Numbers of one channel."""
    every = 2 * np.arange(p.n_radial.shape[1]) + 1
    return int((np.asarray(p.n_radial) @ every).sum()) + p.n_pair


def _n_given(p):
    return len(p.mixing) * _n_components(p)


def scratch(counts, compiled):
    """Bytes of the intermediate results of centres with these numbers of neighbours.

    Parameters
    ----------
    counts : ndarray of int, shape (n_centers,)
    compiled : Projections

    Returns
    -------
    values, jacobian : ndarray of float, shape (n_centers,)
        For `values` and `pair_gradients`, and for `pair_jacobian`.
    """
    own, n_terms = _n_components(compiled), len(compiled.left)
    n_numbers = _n_given(compiled) + len(compiled.starts) - 1
    of_center = 3.0 * n_numbers + 6 * n_terms
    of_pair = 4.0 * own
    of_tangents = 3 * (2 * n_numbers + 6 * n_terms) + 9 * own
    return 8 * (of_center + counts * of_pair), 8 * (of_center + counts * (of_pair + of_tangents))


class _PairProjections:
    """Radial functions and harmonics of every pair."""

    def __init__(self, pairs, expansion):
        self.pairs, self.expansion, p = pairs, expansion, expansion.parameters
        self.r = torch.linalg.vector_norm(pairs.vectors, dim=1)
        self.unit = pairs.vectors / self.r[:, None]
        self.inverse = 1 / self.r[:, None]
        self.inner = p.inner[pairs.own[pairs.centers], pairs.species]
        self.l_max = len(expansion.n_radial[0]) - 1

    @cached_property
    def near(self):
        """R_n and their slopes, (n_pairs, n_max), of each sphere."""
        given = zip(self.expansion.spheres, self.expansion.n_radial, strict=True)
        return [_polynomials(self.r, cutoff, self.inner, max(n)) for cutoff, n in given]

    @cached_property
    def far(self):
        """S_n and their slopes, (n_pairs, n_pair)."""
        p = self.expansion.parameters
        return _polynomials(self.r, p.cutoff, self.inner, p.n_pair)

    @cached_property
    def harmonics(self):
        """Y_lm, (n_pairs, n_lm)."""
        norm = self.expansion.parameters.norm
        return harmonics(self.unit, norm, self.l_max).T.contiguous()

    @cached_property
    def with_gradients(self):
        """Y_lm (n_pairs, n_lm), and the gradients of the solid harmonics (n_pairs, 3, n_lm)."""
        norm = self.expansion.parameters.norm
        y, gradients = harmonics_with_gradients(self.unit, norm, self.l_max)
        return y.T.contiguous(), gradients.permute(2, 0, 1).contiguous()

    def blocks(self):
        """R_n and slopes of every sphere and l, l, the slice of its harmonics and of components."""
        stop = 0
        for (f, df), n_radial in zip(self.near, self.expansion.n_radial, strict=True):
            for (l, part), n in zip(by_degree(self.l_max), n_radial, strict=True):
                start, stop = stop, stop + (2 * l + 1) * n
                if n:
                    yield f[:, :n], df[:, :n], l, part, slice(start, stop)


def _polynomials(r, cutoff, inner, n_max):
    """(1 + cos(π r / r_cut)) ρ T_n(ξ), slopes (n_pairs, n_max); zero from the cutoff on."""
    rho, last = ((1 + inner) / (1 + r)) ** 2, ((1 + inner) / (1 + cutoff)) ** 2
    drho, stretch = -2 * rho / (1 + r), 2 / (1 - last)
    x, slope = stretch * (rho - last) - 1, stretch * drho
    phase = torch.pi / cutoff * r
    inside = (r < cutoff).to(r.dtype)
    fade = (1 + torch.cos(phase)) * inside
    fall = fade * drho - torch.pi / cutoff * torch.sin(phase) * inside * rho
    weight = fade * rho
    t, dt = [torch.ones_like(x), x], [torch.zeros_like(x), torch.ones_like(x)]
    for _ in range(2, n_max):
        dt.append(2 * (t[-1] + x * dt[-1]) - dt[-2])
        t.append(2 * x * t[-1] - t[-2])
    t, dt = (torch.stack(rows, 1)[:, :n_max] for rows in (t, dt))
    return weight[:, None] * t, (weight * slope)[:, None] * dt + fall[:, None] * t


def values(pairs, expansion):
    """Features of the centres, (n_centers, n_features)."""
    plan = expansion.plan
    return products.evaluate(plan, _given(_PairProjections(pairs, expansion)))[
        plan.scalars
    ].T.contiguous()


def pair_gradients(pairs, expansion, cotangent):
    """dE/dr_ij (n_pairs, 3) for dE/d features, (n_centers, n_features) or (1, n_features)."""
    functions, plan, p = _PairProjections(pairs, expansion), expansion.plan, expansion.parameters
    numbers = products.evaluate(plan, _given(functions))
    adjoint = products.pullback(plan, numbers, cotangent.expand(len(pairs.own), -1).T)
    adjoint = adjoint.view(len(p.mixing), -1, len(pairs.own))
    if expansion.mixes:
        adjoint = torch.einsum("cs,cmi->smi", p.mixing, adjoint)
    rows = adjoint.permute(2, 0, 1)[pairs.centers, pairs.species]
    return _projection_gradients(functions, rows)


def pair_jacobian(pairs, expansion):
    """d features_i / dr_ij, (n_pairs, 3, n_features).

    Beyond the cutoff of products a neighbour changes single projections alone.
    """
    functions, plan, p = _PairProjections(pairs, expansion), expansion.plan, expansion.parameters
    numbers = products.evaluate(plan, _given(functions))
    given = torch.einsum("cp,pam->cmpa", p.mixing[:, pairs.species], _tangents(functions))
    given = given.reshape(plan.n_given, len(pairs.centers), 3)
    out = given.new_zeros((*given.shape[1:], len(plan.scalars)))
    single = torch.nonzero(plan.scalars < plan.n_given)[:, 0]
    out[:, :, single] = given[plan.scalars[single]].permute(1, 2, 0)
    near = torch.nonzero(functions.r < max(expansion.spheres))[:, 0]
    centers = pairs.centers[near].repeat_interleave(3)
    found = products.pushforward(plan, numbers, centers, given[:, near].flatten(1))
    out[near] = found.T.reshape(len(near), 3, len(found))
    return out


def _given(functions):
    """A, (n_channels n_components, n_centers)."""
    pairs, y = functions.pairs, functions.harmonics
    n_centers, p = len(pairs.own), functions.expansion.parameters
    parts = [(y[:, part, None] * f[:, None]).flatten(1) for f, _, _, part, _ in functions.blocks()]
    rows, n_species = torch.cat([*parts, functions.far[0]], 1), p.mixing.shape[1]
    keys = pairs.centers * n_species + pairs.species
    order = torch.argsort(keys, stable=True)
    edges = torch.arange(n_centers * n_species + 1, device=keys.device)
    starts = torch.searchsorted(keys[order], edges)
    a = segment_sums(rows[order], starts).view(n_centers, n_species, -1)
    if functions.expansion.mixes:
        a = torch.einsum("cs,ism->icm", p.mixing, a)
    return a.reshape(n_centers, -1).T.contiguous()


def _projection_gradients(functions, rows):
    """dE/dr_ij (n_pairs, 3) for dE/dA (n_pairs, n_components) of each pair's own species."""
    y, gradients = functions.with_gradients
    along = (rows[:, rows.shape[1] - functions.far[1].shape[1] :] * functions.far[1]).sum(1)
    totals = torch.zeros_like(y)
    for f, df, l, part, block in functions.blocks():
        weights = rows[:, block].unflatten(1, (-1, f.shape[1]))
        total = (weights * f[:, None]).sum(2)
        # solid harmonics of degree l: their slope along r is l
        slope = (weights * df[:, None]).sum(2) - l * functions.inverse * total
        along += (y[:, part] * slope).sum(1)
        totals[:, part] += total
    across = (gradients * totals[:, None]).sum(2)
    return along[:, None] * functions.unit + functions.inverse * across


def _tangents(functions):
    """Derivatives (n_pairs, 3, n_components) along its vector of what a neighbour adds to A."""
    y, gradients = functions.with_gradients
    unit, parts = functions.unit, []
    for f, df, l, part, _ in functions.blocks():
        along = unit[:, :, None] * y[:, None, part]
        turn = functions.inverse[:, None] * (gradients[:, :, part] - l * along)
        tangent = turn[..., None] * f[:, None, None] + along[..., None] * df[:, None, None]
        parts.append(tangent.flatten(2))
    return torch.cat([*parts, unit[:, :, None] * functions.far[1][:, None]], 2)
