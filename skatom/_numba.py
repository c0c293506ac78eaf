"""numba where it is installed; without it everything imports, and compiled loops are an error.

All modules take ``njit`` from here, so that a node with torch and without numba runs what works on
tensors.
"""

import os
from functools import partial

from joblib import cpu_count

try:
    import numba
except ImportError:
    numba = None

__all__ = ["callee", "get_num_threads", "njit"]


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


def _options(decorator, **defaults):
    """The decorator with other defaults."""
    return decorator if numba is None else partial(decorator, **defaults)


# A division by zero gives an infinity, not an error: its check would keep loops from being
# vectorised, and takes time to compile. C's way to call a function is not needed.
njit = _options(_njit if numba is None else numba.njit, error_model="numpy", no_cfunc_wrapper=True)

# For functions that only compiled functions call: the way from Python is not compiled, which is
# a fifth of all compilation. Python must not call them; it would end with a segmentation fault.
callee = _options(njit, no_cpython_wrapper=True)
