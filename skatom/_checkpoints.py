"""Long fits offer what they have learnt so far to whoever keeps it."""

import time
from contextlib import contextmanager
from contextvars import ContextVar

_keep = ContextVar("keep", default=None)


@contextmanager
def kept_every(seconds, keep):
    """Within this context, ``keep(estimator)`` is called with a fit's state from time to time.

    Parameters
    ----------
    seconds : float
        The shortest time between two calls.
    keep : callable
        Takes the estimator, which has learnt from its first ``n_structures_seen_`` structures and
        goes on by `partial_fit`. It must not change it.
    """
    token = _keep.set(_Keeper(seconds, keep))
    try:
        yield
    finally:
        _keep.reset(token)


def offer(estimator):
    """Called by a fit whenever it could go on from what it has learnt."""
    keeper = _keep.get()
    if keeper is not None:
        keeper.take(estimator)


class _Keeper:
    def __init__(self, seconds, keep):
        self.seconds, self.keep, self.last = seconds, keep, time.monotonic()

    def take(self, estimator):
        if time.monotonic() - self.last >= self.seconds:
            self.keep(estimator)
            self.last = time.monotonic()
