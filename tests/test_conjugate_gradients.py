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


def in_blocks(n=300, size=50, seed=0):
    """K of which blocks have much that the rest of the matrix has not, and a right side."""
    K, b = low_rank(n, 20, seed)
    K /= 100.0
    rng = np.random.default_rng(seed + 1)
    for start in range(0, n, size):
        own = rng.normal(size=(size, size)) * np.geomspace(3, 0.1, size)
        K[start : start + size, start : start + size] += own @ own.T
    return K, b


def with_blocks(K, index, size):
    A = K + np.eye(len(K))
    return NystromPreconditioner(
        K[:, index].copy(), index, np.arange(0, len(K) + 1, size),
        lambda start, stop: A[start:stop, start:stop].copy(),
    )  # fmt: skip


def test_blocks_make_fewer_iterations():
    K, b = in_blocks()
    index, system = np.arange(0, 300, 10), MatrixSystem(K + np.eye(300))
    counts = []
    for preconditioner in (
        NystromPreconditioner(K[:, index].copy(), index),
        with_blocks(K, index, 50),
    ):
        x, n_iter = conjugate_gradients(system, b, preconditioner, 1e-10, 1000)
        np.testing.assert_allclose(K @ x + x, b, atol=1e-5)
        counts.append(n_iter)
    assert counts[1] < 0.6 * counts[0]


def test_preconditioner_is_the_inverse_of_what_it_approximates():
    K, b = in_blocks()
    index = np.arange(0, 300, 10)
    approximate = K[:, index] @ np.linalg.solve(K[np.ix_(index, index)], K[index])
    for start in range(0, 300, 50):
        block = slice(start, start + 50)
        approximate[block, block] = K[block, block]
    found = with_blocks(K, index, 50)(b)
    np.testing.assert_allclose(approximate @ found + found, b, rtol=1e-6, atol=1e-7)


def test_preconditioner_is_that_of_tensors():
    torch = pytest.importorskip("torch")
    K, b = in_blocks()
    index, A = np.arange(0, 300, 10), torch.from_numpy(K + np.eye(300))
    columns = torch.from_numpy(K[:, index].copy())
    edges = np.arange(0, 301, 50)
    one = NystromPreconditioner(
        columns, index, edges, lambda start, stop: A[start:stop, start:stop].clone()
    )
    other = with_blocks(K, index, 50)
    found, expected = one(torch.from_numpy(b)).numpy(), other(b)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(one.leverages().numpy(), other.leverages(), rtol=1e-9)


def test_iteration_is_that_of_tensors():
    torch = pytest.importorskip("torch")
    K, b = in_blocks()
    found = []
    for array in (lambda x: x, torch.from_numpy):
        system = MatrixSystem(K + np.eye(300))
        system.matrix = array(system.matrix)
        found.append(conjugate_gradients(system, array(b), lambda v: v, 1e-6, 1000))
    assert found[0][1] == pytest.approx(found[1][1], abs=3)
    np.testing.assert_allclose(found[1][0].numpy(), found[0][0], atol=1e-5)


@pytest.mark.parametrize("edges", [[0, 100], [50, 300], [0, 200, 100, 300], [[0, 300]]])
def test_blocks_that_do_not_cover_the_rows(edges):
    K, _ = low_rank()
    with pytest.raises(ValueError, match="the blocks begin at .* increasing numbers from 0 to 300"):
        NystromPreconditioner(K[:, :3].copy(), np.arange(3), edges, lambda start, stop: None)


def test_iteration_begins_at_a_start():
    K, b = low_rank()
    system = MatrixSystem(K + np.eye(300))
    half, n_half = conjugate_gradients(system, b, lambda v: v, 1e-4, 1000)
    x, n_iter = conjugate_gradients(system, b, lambda v: v, 1e-8, 1000, start=half)
    np.testing.assert_allclose(K @ x + x, b, atol=1e-6)
    again, none = conjugate_gradients(system, b, lambda v: v, 1e-4, 1000, start=half)
    assert none == 0
    np.testing.assert_array_equal(again, half)


def test_who_watches_may_stop_it():
    K, b = low_rank()
    seen = []

    def watch(x, n_iter, residual):
        seen.append((n_iter, residual, np.linalg.norm(K @ x + x - b) / np.linalg.norm(b)))
        return n_iter == 4

    _, n_iter = conjugate_gradients(
        MatrixSystem(K + np.eye(300)), b, lambda v: v, 1e-8, 1000, watch=watch
    )
    assert n_iter == 4
    assert [n for n, _, _ in seen] == [1, 2, 3, 4]
    np.testing.assert_allclose([told for _, told, _ in seen], [true for _, _, true in seen])


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
