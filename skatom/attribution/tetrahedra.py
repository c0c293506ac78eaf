"""Marching tetrahedra: triangles between the nodes of a grid that are inside and the others."""

from itertools import permutations

import numpy as np

# The corners of each of the six tetrahedra of a cube: paths from one corner to the opposite one.
_PATHS = np.array(
    [
        np.cumsum([np.zeros(3, int), *np.eye(3, dtype=int)[list(p)]], axis=0)
        for p in permutations(range(3))
    ]
)


def marching_tetrahedra(inside, shape):
    """Triangles of the surface that separates the nodes of a grid.

    Parameters
    ----------
    inside : ndarray of bool, shape (n_nodes,)
    shape : ndarray of int, shape (3,)
        Of the grid; none of its outermost nodes is inside.

    Returns
    -------
    edges : ndarray of int, shape (n, 2)
        The inner and the outer node of each edge that crosses the surface.
    triangles : ndarray of int, shape (m, 3)
        The edges that have the corners of each triangle.
    """
    cubes = np.indices(shape - 1).reshape(3, -1).T
    tetrahedra = np.concatenate(
        [np.ravel_multi_index((cubes[:, None] + path).transpose(2, 0, 1), shape) for path in _PATHS]
    )
    counts = inside[tetrahedra].sum(axis=1)
    crossed = (counts > 0) & (counts < 4)
    tetrahedra, counts = tetrahedra[crossed], counts[crossed]
    # inner nodes first
    order = np.argsort(~inside[tetrahedra], axis=1, kind="stable")
    nodes = np.take_along_axis(tetrahedra, order, axis=1)
    found = [_lines(nodes[counts == n], lines) for n, lines in _LINES.items()]
    lines = np.concatenate(found)
    edges, corners = np.unique(lines.reshape(-1, 2), axis=0, return_inverse=True)
    return edges, corners.reshape(-1, 3)


# Triangles as lines from inner to outer corners, by the number of inner ones, which come first.
_LINES = {
    1: [[(0, 1), (0, 2), (0, 3)]],
    2: [[(0, 2), (0, 3), (1, 3)], [(0, 2), (1, 3), (1, 2)]],
    3: [[(0, 3), (1, 3), (2, 3)]],
}


def _lines(nodes, triangles):
    return np.concatenate([nodes[:, np.array(triangle)] for triangle in triangles])
