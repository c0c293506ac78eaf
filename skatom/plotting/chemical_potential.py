"""The energy of a probe on a surface around a molecule, or on a plane through it."""

from __future__ import annotations

from typing import Self

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize

from skatom._typing import ArrayLike, Axes, Estimator, StructuresLike
from skatom.attribution import (
    TriangulatedSurface,
    local_chemical_potential,
    molecular_plane,
    molecular_surface,
)
from skatom.attribution.surfaces import principal_axes
from skatom.plotting._axes import draw_bonds, new_axes
from skatom.structures import as_structures

_COLORS = "viridis"
# Percentiles at the ends of the colours: a probe close to an atom has any energy.
_ENDS = 2, 98
# The light of the faces that are turned away from the eye the most.
_DARKEST = 0.55


class ChemicalPotentialDisplay:
    """A molecule, and around it the energy of a probe as colours.

    The eye looks along the shortest extent of the molecule; of a closed surface one side is seen.
    The colours end at the 2nd and 98th percentile of the energies.

    Parameters
    ----------
    structures : Structures or list of ase.Atoms
        One molecule.
    surface : TriangulatedSurface
        Where the energies are, see `molecular_surface` and `molecular_plane`.
    values : array-like of float, shape (n_points,)
        The energy at each point in eV, such as `local_chemical_potential` gives.
    name : str, default="energy of the probe (eV)"
        Label of the colour bar, with the unit.

    Attributes
    ----------
    faces_ : matplotlib.collections.PolyCollection
        The triangles that are seen, after ``plot``.
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Raises
    ------
    ValueError
        In ``plot``, if there is not one structure, or not one finite value for each point.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.attribution import molecular_plane
    >>> from skatom.plotting import ChemicalPotentialDisplay
    >>> plane = molecular_plane([molecule("H2O")], height=0.5)
    >>> display = ChemicalPotentialDisplay([molecule("H2O")], plane, plane.points[:, 1]).plot()
    >>> sorted(text.get_text() for text in display.ax_.texts)
    ['H', 'H', 'O']
    """

    def __init__(
        self,
        structures: StructuresLike,
        surface: TriangulatedSurface,
        values: ArrayLike,
        name: str = "energy of the probe (eV)",
    ) -> None:
        self.structures = structures
        self.surface = surface
        self.values = values
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: StructuresLike,
        *,
        probe: str | int = "H",
        kind: str = "probe",
        level: float = 3.8,
        height: float | None = None,
        spacing: float = 0.15,
        name: str | None = None,
        ax: Axes | None = None,
    ) -> ChemicalPotentialDisplay:
        """Plot the energy of a probe around a molecule.

        Parameters
        ----------
        estimator : fitted estimator, Pipeline or search
            A model as for `skatom.attribution.local_chemical_potential`.
        X : Structures or list of ase.Atoms
            One molecule.
        probe : str or int, default="H"
            Symbol or atomic number of the probe.
        kind : {"probe", "insertion"}, default="probe"
            See `local_chemical_potential`.
        level : float, default=3.8
            Level of the surface in Å⁻², see `molecular_surface`.
        height : float, default=None
            Draw the plane at this height in Å above the middle of the molecule, see
            `molecular_plane`, in place of the surface.
        spacing : float, default=0.15
            Spacing of the points of the surface or plane, in Å.
        name : str, default=None
            Label of the colour bar. None: the probe and the unit.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        ChemicalPotentialDisplay
        """
        if height is None:
            surface = molecular_surface(X, level, spacing)
        else:
            surface = molecular_plane(X, height, spacing=spacing)
        values = local_chemical_potential(estimator, X, surface.points, probe, kind)
        symbol = probe if isinstance(probe, str) else chemical_symbols[probe]
        return cls(X, surface, values, name or f"energy of a probe of {symbol} (eV)").plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the surface and the molecule.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        structures, values = as_structures(self.structures), np.asarray(self.values, float)
        points = self.surface.points
        if (
            len(structures) != 1
            or values.shape != points.shape[:1]
            or not np.isfinite(values).all()
        ):
            raise ValueError(
                f"values {values.shape} at {len(points)} points around {len(structures)} "
                "structures: give one structure and one finite value for each point"
            )
        self.ax_ = new_axes((4.8, 3.8)) if ax is None else ax
        self.figure_ = self.ax_.figure
        middle, axes = principal_axes(structures.positions)
        places = (structures.positions - middle) @ axes.T
        colors = self._draw_faces((points - middle) @ axes.T, values)
        radii = covalent_radii[structures.numbers]
        draw_bonds(self.ax_, structures.positions, places, radii, zorder=3)
        for number, place in zip(structures.numbers, places, strict=True):
            self.ax_.text(
                *place[:2], chemical_symbols[number], ha="center", va="center", fontsize=8,
                zorder=4, bbox={"boxstyle": "circle,pad=0.15", "fc": "w", "ec": "0.4", "lw": 0.6},
            )  # fmt: skip
        self.ax_.set_aspect("equal")
        self.ax_.autoscale_view()
        self.ax_.axis("off")
        self.figure_.colorbar(colors, ax=self.ax_, label=self.name, shrink=0.75, extend="both")
        return self

    def _draw_faces(self, points, values):
        """The triangles that face the eye, the farthest of them first; returns the colours."""
        corners = points[self.surface.triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        slopes = normals[:, 2] / np.maximum(np.linalg.norm(normals, axis=1), 1e-300)
        means = values[self.surface.triangles].mean(axis=1)
        colors = ScalarMappable(Normalize(*np.percentile(means, _ENDS)), _COLORS)
        seen = np.flatnonzero(slopes > 0)
        seen = seen[np.argsort(corners[seen, :, 2].mean(axis=1))]
        fill = colors.to_rgba(means[seen])
        fill[:, :3] *= (_DARKEST + (1 - _DARKEST) * slopes[seen])[:, None]
        self.faces_ = PolyCollection(
            corners[seen, :, :2], facecolors=fill, edgecolors=fill, linewidths=0.3, zorder=2,
            rasterized=True,
        )  # fmt: skip
        self.ax_.add_collection(self.faces_)
        return colors
