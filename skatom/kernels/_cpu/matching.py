"""Regularised best match of the environments of two structures."""

import numpy as np

from skatom._numba import callee, njit

# Iterations after which the weights are taken as they are, and those between two tests.
_MOST, _BETWEEN = 100_000, 10


@callee(allocates=True, cache=True)
def _log_sum_exp(x):
    largest = x.max()
    return largest + np.log(np.exp(x - largest).sum())


@njit(cache=True, nogil=True)
def rematch(kernel, gamma, tolerance):
    """Σ W k of Sinkhorn's weights W for the kernel (n, m) of normalised environments.

    W minimises Σ W (d² + γ ln W), d² = 2 (1 - k), among weights of row sums 1/n and column sums
    1/m. In logarithms, W = exp(f + g - d²/γ); f and g are found by making the row and the column
    sums right in turn, first for a large γ, from which the small one is approached.
    """
    n, m = kernel.shape
    f, g = np.zeros(n), np.zeros(m)
    step = max(gamma, 0.5)
    while True:
        cost = 2 * (1 - kernel) / step
        for iteration in range(_MOST):
            for i in range(n):
                f[i] = -np.log(n) - _log_sum_exp(g - cost[i])
            for j in range(m):
                g[j] = -np.log(m) - _log_sum_exp(f - cost[:, j])
            if iteration % _BETWEEN == 0:
                error = 0.0
                for i in range(n):
                    error = max(error, abs(np.exp(f[i] + g - cost[i]).sum() - 1 / n))
                if error < tolerance / n:
                    break
        if step == gamma:
            break
        smaller = max(gamma, 0.5 * step)
        f *= step / smaller
        g *= step / smaller
        step = smaller
    total = 0.0
    for i in range(n):
        total += (np.exp(f[i] + g - cost[i]) * kernel[i]).sum()
    return total
