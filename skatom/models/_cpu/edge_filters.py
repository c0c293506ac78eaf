"""Filters of the vectors of edges, see `_torch.networks.vector_filters`."""

from skatom._numba import njit


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def slopes_of_filters(g, radial, slopes, directions, distances, out):
    """The derivatives (n_edges, 3) by vectors of the sum of g times the filters."""
    for e in range(len(g)):
        x, y, z = directions[e, 0], directions[e, 1], directions[e, 2]
        r = distances[e, 0]
        change, of_x, of_y, of_z = r * 0, r * 0, r * 0, r * 0
        for f in range(g.shape[2]):
            across = radial[e, 1, f] / r
            along = x * g[e, 1, f] + y * g[e, 2, f] + z * g[e, 3, f]
            change += g[e, 0, f] * slopes[e, 0, f] + along * (slopes[e, 1, f] - across)
            of_x += g[e, 1, f] * across
            of_y += g[e, 2, f] * across
            of_z += g[e, 3, f] * across
        for k in range(4, g.shape[1]):
            for f in range(g.shape[2]):
                change += g[e, k, f] * slopes[e, k - 2, f]
        out[e, 0] = x * change + of_x
        out[e, 1] = y * change + of_y
        out[e, 2] = z * change + of_z


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def tangents_of_filters(t, g, radial, slopes, directions, distances, of_g, of_radial, of_slopes):
    """The derivatives of `slopes_of_filters`, times t, by g, radial functions and slopes."""
    for e in range(len(g)):
        x, y, z = directions[e, 0], directions[e, 1], directions[e, 2]
        r = distances[e, 0]
        t_x, t_y, t_z = t[e, 0] / r, t[e, 1] / r, t[e, 2] / r
        change = t[e, 0] * x + t[e, 1] * y + t[e, 2] * z
        turn = change / r
        for f in range(g.shape[2]):
            along = x * g[e, 1, f] + y * g[e, 2, f] + z * g[e, 3, f]
            b = radial[e, 1, f]
            own = change * slopes[e, 1, f] - turn * b
            of_g[e, 0, f] = change * slopes[e, 0, f]
            of_g[e, 1, f] = t_x * b + x * own
            of_g[e, 2, f] = t_y * b + y * own
            of_g[e, 3, f] = t_z * b + z * own
            of_slopes[e, 0, f] = change * g[e, 0, f]
            of_slopes[e, 1, f] = change * along
            of_radial[e, 0, f] = 0
            of_radial[e, 1, f] = (
                t_x * g[e, 1, f] + t_y * g[e, 2, f] + t_z * g[e, 3, f] - turn * along
            )
        for k in range(4, g.shape[1]):
            for f in range(g.shape[2]):
                of_g[e, k, f] = change * slopes[e, k - 2, f]
                of_slopes[e, k - 2, f] = change * g[e, k, f]
                of_radial[e, k - 2, f] = 0
