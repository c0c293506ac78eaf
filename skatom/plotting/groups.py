"""Bars of errors by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from skatom._typing import ArrayLike, Axes
from skatom.plotting._axes import new_axes


class GroupErrorsDisplay:
    """Errors of groups of structures or atoms, as bars from the largest error down.

    Parameters
    ----------
    groups : sequence of str
        Names of the groups.
    errors : array-like of float, shape (n,)
        An error of each group.
    name : str, default="error"
        Label of the axis of the errors, with its unit.
    most : int, default=20
        Number of groups to draw; the rest, those of the smallest errors, are counted in the label.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Raises
    ------
    ValueError
        In ``plot``, if there are no groups or not one error for each.

    Examples
    --------
    >>> from skatom.plotting import GroupErrorsDisplay
    >>> display = GroupErrorsDisplay(["bulk", "surface"], [0.1, 0.2], "force RMSE (eV/Å)").plot()
    >>> [text.get_text() for text in display.ax_.get_yticklabels()]
    ['surface', 'bulk']
    """

    def __init__(
        self, groups: Sequence[str], errors: ArrayLike, name: str = "error", most: int = 20
    ) -> None:
        self.groups = groups
        self.errors = errors
        self.name = name
        self.most = most

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        errors = np.asarray(self.errors, float)
        if errors.shape != (len(self.groups),) or not len(errors):
            raise ValueError(
                f"errors {errors.shape} must be one for each of the {len(self.groups)} groups"
            )
        order = np.argsort(-errors, kind="stable")[: self.most]
        names = [_shortened(str(self.groups[k])) for k in order]
        self.ax_ = new_axes((6.4, height_of(len(order)))) if ax is None else ax
        self.figure_ = self.ax_.figure
        bars = self.ax_.barh(np.arange(len(order)), errors[order], height=0.7)
        self.ax_.bar_label(bars, fmt="{:.3g}", padding=3)
        self.ax_.set_yticks(np.arange(len(order)), names)
        self.ax_.invert_yaxis()
        self.ax_.margins(x=0.12)
        left = len(errors) - len(order)
        self.ax_.set_xlabel(self.name + (f"; {left} smaller ones not shown" if left else ""))
        self.ax_.spines[["top", "right"]].set_visible(False)
        return self


def height_of(n_bars):
    """Height in inches of a figure of so many bars."""
    return 0.9 + 0.28 * n_bars


def _shortened(name):
    return name if len(name) <= 32 else f"{name[:31]}…"
