"""What a model predicts of labelled structures, and its errors."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from skatom._prediction import predict, predictable
from skatom.descriptors.features import as_batch, structures_of
from skatom.metrics.evaluation import compared, figures_of
from skatom.properties import LABELS
from skatom.structures import Structures
from skatom.targets import Targets

# Deviations take longer than predictions, so they are of structures of so many atoms in all.
MOST_ATOMS = 4000


@dataclass
class Assessment:
    """Labels and predictions of some structures.

    Attributes
    ----------
    structures : Structures
    labels : Targets
        The properties that the model predicts and any structure is labelled with.
    predicted : dict of str to ndarray
        Predictions of these properties.
    deviations : dict of str to ndarray
        Standard deviations of those that the model gives them for.
    chosen : ndarray of int
        The structures that have deviations.
    seconds : dict of str to float
        Time that the predictions took.
    """

    structures: Structures
    labels: Targets
    predicted: dict
    deviations: dict = field(default_factory=dict)
    chosen: np.ndarray | None = None
    seconds: dict = field(default_factory=dict)

    @property
    def names(self):
        """Names of the properties, in the order of the registry."""
        return tuple(self.predicted)

    def figures(self):
        """The errors of `skatom.metrics.evaluate`."""
        return figures_of(self.labels, self.predicted)

    def errors(self, name):
        """Prediction less label, a row for each structure or atom; NaN where there is no label.

        Energies are divided by the number of atoms.
        """
        errors = self.predicted[name] - getattr(self.labels, name)
        errors = errors.reshape(len(errors), -1)
        return errors / self.structures.n_atoms[:, None] if name == "energy" else errors

    def errors_and_deviations(self, name):
        """Errors and positive deviations of the structures that have them, as flat arrays."""
        part = self.structures[self.chosen]
        rows = self.chosen
        if LABELS[name].per == "atom":
            rows = self._atoms_of(rows)
        errors = self.errors(name)[rows]
        deviations = self.deviations[name].reshape(len(errors), -1)
        if name == "energy":
            deviations = deviations / part.n_atoms[:, None]
        used = np.isfinite(errors) & (deviations > 0)
        return errors[used], deviations[used]

    def structure_of_rows(self, name):
        """The structure that each row of the errors belongs to."""
        n = len(self.structures)
        counts = self.structures.n_atoms if LABELS[name].per == "atom" else np.ones(n, int)
        return np.repeat(np.arange(n), counts)

    def _atoms_of(self, structures):
        edges = self.structures.offsets
        return np.concatenate([np.arange(edges[s], edges[s + 1]) for s in structures])


def assess(model, X, y):
    """Predict labelled structures.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
    X : Structures, list of ase.Atoms, or features
    y : Targets, or array of energies

    Returns
    -------
    Assessment

    Raises
    ------
    ValueError
        If nothing can be compared.
    """
    X = as_batch(X)
    begin = time.perf_counter()
    labels, predicted = compared(model, X, y)
    seconds = {"predictions": time.perf_counter() - begin}
    found = Assessment(structures_of(X), labels, predicted, seconds=seconds)
    _add_deviations(found, model, X)
    return found


def _add_deviations(found, model, X):
    """Standard deviations of at most `MOST_ATOMS` atoms, of structures at equal distances."""
    names = [name for name in found.names if f"{name}_std" in predictable(model)]
    if not names:
        return
    n = len(found.structures)
    fraction = min(1.0, MOST_ATOMS / len(found.structures.numbers))
    found.chosen = np.unique(np.linspace(0, n - 1, max(1, int(fraction * n))).astype(int))
    begin = time.perf_counter()
    answers = predict(model, X[found.chosen], [f"{name}_std" for name in names])
    found.seconds["standard deviations"] = time.perf_counter() - begin
    found.deviations = {name: answers[f"{name}_std"] for name in names}
