"""Cholesky factorisation of a dense matrix in place, by tiles that threads share."""

from functools import partial

import numpy as np

from skatom.parallel import split_rows
from skatom.solvers._lapack import (
    cholesky_in_place,
    divide_by_transpose,
    subtract_product,
    subtract_square,
)

# Rows of a tile: large for BLAS, small enough to give each thread some.
_TILE = 512


def factor_in_place(matrix, team):
    """L of A = L Lᵀ in the lower triangle of a row-major matrix, zeros above it.

    The tiles do not depend on the number of threads, and so neither does any bit of the result.

    Parameters
    ----------
    matrix : ndarray of float, shape (n, n)
        A, of which only the lower triangle is read.
    team : ThreadTeam
        Threads, each with a serial BLAS.

    Raises
    ------
    numpy.linalg.LinAlgError
        If A is not positive definite.
    """
    tiles = split_rows(len(matrix), _TILE)
    for k, panel in enumerate(tiles):
        if failed := cholesky_in_place(matrix[panel, panel]):
            raise np.linalg.LinAlgError(
                f"the matrix is not positive definite: pivot {panel.start + failed} is not above 0"
            )
        below = tiles[k + 1 :]
        list(team.map(partial(_divide, matrix, panel), below))
        pairs = [(a, b) for i, a in enumerate(below) for b in below[: i + 1]]
        list(team.map(partial(_update, matrix, panel), pairs))
    for row in range(len(matrix)):
        matrix[row, row + 1 :] = 0.0


def _divide(matrix, panel, rows):
    divide_by_transpose(matrix[rows, panel], matrix[panel, panel])


def _update(matrix, panel, pair):
    a, b = pair
    if a is b:
        subtract_square(matrix[a, a], matrix[a, panel])
    else:
        subtract_product(matrix[a, b], matrix[a, panel], matrix[b, panel])
