"""Work on batches that is recorded for each layout: CUDA graphs, which are started as one."""

from contextlib import nullcontext

import torch

from skatom.models._torch.networks.batch import GraphBatch
from skatom.models._torch.networks.potential import batch_of

# Work on a layout is recorded when it comes for this time: recording takes as long as some calls.
_CALLS = 3
# Layouts that are kept, each with its memory.
_LAYOUTS = 16


def new_stream(device):
    """A stream for work that is recorded, after all that was begun before; None on the CPU."""
    if not device.is_card:
        return None
    stream = torch.cuda.Stream(device.name)
    stream.wait_stream(torch.cuda.current_stream(device.name))
    return stream


def on_stream(stream):
    """The context of a stream, which does nothing for None."""
    return nullcontext() if stream is None else torch.cuda.stream(stream)


class RecordedWork:
    """A function of a `GraphBatch`, recorded on a card for layouts that come repeatedly.

    Parameters
    ----------
    work : callable
        Function of a batch; its operations depend on nothing but the layout, and nothing waits for
        the card.
    device : Device
    stream : torch.cuda.Stream or None
        Where the work is done, see `new_stream`.
    """

    def __init__(self, work, device, stream):
        self.work, self.device, self.stream = work, device, stream
        self._counts, self._recorded, self._pool = {}, {}, None

    def __call__(self, arrays, layout):
        """The work on a batch, whose buffers are numpy arrays or tensors of the device.

        What it returns on a card is overwritten by the next call.
        """
        if self.stream is None:
            return self.work(batch_of(arrays, layout, self.device))
        with torch.cuda.stream(self.stream):
            recorded = self._recorded.get(layout) or self._counted(layout)
            if recorded is None:
                return self.work(batch_of(arrays, layout, self.device))
            return recorded(arrays)

    def _counted(self, layout):
        count = self._counts[layout] = self._counts.get(layout, 0) + 1
        if count != _CALLS or len(self._recorded) >= _LAYOUTS:
            return None
        try:
            made = _Recording(self.work, layout, self.device, self.stream, self._pool)
        except RuntimeError:  # the driver or an operation refuses: the work is done without
            torch.cuda.synchronize(self.device.name)
            return None
        self._pool, self._recorded[layout] = made.graph.pool(), made
        return made


class _Recording:
    """The work on one layout, on buffers that stay where they are."""

    def __init__(self, work, layout, device, stream, pool):
        n_floats, n_integers = layout.sizes
        dtype = getattr(torch, layout.dtype)
        self.floats = torch.zeros(n_floats, dtype=dtype, device=device.name)
        self.integers = torch.zeros(n_integers, dtype=torch.int64, device=device.name)
        self.graph = torch.cuda.CUDAGraph()
        stream.synchronize()
        with torch.cuda.graph(self.graph, pool=pool, stream=stream):
            self.found = work(GraphBatch(self.floats, self.integers, layout))

    def __call__(self, arrays):
        for static, array in zip((self.floats, self.integers), arrays, strict=True):
            given = torch.from_numpy(array).pin_memory() if not torch.is_tensor(array) else array
            static.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.found
