"""Products of sparse derivatives of rows of features with vectors, on a device."""

import numpy as np
import torch

from skatom._device import device_of


class TensorBlocks:
    """Derivatives of rows of features, without those that are zero, on a device.

    The parameters are those of `DerivativeBlocks`; the values are a tensor, all else are arrays of
    numpy. Products are summed in the order of the blocks, so that they repeat.
    """

    def __init__(self, values, rows, outputs, offsets):
        device, k = device_of(values), values.shape[1]
        coordinates = outputs[:, None] + np.arange(k)
        self.values, self.offsets = values, offsets
        self.rows, self.coordinates = device.tensor(rows), device.tensor(coordinates)
        # all coordinates of all blocks, one after the other
        order = np.argsort(coordinates, axis=None, kind="stable")
        self.order = device.tensor(order.reshape(coordinates.shape))

    @property
    def n_bytes(self):
        """Bytes of the values of each structure in double precision, (n,)."""
        return 8.0 * np.prod(self.values.shape[1:]) * np.diff(self.offsets)

    def of(self, chosen, starts, shifts):
        """The blocks of chosen structures.

        Parameters
        ----------
        chosen : ndarray of int, shape (m,)
        starts, shifts : ndarray of int, shape (m,)
            What the rows and the coordinates of each structure are less than in all data.
        """
        device, (first, last) = device_of(self.values), self.offsets[[chosen, chosen + 1]]
        counts = last - first
        ends = np.cumsum(counts)
        before = first - (ends - counts)
        counts, *less = device.tensor(np.stack([counts, before, starts, shifts]))
        before, starts, shifts = torch.repeat_interleave(
            torch.stack(less), counts, dim=1, output_size=int(ends[-1])
        )
        index = torch.arange(len(before), device=before.device) + before
        k = self.values.shape[1]
        return SomeTensorBlocks(
            self.values[index].double(), self.rows[index] - starts,
            self.coordinates[index] - shifts[:, None],
            (self.order[index] - k * before[:, None]).flatten(),
        )  # fmt: skip


class SomeTensorBlocks:
    """The blocks of some structures, whose rows ascend.

    Parameters
    ----------
    values : Tensor of float, shape (n_blocks, k, n_features)
    rows : Tensor of int, shape (n_blocks,)
    coordinates : Tensor of int, shape (n_blocks, k)
    order : Tensor of int, shape (n_blocks k,)
        The order in which the coordinates ascend.
    """

    def __init__(self, values, rows, coordinates, order):
        self.values, self.rows = values, rows
        self.coordinates, self.order = coordinates, order

    def add_along(self, slopes, out):
        """Add Σ_f values[b, c, f] slopes[row, f] to the coordinates ``out`` (n_coordinates,)."""
        products = torch.einsum("bcf,bf->bc", self.values, slopes[self.rows]).flatten()
        ascending = self.coordinates.flatten()[self.order]
        out += _sums(products[self.order], ascending, len(out))

    def add_tangents(self, vector, out):
        """Add Σ_c values[b, c] vector[coordinate] to the rows ``out`` (n_rows, n_features)."""
        products = torch.einsum("bcf,bc->bf", self.values, vector[self.coordinates])
        out += _sums(products, self.rows, len(out))


def _sums(values, places, n):
    """Sums (n, …) of the values of each place; the places ascend."""
    offsets = torch.searchsorted(places, torch.arange(n + 1, device=places.device))
    return torch.segment_reduce(values, "sum", offsets=offsets, unsafe=True)
