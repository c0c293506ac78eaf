"""The option ``--dask``: a Dask cluster whose workers do the work."""

from contextlib import contextmanager

# Seconds within which a scheduler must answer, and within which a first worker must have come.
_ANSWER, _WORKERS = 10, 30


@contextmanager
def on_cluster(address):
    """A context in which fits and predictions run on a cluster; None: on this machine.

    Parameters
    ----------
    address : str or None
        Of the scheduler, as in ``tcp://node01:8786``.
    """
    if address is None:
        yield
        return
    import joblib

    with _connected(address), joblib.parallel_config(backend="dask"):
        yield


@contextmanager
def _connected(address):
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("--dask needs distributed: pip install 'skatom[distributed]'") from error
    try:
        client = Client(address, timeout=_ANSWER)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"--dask {address}: no scheduler answers there ({error}): start one by "
            "`dask scheduler`, and give the address that it prints"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_WORKERS)
        except TimeoutError as error:
            raise ConnectionError(
                f"--dask {address}: the scheduler has had no workers for {_WORKERS} s: start some "
                f"by `dask worker {address}`"
            ) from error
        yield


def print_workers(columns):
    """Print how many workers the cluster has, and how much memory each of their threads takes.

    Parameters
    ----------
    columns : int or None
        Number of representative environments of a sparse Gaussian process.
    """
    from skatom._cluster import active_cluster
    from skatom.models.sparse.jobs import job_memory

    cluster = active_cluster()
    if cluster is None:
        return
    workers = cluster.workers()
    threads = sum(n for n, _ in workers)
    needed = "" if columns is None else f", {job_memory(columns) / 2**30:.2g} GiB for each thread"
    print(
        f"Cluster   {len(workers)} workers with {threads} threads together{needed}",
        flush=True,
    )
