"""Threads that share the cores with BLAS instead of fighting it for them."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import numba
from threadpoolctl import ThreadpoolController


@contextmanager
def threads_over_blas():
    """A thread pool whose threads each use a serial BLAS.

    Matrix products of a few hundred rows run better this way than with BLAS's own threads, which
    wait for each other, busily, at the end of each product. The number of threads is numba's
    (``NUMBA_NUM_THREADS``, `numba.set_num_threads`).

    Yields
    ------
    concurrent.futures.ThreadPoolExecutor
    """
    with (
        _blas_controller().limit(limits=1, user_api="blas"),
        ThreadPoolExecutor(numba.get_num_threads()) as pool,
    ):
        yield pool


def split_rows(n_rows, at_least, at_most):
    """Slices of 0 … n_rows, four or more for each thread where their length allows it."""
    size = -(-n_rows // (4 * numba.get_num_threads()))
    size = min(max(size, at_least), at_most)
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


@cache
def _blas_controller():
    """The loaded BLAS libraries; to find them takes milliseconds."""
    return ThreadpoolController()
