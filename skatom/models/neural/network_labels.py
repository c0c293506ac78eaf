"""Labels of networks of graphs: of energies and their derivatives, or of other properties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom._input_checks import structure_weights
from skatom.models._labels import Labels
from skatom.properties import LABELS
from skatom.structures import select


@dataclass(frozen=True)
class NetworkLabel:
    """Labels of one property of n structures.

    Attributes
    ----------
    has : ndarray of bool, shape (n,)
    values : ndarray of float, shape (n, …) or (n_atoms, …)
    noise : ndarray of float, shape (n,) or (n_atoms,)
        Noise standard deviations.
    per : {"structure", "atom"}
    """

    has: np.ndarray
    values: np.ndarray
    noise: np.ndarray
    per: str = "structure"

    def of_rows(self, n_atoms):
        """Which rows of the values are labelled."""
        return self.has if self.per == "structure" else np.repeat(self.has, n_atoms)

    def some(self, chosen, offsets):
        """The labels of some of the structures, whose atoms begin at these offsets."""
        rows, atoms, _ = select(offsets, chosen)
        own = rows if self.per == "structure" else atoms
        return NetworkLabel(self.has[rows], self.values[own], self.noise[own], self.per)


def labels_of_energies(structures, targets, baseline, noise, configurations, weights, extensive):
    """Energies, their gradients and virials without the baseline, a dict of `NetworkLabel`.

    Parameters
    ----------
    structures : Structures
    targets : Targets
    baseline : Baseline or None
    noise : dict
        The parameters noise_energy, noise_forces and noise_virial.
    configurations, weights : array-like or None
        See `Labels.of`.
    extensive : bool
        Whether the noise of energies grows with the root of the number of atoms.
    """
    labels = Labels.of(structures, targets, baseline, noise, configurations, weights)
    roots = 1.0 if extensive else np.sqrt(structures.n_atoms)
    return {
        "energy": NetworkLabel(labels.has_energy, labels.energy, labels.noise_energy / roots),
        "gradient": NetworkLabel(labels.has_forces, -labels.forces, labels.noise_forces, "atom"),
        "virial": NetworkLabel(labels.has_virial, labels.virial, labels.noise_virial),
    }


def labels_of_property(name, structures, targets, weights):
    """Labels of a property that is no energy, each of noise 1, a dict of one `NetworkLabel`."""
    weights = structure_weights(weights, len(structures))
    has = targets.labelled(name) & (weights > 0)
    noise = 1 / np.sqrt(np.where(weights > 0, weights, 1.0))
    per = LABELS[name].per
    noise = noise if per == "structure" else np.repeat(noise, structures.n_atoms)
    return {name: NetworkLabel(has, getattr(targets, name), noise, per)}
