"""numba where it is installed; without it everything imports, and compiled loops are an error.

All modules take ``njit`` from here, so that a node with torch and without numba runs what works on
tensors, and so that all functions are compiled and kept on disk in the same way.
"""

import os
from contextlib import contextmanager
from functools import partial

from joblib import cpu_count

try:
    import numba
except ImportError:
    numba = add_product = None
else:
    from skatom._numba.blas import add_product, interpreted_product
    from skatom._numba.compiler import SelfContainedCompiler
    from skatom._numba.disk_cache import DiskCache

    if numba.config.DISABLE_JIT:
        add_product = interpreted_product

__all__ = ["add_product", "callee", "get_num_threads", "is_installed", "limited_threads", "njit"]


def is_installed():
    """Whether compiled loops can be called."""
    return numba is not None


def get_num_threads():
    """The number of threads that skatom uses: numba's, or without it all cores."""
    if numba is not None:
        return numba.get_num_threads()
    return int(os.environ.get("NUMBA_NUM_THREADS", 0)) or cpu_count()


@contextmanager
def limited_threads(n):
    """A context in which numba uses so many threads; without numba, nothing changes.

    Raises
    ------
    ValueError
        If numba was started with fewer.
    """
    if numba is None:
        yield
        return
    most = numba.config.NUMBA_NUM_THREADS
    if n > most:
        raise ValueError(
            f"{n} threads, but numba has {most}: ask for at most {most}, or raise NUMBA_NUM_THREADS"
        )
    before = numba.get_num_threads()
    numba.set_num_threads(n)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def njit(function=None, *, cache=False, **options):
    """numba's decorator, with the compiler and the cache of this package.

    A division by zero gives an infinity, not an error: its check would keep loops from being
    vectorised, and takes time to compile. C's way to call a function is not needed.
    """
    if function is None:
        return partial(njit, cache=cache, **options)
    if numba is None:
        return _refusal(function)
    options = {"error_model": "numpy", "no_cfunc_wrapper": True, **options}
    compiled = numba.njit(pipeline_class=SelfContainedCompiler, **options)(function)
    if cache and not numba.config.DISABLE_JIT:  # which gives the function itself
        compiled._cache = DiskCache(function)
    return compiled


def callee(function=None, *, allocates=False, **options):
    """`njit` for functions that only compiled functions call.

    The way from Python is not compiled, which is a fifth of all compilation. Python must not call
    them: it would end with a segmentation fault. Arrays belong to the caller, so that references to
    them are not counted, which takes time to compile and to run.

    Parameters
    ----------
    function : function, optional
    allocates : bool, default=False
        Whether the function makes arrays or returns any, which numba has to count. Others that do
        are an error at compilation.
    """
    return njit(function, no_cpython_wrapper=True, _nrt=allocates, **options)


def _refusal(function):
    """A function in the place of one that cannot be compiled."""

    def refuse(*arguments):
        raise ImportError(
            f"{function.__name__} is a compiled loop, which needs numba: pip install numba, or "
            "use what works with torch, by the parameter device='torch' or 'cuda'"
        )

    return refuse
