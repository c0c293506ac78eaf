"""Cholesky factorisation of a dense matrix in place, by tiles."""

import numba
import numpy as np
import pytest

from skatom.parallel import threads_over_blas
from skatom.solvers.dense_cholesky import factor_in_place


def gram(n):
    rows = np.random.default_rng(0).normal(size=(n + 20, n))
    return rows.T @ rows


def factored(matrix, threads=1):
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        with threads_over_blas() as team:
            factor_in_place(matrix, team)
    finally:
        numba.set_num_threads(before)
    return matrix


@pytest.mark.parametrize("n", [1, 64, 512, 513, 1300])
def test_factor_is_that_of_numpy(n):
    matrix = gram(n)
    expected = np.linalg.cholesky(matrix)
    np.testing.assert_allclose(factored(matrix), expected, atol=1e-9 * np.abs(expected).max())


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
def test_factor_is_equal_to_the_bit_for_any_number_of_threads():
    np.testing.assert_array_equal(factored(gram(1300)), factored(gram(1300), threads=2))


def test_a_matrix_that_is_not_positive_definite_is_an_error():
    matrix = np.eye(600)
    matrix[550, 550] = -1.0
    with pytest.raises(np.linalg.LinAlgError, match="pivot 551 is not above 0"):
        factored(matrix)
