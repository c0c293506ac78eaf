"""Jacobians with features side by side that the same coordinates change."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from skatom._numba import callee


class Groups(NamedTuple):
    """Groups of features that the same classes of coordinates change, on both sides some."""

    edges: np.ndarray  # (n_groups + 1,): where each begins if they are side by side
    segments: np.ndarray  # (n_segments, 2): consecutive features, the first and that after the last
    segment_starts: np.ndarray  # (n_groups + 1,): where the segments of each group begin


def groups(a, b):
    """The `Groups` of features of sides with these supports (n_classes, rank).

    All blocks of a matrix have the same few.
    """
    return _groups((a != 0).tobytes(), (b != 0).tobytes(), a.shape, b.shape)


@lru_cache(maxsize=256)
def _groups(a, b, shape_a, shape_b):
    a, b = (np.frombuffer(x, bool).reshape(y) for x, y in ((a, shape_a), (b, shape_b)))
    used = a.any(axis=0) & b.any(axis=0)
    _, group = np.unique(np.vstack([a, b]).T, axis=0, return_inverse=True)
    group = np.where(used, group.ravel(), -1)
    starts = np.flatnonzero(np.diff(group, prepend=-2))
    segments = np.column_stack([starts, np.append(starts[1:], len(group))])
    segments = segments[group[starts] >= 0]
    of_segment = group[segments[:, 0]]
    order = np.argsort(of_segment, kind="stable")
    segments = segments[order]
    _, counts = np.unique(of_segment, return_counts=True)
    segment_starts = np.append(0, np.cumsum(counts))
    widths = np.append(0, np.cumsum(segments[:, 1] - segments[:, 0]))
    return Groups(widths[segment_starts], segments, segment_starts)


@callee(cache=True)
def pack_structure(jacobians, first, n_rows, groups, packed):
    """The Jacobian of a structure, whose rows begin at ``first``, with groups side by side.

    Group g has, from ``edges[g] · n_rows`` on, an array (n_dof, n_atoms, its features).
    """
    for g in range(len(groups.edges) - 1):
        place = groups.edges[g] * n_rows
        for row in range(first, first + n_rows):
            place = _copy(jacobians[row], groups, g, packed, place)


@callee(cache=True)
def pack_runs(side, first_run, groups, places, packed):
    """The Jacobians of each run and group as arrays (n_atoms, n_dof, features), and their places.

    ``places`` (n_runs of the structures, n_groups) is -1 where they are zero.
    """
    place = 0
    for s in range(len(side.n_dof)):
        n_atoms = side.starts[s + 1] - side.starts[s]
        for run in range(side.run_starts[s], side.run_starts[s + 1]):
            for g in range(len(groups.edges) - 1):
                feature = groups.segments[groups.segment_starts[g], 0]
                places[run - first_run, g] = -1
                if side.support[side.runs[run, 2], feature] == 0.0:
                    continue
                places[run - first_run, g] = place
                for j in range(n_atoms):
                    for c in range(side.runs[run, 0], side.runs[run, 1]):
                        row = side.jacobians[side.row_starts[s] + c * n_atoms + j]
                        place = _copy(row, groups, g, packed, place)


@callee(cache=True)
def _copy(row, groups, g, out, place):
    """Copy the features of a group from a row to a place; returns the next."""
    for segment in range(groups.segment_starts[g], groups.segment_starts[g + 1]):
        source = row[groups.segments[segment, 0] : groups.segments[segment, 1]]
        target = out[place : place + len(source)]
        for d in range(len(source)):  # of a sum as index, its sign would be checked
            target[d] = source[d]
        place += len(source)
    return place
