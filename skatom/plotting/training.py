"""The course of the training of a network."""

from __future__ import annotations

from typing import Self

from skatom._prediction import last_step
from skatom._typing import Axes, Estimator
from skatom.plotting._axes import draw_grid, new_axes


class TrainingDisplay:
    """Losses of a training against its steps, on logarithmic axes.

    Parameters
    ----------
    history : dict of array-like
        ``step`` and ``loss``, and ``validation_loss`` if structures were left out: the attribute
        ``history_`` of a neural potential.
    best_step : int, default=None
        The step whose weights were kept, which is marked.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Examples
    --------
    >>> from skatom.plotting import TrainingDisplay
    >>> history = {"step": [50, 100], "loss": [9.0, 4.0], "validation_loss": [7.0, 5.0]}
    >>> display = TrainingDisplay(history, best_step=100).plot()
    >>> len(display.ax_.lines)
    3
    """

    def __init__(self, history: dict, best_step: int | None = None) -> None:
        self.history = history
        self.best_step = best_step

    @classmethod
    def from_estimator(cls, estimator: Estimator, *, ax: Axes | None = None) -> TrainingDisplay:
        """Plot the training of a fitted model.

        Parameters
        ----------
        estimator : fitted estimator, Pipeline or search
            The model, which has ``history_`` and ``best_iteration_``, such as
            `SchNet <skatom.models.SchNet>`.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        TrainingDisplay

        Raises
        ------
        ValueError
            If the model has no history.
        """
        model = last_step(estimator)
        if not hasattr(model, "history_"):
            raise ValueError(
                f"{type(model).__name__} has no history_: fit a neural potential, such as SchNet"
            )
        history = model.history_
        best = history["step"][history["iteration"] == model.best_iteration_]
        return cls(history, int(best[0])).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the losses.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        self.ax_ = new_axes((4.8, 3.8)) if ax is None else ax
        self.figure_ = self.ax_.figure
        names = {"loss": "trained on", "validation_loss": "left out"}
        for name, label in names.items():
            if name in self.history:
                self.ax_.plot(self.history["step"], self.history[name], label=label)
        if self.best_step is not None:
            self.ax_.axvline(self.best_step, color="0.6", ls="--", lw=1, label="kept")
        self.ax_.set(xscale="log", yscale="log", xlabel="step", ylabel="loss")
        draw_grid(self.ax_)
        self.ax_.legend(frameon=False)
        return self
