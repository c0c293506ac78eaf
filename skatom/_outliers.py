"""Which of many numbers are far outside of the others."""

import numpy as np

# The fewest numbers of which any is said to be outside, and how far "far" is.
FEWEST, FAR = 30, 10.0
# Standard deviations of a normal law that are 95 % of its numbers, about; the law's MAD.
_MOST, _TO_DEVIATION = 2.0, 1.4826


def usual(sizes):
    """A size that few of many exceed, whatever their largest are.

    It is the larger one of two standard deviations of a normal law with the median of these sizes,
    and of what 95 % of them do not exceed: the tails of errors are long.

    Parameters
    ----------
    sizes : array-like of float, shape (n,)
        Absolute values; NaN are left out.

    Returns
    -------
    float
    """
    sizes = np.asarray(sizes)
    sizes = sizes[np.isfinite(sizes)]
    return float(max(_MOST * _TO_DEVIATION * np.median(sizes), np.quantile(sizes, 0.95)))


def far_outside(sizes, far=FAR):
    """Indices of sizes that are many times the usual one, the largest first.

    Parameters
    ----------
    sizes : array-like of float, shape (n,)
        Absolute values, or NaN.
    far : float, default=10
        How many times.

    Returns
    -------
    ndarray of int
        None of fewer than `FEWEST` sizes.
    """
    sizes = np.asarray(sizes)
    if np.isfinite(sizes).sum() < FEWEST:
        return np.empty(0, int)
    known = np.nan_to_num(sizes, nan=0.0)
    chosen = np.flatnonzero(known > max(far * usual(sizes), np.finfo(float).tiny))
    return chosen[np.argsort(-known[chosen], kind="stable")]
