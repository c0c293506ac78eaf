"""Real spherical harmonics of unit vectors, as tensors that automatic differentiation follows."""

from math import factorial, sqrt

import torch


def harmonics(units, highest):
    """A tensor (n, 2 l + 1) for each degree l up to the highest, whose rows have the length 1.

    So products of those of two vectors are Legendre polynomials of their cosine. The functions are
    Π_lm(z) Re (x + i y)^m and Π_lm(z) Im (x + i y)^m, where Π_lm is a polynomial.
    """
    x, y, z = units.unbind(1)
    real, imaginary, legendre = [torch.ones_like(x)], [torch.zeros_like(x)], {}
    for _ in range(highest):
        a, b = real[-1], imaginary[-1]
        real.append(x * a - y * b)
        imaginary.append(x * b + y * a)
    for m in range(highest + 1):
        before, value = 0.0, factorial(2 * m) / (2**m * factorial(m)) * torch.ones_like(x)
        for l in range(m, highest + 1):
            legendre[l, m] = value
            before, value = value, ((2 * l + 1) * z * value - (l + m) * before) / (l - m + 1)
    found = []
    for l in range(highest + 1):
        columns = [legendre[l, 0]]
        for m in range(1, l + 1):
            scaled = sqrt(2 * factorial(l - m) / factorial(l + m)) * legendre[l, m]
            columns += [scaled * real[m], scaled * imaginary[m]]
        found.append(torch.stack(columns, 1))
    return found
