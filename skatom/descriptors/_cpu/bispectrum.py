"""The bispectrum of one centre, and the way back.

    B = √(8π²) Σ_m1m2m3 W[m1, m2, m3] c_q1[l1 m1] c_q2[l2 m2] c_q3[l3 m3]

W is symmetric under an exchange of two columns if l1 + l2 + l3 is even and antisymmetric if it is
odd, so each unordered triple of channels (l q) is kept once, times the root of the number of its
orders; odd ones with two equal channels vanish and are left out.
"""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.density import EIGHT_PI2


@njit(cache=True, inline="always")
def _first_channel(triple, factor, q):
    """Where the channel of the second or third factor begins, given that of the one before."""
    odd = (triple[0] + triple[1] + triple[2]) % 2
    return q + odd if triple[factor - 1] == triple[factor] else 0


@callee(cache=True)
def _root_of_orders(triple, q1, q2, q3):
    """√ of the number of different orders of three channels, times √(8π²)."""
    equal = (triple[0] == triple[1] and q1 == q2) + (triple[1] == triple[2] and q2 == q3)
    return np.sqrt(EIGHT_PI2 * (6, 3, 1)[equal])


@callee(cache=True, fastmath=FASTMATH)
def _couple(a, q1, b, q2, triple, components, weights, t):
    """t[m3] += Σ_m1m2 W a_q1[l1 m1] b_q2[l2 m2]."""
    at1, at2 = triple[0] * triple[0], triple[1] * triple[1]
    for k in range(triple[3], triple[4]):
        m1, m2, m3 = components[k, 0], components[k, 1], components[k, 2]
        t[m3] += weights[k] * a[at1 + m1, q1] * b[at2 + m2, q2]


@callee(cache=True, fastmath=FASTMATH)
def _add_products(t, c, l, first, row):
    """row[i] += Σ_m t[m] c[lm, first + i]."""
    for m in range(2 * l + 1):
        channels = c[l * l + m, first:]
        for i in range(len(row)):
            row[i] += t[m] * channels[i]


@callee(cache=True, fastmath=FASTMATH)
def _scale(row, triple, q1, q2, first):
    for i in range(len(row)):
        row[i] *= _root_of_orders(triple, q1, q2, first + i)


@callee(allocates=True, cache=True)
def bispectrum(c, triples, components, weights, out):
    """B of one centre."""
    n_channels, stop = c.shape[1], 0
    for triple in triples:
        l3 = triple[2]
        for q1 in range(n_channels):
            for q2 in range(_first_channel(triple, 1, q1), n_channels):
                first = _first_channel(triple, 2, q2)
                start, stop = stop, stop + n_channels - min(first, n_channels)
                t = np.zeros(2 * l3 + 1)
                _couple(c, q1, c, q2, triple, components, weights, t)
                out[start:stop] = 0.0
                _add_products(t, c, l3, first, out[start:stop])
                _scale(out[start:stop], triple, q1, q2, first)


@callee(allocates=True, cache=True)
def bispectrum_tangent(c, dc, triples, components, weights, out):
    """dB of one centre for dc (n_lm, n_channels)."""
    n_channels, stop = c.shape[1], 0
    for triple in triples:
        l3 = triple[2]
        for q1 in range(n_channels):
            for q2 in range(_first_channel(triple, 1, q1), n_channels):
                first = _first_channel(triple, 2, q2)
                start, stop = stop, stop + n_channels - min(first, n_channels)
                t, dt = np.zeros(2 * l3 + 1), np.zeros(2 * l3 + 1)
                _couple(c, q1, c, q2, triple, components, weights, t)
                _couple(dc, q1, c, q2, triple, components, weights, dt)
                _couple(c, q1, dc, q2, triple, components, weights, dt)
                out[start:stop] = 0.0
                _add_products(t, dc, l3, first, out[start:stop])
                _add_products(dt, c, l3, first, out[start:stop])
                _scale(out[start:stop], triple, q1, q2, first)


@callee(cache=True, fastmath=FASTMATH)
def _couple_back(dt, c, q1, q2, triple, components, weights, dc):
    """The transpose of `_couple` in both factors."""
    at1, at2 = triple[0] * triple[0], triple[1] * triple[1]
    for k in range(triple[3], triple[4]):
        m1, m2, m3 = components[k, 0], components[k, 1], components[k, 2]
        pull = weights[k] * dt[m3]
        dc[at1 + m1, q1] += pull * c[at2 + m2, q2]
        dc[at2 + m2, q2] += pull * c[at1 + m1, q1]


@callee(cache=True, fastmath=FASTMATH)
def _products_back(row, t, c, l, first, dc, dt):
    """The transpose of `_add_products` in both factors."""
    for m in range(2 * l + 1):
        channels, target, total = c[l * l + m, first:], dc[l * l + m, first:], 0.0
        for i in range(len(row)):
            total += channels[i] * row[i]
        for i in range(len(row)):
            target[i] += t[m] * row[i]
        dt[m] = total


@callee(allocates=True, cache=True)
def bispectrum_cotangent(c, triples, components, weights, cotangent, dc):
    """dE/dc of one centre for dE/dB."""
    n_channels, stop = c.shape[1], 0
    dc[:] = 0.0
    for triple in triples:
        l3 = triple[2]
        for q1 in range(n_channels):
            for q2 in range(_first_channel(triple, 1, q1), n_channels):
                first = _first_channel(triple, 2, q2)
                start, stop = stop, stop + n_channels - min(first, n_channels)
                t, dt = np.zeros(2 * l3 + 1), np.zeros(2 * l3 + 1)
                _couple(c, q1, c, q2, triple, components, weights, t)
                row = np.empty(stop - start)
                for i in range(len(row)):
                    row[i] = cotangent[start + i]
                _scale(row, triple, q1, q2, first)
                _products_back(row, t, c, l3, first, dc, dt)
                _couple_back(dt, c, q1, q2, triple, components, weights, dc)
