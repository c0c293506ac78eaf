"""Loops of wavelet scattering: filters on half spectra, moduli, and sums of powers.

Spectra of real fields are kept as their half with m3 >= 0, flattened to one axis. A filter is
i^l radial(|ω|) R_lm(ω), radial and R_lm real; only the parity of l matters to a modulus.
"""

import numpy as np

from skatom._cpu.elementwise import exp_reduced
from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit

# points whose logarithms are in the fastest cache while their powers are formed
CHUNK = 512
_LOG2E = 1.4426950408889634
_LN2 = 0.6931471805599453
_FLOOR = 2.0**-600


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def apply_filter(spectra, radial, harmonic, scale, out):
    """out[c, m] = scale · radial · R_m · spectra[c]: (C, n) -> (C, 2l + 1, n); a complex scale."""
    a, b = scale.real, scale.imag
    for c in range(len(spectra)):
        source = spectra[c]
        for m in range(len(harmonic)):
            row, target = harmonic[m], out[c, m]
            for i in range(len(source)):
                f, s = radial[i] * row[i], source[i]
                target[i] = complex(f * (a * s.real - b * s.imag), f * (a * s.imag + b * s.real))


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def adjoint_filter(cotangents, radial, harmonic, scale, out):
    """The transpose of `apply_filter`, added to ``out``: (C, 2l + 1, n) -> (C, n)."""
    a, b = scale.real, -scale.imag
    for c in range(len(out)):
        target = out[c]
        for m in range(len(harmonic)):
            row, source = harmonic[m], cotangents[c, m]
            for i in range(len(source)):
                f, s = radial[i] * row[i], source[i]
                target[i] += complex(f * (a * s.real - b * s.imag), f * (a * s.imag + b * s.real))


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def filter_virial(
    spectra, cotangents, omega, weights, radial, slope, harmonic, gradient, scale, virial
):
    """∂E/∂ε of a filter whose wave vectors turn by ω → ω − ωε, added to ``virial`` (3, 3).

    ``slope`` is the derivative of ln(radial) with respect to |ω|²; ``weights`` counts the two
    halves.
    """
    for c in range(len(spectra)):
        for i in range(len(weights)):
            s = scale * spectra[c, i]
            along, x, y, z = 0.0, 0.0, 0.0, 0.0
            for m in range(len(harmonic)):
                g = cotangents[c, m, i]
                overlap = g.real * s.real + g.imag * s.imag
                along += overlap * harmonic[m, i]
                x += overlap * gradient[0, m, i]
                y += overlap * gradient[1, m, i]
                z += overlap * gradient[2, m, i]
            f, radius = -weights[i] * radial[i], 2.0 * slope[i] * along
            x, y, z = x + radius * omega[i, 0], y + radius * omega[i, 1], z + radius * omega[i, 2]
            for a in range(3):
                p = f * omega[i, a]
                virial[a, 0] += p * x
                virial[a, 1] += p * y
                virial[a, 2] += p * z


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
def powers(squares, exponents, root, cotangent, slopes, sums):
    """`power_slopes` for ``slopes`` (C, n) and `power_sums` for ``sums`` (C, n_q), if not empty."""
    work, bits = np.empty((4, CHUNK)), np.empty(CHUNK, np.int64)
    for c in range(len(slopes)):
        power_slopes(squares[c], exponents, cotangent[c], work, bits, slopes[c])
    for c in range(len(sums)):
        power_sums(squares[c], exponents, root, work, bits, sums[c])


@callee(cache=True)
def power_slopes(squares, exponents, cotangent, work, bits, out):
    """out = Σ_q cotangent[q] · q · squares^(q/2 − 1), so that dE/df_m = out f_m.

    ``work``, ``bits``: scratch, see `power_sums`.
    """
    chunk = len(bits)
    for start in range(0, len(squares), chunk):
        piece, target = squares[start : start + chunk], out[start : start + chunk]
        size = len(piece)
        logs, terms = work[0, :size], work[1, :size]
        log2(piece, bits, logs)
        for i in range(size):
            target[i] = 0.0
        for q in range(len(exponents)):
            factor = cotangent[q] * exponents[q]
            if factor != 0.0:
                exp2(logs, 0.5 * exponents[q] - 1.0, bits, terms)
                _add_multiple(terms, factor, target)


@callee(cache=True)
def power_sums(squares, exponents, root, work, bits, sums):
    """sums[q] = Σ_u σ^exponents[q], σ² = squares; ``squares`` becomes σ.

    With root > 0 all exponents are multiples of 1/root, and the powers are products of σ and that
    root of it; with 0 each is 2 to the power of a logarithm. ``work`` (4, n), ``bits`` (n,) of
    integers: scratch, which fits into the fastest cache.
    """
    chunk = len(bits)
    for q in range(len(exponents)):
        sums[q] = 0.0
    for start in range(0, len(squares), chunk):
        piece = squares[start : start + chunk]
        size = len(piece)
        sigma, r, terms, logs = work[0, :size], work[1, :size], work[2, :size], work[3, :size]
        if root != 1 and root != 2:
            log2(piece, bits, logs)
        _square_root(piece, sigma)
        if root == 2:
            _square_root(sigma, r)
        elif root > 2:
            exp2(logs, 0.5 / root, bits, r)
        for q in range(len(exponents)):
            whole = rest = np.int64(0)
            factor = sigma
            if root > 0:
                multiple = int(exponents[q] * root + 0.5)
                whole = multiple // root
                rest = multiple - whole * root
            else:
                exp2(logs, 0.5 * exponents[q], bits, r)
                whole, factor = np.int64(1), r
            sums[q] += _power_sum(factor, whole, r, rest, terms)
        for i in range(size):
            piece[i] = sigma[i]


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
