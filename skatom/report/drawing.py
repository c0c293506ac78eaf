"""Structures as vector graphics that can be turned with the mouse."""

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from scipy.spatial import cKDTree

_SIZE = 300  # pixels
# Structures of more atoms are drawn around the atom of the largest error.
MOST_DRAWN = 300
# Two atoms are joined up to this many times the sum of their radii.
_BOND = 1.2
_RADIUS = 0.42  # drawn, of the covalent radius
# Length of the longest arrow relative to the size of the drawing.
_ARROW = 0.15
_DOWN = np.array([1, -1, 1])  # the second axis of graphics points down


def draw(numbers, positions, cell=None, arrows=None, label=""):
    """A structure seen along its shortest principal axis, as SVG.

    Parameters
    ----------
    numbers : ndarray of int, shape (n_atoms,)
    positions : ndarray of float, shape (n_atoms, 3)
        In Å.
    cell : ndarray of float, shape (3, 3), default=None
        Cell vectors to draw, or None.
    arrows : ndarray of float, shape (n_atoms, 3), default=None
        Vectors to draw at the atoms, such as errors of forces; the longest has a fixed length.
    label : str, default=""
        Text for readers who do not see the drawing, already escaped.

    Returns
    -------
    str
        An ``svg`` element. Every line and circle carries its ends in space, from which the script
        of the page draws the structure again when it is turned.
    """
    shown = _nearest(positions, arrows)
    numbers, positions = numbers[shown], positions[shown]
    corners = _corners(cell)
    center = 0.5 * (positions.max(axis=0) + positions.min(axis=0))
    everything = np.concatenate([positions, corners.reshape(-1, 3)]) - center
    scale = 0.5 * _SIZE / (np.linalg.norm(everything, axis=1).max() + 0.8)
    turn = _principal_axes(positions)

    def place(points):
        return (points - center) @ turn * scale * _DOWN

    lines = [("c", *ends) for ends in place(corners)]
    ends = place(positions)
    lines += [("b", ends[i], ends[j]) for i, j in _bonds(numbers, positions)]
    if arrows is not None:
        longest = np.linalg.norm(arrows, axis=1).max()
        if longest > 0:
            tips = ends + arrows[shown] @ turn * _DOWN * (_ARROW * _SIZE / longest)
            lines += [("a", a, b) for a, b in zip(ends, tips, strict=True)]
    return _svg(lines, ends, numbers, scale, label)


def _nearest(positions, arrows):
    """The atoms to draw."""
    if len(positions) <= MOST_DRAWN:
        return np.arange(len(positions))
    sizes = np.zeros(len(positions)) if arrows is None else np.linalg.norm(arrows, axis=1)
    distances = np.linalg.norm(positions - positions[np.argmax(sizes)], axis=1)
    return np.sort(np.argsort(distances, kind="stable")[:MOST_DRAWN])


def _corners(cell):
    """The twelve edges of a cell, (12, 2, 3)."""
    if cell is None or np.linalg.matrix_rank(cell) < 3:
        return np.empty((0, 2, 3))
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    edges = [
        (a, b) for a in range(8) for b in range(a) if np.abs(corners[a] - corners[b]).sum() == 1
    ]
    return (corners @ cell)[np.array(edges)]


def _principal_axes(positions):
    """A rotation that has the largest extents in the plane and the smallest along the view."""
    _, _, axes = np.linalg.svd(positions - positions.mean(axis=0), full_matrices=True)
    axes = axes * np.array([1, 1, np.sign(np.linalg.det(axes))])[:, None]
    return axes.T


def _bonds(numbers, positions):
    if len(numbers) < 2:
        return []
    radii = covalent_radii[numbers]
    pairs = cKDTree(positions).query_pairs(2 * _BOND * radii.max(), output_type="ndarray")
    lengths = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    return pairs[lengths < _BOND * (radii[pairs[:, 0]] + radii[pairs[:, 1]])]


def _svg(lines, ends, numbers, scale, label):
    """The elements from back to front; the script sorts them again."""
    parts = [(0.5 * (a[2] + b[2]) + (1e3 if kind == "a" else 0), _line(kind, a, b))
             for kind, a, b in lines]  # fmt: skip
    parts += [(end[2] + 1e-3, _circle(end, z, scale)) for end, z in zip(ends, numbers, strict=True)]
    parts.sort(key=lambda part: part[0])
    half = _SIZE // 2
    return (
        f'<svg class="atoms" viewBox="{-half} {-half} {_SIZE} {_SIZE}" role="img" '
        f'aria-label="{label}">{"".join(part for _, part in parts)}</svg>'
    )


def _line(kind, a, b):
    data = ",".join(f"{x:.1f}" for x in (*a, *b))
    return (
        f'<line class="{kind}" data-p="{data}" x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" '
        f'y2="{b[1]:.1f}"/>'
    )


def _circle(end, z, scale):
    data = ",".join(f"{x:.1f}" for x in end)
    color = "#{:02x}{:02x}{:02x}".format(*(int(255 * c) for c in jmol_colors[z]))
    radius = _RADIUS * covalent_radii[z] * scale
    return (
        f'<circle data-p="{data}" cx="{end[0]:.1f}" cy="{end[1]:.1f}" r="{radius:.1f}" '
        f'fill="{color}"><title>{chemical_symbols[z]}</title></circle>'
    )
