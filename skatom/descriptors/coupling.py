"""Invariant couplings of three real spherical harmonics."""

from functools import lru_cache
from math import factorial, lcm, sqrt

import numpy as np


def l_triples(l_max, parity):
    """(l1, l2, l3), l1 <= l2 <= l3, that couple to a scalar; "even" keeps even sums only."""
    return [
        (l1, l2, l3)
        for l1 in range(l_max + 1)
        for l2 in range(l1, l_max + 1)
        for l3 in range(l2, min(l1 + l2, l_max) + 1)
        if parity == "both" or (l1 + l2 + l3) % 2 == 0
    ]


@lru_cache(maxsize=8)
def coupling_table(l_max, parity):
    """The non-zero couplings of all triples, in compressed rows.

    Returns
    -------
    triples : ndarray of int, shape (n_triples, 5)
        l1, l2, l3, and the range of their couplings in the other two arrays.
    components : ndarray of int, shape (n_couplings, 3)
        The components (l1 m1), (l2 m2), (l3 m3), each counted from m = -l.
    weights : ndarray of float, shape (n_couplings,)
    """
    triples, components, weights = [], [], []
    start = 0
    for triple in l_triples(l_max, parity):
        tensor = real_coupling(*triple)
        nonzero = np.argwhere(np.abs(tensor) > 1e-14)
        stop = start + len(nonzero)
        triples.append((*triple, start, stop))
        components.append(nonzero)
        weights.append(tensor[tuple(nonzero.T)])
        start = stop
    components = np.ascontiguousarray(np.concatenate(components))
    return np.array(triples), components, np.concatenate(weights)


def real_coupling(l1, l2, l3):
    """Wigner's 3j symbols in real harmonics: the invariant tensor of length 1.

    For an odd sum of l it is imaginary in the complex phase convention; the imaginary part is
    taken.
    """
    complex_form = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            m3 = -m1 - m2
            complex_form[m1 + l1, m2 + l2, m3 + l3] = wigner_3j(l1, l2, l3, m1, m2, m3)
    real_form = np.einsum(
        "abc,xa,yb,zc->xyz", complex_form, *(_real_from_complex(l) for l in (l1, l2, l3))
    )
    return real_form.imag if (l1 + l2 + l3) % 2 else real_form.real


def wigner_3j(l1, l2, l3, m1, m2, m3):
    """Racah's formula; the caller ensures m1 + m2 + m3 = 0 and the triangle condition."""
    low = max(0, l2 - l3 - m1, l1 - l3 + m2)
    high = min(l1 + l2 - l3, l1 - m1, l2 + m2)
    # integers throughout: the terms alternate and are much larger than their sum
    parts = [
        (-1) ** k * factorial(k) * factorial(l1 + l2 - l3 - k) * factorial(l1 - m1 - k)
        * factorial(l2 + m2 - k) * factorial(l3 - l2 + m1 + k) * factorial(l3 - l1 - m2 + k)
        for k in range(low, high + 1)
    ]  # fmt: skip
    common = lcm(*parts)
    total = sum(common // p for p in parts)
    triangle = factorial(l1 + l2 - l3) * factorial(l1 - l2 + l3) * factorial(-l1 + l2 + l3)
    square = triangle * total**2
    for l, m in ((l1, m1), (l2, m2), (l3, m3)):
        square *= factorial(l + m) * factorial(l - m)
    sign = (-1) ** ((l1 - l2 - m3) % 2) * (1 if total > 0 else -1)
    return sign * sqrt(square / (factorial(l1 + l2 + l3 + 1) * common**2)) if total else 0.0


def _real_from_complex(l):
    """Rows: real harmonics (see _cpu/harmonics.py) in terms of complex ones, Condon-Shortley."""
    matrix = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    matrix[l, l] = 1
    for m in range(1, l + 1):
        # Y_l,-m = (-1)^m conj(Y_lm); the real harmonics have no such sign
        matrix[l + m, l + m] = (-1) ** m / sqrt(2)
        matrix[l + m, l - m] = 1 / sqrt(2)
        matrix[l - m, l + m] = -1j * (-1) ** m / sqrt(2)
        matrix[l - m, l - m] = 1j / sqrt(2)
    return matrix
