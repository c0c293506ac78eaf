"""A molecule whose atoms and pairs of atoms have colours."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Circle

from skatom._prediction import last_step
from skatom._typing import ArrayLike, Axes, Estimator, StructuresLike
from skatom.attribution import relevance
from skatom.attribution.surfaces import principal_axes
from skatom.plotting._axes import draw_bonds, new_axes
from skatom.structures import as_structures

# Radius of an atom in covalent radii; width in points of the strongest pair, and the share of it
# below which pairs are not drawn.
_ATOM, _WIDTH, _FAINTEST = 0.55, 12.0, 0.02
_COLORS = "RdBu_r"


class RelevanceDisplay:
    """A molecule in the plane of its largest extent, with atoms and pairs coloured by a value.

    Red is positive, blue negative and white zero. Lines between pairs are as wide as their values
    are large; grey lines are bonds.

    Parameters
    ----------
    structures : Structures or list of ase.Atoms
        One structure.
    values : array-like of float, shape (n_atoms,)
        A value for each atom, such as `Attribution.by_atom` gives.
    pairs : array-like of float, shape (n_atoms, n_atoms), default=None
        A value for each pair, such as `Attribution.by_pair` gives. None: atoms alone.
    name : str, default="relevance (eV)"
        Label of the colour bar, with the unit.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Raises
    ------
    ValueError
        In ``plot``, if there is not one structure, with a value for each atom.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.plotting import RelevanceDisplay
    >>> display = RelevanceDisplay([molecule("H2O")], [-0.4, 0.2, 0.2]).plot()
    >>> [text.get_text() for text in display.ax_.texts]
    ['O', 'H', 'H']
    """

    def __init__(
        self,
        structures: StructuresLike,
        values: ArrayLike,
        pairs: ArrayLike | None = None,
        name: str = "relevance (eV)",
    ) -> None:
        self.structures = structures
        self.values = values
        self.pairs = pairs
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: StructuresLike,
        *,
        gamma: float | ArrayLike = 1.0,
        name: str = "relevance (eV)",
        ax: Axes | None = None,
    ) -> RelevanceDisplay:
        """Plot the mean relevance of the atoms of some structures, and of their pairs.

        Parameters
        ----------
        estimator : fitted estimator, Pipeline or search
            A model as for `skatom.attribution.relevance`.
        X : Structures or list of ase.Atoms
            Structures of the same atoms in the same order; the first one is drawn.
        gamma : float or sequence of float, default=1
            See `relevance`.
        name : str, default="relevance (eV)"
            Label of the colour bar, with the unit.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        RelevanceDisplay
        """
        structures = as_structures(X)
        numbers = structures.numbers[: structures.n_atoms[0]] if len(structures) else None
        if numbers is None or not np.array_equal(
            np.tile(numbers, len(structures)), structures.numbers
        ):
            raise ValueError(
                f"{len(structures)} structures differ in composition or atom order, or there are "
                f"none: give frames of one molecule to average what {_name(estimator)} finds"
            )
        found = relevance(estimator, structures, gamma)
        values = found.by_atom().reshape(len(structures), -1).mean(axis=0)
        atomic = hasattr(found.features, "pool")
        pairs = None if atomic else found.by_pair().mean(axis=0)
        return cls(structures[0], values, pairs, name).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the molecule.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        structures = as_structures(self.structures)
        values = np.asarray(self.values, float)
        if len(structures) != 1 or values.shape != (len(structures.numbers),):
            raise ValueError(
                f"values {values.shape} of {len(structures)} structures with "
                f"{len(structures.numbers)} atoms: give one structure and one value for each atom"
            )
        self.ax_ = new_axes((4.8, 3.8)) if ax is None else ax
        self.figure_ = self.ax_.figure
        middle, axes = principal_axes(structures.positions)
        places = (structures.positions - middle) @ axes.T
        radii = covalent_radii[structures.numbers]
        pairs = None if self.pairs is None else 2 * np.asarray(self.pairs, float)
        largest = max(np.abs(values).max(), 0.0 if pairs is None else np.abs(pairs).max()) or 1.0
        colors = ScalarMappable(Normalize(-largest, largest), _COLORS)
        draw_bonds(self.ax_, structures.positions, places, radii)
        if pairs is not None:
            self._draw_pairs(places, pairs, colors)
        self._draw_atoms(structures.numbers, places, radii, values, colors)
        self.ax_.set_aspect("equal")
        self.ax_.margins(0.08)
        self.ax_.axis("off")
        self.figure_.colorbar(colors, ax=self.ax_, label=self.name, shrink=0.75)
        return self

    def _draw_pairs(self, places, pairs, colors):
        first, second = np.triu_indices(len(places), k=1)
        own = pairs[first, second]
        order = np.argsort(np.abs(own))
        order = order[np.abs(own[order]) > _FAINTEST * colors.norm.vmax]
        self.ax_.add_collection(
            LineCollection(
                [places[[first[p], second[p]], :2] for p in order],
                colors=colors.to_rgba(own[order]),
                linewidths=_WIDTH * np.abs(own[order]) / colors.norm.vmax,
                capstyle="round",
                zorder=2,
            )
        )

    def _draw_atoms(self, numbers, places, radii, values, colors):
        for rank, i in enumerate(np.argsort(places[:, 2], kind="stable")):
            fill, order = colors.to_rgba(values[i]), 3 + rank / len(values)
            self.ax_.add_patch(
                Circle(
                    places[i, :2], _ATOM * radii[i], facecolor=fill, edgecolor="0.25",
                    linewidth=1, zorder=order,
                )
            )  # fmt: skip
            dark = np.dot(fill[:3], (0.3, 0.6, 0.1)) < 0.5
            self.ax_.text(
                *places[i, :2], chemical_symbols[numbers[i]], ha="center", va="center",
                fontsize=9, color="white" if dark else "0.1", zorder=order,
            )  # fmt: skip


def _name(estimator: Any) -> str:
    return type(last_step(estimator)).__name__
