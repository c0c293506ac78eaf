"""Plots of predicted against reference values."""

from __future__ import annotations

from typing import Self

import numpy as np
from matplotlib.colors import LogNorm

from skatom._typing import Axes, Estimator, StructuresLike, TargetsLike
from skatom.descriptors.features import as_batch, structures_of
from skatom.metrics.comparison import paired, prediction
from skatom.plotting._axes import new_axes
from skatom.properties import OUTPUTS
from skatom.targets import as_targets

_SYMBOLS = {
    "energy": "energy",
    "forces": "force component",
    "stress": "stress component",
    "dipole": "dipole component",
    "polarizability": "polarisability component",
    "dipole_norm": "dipole length",
    "charges": "charge",
}
# from this number on, points hide each other and are coloured by their density
_MANY = 3000
# number of squares along each axis in which points are counted
_SQUARES = 150


class ParityDisplay:
    """Predicted against reference values, with the diagonal and the errors.

    Energies are relative to the mean of the reference. From 3,000 points on, points are coloured by
    their density.

    Parameters
    ----------
    y_true, y_pred : Targets or array-like
        Reference and prediction, as in the functions of `skatom.metrics`.
    quantity : {"energy", "forces", "stress", "dipole", "polarizability", "dipole_norm", \
"charges"}, default="forces"
        The property to plot.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Raises
    ------
    ValueError
        If ``quantity`` is unknown, shapes differ, or nothing is labelled.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.plotting import ParityDisplay
    >>> forces = np.random.default_rng(0).normal(size=(100, 3))
    >>> display = ParityDisplay.from_predictions(forces, 1.01 * forces)
    >>> display.ax_.get_xlabel()
    'reference force component (eV/Å)'
    """

    def __init__(self, y_true: TargetsLike, y_pred: TargetsLike, quantity: str = "forces") -> None:
        self.y_true = y_true
        self.y_pred = y_pred
        self.quantity = quantity

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: StructuresLike,
        y: TargetsLike,
        *,
        quantity: str = "forces",
        ax: Axes | None = None,
    ) -> ParityDisplay:
        """Predict and plot.

        Parameters
        ----------
        estimator : fitted estimator or Pipeline
            The model.
        X : Structures or list of ase.Atoms
            The structures to predict.
        y : Targets, or array-like of energies
            Reference values.
        quantity : {"energy", "forces", "stress", "dipole", "polarizability", "dipole_norm", \
"charges"}, default="forces"
            The property to plot.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        ParityDisplay
        """
        _check_quantity(quantity)
        X = as_batch(X)
        targets = as_targets(y, structures_of(X))
        y_pred = prediction(estimator, X, quantity)
        return cls.from_predictions(targets, y_pred, quantity=quantity, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        y_true: TargetsLike,
        y_pred: TargetsLike,
        *,
        quantity: str = "forces",
        ax: Axes | None = None,
    ) -> ParityDisplay:
        """Plot given predictions.

        Parameters
        ----------
        y_true, y_pred : Targets or array-like
            Reference and prediction.
        quantity : {"energy", "forces", "stress", "dipole", "polarizability", "dipole_norm", \
"charges"}, default="forces"
            The property to plot.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        ParityDisplay
        """
        return cls(y_true, y_pred, quantity).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the points and the diagonal.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        _check_quantity(self.quantity)
        true, pred = (values.ravel() for values in paired(self.quantity, self.y_true, self.y_pred))
        errors = pred - true
        symbol, unit = _SYMBOLS[self.quantity], OUTPUTS[self.quantity].unit
        if self.quantity == "energy":
            symbol, mean = "energy − mean", true.mean()
            true, pred = true - mean, pred - mean
        self.ax_ = new_axes((4.8, 4.2)) if ax is None else ax
        self.figure_ = self.ax_.figure
        limits = _limits(np.concatenate([true, pred]))
        self.ax_.plot(limits, limits, color="0.5", linewidth=0.8, zorder=0)
        _draw_points(self.ax_, true, pred, limits)
        self.ax_.set(
            xlim=limits,
            ylim=limits,
            aspect="equal",
            xlabel=f"reference {symbol} ({unit})",
            ylabel=f"predicted {symbol} ({unit})",
        )
        mae, rmse = np.abs(errors).mean(), np.sqrt(np.square(errors).mean())
        text = f"MAE {_in_unit(mae, unit)}\nRMSE {_in_unit(rmse, unit)}"
        self.ax_.text(0.05, 0.95, text, transform=self.ax_.transAxes, va="top")
        return self


def _check_quantity(quantity):
    if quantity not in _SYMBOLS:
        raise ValueError(f"quantity={quantity!r} is not known: choose from {', '.join(_SYMBOLS)}")


def _limits(values):
    """The range of the values and a margin of 4 %, both ends of each axis."""
    low, high = values.min(), values.max()
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _draw_points(ax, true, pred, limits):
    if len(true) < _MANY:
        ax.scatter(true, pred, s=9, alpha=0.5, linewidths=0)
        return
    edges = np.linspace(*limits, _SQUARES + 1)
    counts, _, _ = np.histogram2d(true, pred, bins=edges)
    # the margin of the limits keeps all points inside of the edges
    density = counts[np.digitize(true, edges) - 1, np.digitize(pred, edges) - 1]
    order = np.argsort(density)  # draw the densest last
    points = ax.scatter(
        true[order], pred[order], c=density[order], s=5, linewidths=0, norm=LogNorm(1),
        rasterized=True,
    )  # fmt: skip
    ax.figure.colorbar(points, ax=ax, label="points nearby", shrink=0.86)


def _in_unit(error, unit):
    """The error with three digits, in meV where that reads better."""
    return f"{1e3 * error:.3g} m{unit}" if error < 0.1 else f"{error:.3g} {unit}"
