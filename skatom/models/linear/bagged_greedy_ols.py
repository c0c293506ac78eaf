"""The mean of many sparse linear models."""

from __future__ import annotations

from functools import partial
from numbers import Integral
from typing import Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval

from skatom._typing import (
    ArrayLike,
    BaselineLike,
    Estimator,
    FeaturesLike,
    RandomState,
    TargetsLike,
)
from skatom.models.linear.greedy import GreedyRegressor, count_samples, extend
from skatom.models.linear.rows import WeightedRows
from skatom.models.linear.spread import spread_of_derivatives
from skatom.parallel import map_jobs


class BaggedGreedyOLS(GreedyRegressor):
    r"""Mean of greedy linear models, each trained on some groups and validated on the others.

    .. math::

        \hat y(x) = \frac1B \sum_{b=1}^{B} \hat y_b(x) = x \cdot \bar w + \bar c, \qquad
        s^2 = \frac{1}{B - 1} \sum_b |\hat y_b - \hat y|^2, \qquad
        \hat y_b(x) = x \cdot w_b + c_b, \qquad \lVert w_b \rVert_0 = M_b

    For each member b as many groups are drawn with replacement as the data have. A `GreedyOLS` path
    is computed on their samples, and the number of terms :math:`M_b` is that of the smallest error
    on the groups that were not drawn, about 37 % of them. The mean is again a linear model. Frames
    of one trajectory resemble each other: with trajectories as groups, each member is validated on
    trajectories that it has not seen, has fewer terms, and extrapolates better.

    The standard deviations of energies, components of forces and of stresses are the spread s of
    the members, as in `Committee`. It is large where the data do not determine the model. It does
    not include errors that all members share, so calibrate it before using it as an error estimate.
    A single member has no spread.

    With ``cv``, its splits replace the draws. ``cv=GroupKFold(4)`` gives four models, each with a
    different quarter of the trajectories as its validation set.

    Parameters
    ----------
    n_estimators : int, default=100
        Number B of members, if ``cv`` is None.
    max_terms : int, default=1000
        Largest number of terms to try.
    max_features : int, float or "sqrt", default="sqrt"
        Number of candidate features drawn at random in each step (an int, a fraction of all, or
        the square root of their number), so that members differ. None: all features.
    cv : int, splitter or iterable of (train, test), default=None
        Splits, one for each member. None: groups are drawn with replacement.
    fit_intercept : bool or "candidate", default=True
        Whether to fit an intercept. "candidate": the intercept is a candidate like the features.
    tol : float, default=1e-6
        A feature is skipped as linearly dependent if less than this share of its norm is
        orthogonal to the chosen features.
    method : {"auto", "gram", "gram-schmidt"}, default="auto"
        Whether to work on the Gram matrix of all features or on the features themselves, which is
        better for more features than samples and for few terms. The results are equal to rounding.
    noise_energy : float, dict or array-like of shape (n,), default=1e-3
        Noise standard deviation :math:`\sigma_E` of energies in eV per atom; it is multiplied by
        :math:`\sqrt{N}` for a structure of N atoms. A dict gives it by configuration, see `fit`.
        Ignored for arrays, like ``noise_forces`` and ``noise_virial``.
    noise_forces : float, dict or array-like of shape (n,) or (n_atoms,), default=0.03
        Noise standard deviation :math:`\sigma_F` of force components in eV/Å. Only its ratio to
        the other noises matters. The derivatives of all features are kept in memory up to 1 GiB;
        those beyond are computed again by each member.
    noise_virial : float, dict or array-like of shape (n,), default=0.1
        Noise standard deviation :math:`\sigma_W` of virials, the stresses times the volumes, in eV
        per atom; it is multiplied by :math:`\sqrt{N}`.
    baseline : "elements", dict, estimator, list of these, or None, default=None
        Baseline that is subtracted from energies and forces before the fit and added to
        predictions: energies of the elements by least squares ("elements") or given, as in
        ``{"Si": -0.8}``; a `skatom.baseline.PairRepulsion`; any estimator of energies and forces;
        or a list of these. The intercept already has an energy for each element.
    max_memory : float, default=None
        Memory limit of the matrix of all features in GiB. None: the available memory.
    device : {"cpu", "cuda", "auto", "torch"}, default="cpu"
        Where the Gram matrix of all features is summed: by numpy ("cpu"), on a card ("cuda"; "auto"
        if there is one) or by torch on the CPU ("torch"). For features on a device it is summed
        there in any case, from derivatives that stay there.
    n_jobs : int, default=None
        Number of joblib jobs that share the members. The result does not depend on it.
    random_state : int, RandomState or None, default=None
        Seed of the draws of groups and candidates.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    coef_ : ndarray of float, shape (n_features,)
        Mean coefficients of the members.
    intercept_ : float, or ndarray of shape (n_species,)
        Mean intercept of the members; with Targets the energies of the elements in eV.
    coefs_ : ndarray of float, shape (n_estimators, n_features)
        Coefficients of the members.
    intercepts_ : ndarray of float, shape (n_estimators,) or (n_estimators, n_species)
        Intercepts of the members.
    n_terms_ : ndarray of int, shape (n_estimators,)
        Number of terms of each member.
    selection_counts_ : ndarray of int, shape (n_features,)
        Number of members that chose each feature.
    score_path_ : ndarray of float, shape (n_estimators, n_path + 1)
        Minus the root-mean-square errors of 0, 1, 2, … terms on the validation set of each member.
    species_ : ndarray of int, shape (n_species,), or None
        Sorted atomic numbers seen in `fit`; None for arrays.
    absolute_energies_ : bool
        Whether energies were learnt; if not, the zero of predicted energies is arbitrary.
    baseline_ : Baseline or None
        The fitted baseline.
    outputs_ : tuple of str
        Names of the properties that the model predicts; forces and stresses only for features with
        derivatives, standard deviations only for two members or more.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If there is only one group.

    References
    ----------
    Sinz et al., J. Chem. Phys. 153, 084109 (2020), https://doi.org/10.1063/5.0016020

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.models import BaggedGreedyOLS
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 30))
    >>> y = X[:, :3].sum(axis=1) + 0.1 * rng.normal(size=200)
    >>> model = BaggedGreedyOLS(n_estimators=10, random_state=0)
    >>> model.fit(X, y, groups=np.arange(200) // 10).coef_[:3].round(1)
    array([1., 1., 1.])
    >>> prediction, spread = model.predict(X[:3], return_std=True)
    """

    gives = ("energy", "forces", "stress", "energy_std", "forces_std", "stress_std")

    _parameter_constraints = {
        **GreedyRegressor._parameter_constraints,
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        max_terms: int = 1000,
        max_features: float | str = "sqrt",
        cv: Estimator = None,
        fit_intercept: bool | str = True,
        tol: float = 1e-6,
        method: str = "auto",
        noise_energy: dict | ArrayLike = 1e-3,
        noise_forces: dict | ArrayLike = 0.03,
        noise_virial: dict | ArrayLike = 0.1,
        baseline: BaselineLike = None,
        max_memory: float | None = None,
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_terms = max_terms
        self.max_features = max_features
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.method = method
        self.noise_energy = noise_energy
        self.noise_forces = noise_forces
        self.noise_virial = noise_virial
        self.baseline = baseline
        self.max_memory = max_memory
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: FeaturesLike,
        y: TargetsLike,
        groups: ArrayLike | None = None,
        configurations: ArrayLike | None = None,
    ) -> Self:
        """Fit the members and take their mean.

        Parameters
        ----------
        X : array-like of shape (n, n_features), AtomicFeatures or StructureFeatures
            The features.
        y : array-like of shape (n,), or Targets
            Labels, see `GreedyOLS.fit`.
        groups : array-like of shape (n,), default=None
            Samples of one group are drawn or split together, for example the trajectory of each
            structure. None: each sample is a group.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.

        Returns
        -------
        self
        """
        problem = self._problem(X, y, configurations)
        rng = check_random_state(self.random_state)
        if self.cv is None:
            parts = self._draw(len(problem), groups, rng)
        else:
            splits = check_cv(self.cv).split(X, y, groups)
            parts = [[count_samples(part, len(problem)) for part in split] for split in splits]
        seeds = rng.randint(np.iinfo(np.int32).max, size=len(parts))
        draws = [(train, test, seed) for (train, test), seed in zip(parts, seeds, strict=True)]
        members = list(map_jobs(
            partial(self._member, problem), draws, self.n_jobs,
            verbose=self.verbose, desc="models", unit="model",
        ))  # fmt: skip
        coefs, constants, supports, scores = zip(*members, strict=True)
        self.coefs_ = np.array(coefs)
        self.intercepts_ = np.array([self._intercepts(values) for values in constants])
        self.coef_ = self.coefs_.mean(axis=0)
        self.intercept_ = self.intercepts_.mean(axis=0)
        if self.species_ is None:
            self.intercept_ = float(self.intercept_)
        self.n_terms_ = np.array([len(support) for support in supports])
        self.selection_counts_ = np.bincount(np.concatenate(supports), minlength=problem.n_columns)[
            : problem.n_features
        ]
        self.score_path_ = extend(scores)
        if len(members) == 1:
            self.outputs_ = tuple(name for name in self.outputs_ if not name.endswith("_std"))
        return self

    def _draw(self, n_samples, groups, rng):
        """Weight of each sample in the training and in the validation set of every member."""
        groups = np.arange(n_samples) if groups is None else np.asarray(groups)
        names, group = np.unique(groups, return_inverse=True)
        check_consistent_length(group, range(n_samples))
        if len(names) < 2:
            raise ValueError(
                f"all samples (n_samples={n_samples}) are of one group: give at least two, of "
                "which one is held out to choose the number of terms"
            )
        parts = []
        while len(parts) < self.n_estimators:
            counts = np.bincount(rng.randint(len(names), size=len(names)), minlength=len(names))
            if not counts.all():  # some group is left to validate on
                parts.append((counts[group], (counts == 0)[group].astype(int)))
        return parts

    def _member(self, problem, draw):
        train, test, seed = draw
        rng = check_random_state(seed)
        rows = WeightedRows(problem, train)
        path, errors, weight = self._train_and_test(rows, test, rng)
        n_terms = int(np.argmin(errors))
        support, coefficients = path.support[:n_terms], path.coefficients(n_terms)
        return (
            problem.coef(support, coefficients),
            problem.constants(support, coefficients, rows.constants),
            support,
            -np.sqrt(errors / weight),
        )

    def _evaluate(self, X, names):
        found = super()._evaluate(X, names)
        if "energy_std" in names:
            members = self._energies(X, self.coefs_.T, self.intercepts_.T)
            found["energy_std"] = members.std(axis=1, ddof=1)
        if {"forces_std", "stress_std"} & {*names}:
            found["forces_std"], virial_std = spread_of_derivatives(X, self.coefs_)
            if "stress_std" in names:
                found["stress_std"] = virial_std / X.structures.volumes()[:, None, None]
        return found
