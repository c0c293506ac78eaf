"""The functions of pairs that expansions of densities are made of, as kernels of Triton.

Importing this module needs Triton, which comes with torch's builds for cards. Numbers of kernels
that are not whole come in tensors: Triton would round them to single precision.
"""

from functools import lru_cache
from math import pi
from typing import NamedTuple

import torch
import triton
import triton.language as tl

from skatom.descriptors._cpu.density import Density
from skatom.descriptors._torch.pairs import PairTensors

# Pairs of a program.
_HARMONICS, _RADIAL = 128, 8
# Numbers of pairs for which Triton would compile a kernel again if it knew their divisors.
_SIZES = ["n_pairs", "n_intervals"]


class FusedPairs(NamedTuple):
    """What expansions of pairs are made of, see `density.PairFunctions`."""

    pairs: PairTensors
    density: Density
    harmonics: torch.Tensor  # (n_lm, n_pairs)
    radial: torch.Tensor
    gradients: torch.Tensor | None  # of the solid harmonics, (3, n_lm, n_pairs)
    radial_slopes: torch.Tensor | None


def pair_functions(pairs, density, derivatives):
    """The `FusedPairs`, with their derivatives if they are wanted."""
    n_pairs, n_lm = len(pairs.vectors), (density.l_max + 1) ** 2
    width = (density.l_max + 1) * density.n_max
    new = pairs.vectors.new_empty
    y, radial = new((n_lm, n_pairs)), new((n_pairs, density.l_max + 1, density.n_max))
    gradients = new((3, n_lm, n_pairs)) if derivatives else y
    slopes = torch.empty_like(radial) if derivatives else radial
    if n_pairs:
        _harmonics[(triton.cdiv(n_pairs, _HARMONICS),)](
            pairs.vectors, density.norm, y, gradients, n_pairs, L_MAX=density.l_max,
            DERIVATIVES=derivatives, BLOCK=_HARMONICS,
        )  # fmt: skip
        numbers = numbers_of(density, str(y.device))
        _radial[(triton.cdiv(n_pairs, _RADIAL),)](
            pairs.vectors, pairs.species, density.table_of, density.table, numbers, radial, slopes,
            n_pairs, density.table.shape[1], WIDTH=width, SCALED=density.exponent > 0,
            SMOOTH=density.cutoff_width > 0, DERIVATIVES=derivatives, BLOCK=_RADIAL,
            COLUMNS=triton.next_power_of_2(width),
        )  # fmt: skip
    if not derivatives:
        gradients = slopes = None
    return FusedPairs(pairs, density, y, radial, gradients, slopes)


def numbers_of(density, device):
    """The spacing of the tables, the parameters of `neighbor_weight`, the weight of centres."""
    width = density.cutoff_width
    factor = pi / width if width else 0.0
    others = density.rate, density.scale, density.exponent, density.central_weight
    return constants((density.spacing, density.cutoff - width, factor, *others), device)


@lru_cache(maxsize=64)
def constants(numbers, device):
    """A few numbers on a device."""
    return torch.tensor(numbers, dtype=torch.float64, device=device)


@triton.jit
def _length(vectors, pair, inside):
    """The components of vectors and their length."""
    x = tl.load(vectors + 3 * pair, mask=inside, other=1.0)
    y = tl.load(vectors + 3 * pair + 1, mask=inside, other=1.0)
    z = tl.load(vectors + 3 * pair + 2, mask=inside, other=1.0)
    return x, y, z, tl.sqrt(x * x + y * y + z * z)


@triton.jit(do_not_specialize=_SIZES)
def _harmonics(
    vectors, norm, values, gradients, n_pairs, L_MAX: tl.constexpr, DERIVATIVES: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Y_lm and the gradients of the solid harmonics; Q_l^m of one m at a time, upwards in l."""
    N_LM: tl.constexpr = (L_MAX + 1) * (L_MAX + 1)
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pair < n_pairs
    x, y, z, r = _length(vectors, pair, inside)
    x, y, z = x / r, y / r, z / r
    size = n_pairs.to(tl.int64)
    to, to_x = values + pair, gradients + pair
    to_y, to_z = to_x + N_LM * size, to_x + 2 * N_LM * size
    zero = tl.zeros((BLOCK,), tl.float64)
    diagonal = zero + 1.0  # Q_m^m
    c, s, c_before, s_before = diagonal, zero, zero, zero
    for m in tl.static_range(0, L_MAX + 1):
        next_diagonal = diagonal * (2 * m + 1)
        q, q1 = zero, zero  # Q_(l-1)^m and Q_(l-2)^m
        p, p1 = zero, zero  # Q_(l-1)^(m+1) and Q_(l-2)^(m+1)
        for l in tl.static_range(m, L_MAX + 1):
            above = q
            q = (
                diagonal
                if l == m
                else z * q * ((2 * l - 1) / (l - m)) - q1 * ((l + m - 1) / (l - m))
            )
            q1 = above
            f = tl.load(norm + l * (l + 1) // 2 + m)
            place = l * l + l
            tl.store(to + (place + m) * size, f * q * c, mask=inside)
            if m > 0:
                tl.store(to + (place - m) * size, f * q * s, mask=inside)
            if DERIVATIVES:
                flat, up, turn = -f * p, f * (l + m) * above, f * m * q
                dx, dy = flat * c * x + turn * c_before, flat * c * y - turn * s_before
                tl.store(to_x + (place + m) * size, dx, mask=inside)
                tl.store(to_y + (place + m) * size, dy, mask=inside)
                tl.store(to_z + (place + m) * size, up * c, mask=inside)
                if m > 0:
                    dx, dy = flat * s * x + turn * s_before, flat * s * y + turn * c_before
                    tl.store(to_x + (place - m) * size, dx, mask=inside)
                    tl.store(to_y + (place - m) * size, dy, mask=inside)
                    tl.store(to_z + (place - m) * size, up * s, mask=inside)
                if l == m + 1:
                    p = next_diagonal
                elif l > m + 1:
                    p_above = p
                    p = z * p * ((2 * l - 1) / (l - m - 1)) - p1 * ((l + m) / (l - m - 1))
                    p1 = p_above
        c_before, s_before = c, s
        c, s = x * c_before - y * s_before, x * s_before + y * c_before
        diagonal = next_diagonal


@triton.jit(do_not_specialize=_SIZES)
def _radial(
    vectors, species, table_of, table, numbers, values, slopes, n_pairs, n_intervals,
    WIDTH: tl.constexpr, SCALED: tl.constexpr, SMOOTH: tl.constexpr, DERIVATIVES: tl.constexpr,
    BLOCK: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """w(r) G_nl(r) and its derivative."""
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = pair < n_pairs
    _, _, _, r = _length(vectors, pair, inside)
    w, dw = tl.zeros((BLOCK,), tl.float64) + 1.0, tl.zeros((BLOCK,), tl.float64)
    if SCALED:
        rate, scale, exponent = tl.load(numbers + 3), tl.load(numbers + 4), tl.load(numbers + 5)
        power = tl.exp(exponent * tl.log(r / scale))
        w = rate / (rate + power)
        dw = -w * exponent * power / (r * (rate + power))
    if SMOOTH:
        factor = tl.load(numbers + 2)
        x = factor * tl.maximum(r - tl.load(numbers + 1), 0.0)
        f, df = 0.5 * (1.0 + tl.cos(x)), -0.5 * factor * tl.sin(x)
        w, dw = f * w, df * w + f * dw
    spacing = tl.load(numbers)
    interval = tl.minimum((r / spacing).to(tl.int64), n_intervals - 1)
    x = (r - interval.to(tl.float64) * spacing)[:, None]
    which = tl.load(table_of + tl.load(species + pair, mask=inside, other=0))
    columns = tl.arange(0, COLUMNS)[None, :]
    kept = inside[:, None] & (columns < WIDTH)
    row = table + ((which * n_intervals + interval) * 6 * WIDTH)[:, None] + columns
    g = tl.load(row, mask=kept, other=0.0)
    dg = tl.zeros((BLOCK, COLUMNS), tl.float64)
    for k in tl.static_range(1, 6):
        if DERIVATIVES:
            dg = dg * x + g
        g = g * x + tl.load(row + k * WIDTH, mask=kept, other=0.0)
    to = pair[:, None] * WIDTH + columns
    tl.store(values + to, w[:, None] * g, mask=kept)
    if DERIVATIVES:
        tl.store(slopes + to, dw[:, None] * g + w[:, None] * dg, mask=kept)
