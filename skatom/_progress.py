"""Progress bars."""

import sys
from time import time

import tqdm as bars

from skatom._numba.compilation_time import compilation

# Seconds between two lines of a bar in a file, as batch systems keep them.
_IN_FILES = 10.0


class tqdm(bars.tqdm):
    """A bar of tqdm whose clock stands still while functions are compiled.

    The first steps after installation compile, and say nothing about the pace of the others. Where
    nobody watches, in a file, it is drawn seldom.
    """

    def __init__(self, *args, **options):
        if not _is_watched():
            options.setdefault("mininterval", _IN_FILES)
        super().__init__(*args, **options)
        if not self.disable:
            self._time = working_time
            self.start_t = self.last_print_t = self._time()


def working_time():
    """The time without that of compilation."""
    return time() - compilation.seconds


def _is_watched():
    """Whether messages go to a terminal or a notebook."""
    return "ipykernel" in sys.modules or getattr(sys.stderr, "isatty", bool)()
