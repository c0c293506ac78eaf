"""FCHL19 features of many centres and their gradients, as kernels of Triton.

Importing this module needs Triton. A program adds up the triplets of one centre and one pair of
species, or those that one pair of atoms is part of, in registers; the formulae are those of
`skatom.descriptors._torch.fchl19`. Numbers that are not whole come in tensors: Triton would round
them to single precision.
"""

from math import pi

import torch
import triton
import triton.language as tl

from skatom.descriptors._cpu.fchl19 import FCHL19Functions
from skatom.descriptors._torch.fused_pairs import constants
from skatom.descriptors._torch.pairs import PairTensors

# Pairs of a program, and neighbours that are looked at together.
_PAIRS, _FEW, _MANY = 16, 16, 32
_SIZES = ["n_pairs", "n_species", "n_two", "n_three", "width"]


def values(pairs, basis):
    """Features of the centres, (n_centers, n_features)."""
    n, n_two = len(pairs.own), len(basis.log_shells2)
    n_blocks = basis.n_species * (basis.n_species + 1) // 2
    n_three, n_fourier = len(basis.shells3), len(basis.harmonics)
    width = basis.n_species * n_two + n_blocks * n_three * 2 * n_fourier
    out = pairs.vectors.new_empty((n, width))
    if n == 0:
        return out
    numbers = _numbers(basis, out)
    _two_body[(n, basis.n_species)](
        pairs.vectors, pairs.starts, pairs.species, numbers, basis.log_shells2,
        basis.inverse_shells2, out, n_two, width, SHELLS=triton.next_power_of_2(n_two),
        num_warps=1,
    )  # fmt: skip
    near, a = _shell_factors(pairs, basis, numbers)
    _three_body[(n, n_blocks, n_fourier)](
        pairs.vectors, pairs.starts, pairs.species, near, a, numbers, basis.harmonics, out,
        len(near), basis.n_species, basis.n_species * n_two, n_three, width, N_FOURIER=n_fourier,
        SHELLS=triton.next_power_of_2(n_three), BLOCK=_FEW, num_warps=1,
    )  # fmt: skip
    return out


def pair_gradients(pairs, basis, cotangent):
    """dE/dr_ij (n_pairs, 3) for dE/d features, (n_centers, n_features) or (1, n_features)."""
    out = torch.empty_like(pairs.vectors)
    if len(out):
        cotangent, n_two = cotangent.contiguous(), len(basis.log_shells2)
        width = 0 if len(cotangent) == 1 else cotangent.shape[1]
        numbers = _numbers(basis, out)
        near, a = _shell_factors(pairs, basis, numbers)
        _gradients[(len(out),)](
            pairs.vectors, pairs.starts, pairs.centers, pairs.species, near, a, numbers,
            basis.log_shells2, basis.inverse_shells2, basis.shells3, basis.harmonics, cotangent,
            out, len(out), basis.n_species, n_two, len(basis.shells3), width,
            N_FOURIER=len(basis.harmonics), SHELLS2=triton.next_power_of_2(n_two), BLOCK=_MANY,
            num_warps=1,
        )  # fmt: skip
    return out


def _shell_factors(pairs, basis, numbers):
    """y and f_c(r) r^-ν of every pair (n_pairs, 2), and a_jl (n_r3, n_pairs).

    A shell of a triplet is a_jl a_kl exp(-½ η y_j y_k), as in the compiled loops.
    """
    n_pairs, n_three = len(pairs.vectors), len(basis.shells3)
    near, a = pairs.vectors.new_empty((n_pairs, 2)), pairs.vectors.new_empty((n_three, n_pairs))
    if n_pairs:
        _factors[(triton.cdiv(n_pairs, _PAIRS),)](
            pairs.vectors, basis.shells3, numbers, near, a, n_pairs, n_three,
            SHELLS=triton.next_power_of_2(n_three), BLOCK=_PAIRS,
        )  # fmt: skip
    return near, a


def try_out(device):
    """Compile the kernels and call them for two pairs; an error where that is not possible."""
    one = torch.ones(2, dtype=torch.float64, device=device)
    none = torch.zeros(2, dtype=torch.long, device=device)
    basis = FCHL19Functions(
        1, 3.0, 0.3, 1.8, one, one, 3.0, 2.0, 0.6, one, one, torch.ones_like(one[:1])
    )  # fmt: skip
    vectors = torch.tensor([[1.0, 0.0, 0.2], [0.1, 1.2, 0.0]], dtype=torch.float64, device=device)
    starts = torch.tensor([0, 2], device=device)
    pairs = PairTensors(starts, none, vectors, none[:1], none)
    if not torch.isfinite(pair_gradients(pairs, basis, values(pairs, basis))).all():
        raise FloatingPointError("the kernels of Triton do not give numbers")


def _numbers(basis, like):
    numbers = (
        basis.eta2, basis.decay2, 0.5 * pi / basis.cutoff, basis.eta3, basis.decay3,
        0.5 * pi / basis.cutoff3, basis.cutoff3, 2 * pi,
    )  # fmt: skip
    return constants(numbers, str(like.device))


@triton.jit
def _vector(vectors, pair, inside):
    """The components of vectors and their squared length."""
    x = tl.load(vectors + 3 * pair, mask=inside, other=1.0)
    y = tl.load(vectors + 3 * pair + 1, mask=inside, other=1.0)
    z = tl.load(vectors + 3 * pair + 2, mask=inside, other=1.0)
    return x, y, z, x * x + y * y + z * z


@triton.jit
def _log_normal(square, numbers, shells, inverse_shells):
    """The two-body functions at one distance, ln R_k - μ and the variance s."""
    eta, decay, factor = tl.load(numbers), tl.load(numbers + 1), tl.load(numbers + 2)
    r = tl.sqrt(square)
    x = eta / square
    u = 1.0 + x  # ln(1 + x) without loss of digits
    s = tl.log(u) * tl.where(u == 1.0, u, x / (u - 1.0))
    s = tl.where(u == 1.0, x, s)
    z = shells - tl.log(r) + 0.5 * s
    cutoff = tl.cos(factor * r)
    scale = tl.exp(-decay * tl.log(r)) * cutoff * cutoff / tl.sqrt(tl.load(numbers + 7) * s)
    return tl.exp(-0.5 / s * z * z) * scale * inverse_shells, z, s


@triton.jit(do_not_specialize=_SIZES)
def _two_body(
    vectors, starts, species, numbers, shells, inverse_shells, out, n_two, width,
    SHELLS: tl.constexpr,
):  # fmt: skip
    centre, own = tl.program_id(0).to(tl.int64), tl.program_id(1)
    k = tl.arange(0, SHELLS)
    log_shells = tl.load(shells + k, mask=k < n_two, other=0.0)
    inverse = tl.load(inverse_shells + k, mask=k < n_two, other=0.0)
    total = tl.zeros((SHELLS,), tl.float64)
    for pair in range(tl.load(starts + centre), tl.load(starts + centre + 1)):
        if tl.load(species + pair) == own:
            x, y = tl.load(vectors + 3 * pair), tl.load(vectors + 3 * pair + 1)
            z = tl.load(vectors + 3 * pair + 2)
            found, _, _ = _log_normal(x * x + y * y + z * z, numbers, log_shells, inverse)
            total += found
    tl.store(out + centre * width + own * n_two + k, total, mask=k < n_two)


@triton.jit(do_not_specialize=_SIZES)
def _factors(
    vectors, shells, numbers, near, a, n_pairs, n_three, SHELLS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside, l = pair < n_pairs, tl.arange(0, SHELLS)[:, None]
    eta, decay, factor = tl.load(numbers + 3), tl.load(numbers + 4), tl.load(numbers + 5)
    _, _, _, square = _vector(vectors, pair, inside)
    r = tl.sqrt(square)
    y, cutoff = r - 0.5 * tl.load(numbers + 6), tl.cos(factor * r)
    tl.store(near + 2 * pair, y, mask=inside)
    away = cutoff * cutoff * tl.exp(-0.5 * decay * tl.log(square))
    tl.store(near + 2 * pair + 1, away, mask=inside)
    rho = tl.load(shells + l, mask=l < n_three, other=0.0)
    y = y[None, :]
    found = tl.exp(eta * (y * (rho - 0.25 * y) - 0.5 * rho * rho))
    tl.store(
        a + l * n_pairs.to(tl.int64) + pair[None, :], found, mask=inside[None, :] & (l < n_three)
    )


@triton.jit
def _harmonic(cosine, sine, n, N_FOURIER: tl.constexpr):
    """cos mθ, sin mθ / sin θ, of m = 2 n + 1."""
    twice = 2.0 * (cosine * cosine - sine * sine)
    c, c_before, u = cosine, cosine, cosine * 0.0 + 1.0
    u_before = -u
    if N_FOURIER > 1:
        for _ in range(n):
            c_next, u_next = twice * c - c_before, twice * u - u_before
            c_before, u_before = c, u
            c, u = c_next, u_next
    return c, u


@triton.jit
def _geometry(xj, yj, zj, sj, xk, yk, zk, sk):
    """r_ij · r_ik, cos and sin of the angle, 1/r_jk² and x."""
    d = xj * xk + yj * yk + zj * zk
    inverse = 1.0 / tl.sqrt(sj * sk)
    cx, cy, cz = yj * zk - zj * yk, zj * xk - xj * zk, xj * yk - yj * xk
    sine = tl.sqrt(cx * cx + cy * cy + cz * cz) * inverse
    over = 1.0 / ((xj - xk) * (xj - xk) + (yj - yk) * (yj - yk) + (zj - zk) * (zj - zk))
    x = d * (sj - d) * (sk - d) * inverse * inverse * over
    return d, d * inverse, sine, over, x


@triton.jit
def _reach(one, two, near, numbers, over):
    """All of the weight of triplets but 1 + 3 X, the harmonics and the factors of their shells."""
    eta, decay = tl.load(numbers + 3), tl.load(numbers + 4)
    exponent = 0.5 * (decay * tl.log(over) - eta * tl.load(near + 2 * one) * two)
    return tl.load(near + 2 * one + 1) * tl.exp(exponent)


@triton.jit(do_not_specialize=_SIZES)
def _three_body(
    vectors, starts, species, near, a, numbers, harmonics, out, n_pairs, n_species, n_two, n_three,
    width, N_FOURIER: tl.constexpr, SHELLS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The features of one centre, one pair of species p <= q, and one harmonic."""
    centre, block, n = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    start, stop = tl.load(starts + centre), tl.load(starts + centre + 1)
    p, first = block * 0, block * 0
    while block >= first + n_species - p:
        first += n_species - p
        p += 1
    q = block - first + p
    cutoff = tl.load(numbers + 6)
    l = tl.arange(0, SHELLS)
    row = a + (l * n_pairs.to(tl.int64))[:, None]
    of_cosine = tl.zeros((SHELLS, BLOCK), tl.float64)
    of_sine = tl.zeros((SHELLS, BLOCK), tl.float64)
    for j in range(start, stop):
        other = tl.load(species + j)
        xj, yj = tl.load(vectors + 3 * j), tl.load(vectors + 3 * j + 1)
        zj = tl.load(vectors + 3 * j + 2)
        sj = xj * xj + yj * yj + zj * zj
        if ((other == p) | (other == q)) & (sj < cutoff * cutoff):
            partner = tl.where(other == p, q, p)
            mine = tl.load(row + j, mask=(l < n_three)[:, None], other=0.0)
            for k0 in range(j + 1, stop, BLOCK):
                k = k0 + tl.arange(0, BLOCK)
                inside = k < stop
                xk, yk, zk, sk = _vector(vectors, k, inside)
                inside &= tl.load(species + k, mask=inside, other=-1) == partner
                inside &= sk < cutoff * cutoff
                _, cosine, sine, over, x = _geometry(xj, yj, zj, sj, xk, yk, zk, sk)
                y = tl.load(near + 2 * k, mask=inside, other=0.0)
                weight = _reach(j, y, near, numbers, over) * (1.0 + 3.0 * x)
                weight *= tl.load(near + 2 * k + 1, mask=inside, other=0.0)
                c, u = _harmonic(cosine, sine, n, N_FOURIER)
                kept = (l < n_three)[:, None] & inside[None, :]
                shell = mine * tl.load(row + k[None, :], mask=kept, other=0.0)
                of_cosine += shell * tl.where(inside, weight * c, 0.0 * sk)[None, :]
                of_sine += shell * tl.where(inside, weight * sine * u, 0.0 * sk)[None, :]
    factor = tl.load(harmonics + n)
    to = out + centre * width + n_two + ((block * n_three + l) * N_FOURIER + n) * 2
    tl.store(to, factor * tl.sum(of_cosine, axis=1), mask=l < n_three)
    tl.store(to + 1, factor * tl.sum(of_sine, axis=1), mask=l < n_three)


@triton.jit(do_not_specialize=_SIZES)
def _gradients(
    vectors, starts, centers, species, near, a, numbers, shells2, inverse_shells2, shells,
    harmonics, cotangent, out, n_pairs, n_species, n_two, n_three, width, N_FOURIER: tl.constexpr,
    SHELLS2: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """dE/dr_ij of one pair: of its two-body functions, and of all triplets that it is part of."""
    j = tl.program_id(0).to(tl.int64)
    centre, own = tl.load(centers + j), tl.load(species + j)
    cotangent += centre * width
    xj, yj = tl.load(vectors + 3 * j), tl.load(vectors + 3 * j + 1)
    zj = tl.load(vectors + 3 * j + 2)
    sj = xj * xj + yj * yj + zj * zj
    r = tl.sqrt(sj)
    two = tl.arange(0, SHELLS2)
    eta, decay, half_pi = tl.load(numbers), tl.load(numbers + 1), tl.load(numbers + 2)
    found, z, s = _log_normal(
        sj, numbers, tl.load(shells2 + two, mask=two < n_two, other=0.0),
        tl.load(inverse_shells2 + two, mask=two < n_two, other=0.0),
    )  # fmt: skip
    slope = -2.0 * half_pi * tl.sin(half_pi * r) / tl.cos(half_pi * r)
    ds = -2.0 * eta / (r * (sj + eta))
    slopes = (1.0 / r - 0.5 * ds) / s + z * (0.5 * ds / (s * s))
    slopes = found * (slope - decay / r - 0.5 * ds / s + z * slopes)
    given = tl.load(cotangent + own * n_two + two, mask=two < n_two, other=0.0)
    along = tl.sum(given * slopes, axis=0) / r
    eta, decay, half_pi = tl.load(numbers + 3), tl.load(numbers + 4), tl.load(numbers + 5)
    cutoff = tl.load(numbers + 6)
    slope = -2.0 * half_pi * tl.sin(half_pi * r) / tl.cos(half_pi * r) - decay / r
    gx, gy, gz = along * xj, along * yj, along * zj
    if sj < cutoff * cutoff:
        for k0 in range(tl.load(starts + centre), tl.load(starts + centre + 1), BLOCK):
            k = k0 + tl.arange(0, BLOCK)
            inside = (k < tl.load(starts + centre + 1)) & (k != j)
            xk, yk, zk, sk = _vector(vectors, k, inside)
            inside &= sk < cutoff * cutoff
            d, cosine, sine, over, x = _geometry(xj, yj, zj, sj, xk, yk, zk, sk)
            y = tl.load(near + 2 * k, mask=inside, other=0.0)
            reach = _reach(j, y, near, numbers, over)
            reach *= tl.load(near + 2 * k + 1, mask=inside, other=0.0)
            mean = 0.5 * (tl.load(near + 2 * j) + y)
            other = tl.load(species + k, mask=inside, other=0)
            p, q = tl.minimum(own, other), tl.maximum(own, other)
            block = p * n_species - p * (p - 1) // 2 + q - p
            first = cotangent + n_species * n_two + block * (2 * N_FOURIER * n_three)
            t, v, m = 0.0 * sk, 0.0 * sk, 0.0 * sk
            inverse_sine = tl.where(sine > 1e-8, 1.0 / sine, 0.0 * sine)
            for n in tl.static_range(0, N_FOURIER):
                of_cosine, of_sine, rho_cosine, rho_sine = 0.0 * sk, 0.0 * sk, 0.0 * sk, 0.0 * sk
                for l in range(n_three):
                    row = a + l * n_pairs.to(tl.int64)
                    shell = tl.load(row + j) * tl.load(row + k, mask=inside, other=0.0)
                    given_l, rho = first + 2 * (l * N_FOURIER + n), tl.load(shells + l)
                    cosines = shell * tl.load(given_l, mask=inside, other=0.0)
                    sines = shell * tl.load(given_l + 1, mask=inside, other=0.0)
                    of_cosine, of_sine = of_cosine + cosines, of_sine + sines
                    rho_cosine, rho_sine = rho_cosine + rho * cosines, rho_sine + rho * sines
                c, u = _harmonic(cosine, sine, n, N_FOURIER)
                factor = tl.load(harmonics + n)
                t += factor * (of_cosine * c + of_sine * sine * u)
                m += factor * (rho_cosine * c + rho_sine * sine * u)
                v += factor * (2 * n + 1) * (of_cosine * u - of_sine * c * inverse_sine)
            square, gap_j, gap_k = 1.0 / (sj * sk), sj - d, sk - d
            g = reach * (1.0 + 3.0 * x)
            away = decay * over * g
            double, half = 2.0 * d * d * square * over, 2.0 * x * over
            along_t = 3.0 * reach * (double * gap_k / sj - half) - away
            along_t += g / r * (slope - eta * mean)
            inverse = tl.sqrt(square)
            along_v, along_m = -g * d * inverse / sj, g * eta / r
            along_j = along_t * t + along_v * v + along_m * m
            xd = (gap_j * gap_k * over - d) * square + half
            along_k = (3.0 * reach * xd + away) * t + g * inverse * v
            gx += tl.sum(tl.where(inside, along_j * xj + along_k * xk, 0.0 * sk), axis=0)
            gy += tl.sum(tl.where(inside, along_j * yj + along_k * yk, 0.0 * sk), axis=0)
            gz += tl.sum(tl.where(inside, along_j * zj + along_k * zk, 0.0 * sk), axis=0)
    tl.store(out + 3 * j, gx)
    tl.store(out + 3 * j + 1, gy)
    tl.store(out + 3 * j + 2, gz)
