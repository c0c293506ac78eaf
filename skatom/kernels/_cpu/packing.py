"""Jacobians with features side by side that the same coordinates change."""

import numpy as np

from skatom._numba import callee


@callee(allocates=True, cache=True)
def groups(a, b):
    """Groups of features with the same classes on both sides.

    Returns
    -------
    order : ndarray of int, shape (rank,)
        The features, group by group.
    edges : ndarray of int, shape (n_groups + 1,)
        Where the groups begin in this order.
    segments : ndarray of int, shape (n_segments, 2)
        Consecutive features of the same group, the first and the one after the last.
    segment_starts : ndarray of int, shape (n_groups + 1,)
        Where the segments of each group begin.
    """
    rank = a.shape[1]
    group, members = np.empty(rank, np.int64), np.empty(rank, np.int64)
    n_groups = 0
    for d in range(rank):
        group[d] = n_groups
        for g in range(n_groups):
            if _is_alike(a, d, members[g]) and _is_alike(b, d, members[g]):
                group[d] = g
                break
        if group[d] == n_groups:
            members[n_groups] = d
            n_groups += 1
    order, segments = np.empty(rank, np.int64), np.empty((rank, 2), np.int64)
    edges, starts = np.zeros(n_groups + 1, np.int64), np.zeros(n_groups + 1, np.int64)
    place, n_segments = 0, 0
    for g in range(n_groups):
        for d in range(rank):
            if group[d] == g:
                if d == 0 or group[d - 1] != g:
                    segments[n_segments, 0] = d
                    n_segments += 1
                segments[n_segments - 1, 1] = d + 1
                order[place] = d
                place += 1
        edges[g + 1], starts[g + 1] = place, n_segments
    return order, edges, segments[:n_segments], starts


@callee(cache=True)
def _is_alike(support, d, other):
    for e in range(len(support)):  # noqa: SIM110
        if (support[e, d] != 0.0) != (support[e, other] != 0.0):
            return False
    return True


@callee(allocates=True, cache=True)
def packed_structure(jacobian, edges, segments, segment_starts):
    """The Jacobian of a structure with the features of each group side by side.

    Group g has, from ``edges[g] · n_rows`` on, an array (n_dof, n_atoms, its features).
    """
    packed = np.empty(jacobian.size)
    for g in range(len(edges) - 1):
        place = edges[g] * len(jacobian)
        for row in range(len(jacobian)):
            place = _copy(
                jacobian[row], segments[segment_starts[g] : segment_starts[g + 1]], packed, place
            )
    return packed


@callee(allocates=True, cache=True)
def packed_runs(side, segments, segment_starts):
    """The Jacobians of each run and group as arrays (n_atoms, n_dof, features), and their places.

    The place is -1 where they are zero.
    """
    n_groups = len(segment_starts) - 1
    places = np.full((len(side.runs), n_groups), -1)
    packed = np.empty(side.jacobians.size)
    place = 0
    for s in range(len(side.n_dof)):
        n_atoms = side.starts[s + 1] - side.starts[s]
        for run in range(side.run_starts[s], side.run_starts[s + 1]):
            begin, end = side.runs[run, 0], side.runs[run, 1]
            for g in range(n_groups):
                of_group = segments[segment_starts[g] : segment_starts[g + 1]]
                if side.support[side.runs[run, 2], of_group[0, 0]] == 0.0:
                    continue
                places[run, g] = place
                for j in range(n_atoms):
                    for c in range(begin, end):
                        row = side.jacobians[side.row_starts[s] + c * n_atoms + j]
                        place = _copy(row, of_group, packed, place)
    return places, packed


@callee(cache=True)
def _copy(row, segments, out, place):
    """Copy some segments of a row to a place; returns the next."""
    for segment in range(len(segments)):
        source = row[segments[segment, 0] : segments[segment, 1]]
        target = out[place : place + len(source)]
        for d in range(len(source)):  # of a sum as index, its sign would be checked
            target[d] = source[d]
        place += len(source)
    return place
