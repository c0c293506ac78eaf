"""A plot of the coefficients of labels in kernel components, and of the choice of a dimension."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from skatom._typing import ArrayLike
from skatom.plotting._axes import draw_grid, new_axes


class RelevantDimensionDisplay:
    """Coefficients of labels in the components of a kernel, and the loss of each dimension.

    The left panel shows the magnitudes of all coefficients, a line at the standard deviation of the
    noise and a dotted one at the relevant dimension; the right panel the loss, which is smallest
    there.

    Parameters
    ----------
    coefficients : array-like of float, shape (n,)
        Coefficients of the labels, the first component first.
    losses : array-like of float, shape (max_dim,)
        Loss of the dimensions 1, 2, ….
    noise : float
        Standard deviation of the noise.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes, shape (2,)
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.decomposition import RelevantDimension
    >>> from skatom.plotting import RelevantDimensionDisplay
    >>> X = np.random.default_rng(0).uniform(-3, 3, (60, 1))
    >>> relevant = RelevantDimension().fit(X, np.sin(X[:, 0]))
    >>> RelevantDimensionDisplay.from_estimator(relevant).axes_[0].get_xlabel()
    'component'
    """

    def __init__(self, coefficients: ArrayLike, losses: ArrayLike, noise: float) -> None:
        self.coefficients = coefficients
        self.losses = losses
        self.noise = noise

    @classmethod
    def from_estimator(cls, estimator: Any, target: int = 0) -> RelevantDimensionDisplay:
        """Plot a fitted `RelevantDimension`.

        Parameters
        ----------
        estimator : RelevantDimension
            The fitted estimator.
        target : int, default=0
            Which of several targets.

        Returns
        -------
        RelevantDimensionDisplay
        """
        n = len(estimator.coefficients_)
        coefficients = estimator.coefficients_.reshape(n, -1)[:, target]
        losses = estimator.losses_.reshape(len(estimator.losses_), -1)[:, target]
        return cls(coefficients, losses, np.atleast_1d(estimator.noise_std_)[target]).plot()

    def plot(self) -> Self:
        """Draw in a new figure.

        Returns
        -------
        self
        """
        self.axes_ = new_axes((8.0, 3.2), 2)
        self.figure_ = self.axes_[0].figure
        dimension = 1 + int(np.argmin(self.losses))
        sizes = np.abs(self.coefficients)
        left, right = self.axes_
        left.semilogy(1 + np.arange(len(sizes)), sizes, ".", markersize=3)
        left.axhline(self.noise, color="C1", linewidth=1, label=f"noise {self.noise:.2g}")
        left.set(xlabel="component", ylabel="coefficient")
        right.plot(1 + np.arange(len(self.losses)), self.losses)
        right.set(xlabel="dimension", ylabel="loss")
        for ax in self.axes_:
            label = f"dimension {dimension}"
            ax.axvline(dimension, color="0.4", linestyle=":", linewidth=1, label=label)
            draw_grid(ax)
            ax.legend(frameon=False)
        return self
