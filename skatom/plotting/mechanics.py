"""Plots of equations of state and of reaction paths."""

from __future__ import annotations

from typing import Self

from ase.eos import EquationOfState
from ase.utils.forcecurve import fit_images

from skatom._typing import Axes
from skatom.mechanics import BulkModulus, ReactionPath
from skatom.plotting._axes import draw_grid, new_axes


class EquationOfStateDisplay:
    """Energy against volume, with the fitted equation of state.

    Parameters
    ----------
    result : BulkModulus
        What `skatom.mechanics.bulk_modulus` gave.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skatom.mechanics import bulk_modulus
    >>> from skatom.plotting import EquationOfStateDisplay
    >>> display = EquationOfStateDisplay(bulk_modulus(EMT(), bulk("Cu", a=3.6))).plot()
    >>> display.ax_.get_xlabel()
    'volume (Å³)'
    """

    def __init__(self, result: BulkModulus) -> None:
        self.result = result

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the points and the curve.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        found = self.result
        relative = found.energies - found.energy
        equation = EquationOfState(found.volumes, relative, eos=found.equation)
        equation.fit()
        curve = equation.getplotdata()[4:6]
        self.ax_ = new_axes((5.0, 3.8)) if ax is None else ax
        self.figure_ = self.ax_.figure
        self.ax_.plot(*curve, lw=1.2)
        self.ax_.plot(found.volumes, relative, "o", markersize=4)
        self.ax_.set(xlabel="volume (Å³)", ylabel="energy − lowest energy (eV)")
        self.ax_.set_title(f"K = {found.value:.4g} GPa, V = {found.volume:.5g} Å³", fontsize=10)
        draw_grid(self.ax_)
        return self


class ReactionPathDisplay:
    """Energies of the images of a path against its length, joined by curves of the slopes.

    Parameters
    ----------
    result : ReactionPath
        What `skatom.mechanics.barrier` gave.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase.calculators.morse import MorsePotential
    >>> from skatom.mechanics import barrier
    >>> from skatom.plotting import ReactionPathDisplay
    >>> base = [[1, 0, 0], [-0.5, 0.87, 0], [-0.5, -0.87, 0]]
    >>> ends = [Atoms("Ar4", [*base, [0, 0, z]]) for z in (-1.4, 1.4)]
    >>> display = ReactionPathDisplay(barrier(MorsePotential(r0=1.7), *ends)).plot()
    >>> display.ax_.get_xlabel()
    'length of the path (Å)'
    """

    def __init__(self, result: ReactionPath) -> None:
        self.result = result

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the energies and the curve.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        found, curve = self.result, fit_images(self.result.images)
        self.ax_ = new_axes((5.0, 3.8)) if ax is None else ax
        self.figure_ = self.ax_.figure
        self.ax_.plot(curve.fit_path, curve.fit_energies, lw=1.2)
        self.ax_.plot(curve.path, found.energies - found.energies[0], "o", markersize=5)
        self.ax_.set(xlabel="length of the path (Å)", ylabel="energy − first energy (eV)")
        self.ax_.set_title(
            f"barriers: forward {found.forward:.3g} eV, backward {found.backward:.3g} eV",
            fontsize=10,
        )
        draw_grid(self.ax_)
        return self
