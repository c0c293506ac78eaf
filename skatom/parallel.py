"""Threads that share the cores with BLAS instead of fighting it for them."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import numba
from threadpoolctl import ThreadpoolController

# Atoms in one call of a compiled loop: a call costs some 50 µs, an atom some 10.
_SMALLEST_PIECE, _LARGEST_PIECE = 32, 8192


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


def run_in_threads(function, n_items, *arguments):
    """Call ``function(first, last, *arguments)`` on pieces of 0 … n_items, in numba's threads.

    The function is compiled with ``nogil``, writes its results into its arguments, and treats
    each item by itself. Pieces are handed out as threads become free, so a busy core delays only
    its own; OpenMP's threads would all wait for it, and spin between one loop and the next.
    """
    threads = numba.get_num_threads()
    if threads == 1 or n_items < 2 * _SMALLEST_PIECE:
        function(0, n_items, *arguments)
        return
    size = min(max(n_items // (4 * threads), _SMALLEST_PIECE), _LARGEST_PIECE)
    with ThreadPoolExecutor(threads) as pool:
        calls = [
            pool.submit(function, piece.start, piece.stop, *arguments)
            for piece in split_rows(n_items, size)
        ]
        for call in calls:
            call.result()


@cache
def _blas_controller():
    """The loaded BLAS libraries; to find them takes milliseconds."""
    return ThreadpoolController()
