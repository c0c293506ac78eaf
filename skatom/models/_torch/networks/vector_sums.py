"""Sums over the neighbours of atoms that give numbers and vectors, and their derivatives.

Each pair of neighbours is one edge e = (i, j), whose direction is turned round for atom j. With the
numbers s, p and vectors q of atoms, and the filters a, c and d of edges, d along their directions,

    y_i = the sum over the edges of atom i of (s_j a_e, p_j d_e + q_j c_e),

a number and a vector for each feature. The sum of x · y is linear in x, in the numbers and vectors
of atoms and in the filters. Its derivatives by any one of them are the three sums below, which are
each other's derivatives, so that derivatives of any order need no others.

Sources are (n_atoms, 5, F): s, p and the components of q. Results are (n_atoms, 4, F): a number and
the components of a vector. Filters are (n_edges, 5, F): a, the components of d, and c. Without q
and c there are 2 and 4.
"""

import torch
from torch.autograd import Function

from skatom.models._cpu.edge_sums import convolve_back, convolve_vectors, multiply_vectors
from skatom.models._torch.networks.edge_sums import is_looped, looped, segment_sums


class VectorConvolution(Function):
    """y (n_atoms, 4, F) of sources and filters."""

    @staticmethod
    def forward(ctx, sources, filters, batch):
        ctx.save_for_backward(sources, filters)
        ctx.batch = batch
        return _summed((convolve_vectors, _messages), sources, filters, 4, batch)

    @staticmethod
    def backward(ctx, x):
        sources, filters = ctx.saved_tensors
        needs_sources, needs_filters, _ = ctx.needs_input_grad
        of_sources = ReverseConvolution.apply(x, filters, ctx.batch) if needs_sources else None
        of_filters = VectorProducts.apply(x, sources, ctx.batch) if needs_filters else None
        return of_sources, of_filters, None


class ReverseConvolution(Function):
    """The derivative by sources, (n_atoms, 5, F), of results and filters."""

    @staticmethod
    def forward(ctx, results, filters, batch):
        ctx.save_for_backward(results, filters)
        ctx.batch = batch
        n = 5 if filters.shape[1] == 5 else 2
        return _summed((convolve_back, _reverse_messages), results, filters, n, batch)

    @staticmethod
    def backward(ctx, x):
        results, filters = ctx.saved_tensors
        needs_results, needs_filters, _ = ctx.needs_input_grad
        of_results = VectorConvolution.apply(x, filters, ctx.batch) if needs_results else None
        of_filters = VectorProducts.apply(results, x, ctx.batch) if needs_filters else None
        return of_results, of_filters, None


class VectorProducts(Function):
    """The derivative by filters, (n_edges, 5, F), of results and sources."""

    @staticmethod
    def forward(ctx, results, sources, batch):
        ctx.save_for_backward(results, sources)
        ctx.batch = batch
        n = 5 if sources.shape[1] == 5 else 4
        out = results.new_empty((len(batch.first), n, results.shape[2]))
        if is_looped(batch):
            return looped(multiply_vectors, (results, sources), batch, out)
        return _products(results, sources, batch, out)

    @staticmethod
    def backward(ctx, x):
        results, sources = ctx.saved_tensors
        needs_results, needs_sources, _ = ctx.needs_input_grad
        of_results = VectorConvolution.apply(sources, x, ctx.batch) if needs_results else None
        of_sources = ReverseConvolution.apply(results, x, ctx.batch) if needs_sources else None
        return of_results, of_sources, None


def _summed(ways, values, filters, n, batch):
    """Sums (n_atoms, n, F) of what the other ends of the edges of each atom send.

    There are two ways: a loop, and a function that gives the messages of edges.
    """
    loop, messages = ways
    shape = len(values), n, values.shape[2]
    if is_looped(batch):
        return looped(loop, (values, filters), batch, values.new_zeros(shape))
    if batch.is_sorted:
        given = values.index_select(0, batch.neighbors), filters.index_select(0, batch.entries)
        return segment_sums(messages(*given, batch.signs[:, None]), batch.starts)
    out = values.new_zeros(shape)
    for atoms, others, sign in ((batch.first, batch.second, -1), (batch.second, batch.first, 1)):
        out.index_add_(0, atoms, messages(values.index_select(0, others), filters, sign))
    return out


def _messages(sources, filters, sign):
    """What atoms receive; the sign is -1 for the first atom of an edge, as in `signs`."""
    found = sources.new_empty((len(sources), 4, sources.shape[2]))
    torch.mul(sources[:, 0], filters[:, 0], out=found[:, 0])
    torch.mul(sources[:, 1:2] * -sign, filters[:, 1:4], out=found[:, 1:])
    if filters.shape[1] == 5:
        found[:, 1:].addcmul_(sources[:, 2:], filters[:, 4:])
    return found


def _reverse_messages(results, filters, sign):
    n = 5 if filters.shape[1] == 5 else 2
    found = results.new_empty((len(results), n, results.shape[2]))
    torch.mul(results[:, 0], filters[:, 0], out=found[:, 0])
    along = (results[:, 1:] * filters[:, 1:4]).sum(1, keepdim=True)
    torch.mul(along, sign, out=found[:, 1:2])
    if n == 5:
        torch.mul(results[:, 1:], filters[:, 4:], out=found[:, 2:])
    return found


def _products(results, sources, batch, out):
    (x, y), (s, t) = (
        [values.index_select(0, ends) for ends in (batch.first, batch.second)]
        for values in (results, sources)
    )
    torch.mul(x[:, 0], t[:, 0], out=out[:, 0]).addcmul_(y[:, 0], s[:, 0])
    torch.mul(x[:, 1:], t[:, 1:2], out=out[:, 1:4]).addcmul_(y[:, 1:], s[:, 1:2], value=-1)
    if out.shape[1] == 5:
        out[:, 4] = (x[:, 1:] * t[:, 2:]).addcmul_(y[:, 1:], s[:, 2:]).sum(1)
    return out
