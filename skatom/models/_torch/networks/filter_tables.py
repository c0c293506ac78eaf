"""Filters of distances as tables, for predictions in single precision.

Filters depend on distances alone. Once the weights are known, a cubic for each short interval of
the distance takes the place of the layers that make them: its error is below the rounding of single
precision, and forces are the derivatives of the energy as before.
"""

from math import ceil

import torch

from skatom.models._cpu.filter_tables import look_up

# Interval relative to the width of the radial functions: their error is below 1e-8.
_STEP = 0.02
# Larger tables would not stay in the processor's cache.
_BYTES = 2**24


def table_of(filters, stop, width, shape):
    """A table (n, 4, T, F) of filters from 0 to a distance; None if it would be large.

    Parameters
    ----------
    filters : callable
        Values and slopes (T, n, F) of distances (n,) in double precision.
    stop, width : float
        The last distance, and that within which radial functions change, in Å.
    shape : tuple of int
        T and F.
    """
    n = ceil(stop / (_STEP * width))
    if 16 * n * shape[0] * shape[1] > _BYTES:
        return None
    step = stop / n
    values, slopes = filters(torch.arange(n + 1, dtype=torch.float64) * step)
    values, slopes = values.transpose(0, 1), slopes.transpose(0, 1) * step
    first, last = values[:-1], values[1:]
    b, end = slopes[:-1], slopes[1:]
    rise = last - first
    cubics = torch.stack([first, b, 3 * rise - 2 * b - end, b + end - 2 * rise], 1)
    return cubics.float().contiguous()


def looked_up(table, stop, distances):
    """Values and slopes (T, n, F) at distances (n,)."""
    shape = table.shape[2], len(distances), table.shape[3]
    values, slopes = distances.new_empty(shape), distances.new_empty(shape)
    step = distances.new_tensor([stop / len(table)])
    arrays = (x.numpy() for x in (distances, table, step, values, slopes))
    look_up(*arrays)
    return values, slopes
