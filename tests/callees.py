"""How tests call functions that only compiled functions may call."""

from functools import cache

from skatom._numba import njit


@cache
def _entry(function):
    @njit
    def entry(*arguments):
        function(*arguments)

    return entry


def call(function, *arguments):
    """Call a callee, which writes its results into its arguments."""
    _entry(function)(*arguments)
