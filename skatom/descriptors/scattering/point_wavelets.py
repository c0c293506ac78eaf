"""Wavelets of point scattering: their radial functions as tables for compiled code."""

from math import factorial, pi, sqrt

import numpy as np
from scipy.special import binom

from skatom.descriptors._cpu.harmonics import normalization
from skatom.descriptors._cpu.point_wavelets import REACH, WaveletBank


def wavelet_banks(orbitals, scales, beta, longest, cutoff, cutoff_width, self_term):
    """The `WaveletBank` of every scale.

    Parameters
    ----------
    orbitals : list of (n, l)
    scales : sequence of float
    beta : float
        Width of the base Gaussian, Å.
    longest : float
        Where all wavelets end, Å.
    cutoff, cutoff_width, self_term
        Parameters of `PointScattering`.
    """
    degrees = np.array([l for _, l in orbitals])
    starts = np.concatenate([[0], np.cumsum(2 * degrees + 1)])
    norm = normalization(int(degrees.max()))
    banks = []
    for j in scales:
        width = float(2**j * beta)
        table = np.zeros((len(orbitals), max(n - l for n, l in orbitals)))
        for row, (n, l) in zip(table, orbitals, strict=True):
            row[: n - l] = 2 ** (-j * (3 + l)) * radial_coefficients(n, l, beta)
        bank = WaveletBank(
            width=width,
            reach=min(REACH * width, longest),
            cutoff=np.inf if cutoff is None else float(cutoff),
            cutoff_width=float(cutoff_width),
            norm=norm,
            degrees=degrees,
            coefficients=table,
            starts=starts,
            peaks=_peaks(table, degrees, width),
            self_term=bool(self_term),
        )
        banks.append(bank)
    return banks


def radial_coefficients(n, l, beta):
    """K_nl L_{n-l-1}^{(l+1/2)}(t) as powers of t, (n - l,)."""
    k = n - l - 1
    factor = 2**k * factorial(k) / ((2 * pi) ** 1.5 * beta ** (2 * n + 1))
    factor *= sqrt(4 * pi / (2 * l + 1))
    return np.array(
        [factor * (-1) ** i * binom(k + l + 0.5, k - i) / factorial(i) for i in range(k + 1)]
    )


def _peaks(table, degrees, width):
    """The largest √(Σ_m |ψ_m(r)|²) of each wavelet."""
    r = np.linspace(0, REACH * width, 1000)
    t = 0.5 * (r / width) ** 2
    radial = np.array(
        [r**l * np.polyval(row[::-1], t) for l, row in zip(degrees, table, strict=True)]
    )
    return np.abs(radial * np.exp(-t)).max(axis=1) * np.sqrt((2 * degrees + 1) / (4 * pi))
