"""Passes over memory that torch makes one after the other, as one kernel of Triton.

Importing this module needs Triton, which comes with torch's builds for cards.
"""

import torch
import triton
import triton.language as tl

_BLOCK = 1024
_COLUMNS = 512
# Sizes for which Triton would compile a kernel again if it knew their divisors.
_SIZES = ["n_rows", "n_kept", "n_columns", "stride"]


def weigh(t, along):
    """t² into (1 + t) d and δ·u into d δ·u, in place, with d = exp(-t); both contiguous."""
    _weigh[(triton.cdiv(t.numel(), _BLOCK),)](t, along, t.numel(), BLOCK=_BLOCK)


def combine(products, w1, left, right, out, add):
    """Σ_q (w1 products - left right), written to ``out`` or added to it.

    Parameters
    ----------
    products : Tensor, shape (s, r, k, c, k)
    w1 : Tensor, shape (s, r, c)
    left : Tensor, shape (s, r, k, c)
    right : Tensor, shape (r, s, c, k)
    out : Tensor, shape (r, k, c, k)
        Its rows (c, k) may be further apart; all others are contiguous.
    add : bool
    """
    n_permutations, n_rows, n_kept, n_columns, _ = products.shape
    grid = n_rows * n_kept, triton.cdiv(n_columns * n_kept, _COLUMNS)
    _combine[grid](
        products, w1, left, right, out, n_rows, n_kept, n_columns, out.stride(1),
        PERMUTATIONS=n_permutations, ADD=add, BLOCK=_COLUMNS,
    )  # fmt: skip


def try_out(name, device_name):
    """Compile a kernel and call it once; an error where that is not possible."""
    ones = torch.ones((2, 2, 2, 2, 2), dtype=torch.float64, device=device_name)
    if name == "weigh":
        weigh(ones[0].clone(), ones[1].clone())
    else:
        for add in (False, True):
            combine(ones, ones[0, 0], ones[0], ones[0], ones[0].clone(), add)


@triton.jit
def _weigh(t_pointer, along_pointer, n, BLOCK: tl.constexpr):
    places = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = places < n
    t = tl.sqrt(tl.maximum(tl.load(t_pointer + places, mask=inside, other=0.0), 0.0))
    along = tl.load(along_pointer + places, mask=inside, other=0.0)
    decay = tl.exp(-t)
    tl.store(t_pointer + places, decay + t * decay, mask=inside)
    tl.store(along_pointer + places, along * decay, mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def _combine(
    products, w1, left, right, out, n_rows, n_kept, n_columns, stride,
    PERMUTATIONS: tl.constexpr, ADD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)  # of all coordinates of the row frames
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    width = n_columns * n_kept
    inside = places < width
    frame, column = row // n_kept, places // n_kept
    total = tl.zeros((BLOCK,), tl.float64)
    if ADD:
        total += tl.load(out + row * stride + places, mask=inside, other=0.0)
    for q in range(PERMUTATIONS):
        image = q * n_rows * n_kept + row
        product = tl.load(products + image * width + places, mask=inside, other=0.0)
        weight = tl.load(w1 + (q * n_rows + frame) * n_columns + column, mask=inside, other=0.0)
        a = tl.load(left + image * n_columns + column, mask=inside, other=0.0)
        b = tl.load(right + (frame * PERMUTATIONS + q) * width + places, mask=inside, other=0.0)
        total += weight * product - a * b
    tl.store(out + row * stride + places, total, mask=inside)
