"""Threads on this machine, which share the cores with BLAS."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache
from itertools import islice, pairwise
from operator import length_hint
from threading import Lock, Semaphore, local

import numpy as np
from threadpoolctl import ThreadpoolController

from skatom._crew import Crew, Helper
from skatom._numba import get_num_threads

# Atoms in one call of a compiled loop.
_LARGEST_PIECE = 8192


@contextmanager
def threads_over_blas():
    """A thread pool whose threads each use a serial BLAS.

    Matrix products of a few hundred rows run faster this way than with BLAS's own threads, which
    busy-wait for each other at the end of each product. The number of threads is numba's
    (``NUMBA_NUM_THREADS``, `numba.set_num_threads`).

    Yields
    ------
    ThreadTeam
    """
    with serial_blas(), ThreadTeam(available_threads()) as team:
        yield team


def available_threads():
    """Number of threads for new work: numba's, or one within work that threads share already."""
    return 1 if getattr(_this_thread, "shares", False) else get_num_threads()


_this_thread = local()


class _Sharing:
    """A context in which this thread works on a piece of shared work."""

    def __enter__(self):
        self._before = getattr(_this_thread, "shares", False)
        _this_thread.shares = True

    def __exit__(self, *_):
        _this_thread.shares = self._before


def _shared(function, *arguments):
    """Call a function as a piece of shared work."""
    with _Sharing():
        return function(*arguments)


@cache
def _workers(threads):
    """The threads of teams of this size, which wait for the next team between two."""
    return Crew(threads)


if hasattr(os, "register_at_fork"):  # a process that is forked has none of the threads
    os.register_at_fork(after_in_child=lambda: (_workers.cache_clear(), _turns.cache_clear()))


def small_steps():
    """A context for short steps of numpy, in which few of the threads that share work are at once.

    numpy lets go of the interpreter at each operation. If sixteen threads take short steps, most
    of them sleep between two; the others rather sleep once, until it is their turn.
    """
    if not getattr(_this_thread, "shares", False):
        return nullcontext()
    return _turns(max(2, get_num_threads() // 4))


@cache
def _turns(at_once):
    return Semaphore(at_once)


class ThreadTeam:
    """Threads in whose `map` the calling thread works, too.

    The operating system often starts two new threads on one core and separates them only after
    some 50 ms, and starting sixteen takes milliseconds; so the threads are kept for the next team,
    and one of them is the calling thread. Work that is shared within a piece of shared work stays
    in the thread of that piece.

    Parameters
    ----------
    threads : int
        Number of threads. One: all work is done by the calling thread, when it is submitted.
    """

    def __init__(self, threads):
        self._threads = threads
        self._calls, self._helpers = set(), set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for call in (*self._calls.copy(), *self._helpers.copy()):
            call.cancel()
        wait(self._calls.copy())
        for helper in self._helpers.copy():
            helper.wait()

    def submit(self, function, *arguments):
        """Call ``function(*arguments)`` in one of the threads; returns its `Future`."""
        if self._threads == 1:
            return _done(function, *arguments)
        call = _workers(self._threads).submit(_shared, function, *arguments)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    def map(self, function, *iterables):
        """Apply ``function`` to all items, in their order, as the built-in `map` does."""
        jobs = list(zip(*iterables, strict=False))
        turns, results = iter(range(len(jobs))), {}
        # a team of one leaves the threads to the work
        sharing = _Sharing if self._threads > 1 and len(jobs) > 1 else nullcontext

        def help_out():
            try:
                call_two()
                with _Sharing():
                    for k in turns:
                        results[k] = function(*jobs[k])
            finally:  # after an error nobody takes another turn
                deque(turns, maxlen=0)

        helpers = [Helper(help_out) for _ in range(min(self._threads, len(jobs)) - 1)]
        uncalled = iter(helpers)

        def call_two():
            # Each thread calls two others: a hundred microseconds pass until one begins, and none
            # of those that have begun has to wait for it.
            if length_hint(turns):
                for helper in islice(uncalled, 2):
                    _workers(self._threads).call(helper)

        self._helpers.update(helpers)
        call_two()
        given = 0
        try:
            for k in turns:
                with sharing():
                    results[k] = function(*jobs[k])
                while given in results:
                    yield results.pop(given)
                    given += 1
        finally:
            deque(turns, maxlen=0)
        for helper in helpers:
            if not helper.cancel():  # it may wait for a thread that another team keeps busy
                helper.result()
        self._helpers.difference_update(helpers)
        for k in range(given, len(jobs)):
            yield results.pop(k)


def _done(function, *arguments):
    """The future of a call that is made now."""
    call = Future()
    try:
        call.set_result(function(*arguments))
    except Exception as error:
        call.set_exception(error)
    return call


@contextmanager
def serial_blas():
    """A context in which BLAS uses one thread; it may be nested, and held by several threads.

    Most libraries have one number of threads for the whole process. If each thread of Python saved
    and restored it, one would restore what another had set; so the first thread to enter sets it
    to one, and the last to leave restores it. With OpenMP each thread has its own number.
    """
    if not hasattr(_this_thread, "limit"):
        _this_thread.limit = _Limit(openmp=True)
    limits, holder = (_limit_of_all, _this_thread.limit), object()
    try:  # from the first change on: an interrupt may come between any two lines
        for limit in limits:
            limit.hold(holder)
        yield
    finally:
        with ExitStack() as stack:
            for limit in limits:
                stack.callback(limit.release, holder)


class _Limit:
    """The limit of BLAS to one thread for as long as somebody wants it.

    The numbers of threads before the limit are kept until they are restored. If an interrupt stops
    that, the next to leave does it.

    Parameters
    ----------
    openmp : bool
        Whether it is the limit of the libraries with OpenMP, in one thread, or of the others.
    """

    def __init__(self, openmp):
        self._openmp = openmp
        self._lock = Lock()
        self._holders = set()
        self._before = []

    def hold(self, holder):
        with self._lock:
            if not self._before:
                libraries = (lib for lib in _blas_libraries() if _is_openmp(lib) == self._openmp)
                self._before = [(library, library.get_num_threads()) for library in libraries]
            self._holders.add(holder)
            if len(self._holders) == 1:
                for library, _ in self._before:
                    _set_threads(library, 1)

    def release(self, holder):
        with self._lock:
            self._holders.discard(holder)
            if not self._holders:
                for library, threads in self._before:
                    _set_threads(library, threads)
                self._before = []


_limit_of_all = _Limit(openmp=False)


def _set_threads(library, threads):
    _free(library)
    library.set_num_threads(threads)
    _free(library)


def _free(library):
    """Let any thread set the number: threadpoolctl 3.8 allows it only to the last that set it."""
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread(force=True)


def _is_openmp(library):
    return getattr(library, "threading_layer", None) == "openmp"


@cache
def _blas_libraries():
    """The loaded BLAS libraries; finding them takes milliseconds."""
    return ThreadpoolController().select(user_api="blas").lib_controllers


def split_rows(n_rows, size):
    """Slices of 0 … n_rows of a fixed size, so that results do not depend on the thread count."""
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def split_sizes(sizes, size):
    """Slices of consecutive items that are about ``size`` together, or one that is larger alone.

    They end where the sum of ``sizes`` passes a multiple of ``size``, for any number of workers.
    """
    ends = np.cumsum(sizes)
    starts = np.flatnonzero(np.diff((ends - 1) // size)) + 1
    return [slice(a, b) for a, b in pairwise([0, *starts.tolist(), len(ends)])]


def run_in_threads(function, n_items, *arguments, smallest=32):
    """Call ``function(first, last, *arguments)`` on pieces of 0 … n_items, in numba's threads.

    The function is compiled with ``nogil``, writes its results into its arguments, and treats
    each item independently. Pieces are handed out as threads become free, so a busy core delays
    only its own piece; OpenMP's threads would all wait for it, and spin between two loops.
    """
    threads = available_threads()
    if threads == 1 or n_items < 2 * smallest:
        function(0, n_items, *arguments)
        return
    edges = _edges(n_items, threads, smallest)
    with ThreadTeam(threads) as team:
        results = team.map(lambda a, b: function(a, b, *arguments), edges[:-1], edges[1:])
        deque(results, 0)


def _edges(n_items, threads, smallest):
    """Where pieces of 0 … n_items begin and end: for each thread a large one, then smaller ones.

    A piece costs some ten microseconds of the interpreter, which other threads may wait for.
    """
    edges = [0]
    while edges[-1] < n_items:
        left = n_items - edges[-1]
        # half of what is left, or all of it in the end
        share = left // 2 if 8 * left > n_items and left > 2 * threads * smallest else left
        size = min(max(-(-share // threads), smallest), _LARGEST_PIECE)
        stop = min(edges[-1] + threads * size, n_items)
        edges.extend(range(edges[-1] + size, stop, size))
        edges.append(stop)
    return edges
