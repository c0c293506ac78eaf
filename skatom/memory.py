"""Memory is estimated before it is allocated."""

from contextlib import suppress
from functools import cache
from math import inf
from pathlib import Path

import psutil

try:
    import resource
except ImportError:  # Windows
    resource = None

_GIB = 2**30
# Asking what is available takes 0.1 ms, a quarter of the time that the features of one molecule
# take; this much is always available.
_SMALL = 2**20
# Where Linux lists the control groups of a process, and their limits.
_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
# For versions 2 and 1 of control groups: the files of the limit and of the usage, and the line of
# memory.stat that counts cached files, which need not stay in memory.
_FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
# Where no limit is set, version 1 reports the largest possible number of pages.
_NO_LIMIT = 2**60


def check_memory(n_bytes, what, remedy, max_memory=None):
    """Raise MemoryError if an allocation would not fit.

    Parameters
    ----------
    n_bytes : float
        Size of the allocation.
    what : str
        Name of what is allocated, for the message: "the kernel matrix of 1000 frames".
    remedy : str
        How to make it smaller, for the message: "train on fewer frames".
    max_memory : float, default=None
        The limit in GiB. None: 90 % of the memory that is available now.
    """
    if max_memory is None and n_bytes < _SMALL:
        return
    limit = 0.9 * available_memory() / _GIB if max_memory is None else max_memory
    if n_bytes / _GIB > limit:
        source = "available" if max_memory is None else "allowed by max_memory"
        raise MemoryError(
            f"{what} needs {n_bytes / _GIB:.3g} GiB and {limit:.3g} GiB are {source}: {remedy}"
        )


def available_memory():
    """Bytes that this process may still take: of the machine, of its control groups, which limit
    containers and the jobs of a cluster, and of its address space (``ulimit -v``).

    Returns
    -------
    float
    """
    left = [psutil.virtual_memory().available, _left_of_address_space()]
    for group in _limited_groups():
        with suppress(OSError):  # the group is gone
            left.append(_left_of_group(*group))
    return max(min(left), 0)


def _left_of_address_space():
    if resource is None:
        return inf
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return inf
    return limit - psutil.Process().memory_info().vms


def _left_of_group(folder, version):
    limit, used, unneeded = _FILES[version]
    stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    numbers = (int((folder / name).read_text()) for name in (limit, used))
    return next(numbers) - next(numbers) + int(stat.get(unneeded, 0))


@cache
def _limited_groups():
    """Folders of the process's control groups that have a limit, each with its version."""
    found = []
    for line in _OWN_GROUPS.read_text().splitlines() if _OWN_GROUPS.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        version, top = (1, _GROUPS / "memory") if controllers else (2, _GROUPS)
        own = top / path.lstrip("/")
        # a container may see its own group alone, as the top; limits of parents hold, too
        for folder in (own, *own.parents):
            if top in (folder, *folder.parents) and _is_limited(folder / _FILES[version][0]):
                found.append((folder, version))
    return found


def _is_limited(file):
    with suppress(OSError, ValueError):  # no such file, or "max"
        return int(file.read_text()) < _NO_LIMIT
    return False
