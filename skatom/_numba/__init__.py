"""numba where it is installed; without it everything imports, and compiled loops are an error.

All modules take ``njit`` from here, so that a node with torch and without numba runs what works on
tensors, and so that all functions are compiled and kept on disk in the same way.
"""

import os
from functools import partial

from joblib import cpu_count

try:
    import numba
except ImportError:
    numba = None
else:
    from skatom._numba.compiler import SelfContainedCompiler
    from skatom._numba.disk_cache import DiskCache

__all__ = ["get_num_threads", "njit"]


def get_num_threads():
    """The number of threads that skatom uses: numba's, or without it all cores."""
    if numba is not None:
        return numba.get_num_threads()
    return int(os.environ.get("NUMBA_NUM_THREADS", 0)) or cpu_count()


def njit(function=None, *, cache=False, **options):
    """numba's decorator, with the compiler and the cache of this package."""
    if function is None:
        return partial(njit, cache=cache, **options)
    if numba is None:
        return _refusal(function)
    compiled = numba.njit(pipeline_class=SelfContainedCompiler, **options)(function)
    if cache and not numba.config.DISABLE_JIT:  # which gives the function itself
        compiled._cache = DiskCache(function)
    return compiled


def _refusal(function):
    """A function in the place of one that cannot be compiled."""

    def refuse(*arguments):
        raise ImportError(
            f"{function.__name__} is a compiled loop, which needs numba: pip install numba, or "
            "use what works with torch, by the parameter device='torch' or 'cuda'"
        )

    return refuse
