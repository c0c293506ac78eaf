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
    with serial_blas(), ThreadPoolExecutor(numba.get_num_threads()) as pool:
        yield pool


def serial_blas():
    """A context in which BLAS uses one thread."""
    return _blas_controller().limit(limits=1, user_api="blas")


def split_rows(n_rows, size):
    """Slices of 0 … n_rows, whatever the number of threads, so that results do not depend on it."""
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


@cache
def _blas_controller():
    """The loaded BLAS libraries; to find them takes milliseconds."""
    return ThreadpoolController()
