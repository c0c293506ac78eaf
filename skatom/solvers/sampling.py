"""Greedy selection of a few points that represent many."""

from collections import deque
from importlib import import_module

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from skatom._device import is_tensor
from skatom.parallel import split_rows, threads_over_blas

# Squared distances below this share of the largest norm are rounding error: the points are equal.
_EQUAL = 1e-13
# What is left of a matrix is rounding error below this share of its trace.
EXHAUSTED = 1e-13
# Products of all points with each other, up to so many points and so many for each that is
# selected, take less time than those with one point after the other, and threads share them.
_TOGETHER, _EACH, _ROWS = 2048, 12, 128
# Above this size, leading eigenvectors come from Lanczos' method.
_DENSE = 400


def farthest_points(points, limit, begin, kernel=None, min_distance=0.0):
    """Indices of up to ``limit`` points, those in ``begin`` first, and their distances.

    Parameters
    ----------
    points : ndarray of float or Tensor, shape (n, n_features)
        The points, one a row.
    limit : int
        Largest number of points to select.
    begin : sequence of int
        Indices of the first points.
    kernel : Kernel, default=None
        Kernel of the metric. None: the Euclidean distance.
    min_distance : float, default=0.0
        Stop when all points are closer than this to a selected point.

    Returns
    -------
    selected : ndarray of int, shape (n_selected,)
    distances : ndarray of float, shape (n_selected,)
        Distance of each point from the points selected before it.
    """
    if is_tensor(points):
        on_device = import_module("skatom.solvers._torch.sampling").farthest_points
        smallest = _EQUAL, min_distance**2
        selected, squares = on_device(points, limit, begin, kernel, smallest)
        return selected, np.sqrt(np.maximum(squares, 0.0))
    norms = np.einsum("ij,ij->i", points, points)
    own = norms if kernel is None else kernel.value(norms, norms, norms)
    nearest = np.full(len(points), np.inf)
    smallest = max(min_distance**2, _EQUAL * np.abs(own).max())
    products_with = _products(points, limit)
    selected, distances = [], []
    while len(selected) < limit:
        if len(selected) < len(begin):
            point = int(begin[len(selected)])
        else:
            point = int(np.argmax(nearest))
            if nearest[point] <= smallest:
                break
        selected.append(point)
        distances.append(np.sqrt(max(nearest[point], 0.0)))
        products = products_with(point)
        if kernel is not None:
            products = kernel.value(products, norms, norms[point])
        np.minimum(nearest, own + own[point] - 2 * products, out=nearest)
    return np.array(selected, dtype=np.int64), np.array(distances)


def _products(points, limit):
    """A function that gives the products of all points with one."""
    n = len(points)
    if n > min(_TOGETHER, _EACH * limit):
        return lambda point: points @ points[point]
    matrix = np.empty((n, n))

    def fill(rows):
        products = points[rows] @ points[: rows.stop].T
        matrix[rows, : rows.stop] = products
        matrix[: rows.stop, rows] = products.T

    with threads_over_blas() as team:
        deque(team.map(fill, split_rows(n, _ROWS)), 0)
    return matrix.__getitem__


def greedy_cur(points, limit, n_components=1, begin=()):
    """Indices of up to ``limit`` rows of points (n, n_features), in the order of selection.

    Those of ``begin`` are the first. The leading right singular vectors of the deflated matrix are
    orthogonal to all selected rows, so their products with the original and with the deflated
    matrix are equal, and the points themselves are never changed.
    """
    tall = len(points) > points.shape[1]
    gram = points.T @ points if tall else points @ points.T
    smallest = EXHAUSTED * np.trace(gram)
    free = np.ones(len(points), bool)
    basis, selected = np.empty((0, points.shape[1])), []
    while len(selected) < limit and np.trace(gram) > smallest and free.any():
        if len(selected) < len(begin):
            row = int(begin[len(selected)])
        else:
            scale, left = _leading_vectors(gram, n_components)
            if tall:
                left = points @ (left / np.sqrt(scale))
            scores = (left**2).sum(axis=1) * free
            row = int(np.argmax(scores))
            if scores[row] <= 0.0:
                break
        selected.append(row)
        free[row] = False
        if tall:
            basis = _remove_direction(gram, basis, points[row])
        else:
            _remove_row(gram, row)
    selected += [int(row) for row in begin[len(selected) :]]
    return farthest_points(points, limit, selected or [0])[0]


def _leading_vectors(gram, n_components):
    """Leading eigenvalues and eigenvectors, without those that are rounding error."""
    n = len(gram)
    count = min(n_components, n)
    if n <= _DENSE or count > n // 10:
        scale, vectors = eigh(gram, subset_by_index=[n - count, n - 1])
    else:
        scale, vectors = eigsh(gram, count, v0=gram.sum(axis=0))
    kept = scale > EXHAUSTED * scale[-1]
    return scale[kept], vectors[:, kept]


def _remove_direction(gram, basis, row):
    """Remove the new part of a row from the features' Gram matrix, and add it to the basis."""
    smallest = np.sqrt(EXHAUSTED) * np.linalg.norm(row)
    for _ in range(2):  # once more for what rounding left
        row = row - basis.T @ (basis @ row)
        length = np.linalg.norm(row)
        if length <= smallest:  # nothing new
            return basis
        row, smallest = row / length, 0.0
    image = gram @ row
    gram -= np.outer(row, image)
    gram -= np.outer(image - row * (row @ image), row)
    return np.vstack([basis, row])


def _remove_row(gram, row):
    """Make all other points orthogonal to a row in their own Gram matrix."""
    if gram[row, row] > 0:
        gram -= np.outer(gram[:, row], gram[row]) / gram[row, row]
    gram[row] = gram[:, row] = 0.0
