"""Gradients of the solid harmonics of many vectors, by recursion on whole arrays.

The recursion, the order and the normalisation are those of `skatom.descriptors._cpu.harmonics`,
with powers of the length: R_lm(ω) = |ω|^l Y_lm(ω/|ω|) are polynomials, also at the origin.
"""

import numpy as np

from skatom.descriptors._cpu.harmonics import normalization

# Vectors whose recursion stays in the processor's cache.
_CHUNK = 2048


def solid_harmonic_gradients(vectors, l):
    """∂R_lm/∂ω (3, 2l + 1, n) of one l for vectors (n, 3)."""
    norm, gradients = normalization(l), np.zeros((3, 2 * l + 1, len(vectors)))
    for start in range(0, len(vectors), _CHUNK):
        piece = vectors[start : start + _CHUNK]
        x, y, _ = piece.T
        q, c, s = _recursion(piece, l)
        gx, gy, gz = gradients[:, :, start : start + _CHUNK]
        for m in range(l + 1):
            f = norm[l * (l + 1) // 2 + m]
            # dQ_l^m: (-x, -y) Q_(l-1)^(m+1) and (l + m) Q_(l-1)^m, absent where |m| > l - 1
            flat = -f * q[l - 1][m + 1] if m < l - 1 else 0.0
            up = f * (l + m) * q[l - 1][m] if m < l else 0.0
            turn = f * m * q[l][m]
            before = max(m - 1, 0)
            gx[l + m] = flat * x * c[m] + turn * c[before]
            gy[l + m] = flat * y * c[m] - turn * s[before]
            gz[l + m] = up * c[m]
            if m > 0:
                gx[l - m] = flat * x * s[m] + turn * s[before]
                gy[l - m] = flat * y * s[m] + turn * c[before]
                gz[l - m] = up * s[m]
    return gradients


def _recursion(vectors, l_max):
    """Q_l^m as q[l][m], and c_m and s_m of x and y, each (n,)."""
    x, y, z = np.ascontiguousarray(vectors.T)
    square, one = x * x + y * y + z * z, np.ones(len(vectors))
    q, c, s = [[one]], [one], [np.zeros(len(vectors))]
    for l in range(1, l_max + 1):
        above, slope = q[l - 1], (2 * l - 1) * z
        row = [
            (slope * above[m] - (l + m - 1) * square * q[l - 2][m]) / (l - m) for m in range(l - 1)
        ]
        q.append([*row, slope * above[l - 1], (2 * l - 1) * above[l - 1]])
        c, s = [*c, x * c[-1] - y * s[-1]], [*s, x * s[-1] + y * c[-1]]
    return q, c, s
