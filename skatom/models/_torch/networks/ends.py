"""Rows of the atoms at both ends of edges, and sums over them, which are each other's transposes.

For messages that are no product of a row of the neighbour and a filter: those need no rows of
edges, see `skatom.models._torch.networks.edge_sums`.
"""

import torch
from torch.autograd import Function

from skatom.models._torch.networks.edge_sums import segment_sums


class EndRows(Function):
    """Rows (2, n_edges, F) of atoms: of the second ends of all edges, then of the first ones.

    So ``EndRows.apply(h, batch)[k]`` are the neighbours of atoms k of the edges, and messages of
    this shape are received by ``EndSums.apply(messages.flip(0), batch)``.
    """

    @staticmethod
    def forward(ctx, h, batch):
        ctx.batch = batch
        return torch.stack([h.index_select(0, batch.second), h.index_select(0, batch.first)])

    @staticmethod
    def backward(ctx, u):
        return EndSums.apply(u, ctx.batch), None


class EndSums(Function):
    """Sums (n_atoms, F) of rows (2, n_edges, F) of the second and the first ends."""

    @staticmethod
    def forward(ctx, u, batch):
        ctx.batch = batch
        if batch.is_sorted:
            own = batch.entries + u.shape[1] * (batch.signs[:, 0] < 0)
            return segment_sums(u.reshape(-1, u.shape[2]).index_select(0, own), batch.starts)
        out = u.new_zeros((len(batch.one_hot), u.shape[2]))
        return out.index_add_(0, batch.second, u[0]).index_add_(0, batch.first, u[1])

    @staticmethod
    def backward(ctx, g):
        return EndRows.apply(g, ctx.batch), None
