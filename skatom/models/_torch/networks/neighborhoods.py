"""Rows of neighbours and of edges in the table of each atom, see `neighbor_table`.

Values of a table have the shape (n_atoms, n_slots, F), so that sums over neighbours are sums along
an axis, and products with them are products of small matrices. A table is made by reading rows, and
what undoes it reads slots of the table: nothing is ever scattered, so that results repeat.
"""

import torch
from torch.autograd import Function


class OfNeighbors(Function):
    """h_j in the slot of each neighbour j, zero in empty slots."""

    @staticmethod
    def forward(ctx, h, batch):
        ctx.batch = batch
        n_atoms, n_slots, _ = batch.slot_mask.shape
        return h.index_select(0, batch.slot_neighbors).view(n_atoms, n_slots, -1) * batch.slot_mask

    @staticmethod
    def backward(ctx, u):
        return SumsFromNeighbors.apply(u, ctx.batch), None


class SumsFromNeighbors(Function):
    """The sum of what is in the slots that are an atom's in the rows of its neighbours."""

    @staticmethod
    def forward(ctx, u, batch):
        ctx.batch = batch
        there = u.reshape(-1, u.shape[2]).index_select(0, batch.slot_reverse).view_as(u)
        return (there * batch.slot_mask).sum(1)

    @staticmethod
    def backward(ctx, g):
        return OfNeighbors.apply(g, ctx.batch), None


class OfEdges(Function):
    """w_e in both slots of each edge e, zero in empty slots."""

    @staticmethod
    def forward(ctx, w, batch):
        ctx.batch = batch
        n_atoms, n_slots, _ = batch.slot_mask.shape
        if not len(w):
            return w.new_zeros((n_atoms, n_slots, w.shape[1]))
        return w.index_select(0, batch.slot_edges).view(n_atoms, n_slots, -1) * batch.slot_mask

    @staticmethod
    def backward(ctx, u):
        return SumsOfSlots.apply(u, ctx.batch), None


class SumsOfSlots(Function):
    """The sum of both slots of each edge."""

    @staticmethod
    def forward(ctx, u, batch):
        ctx.batch = batch
        rows = (u * batch.slot_mask).reshape(-1, u.shape[2])
        one, other = batch.edge_slots.unbind(0)
        return rows.index_select(0, one) + rows.index_select(0, other)

    @staticmethod
    def backward(ctx, g):
        return OfEdges.apply(g, ctx.batch), None


def signs_of_slots(batch):
    """1 in slots of edges that begin at the row's atom, -1 in others; (n_atoms, n_slots, 1)."""
    n_atoms, n_slots, _ = batch.slot_mask.shape
    if not len(batch.vectors):
        return torch.ones_like(batch.slot_mask)
    slots = torch.arange(n_atoms * n_slots, device=batch.slot_mask.device)
    begins = batch.edge_slots[0].index_select(0, batch.slot_edges) == slots
    return (2 * begins.to(batch.slot_mask.dtype) - 1).view(n_atoms, n_slots, 1)
