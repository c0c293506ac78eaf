"""Plots of relaxations, molecular dynamics and phonons."""

from __future__ import annotations

from typing import Self

import numpy as np

from skatom._typing import Axes
from skatom.plotting._axes import draw_grid, new_axes
from skatom.simulation import Dynamics, Phonons, Relaxation

_NAMES = {"G": "Γ"}


class RelaxationDisplay:
    """Energy and largest force of a relaxation against its steps.

    Parameters
    ----------
    result : Relaxation
        What `skatom.simulation.relax` gave.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes, shape (2,)
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skatom.plotting import RelaxationDisplay
    >>> from skatom.simulation import relax
    >>> display = RelaxationDisplay(relax(EMT(), bulk("Cu", a=3.5), cell=True)).plot()
    >>> display.axes_[1].get_ylabel()
    'largest force (eV/Å)'
    """

    def __init__(self, result: Relaxation) -> None:
        self.result = result

    def plot(self, axes: list[Axes] | None = None) -> Self:
        """Draw both.

        Parameters
        ----------
        axes : two matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        found = self.result
        self.axes_ = np.asarray(new_axes((8.4, 3.4), 2) if axes is None else axes)
        self.figure_ = self.axes_[0].figure
        steps = np.arange(len(found.energies))
        self.axes_[0].plot(steps, found.energies - found.energies[-1], marker=".", lw=1)
        self.axes_[0].set(xlabel="step", ylabel="energy − last energy (eV)")
        # forces of a crystal whose cell alone is relaxed are zero by symmetry
        self.axes_[1].plot(steps, found.largest_forces, marker=".", lw=1)
        self.axes_[1].set(xlabel="step", ylabel="largest force (eV/Å)")
        if (found.largest_forces > 1e-8).all():
            self.axes_[1].set_yscale("log")
        for ax in self.axes_:
            draw_grid(ax)
        return self


class DynamicsDisplay:
    """Energies and temperature of molecular dynamics against time, and the volume if it changes.

    Parameters
    ----------
    result : Dynamics
        What `skatom.simulation.molecular_dynamics` gave.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes, shape (2,) or (3,)
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skatom.plotting import DynamicsDisplay
    >>> from skatom.simulation import molecular_dynamics
    >>> found = molecular_dynamics(EMT(), bulk("Cu", cubic=True), 20, temperature=300)
    >>> len(DynamicsDisplay(found).plot().axes_)
    2
    """

    def __init__(self, result: Dynamics) -> None:
        self.result = result

    def plot(self) -> Self:
        """Draw them in a new figure.

        Returns
        -------
        self
        """
        found, n_atoms = self.result, len(self.result.atoms)
        moves = bool(np.ptp(found.volumes) > 1e-9 * found.volumes[0])  # no volume is NaN
        self.axes_ = np.asarray(new_axes((4.2 * (2 + moves), 3.4), 2 + moves))
        self.figure_ = self.axes_[0].figure
        total = found.potential + found.kinetic
        for values, label in ((found.potential, "potential"), (total, "total")):
            self.axes_[0].plot(found.times, (values - values[0]) / n_atoms, lw=1, label=label)
        self.axes_[0].set_ylabel("change of energy (eV/atom)")
        self.axes_[0].legend(frameon=False)
        self.axes_[1].plot(found.times, found.temperatures, lw=1)
        self.axes_[1].set_ylabel("temperature (K)")
        if moves:
            self.axes_[2].plot(found.times, found.volumes / n_atoms, lw=1)
            self.axes_[2].set_ylabel("volume (Å³/atom)")
        for ax in self.axes_:
            ax.set_xlabel("time (ps)")
            draw_grid(ax)
        return self


class PhononDisplay:
    """Frequencies of phonons along a path through the zone, and their density of states.

    Parameters
    ----------
    result : Phonons
        What `skatom.simulation.phonons` gave.

    Attributes
    ----------
    axes_ : ndarray of matplotlib.axes.Axes, shape (2,)
        The axes, after ``plot``.
    figure_ : matplotlib.figure.Figure
        The figure, after ``plot``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skatom.plotting import PhononDisplay
    >>> from skatom.simulation import phonons
    >>> display = PhononDisplay(phonons(EMT(), bulk("Cu", a=3.59), (2, 2, 2), path="GX")).plot()
    >>> [label.get_text() for label in display.axes_[0].get_xticklabels()]
    ['Γ', 'X']
    """

    def __init__(self, result: Phonons) -> None:
        self.result = result

    def plot(self, axes: list[Axes] | None = None) -> Self:
        """Draw both.

        Parameters
        ----------
        axes : two matplotlib.axes.Axes, default=None
            Axes to draw on. None: a new figure.

        Returns
        -------
        self
        """
        found = self.result
        self.axes_ = np.asarray(new_axes((8.4, 3.8), 2) if axes is None else axes)
        self.figure_ = self.axes_[0].figure
        bands, density = self.axes_
        bands.plot(found.distances, found.frequencies, color="C0", lw=1)
        places, names = _joined(found.labels)
        bands.set_xticks(places, names)
        for place in places:
            bands.axvline(place, color="0.7", linewidth=0.6, zorder=0)
        bands.axhline(0, color="0.4", linewidth=0.6, zorder=0)
        bands.set(xlim=(places[0], places[-1]), ylabel="frequency (THz)")
        density.plot(found.grid, found.dos, lw=1)
        density.set(xlabel="frequency (THz)", ylabel="density of states (1/THz)")
        density.set_ylim(0, None)
        draw_grid(density)
        return self


def _joined(labels):
    """Places and names of special points; two at one place are written together."""
    names = {}
    for place, name in labels:
        names.setdefault(place, []).append(_NAMES.get(name, name))
    return list(names), ["|".join(dict.fromkeys(texts)) for texts in names.values()]
