"""A plot of what a search has found."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skatom._typing import ArrayLike
from skatom.plotting._axes import draw_grid, new_axes


class SearchDisplay:
    """Values of a search in the order of their evaluation, and the best so far.

    Parameters
    ----------
    values : array-like of float, shape (n,)
        The values; NaN of those that could not be computed.
    best : array-like of float, shape (n,)
        The best value after each.
    name : str, default="value"
        Name of the values.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from skatom.active import BayesianSearch
    >>> from skatom.plotting import SearchDisplay
    >>> search = BayesianSearch(GaussianProcessRegressor(), np.arange(9.0)[:, None], n_initial=3)
    >>> display = SearchDisplay.from_search(search.run(lambda x: (x[0] - 4) ** 2, 5))
    >>> display.ax_.get_xlabel()
    'evaluations'
    """

    def __init__(self, values: ArrayLike, best: ArrayLike, name: str = "value") -> None:
        self.values = values
        self.best = best
        self.name = name

    @classmethod
    def from_search(cls, search: Any, *, name: str = "value", ax: Any = None) -> SearchDisplay:
        """Plot a `skatom.active.BayesianSearch`.

        Parameters
        ----------
        search : BayesianSearch
            The search.
        name : str, default="value"
            Name of the values, with their unit.
        ax : matplotlib.axes.Axes, default=None
            Where to draw. None: new axes.

        Returns
        -------
        SearchDisplay
        """
        return cls(search.values_, search.best_values_, name).plot(ax)

    def plot(self, ax: Any = None, *, label: str = "best so far") -> Self:
        """Draw the plot.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw. None: new axes.
        label : str, default="best so far"
            What the line of the best values is called.

        Returns
        -------
        self
        """
        ax = new_axes((5.0, 3.2)) if ax is None else ax
        numbers = np.arange(1, len(self.values) + 1)
        (line,) = ax.step(numbers, self.best, where="post", label=label)
        ax.plot(numbers, self.values, ".", color=line.get_color(), alpha=0.4)
        ax.set(xlabel="evaluations", ylabel=self.name)
        ax.legend()
        draw_grid(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self
