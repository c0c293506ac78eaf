"""Memory is estimated before it is allocated."""

import psutil

_GIB = 2**30


def check_memory(n_bytes, what, remedy, max_memory=None):
    """Raise MemoryError if an allocation would not fit.

    Parameters
    ----------
    n_bytes : float
        Size of what is about to be allocated.
    what : str
        Its name, for the message: "the kernel matrix of 1000 frames".
    remedy : str
        What makes it smaller: "train on fewer frames".
    max_memory : float, default=None
        The limit in GiB. None: 90 % of the memory that is available now.
    """
    limit = 0.9 * psutil.virtual_memory().available / _GIB if max_memory is None else max_memory
    if n_bytes / _GIB > limit:
        source = "available" if max_memory is None else "allowed by max_memory"
        raise MemoryError(
            f"{what} needs {n_bytes / _GIB:.3g} GiB and {limit:.3g} GiB are {source}: {remedy}"
        )
