"""Phase diagrams of two and three elements."""

from __future__ import annotations

import re
from typing import Self

import numpy as np
from ase.data import chemical_symbols
from matplotlib.patheffects import withStroke

from skatom._typing import Axes
from skatom.plotting._axes import draw_grid, new_axes
from skatom.stability import PhaseDiagram

# eV/atom: compounds that are farther from the hull have one colour
_FAR = 0.2
# corners of the triangle of three elements
_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])

_SIZE = 8  # of names
_HALO = [withStroke(linewidth=2, foreground="white")]
# where a name may be beside its point, in the order of preference
_SIDES = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]


class PhaseDiagramDisplay:
    """A phase diagram of two or three elements.

    Of two elements: formation energies against the composition, and the hull. Of three:
    compositions in a triangle, with lines between stable phases that exist beside each other.
    Stable phases have their names; the others are coloured by the distance from the hull.

    Parameters
    ----------
    diagram : PhaseDiagram
        The fitted phase diagram.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Raises
    ------
    ValueError
        In ``plot``, if there are more than three elements or only one.

    Examples
    --------
    >>> from skatom.plotting import PhaseDiagramDisplay
    >>> from skatom.stability import PhaseDiagram
    >>> diagram = PhaseDiagram(0.0, per_atom=True).fit(["NaCl", "NaCl3"], [-1.0, -0.4])
    >>> PhaseDiagramDisplay(diagram).plot().ax_.get_xlabel()
    'fraction of Cl'
    """

    def __init__(self, diagram: PhaseDiagram) -> None:
        self.diagram = diagram

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the diagram.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        elements = [chemical_symbols[z] for z in self.diagram.species_]
        if len(elements) not in (2, 3):
            raise ValueError(
                f"the phase diagram has {len(elements)} elements ({', '.join(elements)}), and "
                "plots have two or three: fit one to the entries of these"
            )
        self.ax_ = new_axes((5.0, 3.8 if len(elements) == 2 else 4.2)) if ax is None else ax
        self.figure_ = self.ax_.figure
        draw = self._draw_line if len(elements) == 2 else self._draw_triangle
        draw(elements)
        return self

    def _draw_line(self, elements):
        found, ax = self.diagram, self.ax_
        points = np.stack([found.fractions_[:, 1], found.formation_energies_], axis=1)
        corners = points[found.stable_]
        corners = corners[np.argsort(corners[:, 0])]
        ax.plot(*corners.T, lw=1.2, color="C0", zorder=1)
        self._draw_points(points)
        ax.set(xlabel=f"fraction of {elements[1]}", ylabel="formation energy (eV/atom)")
        ax.margins(0.08, 0.12)
        draw_grid(ax)

    def _draw_triangle(self, elements):
        found, ax = self.diagram, self.ax_
        points = found.fractions_ @ _CORNERS
        for pair in found.tie_lines():
            ax.plot(*points[pair].T, lw=0.9, color="C0", zorder=1)
        ax.plot(*_CORNERS[[0, 1, 2, 0]].T, lw=0.9, color="C0", zorder=1)
        self._draw_points(points)
        ax.set_aspect("equal")
        ax.margins(0.1)
        ax.set_axis_off()

    def _draw_points(self, points):
        found, ax = self.diagram, self.ax_
        others = np.flatnonzero(found.distances_ > 0)
        others = others[np.argsort(-found.distances_[others], kind="stable")]  # the nearest on top
        if len(others):
            drawn = ax.scatter(
                *points[others].T, c=found.distances_[others], s=14, cmap="viridis_r", vmin=0,
                vmax=min(_FAR, found.distances_.max()), marker="s", zorder=2,
            )  # fmt: skip
            extend = "max" if found.distances_.max() > _FAR else "neither"
            self.figure_.colorbar(
                drawn, ax=ax, label="distance from the hull (eV/atom)", extend=extend, shrink=0.8
            )
        ax.plot(*points[found.stable_].T, "o", color="C3", markersize=5, zorder=3)
        self._draw_names(points)

    def _draw_names(self, points):
        """Names beside the stable phases, where they hide no point and no other name."""
        found, ax = self.diagram, self.ax_
        ax.autoscale_view()
        places = ax.transData.transform(points) * 72 / self.figure_.dpi  # points of the page
        taken = [(*place, 3.0, 3.0) for place in places]
        for entry in found.stable_:
            size = 0.55 * _SIZE * len(str(found.names_[entry])), _SIZE
            boxes = [_beside(places[entry], *size, *side) for side in _SIDES]
            hidden = [sum(_overlap(box, other) for other in taken) for box in boxes]
            # rather outside of the diagram
            inside = np.array(_SIDES) @ (places.mean(axis=0) - places[entry])
            at_edge = (found.fractions_[entry] == 0).any()
            side = int(np.argmin(np.round(hidden, 1) + at_edge * 1e-3 * inside))
            taken.append(boxes[side])
            ax.annotate(
                _as_text(found.names_[entry]), points[entry],
                np.subtract(boxes[side][:2], places[entry]), textcoords="offset points",
                ha="center", va="center", fontsize=_SIZE, zorder=4, path_effects=_HALO,
            )  # fmt: skip


def _beside(place, width, height, x, y):
    """The box (x, y of its middle, half width and height) of a name beside a point."""
    return place[0] + x * (width / 2 + 5), place[1] + y * (height / 2 + 5), width / 2, height / 2


def _overlap(one, other):
    """The area that two boxes have in common."""
    x = one[2] + other[2] - abs(one[0] - other[0])
    y = one[3] + other[3] - abs(one[1] - other[1])
    return max(x, 0.0) * max(y, 0.0)


def _as_text(formula: str) -> str:
    """A formula with its numbers as subscripts."""
    return re.sub(r"(\d+(?:\.\d+)?)", r"$_{\1}$", str(formula))
