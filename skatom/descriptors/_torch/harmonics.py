"""Real spherical harmonics of many directions, on a device.

The recursion, the order and the normalisation are those of the compiled loops: the component
(l, m) has the index l² + l + m. Components are rows, so that each step is one operation on a
contiguous array.
"""

import torch


def harmonics(unit, norm, l_max):
    """Y_lm (n_lm, n) of unit vectors (n, 3)."""
    q, c, s = _recursion(unit, l_max)
    rows = []
    for l in range(l_max + 1):
        f = [norm[l * (l + 1) // 2 + m] * q[l][m] for m in range(l + 1)]
        rows += [f[m] * s[m] for m in range(l, 0, -1)]
        rows += [f[m] * c[m] for m in range(l + 1)]
    return torch.stack(rows)


def harmonics_with_gradients(unit, norm, l_max):
    """Y_lm (n_lm, n) of unit vectors, and the gradients of the solid harmonics, (3, n_lm, n)."""
    x, y, _ = unit.T
    q, c, s = _recursion(unit, l_max)
    zero = torch.zeros_like(x)
    values, gradients = [], []
    for l in range(l_max + 1):
        of_cosines, of_sines = [], []
        for m in range(l + 1):
            f = norm[l * (l + 1) // 2 + m]
            flat = -f * q[l - 1][m + 1] if m < l - 1 else zero
            up = f * (l + m) * q[l - 1][m] if m < l else zero
            turn, before = f * m * q[l][m], max(m - 1, 0)
            along_x, along_y = flat * x, flat * y
            of_cosines.append((
                f * q[l][m] * c[m],
                along_x * c[m] + turn * c[before], along_y * c[m] - turn * s[before], up * c[m],
            ))  # fmt: skip
            of_sines.append((
                f * q[l][m] * s[m],
                along_x * s[m] + turn * s[before], along_y * s[m] + turn * c[before], up * s[m],
            ))  # fmt: skip
        for value, *gradient in of_sines[:0:-1] + of_cosines:
            values.append(value)
            gradients.append(torch.stack(gradient))
    return torch.stack(values), torch.stack(gradients, 1)


def _recursion(unit, l_max):
    """Q_l^m of z as q[l][m], and c_m and s_m of x and y."""
    x, y, z = unit.T.contiguous()
    one = torch.ones_like(x)
    q = [[one]]
    for l in range(1, l_max + 1):
        above = q[-1]
        row = [
            ((2 * l - 1) * z * above[m] - (l + m - 1) * q[-2][m]) / (l - m) for m in range(l - 1)
        ]
        q.append([*row, (2 * l - 1) * z * above[l - 1], (2 * l - 1) * above[l - 1]])
    c, s = [one], [torch.zeros_like(x)]
    for _ in range(l_max):
        c, s = [*c, x * c[-1] - y * s[-1]], [*s, x * s[-1] + y * c[-1]]
    return q, c, s
