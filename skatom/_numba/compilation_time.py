"""The time that compilation takes: it is announced, and progress bars leave it out."""

import gc
import sys
from multiprocessing import parent_process
from threading import Timer
from time import time

from tqdm import tqdm

ANNOUNCEMENT = "skatom: compiling for this computer, once; this takes seconds to minutes"


class Compilation:
    """A context of the compilation of a function, and within it of those that it calls.

    Compilation of more than a second is announced on the standard error, once in a process, and not
    by the workers of another process, which would all say the same. numba compiles in one thread at
    a time. No garbage is collected meanwhile: a compiler makes many objects, which it keeps, and a
    tenth of its time would go into looking at them again and again. Afterwards they count as old,
    so that the next collection of young objects does not look at them either.

    Parameters
    ----------
    patience : float, default=1.0
        Seconds of compilation without an announcement.
    """

    def __init__(self, patience=1.0):
        self._patience = patience
        self._announced = parent_process() is not None
        self._depth = 0
        self._seconds = 0.0
        self._start = None

    @property
    def seconds(self):
        """Seconds of compilation in this process until now."""
        start = self._start
        return self._seconds + (0.0 if start is None else time() - start)

    def __enter__(self):
        self._depth += 1
        if self._depth == 1:
            self._start = time()
            self._collects = gc.isenabled()
            gc.disable()
            left = self._patience - self._seconds
            self._timer = Timer(left, self._announce)
            self._timer.daemon = True
            if left <= 0:
                self._announce()
            elif not self._announced:
                self._timer.start()

    def __exit__(self, *_):
        self._depth -= 1
        if self._depth == 0:
            self._timer.cancel()
            if self._collects:
                if gc.get_freeze_count() == 0:  # nothing is kept out of collections on purpose
                    gc.freeze()
                    gc.unfreeze()
                gc.enable()
            self._seconds, self._start = self.seconds, None

    def _announce(self):
        if not self._announced:
            self._announced = True
            tqdm.write(ANNOUNCEMENT, file=sys.stderr)  # above the bar, if there is one


compilation = Compilation()
