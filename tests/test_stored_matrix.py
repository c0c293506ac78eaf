"""Submatrices of a stored matrix are those of the matrix."""

import numpy as np
import pytest

from skatom.solvers import MatrixSystem, PackedCholesky
from skatom.solvers.stored_matrix import StoredMatrix


class _Submatrix:
    def __init__(self, stored, rows):
        self.stored, self.rows = stored, rows

    def fill(self, start, stop, out):
        self.stored.copy(self.rows, start, stop, out)


@pytest.mark.parametrize("rows", [np.arange(23), np.arange(4, 17), np.arange(1, 23, 3), [5]])
@pytest.mark.parametrize("edges", [[0, 23], [0, 5, 11, 23]])
def test_block_columns_are_those_of_the_submatrix(rows, edges):
    root = np.random.default_rng(0).normal(size=(23, 23))
    matrix, rows = root @ root.T + np.eye(23), np.asarray(rows)
    stored = StoredMatrix(MatrixSystem(matrix), edges)
    expected = matrix[np.ix_(rows, rows)]
    for start in range(0, len(rows), 4):
        stop = min(start + 4, len(rows))
        out = np.zeros((len(rows) - start, stop - start))
        stored.copy(rows, start, stop, out)
        lower = np.tril(np.ones_like(out)) > 0
        np.testing.assert_array_equal(out[lower], expected[start:, start:stop][lower])
    solver = PackedCholesky([*range(0, len(rows), 4), len(rows)])
    solver.factor(_Submatrix(stored, rows))
    right = np.ones(len(rows))
    np.testing.assert_allclose(expected @ solver.solve(right), right, atol=1e-9)


def test_tensors_are_copied_where_they_are():
    torch = pytest.importorskip("torch")
    matrix, rows = np.arange(49.0).reshape(7, 7), np.array([0, 2, 3, 6])
    matrix = matrix + matrix.T

    class Tensors:
        def fill(self, start, stop, out):
            out.copy_(torch.as_tensor(matrix[start:, start:stop]))

    stored = StoredMatrix(Tensors(), [0, 3, 7], "torch")
    out = torch.zeros((3, 2), dtype=torch.float64)
    stored.copy(rows, 1, 3, out)
    lower = np.tril(np.ones((3, 2))) > 0
    np.testing.assert_array_equal(out.numpy()[lower], matrix[np.ix_(rows[1:], rows[1:3])][lower])
