"""Plots of a model's errors, of which features a sparse model chose, and of spectra."""

import re
from collections import Counter
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator, NullFormatter
from sklearn.model_selection import learning_curve

from skatom._prediction import last_step
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.metrics import neg_force_mae, paired, prediction
from skatom.structures import as_structures
from skatom.targets import as_targets

__all__ = [
    "ChosenFeaturesDisplay",
    "GreedyPathDisplay",
    "LearningCurveDisplay",
    "ParityDisplay",
    "SpectrumDisplay",
]

_UNITS = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}
_SYMBOLS = {"energy": "energy", "forces": "force component", "stress": "stress component"}
# from this many points on they hide each other, and are coloured by their density
_MANY = 3000
# letters that labels of bars may have side by side
_LETTERS = 16
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
        X = X if isinstance(X, AtomicFeatures) else as_structures(X)
        targets = as_targets(y, X)
        y_pred = prediction(estimator, X, quantity)
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


class GreedyPathDisplay:
    """Error of greedy models against their number of terms, on logarithmic axes.

    Several models in one curve, such as the members of a bag, are drawn as their median with a
    band between the quartiles. A dotted line marks the number of terms that was chosen, or the
    median of these numbers.

    Parameters
    ----------
    errors : dict of str to array-like, shape (n_path + 1,) or (n_models, n_path + 1)
        Root-mean-square errors of the models of 0, 1, 2, … terms, by name of the samples.
    n_terms : int or array-like of int, default=None
        The number chosen. None: no mark.
    name : str, default="RMSE"
        Of the vertical axis, with its unit.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        In ``plot``, if there is no model of at least one term.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.models import GreedyOLS
    >>> from skatom.plotting import GreedyPathDisplay
    >>> X = np.random.default_rng(0).normal(size=(60, 20))
    >>> model = GreedyOLS().fit(X, X[:, 0] + np.sin(X[:, 1]))
    >>> display = GreedyPathDisplay.from_estimator(model)
    >>> list(display.errors)
    ['training', 'held out']
    """

    def __init__(self, errors, n_terms=None, name="RMSE"):
        self.errors = errors
        self.n_terms = n_terms
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, X=None, y=None, *, name="RMSE", ax=None):
        """Plot the path of a fitted model, with its errors on further samples if they are given.

        Parameters
        ----------
        estimator : fitted GreedyOLS or BaggedGreedyOLS, or a Pipeline that ends in one
        X, y : samples as for ``score``, default=None
            Also plot the errors on these; for `GreedyOLS` only.
        name : str, default="RMSE"
            Of the vertical axis, with its unit.
        ax : matplotlib.axes.Axes, default=None
            None: a new figure.

        Returns
        -------
        GreedyPathDisplay
        """
        model = last_step(estimator)
        training = getattr(model, "train_score_path_", None)
        errors = {} if training is None else {"training": -training}
        if getattr(model, "n_terms", None) is None:
            errors["held out"] = -model.score_path_
        if X is not None:
            if not hasattr(model, "predict_path"):
                raise ValueError(
                    f"{type(model).__name__} keeps no models but the last: leave out X and y"
                )
            features = X if model is estimator else estimator[:-1].transform(X)
            residuals = model.predict_path(features) - np.asarray(y)[:, None]
            errors["test"] = np.sqrt(np.square(residuals).mean(axis=0))
        return cls(errors, model.n_terms_, name).plot(ax)

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
        curves = {label: np.atleast_2d(values) for label, values in self.errors.items()}
        if not curves or max(values.shape[1] for values in curves.values()) < 2:
            raise ValueError("there is no model of one term or more: nothing to plot")
        self.ax_ = _new_axes((4.8, 3.8)) if ax is None else ax
        self.figure_ = self.ax_.figure
        for label, values in curves.items():
            terms = np.arange(1, values.shape[1])
            low, middle, high = np.percentile(values[:, 1:], [25, 50, 75], axis=0)
            (line,) = self.ax_.plot(terms, middle, label=label)
            if len(values) > 1:
                self.ax_.fill_between(terms, low, high, color=line.get_color(), alpha=0.25, lw=0)
        if self.n_terms is not None:
            self.ax_.axvline(np.median(self.n_terms), color="0.4", linestyle=":", linewidth=1)
        self.ax_.set(xscale="log", yscale="log", xlabel="number of terms", ylabel=self.name)
        self.ax_.grid(True, alpha=0.3, linewidth=0.5)
        self.ax_.legend(frameon=False)
        return self


class ChosenFeaturesDisplay:
    """Which scattering features a sparse model chose, by channel, exponent, wavelet and scale.

    They are read from names such as ``S2[Si;n3l2j0;n3l1j1;q4/3]``: order, channel, one wavelet
    for each order, exponent. The panels show channels, exponents, radial and angular indices of all
    wavelets, and the scales of one or of both wavelets.

    Parameters
    ----------
    names : array-like of str, shape (n_features,)
        Of all features.
    counts : array-like of float, shape (n_features,)
        How often each was chosen, or any other weight.

    Attributes
    ----------
    statistics_ : dict of str to dict
        Counts by "channel", "exponent", "wavelet" and "scales".
    axes_ : ndarray of matplotlib.axes.Axes, shape (4,)
    figure_ : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        In ``plot``, if a chosen feature has no such name.

    Examples
    --------
    >>> from skatom.plotting import ChosenFeaturesDisplay
    >>> names = ["S0[Li;q1]", "S1[Li;n3l2j1;q2]", "S2[Si;n3l2j0;n3l1j1;q2]"]
    >>> display = ChosenFeaturesDisplay(names, [5, 0, 2]).plot()
    >>> display.statistics_["scales"]
    {'0, 1': 2, 'none': 5}
    """

    def __init__(self, names, counts):
        self.names = names
        self.counts = counts

    @classmethod
    def from_estimator(cls, estimator, names=None):
        """Plot the features of a fitted model.

        Parameters
        ----------
        estimator : fitted GreedyOLS or BaggedGreedyOLS, or a Pipeline that ends in one
        names : array-like of str, default=None
            Of the features. None: those that the steps before the model give.

        Returns
        -------
        ChosenFeaturesDisplay
        """
        model = last_step(estimator)
        if names is None:
            if model is estimator:
                raise ValueError("a model does not know the names of its features: give names=…")
            names = estimator[:-1].get_feature_names_out()
        counts = getattr(model, "selection_counts_", None)
        return cls(names, (model.coef_ != 0).astype(int) if counts is None else counts).plot()

    def plot(self):
        """Draw in a new figure.

        Returns
        -------
        self
        """
        self.statistics_ = _count_features(self.names, self.counts)
        self.figure_, self.axes_ = plt.subplots(
            1, 4, figsize=(12, 3), dpi=150, layout="constrained", width_ratios=(1, 1, 1, 2.5)
        )
        for ax, (name, counts) in zip(self.axes_, self.statistics_.items(), strict=True):
            ax.bar(list(counts), list(counts.values()))
            ax.set_xlabel(name)
            ax.tick_params("x", rotation=90 if len("".join(counts)) > _LETTERS else 0)
        self.axes_[0].set_ylabel("times chosen")
        return self


class SpectrumDisplay:
    r"""Lines of a spectrum, broadened.

    .. math:: A(\tilde\nu) = \sum_k I_k\, \frac{1}{\pi}
        \frac{w / 2}{(\tilde\nu - \tilde\nu_k)^2 + (w / 2)^2}

    Parameters
    ----------
    wavenumbers : array-like of float, shape (n,)
        Of the lines, 1/cm.
    intensities : array-like of float, shape (n,)
        Of the lines, km/mol, as `skatom.vibrations.infrared_intensities` gives them.
    width : float, default=10.0
        Full width w of a line at half its height, 1/cm.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        In ``plot``, if the lengths differ or the width is not positive.

    Examples
    --------
    >>> from skatom.plotting import SpectrumDisplay
    >>> display = SpectrumDisplay([1600.0, 3650.0], [60.0, 5.0]).plot()
    >>> display.ax_.get_xlabel()
    'wavenumber (1/cm)'
    """

    def __init__(self, wavenumbers, intensities, width=10.0):
        self.wavenumbers = wavenumbers
        self.intensities = intensities
        self.width = width

    def plot(self, ax=None, *, label=None):
        """Draw; several displays on one ``ax`` compare models.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            None: a new figure.
        label : str, default=None
            Of this spectrum in the legend.

        Returns
        -------
        self
        """
        lines, heights = np.asarray(self.wavenumbers, float), np.asarray(self.intensities, float)
        if lines.shape != heights.shape or lines.ndim != 1 or len(lines) == 0:
            raise ValueError(
                f"wavenumbers {lines.shape} and intensities {heights.shape} must be as many"
            )
        if not self.width > 0:
            raise ValueError(f"width={self.width} must be positive, in 1/cm")
        axis = np.arange(min(lines.min(), 0.0), 1.1 * lines.max(), self.width / 10)
        half = 0.5 * self.width
        shapes = half / np.pi / ((axis[:, None] - lines) ** 2 + half**2)
        self.ax_ = _new_axes((6.4, 3.2)) if ax is None else ax
        self.figure_ = self.ax_.figure
        self.ax_.plot(axis, shapes @ heights, lw=1, label=label)
        self.ax_.set(
            xlabel="wavenumber (1/cm)", ylabel="absorption (km/mol cm)", xlim=(axis[0], axis[-1]),
            ylim=(0, None),
        )  # fmt: skip
        self.ax_.grid(True, alpha=0.3, linewidth=0.5)
        if label is not None:
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


def _count_features(names, counts):
    """Counts of scattering features by what their names say."""
    found = {name: Counter() for name in ("channel", "exponent", "wavelet", "scales")}
    for name, count in zip(names, counts, strict=True):
        if not count:
            continue
        match = re.fullmatch(r"\w*\d\[([^;]+)((?:;n\d+l\d+j[\d./-]+)*);q([\d./]+)\]", name)
        if not match:
            raise ValueError(
                f"{name!r} is not the name of a scattering feature, such as "
                "'S2[Si;n3l2j0;n3l1j1;q4/3]'"
            )
        channel, wavelets, exponent = match.groups()
        found["channel"][channel] += count
        found["exponent"][exponent] += count
        parts = re.findall(r"(n\d+l\d+)j([\d./-]+)", wavelets)
        for wavelet, _ in parts:
            found["wavelet"][wavelet] += count
        found["scales"][", ".join(scale for _, scale in parts) or "none"] += count
    order = {"exponent": Fraction}
    return {
        name: {key: counter[key] for key in sorted(counter, key=order.get(name))}
        for name, counter in found.items()
    }


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
