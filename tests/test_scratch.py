"""Memory that the calls of a thread use again."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from skatom import _scratch
from skatom._scratch import scratch_arrays


def test_arrays_have_their_sizes_and_do_not_overlap():
    arrays = scratch_arrays([3, 0, 5])
    assert [len(array) for array in arrays] == [3, 0, 5]
    for number, array in enumerate(arrays):
        array[:] = number
    assert [array.tolist() for array in arrays] == [[0.0] * 3, [], [2.0] * 5]


def test_a_thread_uses_its_memory_again_and_no_other_does():
    (first,) = scratch_arrays([100])
    (again,) = scratch_arrays([90])
    assert np.shares_memory(first, again)
    with ThreadPoolExecutor(1) as pool:
        (elsewhere,) = pool.submit(scratch_arrays, [90]).result()
    assert not np.shares_memory(first, elsewhere)


def test_large_memory_is_not_kept(monkeypatch):
    monkeypatch.setattr(_scratch, "_KEPT", 1000)
    monkeypatch.setattr(_scratch, "_of_thread", type(_scratch._of_thread)())
    (large,) = scratch_arrays([1001])
    (small,) = scratch_arrays([1000])
    assert not np.shares_memory(large, small)
