"""Plots of standard deviations against errors."""

from __future__ import annotations

from typing import Self

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from skatom._typing import ArrayLike, Axes
from skatom.metrics.calibration import LEVELS, coverage
from skatom.plotting._axes import new_axes

# Points in a bin of the plot of errors against deviations, at least.
_FEWEST = 10
_SMALLEST = 1e-12  # errors of zero have no place on a logarithmic axis


class CalibrationDisplay:
    r"""Calibration of standard deviations.

    On the first axes: the fraction of errors within the central interval of probability p of a
    Gaussian, against p. On the second: the root-mean-square error of samples of about equal
    deviation, against their root-mean-square deviation. Both are on the diagonal if the deviations
    are calibrated.

    Parameters
    ----------
    errors : array-like of float, shape (n,)
        Prediction less reference.
    deviations : array-like of float, shape (n,)
        Standard deviations, positive and in the same unit.
    name : str, default="error"
        Name of the errors, for the labels.
    unit : str, default=""
        Their unit.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes, shape (2,)
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Raises
    ------
    ValueError
        In ``plot``, if lengths differ or a deviation is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.plotting import CalibrationDisplay
    >>> rng = np.random.default_rng(0)
    >>> deviations = rng.uniform(0.1, 0.3, size=1000)
    >>> display = CalibrationDisplay(deviations * rng.normal(size=1000), deviations).plot()
    >>> display.axes_[0].get_xlabel()
    'level p'
    """

    def __init__(
        self, errors: ArrayLike, deviations: ArrayLike, name: str = "error", unit: str = ""
    ) -> None:
        self.errors = errors
        self.deviations = deviations
        self.name = name
        self.unit = unit

    def plot(self, axes: list[Axes] | None = None) -> Self:
        """Draw both plots.

        Parameters
        ----------
        axes : two matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        errors, deviations = np.asarray(self.errors, float), np.asarray(self.deviations, float)
        found = coverage(errors, deviations)
        self.axes_ = np.asarray(new_axes((8.4, 3.8), 2) if axes is None else axes)
        self.figure_ = self.axes_[0].figure
        _draw_coverage(self.axes_[0], found)
        _draw_bins(self.axes_[1], errors, deviations, self.name, self.unit)
        return self


def _draw_coverage(ax, found):
    ax.plot([0, 1], [0, 1], color="0.5", linewidth=0.8, label="calibrated")
    ax.plot(LEVELS, found, marker=".", markersize=4, label="model")
    ax.fill_between(LEVELS, LEVELS, found, alpha=0.15, linewidth=0)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="level p")
    ax.set_ylabel("fraction of errors within the interval")
    ax.legend(frameon=False, loc="upper left")


def _draw_bins(ax, errors, deviations, name, unit):
    in_unit = f" ({unit})" if unit else ""
    predicted, actual = binned(errors, deviations)
    limits = np.array([min(predicted.min(), actual.min()), max(predicted.max(), actual.max())])
    limits = limits * [0.8, 1.25]
    ax.plot(limits, limits, color="0.5", linewidth=0.8)
    ax.plot(predicted, actual, "o", markersize=4)
    ax.set(xscale="log", yscale="log", xlim=limits, ylim=limits, aspect="equal")
    ax.set(xlabel=f"predicted deviation{in_unit}", ylabel=f"RMS {name}{in_unit}")
    decades = np.log10(limits[1] / limits[0])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def binned(errors, deviations):
    """Root mean squares of deviations and errors in bins of equal size, sorted by deviation."""
    n_bins = int(np.clip(len(errors) // _FEWEST, 1, 20))
    parts = np.array_split(np.argsort(deviations, kind="stable"), n_bins)
    rms = np.array([
        [np.sqrt(np.mean(values[part] ** 2)) for part in parts] for values in (deviations, errors)
    ])  # fmt: skip
    return np.maximum(rms, _SMALLEST)
