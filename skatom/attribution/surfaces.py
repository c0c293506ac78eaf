"""Surfaces around molecules, and planes through them, as triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, Delaunay
from scipy.spatial.distance import cdist

from skatom._typing import Array, StructuresLike
from skatom.memory import check_memory
from skatom.structures import as_structures

# Steps along a ray before bisection, and bisections of a step.
_STEPS, _HALVINGS = 200, 40
# Planes have holes of this radius at atoms, in Å.
_HOLE = 0.5


@dataclass(frozen=True)
class TriangulatedSurface:
    """Points of a surface and the triangles between them.

    `molecular_surface` and `molecular_plane` return it.

    Parameters
    ----------
    points : ndarray of float, shape (n, 3)
        In Å.
    triangles : ndarray of int, shape (m, 3)
        Indices of the corners of each triangle, counterclockwise when seen from outside.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.attribution import molecular_surface
    >>> surface = molecular_surface([molecule("H2O")], n_points=100)
    >>> surface.points.shape, surface.triangles.shape
    ((100, 3), (196, 3))
    """

    points: Array
    triangles: Array


def molecular_surface(
    X: StructuresLike, level: float = 3.8, n_points: int = 2000
) -> TriangulatedSurface:
    r"""A smooth surface around a molecule, close to its atoms.

    .. math:: \Big\{ r : \sum_i \frac{1}{|r - R_i|^2} = c \Big\}

    It is found along rays from the middle of the molecule, each of which has its outermost point.

    Parameters
    ----------
    X : Structures or list of ase.Atoms
        One molecule.
    level : float, default=3.8
        The level c in Å⁻², that of [1]_; surfaces of lower levels are farther from the atoms.
    n_points : int, default=2000
        Number of rays, whose directions are evenly distributed.

    Returns
    -------
    TriangulatedSurface

    Raises
    ------
    ValueError
        If there is not one molecule, or the surface does not enclose its middle.

    References
    ----------
    .. [1] K. T. Schütt, F. Arbabzadah, S. Chmiela, K.-R. Müller, A. Tkatchenko, Nat. Commun. 8,
       13890 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from ase import Atoms
    >>> from skatom.attribution import molecular_surface
    >>> sphere = molecular_surface([Atoms("O")], level=0.25)
    >>> np.linalg.norm(sphere.points, axis=1).round(6).min()
    np.float64(2.0)
    """
    structure = _molecule(X)
    if not (np.isfinite(level) and level > 0):
        raise ValueError(f"level={level} must be a positive number in Å⁻²")
    if n_points < 4:
        raise ValueError(f"n_points={n_points} must be at least 4, the corners of a tetrahedron")
    positions = structure.positions
    check_memory(
        16.0 * n_points * _STEPS * len(positions),
        f"{_STEPS} distances of {len(positions)} atoms along {n_points} rays",
        "lower n_points",
    )
    middle = positions.mean(axis=0)
    reach = np.linalg.norm(positions - middle, axis=1).max() + np.sqrt(len(positions) / level)
    directions = _even_directions(n_points)
    radii = _outermost(positions - middle, directions, reach, level)
    return TriangulatedSurface(middle + radii[:, None] * directions, _sphere(directions))


def molecular_plane(
    X: StructuresLike, height: float = 0.0, margin: float = 2.0, spacing: float = 0.1
) -> TriangulatedSurface:
    """A plane along the largest extent of a molecule.

    Parameters
    ----------
    X : Structures or list of ase.Atoms
        One molecule.
    height : float, default=0.0
        Distance from the middle of the molecule in Å, to the side from which
        `skatom.plotting.ChemicalPotentialDisplay` shows it.
    margin : float, default=2.0
        How far the plane goes beyond the outermost atoms, in Å.
    spacing : float, default=0.1
        Distance of its points in Å. There are holes around atoms closer than 0.5 Å.

    Returns
    -------
    TriangulatedSurface

    Raises
    ------
    ValueError
        If there is not one molecule, or a length is not finite and, but for the height, positive.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.attribution import molecular_plane
    >>> plane = molecular_plane([molecule("C6H6")], height=1.0)
    >>> abs(plane.points[:, 2]).round(6).min(), abs(plane.points[:, 2]).round(6).max()
    (np.float64(1.0), np.float64(1.0))
    """
    structure = _molecule(X)
    if not (np.isfinite(height) and 0 < margin < np.inf and 0 < spacing < np.inf):
        raise ValueError(
            f"height={height}, margin={margin} and spacing={spacing} must be finite lengths in Å, "
            "and the last two positive"
        )
    middle, axes = principal_axes(structure.positions)
    places = (structure.positions - middle) @ axes.T
    low, high = places[:, :2].min(axis=0) - margin, places[:, :2].max(axis=0) + margin
    n = np.prod((high - low) / spacing + 1)
    check_memory(
        400.0 * n + 8.0 * n * len(places), f"a plane of {n:.0f} points", "set a larger spacing"
    )
    lines = [
        np.linspace(a, b, max(2, round((b - a) / spacing) + 1))
        for a, b in zip(low, high, strict=True)
    ]
    flat = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 2)
    own = np.column_stack([flat, np.full(len(flat), height)])
    outside = cdist(own, places).min(axis=1) >= _HOLE
    # triangles over a hole end at a point that is none
    triangles = Delaunay(flat).simplices
    kept = triangles[outside[triangles].all(axis=1)]
    return TriangulatedSurface(
        middle + own[outside] @ axes, (np.cumsum(outside) - 1)[kept].astype(int)
    )


def principal_axes(positions):
    """The middle of a molecule and its principal axes, the third of which is the depth.

    Parameters
    ----------
    positions : ndarray of float, shape (n_atoms, 3)

    Returns
    -------
    middle : ndarray of float, shape (3,)
    axes : ndarray of float, shape (3, 3)
        Rows; the first two point to where the farthest atom is, so that pictures do not depend on
        signs, and the third is such that pictures are no mirror images.
    """
    middle = positions.mean(axis=0)
    axes = np.linalg.svd(positions - middle, full_matrices=True)[2]
    places = (positions - middle) @ axes[:2].T
    farthest = np.abs(places).argmax(axis=0)
    signs = np.sign(places[farthest, np.arange(2)])
    first, second = axes[:2] * np.where(signs == 0, 1.0, signs)[:, None]
    return middle, np.array([first, second, np.cross(first, second)])


def _molecule(X):
    structure = as_structures(X)
    if len(structure) != 1 or structure.pbc.any():
        raise ValueError(
            f"got {len(structure)} structures, {int(structure.pbc.any(axis=1).sum())} of them "
            "periodic: give one molecule, of pbc=False"
        )
    return structure


def _even_directions(n):
    """Directions along a spiral, whose points have equal areas of the sphere."""
    k = np.arange(n) + 0.5
    z = 1 - 2 * k / n
    angle = np.pi * (1 + np.sqrt(5)) * k
    radius = np.sqrt(1 - z**2)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), z])


def _sphere(directions):
    """Triangles between directions, counterclockwise when seen from outside."""
    triangles = ConvexHull(directions).simplices.astype(int)
    inwards = np.linalg.det(directions[triangles]) < 0
    triangles[inwards] = triangles[inwards, ::-1]
    return triangles


def _outermost(places, directions, reach, level):
    """The largest distance along each ray where the sum of inverse squares has a level."""

    def excess(radii):
        points = radii[..., None] * directions
        shape = points.shape[:-1]
        squares = cdist(points.reshape(-1, 3), places, "sqeuclidean")
        with np.errstate(divide="ignore"):
            return (1 / squares).sum(axis=1).reshape(shape) - level

    steps = np.linspace(0, reach, _STEPS + 1)
    inside = np.array([excess(np.full(len(directions), step)) >= 0 for step in steps])
    if not inside.any(axis=0).all():
        raise ValueError(
            f"the surface of level={level} does not enclose the middle of the molecule: set a "
            "lower level"
        )
    last = _STEPS - inside[::-1].argmax(axis=0)
    low, high = steps[last], steps[np.minimum(last + 1, _STEPS)]
    for _ in range(_HALVINGS):
        between = (low + high) / 2
        beyond = excess(between) < 0
        low, high = np.where(beyond, low, between), np.where(beyond, between, high)
    return (low + high) / 2
