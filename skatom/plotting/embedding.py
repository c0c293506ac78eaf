"""Elements in the plane of the principal components of their vectors."""

from __future__ import annotations

from typing import Self

from ase.data import chemical_symbols

from skatom._typing import Axes, Estimator
from skatom.attribution import SpeciesEmbedding, species_embedding
from skatom.elements import group
from skatom.plotting._axes import draw_grid, new_axes


class EmbeddingDisplay:
    """Elements where the two principal components of their vectors are, coloured by group.

    Parameters
    ----------
    embedding : SpeciesEmbedding
        The vectors of at least two elements, see `skatom.attribution.species_embedding`.

    Attributes
    ----------
    points_ : matplotlib.collections.PathCollection
        A point for each element, after ``plot``.
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.attribution import SpeciesEmbedding
    >>> from skatom.plotting import EmbeddingDisplay
    >>> vectors = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]])
    >>> display = EmbeddingDisplay(SpeciesEmbedding(np.array([3, 8, 16]), vectors)).plot()
    >>> [text.get_text() for text in display.ax_.texts]
    ['Li', 'O', 'S']
    """

    def __init__(self, embedding: SpeciesEmbedding) -> None:
        self.embedding = embedding

    @classmethod
    def from_estimator(cls, estimator: Estimator, *, ax: Axes | None = None) -> EmbeddingDisplay:
        """Plot the elements of a network of graphs.

        Parameters
        ----------
        estimator : fitted estimator or search
            A model as for `skatom.attribution.species_embedding`.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        EmbeddingDisplay
        """
        return cls(species_embedding(estimator)).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the elements.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        places, shares = self.embedding.principal_components(2)
        self.ax_ = new_axes((4.2, 3.6)) if ax is None else ax
        self.figure_ = self.ax_.figure
        species = self.embedding.species
        self.points_ = self.ax_.scatter(
            *places.T, s=220, c=[group(z) for z in species], cmap="tab20", vmin=0, vmax=19,
            alpha=0.6, zorder=2,
        )  # fmt: skip
        for z, place in zip(species, places, strict=True):
            self.ax_.text(*place, chemical_symbols[z], ha="center", va="center", zorder=3)
        self.ax_.set_xlabel(f"first component ({100 * shares[0]:.0f} % of the variance)")
        self.ax_.set_ylabel(f"second component ({100 * shares[1]:.0f} %)")
        self.ax_.margins(0.12)
        draw_grid(self.ax_)
        return self
