"""Cholesky factorisation of a symmetric matrix that stores only one triangle."""

from __future__ import annotations

from threading import Condition
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from skatom._device import device_of, is_tensor, moved, on_host, resolve
from skatom._progress import tqdm
from skatom._typing import Array, ArrayLike
from skatom.memory import check_memory
from skatom.parallel import split_rows, threads_over_blas
from skatom.solvers._lapack import (
    cholesky_in_place,
    divide_by_transpose,
    subtract_product,
    subtract_square,
)
from skatom.solvers.base import check_system, solver

# Rows that one thread works on: enough for fast products, few enough to keep all threads busy, of
# small matrices and of those from `_LARGE` rows on.
_ROWS, _ROWS_OF_LARGE, _LARGE = 256, 512, 6000
# Rows of a block column that one thread multiplies with few right-hand sides.
_SOLVED_ROWS = 1024
# Right-hand sides that one thread solves for.
_RIGHT_SIDES = 128
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} elapsed, {remaining} to go"


def _memory(size: int, width: int) -> Any:
    """Bytes of the factor of ``size`` rows in block columns of about ``width``."""
    return 4.0 * size * (size + width)


@solver(needs=["fill"], memory=_memory)
class PackedCholesky:
    r"""Factor :math:`A = L L^\top` in block columns, in half the memory of a square matrix.

    The lower triangle lives in block columns, each from its diagonal block downwards, so that A
    never exists as a whole. They are made one after the other, then factored in place, from left
    to right, in tiles that threads share:

    .. math:: L_{ij} = \Big(A_{ij} - \sum_{k<j} L_{ik} L_{jk}^\top\Big) L_{jj}^{-\top}

    Nearly all work is matrix products, at about the speed of LAPACK's full-storage routine, without
    the 32-bit index of its packed routines.

    Parameters
    ----------
    edges : array-like of int, shape (n_blocks + 1,)
        Where the block columns begin, from 0 to the size of A. Columns of 300 to 1000 are best:
        wide enough for fast products, narrow enough to waste little in the diagonal blocks.
    verbose : int, default=0
        1 shows a progress bar.
    device : {"cpu", "cuda", "auto", "torch"}, default="cpu"
        Where the factor is made and kept: as numpy arrays, or by torch on a card ("cuda"; "auto"
        if there is one) or on the CPU ("torch"). With torch the system gets tensors to fill, and
        columns of some 2,000 are best.

    Examples
    --------
    >>> from skatom.solvers import MatrixSystem, PackedCholesky
    >>> solver = PackedCholesky([0, 1, 2])
    >>> solver.factor(MatrixSystem([[4.0, 2.0], [2.0, 3.0]]))
    >>> solver.solve([8.0, 7.0])
    array([1.25, 1.5 ])
    """

    def __init__(self, edges: ArrayLike, verbose: int = 0, device: str = "cpu") -> None:
        self.edges = np.asarray(edges, dtype=np.int64)
        self.verbose = verbose
        self.device = device
        self._columns = None

    def factor(self, system: Any) -> None:
        """Make the matrix, block column by block column, and factor it.

        Parameters
        ----------
        system : object with the method ``fill``
            ``fill(start, stop, out)`` writes ``A[start:, start:stop]`` into ``out``, a
            C-contiguous array of that shape, or a tensor on the device, whose rows may be further
            apart. Elements above A's diagonal are not read; ``out`` is zero there before the call.

        Raises
        ------
        TypeError
            If the system does not give block columns.
        numpy.linalg.LinAlgError
            If A is not positive definite.
        ValueError
            If an element of A is not finite.
        """
        check_system(PackedCholesky, system)
        self._columns = None
        size, device = int(self.edges[-1]), resolve(self.device)
        with tqdm(total=size**3, desc="Cholesky", bar_format=_BAR, disable=not self.verbose) as bar:

            def advance(start, stop):
                bar.update(_work(stop, size) - _work(start, size))

            if device is None:
                self._columns = self._factor(system, size, advance)
            else:
                from skatom.solvers._torch.cholesky import factor_columns

                self._columns = factor_columns(system.fill, self.edges.tolist(), device, advance)

    def _factor(self, system, size, advance):
        blocks, columns = list(zip(self.edges[:-1], self.edges[1:], strict=True)), []
        for start, stop in tqdm(blocks, desc="matrix", disable=not self.verbose, leave=False):
            column = np.empty((size - start, stop - start))
            column[: stop - start] = 0.0
            system.fill(start, stop, column)
            columns.append(column)
        tiles = Tiles(self.edges, columns)
        with threads_over_blas() as pool:
            for j in tiles.factor(pool):
                advance(self.edges[j], self.edges[j + 1])
        return columns

    def solve(self, b: ArrayLike) -> Array:
        """The solution x of A x = b.

        Parameters
        ----------
        b : array-like of float, shape (n,) or (n, m)
            The right-hand side, or m of them. A tensor where the factor is on a device of torch
            stays there.

        Returns
        -------
        ndarray of float, or tensor, of the same shape

        Raises
        ------
        ValueError
            If there is no factor yet, b has another length, or an element of b is not finite.
        """
        return self._apply(b, self._forward, self._backward)

    def half_solve(self, b: ArrayLike) -> Array:
        r"""The solution x of L x = b, whose squares :math:`x^\top x` are :math:`b^\top A^{-1} b`.

        Parameters
        ----------
        b : array-like of float, shape (n,) or (n, m)
            The right-hand side, or m of them.

        Returns
        -------
        ndarray of float, of the same shape

        Raises
        ------
        ValueError
            If there is no factor yet, b has another length, or an element of b is not finite.
        """
        return self._apply(b, self._forward)

    def diagonal(self) -> Array:
        """The diagonal of L.

        Returns
        -------
        ndarray of float, shape (n,)

        Raises
        ------
        ValueError
            If there is no factor yet.
        """
        self._check_factored()
        return np.concatenate([on_host(c[: c.shape[1]].diagonal()) for c in self._columns])

    def to(self, device: str) -> PackedCholesky:
        """A copy of the factor on another device.

        Parameters
        ----------
        device : {"cpu", "cuda", "auto", "torch"}

        Returns
        -------
        PackedCholesky
        """
        copy, place = PackedCholesky(self.edges, self.verbose, device), resolve(device)
        columns = self._columns or []
        n_bytes = 8.0 * sum(column.shape[0] * column.shape[1] for column in columns)
        check = check_memory if place is None else place.check_memory
        check(n_bytes, f"the factor of a matrix of {self.edges[-1]} rows", "use fewer rows")
        copy._columns = [moved(column, place) for column in columns] or None
        return copy

    def _apply(self, b, *steps):
        """Take steps in place, each for a few right-hand sides at a time."""
        self._check_factored()
        tensors = is_tensor(self._columns[0])
        b = b if tensors and is_tensor(b) else np.asarray(b, float)
        size = int(self.edges[-1])
        if b.ndim not in (1, 2) or len(b) != size:
            raise ValueError(
                f"the right-hand side has shape {tuple(b.shape)}, but the matrix has {size} rows: "
                f"give numbers of shape ({size},) or ({size}, m)"
            )
        if not _is_finite(b):
            raise ValueError(
                "the right-hand side has numbers that are not finite: look for them in the input"
            )
        if tensors:
            return self._solve_on_device(b, half=len(steps) == 1)
        x = np.empty(b.shape)
        of_column = x.reshape(size, -1)

        if of_column.shape[1] < _RIGHT_SIDES:
            with threads_over_blas() as pool:
                of_column[:] = self._steps(steps, b.reshape(size, -1), pool.map)
            return x

        def work(columns):
            of_column[:, columns] = self._steps(steps, b.reshape(size, -1)[:, columns], map)

        with threads_over_blas() as pool:
            list(pool.map(work, split_rows(of_column.shape[1], _RIGHT_SIDES)))
        return x

    def _check_factored(self):
        if self._columns is None:
            raise ValueError("there is no factor of a matrix yet: call factor first")

    def _steps(self, steps, b, run):
        """Steps for a few right-hand sides; ``run`` maps over pieces of a block column."""
        x = b.copy()
        for step in steps:
            step(x, run)
        return x

    def _solve_on_device(self, b, half):
        from skatom.solvers._torch.cholesky import solve_columns

        device = device_of(self._columns[0])
        right = b if is_tensor(b) else device.tensor(b)
        x = solve_columns(self._columns, self.edges.tolist(), right.reshape(len(b), -1), half)
        x = x.reshape(b.shape)
        return x if is_tensor(b) else device.array(x)

    def _blocks(self):
        return list(zip(self.edges[:-1], self.edges[1:], self._columns, strict=True))

    def _forward(self, x, run):
        """Overwrite x (n, m) with L⁻¹ x."""
        for start, stop, column in self._blocks():
            width = stop - start
            x[start:stop] = solve_triangular(
                column[:width], x[start:stop], lower=True, check_finite=False
            )
            below, rest = column[width:], x[stop:]

            def subtract(rows, below=below, rest=rest, known=x[start:stop]):
                rest[rows] -= below[rows] @ known

            list(run(subtract, split_rows(len(below), _SOLVED_ROWS)))

    def _backward(self, x, run):
        """Overwrite x (n, m) with L⁻ᵀ x."""
        for start, stop, column in reversed(self._blocks()):
            width = stop - start
            below, known = column[width:], x[stop:]

            def product(rows, below=below, known=known):
                return below[rows].T @ known[rows]

            for part in run(product, split_rows(len(below), _SOLVED_ROWS)):
                x[start:stop] -= part
            x[start:stop] = solve_triangular(
                column[:width], x[start:stop], lower=True, trans=1, check_finite=False
            )


def _is_finite(b):
    return bool((b.isfinite() if is_tensor(b) else np.isfinite(b)).all())


def _work(n_columns, size):
    """Operations, of ``size``³ in all, until ``n_columns`` columns are factored."""
    return (3 * size - 2 * n_columns) * n_columns**2


class Tiles:
    """The lower triangle in tiles, and the order in which threads factor them.

    A tile is some rows of a block column. Threads take the tiles in the order of the columns and,
    in a column, from the top. Each tile waits for those to its left and for the rows of its own
    diagonal block, product by product, so that the next columns begin while the last tiles of a
    column are worked on. As a tile waits only for tiles that were taken before, one of them can
    always go on, and as its products come in a fixed order, threads do not change a bit.

    Parameters
    ----------
    edges : ndarray of int, shape (n_blocks + 1,)
    columns : list of ndarray
        Block columns of A, of L when all tiles are factored.
    """

    def __init__(self, edges, columns):
        self.edges = edges
        self.columns = columns
        rows = _ROWS if edges[-1] < _LARGE else _ROWS_OF_LARGE
        # rows of a block in pieces of nearly the same size, with the same pieces in all columns
        self.pieces = [
            [slice(int(a), int(b)) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
            for cuts in (
                np.linspace(start, stop, -(-(stop - start) // rows) + 1).astype(int)
                for start, stop in zip(edges[:-1], edges[1:], strict=True)
            )
        ]
        self.finished = {piece.start: 0 for block in self.pieces for piece in block}
        self.changed = Condition()
        self.stopped = False

    def factor(self, pool):
        """Factor all tiles; yields the index of each column when it is done."""
        tiles = [
            (j, piece)
            for j in range(len(self.columns))
            for piece in [None, *(p for block in self.pieces[j + 1 :] for p in block)]
        ]
        try:
            done = pool.map(self._factor_tile, tiles)
            for k, _ in enumerate(done):
                if k + 1 == len(tiles) or tiles[k + 1][1] is None:
                    yield tiles[k][0]
        except BaseException:
            self._stop()  # before the pool waits for threads that wait for tiles
            raise

    def _factor_tile(self, tile):
        j, piece = tile
        try:
            if piece is None:
                self._factor_diagonal(j)
            else:
                self._factor_below(j, piece)
        except _Stopped:
            pass
        except BaseException:
            self._stop()
            raise

    def _factor_diagonal(self, j):
        width = self.columns[j].shape[1]
        diagonal, own = self.columns[j][:width], self.pieces[j]
        for k in range(j):
            self._wait(own, k)
            subtract_square(diagonal, self._rows(k, slice(*self.edges[[j, j + 1]])))
        _factor_block(diagonal, self.edges[j])
        self._finish(own, j)

    def _factor_below(self, j, piece):
        width = self.columns[j].shape[1]
        tile, block = self._rows(j, piece), slice(*self.edges[[j, j + 1]])
        for k in range(j):
            self._wait([piece, *self.pieces[j]], k)
            subtract_product(tile, self._rows(k, piece), self._rows(k, block))
        self._wait(self.pieces[j], j)
        divide_by_transpose(tile, self.columns[j][:width])
        self._finish([piece], j)

    def _rows(self, j, rows):
        start = self.edges[j]
        return self.columns[j][rows.start - start : rows.stop - start]

    def _wait(self, pieces, k):
        """Until the tiles of these rows in column ``k`` are factored."""
        for piece in pieces:
            if self.finished[piece.start] <= k:
                with self.changed:
                    self.changed.wait_for(
                        lambda: self.stopped or self.finished[piece.start] > k  # noqa: B023
                    )
        if self.stopped:
            raise _Stopped

    def _finish(self, pieces, k):
        with self.changed:
            for piece in pieces:
                self.finished[piece.start] = k + 1
            self.changed.notify_all()

    def _stop(self):
        with self.changed:
            self.stopped = True
            self.changed.notify_all()


class _Stopped(Exception):
    """Another thread has failed."""


def _factor_block(diagonal, start):
    """Factor a diagonal block, which begins at row ``start``, in place."""
    failed = cholesky_in_place(diagonal)
    # a number of a row that is not finite makes the row's pivot, or an earlier one, no number
    unknown = np.flatnonzero(~np.isfinite(diagonal.diagonal()))
    if len(unknown):
        raise ValueError(
            f"row {start + unknown[0]} of the matrix has a number that is not finite: look for it "
            "in the input"
        )
    if failed:
        raise np.linalg.LinAlgError(f"the matrix is not positive definite at row {start + failed}")
