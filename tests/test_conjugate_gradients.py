import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from skatom.solvers import MatrixSystem, NystromPreconditioner, conjugate_gradients


def low_rank(n=300, rank=40, seed=0):
    """K of eigenvalues that fall from 1e6, and a right side."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(n, rank)) * np.geomspace(30, 0.1, rank)
    return half @ half.T, rng.normal(size=n)


def preconditioned(K, b, index, max_iter=1000):
    system = MatrixSystem(K + np.eye(len(K)))
    preconditioner = NystromPreconditioner.of(system, index)
    return conjugate_gradients(system, b, preconditioner, 1e-10, max_iter)


def test_columns_that_span_the_matrix_solve_it_at_once():
    K, b = low_rank()
    x, n_iter = preconditioned(K, b, np.arange(100))
    np.testing.assert_allclose(x, np.linalg.solve(K + np.eye(300), b), atol=1e-8)
    assert n_iter <= 3


def test_more_columns_make_fewer_iterations():
    K, b = low_rank()
    counts = [preconditioned(K, b, np.arange(m))[1] for m in (1, 10, 20, 30)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] / 2


@pytest.mark.parametrize("value", [0.0, -1e-30, 1e-30])
def test_columns_of_nothing_but_rounding_change_nothing(value):
    v = np.arange(1.0, 6.0)
    preconditioner = NystromPreconditioner(np.full((5, 2), value), np.array([0, 3]))
    np.testing.assert_allclose(preconditioner(v), v, rtol=1e-12)


def test_equal_columns_count_once():
    K, b = low_rank(rank=5)
    K[:, 1], K[1] = K[:, 0], K[0]
    K[1, 1] = K[0, 0]
    x, n_iter = preconditioned(K, b, np.array([0, 1, 2, 3, 4, 5]))
    np.testing.assert_allclose((K + np.eye(300)) @ x, b, atol=1e-7)
    assert n_iter < 10


def test_too_few_iterations_are_a_warning():
    K, b = low_rank()
    with pytest.warns(ConvergenceWarning, match="stopped after 3 iterations"):
        _, n_iter = preconditioned(K, b, np.array([0]), max_iter=3)
    assert n_iter == 3
