"""Threads that share the cores with BLAS instead of fighting it for them."""

from collections import deque
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
    ThreadTeam
    """
    with serial_blas(), ThreadTeam(numba.get_num_threads()) as team:
        yield team


class ThreadTeam(ThreadPoolExecutor):
    """A thread pool in whose `map` the calling thread works, too.

    The system often starts two new threads on one core, and parts them only after some 50 ms; one
    new thread beside the calling one gets a core of its own.
    """

    def map(self, function, *iterables):
        """``function`` of all items, in their order, as the built-in `map`."""
        jobs = list(zip(*iterables, strict=False))
        turns, results = iter(range(len(jobs))), {}

        def work():
            try:
                for k in turns:
                    results[k] = function(*jobs[k])
                    yield
            finally:  # after an error nobody takes another turn
                deque(turns, maxlen=0)

        helpers = [
            self.submit(deque, work(), 0) for _ in range(min(self._max_workers, len(jobs)) - 1)
        ]
        given = 0
        for _ in work():
            while given in results:
                yield results.pop(given)
                given += 1
        for helper in helpers:
            helper.result()
        for k in range(given, len(jobs)):
            yield results.pop(k)


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
    with ThreadTeam(threads) as team:
        pieces = split_rows(n_items, size)
        deque(team.map(lambda piece: function(piece.start, piece.stop, *arguments), pieces), 0)


@cache
def _blas_controller():
    """The loaded BLAS libraries; to find them takes milliseconds."""
    return ThreadpoolController()
