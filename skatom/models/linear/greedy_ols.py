"""Sparse linear regression by greedy orthogonal least squares."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._device import resolve
from skatom._progress import tqdm
from skatom._typing import (
    Array,
    ArrayLike,
    BaselineLike,
    Estimator,
    FeaturesLike,
    RandomState,
    TargetsLike,
)
from skatom._warnings import warn
from skatom.models.linear.greedy import GreedyRegressor, check_weights, count_samples, extend
from skatom.models.linear.jobs import rows_in_jobs
from skatom.models.linear.rows import WeightedRows
from skatom.parallel import tree_reduce
from skatom.solvers import NormalEquations

# Number of Gram matrices of folds that are kept at the same time.
_FOLD_BYTES = 2**31


class GreedyOLS(GreedyRegressor):
    r"""Linear regression on a few features, which are selected greedily.

    .. math::

        \min_w \sum_i u_i\, (y_i - \bar y - (x_i - \bar x) \cdot w)^2
        \quad\text{such that}\quad \lVert w \rVert_0 \le M

    Each step adds the feature that lowers the sum of squares most when all coefficients are fitted
    again (orthogonal least squares). scikit-learn's `OrthogonalMatchingPursuit` instead adds the
    feature of the largest correlation with the residual, which is the same only if features are
    orthogonal. The number of terms M is given, or chosen by cross-validation.

    The features are a plain array, `AtomicFeatures <skatom.descriptors.AtomicFeatures>` or
    `StructureFeatures <skatom.descriptors.StructureFeatures>`. Features with derivatives and
    `Targets <skatom.Targets>` give a model of the total energy, in which a constant for each
    element replaces the intercept, and which also learns from forces and virials W, the stresses
    times the volumes, if they are given:

    .. math::

        E_s = x_s \cdot w + \sum_{i \in s} \varepsilon_{Z_i}, \qquad
        \min_{w, \varepsilon} \sum_s u_s \Big[ \frac{(E_s - \hat E_s)^2}{N_s \sigma_E^2}
        + \frac{1}{\sigma_F^2} \sum_{a \in s} \lvert F_a - \hat F_a \rvert^2
        + \frac{\lvert W_s - \hat W_s \rvert^2}{N_s \sigma_W^2} \Big]

    with :math:`x_s = \sum_{i \in s} x_i` for features of atoms. Structures of several sizes need
    features that grow with the structure, ``pool="sum"`` or ``WaveletScattering(normalize=None)``.

    Parameters
    ----------
    n_terms : int, default=None
        Number M of terms. None: chosen by ``cv``.
    max_terms : int, default=1000
        Largest number of terms to try, if ``n_terms`` is None.
    max_features : int, float or "sqrt", default=None
        Number of candidate features drawn at random in each step (an int, a fraction of all, or
        the square root of their number). None: all features.
    cv : int, splitter or iterable of (train, test), default=None
        Splits of the cross-validation: M is the number of terms with the smallest squared error
        summed over all held-out samples, and the path is then computed again on all samples. A
        single split is a validation set. None: five folds.
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
        the other noises matters.
    noise_virial : float, dict or array-like of shape (n,), default=0.1
        Noise standard deviation :math:`\sigma_W` of virials in eV per atom; it is multiplied by
        :math:`\sqrt{N}`.
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
    random_state : int, RandomState or None, default=None
        Seed of the draws of candidates.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    coef_ : ndarray of float, shape (n_features,)
        Coefficients w; zero except for the chosen features.
    intercept_ : float, or ndarray of shape (n_species,)
        The intercept; with Targets the energies ε of the elements in eV.
    n_terms_ : int
        Number M of terms.
    support_ : ndarray of int, shape (M,)
        Chosen features in the order of their choice; n_features and above stand for the intercept.
    path_ : GreedyPath
        The models of 0, 1, 2, … terms.
    intercept_path_ : ndarray of float, shape (n_path + 1,) or (n_species, n_path + 1)
        Intercepts of the models of the path.
    coef_path_ : ndarray of float, shape (n_features, n_path + 1)
        Coefficients of the models of the path.
    score_path_ : ndarray of float, shape (n_path + 1,)
        Minus the root-mean-square errors of the models of the path on held-out samples, in the
        unit of y, with Targets in multiples of the noise; on the training samples if ``n_terms``
        was given.
    train_score_path_ : ndarray of float, shape (n_path + 1,)
        Minus the root-mean-square errors on the training samples.
    species_ : ndarray of int, shape (n_species,), or None
        Sorted atomic numbers seen in `fit`; None for arrays.
    absolute_energies_ : bool
        Whether energies were learnt; if not, the zero of predicted energies is arbitrary.
    baseline_ : Baseline or None
        The fitted baseline.
    outputs_ : tuple of str
        Names of the properties that the model predicts; forces and stresses only for features with
        derivatives.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If ``n_terms`` exceeds the number of features, or the number that the samples determine.

    Warns
    -----
    ConvergenceWarning
        If fewer than ``n_terms`` terms were found, since all other features are linear combinations
        of the chosen ones, or the residual is zero.

    See Also
    --------
    BaggedGreedyOLS : The mean of many greedy models.
    skatom.solvers.orthogonal_least_squares : The algorithm.

    References
    ----------
    Chen, Billings and Luo, Int. J. Control 50, 1873 (1989),
    https://doi.org/10.1080/00207178908953472

    Hirn, Mallat and Poilvert, Multiscale Model. Simul. 15, 827 (2017),
    https://doi.org/10.1137/16M1075454

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.models import GreedyOLS
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 30))
    >>> y = 2.0 * X[:, 7] - X[:, 3] + 5.0 + 0.01 * rng.normal(size=200)
    >>> model = GreedyOLS(n_terms=2).fit(X, y)
    >>> model.support_, model.coef_[[7, 3]].round(2), round(model.intercept_, 2)
    (array([7, 3]), array([ 2., -1.]), 5.0)

    Energies and forces:

    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import SOAP
    >>> data = load_ethanol()
    >>> features = SOAP(cutoff=3.0, n_max=4, l_max=3).fit_transform(data.structures[::100])
    >>> model = GreedyOLS(n_terms=50).fit(features, data.targets[::100])
    >>> energies, forces = model.predict(features, return_forces=True)
    >>> forces.shape
    (225, 3)
    """

    _parameter_constraints = {
        **GreedyRegressor._parameter_constraints,
        "n_terms": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_terms: int | None = None,
        *,
        max_terms: int = 1000,
        max_features: float | str | None = None,
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
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.n_terms = n_terms
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
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: FeaturesLike,
        y: TargetsLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        configurations: ArrayLike | None = None,
    ) -> Self:
        """Compute the path and keep M terms.

        Parameters
        ----------
        X : array-like of shape (n, n_features), AtomicFeatures or StructureFeatures
            The features.
        y : array-like of shape (n,), or Targets
            Labels. An array beside AtomicFeatures are energies in eV; beside StructureFeatures it
            may be any property, and the features are a plain array.
        sample_weight : array-like of shape (n,), default=None
            Weights of the structures, by which their noise variance is divided; structures of
            weight 0 are ignored. For arrays: weights of the samples.
        groups : array-like of shape (n,), default=None
            Groups for ``cv``, for example the trajectory of each structure.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.

        Returns
        -------
        self
        """
        problem = self._problem(X, y, configurations)
        weights = check_weights(sample_weight, problem)
        rng = check_random_state(self.random_state)
        rows = WeightedRows(problem, weights)
        if self.n_terms is None:
            splits = [
                [count_samples(part, len(weights)) for part in split]
                for split in check_cv(self.cv).split(X, y, groups)
            ]
            folds = self._fold_equations(rows, splits)
            self.score_path_ = self._held_out_score(rows, splits, folds, rng)
            equations = folds and _fit_constants(tree_reduce(folds), rows.constants)[0]
            path = self._path(rows, len(self.score_path_) - 1, rng, equations, self.verbose)
            self.n_terms_ = min(int(np.argmax(self.score_path_)), len(path))
        else:
            path = self._path(rows, self._check_n_terms(rows), rng, verbose=self.verbose)
            self.n_terms_ = len(path)
            self._warn_if_short(path)
        self.path_ = path
        self.train_score_path_ = -np.sqrt(path.rss / rows.total_weight)
        if self.n_terms is not None:
            self.score_path_ = self.train_score_path_
        self.support_ = path.support[: self.n_terms_]
        coefficients = path.coefficients(self.n_terms_)
        self.coef_ = problem.coef(self.support_, coefficients)
        self.intercept_path_ = self._intercepts(
            problem.constants(path.support, path.coefficient_path(), rows.constants)
        )
        self.intercept_ = self._intercepts(
            problem.constants(self.support_, coefficients, rows.constants)
        )
        return self

    @property
    def coef_path_(self) -> Any:
        check_is_fitted(self)
        ours = self.path_.support < self.n_features_in_
        coef = np.zeros((self.n_features_in_, len(self.path_) + 1))
        coef[self.path_.support[ours]] = self.path_.coefficient_path()[ours]
        return coef

    def predict_path(self, X: FeaturesLike) -> Array:
        """Predict the energies by each model of the path.

        Parameters
        ----------
        X : array-like of shape (n, n_features), AtomicFeatures or StructureFeatures
            The features.

        Returns
        -------
        ndarray of shape (n, n_path + 1)
            Column t is the prediction of the model of t terms.
        """
        check_is_fitted(self)
        X = self._checked(X)
        energies = self._energies(X, self.coef_path_, self.intercept_path_)
        if self.baseline_ is not None:
            energies += self.baseline_.energies(X.structures)[:, None]
        return energies

    def _check_n_terms(self, rows):
        n_columns = rows.problem.n_columns
        if self.n_terms > n_columns:
            raise ValueError(
                f"n_terms={self.n_terms} but there are {n_columns} features to choose from: "
                "give fewer terms"
            )
        if self.n_terms > rows.longest:
            raise ValueError(
                f"n_terms={self.n_terms} but {rows.n_rows} samples (n_samples={rows.n_rows}) "
                f"determine {rows.longest} terms at most: give fewer terms or more samples"
            )
        return self.n_terms

    def _warn_if_short(self, path):
        if len(path) < self.n_terms:
            warn(
                f"{len(path)} terms were found where n_terms={self.n_terms} were asked for: "
                "either they fit y exactly, or all other features are linear combinations of them",
                ConvergenceWarning,
            )

    def _held_out_score(self, rows, splits, folds, rng):
        """Minus the root-mean-square errors of 0, 1, … terms on held-out samples."""
        errors, total = [], 0.0
        for left_out, (train, test) in enumerate(splits):
            equations, constants = None, None
            if folds is not None:
                # added, not subtracted from the whole: no digits are lost
                equations = tree_reduce(folds[:left_out] + folds[left_out + 1 :])
                equations, constants = _fit_constants(equations, rows.constants)
            part = WeightedRows(rows.problem, rows.sample_weight * train, constants)
            if folds is not None:
                part.magnitudes = rows.magnitudes
            _, error, weight = self._train_and_test(
                part, rows.sample_weight * test, rng, equations, self.verbose
            )
            errors.append(error)
            total += weight
        return -np.sqrt(np.sum(extend(errors), axis=0) / total)

    def _fold_equations(self, rows, splits):
        """Normal equations of the test samples of each split, if the others follow from them."""
        problem, weights = rows.problem, rows.sample_weight
        if not (self._use_gram(rows, self.max_terms) and _are_folds(splits, problem, weights)):
            return None
        return [
            self._with_constants(WeightedRows(problem, weights * test, rows.constants))
            for _, test in tqdm(splits, "folds", disable=not self.verbose, leave=False)
        ]

    def _with_constants(self, rows):
        """Normal equations of some rows, with the columns of the intercept."""
        place = self._place(rows.problem)
        system = rows if resolve(place) is not None else rows_in_jobs(rows)
        if system is rows:
            return NormalEquations.of(rows.all_blocks(), place)
        return system.equations(with_constants=True)


def _fit_constants(equations, constants):
    """Normal equations without the columns of the intercept, whose coefficients change a little."""
    if constants is None:
        return equations, None
    equations, change = equations.eliminate(len(constants))
    return equations, constants + change


def _are_folds(splits, problem, weights):
    """Whether each sample is held out once and otherwise trained on, and folds are few enough.

    If so, summing the normal equations of the folds costs less than forming those of each split.
    """
    tests = np.array([test for _, test in splits])
    return (
        all((train + test == 1).all() for train, test in splits)
        and (tests.sum(axis=0) == 1).all()
        and 1 < len(splits) <= np.sqrt(len(problem))
        and all(problem.total_weight(weights * test) for test in tests)
        and 8 * len(splits) * problem.n_columns**2 <= _FOLD_BYTES
    )
