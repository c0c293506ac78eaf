"""The search of the few settings that matter, within a time budget."""

from __future__ import annotations

import itertools
import time
import warnings
from dataclasses import dataclass, field

import numpy as np

from skatom.metrics import evaluate
from skatom.model_selection.noise_search import NoiseSearchCV, stratified_folds
from skatom.recipes.fitting import fit
from skatom.recipes.settings import merged, text_of

# Å: how much an error of forces weighs beside one of energies. A descriptor is judged by the
# forces foremost, of which there are hundreds for each energy.
_OF_SETTINGS, _OF_NOISES = 0.1, 0.03
_FOLDS, _FOLDS_OF_NOISES = 3, 5
# Share of the time after which settings are no longer searched and noises begin.
_SHARE = 0.6
# Share of the score by which settings must be better than those before, to replace them.
_CLEAR = 0.01
# Representatives of all species with which descriptors are compared, and the fewest of one.
_FEW, _FEWEST = 400, 100
# What the noises of the recipe are multiplied by, and those of each configuration.
_FACTORS = {"noise_energy": (0.2, 0.6, 1.0, 2.0), "noise_forces": (0.5, 1.0, 2.0)}
_OF_CONFIGURATIONS = (0.3, 3.0)


@dataclass
class Tuned:
    """What a search found.

    Attributes
    ----------
    settings : dict
        The best settings, by dotted name.
    chosen : dict
        Those that differ from the ones before the search.
    before, after : tuple of float
        Cross-validated mean absolute errors of energies (eV per atom) and forces (eV/Å) with the
        settings before the search and with the best ones, of the same structures.
    n_trials : int
        How many settings were tried.
    is_complete : bool
        Whether the time sufficed for all.
    """

    settings: dict
    chosen: dict
    before: tuple
    after: tuple
    n_trials: int
    is_complete: bool


@dataclass
class Search:
    """A search by cross-validation: data, limits, and what was tried.

    Attributes
    ----------
    recipe : Recipe
    facts : Facts
    structures : Structures
    targets : Targets
    seconds : float
        The time budget.
    configurations : ndarray of str, or None
        The configuration of each structure.
    random_state : int
    device : str
    report : callable or None
        Takes a line for each trial.
    known : dict
        Results of trials by their name, which may come from an earlier run; new ones are added.
    """

    recipe: object
    facts: object
    structures: object
    targets: object
    seconds: float
    configurations: np.ndarray | None = None
    random_state: int = 0
    device: str = "cpu"
    report: object = None
    known: dict = field(default_factory=dict)

    def run(self, settings, fixed=()):
        """The best settings, from these on.

        Parameters
        ----------
        settings : dict
            All settings, by dotted name.
        fixed : iterable of str
            Those that shall stay as they are.

        Returns
        -------
        Tuned
        """
        self._begin, self._longest = time.monotonic(), 0.0
        self.is_complete, self.n_trials = True, 0
        self.fixed, self.part = set(fixed), self._part(self.recipe.trial_atoms)
        best = first = self._trial(dict(settings), {})
        for stage in self.recipe.stages(self.facts, settings):
            stage = {name: values for name, values in stage.items() if name not in self.fixed}
            best = self._stage(best, stage)
        found = self._refined(best["settings"])
        chosen = {name: value for name, value in found.items() if settings.get(name) != value}
        return Tuned(
            found, chosen, first["before"], best["errors"], self.n_trials, self.is_complete
        )

    share = 1.0

    def _refined(self, settings):
        """The best settings; a search of another kind goes on here."""
        return settings

    def _stage(self, best, stage):
        """The best of all combinations of the values of a stage, or those before.

        Those before stay unless the gain is clear: a handful of structures that no others resemble,
        such as surfaces, decide smaller differences, which mean nothing for other structures.
        """
        start, combinations = best["settings"], itertools.product(*stage.values())
        before = best
        for values in combinations if stage else ():
            tried = dict(zip(stage, values, strict=True))
            if all(start.get(name) == value for name, value in tried.items()):
                continue
            if not self._has_time():
                break
            found = self._trial(start, tried)
            if found["score"] < best["score"]:
                best = found
        return best if best["score"] < (1 - _CLEAR) * before["score"] else before

    def _has_time(self):
        """Whether another trial ends within the share of the budget."""
        ends = time.monotonic() - self._begin + self._longest
        self.is_complete &= ends < self.share * self.seconds
        return ends < self.share * self.seconds

    def _trial(self, start, tried):
        """Settings, score and errors of a trial, also of one of an earlier run."""
        settings = merged(start, tried)
        name = f"{len(self.part)} structures: {text_of(dict(sorted(settings.items())))}"
        begin = time.monotonic()
        if name not in self.known:
            with warnings.catch_warnings():  # the fit to all data shows them
                warnings.simplefilter("ignore")
                self.known[name] = self._evaluated(settings)
        self._longest = max(self._longest, time.monotonic() - begin)
        self.n_trials += 1
        found = self.known[name]
        self._say(text_of(tried | found["noises"]) or "as before", found["errors"])
        return found | {"settings": merged(settings, found["noises"])}

    def _evaluated(self, settings):
        """The result of a trial, by fits without each of some folds."""
        structures, targets = self.structures[self.part], self.targets[self.part]
        names = None if self.configurations is None else self.configurations[self.part]
        fold = stratified_folds(
            np.zeros(len(self.part)) if names is None else names, _FOLDS, self.random_state
        )
        errors = []
        for k in range(_FOLDS):
            rest, out = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            of_rest = None if names is None else names[rest]
            model = fit(self._model(settings), structures[rest], targets[rest], of_rest)
            figures = evaluate(model, structures[out], targets[out])
            errors.append([figures.get(n, 0.0) for n in ("energy_mae_per_atom", "force_mae")])
        energy, forces = (float(x) for x in np.mean(errors, axis=0))
        pair = [energy, forces]
        return {
            "score": energy + _OF_SETTINGS * forces, "errors": pair, "before": pair, "noises": {}
        }  # fmt: skip

    def _model(self, settings):
        return self.recipe.make(settings, random_state=self.random_state, device=self.device)

    def _part(self, n_atoms):
        """Evenly spaced structures of about so many atoms in all."""
        step = max(1, round(len(self.structures.numbers) / n_atoms))
        return np.arange(0, len(self.structures), step)

    def _say(self, what, errors):
        if self.report is not None:
            energy, forces = errors
            self.report(f"{what}: {1e3 * energy:.3g} meV per atom, {forces:.4f} eV/Å")


def search_of(recipe):
    """The class of searches for a recipe."""
    return Search if recipe.representatives is None else SearchWithNoises


class SearchWithNoises(Search):
    """A search for sparse Gaussian processes, whose noises are tried on rows made once.

    Descriptors are compared with few representatives; the noises, which stand for what
    representatives cannot express, are chosen with half of those of the model.
    """

    share = _SHARE

    def _evaluated(self, settings):
        few = settings | {self.recipe.representatives: self._few(settings)}
        search = self._noises(few, self.part, _OF_SETTINGS, ())
        return {
            "score": search.best_score_,
            "errors": list(search.best_errors_),
            "before": list(search.cv_results_[0]["errors"]),
            "noises": {
                name: search.best_params_[name] for name in _FACTORS if name not in self.fixed
            },
        }

    def _refined(self, settings):
        """The noises, with as many structures as there is time for, and by configuration."""
        if set(_FACTORS) <= self.fixed:
            return settings
        size = self._half(settings)
        grown = size / self._few(settings)
        per_atom = self._longest * grown**1.5 / self.structures.n_atoms[self.part].sum()
        left = self.seconds - (time.monotonic() - self._begin)
        n_atoms = max(left / max(per_atom, 1e-9), self.recipe.trial_atoms / 4)
        part = self._part(n_atoms)
        self.is_complete &= len(part) == len(self.structures)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search = self._noises(
                settings | {self.recipe.representatives: size}, part, _OF_NOISES,
                _OF_CONFIGURATIONS,
            )  # fmt: skip
        found = {name: search.best_params_[name] for name in _FACTORS if name not in self.fixed}
        self.n_trials += 1
        self._say(text_of({self.recipe.representatives: size} | found), search.best_errors_)
        return self._for_all(settings | found)

    def _noises(self, settings, part, displacement, configuration_factors):
        names = None if self.configurations is None else self.configurations[part]
        search = NoiseSearchCV(
            self._model(settings), {n: f for n, f in _FACTORS.items() if n not in self.fixed},
            configuration_factors=configuration_factors if "noise_energy" not in self.fixed else (),
            cv=_FOLDS_OF_NOISES, displacement=displacement, random_state=self.random_state,
        )  # fmt: skip
        return search.fit(self.structures[part], self.targets[part], names)

    def _for_all(self, settings):
        """The settings, with noises of configurations that no structure of the part has."""
        noise = settings["noise_energy"]
        if isinstance(noise, dict) and self.configurations is not None:
            names = np.unique(self.configurations).tolist()
            rest = float(np.median(list(noise.values())))
            settings = settings | {"noise_energy": {n: noise.get(n, rest) for n in names}}
        return settings

    def _few(self, settings):
        few, own = max(_FEWEST, _FEW // len(self.facts.species)), self._own(settings)
        return min(few, own) if isinstance(own, int) else few

    def _half(self, settings):
        own = self._own(settings)
        return max(self._few(settings), own // 2) if isinstance(own, int) else _FEW

    def _own(self, settings):
        """The number of representatives of the model, or something else, by species."""
        return settings[self.recipe.representatives]
