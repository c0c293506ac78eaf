"""Normal equations that add up over rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from skatom._device import moved, resolve
from skatom.memory import check_memory
from skatom.parallel import split_rows, threads_over_blas

# What a subtraction leaves of a square is rounding error below this share.
_ROUNDING = 1e-14
# Columns of a tile of the Gram matrix: large for BLAS, small enough to give each thread some.
_TILE = 512
NO_ROWS = "there are no blocks of rows: give at least one"


@dataclass(frozen=True)
class NormalEquations:
    r"""The normal equations of a least-squares problem, on which alone its solution depends.

    .. math:: |A x - b|^2 = x^\top (A^\top A)\, x - 2\, x^\top (A^\top b) + b^\top b

    They add up over rows: `merge` joins the equations of two sets of rows, whether these were made
    in threads, in processes or on other machines.

    Attributes
    ----------
    gram : ndarray of float, shape (n_columns, n_columns)
        The Gram matrix AᵀA.
    products : ndarray of float, shape (n_columns,)
        The vector Aᵀb.
    total : float
        The sum of squares bᵀb.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.solvers import NormalEquations
    >>> A, b = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0, 5.0])
    >>> first, second = NormalEquations.of([(A[:2], b[:2])]), NormalEquations.of([(A[2:], b[2:])])
    >>> both = first.merge(second)
    >>> np.linalg.solve(both.gram, both.products).round(6)
    array([1., 2.])
    """

    gram: np.ndarray
    products: np.ndarray
    total: float

    @classmethod
    def of(cls, blocks: Iterable, device: str = "cpu") -> NormalEquations:
        """The normal equations of blocks of rows, equal to the bit with any number of threads.

        Parameters
        ----------
        blocks : iterable of tuple
            Rows of A, shape (m, n_columns), and of b, shape (m,): arrays, or tensors on the device.
        device : {"cpu", "cuda", "auto", "torch"}, default="cpu"
            Where the products are summed: "cuda" on a card, to which the blocks are copied one
            after the other, "auto" there if there is one, "torch" by torch on the CPU. The
            equations are arrays of numpy whatever the device.

        Returns
        -------
        NormalEquations

        Raises
        ------
        ValueError
            If there are no blocks, or their numbers of columns or targets do not agree.
        MemoryError
            If AᵀA would not fit.
        """
        equations, place = None, resolve(device)
        if place is not None:
            return _of_device(blocks, place)
        with threads_over_blas() as pool:
            for block in _ahead(blocks, pool):
                equations = equations or EquationsInPlace(block[0].shape[1])
                equations.add([block], pool)
        if equations is None:
            raise ValueError(NO_ROWS)
        return equations.finished()

    @staticmethod
    def memory(n_columns: int) -> Any:
        """Bytes that the equations of ``n_columns`` columns take."""
        return 8.0 * n_columns * (n_columns + 1)

    def merge(self, other: NormalEquations) -> NormalEquations:
        """The normal equations of the rows of both.

        Parameters
        ----------
        other : NormalEquations
            The equations of other rows of the same problem.

        Returns
        -------
        NormalEquations
        """
        check_same_columns(self, other)
        return NormalEquations(
            self.gram + other.gram, self.products + other.products, self.total + other.total
        )

    def eliminate(self, n_last: int) -> tuple:
        """Regress the other columns and b on the last columns, and subtract the fit.

        Parameters
        ----------
        n_last : int
            Number of last columns.

        Returns
        -------
        NormalEquations
            Equations of the residuals of the other columns and of b; zero where a residual is
            rounding error.
        ndarray of float, shape (n_last, n_columns - n_last + 1)
            Coefficients of the last columns; the final column holds the coefficients for b.
        """
        full = np.block([[self.gram, self.products[:, None]], [self.products, self.total]])
        last = np.arange(len(self.gram) - n_last, len(self.gram))
        others = np.delete(np.arange(len(full)), last)
        fit = np.linalg.pinv(full[np.ix_(last, last)], hermitian=True) @ full[np.ix_(last, others)]
        left = full[np.ix_(others, others)]
        before = np.diag(left).copy()
        left -= full[np.ix_(others, last)] @ fit
        gone = np.diag(left) <= _ROUNDING * before
        left[gone] = left[:, gone] = 0.0
        return NormalEquations(left[:-1, :-1], left[:-1, -1], float(left[-1, -1])), fit


class EquationsInPlace:
    """Normal equations to which rows are added in place, tile by tile, in threads.

    Until they are `finished`, the Gram matrix has its upper triangle only.

    Parameters
    ----------
    n_columns : int
    """

    def __init__(self, n_columns: int) -> None:
        check_memory(NormalEquations.memory(n_columns), *_memory_message(n_columns))
        self.gram = np.zeros((n_columns, n_columns))
        self.products = np.zeros(n_columns)
        self.total = 0.0

    def add(self, blocks: list, team: Any) -> None:
        """Add AᵀA, Aᵀb and bᵀb of blocks of rows, in their order.

        Parameters
        ----------
        blocks : list of tuple
            Rows of A, shape (m, n_columns), and of b, shape (m,).
        team : ThreadTeam
            Threads, each with a serial BLAS.
        """
        tiles = [(self.gram[a, b], a, b) for a, b in _tiles(len(self.products))]
        add_in_place(self, tiles, blocks, team)

    def finished(self) -> NormalEquations:
        """The equations, with both triangles."""
        for a, b in _tiles(len(self.products)):
            self.gram[b, a] = self.gram[a, b].T
        return NormalEquations(self.gram, self.products, self.total)


def _of_device(blocks, device):
    """The equations of blocks of arrays or tensors, summed on a `Device`."""
    gram = None
    with threads_over_blas() as pool:
        for matrix, target in _ahead(blocks, pool):
            n_columns = matrix.shape[1] if gram is None else len(gram)
            check_block(matrix, target, n_columns)
            if gram is None:
                message = _memory_message(n_columns)
                size = NormalEquations.memory(n_columns) + 2 * matrix.nbytes
                device.check_memory(size, *message)
                gram, products = device.zeros(n_columns, n_columns), device.zeros(n_columns)
                total = device.zeros()
            with device.room_for(2 * matrix.nbytes, *message):
                rows, labels = moved(matrix, device), moved(target, device)
                gram.addmm_(rows.T, rows)
                products.addmv_(rows.T, labels)
                total += labels @ labels
    if gram is None:
        raise ValueError(NO_ROWS)
    return NormalEquations(device.array(gram), device.array(products), float(total))


def _memory_message(n_columns):
    return (
        f"the Gram matrix of {n_columns} features",
        "use method='gram-schmidt', or select features first",
    )


def check_block(matrix, target, n_columns):
    """Raise a ValueError if a block of rows has a wrong number of columns or targets."""
    if matrix.shape != (len(target), n_columns) or target.ndim != 1:
        raise ValueError(
            f"a block has rows {matrix.shape} and targets {target.shape}: give a target for each "
            f"row, and {n_columns} columns as in the first block"
        )


def add_in_place(equations, tiles, blocks, team):
    """Add AᵀA, Aᵀb and bᵀb of blocks of rows to equations, in their order.

    Parameters
    ----------
    equations : object with the attributes ``products`` and ``total``
    tiles : list of (ndarray or Tensor, slice, slice)
        Parts of AᵀA that are summed, and their rows and columns.
    blocks : list of tuple
        Rows of A, shape (m, n_columns), and of b, shape (m,).
    team : ThreadTeam
        Threads, each with a serial BLAS.
    """
    for matrix, target in blocks:
        check_block(matrix, target, len(equations.products))
    list(team.map(partial(_add_tile, blocks), tiles))
    for matrix, target in blocks:
        equations.products += target @ matrix
        equations.total += float(target @ target)


def _add_tile(blocks, tile):
    gram, rows, columns = tile
    for matrix, _ in blocks:
        gram += matrix[:, rows].T @ matrix[:, columns]


def check_same_columns(equations, others):
    """Raise a ValueError if two sets of equations are of different numbers of columns."""
    if len(equations.products) != len(others.products):
        raise ValueError(
            f"normal equations of {len(equations.products)} and of {len(others.products)} columns "
            "do not add up: give parts of the same problem"
        )


def _tiles(n_columns):
    tiles = split_rows(n_columns, _TILE)
    return [(a, b) for i, a in enumerate(tiles) for b in tiles[i:]]


def _ahead(blocks, pool):
    """The same blocks; a thread makes the next block while the present one is used."""
    blocks = iter(blocks)
    coming = pool.submit(next, blocks, None)
    while (block := coming.result()) is not None:
        coming = pool.submit(next, blocks, None)
        yield block
