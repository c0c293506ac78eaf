"""The Laplacian kernel of two arrays."""

import numpy as np

from skatom._cpu.elementwise import exponential
from skatom._numba import njit

# Columns whose sums are in the nearest cache together.
_WIDTH = 64


@njit(cache=True, nogil=True)
def laplacian(x, y, rate, out):
    """out[i, j] = exp(-rate Σ_f |x[i, f] - y[j, f]|), for a number of features divisible by four.

    Two rows and four features at a time: a number that is loaded serves two sums, and a sum is
    loaded once for four features.
    """
    n, m, n_features = len(x), len(y), x.shape[1]
    tile, powers = np.empty((n_features, _WIDTH)), np.empty(_WIDTH, np.int64)
    first, second = np.empty(_WIDTH), np.empty(_WIDTH)
    for start in range(0, m, _WIDTH):
        width = min(_WIDTH, m - start)
        for j in range(width):
            for f in range(n_features):
                tile[f, j] = y[start + j, f]
        for i in range(0, n, 2):
            k = min(i + 1, n - 1)  # the last row twice, if their number is odd
            first[:] = 0.0
            second[:] = 0.0
            for f in range(0, n_features, 4):
                p0, p1, p2, p3 = x[i, f], x[i, f + 1], x[i, f + 2], x[i, f + 3]
                q0, q1, q2, q3 = x[k, f], x[k, f + 1], x[k, f + 2], x[k, f + 3]
                for j in range(width):
                    y0, y1, y2, y3 = tile[f, j], tile[f + 1, j], tile[f + 2, j], tile[f + 3, j]
                    first[j] += (abs(p0 - y0) + abs(p1 - y1)) + (abs(p2 - y2) + abs(p3 - y3))
                    second[j] += (abs(q0 - y0) + abs(q1 - y1)) + (abs(q2 - y2) + abs(q3 - y3))
            for j in range(width):
                first[j] *= -rate
                second[j] *= -rate
            exponential(first[:width], powers[:width], out[i, start : start + width])
            exponential(second[:width], powers[:width], out[k, start : start + width])
