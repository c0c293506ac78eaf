"""A grid search whose candidates share their work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import MetaEstimatorMixin, _fit_context, clone
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._progress import tqdm
from skatom._typing import Array, ArrayLike, Estimator, FeaturesLike, TargetsLike
from skatom._warnings import warn
from skatom.base import BaseEstimator
from skatom.metrics import get_scorer, get_scorer_names
from skatom.model_selection.candidates import clone_of_values, grouped, seen
from skatom.model_selection.search_results import results_of, warn_of_edges
from skatom.structures import as_structures
from skatom.targets import as_targets


class SharedGridSearchCV(MetaEstimatorMixin, BaseEstimator):
    r"""Search of a grid by cross-validation, in which candidates share their work.

    .. math:: \theta^* = \arg\max_\theta \frac1K \sum_k s\big(f_\theta(X_{\ne k}),\, X_k\big)

    It has the parameters, attributes and results of scikit-learn's `GridSearchCV`, and is faster:

    - Features are made once for all candidates and splits of equal descriptors.
    - `GDML` and `SGDML` find symmetries once for each split, and make the kernel matrix of all
      frames once for each ``sigma``; the splits and values of ``alpha`` take their rows of it.
    - `ForceKernelRidge` makes Jacobians once, and the covariance matrix of all structures once for
      each kernel.
    - Other models are fitted one by one. `NoiseSearchCV` shares the rows of sparse models.

    A matrix that does not fit in memory beside a factor is made for each fit, as without sharing.
    A model shares work if it has a function ``shared_fits``, see `GDML.shared_fits`. Models are
    diagnosed after the last fit only, not in the splits.

    Parameters
    ----------
    estimator : estimator or Pipeline
        The model.
    param_grid : dict of list, or list of these
        Values of each parameter; all combinations are tried.
    scoring : str or callable, default=None
        A name of `skatom.metrics.get_scorer_names` or of scikit-learn, or a function of a fitted
        estimator, X and y. None: the estimator's ``score``.
    refit : bool, default=True
        Fit the best candidate to all data.
    cv : int, splitter or iterable of (train, test), default=None
        None: 5 folds.
    error_score : "raise" or float, default=nan
        Score of a fit that fails, or "raise".
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        Parameters, scores and times as in `GridSearchCV`. Shared work counts for the fit that
        comes first; that of features counts for none.
    best_estimator_ : estimator
        The best candidate, fitted to all data, if ``refit``.
    best_params_ : dict
    best_index_ : int
        Its place in ``cv_results_``.
    best_score_ : float
        Its mean score.
    n_splits_ : int
    scorer_ : callable
    refit_time_ : float
        Seconds.

    Raises
    ------
    ValueError
        If all fits fail.

    Warns
    -----
    UserWarning
        If a number among the best parameters is the smallest or largest of those tried.
    FitFailedWarning
        If some fits fail.

    See Also
    --------
    NoiseSearchCV : For sparse Gaussian processes.

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.model_selection import SharedGridSearchCV
    >>> from skatom.models import SGDML
    >>> data = load_ethanol()
    >>> grid = {"sigma": [5.0, 20.0, 80.0], "alpha": [1e-10, 1e-8]}
    >>> search = SharedGridSearchCV(SGDML(), grid, scoring="neg_force_rmse", cv=3)
    >>> search = search.fit(data.structures[::60], data.targets[::60])
    >>> search.best_params_["sigma"]
    20.0
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit"])],
        "param_grid": [dict, list],
        "scoring": [str, callable, None],
        "refit": ["boolean"],
        "cv": ["cv_object"],
        "error_score": [StrOptions({"raise"}), Real],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: Estimator,
        param_grid: dict | list,
        *,
        scoring: str | Callable | None = None,
        refit: bool = True,
        cv: Any = None,
        error_score: str | float = np.nan,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.param_grid = param_grid
        self.scoring = scoring
        self.refit = refit
        self.cv = cv
        self.error_score = error_score
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: FeaturesLike,
        y: TargetsLike,
        groups: ArrayLike | None = None,
        configurations: ArrayLike | None = None,
    ) -> Self:
        """Try all candidates, and fit the best one to all data.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, features or array
            The n structures.
        y : Targets, or array-like of shape (n,)
            Labels.
        groups : array-like of shape (n,), default=None
            Groups of the structures, for the splitter.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for models that take them.

        Returns
        -------
        self
        """
        X, y = _indexable(X, y)
        candidates = list(ParameterGrid(self.param_grid))
        splits = list(check_cv(self.cv, None).split(X, y, groups))
        self.scorer_, self.n_splits_ = self._scorer(), len(splits)
        shape = len(candidates), len(splits)
        found = np.full(shape, np.nan), np.zeros(shape), np.zeros(shape)
        n_fits = len(candidates) * len(splits)
        with tqdm(total=n_fits, desc="fits", disable=not self.verbose) as bar:
            for place, split, fit, score in self._fits(candidates, X, y, splits, configurations):
                self._judge(fit, score, [table[place, split : split + 1] for table in found])
                bar.update()
        self._choose(candidates, *found)
        self._warn_of_failures(found[0])
        if self.refit:
            given = {} if configurations is None else {"configurations": configurations}
            self._refit(X, y, given)
        return self

    def _fits(self, candidates, X, y, splits, configurations):
        """For each fit its places, a function that returns a model, and one that scores it."""
        for group in grouped(self.estimator, candidates):
            for part in seen(group.steps, X, y, splits):
                names = configurations
                if names is not None and len(part.splits) < len(splits):
                    names = np.asarray(names)[splits[part.splits[0]][0]]
                for m, p, fit in _shared(group.models, part.X, part.y, part.trains, names):
                    score = partial(self._score, group, part, p, X[splits[part.splits[p]][1]])
                    yield group.places[m], part.splits[p], fit, score

    def _score(self, group, part, p, structures, model):
        """The score of a model; metrics of skatom take its features."""
        tested, labels = part.tests[p]
        if not group.steps or _takes_features(self.scorer_):
            return self.scorer_(model, tested, labels)
        whole = Pipeline([*part.steps[p], ("model", model)])
        return self.scorer_(whole, structures, labels)

    def _judge(self, fit, score, places):
        """Fit and score, and write the score and both times."""
        begin = time.perf_counter()
        try:
            model = fit()
            places[1][:] = time.perf_counter() - begin
            begin = time.perf_counter()
            places[0][:] = score(model)
            places[2][:] = time.perf_counter() - begin
        except Exception as error:
            if self.error_score == "raise":
                raise
            self._failure = f"{type(error).__name__}: {error}"
            places[0][:] = self.error_score

    def _warn_of_failures(self, scores):
        failure = vars(self).pop("_failure", None)
        if failure is not None:
            warn(f"some fits of the search failed, the last one with {failure}", FitFailedWarning)

    def _scorer(self):
        if isinstance(self.scoring, str) and self.scoring in get_scorer_names():
            return get_scorer(self.scoring)
        return check_scoring(self.estimator, self.scoring)

    def _choose(self, candidates, scores, fit_times, score_times):
        if np.isnan(scores).all():
            raise ValueError(f"all fits of the search failed, the last one with {self._failure}")
        self.cv_results_ = results_of(candidates, scores, fit_times, score_times)
        self.best_index_ = int(self.cv_results_["rank_test_score"].argmin())
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self.best_params_ = candidates[self.best_index_]
        warn_of_edges(candidates, self.best_params_)

    def _refit(self, X, y, given):
        best = clone(self.estimator).set_params(**clone_of_values(self.best_params_))
        if isinstance(best, Pipeline):
            given = {f"{best.steps[-1][0]}__{name}": value for name, value in given.items()}
        begin = time.perf_counter()
        self.best_estimator_ = best.fit(X, y, **given)
        self.refit_time_ = time.perf_counter() - begin

    def predict(self, X: FeaturesLike, **parameters: Any) -> Any:
        """Predict by the best estimator; keywords are those of its ``predict``."""
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.predict(X, **parameters)

    def score(self, X: FeaturesLike, y: TargetsLike) -> float:
        """The score of the best estimator, by ``scoring``."""
        check_is_fitted(self, "best_estimator_")
        return self.scorer_(self.best_estimator_, X, y)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.two_d_array = False
        return tags


def _indexable(X, y):
    """X and y that an array of indices selects from."""
    if isinstance(X, np.ndarray):
        return X, np.asarray(y)
    if not hasattr(X, "descriptor"):
        X = as_structures(X)
    return X, as_targets(y, getattr(X, "structures", X))


def _takes_features(scorer):
    """Whether a scorer needs no more of X than the model does: those of skatom, and `score`."""
    name = type(scorer).__module__ if not hasattr(scorer, "__name__") else scorer.__module__
    return name.startswith(("skatom.", "sklearn.metrics"))


def _shared(models, X, y, parts, configurations) -> Iterator:
    """The fits of models to parts of the data, shared if the models' class can."""
    given = {} if configurations is None else {"configurations": configurations}
    kinds = {type(model) for model in models}
    share = getattr(next(iter(kinds)), "shared_fits", None)
    if share is not None and len(kinds) == 1:
        yield from share(models, X, y, parts, **given)
        return
    for m, model in enumerate(models):
        for p, part in enumerate(parts):
            chosen = {name: np.asarray(value)[part] for name, value in given.items()}
            yield m, p, partial(_fit_alone, model, X[part], y[part], chosen)


def _fit_alone(model, X, y, given) -> Array:
    return clone(model).fit(X, y, **given)
