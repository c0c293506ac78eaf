"""Loops of wavelet scattering: filters on half spectra, moduli, and sums of powers.

Spectra of real fields are kept as their half with m3 >= 0, flattened to one axis. A filter is
i^l radial(|ω|) R_lm(ω), radial and R_lm real; only the parity of l matters to a modulus.
"""

import numpy as np

from skatom._cpu.elementwise import exp_reduced
from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.harmonics import harmonics, harmonics_with_gradients

# points whose logarithms are in the fastest cache while their powers are formed
_CHUNK = 512
_LOG2E = 1.4426950408889634
_LN2 = 0.6931471805599453
_FLOOR = 2.0**-600


@njit(cache=True, nogil=True)
def solid_harmonics(omega, norm, l_max, values):
    """R_lm(ω) = |ω|^l Y_lm(ω/|ω|) of all wave vectors (n_ω, 3) into ``values`` (n_lm, n_ω)."""
    n_lm = (l_max + 1) * (l_max + 1)
    work, unit = np.empty((3, n_lm)), np.empty(n_lm)
    for i in range(len(omega)):
        x, y, z = omega[i, 0], omega[i, 1], omega[i, 2]
        r = np.sqrt(x * x + y * y + z * z)
        if r == 0.0:
            for lm in range(n_lm):
                values[lm, i] = norm[0] if lm == 0 else 0.0
            continue
        harmonics(x / r, y / r, z / r, norm, l_max, work, unit)
        power = 1.0
        for l in range(l_max + 1):
            for lm in range(l * l, (l + 1) * (l + 1)):
                values[lm, i] = power * unit[lm]
            power *= r


@njit(cache=True, nogil=True)
def solid_harmonic_gradients(omega, norm, l_max, gradients):
    """∂R_lm/∂ω of all wave vectors (n_ω, 3) into ``gradients`` (3, n_lm, n_ω)."""
    n_lm = (l_max + 1) * (l_max + 1)
    work, unit, slopes = np.empty((3, n_lm)), np.empty(n_lm), np.empty((3, n_lm))
    for i in range(len(omega)):
        x, y, z = omega[i, 0], omega[i, 1], omega[i, 2]
        r = np.sqrt(x * x + y * y + z * z)
        gradients[:, :, i] = 0.0
        if r == 0.0:
            # only l = 1 has a slope at the origin, and that is the same everywhere
            if l_max > 0:
                harmonics_with_gradients(0.0, 0.0, 1.0, norm, l_max, work, unit, slopes)
                for a in range(3):
                    for lm in range(1, 4):
                        gradients[a, lm, i] = slopes[a, lm]
            continue
        harmonics_with_gradients(x / r, y / r, z / r, norm, l_max, work, unit, slopes)
        power = 1.0
        for l in range(1, l_max + 1):
            for lm in range(l * l, (l + 1) * (l + 1)):
                for a in range(3):
                    gradients[a, lm, i] = power * slopes[a, lm]
            power *= r


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def apply_filter(spectra, radial, harmonic, odd, scale, out):
    """out[c, m] = scale · i^odd · radial · R_m · spectra[c]: (C, n) -> (C, 2l + 1, n)."""
    for c in range(len(spectra)):
        source = spectra[c]
        for m in range(len(harmonic)):
            row, target = harmonic[m], out[c, m]
            if odd:
                for i in range(len(source)):
                    f = scale * radial[i] * row[i]
                    target[i] = complex(-f * source[i].imag, f * source[i].real)
            else:
                for i in range(len(source)):
                    f = scale * radial[i] * row[i]
                    target[i] = complex(f * source[i].real, f * source[i].imag)


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def adjoint_filter(cotangents, radial, harmonic, odd, scale, out):
    """The transpose of `apply_filter`, added to ``out``: (C, 2l + 1, n) -> (C, n)."""
    for c in range(len(out)):
        target = out[c]
        for m in range(len(harmonic)):
            row, source = harmonic[m], cotangents[c, m]
            if odd:
                for i in range(len(source)):
                    f = scale * radial[i] * row[i]
                    target[i] += complex(f * source[i].imag, -f * source[i].real)
            else:
                for i in range(len(source)):
                    f = scale * radial[i] * row[i]
                    target[i] += complex(f * source[i].real, f * source[i].imag)


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def filter_virial(
    spectra, cotangents, omega, weights, radial, slope, harmonic, gradient, odd, scale, virial
):
    """∂E/∂ε of a filter whose wave vectors turn by ω → ω − ωε, added to ``virial`` (3, 3).

    ``slope`` is the derivative of ln(radial) with respect to |ω|²; ``weights`` counts the two
    halves.
    """
    for c in range(len(spectra)):
        for i in range(len(weights)):
            s = spectra[c, i]
            if odd:
                s = complex(-s.imag, s.real)
            along, x, y, z = 0.0, 0.0, 0.0, 0.0
            for m in range(len(harmonic)):
                g = cotangents[c, m, i]
                overlap = g.real * s.real + g.imag * s.imag
                along += overlap * harmonic[m, i]
                x += overlap * gradient[0, m, i]
                y += overlap * gradient[1, m, i]
                z += overlap * gradient[2, m, i]
            f = -scale * weights[i] * radial[i]
            for b in range(3):
                p = f * (
                    2.0 * slope[i] * along * omega[i, b] + (x if b == 0 else y if b == 1 else z)
                )
                for a in range(3):
                    virial[a, b] += p * omega[i, a]


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def add_squared_modulus(fields, out):
    """out[c] += Σ_m fields[c, m]²: (C, 2l + 1, n) -> (C, n)."""
    for c in range(len(out)):
        target = out[c]
        for m in range(fields.shape[1]):
            row = fields[c, m]
            for i in range(len(row)):
                target[i] += row[i] * row[i]


@njit(cache=True, nogil=True)
def power_sums(squares, exponents, root, sums):
    """sums[c, q] = Σ_u σ^exponents[q], σ² = squares[c]; ``squares`` becomes σ.

    With root > 0 all exponents are multiples of 1/root, and the powers are products of σ and that
    root of it; with 0 each is 2 to the power of a logarithm.
    """
    scratch, bits = np.empty((4, _CHUNK)), np.empty(_CHUNK, np.int64)
    sums[:] = 0.0
    for c in range(len(squares)):
        for start in range(0, squares.shape[1], _CHUNK):
            piece = squares[c][start : start + _CHUNK]
            size = len(piece)
            sigma, r = scratch[0][:size], scratch[1][:size]
            terms, logs = scratch[2][:size], scratch[3][:size]
            _square_root(piece, sigma)
            if root == 2:
                _square_root(sigma, r)
            elif root > 2:
                log2(piece, bits, terms)
                exp2(terms, 0.5 / root, bits, r)
            elif root == 0:
                log2(piece, bits, logs)
            for q in range(len(exponents)):
                if root > 0:
                    multiple = int(np.floor(exponents[q] * root + 0.5))
                    whole = multiple // root
                    sums[c, q] += _power_sum(sigma, whole, r, multiple - whole * root, terms)
                else:
                    exp2(logs, 0.5 * exponents[q], bits, r)
                    sums[c, q] += _power_sum(r, np.int64(1), r, np.int64(0), terms)
            for i in range(size):
                piece[i] = sigma[i]


@njit(cache=True, nogil=True)
def power_slopes(squares, exponents, cotangent, out):
    """out[c] = Σ_q cotangent[c, q] · q · squares[c]^(q/2 − 1), so that dE/df_m = out f_m."""
    logs, bits, terms = np.empty(_CHUNK), np.empty(_CHUNK, np.int64), np.empty(_CHUNK)
    for c in range(len(squares)):
        for start in range(0, squares.shape[1], _CHUNK):
            piece = squares[c][start : start + _CHUNK]
            target = out[c][start : start + _CHUNK]
            size = len(piece)
            log2(piece, bits, logs)
            target[:] = 0.0
            for q in range(len(exponents)):
                factor = cotangent[c, q] * exponents[q]
                if factor != 0.0:
                    exp2(logs[:size], 0.5 * exponents[q] - 1.0, bits, terms)
                    _add_multiple(terms[:size], factor, target)


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def scale_fields(slopes, fields):
    """fields[c, m] *= slopes[c], in place."""
    for c in range(len(slopes)):
        row = slopes[c]
        for m in range(fields.shape[1]):
            field = fields[c, m]
            for i in range(len(row)):
                field[i] *= row[i]


@callee(cache=True, fastmath=FASTMATH)
def _square_root(x, out):
    for i in range(len(x)):
        out[i] = np.sqrt(x[i])


@callee(cache=True, fastmath=FASTMATH)
def _power_sum(x, n_x, r, n_r, terms):
    """Σ x^n_x r^n_r; ``terms``: scratch."""
    for i in range(len(x)):
        terms[i] = 1.0
    for _ in range(n_x):
        for i in range(len(x)):
            terms[i] *= x[i]
    for _ in range(n_r):
        for i in range(len(x)):
            terms[i] *= r[i]
    total = 0.0
    for i in range(len(x)):
        total += terms[i]
    return total


@callee(cache=True, fastmath=FASTMATH)
def _add_multiple(x, factor, out):
    for i in range(len(x)):
        out[i] += factor * x[i]


# Python's check of the divisor would keep the loop from being vectorised
@callee(cache=True, fastmath={"contract"}, error_model="numpy")
def log2(x, bits, out):
    """out = log2(x) for x >= 0 to 1e-15 of max(1, |log2 x|); zero is taken for 2^-600.

    x = 2^k m with m between √½ and √2, and log m = 2 artanh((m − 1)/(m + 1)).
    """
    for i in range(len(x)):
        out[i] = max(x[i], _FLOOR)
    integers = out.view(np.int64)
    for i in range(len(x)):
        # adding the bits of 2 - √2 rounds the exponent up from m = √2 on
        bits[i] = ((integers[i] + 0x00095F61_9980C434) >> 52) - 1023
    for i in range(len(x)):
        integers[i] -= bits[i] << 52
    for i in range(len(x)):
        t = (out[i] - 1.0) / (out[i] + 1.0)
        z = t * t
        p = z / 21 + 1 / 19
        p = p * z + 1 / 17
        p = p * z + 1 / 15
        p = p * z + 1 / 13
        p = p * z + 1 / 11
        p = p * z + 1 / 9
        p = p * z + 1 / 7
        p = p * z + 1 / 5
        p = p * z + 1 / 3
        out[i] = np.float64(bits[i]) + 2.0 * _LOG2E * (p * z * t + t)


@callee(cache=True, fastmath={"contract"})
def exp2(x, factor, bits, out):
    """out = 2^(factor x), for exponents between -1022 and 1023, to 1e-15."""
    for i in range(len(x)):
        y = min(max(factor * x[i], -1022.0), 1023.0)
        k = np.floor(y + 0.5)
        bits[i] = np.int64(k)
        out[i] = exp_reduced((y - k) * _LN2)
    for i in range(len(x)):
        bits[i] = (bits[i] + 1023) << 52
    scale = bits.view(np.float64)
    for i in range(len(x)):
        out[i] *= scale[i]
