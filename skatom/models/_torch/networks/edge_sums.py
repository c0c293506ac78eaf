"""Sums over the neighbours of atoms, whose derivatives are sums of the same kinds.

Each pair of neighbours is one edge. With the messages h of atoms and the filters w of edges,

    c_i = sum over edges e = (i, j) of h_j w_e   and   p_e = u_i h_j + u_j h_i

are each other's derivatives, so that derivatives of any order need no others. On a card sums run
over sorted segments: additions in the order of threads would not repeat their results. On the CPU
they are compiled loops over the edges, which make no copies of rows.
"""

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from skatom._numba import is_installed
from skatom.models._cpu.edge_sums import convolve, multiply


def segment_sums(values, starts):
    """Sums of consecutive rows, always in the same order."""
    return torch.segment_reduce(values, "sum", offsets=starts, axis=0, unsafe=True, initial=0)


def is_looped(batch):
    """Whether sums of a batch are compiled loops."""
    return is_installed() and not batch.is_sorted


def looped(loop, tensors, batch, out):
    """``out`` after a compiled loop over the edges."""
    arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
    loop(*arrays, batch.first.numpy(), batch.second.numpy(), out.numpy())
    return out


def _convolved(h, w, batch):
    if is_looped(batch):
        return looped(convolve, (h, w), batch, h.new_zeros(h.shape))
    if batch.is_sorted:
        messages = h.index_select(0, batch.neighbors) * w.index_select(0, batch.entries)
        return segment_sums(messages, batch.starts)
    out = torch.zeros_like(h)
    out.index_add_(0, batch.first, h.index_select(0, batch.second).mul_(w))
    return out.index_add_(0, batch.second, h.index_select(0, batch.first).mul_(w))


def _products(u, h, batch):
    if is_looped(batch):
        return looped(multiply, (u, h), batch, h.new_empty((len(batch.first), h.shape[1])))
    first, second = batch.first, batch.second
    found = u.index_select(0, first).mul_(h.index_select(0, second))
    return found.addcmul_(u.index_select(0, second), h.index_select(0, first))


class Convolution(Function):
    """c_i, the sum of h_j w_e over the edges of atom i; shapes (n_atoms, F), (n_edges, F)."""

    @staticmethod
    def forward(ctx, h, w, batch):
        ctx.save_for_backward(h, w)
        ctx.batch = batch
        return _convolved(h, w, batch)

    @staticmethod
    def backward(ctx, u):
        h, w = ctx.saved_tensors
        needs_h, needs_w, _ = ctx.needs_input_grad
        of_h = Convolution.apply(u, w, ctx.batch) if needs_h else None
        of_w = EdgeProducts.apply(u, h, ctx.batch) if needs_w else None
        return of_h, of_w, None


class EdgeProducts(Function):
    """p_e = u_i h_j + u_j h_i for each edge between atoms i and j."""

    @staticmethod
    def forward(ctx, u, h, batch):
        ctx.save_for_backward(u, h)
        ctx.batch = batch
        return _products(u, h, batch)

    @staticmethod
    def backward(ctx, g):
        u, h = ctx.saved_tensors
        needs_u, needs_h, _ = ctx.needs_input_grad
        of_u = Convolution.apply(h, g, ctx.batch) if needs_u else None
        of_h = Convolution.apply(u, g, ctx.batch) if needs_h else None
        return of_u, of_h, None


class AtomGradients(Function):
    """Derivatives by positions (n_atoms, 3) of derivatives by the vectors of edges."""

    @staticmethod
    def forward(ctx, g, batch):
        ctx.batch = batch
        if batch.is_sorted:
            return segment_sums(g.index_select(0, batch.entries) * batch.signs, batch.starts)
        out = g.new_zeros((len(batch.one_hot), 3))
        return out.index_add_(0, batch.second, g).index_add_(0, batch.first, g, alpha=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx, u):
        batch = ctx.batch
        return u.index_select(0, batch.second) - u.index_select(0, batch.first), None


class StructureSums(Function):
    """Sums over the atoms or edges of each structure; ``owners`` are the structures of the rows."""

    @staticmethod
    def forward(ctx, values, owners, starts, n):
        ctx.owners, ctx.starts, ctx.n = owners, starts, n
        if starts is not None:
            return segment_sums(values, starts)
        return values.new_zeros((n, *values.shape[1:])).index_add_(0, owners, values)

    @staticmethod
    def backward(ctx, u):
        return StructureRows.apply(u, ctx.owners, ctx.starts, ctx.n), None, None, None


class StructureRows(Function):
    """The row of its structure for each atom or edge: zeros for those of the padding."""

    @staticmethod
    def forward(ctx, values, owners, starts, n):
        ctx.owners, ctx.starts, ctx.n = owners, starts, n
        padded = torch.cat([values, torch.zeros_like(values[:1])])
        return padded.index_select(0, owners)

    @staticmethod
    def backward(ctx, u):
        return StructureSums.apply(u, ctx.owners, ctx.starts, ctx.n), None, None, None
