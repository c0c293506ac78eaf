"""Filters of edges that give numbers and vectors, and their derivatives by the vectors of edges.

Radial functions of an edge r u, with the unit vector u, are (n_edges, 3, F): a, b and c. Filters
are (n_edges, 5, F): a, the components of b u, and c. Without c there are 2 and 4. The slopes of
radial functions are made beside them. So a derivative by positions, and its own derivative by
weights, need no way back through them.
"""

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from skatom.models._cpu.edge_filters import slopes_of_filters, tangents_of_filters
from skatom.models._torch.networks.edge_sums import is_looped


def directed_filters(radial, slopes, edges):
    """The filters (n_edges, 5, F) of radial functions and their slopes; see `Edges`."""
    directed = radial[:, 1:2] * edges.directions[:, :, None]
    filters = torch.cat([radial[:, :1], directed, radial[:, 2:]], 1)
    if not edges.vectors.requires_grad:
        return filters
    return WithVectorSlopes.apply(filters, radial, slopes, edges.vectors, edges)


class Edges:
    """The vectors of the edges of a batch: r u, with distances r (n_edges, 1)."""

    def __init__(self, batch):
        self.vectors, self.is_looped = batch.vectors, is_looped(batch)
        vectors = self.vectors.detach()
        self.distances = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        self.directions = vectors / self.distances


class WithVectorSlopes(Function):
    """Filters whose derivatives by the vectors of edges are known."""

    @staticmethod
    def forward(ctx, filters, radial, slopes, vectors, edges):
        ctx.save_for_backward(radial, slopes)
        ctx.edges = edges
        return filters.view_as(filters)

    @staticmethod
    def backward(ctx, g):
        return g, None, None, FilterSlopes.apply(g, *ctx.saved_tensors, ctx.edges), None


class FilterSlopes(Function):
    """The derivatives (n_edges, 3) by vectors of the sum of g times the filters."""

    @staticmethod
    def forward(ctx, g, radial, slopes, edges):
        ctx.save_for_backward(g, radial, slopes)
        ctx.edges = edges
        u, r = edges.directions, edges.distances
        if edges.is_looped:
            out = torch.empty_like(u)
            arrays = [x.contiguous().numpy() for x in (g, radial, slopes, u, r)]
            slopes_of_filters(*arrays, out.numpy())
            return out
        along = (g[:, 1:4] * u[:, :, None]).sum(1)
        across = radial[:, 1] / r
        change = g[:, 0] * slopes[:, 0] + along * (slopes[:, 1] - across)
        if g.shape[1] == 5:
            change.addcmul_(g[:, 4], slopes[:, 2])
        return u * change.sum(1, keepdim=True) + (g[:, 1:4] * across[:, None]).sum(2)

    @staticmethod
    @once_differentiable
    def backward(ctx, t):
        g, radial, slopes = ctx.saved_tensors
        u, r = ctx.edges.directions, ctx.edges.distances
        found = torch.empty_like(g), torch.empty_like(radial), torch.empty_like(slopes)
        if ctx.edges.is_looped:
            given = [x.contiguous().numpy() for x in (t, g, radial, slopes, u, r)]
            tangents_of_filters(*given, *(x.numpy() for x in found))
            return *found, None
        of_g, of_radial, of_slopes = found
        change = (t * u).sum(1, keepdim=True)
        across = radial[:, 1:2] / r[:, None]
        turned = (t / r)[:, :, None]
        torch.mul(change, slopes[:, 0], out=of_g[:, 0])
        of_g[:, 1:4] = turned * radial[:, 1:2]
        of_g[:, 1:4] += (u * change)[:, :, None] * (slopes[:, 1:2] - across)
        along = (g[:, 1:4] * u[:, :, None]).sum(1)
        of_radial.zero_()
        of_radial[:, 1] = (g[:, 1:4] * turned).sum(1) - along * (change / r)
        torch.mul(change, g[:, 0], out=of_slopes[:, 0])
        torch.mul(change, along, out=of_slopes[:, 1])
        if g.shape[1] == 5:
            torch.mul(change, slopes[:, 2], out=of_g[:, 4])
            torch.mul(change, g[:, 4], out=of_slopes[:, 2])
        return *found, None
