import pickle

import numpy as np
import pytest
from scipy.linalg import LinAlgError, hilbert
from threadpoolctl import threadpool_limits

from skatom.solvers import StreamedQR


def system(n_rows=2000, n_columns=40, n_targets=None, seed=0):
    rng = np.random.default_rng(seed)
    shape = (n_rows,) if n_targets is None else (n_rows, n_targets)
    return rng.normal(size=(n_rows, n_columns)), rng.normal(size=shape)


def streamed(A, y, edges):
    qr = StreamedQR(A.shape[1], 1 if y.ndim == 1 else y.shape[1])
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        qr.update(A[start:stop], y[start:stop])
    return qr


@pytest.mark.parametrize("edges", [[0, 2000], [0, 7, 8, 900, 2000], [*range(0, 2000, 130), 2000]])
@pytest.mark.parametrize("n_targets", [None, 1, 3])
def test_solution_and_residual_do_not_depend_on_the_blocks(edges, n_targets):
    A, y = system(n_targets=n_targets)
    qr = streamed(A, y, edges)
    solution, residuals, *_ = np.linalg.lstsq(A, y, rcond=None)
    np.testing.assert_allclose(qr.solve().reshape(solution.shape), solution, atol=1e-13)
    np.testing.assert_allclose(qr.residuals, np.atleast_1d(residuals), rtol=1e-12)
    assert qr.n_rows == 2000


def test_triangle_is_that_of_all_rows():
    A, y = system()
    R = streamed(A, y, [0, 100, 2000]).triangle
    np.testing.assert_array_equal(R, np.triu(R))
    np.testing.assert_allclose(R.T @ R, A.T @ A, rtol=1e-11, atol=1e-10)


def test_order_of_the_rows_does_not_matter():
    A, y = system()
    order = np.random.default_rng(1).permutation(len(A))
    np.testing.assert_allclose(
        streamed(A[order], y[order], [0, 2000]).solve(),
        streamed(A, y, [0, 2000]).solve(),
        atol=1e-13,
    )


def test_condition_number_is_not_squared():
    A = np.vstack([hilbert(9), 2 * hilbert(9)[::-1]])  # condition number 5e11: its square is lost
    exact = np.ones(9)
    qr = streamed(A, A @ exact, [0, 5, 18])
    np.testing.assert_allclose(A @ qr.solve(), A @ exact, atol=1e-13)
    np.testing.assert_allclose(qr.solve(), exact, atol=1e-3)


def test_more_can_be_taken_after_saving():
    A, y = system()
    qr = pickle.loads(pickle.dumps(streamed(A, y, [0, 600])))
    qr.update(A[600:], y[600:])
    np.testing.assert_allclose(qr.solve(), streamed(A, y, [0, 2000]).solve(), atol=1e-13)


def test_undetermined_columns_are_an_error_until_there_are_enough_rows():
    A, y = system(30, 40)
    qr = StreamedQR(40)
    qr.update(A, y)
    with pytest.raises(LinAlgError, match="30 rows do not determine column"):
        qr.solve()
    qr.update(np.eye(40), np.zeros(40))
    expected = np.linalg.solve(A.T @ A + np.eye(40), A.T @ y)
    np.testing.assert_allclose(qr.solve(), expected, atol=1e-12)


def test_equal_columns_are_an_error():
    A, y = system()
    A[:, 17] = A[:, 5]
    with pytest.raises(LinAlgError, match="do not determine column 17"):
        streamed(A, y, [0, 900, 2000]).solve()


def test_a_refused_block_leaves_no_trace():
    A, y = system()
    qr = streamed(A, y, [0, 2000])
    before = qr.solve()
    with pytest.raises(ValueError, match="finite"):
        qr.update(np.full((2, 40), np.nan), np.zeros(2))
    for rows, targets in [((2, 39), 2), ((2, 40), 3), ((2, 40), (2, 2)), (40, 1), ((), ())]:
        with pytest.raises(ValueError, match="40 and 1 columns: give a target for each"):
            qr.update(np.zeros(rows), np.zeros(targets))
    np.testing.assert_array_equal(qr.solve(), before)


def test_absorbing_is_merging_in_place():
    A, y = system()
    parts = [streamed(A, y, [0, 700]), streamed(A[700:], y[700:], [0, 1300])]
    merged = parts[0].merge(parts[1])
    parts[0].absorb(parts[1])
    assert parts[0].n_rows == 2000
    np.testing.assert_array_equal(parts[0].solve(), merged.solve())
    with pytest.raises(ValueError, match="do not add up"):
        parts[0].absorb(StreamedQR(7))
    np.testing.assert_array_equal(parts[0].solve(), merged.solve())


def test_prior_equals_rows_of_its_triangle():
    rng = np.random.default_rng(0)
    triangle, rows, targets = np.triu(rng.normal(size=(4, 4))), rng.normal(size=(6, 4)), np.ones(6)
    with_prior, with_rows = StreamedQR(4, prior=triangle), StreamedQR(4)
    with_rows.update(triangle, np.zeros(4))
    for solver in (with_prior, with_rows):
        solver.update(rows, targets)
    np.testing.assert_allclose(with_prior.solve(), with_rows.solve(), rtol=1e-12)
    assert with_prior.n_rows == with_rows.n_rows


def test_threads_of_blas_change_no_bit():
    """A badly conditioned triangle would amplify another order of rounding."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(1500, 700)) * np.logspace(0, -8, 700)
    y = A @ np.ones(700)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            qr = StreamedQR(700)
            for part in (slice(0, 800), slice(800, 1500)):
                qr.update(A[part], y[part])
            found.append(qr.solve())
    np.testing.assert_array_equal(*found)


def test_columns_may_have_any_units():
    rows = np.random.default_rng(0).normal(size=(30, 3))
    units = np.array([1e-12, 1.0, 1e12])
    qr = StreamedQR(3)
    qr.update(rows * units, rows.sum(axis=1))
    np.testing.assert_allclose(qr.solve() * units, 1, rtol=1e-12)
