"""numba where it is installed; without it everything imports, and compiled loops are an error.

All modules take ``njit`` from here, so that a node with torch and without numba runs what works on
tensors.
"""

import os

from joblib import cpu_count

try:
    import numba
except ImportError:
    numba = None

__all__ = ["get_num_threads", "njit"]


def get_num_threads():
    """The number of threads that skatom uses: numba's, or without it all cores."""
    if numba is not None:
        return numba.get_num_threads()
    return int(os.environ.get("NUMBA_NUM_THREADS", 0)) or cpu_count()


def _njit(function=None, **options):
    """A decorator like numba's, whose functions cannot be called."""
    if function is None:
        return _njit

    def refuse(*arguments):
        raise ImportError(
            f"{function.__name__} is a compiled loop, which needs numba: pip install numba, or "
            "use what works with torch, by the parameter device='torch' or 'cuda'"
        )

    return refuse


njit = _njit if numba is None else numba.njit
