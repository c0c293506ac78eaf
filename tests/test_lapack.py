"""Routines of LAPACK that threads call at the same time."""

import threading
import time

import numpy as np
import pytest

from skatom.parallel import serial_blas
from skatom.solvers import _lapack


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_products_are_subtracted_in_place(rng):
    a, b = rng.normal(size=(7, 5)), rng.normal(size=(4, 5))
    out = rng.normal(size=(7, 4))
    expected = out - a @ b.T
    _lapack.subtract_product(out, a, b)
    np.testing.assert_allclose(out, expected, atol=1e-14)
    square = rng.normal(size=(7, 7))
    expected = np.tril(square - a @ a.T) + np.triu(square, 1)  # above the diagonal: untouched
    _lapack.subtract_square(square, a)
    np.testing.assert_allclose(square, expected, atol=1e-14)


@pytest.mark.parametrize("n", [6, 64, 65, 300])
def test_factor_and_division_by_it(rng, n):
    half = rng.normal(size=(n, n)) / np.sqrt(n)
    A, rows = half @ half.T + np.eye(n), rng.normal(size=(9, n))
    above = np.triu(np.full((n, n), np.nan), 1)  # is not read
    L = np.tril(A) + above
    assert _lapack.cholesky_in_place(L) == 0
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(A), atol=1e-13)
    quotient = rows.copy()
    _lapack.divide_by_transpose(quotient, L)
    np.testing.assert_allclose(quotient @ np.tril(L).T, rows, atol=1e-13)


@pytest.mark.parametrize("row", [3, 65, 200])
def test_the_row_where_a_matrix_is_not_positive(row):
    diagonal = np.ones(200)
    diagonal[row - 1] = -1.0
    assert _lapack.cholesky_in_place(np.diag(diagonal)) == row


def test_parts_of_rows(rng):
    """Arrays whose rows are contiguous, but farther apart than they are long."""
    n = 100
    wide = rng.normal(size=(2 * n, 2 * n)) / n
    A, rows, out = np.eye(n) + wide[:n, :n] @ wide[:n, :n].T, wide[n:, :n], wide[:n, n:]
    store = np.full((n, n + 7), np.nan)
    L = store[:, :n]
    L[:] = A
    assert _lapack.cholesky_in_place(L) == 0
    np.testing.assert_allclose(np.tril(L), np.linalg.cholesky(A), atol=1e-13)
    assert np.isnan(store[:, n:]).all()
    expected = out - rows @ A[:, :n].T
    _lapack.subtract_product(out, rows, A)
    np.testing.assert_allclose(out, expected, atol=1e-13)
    expected = np.linalg.solve(np.tril(L), rows.T).T
    _lapack.divide_by_transpose(rows, L)
    np.testing.assert_allclose(rows, expected, atol=1e-13)


def test_triangles_have_the_squares_of_the_rows(rng):
    first, second = rng.normal(size=(6, 6)), rng.normal(size=(50, 6))
    R = np.array(first, order="F")
    _lapack.triangle_in_place(R)
    np.testing.assert_allclose(np.triu(R).T @ np.triu(R), first.T @ first, atol=1e-12)
    _lapack.append_rows(R, np.asfortranarray(second), panel=4, height=0)
    squares = first.T @ first + second.T @ second
    np.testing.assert_allclose(np.triu(R).T @ np.triu(R), squares, atol=1e-12)


def test_other_threads_run_meanwhile(rng):
    """scipy's wrappers would hold the interpreter's lock to the end of the call."""
    block, ticks, ended = np.asfortranarray(rng.normal(size=(1000, 1000))), [], threading.Event()

    def tick():
        while not ended.is_set():
            ticks.append(time.perf_counter())
            time.sleep(1e-3)

    clock = threading.Thread(target=tick)
    clock.start()
    begin = time.perf_counter()
    with serial_blas():
        _lapack.triangle_in_place(block)
    end = time.perf_counter()
    ended.set()
    clock.join()
    middle = [t for t in ticks if begin + 0.1 * (end - begin) < t < end - 0.1 * (end - begin)]
    assert len(middle) > 3
