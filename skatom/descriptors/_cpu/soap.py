"""Invariants of the density coefficients of every centre, and the way back.

The channel q of c[lm, q] runs over (species, n). The power spectrum keeps q <= q' and multiplies
q < q' by √2, so that dot products are those of the full square.
"""

from functools import lru_cache

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.bispectrum import (
    bispectrum,
    bispectrum_cotangent,
    bispectrum_tangent,
)
from skatom.descriptors._cpu.density import (
    EIGHT_PI2,
    expand,
    expansion_gradients,
    mix,
    neighbor_tangent,
    scratch,
    unmix,
)

# Neighbours of one centre whose tangents share a loop.
_TOGETHER = 4

# Large results are written into arrays that numpy made: those lie in huge pages, whose first touch
# is several times faster than that of an array made in compiled code.


@callee(cache=True)
def _weight(l):
    return np.sqrt(EIGHT_PI2 / (2 * l + 1))


@callee(cache=True, fastmath=FASTMATH)
def _product(a, column, c, first, l, out):
    """out[i] = Σ_m a[lm, column] c[lm, first + i] of one l.

    Two m at a time: 2l + 1 is odd, and the loop is bound by reading and writing ``out``.
    """
    n = len(out)
    x, row = a[l * l, column], c[l * l, first:]
    for i in range(n):
        out[i] = x * row[i]
    for lm in range(l * l + 1, (l + 1) * (l + 1), 2):
        x1, row1 = a[lm, column], c[lm, first:]
        x2, row2 = a[lm + 1, column], c[lm + 1, first:]
        for i in range(n):
            out[i] += x1 * row1[i] + x2 * row2[i]


@callee(cache=True, fastmath=FASTMATH)
def power_spectrum(c, l_max, out):
    """p[l, q <= q'] = √(8π²/(2l+1)) Σ_m c_q c_q' of one centre."""
    n_channels = c.shape[1]
    stop = 0
    for l in range(l_max + 1):
        factor = np.sqrt(2.0) * _weight(l)
        for q in range(n_channels):
            start, stop = stop, stop + n_channels - q
            row = out[start:stop]
            _product(c, q, c, q, l, row)
            for i in range(len(row)):
                row[i] *= factor
            row[0] *= np.sqrt(0.5)


@callee(cache=True, fastmath=FASTMATH)
def _unpack(row, q, factor, square):
    """Symmetric matrix elements (q, q') of a packed row q <= q'."""
    line = square[q, q:]
    for i in range(len(row)):
        line[i] = factor * row[i]
        square[q + i, q] = factor * row[i]
    square[q, q] *= np.sqrt(2.0)


@callee(cache=True, fastmath=FASTMATH)
def power_spectrum_cotangent(c, l_max, cotangent, square, dc):
    """dE/dc of one centre for dE/dp. ``square``: scratch (n_channels, n_channels)."""
    n_channels = c.shape[1]
    stop = 0
    for l in range(l_max + 1):
        for q in range(n_channels):
            start, stop = stop, stop + n_channels - q
            _unpack(cotangent[start:stop], q, np.sqrt(2.0) * _weight(l), square)
        for lm in range(l * l, (l + 1) * (l + 1)):
            target, x = dc[lm], c[lm]
            target[:] = 0.0
            for q in range(0, n_channels - 1, 2):
                one, two = square[q], square[q + 1]
                for i in range(n_channels):
                    target[i] += x[q] * one[i] + x[q + 1] * two[i]
            if n_channels % 2:
                last = square[n_channels - 1]
                for i in range(n_channels):
                    target[i] += x[n_channels - 1] * last[i]


@lru_cache(maxsize=32)
def packing(n_channels, width, stride):
    """Where `power_spectrum_tangent` finds the two terms of each product q <= q'.

    For a change of the channels block · width … (block + 1) · width - 1 they are the places
    ``both[block, 0]`` and ``both[block, 1]`` (n_products) in the flat scratch
    (n_channels + 1, stride), whose last row is zero; ``factors`` (n_products) is √2 for q < q'.
    """
    q, other = np.triu_indices(n_channels)
    k = np.arange(len(q))
    both = np.full((n_channels // width, 2, len(q)), n_channels * stride)
    both[other // width, 0, k] = q * stride + other % width
    both[q // width, 1, k] = other * stride + q % width
    return both, np.where(q == other, 1.0, np.sqrt(2.0))


@callee(cache=True, fastmath=FASTMATH)
def power_spectrum_tangent(c, tangents, blocks, both, factors, l_max, square, out):
    """dp (n, 3, n_features) of one centre for n of the ``tangents`` (n_lm, …, 3, width) of c.

    ``blocks`` (n,) are the channels that they change, see `packing`. All share the innermost loop,
    which would be as short as the number of channels otherwise, and the products are packed by a
    table, since the rows of a triangle are short.
    """
    n_channels, (n_lm, _, n_axes, width) = c.shape[1], tangents.shape
    flat = tangents.reshape(n_lm, tangents.shape[1] * n_axes * width)
    length, n_products = len(blocks) * n_axes * width, len(factors)
    numbers = square.reshape(square.size)
    for l in range(l_max + 1):
        for q in range(n_channels):
            _product(c, q, flat, np.int64(0), l, square[q, :length])
        weight = _weight(l)
        for j in range(len(blocks)):
            one, two = both[blocks[j], 0], both[blocks[j], 1]
            for axis in range(n_axes):
                row = out[j, axis, l * n_products :]
                shifted = numbers[(j * n_axes + axis) * width :]
                for k in range(n_products):
                    row[k] = weight * factors[k] * (shifted[one[k]] + shifted[two[k]])


# Where nu < 3, the coupling is None, and what it is for is not compiled.


@callee(cache=True)
def features(c, nu, l_max, coupling, out):
    """Unnormalised features of one centre."""
    if coupling is not None:
        bispectrum(c, coupling[0], coupling[1], coupling[2], out)
    elif nu == 2:
        power_spectrum(c, l_max, out)
    else:
        _multiply(c[0], np.sqrt(EIGHT_PI2), out)


@callee(cache=True)
def features_cotangent(c, nu, l_max, coupling, cotangent, square, dc):
    """dE/dc of one centre for dE/d features."""
    if coupling is not None:
        bispectrum_cotangent(c, coupling[0], coupling[1], coupling[2], cotangent, dc)
    elif nu == 2:
        power_spectrum_cotangent(c, l_max, cotangent, square, dc)
    else:
        dc[:] = 0.0
        _multiply(cotangent, np.sqrt(EIGHT_PI2), dc[0])


@callee(allocates=True, cache=True)
def features_tangent(c, tangents, blocks, nu, l_max, coupling, table, square, out):
    """d features (n, 3, …) of one centre for n of the ``tangents`` (n_lm, …, 3, width) of c."""
    width = tangents.shape[3]
    if coupling is not None:
        for j in range(len(blocks)):
            for axis in range(3):
                full = np.zeros(c.shape)
                for lm in range(len(c)):
                    for q in range(width):
                        full[lm, blocks[j] * width + q] = tangents[lm, j, axis, q]
                bispectrum_tangent(c, full, coupling[0], coupling[1], coupling[2], out[j, axis])
    elif nu == 2:
        both, factors = table
        power_spectrum_tangent(c, tangents, blocks, both, factors, l_max, square, out)
    else:
        for j in range(len(blocks)):
            low = blocks[j] * width
            for axis in range(3):
                row = out[j, axis]
                row[:] = 0.0
                _multiply(tangents[0, j, axis], np.sqrt(EIGHT_PI2), row[low : low + width])


@callee(cache=True, fastmath=FASTMATH)
def _multiply(row, factor, out):
    for i in range(len(out)):
        out[i] = factor * row[i]


@callee(cache=True, fastmath=FASTMATH)
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@callee(cache=True, fastmath=FASTMATH)
def _project(p, scale, row, out):
    """out = scale (row - p (p · row) / |p|²): the transpose, and itself, of d(p / |p|) / dp."""
    along = scale * scale * _dot(p, row)
    for i in range(len(row)):
        out[i] = scale * (row[i] - along * p[i])


@callee(cache=True)
def _inverse_length(p):
    """1/|p|, and 0 for the empty environment, whose normalised features are 0."""
    length = np.sqrt(_dot(p, p))
    return 1 / length if length > 0 else 0.0


@callee(cache=True)
def normalize(p):
    """p / |p|, in place."""
    _multiply(p, _inverse_length(p), p)


@callee(allocates=True, cache=True)
def _coefficient_buffers(density):
    """c by species, and c in the channels of the invariants."""
    n_lm = (density.l_max + 1) * (density.l_max + 1)
    n_species = density.mixing.shape[1]
    by_species = np.empty((n_species, n_lm, density.n_max))
    return by_species, np.empty((n_lm, len(density.mixing) * density.n_max))


def values(first, last, starts, vectors, centers, species, density, out):
    """Features of the atoms first ... last - 1 into ``out`` (n_atoms, n_features)."""
    nothing = np.empty((0, 0)), np.empty((0, 0, 0))
    _evaluate(first, last, starts, vectors, centers, species, density, *nothing, out)


def pair_gradients(first, last, starts, vectors, centers, species, density, cotangent, out):
    """dE/dr_ij, into (n_pairs, 3), for dE/d features, (n_atoms, n_features) or (1, n_features)."""
    nothing = np.empty((0, 0, 0))
    _evaluate(first, last, starts, vectors, centers, species, density, cotangent, nothing, out)


def pair_jacobian(first, last, starts, vectors, centers, species, density, out):
    """d features_i / dr_ij, into (n_pairs, 3, n_features)."""
    starts, own = starts[first : last + 1], centers[first:last]
    evaluate = jacobian_of_runs(starts, vectors, own, species, density, out.shape[2], 0)
    evaluate(slice(0, last - first), out)


def jacobian_of_runs(starts, vectors, centers, species, density, n_features, origin=None):
    """``function(run, out)``: `pair_jacobian` of a slice of centres, into (n_pairs, 3, n_features).

    What is small is made for all centres at once: threads wait for each other where the interpreter
    has to take a step.

    Parameters
    ----------
    starts, vectors, centers, species, density
        As in `pair_jacobian`, of all centres.
    n_features : int
    origin : int, default=None
        The pair to which the first row of ``out`` belongs. None: the first one of the run.
    """
    first, n, n_channels = 0, len(centers), len(density.mixing) * density.n_max
    c = np.empty((n, (density.l_max + 1) ** 2, n_channels))
    p = np.empty((n, n_features))
    no_cotangent = np.empty((0, 0))
    _evaluate(first, n, starts, vectors, centers, species, density, no_cotangent, c, p)
    mixing = density.mixing if density.mixes else None
    width = density.n_max if mixing is None else n_channels
    table = packing(n_channels, width, 3 * _TOGETHER * width)

    def evaluate(run, out):
        first = starts[run.start] if origin is None else origin
        _pair_jacobian(
            run.start, run.stop, first, starts, vectors, species, density, mixing, table, c, p, out
        )

    return evaluate


@njit(cache=True, nogil=True)
def _evaluate(
    first, last, starts, vectors, centers, species, density, cotangent, coefficients, out
):  # fmt: skip
    """`values` without a cotangent, `pair_gradients` with one: they share what they compile.

    With an array for the ``coefficients`` c (n_atoms, n_lm, n_channels), features are not
    normalised.
    """
    has_cotangent, work = len(cotangent) > 0, scratch(density)
    by_species, c = _coefficient_buffers(density)
    dc = np.empty(c.shape)
    square = np.empty((c.shape[1], c.shape[1]))
    p = np.empty(cotangent.shape[1])
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        expand(vectors[a:b], species[a:b], centers[i], density, work, by_species)
        if len(coefficients) > 0:
            c = coefficients[i]
        mix(by_species, density.mixing, c)
        row = p if has_cotangent else out[i]
        if density.normalize or not has_cotangent:
            features(c, density.nu, density.l_max, density.coupling, row)
        if has_cotangent:
            row = cotangent[min(i, len(cotangent) - 1)]
            if density.normalize:
                _project(p, _inverse_length(p), row, p)
                row = p
            features_cotangent(c, density.nu, density.l_max, density.coupling, row, square, dc)
            unmix(dc, density.mixing, by_species)
            expansion_gradients(vectors[a:b], species[a:b], density, work, by_species, out[a:b])
        elif density.normalize and len(coefficients) == 0:
            normalize(row)


@njit(cache=True, nogil=True)
def _pair_jacobian(
    first, last, origin, starts, vectors, species, density, mixing, table, coefficients, p, out
):
    """`pair_jacobian` for the coefficients and the features of the centres, not normalised.

    The first row of ``out`` is that of the pair ``origin``. Without ``mixing`` of species, a
    neighbour changes the channels of its own alone.
    """
    work = scratch(density)
    n_lm, n_channels = coefficients.shape[1:]
    width = density.n_max if mixing is None else n_channels
    square = np.zeros((n_channels + 1, 3 * _TOGETHER * width))
    tangents = np.empty((n_lm, _TOGETHER, 3, density.n_max))
    if mixing is not None:
        mixed = np.empty((n_lm, _TOGETHER, 3, n_channels))
        first_block = np.zeros(_TOGETHER, np.int64)
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        scale = _inverse_length(p[i]) if density.normalize else 0.0
        for k in range(a, b, _TOGETHER):
            stop = min(k + _TOGETHER, b)
            for j in range(k, stop):
                neighbor_tangent(vectors[j], species[j], density, work, j - k, tangents)
            if mixing is not None:
                for j in range(k, stop):
                    _spread(tangents, mixing[:, species[j]], j - k, mixed)
                dc, blocks = mixed, first_block[: stop - k]
            else:
                dc, blocks = tangents, species[k:stop]
            features_tangent(
                coefficients[i], dc, blocks, density.nu, density.l_max, density.coupling, table,
                square, out[k - origin : stop - origin],
            )  # fmt: skip
            if density.normalize:
                for j in range(k, stop):
                    for axis in range(out.shape[1]):
                        row = out[j - origin, axis]
                        _project(p[i], scale, row, row)


@callee(cache=True)
def _spread(tangents, weights, place, mixed):
    """The tangent (n_lm, 3, n_max) of one neighbour in all mixed channels."""
    n_lm, _, n_axes, n_max = tangents.shape
    for lm in range(n_lm):
        for axis in range(n_axes):
            source, target = tangents[lm, place, axis], mixed[lm, place, axis]
            for j in range(len(weights)):
                for n in range(n_max):
                    target[j * n_max + n] = weights[j] * source[n]
