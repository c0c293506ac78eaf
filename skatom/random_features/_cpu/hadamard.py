"""Products with structured random matrices, by fast Walsh-Hadamard transforms."""

import numpy as np

from skatom._numba import callee, njit


@njit(cache=True, nogil=True)
def project(first, last, x, signs, factors, out):
    """Rows first … last - 1 of x Wᵀ, for the blocks diag(factors) H D₃ H D₂ H D₁ of W."""
    n_blocks, d = signs.shape[0], signs.shape[2]
    n_columns, n_out = x.shape[1], out.shape[1]
    work = np.empty(d)
    for i in range(first, last):
        for b in range(n_blocks):
            for k in range(n_columns):
                work[k] = signs[b, 0, k] * x[i, k]
            for k in range(n_columns, d):
                work[k] = 0.0
            _transform(work)
            for s in range(1, 3):
                for k in range(d):
                    work[k] *= signs[b, s, k]
                _transform(work)
            for k in range(min(d, n_out - b * d)):
                out[i, b * d + k] = factors[b * d + k] * work[k]


@njit(cache=True, nogil=True)
def pull_back(first, last, cotangent, signs, factors, out):
    """Rows first … last - 1 of c W, for the blocks diag(factors) H D₃ H D₂ H D₁ of W."""
    n_blocks, d = signs.shape[0], signs.shape[2]
    n_columns, n_in = out.shape[1], cotangent.shape[1]
    work = np.empty(d)
    for i in range(first, last):
        for k in range(n_columns):
            out[i, k] = 0.0
        for b in range(n_blocks):
            count = min(d, n_in - b * d)
            for k in range(count):
                work[k] = factors[b * d + k] * cotangent[i, b * d + k]
            for k in range(count, d):
                work[k] = 0.0
            _transform(work)
            for s in range(2, 0, -1):
                for k in range(d):
                    work[k] *= signs[b, s, k]
                _transform(work)
            for k in range(n_columns):
                out[i, k] += signs[b, 0, k] * work[k]


@callee(cache=True)
def _transform(work):
    """A row times the Hadamard matrix of its length, at least 8, not normalised, in place.

    Three steps at a time while neighbours meet, then two at a time in whole registers.
    """
    d = work.shape[0]
    for k in range(0, d, 8):
        a0, a1, a2, a3 = work[k], work[k + 1], work[k + 2], work[k + 3]
        a4, a5, a6, a7 = work[k + 4], work[k + 5], work[k + 6], work[k + 7]
        b0, b1, b2, b3 = a0 + a1, a0 - a1, a2 + a3, a2 - a3
        b4, b5, b6, b7 = a4 + a5, a4 - a5, a6 + a7, a6 - a7
        a0, a1, a2, a3 = b0 + b2, b1 + b3, b0 - b2, b1 - b3
        a4, a5, a6, a7 = b4 + b6, b5 + b7, b4 - b6, b5 - b7
        work[k], work[k + 1], work[k + 2], work[k + 3] = a0 + a4, a1 + a5, a2 + a6, a3 + a7
        work[k + 4], work[k + 5], work[k + 6], work[k + 7] = a0 - a4, a1 - a5, a2 - a6, a3 - a7
    half = 8
    while 4 * half <= d:
        for start in range(0, d, 4 * half):
            p = work[start : start + half]
            q = work[start + half : start + 2 * half]
            r = work[start + 2 * half : start + 3 * half]
            t = work[start + 3 * half : start + 4 * half]
            for k in range(half):
                sum_1, difference_1 = p[k] + q[k], p[k] - q[k]
                sum_2, difference_2 = r[k] + t[k], r[k] - t[k]
                p[k], q[k] = sum_1 + sum_2, difference_1 + difference_2
                r[k], t[k] = sum_1 - sum_2, difference_1 - difference_2
        half *= 4
    if half < d:
        p, q = work[:half], work[half:]
        for k in range(half):
            a, b = p[k], q[k]
            p[k], q[k] = a + b, a - b
