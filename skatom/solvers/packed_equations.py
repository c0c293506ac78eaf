"""Normal equations of which half is stored."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from skatom._device import device_of, moved, on_host
from skatom.parallel import threads_over_blas
from skatom.solvers.normal_equations import add_in_place, check_same_columns

# Columns of a block: wide enough for fast products, narrow enough to waste little at the diagonal.
_WIDTH = 256


@dataclass
class PackedEquations:
    """The normal equations of a least-squares problem, with the lower triangle of AᵀA alone.

    They take half of the memory of `NormalEquations`; the factor of `PackedCholesky` takes the
    other half. Rows are added in place; equations that others know are not changed any more.

    Attributes
    ----------
    edges : ndarray of int, shape (n_blocks + 1,)
        Where block columns begin.
    columns : list of ndarray or Tensor of float, each of shape (n_columns - start, stop - start)
        Block columns of AᵀA, each from its diagonal block downwards.
    products : ndarray or Tensor of float, shape (n_columns,)
        The vector Aᵀb. A pickle contains arrays of numpy.
    total : float
        The sum of squares bᵀb.
    """

    edges: np.ndarray
    columns: list
    products: Any
    total: float

    @classmethod
    def empty(cls, n_columns, device=None):
        """The equations of no rows, as arrays or as tensors on a `Device`."""
        edges = edges_of(n_columns)
        zeros = np.zeros if device is None else lambda shape: device.zeros(*shape)
        columns = [zeros((n_columns - a, b - a)) for a, b in pairwise(edges.tolist())]
        return cls(edges, columns, zeros((n_columns,)), 0.0)

    @classmethod
    def of_rows(cls, rows, targets):
        """The equations of one block of rows, where these are."""
        equations = cls.empty(rows.shape[1], device_of(rows))
        with threads_over_blas() as team:
            equations.add([(rows, targets)], team)
        return equations

    @staticmethod
    def memory(n_columns):
        """Bytes that the equations of ``n_columns`` columns take."""
        return 4.0 * n_columns * (n_columns + _WIDTH)

    def add(self, blocks, team):
        """Add AᵀA, Aᵀb and bᵀb of blocks of rows in place, in their order.

        Parameters
        ----------
        blocks : list of tuple
            Rows of A, shape (m, n_columns), and of b, shape (m,).
        team : ThreadTeam
            Threads, each with a serial BLAS.
        """
        add_in_place(self, self._tiles(), blocks, team)

    def _tiles(self):
        """Parts of AᵀA that are summed at once, their rows and columns.

        On a device they are whole block columns.
        """
        pieces = [slice(a, b) for a, b in pairwise(self.edges.tolist())]
        if device_of(self.products) is not None:
            return [
                (column, slice(own.start, None), own)
                for own, column in zip(pieces, self.columns, strict=True)
            ]
        return [
            (column[rows.start - own.start : rows.stop - own.start], rows, own)
            for j, (own, column) in enumerate(zip(pieces, self.columns, strict=True))
            for rows in pieces[j:]
        ]

    def merge(self, other):
        """The equations of the rows of both, where these ones are."""
        check_same_columns(self, other)
        device = device_of(self.products)
        columns = [a + moved(b, device) for a, b in zip(self.columns, other.columns, strict=True)]
        products = self.products + moved(other.products, device)
        return PackedEquations(self.edges, columns, products, self.total + other.total)

    def column(self, start):
        """``AᵀA[start:, start:stop]`` up to the next edge."""
        block = int(np.searchsorted(self.edges, start, side="right")) - 1
        first = start - int(self.edges[block])
        return self.columns[block][first:, first:]

    def diagonal(self):
        """The diagonal of AᵀA, an array of numpy."""
        return np.concatenate([on_host(c[: c.shape[1]].diagonal()) for c in self.columns])

    def __getstate__(self):
        columns = [on_host(column) for column in self.columns]
        return {**vars(self), "columns": columns, "products": on_host(self.products)}


def edges_of(n_columns):
    """Where the block columns of ``n_columns`` begin, and their end."""
    return np.append(np.arange(0, n_columns, _WIDTH), n_columns)
