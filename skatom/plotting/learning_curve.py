"""Errors against the number of training structures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter
from sklearn.model_selection import learning_curve

from skatom._prediction import last_step
from skatom._typing import ArrayLike, Axes, Estimator, StructuresLike, TargetsLike
from skatom.metrics import get_scorer, get_scorer_names, neg_force_mae
from skatom.plotting._axes import draw_grid, new_axes
from skatom.properties import LABELS


class LearningCurveDisplay:
    r"""Error against the number of training frames, with a power law fitted to it.

    .. math:: \mathrm{error}(n) \approx a\, n^{b}

    Both axes are logarithmic; a and b are fitted to the logarithms of the mean errors by least
    squares.

    Parameters
    ----------
    train_sizes : array-like of int, shape (n_sizes,)
        Numbers of training frames.
    errors : array-like of float, shape (n_sizes, n_splits)
        Error on the held-out frames of each split.
    name : str, default="error"
        Label of the vertical axis, with its unit.

    Attributes
    ----------
    prefactor_, slope_ : float
        The prefactor a and the exponent b.
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Raises
    ------
    ValueError
        In ``plot``, if there are fewer than two sizes, or an error is not a positive number.

    Examples
    --------
    >>> from skatom.plotting import LearningCurveDisplay
    >>> display = LearningCurveDisplay([100, 200, 400], [[0.4], [0.2], [0.1]]).plot()
    >>> round(display.slope_, 2)
    -1.0
    """

    def __init__(self, train_sizes: ArrayLike, errors: ArrayLike, name: str = "error") -> None:
        self.train_sizes = train_sizes
        self.errors = errors
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: StructuresLike,
        y: TargetsLike,
        *,
        train_sizes: ArrayLike,
        cv: Estimator = None,
        scoring: Callable | str = neg_force_mae,
        n_jobs: int | None = None,
        ax: Axes | None = None,
    ) -> LearningCurveDisplay:
        """Fit to growing parts of the training frames of each split and plot.

        Parameters
        ----------
        estimator : estimator or Pipeline
            The model.
        X : Structures, or list of ase.Atoms
            All frames.
        y : Targets, or array-like of energies
            Labels.
        train_sizes : array-like of int or float
            Numbers of training frames, or fractions of the largest possible.
        cv : int or splitter, default=None
            Splits, as in scikit-learn, for example
            `EnergyStratifiedSplit <skatom.model_selection.EnergyStratifiedSplit>`.
        scoring : callable or str, default=`neg_force_mae <skatom.metrics.neg_force_mae>`
            A scorer that gives minus the error, or its name in `skatom.metrics`.
        n_jobs : int, default=None
            Number of joblib jobs that share the fits, as in scikit-learn.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        LearningCurveDisplay
        """
        if scoring in get_scorer_names():
            scoring = get_scorer(scoring)
        sizes, _, scores = learning_curve(
            estimator, X, y, train_sizes=train_sizes, cv=cv, scoring=scoring, n_jobs=n_jobs,
            error_score="raise",
        )  # fmt: skip
        display = cls(sizes, -scores, _error_name(scoring))
        return display.plot(ax, label=type(last_step(estimator)).__name__)

    def plot(self, ax: Axes | None = None, *, label: str | None = None) -> Self:
        """Draw the curve; several displays on one ``ax`` compare models.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.
        label : str, default=None
            Label of this curve in the legend, before its power law.

        Returns
        -------
        self
        """
        sizes, errors = np.asarray(self.train_sizes), np.asarray(self.errors, dtype=float)
        _check_curve(sizes, errors)
        mean, spread = errors.mean(axis=1), errors.std(axis=1)
        self.slope_, intercept = (float(c) for c in np.polyfit(np.log(sizes), np.log(mean), 1))
        self.prefactor_ = float(np.exp(intercept))
        law = rf"$\propto n^{{{self.slope_:.2f}}}$"
        self.ax_ = new_axes((4.8, 3.8)) if ax is None else ax
        self.figure_ = self.ax_.figure
        drawn = self.ax_.errorbar(
            sizes, mean, spread, fmt="o", capsize=3, label=f"{label}  {law}" if label else law
        )
        self.ax_.plot(
            sizes, self.prefactor_ * sizes**self.slope_, "--", color=drawn[0].get_color(), lw=1
        )
        self.ax_.set(xscale="log", yscale="log", xlabel="training frames n", ylabel=self.name)
        for axis in (self.ax_.xaxis, self.ax_.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        draw_grid(self.ax_)
        self.ax_.legend(frameon=False)
        return self


def _error_name(scoring):
    """``neg_force_mae`` -> "force MAE (eV/Å)"."""
    words = getattr(scoring, "__name__", "error").removeprefix("neg_").split("_")
    units = {name: label.unit for name, label in LABELS.items()}
    unit = units.get({"force": "forces"}.get(words[0], words[0]))
    name = " ".join(word.upper() if word in ("mae", "rmse") else word for word in words)
    return f"{name} ({unit})" if unit else name


def _check_curve(sizes, errors):
    if len(sizes) < 2 or errors.ndim != 2 or len(errors) != len(sizes):
        raise ValueError(
            f"train_sizes {sizes.shape} and errors {errors.shape} must have the shapes (n_sizes,) "
            "and (n_sizes, n_splits) with at least two sizes"
        )
    if not (errors > 0).all():
        raise ValueError(
            "a logarithmic axis needs positive errors: choose a scorer that gives minus an error, "
            "such as skatom.metrics.neg_force_mae, and a model that can be fitted at every size"
        )
