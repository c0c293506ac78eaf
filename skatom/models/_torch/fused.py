"""Passes over memory that torch makes one after the other, as one kernel of Triton.

Importing this module needs Triton, which comes with torch's builds for cards.
"""

import triton
import triton.language as tl

_BLOCK = 1024


def weigh(t, along):
    """t² into (1 + t) d and δ·u into d δ·u, in place, with d = exp(-t); both contiguous."""
    _weigh[(triton.cdiv(t.numel(), _BLOCK),)](t, along, t.numel(), BLOCK=_BLOCK)


@triton.jit
def _weigh(t_pointer, along_pointer, n, BLOCK: tl.constexpr):
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = places < n
    t = tl.sqrt(tl.maximum(tl.load(t_pointer + places, mask=inside, other=0.0), 0.0))
    along = tl.load(along_pointer + places, mask=inside, other=0.0)
    decay = tl.exp(-t)
    tl.store(t_pointer + places, decay + t * decay, mask=inside)
    tl.store(along_pointer + places, along * decay, mask=inside)
