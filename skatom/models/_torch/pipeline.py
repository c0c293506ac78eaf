"""Work on pieces of numpy arrays, during which the next piece comes and the last one goes."""

import torch


def map_pieces(function, pieces, outputs, device):
    """Apply a function of a tensor to numpy arrays, and write what it gives to numpy arrays.

    Parameters
    ----------
    function : callable
        Gives a tuple of tensors.
    pieces : iterable of ndarray
        Each is asked for just before it is copied to the device.
    outputs : iterable of tuple of ndarray
        For each piece, the arrays to fill; None for what is not wanted.
    device : Device
    """
    if not device.is_card:
        for piece, places in zip(pieces, outputs, strict=True):
            _write(function(device.tensor(piece)), places)
        return
    work, copies = torch.cuda.current_stream(device.name), torch.cuda.Stream(device.name)
    waiting = None
    for piece, places in zip(pieces, outputs, strict=True):
        with torch.cuda.stream(copies):
            given = device.tensor(piece)
        work.wait_stream(copies)
        given.record_stream(work)
        found = function(given), places, work.record_event()
        _finish(waiting, copies)
        waiting = found
    _finish(waiting, copies)


def _finish(waiting, copies):
    """Write the results of a piece while the card works on the next one."""
    if waiting is not None:
        found, places, done = waiting
        with torch.cuda.stream(copies):
            copies.wait_event(done)
            _write(found, places)


def _write(found, places):
    """Copy to pageable memory, which returns when the copy is complete."""
    for tensor, place in zip(found, places, strict=True):
        if place is not None:
            torch.from_numpy(place).copy_(tensor)
