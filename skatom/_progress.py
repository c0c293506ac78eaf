"""Progress bars."""

from time import time

import tqdm as bars

from skatom._numba.compilation_time import compilation


class tqdm(bars.tqdm):
    """A bar of tqdm whose clock stands still while functions are compiled.

    The first steps after installation compile, and say nothing about the pace of the others.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        if not self.disable:
            self._time = working_time
            self.start_t = self.last_print_t = self._time()


def working_time():
    """The time without that of compilation."""
    return time() - compilation.seconds
