import numpy as np
import pytest

from skatom.solvers import PackedCholesky


def positive_definite(n, seed=0):
    half = np.random.default_rng(seed).normal(size=(n, n))
    return half @ half.T + np.eye(n)


@pytest.mark.parametrize("edges", [[0, 7], [0, 3, 7], [0, 1, 2, 5, 7]])
def test_solution_for_any_partition_into_columns(edges):
    A, b = positive_definite(7), np.arange(7.0)
    solver = PackedCholesky(edges)

    def fill(start, stop, out):
        out[:] = A[start:, start:stop]
        out[: stop - start][np.triu_indices(stop - start, 1)] = np.nan  # must not be read

    solver.factor(fill)
    np.testing.assert_allclose(A @ solver.solve(b), b, atol=1e-12)


def test_memory_is_that_of_a_triangle():
    n, width = 4000, 100
    solver = PackedCholesky(np.arange(0, n + 1, width))
    held = []

    def fill(start, stop, out):
        held.append(out.nbytes)
        out[:] = 0.0
        np.fill_diagonal(out, 1.0)

    solver.factor(fill)
    assert sum(held) == 8 * n * (n + width) // 2


def test_an_indefinite_matrix_is_refused():
    A = np.diag([1.0, -1.0, 1.0])
    solver = PackedCholesky([0, 1, 3])
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite at row 2"):
        solver.factor(lambda start, stop, out: np.copyto(out, A[start:, start:stop]))
