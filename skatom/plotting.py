"""Plots of a model's errors: predicted against reference, and error against training size."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator, NullFormatter
from sklearn.model_selection import learning_curve

from skatom._prediction import last_step
from skatom.metrics import neg_force_mae, paired, prediction
from skatom.structures import as_structures
from skatom.targets import as_targets

__all__ = ["LearningCurveDisplay", "ParityDisplay"]

_UNITS = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}
_SYMBOLS = {"energy": "energy", "forces": "force component", "stress": "stress component"}
# from this many points on they hide each other, and are coloured by their density
_MANY = 3000
# squares along each axis in which points are counted
_SQUARES = 150


class ParityDisplay:
    """Predicted against reference values, with the diagonal and the errors.

    Energies are counted from the mean of the reference. From 3,000 points on, they are
    coloured by how many lie in the same small square.

    Parameters
    ----------
    y_true, y_pred : Targets or array-like
        As in the functions of `skatom.metrics`.
    quantity : {"energy", "forces", "stress"}, default="forces"

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

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

    def __init__(self, y_true, y_pred, quantity="forces"):
        self.y_true = y_true
        self.y_pred = y_pred
        self.quantity = quantity

    @classmethod
    def from_estimator(cls, estimator, X, y, *, quantity="forces", ax=None):
        """Predict and plot.

        Parameters
        ----------
        estimator : fitted estimator or Pipeline
        X : Structures or list of ase.Atoms
        y : Targets, or array-like of energies
        quantity : {"energy", "forces", "stress"}, default="forces"
        ax : matplotlib.axes.Axes, default=None
            None: a new figure.

        Returns
        -------
        ParityDisplay
        """
        _check_quantity(quantity)
        structures = as_structures(X)
        targets = as_targets(y, structures)
        y_pred = prediction(estimator, structures, quantity)
        return cls.from_predictions(targets, y_pred, quantity=quantity, ax=ax)

    @classmethod
    def from_predictions(cls, y_true, y_pred, *, quantity="forces", ax=None):
        """Plot predictions that were made before.

        Parameters
        ----------
        y_true, y_pred : Targets or array-like
        quantity : {"energy", "forces", "stress"}, default="forces"
        ax : matplotlib.axes.Axes, default=None
            None: a new figure.

        Returns
        -------
        ParityDisplay
        """
        return cls(y_true, y_pred, quantity).plot(ax)

    def plot(self, ax=None):
        """Draw.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            None: a new figure.

        Returns
        -------
        self
        """
        _check_quantity(self.quantity)
        true, pred = (values.ravel() for values in paired(self.quantity, self.y_true, self.y_pred))
        errors = pred - true
        symbol, unit = _SYMBOLS[self.quantity], _UNITS[self.quantity]
        if self.quantity == "energy":
            symbol, mean = "energy − mean", true.mean()
            true, pred = true - mean, pred - mean
        self.ax_ = _new_axes((4.8, 4.2)) if ax is None else ax
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


class LearningCurveDisplay:
    r"""Error against the number of training frames, and the power law that it follows.

    .. math:: \mathrm{error}(n) \approx a\, n^{b}

    Both axes are logarithmic; a and b are the least-squares line through the logarithms of the
    mean errors.

    Parameters
    ----------
    train_sizes : array-like of int, shape (n_sizes,)
    errors : array-like of float, shape (n_sizes, n_splits)
        Error on the held-out frames of each split.
    name : str, default="error"
        Of the vertical axis, with its unit.

    Attributes
    ----------
    prefactor_, slope_ : float
        a and b.
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

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

    def __init__(self, train_sizes, errors, name="error"):
        self.train_sizes = train_sizes
        self.errors = errors
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, train_sizes, cv=None, scoring=neg_force_mae, n_jobs=None, ax=None
    ):
        """Fit to growing parts of the training frames of each split and plot.

        Parameters
        ----------
        estimator : estimator or Pipeline
        X : Structures, or list of ase.Atoms
        y : Targets, or array-like of energies
        train_sizes : array-like of int or float
            Numbers of training frames, or fractions of the largest possible.
        cv : int or splitter, default=None
            As in scikit-learn, for example
            `EnergyStratifiedSplit <skatom.model_selection.EnergyStratifiedSplit>`.
        scoring : callable, default=`neg_force_mae <skatom.metrics.neg_force_mae>`
            A scorer that gives minus the error.
        n_jobs : int, default=None
            Fits at the same time, as in scikit-learn.
        ax : matplotlib.axes.Axes, default=None
            None: a new figure.

        Returns
        -------
        LearningCurveDisplay
        """
        sizes, _, scores = learning_curve(
            estimator, X, y, train_sizes=train_sizes, cv=cv, scoring=scoring, n_jobs=n_jobs,
            error_score="raise",
        )  # fmt: skip
        display = cls(sizes, -scores, _error_name(scoring))
        return display.plot(ax, label=type(last_step(estimator)).__name__)

    def plot(self, ax=None, *, label=None):
        """Draw; several displays on one ``ax`` compare models.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            None: a new figure.
        label : str, default=None
            Of this curve in the legend, before its power law.

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
        self.ax_ = _new_axes((4.8, 3.8)) if ax is None else ax
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
        self.ax_.grid(True, alpha=0.3, linewidth=0.5)
        self.ax_.legend(frameon=False)
        return self


def _new_axes(size):
    return plt.subplots(figsize=size, dpi=150, layout="constrained")[1]


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
    order = np.argsort(density)  # the densest on top
    points = ax.scatter(
        true[order], pred[order], c=density[order], s=5, linewidths=0, norm=LogNorm(1),
        rasterized=True,
    )  # fmt: skip
    ax.figure.colorbar(points, ax=ax, label="points nearby", shrink=0.86)


def _in_unit(error, unit):
    """The error with three digits, in meV where that reads better."""
    return f"{1e3 * error:.3g} m{unit}" if error < 0.1 else f"{error:.3g} {unit}"


def _error_name(scoring):
    """``neg_force_mae`` -> "force MAE (eV/Å)"."""
    words = getattr(scoring, "__name__", "error").removeprefix("neg_").split("_")
    unit = {"energy": "eV", "force": "eV/Å", "stress": "eV/Å³"}.get(words[0])
    name = " ".join(word.upper() if word in ("mae", "rmse") else word for word in words)
    return f"{name} ({unit})" if unit else name


def _check_quantity(quantity):
    if quantity not in _UNITS:
        raise ValueError(f"quantity={quantity!r} is not known: choose from {', '.join(_UNITS)}")


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
