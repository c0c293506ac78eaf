"""Maps of wavelet scattering by matrix products along the axes: spectra to moduli, and back.

On the grids of wavelets, of 10 to 100 points along an axis, Fourier transforms by products with
cosines and sines are faster than the FFT, the more so the fewer of the frequencies that the points
resolve are needed. Points are counted from the centre of the grid and frequencies from zero, so
that cosines meet the even and sines the odd parts alone, which quarters the work of complex
products. One call makes all maps of a spectrum: threads never wait for Python between them.

Real and imaginary parts lie side by side in rows. A frequency -m along the second axis comes after
those from 0 to the highest; along the first axis, even and odd parts take the place of both signs.
"""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.scattering import power_sums

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
    source = np.empty((2 * k1 + 1, 2 * k2 + 1, 2, half))
    filtered = np.empty((2 * k1 + 1, 2 * k2 + 1, 2, half))
    even = np.empty((k1 + 1, 2 * k2 + 1, 2, half))
    odd = np.empty((k1, 2 * k2 + 1, 2, half))
    waves = np.empty((2, h_1, 2 * k2 + 1, 2, half))
    pairs = np.empty((2 * k2 + 1) * 2 * planes * 2 * half)
    across = np.empty(2 * h_2 * 2 * planes * 2 * half)
    points, fields = np.empty(2 * planes * n_2 * 2 * half), np.empty(2 * planes * n_2 * n_3)
    width = (2 * k2 + 1) * 2 * half
    row = (band[0], band[1], band[2] // 2 + 1)
    for c in range(len(spectra)):
        target = squares[c % len(squares)]
        _read_spectrum(spectra[c].reshape(row), scale, phases, more_phases, source)
        for w in range(len(radials)):
            if not wanted[w, c]:
                continue
            for i in range(len(target)):
                target[i] = 0.0
            l = degrees[w]
            _multiply(source, radials[w].reshape(row), l % 2, filtered)
            for lm in range(l * l, (l + 1) * (l + 1)):
                _split(filtered, harmonics[lm].reshape(row), even, odd)
                _product(cosines[0], even.reshape(k1 + 1, width), waves[0].reshape(h_1, width))
                _product(sines[0], odd.reshape(k1, width), waves[1].reshape(h_1, width))
                for first in range(0, h_1, planes):
                    _add_planes(
                        waves, first, min(first + planes, h_1), n_1, n_2, cosines[1], sines[1],
                        lines, pairs, across, points, fields, target.reshape(n_1, n_2 * n_3),
                    )  # fmt: skip
            power_sums(target.reshape(1, len(target)), exponents, root, sums[w, c : c + 1])


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
def _read_spectrum(spectrum, scale, phases, more_phases, out):
    """The frequencies of a half spectrum that are needed, counted from the centre of the grid."""
    k1, k2 = len(phases) - 1, len(more_phases) // 2
    for i in range(len(out)):
        p1 = phases[i] if i <= k1 else phases[i - k1].conjugate()
        from_1 = i if i <= k1 else len(spectrum) - (i - k1)
        for j in range(out.shape[1]):
            p = scale * p1 * more_phases[j]
            from_2 = j if j <= k2 else spectrum.shape[1] - (j - k2)
            for k in range(out.shape[3]):
                s = p * spectrum[from_1, from_2, k]
                out[i, j, 0, k], out[i, j, 1, k] = s.real, s.imag


@callee(cache=True, fastmath=FASTMATH)
def _multiply(source, radial, odd, out):
    """The source times a function of the frequency, and times i if ``odd`` is 1."""
    sign = -1.0 if odd else 1.0
    k1, k2 = len(source) // 2, source.shape[1] // 2
    for i in range(len(out)):
        from_1 = i if i <= k1 else len(radial) - (i - k1)
        for j in range(out.shape[1]):
            from_2 = j if j <= k2 else radial.shape[1] - (j - k2)
            for k in range(out.shape[3]):
                out[i, j, 0, k] = sign * radial[from_1, from_2, k] * source[i, j, odd, k]
            for k in range(out.shape[3]):
                out[i, j, 1, k] = radial[from_1, from_2, k] * source[i, j, 1 - odd, k]


@callee(cache=True, fastmath=FASTMATH)
def _split(source, harmonic, even, odd):
    """The even and, times i, odd parts along the first axis of the source times R_lm."""
    k1, k2, half = len(odd), source.shape[1] // 2, source.shape[3]
    for j in range(source.shape[1]):
        y = j if j <= k2 else harmonic.shape[1] - (j - k2)
        for a in range(2):
            for k in range(half):
                even[0, j, a, k] = harmonic[0, y, k] * source[0, j, a, k]
        for i in range(1, k1 + 1):
            m, x = i + k1, len(harmonic) - i
            for a in range(2):
                for k in range(half):
                    even[i, j, a, k] = (
                        harmonic[i, y, k] * source[i, j, a, k]
                        + harmonic[x, y, k] * source[m, j, a, k]
                    )
            for k in range(half):
                odd[i - 1, j, 0, k] = (
                    harmonic[x, y, k] * source[m, j, 1, k] - harmonic[i, y, k] * source[i, j, 1, k]
                )
            for k in range(half):
                odd[i - 1, j, 1, k] = (
                    harmonic[i, y, k] * source[i, j, 0, k] - harmonic[x, y, k] * source[m, j, 0, k]
                )


@callee(cache=True, fastmath=FASTMATH)
def _add_planes(
    waves, first, last, n_1, n_2, cosine, sine, lines, pairs, across, points, fields, squares
):
    """Add the squares of the fields of some pairs of planes.

    ``waves``: the sums of cosines and of sines along the first axis.
    """
    k2, half, n_3 = sine.shape[1], lines.shape[0] // 2, lines.shape[1]
    n, size, h_2 = 2 * (last - first), 2 * half, len(cosine)
    even = pairs[: (k2 + 1) * n * size].reshape(k2 + 1, n, 2, half)
    odd = pairs[(k2 + 1) * n * size : (2 * k2 + 1) * n * size].reshape(k2, n, 2, half)
    for x in range(first, last):
        _split_waves(waves, x, 1.0, 2 * (x - first), even, odd)
        _split_waves(waves, x, -1.0, 2 * (x - first) + 1, even, odd)
    cosines = across[: h_2 * n * size].reshape(h_2, n, size)
    sines = across[h_2 * n * size : 2 * h_2 * n * size].reshape(h_2, n, size)
    _product(cosine, even.reshape(k2 + 1, n * size), cosines.reshape(h_2, n * size))
    _product(sine, odd.reshape(k2, n * size), sines.reshape(h_2, n * size))
    rows = points[: n * n_2 * size].reshape(n, n_2, size)
    for x in range(h_2):
        up, down = n_2 // 2 + x, (n_2 - 1) // 2 - x
        for p in range(n):
            for k in range(size):
                rows[p, up, k] = cosines[x, p, k] + sines[x, p, k]
            # the same point in the middle of an odd number, where sines are zero
            for k in range(size):
                rows[p, down, k] = cosines[x, p, k] - sines[x, p, k]
    found = fields[: n * n_2 * n_3].reshape(n * n_2, n_3)
    _product(rows.reshape(n * n_2, size), lines, found)
    found = found.reshape(n, n_2 * n_3)
    for x in range(first, last):
        up, down = n_1 // 2 + x, (n_1 - 1) // 2 - x
        for k in range(n_2 * n_3):
            squares[up, k] += found[2 * (x - first), k] * found[2 * (x - first), k]
        if up != down:
            for k in range(n_2 * n_3):
                squares[down, k] += found[2 * (x - first) + 1, k] * found[2 * (x - first) + 1, k]


@callee(cache=True, fastmath=FASTMATH)
def _split_waves(waves, x, sign, p, even, odd):
    """The even and, times i, odd parts along the second axis of one plane, ± x from the centre."""
    k2, half = len(odd), waves.shape[4]
    for a in range(2):
        for k in range(half):
            even[0, p, a, k] = waves[0, x, 0, a, k] + sign * waves[1, x, 0, a, k]
    for j in range(1, k2 + 1):
        m = j + k2
        for a in range(2):
            for k in range(half):
                even[j, p, a, k] = (waves[0, x, j, a, k] + waves[0, x, m, a, k]) + sign * (
                    waves[1, x, j, a, k] + waves[1, x, m, a, k]
                )
        for k in range(half):
            odd[j - 1, p, 0, k] = (waves[0, x, m, 1, k] - waves[0, x, j, 1, k]) + sign * (
                waves[1, x, m, 1, k] - waves[1, x, j, 1, k]
            )
        for k in range(half):
            odd[j - 1, p, 1, k] = (waves[0, x, j, 0, k] - waves[0, x, m, 0, k]) + sign * (
                waves[1, x, j, 0, k] - waves[1, x, m, 0, k]
            )


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
