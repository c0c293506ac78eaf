"""Searches of the best candidate that learn from every value."""

from __future__ import annotations

import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.utils import check_random_state

from skatom._files import written_whole
from skatom._progress import tqdm
from skatom._typing import Array, ArrayLike, Estimator, RandomState
from skatom._warnings import warn
from skatom.active.acquisition import (
    expected_improvement,
    probability_of_improvement,
    upper_confidence_bound,
)
from skatom.active.candidates import Box, as_pool, fingerprint
from skatom.active.draws import drawn_values
from skatom.active.surrogates import Surrogates, last_step
from skatom.parallel import serial_blas

_PROMISES = {
    "expected_improvement": expected_improvement,
    "probability_of_improvement": probability_of_improvement,
    "upper_confidence_bound": lambda mean, std, best: upper_confidence_bound(mean, std),
}
# Deviations below this share of the values are rounding error.
_NOTHING = 1e-12
ACQUISITIONS = (*_PROMISES, "thompson", "random")


class BayesianSearch:
    r"""Look for the candidate of the best value, by a model that knows how certain it is.

    .. math::
        x_{n+1} = \arg\max_x\, a\big( \mu_n(x), \sigma_n(x) \big)

    The first candidates are drawn at random. Then a copy of the estimator is fitted to all values
    that are known, and the candidate that its prediction μ and standard deviation σ promise most is
    next, according to the acquisition function a. Thompson sampling draws one of the functions that
    the model holds for possible, and takes its best candidate.

    `run` calls a function of the candidates; where they are computed elsewhere, `ask` says which
    are next, and `tell` takes their values. With a ``checkpoint`` every value is written to a file,
    from which the same search goes on after an interruption.

    Parameters
    ----------
    estimator : estimator
        Any regressor with ``predict(X, return_std=True)``, of scikit-learn or skatom, or a Pipeline
        of one, such as ``GaussianProcessRegressor(normalize_y=True)``. For "thompson" one that
        draws functions: a Gaussian process of scikit-learn, or its ``BayesianRidge`` of random
        features, ``make_pipeline(RandomFourierFeatures(500), BayesianRidge())``, whose cost does
        not grow with the number of candidates squared.
    candidates : array-like (n, d), StructureFeatures, Structures, list of ase.Atoms or Box
        The pool. Features of structures are computed once; a Pipeline that begins with a descriptor
        computes those of the pool for each new value.
    acquisition : str, default="expected_improvement"
        "expected_improvement", "probability_of_improvement", "upper_confidence_bound", "thompson"
        or, to compare with, "random".
    maximize : bool, default=False
        Whether the best value is the largest; otherwise it is the smallest.
    n_initial : int, default=10
        Number of candidates that are drawn at random.
    learn_every : int, default=1
        Number of new values after which a Gaussian process of scikit-learn learns its
        hyperparameters anew; in between, those of before are kept. Length scales for each feature
        are worth their time where features are not equally important. Other estimators are fitted
        as a whole after each value.
    checkpoint : path, default=None
        File of the values. If it is there, the search goes on from it.
    random_state : int, RandomState or None, default=None
        Seed of the first candidates and of Thompson sampling.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    indices_ : ndarray of int, shape (n_values,)
        The candidates with known values, in their order; of a Box 0, 1, 2 ….
    values_ : ndarray of float, shape (n_values,)
        Their values; NaN of those that could not be computed, which are not asked for again.
    points_ : ndarray of float, shape (n_values, d)
        The points of a Box.
    best_index_ : int
        The best candidate so far.
    best_value_ : float
        Its value.
    best_values_ : ndarray of float, shape (n_values,)
        The best value after each.

    Raises
    ------
    ValueError
        If the acquisition is not known, the estimator gives no deviations, the checkpoint is of
        other candidates, or no candidate is left.

    References
    ----------
    .. [1] T. Ueno et al., Mater. Discov. 4, 18 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from sklearn.gaussian_process.kernels import RBF
    >>> from skatom.active import BayesianSearch
    >>> pool = np.linspace(0, 10, 201)[:, None]
    >>> model = GaussianProcessRegressor(RBF(1.0), optimizer=None, normalize_y=True)
    >>> search = BayesianSearch(model, pool, n_initial=3, random_state=0)
    >>> search = search.run(lambda x: np.sin(3 * x[0]) + 0.1 * (x[0] - 6) ** 2, 20)
    >>> float(pool[search.best_index_, 0]), round(search.best_value_, 3)
    (5.75, -0.993)
    """

    def __init__(
        self,
        estimator: Estimator,
        candidates: Any,
        *,
        acquisition: str = "expected_improvement",
        maximize: bool = False,
        n_initial: int = 10,
        learn_every: int = 1,
        checkpoint: str | Path | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        if acquisition not in ACQUISITIONS:
            raise ValueError(f"acquisition={acquisition!r}: choose from {', '.join(ACQUISITIONS)}")
        if n_initial < 1:
            raise ValueError(f"n_initial={n_initial}: a model needs at least one value")
        if learn_every < 1:
            raise ValueError(f"learn_every={learn_every}: give 1 or more values")
        self.estimator = estimator
        self.candidates = as_pool(candidates)
        if not isinstance(self.candidates, Box) and not len(self.candidates):
            raise ValueError("there are no candidates: give at least one")
        self.acquisition = acquisition
        self.maximize = maximize
        self.n_initial = n_initial
        self.learn_every = learn_every
        self._surrogates = Surrogates(estimator, n_initial, learn_every)
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.verbose = verbose
        self._random, self._fingerprint = check_random_state(random_state), None
        self.indices_, self.values_ = np.empty(0, int), np.empty(0)
        if isinstance(self.candidates, Box):
            self.points_ = np.empty((0, len(self.candidates.low)))
        if self.checkpoint is not None:
            self._fingerprint = fingerprint(self.candidates)
            if self.checkpoint.exists():
                self._read()

    def ask(self, n: int = 1) -> Array:
        """The candidates to compute next.

        The second and further ones are chosen as if the values of those before them were what the
        model predicts.

        Parameters
        ----------
        n : int, default=1
            How many.

        Returns
        -------
        ndarray of int, shape (n,), or for a Box of float, shape (n, d)
            Indices in the pool, or points. They are fewer than n if no more are left.
        """
        if isinstance(self.candidates, Box):
            return self._ask_box(n)
        left = np.setdiff1d(np.arange(len(self.candidates)), self.indices_)
        if not len(left):
            raise ValueError(
                f"all {len(self.candidates)} candidates have values: the search is at its end"
            )
        known, values = self._known(self.indices_), self._signed(self.values_[self._is_known])
        chosen = []
        for _ in range(min(n, len(left))):
            new = np.setdiff1d(left, chosen)
            place, believed = self._best_of(self.candidates, new, known, values)
            chosen.append(int(new[place]))
            known, values = np.append(known, chosen[-1]), np.append(values, believed)
        return np.array(chosen, int)

    def tell(self, which: ArrayLike, values: ArrayLike) -> Self:
        """Learn the values of some candidates.

        Parameters
        ----------
        which : array-like of int, shape (n,), or for a Box of float, shape (n, d)
            The candidates, as `ask` names them.
        values : array-like of float, shape (n,)
            Their values; NaN of those that could not be computed.

        Returns
        -------
        self
        """
        values = np.atleast_1d(np.asarray(values, float))
        if len(which) != len(values):
            raise ValueError(f"{len(values)} values of {len(which)} candidates: give one each")
        if isinstance(self.candidates, Box):
            self.points_ = np.vstack([self.points_, which])
            which = len(self.indices_) + np.arange(len(values))
        which = np.asarray(which, int)
        again = which[np.isin(which, self.indices_)]
        if len(again):
            raise ValueError(f"candidate {again[0]} has a value already: tell each once")
        self.indices_ = np.append(self.indices_, which)
        self.values_ = np.append(self.values_, values)
        if self.checkpoint is not None:
            self._write()
        return self

    def run(self, function: Callable, n_values: int) -> Self:
        """Compute values one after the other until ``n_values`` are known, or no candidate is left.

        Parameters
        ----------
        function : callable
            Takes a candidate, a row of the array, an ``ase.Atoms`` of structures, or features of
            one structure, and returns its value. If it raises an error the search keeps what it
            knows, and another `run` goes on.
        n_values : int
            How many values there shall be, with those that are known already.

        Returns
        -------
        self
        """
        n = n_values if isinstance(self.candidates, Box) else min(n_values, len(self.candidates))
        with tqdm(total=n, initial=len(self.values_), disable=not self.verbose) as bar:
            while len(self.values_) < n:
                which = self.ask()
                self.tell(which, [function(self._candidate(which[0]))])
                bar.update()
        return self

    @property
    def best_index_(self) -> int:
        """The best candidate so far."""
        self._check_values()
        return int(self.indices_[np.nanargmax(self._signed(self.values_))])

    @property
    def best_value_(self) -> float:
        """The value of the best candidate so far."""
        self._check_values()
        return float(self.values_[np.nanargmax(self._signed(self.values_))])

    @property
    def best_values_(self) -> Array:
        """The best value after each."""
        return self._signed(np.fmax.accumulate(self._signed(self.values_)))

    @property
    def _is_known(self):
        return ~np.isnan(self.values_)

    def _check_values(self):
        if not self._is_known.any():
            raise ValueError("no value is known yet: call run, or tell some")

    def _signed(self, values):
        """Values that should be large."""
        return values if self.maximize else -values

    def _known(self, indices):
        return indices[self._is_known]

    def _best_of(self, pool, new, known, values):
        """The place of the most promising of the new candidates, and its likely value."""
        if len(values) < self.n_initial or self.acquisition == "random":
            return int(self._random.randint(len(new))), np.mean(values) if len(values) else 0.0
        with serial_blas():  # small matrices, one after the other: threads would only wait
            n_told = int(self._is_known.sum())
            model = self._surrogates.fitted(pool, known, values, n_told)
            if self.acquisition == "thompson":
                drawn = drawn_values(model, pool[new], self._random)
                place = int(drawn.argmax())
                return place, drawn[place]
            mean, std = self._predicted(model, pool[new])
        place = int(_PROMISES[self.acquisition](mean, std, values.max()).argmax())
        return place, mean[place]

    def _predicted(self, model, X):
        last = last_step(model)
        given = signature(last.predict).parameters
        if "return_std" not in given and "energy_std" not in getattr(last, "outputs_", ()):
            raise ValueError(
                f"{type(last).__name__} predicts no standard deviations: take a model that does, "
                f"such as Committee({type(last).__name__}()), or acquisition='random'"
            )
        mean, std = model.predict(X, return_std=True)
        if len(std) > 1 and std.max() <= _NOTHING * np.abs(mean).max():
            warn(
                f"all deviations of {type(last).__name__} are 0, so nothing is explored: members "
                "of a committee must differ in their data or seeds"
            )
        return mean, std

    def _ask_box(self, n):
        box, chosen = self.candidates, []
        points, values = self.points_[self._is_known], self._signed(self.values_[self._is_known])
        for _ in range(n):
            half = box.n_candidates // 2
            new = box.sample(box.n_candidates - half, self._random)
            if len(values):
                near = box.around(points[values.argmax()], half, self._random)
                new = np.vstack([new, near])
            pool = np.vstack([points, new])
            old, places = np.arange(len(points)), np.arange(len(points), len(pool))
            place, believed = self._best_of(pool, places, old, values)
            chosen.append(new[place])
            points, values = np.vstack([points, new[place]]), np.append(values, believed)
        return np.array(chosen)

    def _candidate(self, which):
        if isinstance(self.candidates, Box):
            return which
        if hasattr(self.candidates, "to_ase"):
            return self.candidates[which : which + 1].to_ase()[0]
        return self.candidates[which]

    def _write(self):
        state = {
            "candidates": self._fingerprint,
            "indices": self.indices_.tolist(),
            "values": [None if np.isnan(v) else v for v in self.values_.tolist()],
            "random": _plain(self._random.get_state()),
        }
        if isinstance(self.candidates, Box):
            state["points"] = self.points_.tolist()
        with written_whole(self.checkpoint) as path:
            path.write_text(json.dumps(state), encoding="utf-8")

    def _read(self):
        state = json.loads(self.checkpoint.read_text(encoding="utf-8"))
        if state["candidates"] != self._fingerprint:
            raise ValueError(
                f"{self.checkpoint} is of a search among other candidates: give these, or another "
                "checkpoint"
            )
        self.indices_ = np.array(state["indices"], int)
        self.values_ = np.array([np.nan if v is None else v for v in state["values"]], float)
        name, keys, *rest = state["random"]
        self._random = np.random.RandomState()
        self._random.set_state((name, np.array(keys, np.uint32), *rest))
        if isinstance(self.candidates, Box):
            self.points_ = np.array(state["points"], float).reshape(-1, len(self.candidates.low))


def _plain(state):
    name, keys, *rest = state
    return [name, keys.tolist(), *rest]
