"""Errors of a recipe's model against the number of structures that it learns from."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from skatom.metrics import evaluate
from skatom.model_selection import energy_stratified_sample
from skatom.recipes.fitting import fit
from skatom.recipes.settings import text_of

# Errors that are followed, as far as there are labels.
FOLLOWED = ("energy_mae_per_atom", "force_mae")
# Each part is half of the next; the fewest structures of one, and the most parts.
FEWEST, _MOST_PARTS = 8, 4


def nested_parts(structures, targets, random_state=0):
    """Parts of some structures, each half of the next one and contained in it, the smallest first.

    Parameters
    ----------
    structures : Structures
    targets : Targets
        Each part has the distribution of the energies per atom, if all are labelled.
    random_state : int, default=0

    Returns
    -------
    list of ndarray of int
        Sorted indices. All structures are not a part. Parts have at least eight structures, and
        all species.
    """
    rng, part, parts = np.random.RandomState(random_state), np.arange(len(structures)), []
    known = targets.labelled("energy").all()
    energies = targets.energy / structures.n_atoms if known else np.zeros(len(structures))
    while len(part) >= 2 * FEWEST and len(parts) < _MOST_PARTS:
        chosen = energy_stratified_sample(energies[part], len(part) // 2, random_state=rng)
        part = np.sort(part[chosen])
        if len(structures[part].species) < len(structures.species):
            break
        parts.insert(0, part)
    return parts


@dataclass
class LearningCurve:
    """Fits to nested parts of the structures, within a time budget.

    Attributes
    ----------
    recipe : Recipe
    settings : dict
        All settings, by dotted name.
    structures : Structures
    targets : Targets
    test_structures : Structures
        Structures to judge on.
    test_targets : Targets
    seconds : float
        The time budget: no fit begins that would end after it, as far as the last ones tell.
    configurations : ndarray of str, or None
        The configuration of each structure.
    random_state : int
    device : str
    report : callable or None
        Takes the number of structures and the errors of each fit.
    known : dict
        Errors by name, which may come from an earlier run; new ones are added.
    """

    recipe: object
    settings: dict
    structures: object
    targets: object
    test_structures: object
    test_targets: object
    seconds: float
    configurations: np.ndarray | None = None
    random_state: int = 0
    device: str = "cpu"
    report: object = None
    known: dict = field(default_factory=dict)

    def run(self, model):
        """The curve, which ends with a model that has learnt from all structures.

        Parameters
        ----------
        model : fitted estimator

        Returns
        -------
        sizes : list of int
        errors : dict of str to list of float
            By name as in `skatom.metrics.evaluate`: mean absolute errors of energies per atom and
            of forces.
        is_complete : bool
            Whether the time sufficed for all parts.
        """
        begin, times, found = time.monotonic(), [], {}
        parts = nested_parts(self.structures, self.targets, self.random_state)
        for part in parts:
            if times and time.monotonic() - begin + _next(times) > self.seconds:
                break
            started = time.monotonic()
            found[len(part)] = self._errors(part)
            times.append(time.monotonic() - started)
            self._say(len(part), found[len(part)])
        is_complete = len(found) == len(parts)
        found[len(self.structures)] = self._judged(model)
        self._say(len(self.structures), found[len(self.structures)])
        names = [name for name in FOLLOWED if all(name in errors for errors in found.values())]
        errors = {name: [errors[name] for errors in found.values()] for name in names}
        return list(found), errors, is_complete

    def _errors(self, part):
        """The errors of a fit to a part, or those of an earlier run."""
        name = f"{len(part)} structures: {text_of(dict(sorted(self.settings.items())))}"
        if name not in self.known:
            model = self.recipe.make(
                self.settings, random_state=self.random_state, device=self.device
            )
            names = None if self.configurations is None else self.configurations[part]
            with warnings.catch_warnings():  # the fit to all structures shows them
                warnings.simplefilter("ignore")
                model = fit(model, self.structures[part], self.targets[part], names)
            self.known[name] = self._judged(model)
        return self.known[name]

    def _judged(self, model):
        figures = evaluate(model, self.test_structures, self.test_targets)
        return {name: float(figures[name]) for name in FOLLOWED if name in figures}

    def _say(self, n_structures, errors):
        if self.report is not None:
            self.report(n_structures, errors)


def _next(times):
    """The time of the next fit, to twice as many structures; two tell how it grows."""
    growth = times[-1] / max(times[-2], 1e-9) if len(times) > 1 else 2.0
    return times[-1] * min(max(growth, 1.0), 8.0)
