"""What scattering computes once for a structure: tables of its wave vectors, and densities.

Each function makes a whole table: a structure begins with few steps of Python, for which the
threads that work on others would have to wait.
"""

from math import cos, exp, pi, sin

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit

_TURN = 2 * pi


@njit(cache=True, nogil=True)
def wave_vectors(sizes, reciprocal, omega, squares):
    """Wave vectors (n_ω, 3) of a half spectrum, and their squared lengths.

    ``sizes`` (3,) are the points along each axis, ``reciprocal`` the vectors of the reciprocal
    cell, rows.
    """
    at = 0
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            a, b = _frequency(i, sizes[0]), _frequency(j, sizes[1])
            for k in range(sizes[2] // 2 + 1):
                square = 0.0
                for axis in range(reciprocal.shape[1]):
                    x = a * reciprocal[0, axis] + b * reciprocal[1, axis] + k * reciprocal[2, axis]
                    omega[at, axis] = x
                    square += x * x
                squares[at] = square
                at += 1


@callee(cache=True)
def _frequency(place, size):
    """The frequency at a place in the order of the FFT."""
    return place if 2 * place < size else place - size


@njit(cache=True, nogil=True)
def solid_harmonics(vectors, norm, l_max, out):
    """R_lm into ``out`` (n_lm, n), of vectors (n, 3): `skatom.descriptors._cpu.harmonics`.

    The recursion is that with powers of the length: R_lm(ω) = |ω|^l Y_lm(ω/|ω|) are polynomials,
    also at the origin.
    """
    q = np.empty((l_max + 1) * (l_max + 2) // 2)
    for i in range(len(vectors)):
        x, y, z = vectors[i, 0], vectors[i, 1], vectors[i, 2]
        square = x * x + y * y + z * z
        q[0] = 1.0
        for l in range(1, l_max + 1):
            row, above, before = l * (l + 1) // 2, (l - 1) * l // 2, (l - 2) * (l - 1) // 2
            slope = (2 * l - 1) * z
            for m in range(l - 1):
                q[row + m] = (slope * q[above + m] - (l + m - 1) * square * q[before + m]) / (l - m)
            q[row + l - 1] = slope * q[above + l - 1]
            q[row + l] = (2 * l - 1) * q[above + l - 1]
        c, s = 1.0, 0.0
        for m in range(l_max + 1):
            for l in range(m, l_max + 1):
                place = l * (l + 1) // 2 + m
                out[l * l + l + m, i] = norm[place] * q[place] * c
                if m > 0:
                    out[l * l + l - m, i] = norm[place] * q[place] * s
            c, s = x * c - y * s, x * s + y * c


@njit(cache=True, nogil=True)
def radial_part(squares, power, rate, factor, out):
    """factor · |ω|^(2 power) exp(rate |ω|²)."""
    for i in range(len(squares)):
        value = factor * exp(rate * squares[i])
        for _ in range(power):
            value *= squares[i]
        out[i] = value


@njit(cache=True, nogil=True)
def densities(places, species, charges, sizes, out):
    """Spectra (n_channels, n_ω) of charges at the atoms: Σ_k c_k exp(−iω(R_k − o)).

    Parameters
    ----------
    places : ndarray of float, shape (N, 3)
        R_k − o in lengths of the box.
    species : ndarray of int, shape (N,)
    charges : ndarray of float, shape (n_channels, n_species)
    sizes : ndarray of int, shape (3,)
        Points along each axis.
    out : ndarray of complex, shape (n_channels, n_ω)
    """
    half = sizes[2] // 2 + 1
    n_atoms, total = len(places), sizes[0] + sizes[1] + half
    waves = np.empty((n_atoms, total), np.complex128)
    for k in range(n_atoms):
        for axis in range(3):
            begin = sizes[0] * min(axis, 1) + sizes[1] * (axis // 2)
            size = sizes[axis] if axis < 2 else half
            for m in range(size):
                frequency = m if axis == 2 else _frequency(m, size)
                angle = -_TURN * frequency * places[k, axis]
                waves[k, begin + m] = complex(cos(angle), sin(angle))
    for c in range(len(out)):
        for i in range(out.shape[1]):
            out[c, i] = 0.0
    sums = np.empty((charges.shape[1], half), np.complex128)
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            for s in range(len(sums)):
                for k in range(half):
                    sums[s, k] = 0.0
            for k in range(n_atoms):
                factor = waves[k, i] * waves[k, sizes[0] + j]
                _add_multiple(waves[k, sizes[0] + sizes[1] :], factor, sums[species[k]])
            at = (i * sizes[1] + j) * half
            for c in range(len(out)):
                for s in range(len(sums)):
                    _add_multiple(sums[s], complex(charges[c, s], 0.0), out[c, at : at + half])


@callee(cache=True, fastmath=FASTMATH)
def _add_multiple(x, factor, out):
    for i in range(len(out)):
        out[i] += factor * x[i]
