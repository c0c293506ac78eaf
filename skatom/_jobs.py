"""Work for other processes and machines, and sums of what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from skatom._cluster import active_cluster
from skatom._progress import tqdm


def map_jobs(
    function: Callable,
    items: Iterable,
    n_jobs: int | None = None,
    *,
    verbose: int = 0,
    desc: str | None = None,
    unit: str = "it",
) -> Iterator:
    """Apply ``function`` to all items, in their order, with joblib if there are several jobs.

    Most functions already use all threads of this machine; jobs are for processes and for other
    machines. ``joblib.parallel_config(backend="dask")`` around the call of an estimator sends its
    items to a Dask cluster.

    Parameters
    ----------
    function : callable
        Function of one item. Where jobs are processes, it and the items must be picklable.
    items : iterable
        The items.
    n_jobs : int, default=None
        Number of jobs, as in joblib: None means 1 outside of `joblib.parallel_config`, -1 all
        cores. With one job this is a plain loop in the calling thread.
    verbose : int, default=0
        1 shows a progress bar of two items or more, in the process that consumes the results.
    desc : str, default=None
        Label of the progress bar.
    unit : str, default="it"
        Name of an item in the progress bar.

    Yields
    ------
    result
        One result for each item. Nothing is computed before the first result is requested, and
        with one job each result is computed when it is requested.

    Examples
    --------
    >>> from skatom.parallel import map_jobs
    >>> list(map_jobs(abs, [-1, 2, -3], n_jobs=1))
    [1, 2, 3]
    """
    items, cluster = list(items), active_cluster()
    if cluster is not None and len(items) > 1:
        results = cluster.results(map(cluster.function(function), items))
    elif len(items) < 2 or effective_n_jobs(n_jobs) == 1:
        results = map(function, items)
    else:
        backend, _ = get_active_backend()
        kind = "generator" if backend.supports_return_generator else "list"
        results = Parallel(n_jobs=n_jobs, return_as=kind)(delayed(function)(x) for x in items)
    shown = verbose and len(items) > 1  # a bar of one item says nothing, in dynamics at every step
    yield from tqdm(results, desc, len(items), unit=unit, disable=not shown, leave=False)


def works_elsewhere():
    """Whether work may go to other processes or machines: a cluster, or several jobs."""
    backend, _ = get_active_backend()
    in_threads = getattr(backend, "uses_threads", False)
    return active_cluster() is not None or (not in_threads and effective_n_jobs(None) > 1)


def reduce_jobs(function: Callable, items: Iterable, size: int) -> Iterator:
    """Apply ``function`` to all items in jobs, and merge the results of each ``size`` items.

    On a Dask cluster they are merged on the workers, and what a lost worker had of a few groups is
    computed again. Items of a generator are made when there is a job for them.

    Yields
    ------
    object of the type of the results
        What each group makes together, in the order of the items.
    """
    items, cluster = iter(items), active_cluster()
    groups = iter(lambda: list(islice(items, size)), [])
    if cluster is None:
        yield from (tree_reduce(map_jobs(function, group)) for group in groups)
        return
    call, merge = cluster.function(function), cluster.function(merged)
    yield from cluster.results((tree_reduce(map(call, group), merge) for group in groups), size)


def merged(first, second):
    """Merge two parts: ``first.merge(second)``, or the sum of arrays and numbers."""
    return first.merge(second) if hasattr(first, "merge") else first + second


def tree_reduce(parts: Iterable, merge: Callable = merged) -> Any:
    """Merge parts along a binary tree that depends only on their number.

    Adjacent parts are merged in pairs, pairs with pairs, and so on, as soon as both are available.
    Of n parts at most log₂ n + 1 are held at a time.

    Parameters
    ----------
    parts : iterable
        Objects with a method ``merge``, such as `StreamedQR` and `NormalEquations`, or arrays, in
        a fixed order: from a loop, `ThreadTeam.map` or `map_jobs`.
    merge : callable, default=merged
        ``merge(first, second)``. A function that submits a task leaves the parts where they are:
        with Dask's ``lambda a, b: client.submit(merged, a, b)`` the parts are futures, are merged
        on the workers, and are recomputed if a worker is lost.

    Returns
    -------
    object of the type of the parts
        What all parts make together.

    Raises
    ------
    ValueError
        If there are no parts.

    Examples
    --------
    >>> from skatom.parallel import tree_reduce
    >>> tree_reduce("abcde", lambda first, second: f"({first}{second})")
    '(((ab)(cd))e)'
    """
    waiting = []  # (number of parts, their merger), in falling order of the number
    for part in parts:
        size = 1
        while waiting and waiting[-1][0] == size:
            part = merge(waiting.pop()[1], part)
            size *= 2
        waiting.append((size, part))
    if not waiting:
        raise ValueError("there are no parts to merge: give at least one")
    _, total = waiting.pop()
    while waiting:
        total = merge(waiting.pop()[1], total)
    return total
