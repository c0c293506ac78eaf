"""Farthest points on a device."""

import torch

from skatom._device import device_of

# Squared distances that are all computed before the first step.
_NUMBERS = 2**28


def farthest_points(points, limit, begin, kernel, smallest):
    """Indices of up to ``limit`` points and their squared distances from those before, on the host.

    No step needs a number on the host, so the steps follow each other without waiting; what is
    closer than ``smallest``, a share of the largest norm and a squared distance, is cut off at the
    end.

    Parameters
    ----------
    points : Tensor, shape (n, n_features)
    limit : int
    begin : sequence of int
    kernel : DotKernel or None
    smallest : tuple of float
    """
    squares, own = _squared_distances(points, kernel)
    nearest, selected, gaps = torch.full_like(own, torch.inf), [], []
    for k in range(limit):
        if k < len(begin):
            point = torch.tensor([begin[k]], device=points.device)
            gap = nearest[point]
        else:
            gap, point = nearest.max(0, keepdim=True)
        selected.append(point)
        gaps.append(gap)
        nearest = torch.minimum(nearest, squares(point))
    gaps, device = torch.cat(gaps), device_of(points)
    apart = gaps > torch.clip(smallest[0] * own.abs().max(), min=smallest[1])
    apart[: len(begin)] = True
    kept = torch.cumprod(apart, 0).bool()
    return device.array(torch.cat(selected)[kept]), device.array(gaps[kept])


def _squared_distances(points, kernel):
    """A function of a point that gives its squared distances from all, and k(x, x) of all."""
    norms = (points * points).sum(1)

    def products(some):
        dots = points[some] @ points.T
        return dots if kernel is None else kernel.value(dots, norms[some, None], norms)

    own = norms if kernel is None else kernel.value(norms, norms, norms)
    if len(points) ** 2 > _NUMBERS:
        return lambda point: own + own[point] - 2 * products(point)[0], own
    every = products(slice(None)).mul_(-2).add_(own).add_(own[:, None])
    return lambda point: every[point][0], own
