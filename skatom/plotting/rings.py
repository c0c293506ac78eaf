"""Rings of atoms in order of their energies."""

from __future__ import annotations

from typing import Self

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from matplotlib.patches import Polygon

from skatom._typing import Axes, Estimator, StructuresLike
from skatom.attribution import RankedRings, ring_energies
from skatom.attribution.surfaces import principal_axes
from skatom.plotting._axes import draw_bonds, new_axes
from skatom.structures import as_structures

_FILL = "tab:orange"
# Rings in a row, the space between molecules in Å, the size of a molecule in inches, and the
# distance of rows in that of columns.
_IN_A_ROW, _SPACE, _SIZE, _ROW = 6, 2.0, 1.5, 1.15


class RankedRingsDisplay:
    """Molecules with a coloured ring each, from the most stable ring to the least stable one.

    Below the first ring is its energy in eV, and below others by how much they are above it. Each
    ring is seen from above, with its first atom at the top.

    Parameters
    ----------
    structures : Structures or list of ase.Atoms
        The molecules.
    rings : RankedRings
        Their rings, see `skatom.attribution.ring_energies`.
    n_rings : int, default=6
        How many of them are drawn, from the first one to the last one in steps that are as equal as
        possible.

    Attributes
    ----------
    rings_ : list of matplotlib.patches.Polygon
        The rings that are drawn, after ``plot``.
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Raises
    ------
    ValueError
        In ``plot``, if there is no ring, or n_rings is smaller than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import molecule
    >>> from skatom.attribution import RankedRings
    >>> from skatom.plotting import RankedRingsDisplay
    >>> molecules = [molecule("C6H6"), molecule("C6H6")]
    >>> rings = RankedRings(np.array([1, 0]), np.tile(np.arange(6), (2, 1)), np.array([-9.0, -8.5]))
    >>> display = RankedRingsDisplay(molecules, rings).plot()
    >>> [text.get_text() for text in display.ax_.texts][-1]
    '+0.50'
    """

    def __init__(self, structures: StructuresLike, rings: RankedRings, n_rings: int = 6) -> None:
        self.structures = structures
        self.rings = rings
        self.n_rings = n_rings

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: StructuresLike,
        *,
        symbol: str = "C",
        size: int = 6,
        n_rings: int = 6,
        ax: Axes | None = None,
    ) -> RankedRingsDisplay:
        """Rank the rings of some molecules and plot them.

        Parameters
        ----------
        estimator : fitted estimator, Pipeline or search
            A model as for `skatom.attribution.ring_energies`.
        X : Structures or list of ase.Atoms
            Molecules.
        symbol : str, default="C"
            Element of all atoms of the rings.
        size : int, default=6
            Number of their atoms, at least 3.
        n_rings : int, default=6
            How many of them are drawn.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        RankedRingsDisplay
        """
        return cls(X, ring_energies(estimator, X, symbol, size), n_rings).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the molecules and the rings.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        structures, rings = as_structures(self.structures), self.rings
        n = len(rings.energies)
        if not n or self.n_rings < 1:
            raise ValueError(
                f"n_rings={self.n_rings} of {n} rings are to be drawn: give molecules with rings "
                "of this element and size, and n_rings of at least 1"
            )
        chosen = np.unique(np.linspace(0, n - 1, min(self.n_rings, n)).round().astype(int))
        width = _SIZE * min(len(chosen), _IN_A_ROW)
        n_rows = -(-len(chosen) // _IN_A_ROW)
        self.ax_ = new_axes((width, _ROW * _SIZE * n_rows)) if ax is None else ax
        self.figure_ = self.ax_.figure
        views = [self._view(structures, k) for k in chosen]
        # all of one size, so that molecules can be compared
        step = max(np.ptp(places, axis=0)[:2].max() for _, places, _ in views) + _SPACE
        self.rings_ = []
        for place, (k, view) in enumerate(zip(chosen, views, strict=True)):
            row, column = divmod(place, _IN_A_ROW)
            self._draw(view, step * np.array([column, -_ROW * row, 0]))
            self.ax_.text(
                column * step, -(_ROW * row + 0.52) * step, self._label(k), ha="center", va="center"
            )
        self.ax_.set_aspect("equal")
        self.ax_.autoscale_view()
        self.ax_.margins(0.03)
        self.ax_.axis("off")
        return self

    def _label(self, k):
        """The energy of the first ring, and by how much others are above it."""
        energies = self.rings.energies
        return f"{energies[0]:.2f} eV" if k == 0 else f"{energies[k] - energies[0]:+.2f}"

    def _view(self, structures, k):
        """A molecule, the places of its atoms seen from above a ring, and the atoms of the ring."""
        one, ring = structures[int(self.rings.structures[k])], self.rings.atoms[k]
        middle, axes = principal_axes(one.positions[ring])
        # the first atom of the ring is at its top
        up = (one.positions[ring[0]] - middle) @ axes[:2].T @ axes[:2]
        up /= np.linalg.norm(up)
        places = one.positions @ np.array([np.cross(up, axes[2]), up, axes[2]]).T
        return one, places - (places.min(axis=0) + places.max(axis=0)) / 2, ring

    def _draw(self, view, shift):
        one, places, ring = view
        places = places + shift
        radii = covalent_radii[one.numbers]
        patch = Polygon(places[ring, :2], facecolor=_FILL, alpha=0.45, zorder=0)
        self.rings_.append(self.ax_.add_patch(patch))
        draw_bonds(self.ax_, one.positions, places, radii)
        for number, place in zip(one.numbers, places, strict=True):
            self.ax_.text(
                *place[:2], chemical_symbols[number], ha="center", va="center", fontsize=6,
                zorder=4, bbox={"boxstyle": "circle,pad=0.12", "fc": "w", "ec": "0.4", "lw": 0.5},
            )  # fmt: skip
