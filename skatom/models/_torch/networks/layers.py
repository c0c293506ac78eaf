"""Layers that architectures share: activations, radial functions, filters with their slopes."""

from math import log, pi

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import silu, softplus


def shifted_softplus(x):
    """ln((1 + e^x) / 2), whose derivatives of all orders are continuous."""
    return softplus(x) - log(2.0)


class DualSoftplus(Function):
    """The shifted softplus of a and its change along t: ssp(a), σ(a) t."""

    @staticmethod
    def forward(ctx, a, t):
        s = torch.sigmoid(a)
        # ln(1 + e^a) = max(a, 0) - ln max(s, 1 - s) takes a third of the time of log1p
        value = a.clamp(min=0) - torch.log(torch.maximum(s, 1 - s)).add_(log(2.0))
        ctx.save_for_backward(s, t)
        return value, s * t

    @staticmethod
    @once_differentiable
    def backward(ctx, of_value, of_change):
        s, t = ctx.saved_tensors
        of_t = of_change * s
        of_a = of_t * t * (1 - s)
        return of_a.addcmul_(of_value, s), of_t


class WithSlopes(Function):
    """Functions of distances, values (T, n, m), whose derivatives by the distances are known.

    Their slopes are made beside the values, along the layers. So a derivative by positions, and
    its own derivative by weights, need no way back through the radial functions.
    """

    @staticmethod
    def forward(ctx, values, slopes, distances):
        ctx.save_for_backward(slopes)
        return values.view_as(values)

    @staticmethod
    def backward(ctx, g):
        (slopes,) = ctx.saved_tensors
        return g, None, (g * slopes).sum((0, 2))


def smooth(functions, distances):
    """Functions of distances (n, m), given as values and slopes."""
    values, slopes = functions
    if not distances.requires_grad:
        return values
    return WithSlopes.apply(values[None], slopes[None], distances)[0]


ACTIVATIONS = {"shifted_softplus": shifted_softplus, "tanh": torch.tanh, "silu": silu}


def gaussians(distances, n, stop, gamma):
    """exp(-γ (d - μ)²) for n centres μ from 0 to ``stop``, and the derivatives by d."""
    centers = torch.linspace(0, stop, n, dtype=distances.dtype, device=distances.device)
    left = distances[:, None] - centers
    values = torch.exp(-gamma * left * left)
    return values, -2 * gamma * left * values


def sine_waves(distances, n, stop):
    """sin(k π d / d_c) / d for k = 1, …, n and ``stop`` d_c, and the derivatives by d."""
    k = torch.arange(1, n + 1, dtype=distances.dtype, device=distances.device) * (pi / stop)
    d = distances[:, None]
    values = torch.sin(k * d) / d
    return values, (k * torch.cos(k * d) - values) / d


def cosine_cutoff(distances, cutoff):
    """(cos(π d / d_c) + 1) / 2 within the cutoff, 0 beyond, and the derivative by d."""
    x = (distances * (pi / cutoff)).clamp(max=pi)
    return 0.5 * (torch.cos(x) + 1), (-0.5 * pi / cutoff) * torch.sin(x)
