"""Expansions of densities, their power spectra and the transposes, as kernels of Triton.

Importing this module needs Triton. A program works on one centre, or on one pair, and adds up in
registers: there are no arrays of products, and sums have the same order each time.
"""

from math import pi, sqrt

import torch
import triton
import triton.language as tl

from skatom.descriptors._cpu.density import Density
from skatom.descriptors._torch.density import degrees
from skatom.descriptors._torch.fused_pairs import constants, numbers_of, pair_functions
from skatom.descriptors._torch.pairs import PairTensors

# Most channels of a centre whose squares fit in the registers of a program, and the largest l, of
# which the harmonics are written out.
MOST_CHANNELS, LARGEST_L = 64, 10
# Pairs of a program: those whose numbers share a sector of memory.
_PAIRS = 4
_SIZES = ["n_pairs", "n_species", "n_channels", "n_intervals", "stride"]


def expand(functions):
    """See `density.expand`."""
    pairs, density, y = functions.pairs, functions.density, functions.harmonics
    n, n_species = len(pairs.own), density.mixing.shape[1]
    c = y.new_empty((n, y.shape[0], n_species, density.n_max))
    if n:
        _expand[(n, n_species)](
            pairs.starts, pairs.species, pairs.own, y, functions.radial,
            degrees(density.l_max, str(y.device)), density.table_of, density.table, density.norm,
            numbers_of(density, str(y.device)), c, y.shape[1], n_species, density.table.shape[1],
            L_MAX=density.l_max, N_MAX=density.n_max, **_tile(density),
        )  # fmt: skip
    return c


def expansion_gradients(functions, dc):
    """See `density.expansion_gradients`."""
    pairs, density = functions.pairs, functions.density
    out = torch.empty_like(pairs.vectors)
    if len(out):
        _gradients[(triton.cdiv(len(out), _PAIRS),)](
            pairs.vectors, pairs.centers, pairs.species, functions.harmonics, functions.gradients,
            functions.radial, functions.radial_slopes, degrees(density.l_max, str(out.device)),
            dc.contiguous(), out, len(out), dc.shape[2], L_MAX=density.l_max,
            N_MAX=density.n_max, PAIRS=_PAIRS, **_tile(density),
        )  # fmt: skip
    return out


def power_spectrum(c, density):
    """Features (n, n_features) of coefficients (n, n_lm, n_channels), normalised if they are."""
    n, _, n_channels = c.shape
    out = c.new_empty((n, (density.l_max + 1) * (n_channels * (n_channels + 1) // 2)))
    if n:
        _spectrum[(n,)](
            c.contiguous(), _weights(density, c), out, n_channels, L_MAX=density.l_max,
            NORMALIZE=density.normalize, **_square_tile(n_channels),
        )  # fmt: skip
    return out


def power_spectrum_cotangent(c, density, cotangent):
    """dE/dc (n, n_lm, n_channels) for dE/d features, (n, n_features) or (1, n_features)."""
    n, _, n_channels = c.shape
    c, dc = c.contiguous(), torch.empty_like(c, memory_format=torch.contiguous_format)
    cotangent = cotangent.contiguous()
    if n:
        _cotangent[(n,)](
            c, _weights(density, c), cotangent, dc, n_channels,
            0 if len(cotangent) == 1 else cotangent.shape[1], L_MAX=density.l_max,
            NORMALIZE=density.normalize, **_square_tile(n_channels),
        )  # fmt: skip
    return dc


def power_spectrum_jacobian(functions, c):
    """d features_i / dr_ij, (n_pairs, 3, n_features), for the coefficients c of the centres."""
    pairs, density, n_channels = functions.pairs, functions.density, c.shape[2]
    size = (density.l_max + 1) * (n_channels * (n_channels + 1) // 2)
    out = c.new_empty((len(pairs.vectors), 3, size))
    if len(out):
        _jacobian[(len(out),)](
            pairs.vectors, pairs.centers, pairs.species, functions.harmonics, functions.gradients,
            functions.radial, functions.radial_slopes, density.mixing, c.contiguous(),
            _weights(density, c), out, len(out), density.mixing.shape[1], n_channels,
            L_MAX=density.l_max, N_MAX=density.n_max, NORMALIZE=density.normalize,
            **_square_tile(n_channels),
        )  # fmt: skip
    return out


def try_out(device):
    """Compile the kernels and call them for two pairs; an error where that is not possible."""
    one, two = torch.ones(1, dtype=torch.float64), torch.ones((2, 3), dtype=torch.float64)
    few = torch.tensor([0, 2], device=device), torch.zeros(2, dtype=torch.long, device=device)
    density = Density(
        2, True, 2, 1, torch.ones((1, 2, 6, 4), dtype=torch.float64, device=device),
        few[1][:1], 1.0, torch.ones(3, dtype=torch.float64, device=device), 2.0, 0.5, 1.0, 1.0, 2.0,
        1.0, one.to(device)[None], False, None,
    )  # fmt: skip
    pairs = PairTensors(few[0], few[1], two.to(device), few[1][:1], few[1])
    functions = pair_functions(pairs, density, True)
    c = expand(functions).flatten(2)
    dc = power_spectrum_cotangent(c, density, power_spectrum(c, density))
    found = (
        expansion_gradients(functions, dc.view(1, 4, 1, 2)),
        power_spectrum_jacobian(functions, c),
    )
    if not all(torch.isfinite(x).all() for x in found):
        raise FloatingPointError("the kernels of Triton do not give numbers")


def _tile(density):
    n_lm, n_max = (density.l_max + 1) ** 2, density.n_max
    return {"ROWS": triton.next_power_of_2(n_lm), "COLUMNS": triton.next_power_of_2(n_max)}


def _square_tile(n_channels):
    block = max(8, triton.next_power_of_2(n_channels))
    return {"BLOCK": block, "num_warps": block // 8}


def _weights(density, like):
    """√(8π² / (2l + 1)) of each l."""
    weights = [sqrt(8 * pi**2 / (2 * l + 1)) for l in range(density.l_max + 1)]
    return constants(tuple(weights), str(like.device))


@triton.jit(do_not_specialize=_SIZES)
def _expand(
    starts, species, centers, harmonics, radial, degrees, table_of, table, norm, numbers, out,
    n_pairs, n_species, n_intervals, L_MAX: tl.constexpr, N_MAX: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """c[lm, n] of one centre and one species of neighbours."""
    centre, own = tl.program_id(0).to(tl.int64), tl.program_id(1)
    N_LM: tl.constexpr = (L_MAX + 1) * (L_MAX + 1)
    width: tl.constexpr = (L_MAX + 1) * N_MAX
    lm, n = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    kept = (lm < N_LM)[:, None] & (n < N_MAX)[None, :]
    row = tl.load(degrees + lm, mask=lm < N_LM, other=0)[:, None] * N_MAX + n[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float64)
    for pair in range(tl.load(starts + centre), tl.load(starts + centre + 1)):
        if tl.load(species + pair) == own:
            y = tl.load(harmonics + lm * n_pairs.to(tl.int64) + pair, mask=lm < N_LM, other=0.0)
            total += y[:, None] * tl.load(radial + pair * width + row, mask=kept, other=0.0)
    if tl.load(centers + centre) == own:  # its own density
        first = (tl.load(table_of + own) * n_intervals * 6 + 5) * width
        values = tl.load(table + first + n, mask=n < N_MAX, other=0.0)[None, :]
        values = values * (tl.load(numbers + 6) * tl.load(norm))
        total += tl.where((lm == 0)[:, None], values, 0.0 * values)
    place = ((centre * N_LM + lm)[:, None] * n_species + own) * N_MAX + n[None, :]
    tl.store(out + place, total, mask=kept)


@triton.jit(do_not_specialize=_SIZES)
def _gradients(
    vectors, centers, species, harmonics, gradients, radial, slopes, degrees, dc, out, n_pairs,
    n_species, L_MAX: tl.constexpr, N_MAX: tl.constexpr, PAIRS: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """dE/dr of a few pairs, whose functions lie side by side."""
    N_LM: tl.constexpr = (L_MAX + 1) * (L_MAX + 1)
    width: tl.constexpr = (L_MAX + 1) * N_MAX
    lm, n = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    rows, size = lm < N_LM, n_pairs.to(tl.int64)
    kept = rows[:, None] & (n < N_MAX)[None, :]
    l = tl.load(degrees + lm, mask=rows, other=0)
    first = tl.program_id(0).to(tl.int64) * PAIRS
    for pair in range(first, tl.minimum(first + PAIRS, size)):
        centre = tl.load(centers + pair)
        place = (centre * N_LM + lm)[:, None] * n_species + tl.load(species + pair)
        d = tl.load(dc + place * N_MAX + n[None, :], mask=kept, other=0.0)
        row = pair * width + l[:, None] * N_MAX + n[None, :]
        a = tl.sum(d * tl.load(radial + row, mask=kept, other=0.0), axis=1)
        b = tl.sum(d * tl.load(slopes + row, mask=kept, other=0.0), axis=1)
        x, y = tl.load(vectors + 3 * pair), tl.load(vectors + 3 * pair + 1)
        z = tl.load(vectors + 3 * pair + 2)
        inverse = 1.0 / tl.sqrt(x * x + y * y + z * z)
        a *= inverse
        at = lm * size + pair
        values = tl.load(harmonics + at, mask=rows, other=0.0)
        along = tl.sum(values * (b - l.to(tl.float64) * a), axis=0) * inverse
        to_x = tl.sum(a * tl.load(gradients + at, mask=rows, other=0.0), axis=0)
        at += N_LM * size
        to_y = tl.sum(a * tl.load(gradients + at, mask=rows, other=0.0), axis=0)
        at += N_LM * size
        to_z = tl.sum(a * tl.load(gradients + at, mask=rows, other=0.0), axis=0)
        tl.store(out + 3 * pair, along * x + to_x)
        tl.store(out + 3 * pair + 1, along * y + to_y)
        tl.store(out + 3 * pair + 2, along * z + to_z)


@triton.jit
def _products(c, l, n_channels, BLOCK: tl.constexpr):
    """Σ_m c_q c_q' of one l, (BLOCK, BLOCK)."""
    q = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float64)
    for lm in range(l * l, (l + 1) * (l + 1)):
        row = tl.load(c + lm * n_channels + q, mask=q < n_channels, other=0.0)
        total += row[:, None] * row[None, :]
    return total


@triton.jit
def _root_two(square, weight, BLOCK: tl.constexpr):
    """The square times a weight, and times √2 beside the diagonal."""
    q = tl.arange(0, BLOCK)
    square = square * weight
    return tl.where(q[:, None] == q[None, :], square, square * 1.4142135623730951)


@triton.jit
def _packed(n_channels, BLOCK: tl.constexpr):
    """The place of (q, q') and of (q', q) among q <= q', and whether it is inside."""
    q = tl.arange(0, BLOCK)
    low, high = tl.minimum(q[:, None], q[None, :]), tl.maximum(q[:, None], q[None, :])
    return low * n_channels - low * (low - 1) // 2 + high - low, high < n_channels


@triton.jit(do_not_specialize=_SIZES)
def _spectrum(
    c, weights, out, n_channels, L_MAX: tl.constexpr, NORMALIZE: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """p[l, q <= q'] of one centre; the squares are made again after their norm is known."""
    centre = tl.program_id(0).to(tl.int64)
    c += centre * ((L_MAX + 1) * (L_MAX + 1) * n_channels)
    size = n_channels * (n_channels + 1) // 2
    out += centre * ((L_MAX + 1) * size)
    place, inside = _packed(n_channels, BLOCK)
    q = tl.arange(0, BLOCK)
    inside &= q[:, None] <= q[None, :]
    scale = tl.load(weights) * 0.0 + 1.0
    if NORMALIZE:
        norms = tl.zeros((BLOCK, BLOCK), tl.float64)
        for l in range(L_MAX + 1):
            p = _root_two(_products(c, l, n_channels, BLOCK), tl.load(weights + l), BLOCK)
            norms += p * p
        norm = tl.sum(tl.sum(tl.where(inside, norms, norms * 0.0), axis=1), axis=0)
        scale = tl.where(norm > 0.0, 1.0 / tl.sqrt(norm), norm)
    for l in range(L_MAX + 1):
        p = _root_two(_products(c, l, n_channels, BLOCK), tl.load(weights + l), BLOCK)
        tl.store(out + l * size + place, scale * p, mask=inside)


@triton.jit(do_not_specialize=_SIZES)
def _cotangent(
    c, weights, cotangent, dc, n_channels, stride, L_MAX: tl.constexpr, NORMALIZE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """dE/dc of one centre; with p / |p|, the cotangent less its part along p counts."""
    centre = tl.program_id(0).to(tl.int64)
    c += centre * ((L_MAX + 1) * (L_MAX + 1) * n_channels)
    dc += centre * ((L_MAX + 1) * (L_MAX + 1) * n_channels)
    cotangent += centre * stride
    size = n_channels * (n_channels + 1) // 2
    place, inside = _packed(n_channels, BLOCK)
    q = tl.arange(0, BLOCK)
    diagonal = q[:, None] == q[None, :]
    scale = tl.load(weights) * 0.0 + 1.0
    along = scale * 0.0
    if NORMALIZE:
        norms, products = tl.zeros((BLOCK, BLOCK), tl.float64), tl.zeros((BLOCK, BLOCK), tl.float64)
        for l in range(L_MAX + 1):
            p = _root_two(_products(c, l, n_channels, BLOCK), tl.load(weights + l), BLOCK)
            norms += p * p
            products += p * tl.load(cotangent + l * size + place, mask=inside, other=0.0)
        upper = inside & (q[:, None] <= q[None, :])
        norm = tl.sum(tl.sum(tl.where(upper, norms, norms * 0.0), axis=1), axis=0)
        product = tl.sum(tl.sum(tl.where(upper, products, products * 0.0), axis=1), axis=0)
        scale = tl.where(norm > 0.0, 1.0 / tl.sqrt(norm), norm)
        along = product * scale * scale
    for l in range(L_MAX + 1):
        weight = tl.load(weights + l)
        square = tl.load(cotangent + l * size + place, mask=inside, other=0.0)
        if NORMALIZE:
            p = _root_two(_products(c, l, n_channels, BLOCK), weight, BLOCK)
            square = scale * (square - along * p)
        square = _root_two(square, weight, BLOCK)
        square = tl.where(diagonal, 2.0 * square, square)
        for lm in range(l * l, (l + 1) * (l + 1)):
            row = tl.load(c + lm * n_channels + q, mask=q < n_channels, other=0.0)
            found = tl.sum(square * row[:, None], axis=0)
            tl.store(dc + lm * n_channels + q, found, mask=q < n_channels)


@triton.jit
def _tangents(
    c, l, unit, inverse, harmonics, gradients, radial, slopes, size, n_channels,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Σ_m (dc_q c_q' + c_q dc_q') of one l, (BLOCK, BLOCK), for one axis of a pair vector."""
    q = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float64)
    for lm in range(l * l, (l + 1) * (l + 1)):
        row = tl.load(c + lm * n_channels + q, mask=q < n_channels, other=0.0)
        along = unit * tl.load(harmonics + lm * size)
        turn = (tl.load(gradients + lm * size) - l * along) * inverse
        change = turn * radial + along * slopes
        total += change[:, None] * row[None, :] + row[:, None] * change[None, :]
    return total


@triton.jit(do_not_specialize=_SIZES)
def _jacobian(
    vectors, centers, species, harmonics, gradients, radial, slopes, mixing, c, weights, out,
    n_pairs, n_species, n_channels, L_MAX: tl.constexpr, N_MAX: tl.constexpr,
    NORMALIZE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dp[l, q <= q'] / dr of one pair; with p / |p|, less its part along p."""
    N_LM: tl.constexpr = (L_MAX + 1) * (L_MAX + 1)
    WIDTH: tl.constexpr = (L_MAX + 1) * N_MAX
    pair = tl.program_id(0).to(tl.int64)
    c += tl.load(centers + pair) * (N_LM * n_channels)
    harmonics += pair
    gradients += pair
    n_pairs = n_pairs.to(tl.int64)
    size = n_channels * (n_channels + 1) // 2
    place, inside = _packed(n_channels, BLOCK)
    q = tl.arange(0, BLOCK)
    upper = inside & (q[:, None] <= q[None, :])
    # what a neighbour adds to the functions n of its species is mixed into the channels q
    weight = tl.load(
        mixing + q // N_MAX * n_species + tl.load(species + pair), mask=q < n_channels, other=0.0
    )
    radial += pair * WIDTH + q % N_MAX
    slopes += pair * WIDTH + q % N_MAX
    x, y = tl.load(vectors + 3 * pair), tl.load(vectors + 3 * pair + 1)
    z = tl.load(vectors + 3 * pair + 2)
    inverse = 1.0 / tl.sqrt(x * x + y * y + z * z)
    scale = inverse * 0.0 + 1.0
    along = scale * 0.0
    for axis in range(3):
        unit = tl.load(vectors + 3 * pair + axis) * inverse
        slope = gradients + axis * (N_LM * n_pairs)
        if NORMALIZE:
            norms, products = (
                tl.zeros((BLOCK, BLOCK), tl.float64),
                tl.zeros((BLOCK, BLOCK), tl.float64),
            )
            for l in range(L_MAX + 1):
                g = weight * tl.load(radial + l * N_MAX)
                dg = weight * tl.load(slopes + l * N_MAX)
                factor = tl.load(weights + l)
                p = _root_two(_products(c, l, n_channels, BLOCK), factor, BLOCK)
                dp = _tangents(
                    c, l, unit, inverse, harmonics, slope, g, dg, n_pairs, n_channels, BLOCK
                )
                norms += p * p
                products += p * _root_two(dp, factor, BLOCK)
            norm = tl.sum(tl.sum(tl.where(upper, norms, norms * 0.0), axis=1), axis=0)
            product = tl.sum(tl.sum(tl.where(upper, products, products * 0.0), axis=1), axis=0)
            scale = tl.where(norm > 0.0, 1.0 / tl.sqrt(norm), norm)
            along = product * scale * scale
        for l in range(L_MAX + 1):
            g = weight * tl.load(radial + l * N_MAX)
            dg = weight * tl.load(slopes + l * N_MAX)
            factor = tl.load(weights + l)
            dp = _tangents(c, l, unit, inverse, harmonics, slope, g, dg, n_pairs, n_channels, BLOCK)
            dp = _root_two(dp, factor, BLOCK)
            if NORMALIZE:
                p = _root_two(_products(c, l, n_channels, BLOCK), factor, BLOCK)
                dp = scale * (dp - along * p)
            to = out + ((3 * pair + axis) * (L_MAX + 1) + l) * size
            tl.store(to + place, dp, mask=upper)
