"""Fourier transforms between half spectra of a band of frequencies and points, and their sizes.

A grid with more points than its band has frequencies needs no transforms of lines of zeros, nor of
frequencies that are not wanted: this halves their cost.
"""

from math import ceil, floor, log2

import numpy as np
from scipy.fft import fft, ifft, irfft, irfftn, rfft, rfftn

# Factors at which the FFT is slow.
_SLOW = (11, 13)


def even_size(smallest, steps=4):
    """The smallest of some integers times a power of 2 that is not below a number.

    These are 4, 5, 6 and 7 or, with 8 ``steps``, 8, 9, 10, 12, 14 and 15. Twice as long an edge has
    twice as many points, so that a supercell has the grid of its cell, repeated, if there are more
    points than steps; the fast lengths of the FFT do not have this property.
    """
    # rounding must not add a point to an edge that is a multiple of the spacing
    smallest = max(1.0, smallest * (1 - 1e-9))
    unit = 2 ** max(0, floor(log2(smallest / steps)))
    count = ceil(smallest / unit)
    return unit * (count + (count in _SLOW))


def to_points(spectra, band, shape):
    """Σ_ω F(ω) exp(iωu): half spectra (n, *half of band) -> fields (n, *shape).

    The spectra are overwritten. Frequencies that the points do not resolve are left out.
    """
    if band == shape:
        return irfftn(spectra, s=shape, axes=(1, 2, 3), norm="forward", overwrite_x=True)
    highest = _highest(band, shape)
    x = spectra[..., : highest[2] + 1]
    for axis in (1, 2):
        x = _resized(x, axis, highest[axis - 1], shape[axis - 1])
        x = ifft(x, axis=axis, norm="forward", overwrite_x=True)
    return irfft(x, shape[2], axis=3, norm="forward", overwrite_x=True)


def to_spectra(fields, shape, band):
    """Σ_u f(u) exp(−iωu): fields (n, *shape) -> half spectra (n, *half of band).

    The fields may be overwritten. Frequencies that the points do not resolve are zero.
    """
    if band == shape:
        return rfftn(fields, axes=(1, 2, 3), overwrite_x=True)
    highest = _highest(band, shape)
    x = rfft(fields, axis=3, overwrite_x=True)[..., : highest[2] + 1]
    for axis in (2, 1):
        x = _resized(fft(x, axis=axis), axis, highest[axis - 1], band[axis - 1])
    result = np.zeros((*x.shape[:3], band[2] // 2 + 1), complex)
    result[..., : highest[2] + 1] = x
    return result


def crop(spectra, source, target):
    """The frequencies of half spectra (n, *half of source) that a narrower band has."""
    if source == target:
        return spectra
    highest = _highest(source, target)
    x = spectra[..., : highest[2] + 1]
    for axis in (1, 2):
        x = _resized(x, axis, highest[axis - 1], target[axis - 1])
    result = np.zeros((*x.shape[:3], target[2] // 2 + 1), complex)
    result[..., : highest[2] + 1] = x
    return result


def _highest(one, other):
    """The highest frequency of each axis that is below both Nyquist frequencies."""
    return [(min(a, b) - 1) // 2 for a, b in zip(one, other, strict=True)]


def _resized(x, axis, highest, size):
    """The frequencies up to the highest, in the order of an FFT of another size."""
    result = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]), complex)
    start = (slice(None),) * axis
    for part in [slice(0, highest + 1)] + [slice(-highest, None)] * (highest > 0):
        result[(*start, part)] = x[(*start, part)]
    return result
