"""Maps of wavelet scattering by matrix products along the axes: spectra to moduli, and back.

On the grids of wavelets, of 10 to 100 points along an axis, Fourier transforms by products with
cosines and sines are faster than the FFT, the more so the fewer of the frequencies that the points
resolve are needed. Points are counted from the centre of the grid and frequencies from zero, so
that cosines meet the even and sines the odd parts alone, which quarters the work of complex
products. One call makes all maps of a spectrum: threads never wait for Python between them.

Real and imaginary parts lie side by side in rows. A frequency -m along the second axis comes after
those from 0 to the highest; along the first axis, even and odd parts take the place of both signs.

Arrays have one axis, or two for frequencies along the first axis and all others: numba compiles
what makes, slices and reshapes arrays again for each number of axes.
"""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.scattering import CHUNK, power_sums

# Numbers of the planes that are transformed at once, which should stay in the processor's cache.
_BLOCK = 2**14


@njit(cache=True, nogil=True)
def maps(
    spectra, wanted, radials, harmonics, degrees, scale, band, shape, cosines, sines, lines,
    phases, more_phases, exponents, root, squares, sums,
):  # fmt: skip
    """σ and ∫σ^q of spectra (C, n_ω) convolved with wavelets, for those that are ``wanted``.

    Parameters
    ----------
    spectra : ndarray of complex, shape (C, n_ω)
        Half spectra on the band, counted from the first point of the grid.
    wanted : ndarray of bool, shape (n_wavelets, C)
    radials : ndarray of float, shape (n_wavelets, n_ω)
        The filters, divided by i^l R_lm.
    harmonics : ndarray of float, shape (n_lm, n_ω)
        R_lm of all l, of which only those of the wavelets are read.
    degrees : ndarray of int, shape (n_wavelets,)
        The l.
    scale : float
        A factor of all fields.
    band, shape : ndarray of int, shape (3,)
        Frequencies of the whole spectrum and points along each axis.
    cosines, sines, lines, phases, more_phases : ndarray
        The products along the axes, see `skatom.descriptors.scattering.products.to_points`.
    exponents, root
        See `power_sums`.
    squares : ndarray of float, shape (1 or C, n_points)
        σ of the last wavelet, for each spectrum or for the last.
    sums : ndarray of float, shape (n_wavelets, C, n_q)
        Sums over the points of σ^q; untouched where they are not wanted.
    """
    k1, k2, half = sines[0].shape[1], sines[1].shape[1], lines.shape[0] // 2
    n_1, n_2, n_3 = shape
    h_1, h_2 = cosines[0].shape[0], cosines[1].shape[0]
    planes = max(1, min(h_1, _BLOCK // (2 * n_2 * n_3)))
    width = (2 * k2 + 1) * 2 * half
    source, filtered = np.empty((2 * k1 + 1, width)), np.empty((2 * k1 + 1, width))
    even, odd = np.empty((k1 + 1, width)), np.empty((k1, width))
    waves_even, waves_odd = np.empty((h_1, width)), np.empty((h_1, width))
    pairs = np.empty((2 * k2 + 1) * 2 * planes * 2 * half)
    across = np.empty(2 * h_2 * 2 * planes * 2 * half)
    points, fields = np.empty(2 * planes * n_2 * 2 * half), np.empty(2 * planes * n_2 * n_3)
    work, bits = np.empty((4, CHUNK)), np.empty(CHUNK, np.int64)
    for c in range(len(spectra)):
        target = squares[c % len(squares)]
        _read_spectrum(spectra[c], band, scale, phases, more_phases, source)
        for w in range(len(radials)):
            if not wanted[w, c]:
                continue
            for i in range(len(target)):
                target[i] = 0.0
            l = degrees[w]
            _multiply(source, radials[w], band, k2, l % 2, filtered)
            for lm in range(l * l, (l + 1) * (l + 1)):
                _split(filtered, harmonics[lm], band, k2, even, odd)
                _product(cosines[0], even, waves_even)
                _product(sines[0], odd, waves_odd)
                for first in range(0, h_1, planes):
                    _add_planes(
                        waves_even, waves_odd, first, min(first + planes, h_1), n_1, n_2,
                        cosines[1], sines[1], lines, pairs, across, points, fields, target,
                    )  # fmt: skip
            power_sums(target, exponents, root, work, bits, sums[w, c])


@njit(cache=True, nogil=True)
def band_spectra(
    fields, wanted, shape, cosines, sines, lines, phases, more_phases, factor, band, spectra
):
    """Half spectra (C, n_ω) of real fields (C, n_points), for those that are ``wanted`` (C,).

    Parameters
    ----------
    fields : ndarray of float, shape (C, n_points)
    wanted : ndarray of bool, shape (C,)
    shape : ndarray of int, shape (3,)
        Points along each axis.
    cosines, sines, lines, phases, more_phases : ndarray
        The products along the axes, see `skatom.descriptors.scattering.products.to_spectra`.
    factor : float
        A factor of the spectra.
    band : ndarray of int, shape (3,)
        Sizes of the whole spectrum along each axis.
    spectra : ndarray of complex, shape (C, n_ω)
        The result. Frequencies above the highest are zero.
    """
    n_1, n_2, n_3 = shape
    k1, k2, half = sines[0].shape[0], sines[1].shape[0], lines.shape[1] // 2
    width = (2 * k2 + 1) * 2 * half
    h_1, h_2 = cosines[0].shape[1], cosines[1].shape[1]
    planes = max(1, min(h_1, _BLOCK // (2 * n_2 * n_3)))
    even, odd = np.empty((h_1, width)), np.empty((h_1, width))
    waves_even, waves_odd = np.empty((k1 + 1, width)), np.empty((k1, width))
    points, lines_of = np.empty(2 * planes * n_2 * n_3), np.empty(2 * planes * n_2 * 2 * half)
    pairs = np.empty(2 * h_2 * planes * 2 * 2 * half)
    across = np.empty((2 * k2 + 1) * planes * 2 * 2 * half)
    for c in range(len(fields)):
        if not wanted[c]:
            continue
        for first in range(0, h_1, planes):
            last = min(first + planes, h_1)
            _gather_planes(
                fields[c], first, last, n_1, n_2, cosines[1], sines[1], lines, points, lines_of,
                pairs, across, even, odd,
            )  # fmt: skip
        _product(cosines[0], even, waves_even)
        _product(sines[0], odd, waves_odd)
        _write_spectrum(waves_even, waves_odd, phases, more_phases, factor, band, half, spectra[c])


@callee(allocates=True, cache=True)
def _product(a, b, out):
    if len(b) > 0:
        np.dot(a, b, out)
    else:
        for i in range(len(out)):
            for j in range(out.shape[1]):
                out[i, j] = 0.0


@callee(cache=True, fastmath=FASTMATH)
def _row(i, j, k1, k2, band):
    """Where the frequencies along the third axis of a half spectrum begin."""
    x = i if i <= k1 else band[0] - (i - k1)
    y = j if j <= k2 else band[1] - (j - k2)
    return (x * band[1] + y) * (band[2] // 2 + 1)


@callee(cache=True, fastmath=FASTMATH)
def _read_spectrum(spectrum, band, scale, phases, more_phases, out):
    """The frequencies of a half spectrum that are needed, counted from the centre of the grid."""
    k1, k2, half = len(phases) - 1, len(more_phases) // 2, out.shape[1] // (2 * len(more_phases))
    for i in range(len(out)):
        p1 = phases[i] if i <= k1 else phases[i - k1].conjugate()
        for j in range(len(more_phases)):
            p, at = scale * p1 * more_phases[j], 2 * half * j
            row = spectrum[_row(i, j, k1, k2, band) :]
            for k in range(half):
                s = p * row[k]
                out[i, at + k], out[i, at + half + k] = s.real, s.imag


@callee(cache=True, fastmath=FASTMATH)
def _multiply(source, radial, band, k2, odd, out):
    """The source times a function of the frequency, and times i if ``odd`` is 1."""
    sign, k1, half = -1.0 if odd else 1.0, len(source) // 2, source.shape[1] // (4 * k2 + 2)
    for i in range(len(out)):
        for j in range(2 * k2 + 1):
            row, at = radial[_row(i, j, k1, k2, band) :], 2 * half * j
            re, im = source[i, at + half * odd :], source[i, at + half * (1 - odd) :]
            to_re, to_im = out[i, at:], out[i, at + half :]
            for k in range(half):
                to_re[k] = sign * row[k] * re[k]
            for k in range(half):
                to_im[k] = row[k] * im[k]


@callee(cache=True, fastmath=FASTMATH)
def _split(source, harmonic, band, k2, even, odd):
    """The even and, times i, odd parts along the first axis of the source times R_lm."""
    k1, half = len(odd), source.shape[1] // (4 * k2 + 2)
    for j in range(2 * k2 + 1):
        at = 2 * half * j
        for i in range(k1 + 1):
            row = harmonic[_row(i, j, k1, k2, band) :]
            if i == 0:
                for a in range(0, 2 * half, half):
                    one, out = source[i, at + a :], even[i, at + a :]
                    for k in range(half):
                        out[k] = row[k] * one[k]
                continue
            minus = harmonic[_row(i + k1, j, k1, k2, band) :]
            for a in range(0, 2 * half, half):
                one, two, out = source[i, at + a :], source[i + k1, at + a :], even[i, at + a :]
                for k in range(half):
                    out[k] = row[k] * one[k] + minus[k] * two[k]
            # i times the difference
            for a in range(0, 2 * half, half):
                one, two = source[i, at + half - a :], source[i + k1, at + half - a :]
                out, sign = odd[i - 1, at + a :], 1.0 if a > 0 else -1.0
                for k in range(half):
                    out[k] = sign * (row[k] * one[k] - minus[k] * two[k])


@callee(cache=True, fastmath=FASTMATH)
def _add_planes(
    waves_even, waves_odd, first, last, n_1, n_2, cosine, sine, lines, pairs, across, points,
    fields, squares,
):  # fmt: skip
    """Add the squares of the fields of some pairs of planes.

    ``waves_even``, ``waves_odd``: the sums of cosines and of sines along the first axis.
    """
    k2, half, n_3 = sine.shape[1], lines.shape[0] // 2, lines.shape[1]
    n, size, h_2, plane = 2 * (last - first), 2 * half, len(cosine), n_2 * n_3
    for x in range(first, last):
        for p, sign in ((2 * (x - first), 1.0), (2 * (x - first) + 1, -1.0)):
            _split_waves(waves_even[x], waves_odd[x], sign, k2, half, p * size, n * size, pairs)
    middle, end = (k2 + 1) * n * size, h_2 * n * size
    _flat_product(cosine, pairs, n * size, across)
    _flat_product(sine, pairs[middle:], n * size, across[end:])
    for x in range(h_2):
        up, down = n_2 // 2 + x, (n_2 - 1) // 2 - x
        for p in range(n):
            at = (x * n + p) * size
            one, two = across[at:], across[end + at :]
            above, below = points[(p * n_2 + up) * size :], points[(p * n_2 + down) * size :]
            for k in range(size):
                above[k] = one[k] + two[k]
            # the same point in the middle of an odd number, where sines are zero
            for k in range(size):
                below[k] = one[k] - two[k]
    _product(
        points[: n * n_2 * size].reshape(n * n_2, size), lines,
        fields[: n * plane].reshape(n * n_2, n_3),
    )  # fmt: skip
    for x in range(first, last):
        up, down, at = n_1 // 2 + x, (n_1 - 1) // 2 - x, 2 * (x - first) * plane
        _add_squares(fields[at : at + plane], squares[up * plane :])
        if up != down:
            _add_squares(fields[at + plane : at + 2 * plane], squares[down * plane :])


@callee(cache=True, fastmath=FASTMATH)
def _add_squares(field, out):
    for k in range(len(field)):
        out[k] += field[k] * field[k]


@callee(allocates=True, cache=True)
def _flat_product(a, b, columns, out):
    """`_product` of flat arrays, which may be longer."""
    n, m = a.shape
    _product(a, b[: m * columns].reshape(m, columns), out[: n * columns].reshape(n, columns))


@callee(cache=True, fastmath=FASTMATH)
def _split_waves(waves_even, waves_odd, sign, k2, half, to, stride, out):
    """The even and, times i, odd parts along the second axis of one plane, ± x from the centre.

    The frequency j of the even parts, and after these of the odd ones, is at to + j · stride.
    """
    for j in range(k2 + 1):
        at, minus, to_even = 2 * half * j, 2 * half * (j + k2), out[to + j * stride :]
        one, more = waves_even[at:], waves_odd[at:]
        if j == 0:
            for k in range(2 * half):
                to_even[k] = one[k] + sign * more[k]
            continue
        two, others = waves_even[minus:], waves_odd[minus:]
        for k in range(2 * half):
            to_even[k] = (one[k] + two[k]) + sign * (more[k] + others[k])
        to_odd = out[to + (j + k2) * stride :]
        for k in range(half):
            to_odd[k] = (two[half + k] - one[half + k]) + sign * (others[half + k] - more[half + k])
        for k in range(half):
            to_odd[half + k] = (one[k] - two[k]) + sign * (more[k] - others[k])


@callee(cache=True, fastmath=FASTMATH)
def _gather_planes(
    field, first, last, n_1, n_2, cosine, sine, lines, points, lines_of, pairs, across, even, odd
):
    """The transforms of some pairs of planes; their sums and differences in ``even``, ``odd``."""
    k2, half, n_3 = len(sine), lines.shape[1] // 2, lines.shape[0]
    n, size, h_2, plane = 2 * (last - first), 2 * half, cosine.shape[1], n_2 * n_3
    for x in range(first, last):
        up, down = (n_1 // 2 + x) * plane, ((n_1 - 1) // 2 - x) * plane
        at = 2 * (x - first) * plane
        for i in range(plane):
            points[at + i] = field[up + i]
            points[at + plane + i] = field[down + i]
    _product(
        points[: n * plane].reshape(n * n_2, n_3), lines,
        lines_of[: n * n_2 * size].reshape(n * n_2, size),
    )  # fmt: skip
    sums = pairs[: h_2 * n * size].reshape(h_2, n * size)
    differences = pairs[h_2 * n * size : 2 * h_2 * n * size].reshape(h_2, n * size)
    for x in range(h_2):
        middle = n_2 // 2 + x == (n_2 - 1) // 2 - x
        for p in range(n):
            up = (p * n_2 + n_2 // 2 + x) * size
            down = (p * n_2 + (n_2 - 1) // 2 - x) * size
            for k in range(size):
                a, b = lines_of[up + k], 0.0 if middle else lines_of[down + k]
                sums[x, p * size + k] = a + b
                differences[x, p * size + k] = a - b
    cosines = across[: (k2 + 1) * n * size].reshape(k2 + 1, n * size)
    sines = across[(k2 + 1) * n * size : (2 * k2 + 1) * n * size].reshape(k2, n * size)
    _product(cosine, sums, cosines)
    _product(sine, differences, sines)
    for x in range(first, last):
        at = 2 * (x - first) * size
        middle = n_1 // 2 + x == (n_1 - 1) // 2 - x
        share = 0.0 if middle else 1.0
        for j in range(2 * k2 + 1):
            k, sign = (j, 1.0) if j <= k2 else (j - k2, -1.0)
            place = j * size
            for i in range(half):
                re, im = cosines[k, at + i], cosines[k, at + half + i]
                other_re, other_im = cosines[k, at + size + i], cosines[k, at + size + half + i]
                if k > 0:
                    # C - iS for positive frequencies, C + iS for negative ones
                    re += sign * sines[k - 1, at + half + i]
                    im -= sign * sines[k - 1, at + i]
                    other_re += sign * sines[k - 1, at + size + half + i]
                    other_im -= sign * sines[k - 1, at + size + i]
                even[x, place + i], even[x, place + half + i] = (
                    re + share * other_re, im + share * other_im,
                )  # fmt: skip
                odd[x, place + i], odd[x, place + half + i] = (
                    re - share * other_re, im - share * other_im,
                )  # fmt: skip


@callee(cache=True, fastmath=FASTMATH)
def _write_spectrum(even, odd, phases, more_phases, factor, band, half, spectrum):
    """The half spectrum from its sums of cosines and sines along the first axis."""
    k1, k2 = len(odd), (even.shape[1] // (2 * half) - 1) // 2
    row = band[2] // 2 + 1
    for i in range(len(spectrum)):
        spectrum[i] = 0.0
    for i in range(k1 + 1):
        for j in range(2 * k2 + 1):
            along, at = j if j <= k2 else band[1] - (j - k2), j * 2 * half
            plus = (i * band[1] + along) * row
            p = factor * phases[i] * more_phases[j]
            for k in range(half):
                re, im = even[i, at + k], even[i, at + half + k]
                if i > 0:
                    re += odd[i - 1, at + half + k]
                    im -= odd[i - 1, at + k]
                spectrum[plus + k] = p * complex(re, im)
            if i == 0:
                continue
            minus = ((band[0] - i) * band[1] + along) * row
            p = factor * phases[i].conjugate() * more_phases[j]
            for k in range(half):
                re = even[i, at + k] - odd[i - 1, at + half + k]
                im = even[i, at + half + k] + odd[i - 1, at + k]
                spectrum[minus + k] = p * complex(re, im)
