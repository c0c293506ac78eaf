"""The block columns of `PackedCholesky` on tensors."""

import numpy as np
import torch

# Rows of a block column begin at multiples of this many numbers: 128 bytes, for fast products.
_ALIGNMENT = 16


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
    """Factor the diagonal block and multiply those below by its inverse, in place."""
    width = column.shape[1]
    diagonal, info = torch.linalg.cholesky_ex(column[:width])
    column[:width] = diagonal
    for rows in column[width:].split(max(width, _ALIGNMENT) * 8):
        rows.copy_(torch.linalg.solve_triangular(diagonal.T, rows, upper=True, left=False))
    # the answer is waited for once the work on the rows below is on its way
    info, unknown = int(info), ~torch.isfinite(diagonal.diagonal())
    if info == 0 and not unknown.any():
        return
    _raise_for(column, info, unknown, start)


def _raise_for(column, info, unknown, start):
    """The errors of the factorisation in numpy."""
    bad = torch.nonzero(unknown)
    if len(bad):
        raise ValueError(
            f"row {start + int(bad[0])} of the matrix has a number that is not finite: look for it "
            "in the input"
        )
    raise np.linalg.LinAlgError(f"the matrix is not positive definite at row {start + info}")


def solve_columns(columns, edges, b):
    """x of L Lᵀ x = b, shape (n, m), from the block columns of L."""
    x = b.clone()
    blocks = list(zip(edges[:-1], edges[1:], columns, strict=True))
    for start, stop, column in blocks:
        diagonal, below = column[: stop - start], column[stop - start :]
        x[start:stop] = torch.linalg.solve_triangular(diagonal, x[start:stop], upper=False)
        x[stop:].addmm_(below, x[start:stop], alpha=-1.0)
    for start, stop, column in reversed(blocks):
        diagonal, below = column[: stop - start], column[stop - start :]
        x[start:stop].addmm_(below.T, x[stop:], alpha=-1.0)
        x[start:stop] = torch.linalg.solve_triangular(diagonal.T, x[start:stop], upper=True)
    return x
