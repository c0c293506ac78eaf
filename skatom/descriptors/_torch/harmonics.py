"""Real spherical harmonics of many directions, on a device.

The recursion, the order and the normalisation are those of the compiled loops: the component
(l, m) has the index l² + l + m. Components are rows, and all m of one l are computed at once: the
operations are few, and on contiguous arrays.
"""

import torch


def harmonics(unit, norm, l_max):
    """Y_lm (n_lm, n) of unit vectors (n, 3)."""
    q, c, s = _recursion(unit, l_max)
    rows = []
    for l in range(l_max + 1):
        f = _of_degree(norm, l) * q[l]
        rows += [(f[1:] * s[1 : l + 1]).flip(0), f * c[: l + 1]]
    return torch.cat(rows)


def harmonics_with_gradients(unit, norm, l_max):
    """Y_lm (n_lm, n) of unit vectors, and the gradients of the solid harmonics, (3, n_lm, n)."""
    q, c, s = _recursion(unit, l_max)
    before = [0, *range(l_max)]
    c_before, s_before = c[before], s[before]
    nothing = c.new_zeros((2, c.shape[1]))
    rows = []
    for l in range(l_max + 1):
        f, m = _of_degree(norm, l), torch.arange(l + 1, dtype=c.dtype, device=c.device)[:, None]
        # dQ_l^m: (-x, -y) Q_(l-1)^(m+1) and (l + m) Q_(l-1)^m, zero where |m| > l - 1
        above = torch.cat([q[l - 1], nothing]) if l else nothing
        flat, up, turn = -f * above[1 : l + 2], f * (l + m) * above[: l + 1], f * m * q[l]
        turn_c, turn_s = turn * c_before[: l + 1], turn * s_before[: l + 1]
        f = f * q[l]
        parts = []
        for a, along_x, along_y in ((s[: l + 1], turn_s, turn_c), (c[: l + 1], turn_c, -turn_s)):
            across = flat * a
            x, y = across * unit[:, 0] + along_x, across * unit[:, 1] + along_y
            parts.append(torch.stack([f * a, x, y, up * a]))
        sines, cosines = parts
        rows += [sines[:, 1:].flip(1), cosines]
    rows = torch.cat(rows, 1)
    return rows[0], rows[1:]


def _of_degree(norm, l):
    """F_lm of all m of one l, as a column."""
    first = l * (l + 1) // 2
    return norm[first : first + l + 1, None]


def _recursion(unit, l_max):
    """Q_l^m of z as q[l] (l + 1, n), and c_m and s_m of x and y, (l_max + 1, n)."""
    x, y, z = unit.T.contiguous()
    one = torch.ones_like(x)
    q = [one[None]]
    for l in range(1, l_max + 1):
        above, last = q[-1], q[-1][l - 1]
        rows = [((2 * l - 1) * z * last)[None], ((2 * l - 1) * last)[None]]
        if l > 1:
            m = torch.arange(l - 1, dtype=x.dtype, device=x.device)[:, None]
            two_above = q[-2] * ((l + m - 1) / (l - m))
            rows.insert(0, above[: l - 1] * z * ((2 * l - 1) / (l - m)) - two_above)
        q.append(torch.cat(rows))
    c, s = [one], [torch.zeros_like(x)]
    for _ in range(l_max):
        c, s = [*c, x * c[-1] - y * s[-1]], [*s, x * s[-1] + y * c[-1]]
    return q, torch.stack(c), torch.stack(s)
