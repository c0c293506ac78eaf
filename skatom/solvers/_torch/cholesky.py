"""The block columns of `PackedCholesky` on tensors."""

import numpy as np
import torch

# Rows of a block column begin at multiples of this many numbers: 128 bytes, for fast products.
_ALIGNMENT = 16
# Columns that LAPACK's routine factors, and rows below that are divided by them at once.
_PANEL, _ROWS = 512, 2**15


def factor_columns(fill, edges, device, advance):
    """Make and factor block columns (left-looking).

    Parameters
    ----------
    fill : callable
        ``fill(start, stop, out)`` writes ``A[start:, start:stop]`` into the tensor ``out``.
    edges : sequence of int, shape (n_blocks + 1,)
    device : Device
    advance : callable
        ``advance(start, stop)`` is called after each block column.

    Returns
    -------
    list of Tensor, each of shape (n - start, stop - start)
    """
    size, columns = edges[-1], []
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        column = _empty_column(size - start, stop - start, device)
        column[: stop - start].zero_()
        fill(start, stop, column)
        for begin, done in zip(edges, columns, strict=False):
            left = done[start - begin :]
            column.addmm_(left, left[: stop - start].T, alpha=-1.0)
        _factor_column(column, start)
        columns.append(column)
        advance(start, stop)
    return columns


def _empty_column(rows, width, device):
    padded = -(-width // _ALIGNMENT) * _ALIGNMENT
    return device.empty(rows, padded)[:, :width]


def _factor_column(column, start):
    """Factor the diagonal block and multiply those below by its inverse, in place.

    This is done for some columns at a time, so that most of the work is products.
    """
    found = []
    for begin in range(0, column.shape[1], _PANEL):
        panel = column[begin:, begin : begin + _PANEL]
        width = panel.shape[1]
        if begin:
            panel.addmm_(
                column[begin:, :begin], column[begin : begin + width, :begin].T, alpha=-1.0
            )
        finite = torch.isfinite(panel[:width].tril()).all(1).int()
        diagonal, info = torch.linalg.cholesky_ex(panel[:width])
        panel[:width] = diagonal
        for rows in panel[width:].split(_ROWS):
            rows.copy_(torch.linalg.solve_triangular(diagonal.T, rows, upper=True, left=False))
        found.append(torch.stack([finite.min(), finite.argmin(), info]))
    # waiting for the device begins when all work on the column is on its way
    for panel, (finite, row, info) in enumerate(torch.stack(found).tolist()):
        _check(finite, start + panel * _PANEL, row, info)


def _check(finite, start, row, info):
    """The errors of the factorisation in numpy, of a panel that begins at a row."""
    if not finite:
        raise ValueError(
            f"row {start + row} of the matrix has a number that is not finite: look for it in the "
            "input"
        )
    if info > 0:
        raise np.linalg.LinAlgError(f"the matrix is not positive definite at row {start + info}")


def solve_columns(columns, edges, b, half=False):
    """x of L Lᵀ x = b, or with ``half`` of L x = b, shape (n, m), from the block columns of L."""
    x = b.clone()
    blocks = list(zip(edges[:-1], edges[1:], columns, strict=True))
    for start, stop, column in blocks:
        diagonal, below = column[: stop - start], column[stop - start :]
        x[start:stop] = torch.linalg.solve_triangular(diagonal, x[start:stop], upper=False)
        x[stop:].addmm_(below, x[start:stop], alpha=-1.0)
    for start, stop, column in () if half else reversed(blocks):
        diagonal, below = column[: stop - start], column[stop - start :]
        x[start:stop].addmm_(below.T, x[stop:], alpha=-1.0)
        x[start:stop] = torch.linalg.solve_triangular(diagonal.T, x[start:stop], upper=True)
    return x
