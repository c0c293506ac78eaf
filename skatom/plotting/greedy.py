"""Plots of the features that a sparse linear model chose, and of the path of its errors."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from typing import Any, Self

import matplotlib.pyplot as plt
import numpy as np

from skatom._prediction import last_step
from skatom._typing import ArrayLike, Axes, Estimator
from skatom.plotting._axes import draw_grid, new_axes

# number of letters that fit beside each other as labels of bars
_LETTERS = 16


class GreedyPathDisplay:
    """Error of greedy models against their number of terms, on logarithmic axes.

    Several models in one curve, such as the members of a `BaggedGreedyOLS`, are drawn as their
    median with a band between the quartiles. A dotted line marks the chosen number of terms, or the
    median of these numbers.

    Parameters
    ----------
    errors : dict of str to array-like, shape (n_path + 1,) or (n_models, n_path + 1)
        Root-mean-square errors of the models of 0, 1, 2, … terms, by name of the samples.
    n_terms : int or array-like of int, default=None
        The chosen number of terms. None: no mark.
    name : str, default="RMSE"
        Label of the vertical axis, with its unit.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

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

    def __init__(
        self, errors: Estimator, n_terms: ArrayLike | None = None, name: str = "RMSE"
    ) -> None:
        self.errors = errors
        self.n_terms = n_terms
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        name: str = "RMSE",
        ax: Axes | None = None,
    ) -> GreedyPathDisplay:
        """Plot the path of a fitted model, with its errors on further samples if they are given.

        Parameters
        ----------
        estimator : fitted GreedyOLS or BaggedGreedyOLS, or a Pipeline that ends in one
            The model.
        X, y : samples as for ``score``, default=None
            Also plot the errors on these samples; for `GreedyOLS` only.
        name : str, default="RMSE"
            Label of the vertical axis, with its unit.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

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

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the errors.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        curves = {label: np.atleast_2d(values) for label, values in self.errors.items()}
        if not curves or max(values.shape[1] for values in curves.values()) < 2:
            raise ValueError("there is no model of one term or more: nothing to plot")
        self.ax_ = new_axes((4.8, 3.8)) if ax is None else ax
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
        draw_grid(self.ax_)
        self.ax_.legend(frameon=False)
        return self


class ChosenFeaturesDisplay:
    """Scattering features that a sparse model chose, by channel, exponent, wavelet and scale.

    They are read from names such as ``S2[Si;n3l2j0;n3l1j1;q4/3]``: order, channel, one wavelet
    for each order, exponent. The panels show channels, exponents, radial and angular indices of all
    wavelets, and the scales of one or both wavelets.

    Parameters
    ----------
    names : array-like of str, shape (n_features,)
        Names of all features.
    counts : array-like of float, shape (n_features,)
        Number of times that each feature was chosen, or any other weight.

    Attributes
    ----------
    statistics_ : dict of str to dict
        Counts by "channel", "exponent", "wavelet" and "scales".
    axes_ : ndarray of matplotlib.axes.Axes, shape (4,)
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

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

    def __init__(self, names: ArrayLike, counts: ArrayLike) -> None:
        self.names = names
        self.counts = counts

    @classmethod
    def from_estimator(
        cls, estimator: Any, names: ArrayLike | None = None
    ) -> ChosenFeaturesDisplay:
        """Plot the features of a fitted model.

        Parameters
        ----------
        estimator : fitted GreedyOLS or BaggedGreedyOLS, or a Pipeline that ends in one
            The model.
        names : array-like of str, default=None
            Names of the features. None: from the steps before the model.

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

    def plot(self) -> Self:
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


def _count_features(names, counts):
    """Counts of scattering features by the parts of their names."""
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
