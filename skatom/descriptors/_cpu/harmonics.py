"""Real spherical harmonics and the gradients of the solid ones, by recursion.

The solid harmonics R_lm(r) = r^l Y_lm(r/r) are polynomials,

    R_lm = F_lm Q_l^|m|(z, r) c_m(x, y)    m >= 0,   c_m + i s_m = (x + i y)^m
    R_lm = F_lm Q_l^|m|(z, r) s_|m|(x, y)  m < 0,

Q_l^m being the associated Legendre function divided by sin^m and multiplied by r^(l-m), without
the Condon-Shortley sign. There are neither angles nor singular points. The recursion and its
derivatives are those of Bigi et al., J. Chem. Phys. 159, 064802 (2023). The component (l, m)
has the index l² + l + m.
"""

from math import factorial, pi, sqrt

import numpy as np

from skatom._numba import callee


def normalization(l_max):
    """F_lm for m >= 0 at l(l+1)/2 + m, such that the Y_lm are orthonormal on the sphere."""
    return np.array([
        sqrt((2 * l + 1) / (4 * pi) * factorial(l - m) / factorial(l + m) * (2 if m else 1))
        for l in range(l_max + 1)
        for m in range(l + 1)
    ])  # fmt: skip


@callee(cache=True)
def _legendre(z, l_max, q):
    """Q_l^m on the unit sphere, at l(l+1)/2 + m."""
    q[0] = 1.0
    for l in range(1, l_max + 1):
        row, above = l * (l + 1) // 2, (l - 1) * l // 2
        q[row + l] = (2 * l - 1) * q[above + l - 1]
        q[row + l - 1] = (2 * l - 1) * z * q[above + l - 1]
        for m in range(l - 1):
            two_above = (l - 2) * (l - 1) // 2
            q[row + m] = (
                (2 * l - 1) * z * q[above + m] - (l + m - 1) * q[two_above + m]
            ) / (l - m)  # fmt: skip


@callee(cache=True)
def _azimuth(x, y, l_max, c, s):
    c[0], s[0] = 1.0, 0.0
    for m in range(1, l_max + 1):
        c[m] = x * c[m - 1] - y * s[m - 1]
        s[m] = x * s[m - 1] + y * c[m - 1]


@callee(cache=True)
def harmonics(x, y, z, norm, l_max, work, values):
    """Y_lm (n_lm,) of a unit vector. ``work``: (3, n_lm) scratch."""
    q, c, s = work[0], work[1], work[2]
    _legendre(z, l_max, q)
    _azimuth(x, y, l_max, c, s)
    for l in range(l_max + 1):
        row, centre = l * (l + 1) // 2, l * l + l
        values[centre] = norm[row] * q[row]
        for m in range(1, l + 1):
            f = norm[row + m] * q[row + m]
            values[centre + m] = f * c[m]
            values[centre - m] = f * s[m]


@callee(cache=True)
def harmonics_with_gradients(x, y, z, norm, l_max, work, values, gradients):
    """Y_lm (n_lm,) of a unit vector, and the gradients of R_lm there, (3, n_lm)."""
    harmonics(x, y, z, norm, l_max, work, values)
    q, c, s = work[0], work[1], work[2]
    gx, gy, gz = gradients[0], gradients[1], gradients[2]
    gx[0] = gy[0] = gz[0] = 0.0
    for l in range(1, l_max + 1):
        row, above, centre = l * (l + 1) // 2, (l - 1) * l // 2, l * l + l
        for m in range(l + 1):
            f = norm[row + m]
            # d Q_l^m: (-x, -y) Q_{l-1}^{m+1} and (l + m) Q_{l-1}^m, absent where |m| > l - 1
            flat = -f * q[above + m + 1] if m < l - 1 else 0.0
            up = f * (l + m) * q[above + m] if m < l else 0.0
            turn = f * m * q[row + m]
            before = max(m - 1, 0)
            gx[centre + m] = flat * x * c[m] + turn * c[before]
            gy[centre + m] = flat * y * c[m] - turn * s[before]
            gz[centre + m] = up * c[m]
            if m > 0:
                gx[centre - m] = flat * x * s[m] + turn * s[before]
                gy[centre - m] = flat * y * s[m] + turn * c[before]
                gz[centre - m] = up * s[m]
