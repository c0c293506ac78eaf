"""Sums of consecutive rows, of arrays or of tensors."""

from importlib import import_module

import numpy as np

from skatom._device import is_tensor


def sums_of(rows, offsets):
    """Sums (n, …) of rows, those of each from ``offsets`` (n + 1,) on, an array of numpy.

    None of them is empty.
    """
    if is_tensor(rows):
        return import_module("skatom.models._torch.sparse_rows").segment_sums(rows, offsets)
    return np.add.reduceat(rows, offsets[:-1], axis=0)
