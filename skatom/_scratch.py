"""Memory that the calls of a thread use again.

Arrays of some MB that are made for each call go back to the system at its end: all threads wait
for its lock then, and each page is emptied again before its next use.
"""

from itertools import accumulate, pairwise
from threading import local

import numpy as np

# Numbers that a thread keeps, 16 MiB; what takes more is made for a call.
_KEPT = 2**21

_of_thread = local()


def scratch_arrays(sizes):
    """Arrays of float of these sizes, for a call that returns before the thread asks again.

    Parameters
    ----------
    sizes : sequence of int

    Returns
    -------
    list of ndarray
        With any numbers in them.
    """
    edges = [0, *accumulate(sizes)]
    numbers = getattr(_of_thread, "numbers", None)
    if numbers is None or len(numbers) < edges[-1]:
        numbers = np.empty(edges[-1])
        if edges[-1] <= _KEPT:
            _of_thread.numbers = numbers
    return [numbers[first:last] for first, last in pairwise(edges)]
