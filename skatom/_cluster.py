"""Tasks for a Dask cluster: a function is sent once, results come in order, few wait at a time.

A task is computed again if the worker with its result is lost. Nothing is scattered: scattered data
are gone with the worker that has them.
"""

import ctypes
import os
import warnings
from collections import deque
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from joblib.parallel import get_active_backend

from skatom._numba import limited_threads

# Items that wait for a thread of a worker, so that none is idle.
_AHEAD = 2
# Share of the limit of its memory from which on a worker of Dask takes no further tasks.
_SHARE = 0.8
_GIB = 2**30
# Parameters of glibc's `mallopt`, how much memory is kept free and from which size on arrays are
# pages of their own, and the values that glibc comes to by itself.
_MALLOPT = {-1: 2**26, -3: 2**25}


def active_cluster():
    """The cluster of ``joblib.parallel_config(backend="dask")``.

    Returns
    -------
    Cluster, or None
    """
    backend, _ = get_active_backend()
    client = getattr(backend, "client", None)
    return None if client is None else Cluster(client)


class Cluster:
    """The workers of a Dask client.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client):
        self._client = client

    def function(self, function):
        """The same function, of items or of results, whose calls are tasks.

        Returns
        -------
        callable
            Function of items, or of futures of results, that returns a future.
        """
        with warnings.catch_warnings():  # Dask advises to scatter what is large
            warnings.filterwarnings("ignore", message="Sending large graph")
            there = self._submit(_itself, _Opaque(function))
        return lambda *items: self._submit(_call, there, *map(self._argument, items))

    def _submit(self, *call):
        with _explained():
            return self._client.submit(*call, pure=False)

    def _argument(self, item):
        """Items are hidden from Dask, which would look for futures in tuples and lists."""
        return item if isinstance(item, import_module("distributed").Future) else _Opaque(item)

    def results(self, futures, size=1):
        """Results in order; futures are made while fewer than some items wait for each thread.

        Parameters
        ----------
        futures : iterable of Future
            Made, and so submitted, when they are asked for.
        size : int, default=1
            Number of items of each.

        Yields
        ------
        result
        """
        waiting, n_threads = deque(), sum(self._client.ncores().values())
        try:
            for future in futures:
                waiting.append(future)
                if (len(waiting) - 1) * size >= _AHEAD * n_threads:
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self._client.cancel(list(waiting))

    def workers(self):
        """Threads and limit of the memory in bytes, 0 for none, of each worker.

        Returns
        -------
        list of (int, int)
        """
        with _explained():
            found = self._client.run_on_scheduler(  # a lambda is sent as code
                lambda dask_scheduler: [
                    (worker.nthreads, worker.memory_limit or 0)
                    for worker in dask_scheduler.workers.values()
                ]
            )
        if not found:
            raise ConnectionError("the Dask cluster has no workers: start some")
        return found

    def check_memory(self, n_bytes, what, remedy):
        """Raise a MemoryError if each thread of a worker needs so much and it would not fit."""
        for n_threads, limit in self.workers():
            if limit and n_threads * n_bytes > _SHARE * limit:
                raise MemoryError(
                    f"{what} needs {n_threads * n_bytes / _GIB:.3g} GiB in a worker of {n_threads} "
                    f"threads and {_SHARE * limit / _GIB:.3g} GiB are usable: {remedy}"
                )


@dataclass(frozen=True)
class _Opaque:
    content: Any


def _itself(function):
    return function


def _call(function, *items):
    """The call of a task, in as many threads as the worker gives to each of its tasks."""
    _keep_freed_pages()
    items = [item.content if isinstance(item, _Opaque) else item for item in items]
    with _own_threads():
        return function.content(*items)


@cache
def _keep_freed_pages():
    """Undo Dask's ``MALLOC_TRIM_THRESHOLD_`` in this process.

    With it every array of more than 128 KiB is made of fresh pages, which the kernel clears: a
    third of the time of the rows of small structures.
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ:
        with suppress(AttributeError, TypeError):  # not glibc
            for parameter, value in _MALLOPT.items():
                ctypes.CDLL(None).mallopt(parameter, value)


@contextmanager
def _own_threads():
    """One thread, or the task's share of ``NUMBA_NUM_THREADS`` if the worker has that set."""
    worker = import_module("distributed").get_worker()
    n_threads = int(os.environ.get("NUMBA_NUM_THREADS", 1)) // worker.state.nthreads
    with limited_threads(max(1, n_threads)):
        yield


def _result(future):
    with _explained():
        return future.result()


@contextmanager
def _explained():
    """Errors of a cluster that is gone, or whose workers end again and again, in one sentence."""
    distributed = import_module("distributed")
    try:
        yield
    except distributed.KilledWorker as error:
        raise ConnectionError(
            f"a task ended {error.allowed_failures + 1} workers of the Dask cluster, perhaps for "
            "want of memory: see the workers' logs, and give them more memory or fewer threads"
        ) from error
    except (CancelledError, import_module("distributed.comm").CommClosedError) as error:
        raise ConnectionError(
            "the Dask cluster does not answer any more, its scheduler has ended or cannot be "
            "reached: start a cluster, connect, and continue"
        ) from error
