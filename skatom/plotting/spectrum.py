"""Spectra of vibrations."""

from __future__ import annotations

from typing import Self

import numpy as np

from skatom._typing import ArrayLike, Axes
from skatom.plotting._axes import draw_grid, new_axes


class SpectrumDisplay:
    r"""A spectrum of Lorentzian lines, or a curve.

    .. math:: A(\tilde\nu) = \sum_k I_k\, \frac{1}{\pi}
        \frac{w / 2}{(\tilde\nu - \tilde\nu_k)^2 + (w / 2)^2}

    Parameters
    ----------
    wavenumbers : array-like of float, shape (n,)
        Wavenumbers of the lines, or of the points of a curve, in 1/cm.
    intensities : array-like of float, shape (n,)
        Intensities of the lines in km/mol, as from `skatom.vibrations.infrared_intensities`, or the
        absorption at each point, as from `skatom.simulation.infrared_spectrum`.
    width : float, default=10.0
        Full width w of a line at half maximum in 1/cm. None: the points are those of a curve.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

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

    def __init__(
        self, wavenumbers: ArrayLike, intensities: ArrayLike, width: float | None = 10.0
    ) -> None:
        self.wavenumbers = wavenumbers
        self.intensities = intensities
        self.width = width

    def plot(self, ax: Axes | None = None, *, label: str | None = None) -> Self:
        """Draw the spectrum; several displays on one ``ax`` compare models.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.
        label : str, default=None
            Label of this spectrum in the legend.

        Returns
        -------
        self
        """
        lines, heights = np.asarray(self.wavenumbers, float), np.asarray(self.intensities, float)
        if lines.shape != heights.shape or lines.ndim != 1 or len(lines) == 0:
            raise ValueError(
                f"wavenumbers {lines.shape} and intensities {heights.shape} must be as many"
            )
        if self.width is not None:
            lines, heights = self._broadened(lines, heights)
        self.ax_ = new_axes((6.4, 3.2)) if ax is None else ax
        self.figure_ = self.ax_.figure
        self.ax_.plot(lines, heights, lw=1, label=label)
        self.ax_.set(
            xlabel="wavenumber (1/cm)", ylabel="absorption (km/mol cm)", xlim=(lines[0], lines[-1]),
            ylim=(0, None),
        )  # fmt: skip
        draw_grid(self.ax_)
        if label is not None:
            self.ax_.legend(frameon=False)
        return self

    def _broadened(self, lines, heights):
        """The points of a curve with these lines."""
        if not self.width > 0:
            raise ValueError(f"width={self.width} must be positive, in 1/cm, or None for a curve")
        axis = np.arange(min(lines.min(), 0.0), 1.1 * lines.max(), self.width / 10)
        half = 0.5 * self.width
        shapes = half / np.pi / ((axis[:, None] - lines) ** 2 + half**2)
        return axis, shapes @ heights
