"""Surfaces around molecules, and planes through them, as triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import Delaunay
from scipy.spatial.distance import cdist

from skatom._typing import Array, StructuresLike
from skatom.attribution.tetrahedra import marching_tetrahedra
from skatom.memory import check_memory
from skatom.structures import as_structures

# Bisections of a line that crosses a surface.
_HALVINGS = 40
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
    >>> surface = molecular_surface([molecule("H2O")])
    >>> bool(len(surface.triangles) == 2 * len(surface.points) - 4)  # those of a sphere
    True
    """

    points: Array
    triangles: Array


def molecular_surface(
    X: StructuresLike, level: float = 3.8, spacing: float = 0.15
) -> TriangulatedSurface:
    r"""A smooth surface around a molecule, close to its atoms.

    .. math:: \Big\{ r : \sum_i \frac{1}{|r - R_i|^2} = c \Big\}

    The triangles are those of marching tetrahedra, whose corners are on the surface.

    Parameters
    ----------
    X : Structures or list of ase.Atoms
        One molecule.
    level : float, default=3.8
        The level c in Å⁻², that of [1]_; surfaces of lower levels are farther from the atoms.
    spacing : float, default=0.15
        Spacing in Å of the grid that is searched; of several surfaces, those of atoms far apart for
        example, all are found that are larger.

    Returns
    -------
    TriangulatedSurface

    Raises
    ------
    ValueError
        If there is not one molecule, or a number is not positive.
    MemoryError
        If the grid does not fit in memory.

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
    if not (0 < level < np.inf and 0 < spacing < np.inf):
        raise ValueError(
            f"level={level} and spacing={spacing} must be positive numbers, in Å⁻² and in Å"
        )
    atoms = structure.positions
    margin = np.sqrt(len(atoms) / level) + spacing
    low, high = atoms.min(axis=0) - margin, atoms.max(axis=0) + margin
    shape = np.ceil((high - low) / spacing).astype(int) + 1
    check_memory(
        (16.0 * len(atoms) + 600.0) * np.prod(shape.astype(float)),
        f"a grid of {' x '.join(map(str, shape))} points around {len(atoms)} atoms",
        "set a larger spacing",
    )
    nodes = low + spacing * np.stack(np.indices(shape), axis=-1).reshape(-1, 3)
    edges, triangles = marching_tetrahedra(_inverse_squares(nodes, atoms) >= level, shape)
    points = _on_level(nodes[edges], atoms, level)
    return TriangulatedSurface(points, _turned_outwards(points, triangles, atoms))


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


def _inverse_squares(points, atoms):
    with np.errstate(divide="ignore"):
        return (1 / cdist(points, atoms, "sqeuclidean")).sum(axis=1)


def _on_level(ends, atoms, level):
    """Points of the surface between the inner and the outer ends (n, 2, 3) of lines."""
    inner, outer = ends[:, 0], ends[:, 1]
    for _ in range(_HALVINGS):
        between = (inner + outer) / 2
        beyond = (_inverse_squares(between, atoms) < level)[:, None]
        inner, outer = np.where(beyond, inner, between), np.where(beyond, between, outer)
    return (inner + outer) / 2


def _turned_outwards(points, triangles, atoms):
    """The triangles with their corners counterclockwise when seen from outside."""
    corners = points[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middles = corners.mean(axis=1)
    weights = cdist(middles, atoms, "sqeuclidean") ** -2
    outwards = weights.sum(axis=1)[:, None] * middles - weights @ atoms
    inwards = (normals * outwards).sum(axis=1) < 0
    triangles[inwards] = triangles[inwards, ::-1]
    return triangles
