"""Linear potentials: regularised least squares of energies, forces and stresses."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._intervals import POSITIVE
from skatom._typing import Array, ArrayLike, BaselineLike, Estimator, FeaturesLike, TargetsLike
from skatom.elements import species_index
from skatom.models._labels import Labels, check_labels
from skatom.models.linear.least_squares import LeastSquaresModel
from skatom.models.linear.merging import check_mergeable
from skatom.properties import in_order
from skatom.targets import as_targets


class LinearPotential(LeastSquaresModel):
    r"""Linear model of features, with the energy of each atom a linear function of its features.

    .. math::

        E = \sum_i \big( x_i \cdot w_{Z_i} + \varepsilon_{Z_i} \big) + E_0, \qquad
        \min_{w, \varepsilon} \big| \Lambda^{-1/2} (A w - y) \big|^2
        + \alpha \sum_j g_j^2\, l^{2 - 2s}\, |a_j|^{2s}\, w_j^2

    Each species has its own coefficients w and a constant ε. The rows A are sums of features for
    the energies y, and their derivatives for forces and virials, divided by the standard deviations
    of their noise, the square roots of Λ. With moment tensors the model is a moment tensor
    potential [1]_; with random features it approximates a kernel model. The cost of a prediction
    does not depend on the number of training structures.

    Rows are made batch by batch and reduced by a QR factorisation, of which a triangle of
    n_columns² numbers remains for each kind of labels. So the memory does not grow with the number
    of labels, `partial_fit` continues a fit, and `merge` joins models of different data.

    For a given α of 1e-8 or more (times the mean of g²), rows of forces and virials are summed in
    normal equations instead, which take less time and give the same predictions to eight digits.
    Features on a device are reduced there, and the normal equations solved there, for α of 1e-11 or
    more: to six digits.

    The penalty divides each feature by its length :math:`|a_j|`, the norm of its column of
    :math:`\Lambda^{-1/2} A`, to the power s; l is the root mean square of all lengths. So α has no
    unit: below 1e-15 it is lost in rounding, and at 1
    it counts as much as all data. By default α has the largest evidence, the probability of the
    labels with the coefficients integrated out [2]_. The model is then a Gaussian process, whose
    posterior gives the standard deviations.

    X is a plain array, too; the model is then that of scikit-learn's `Ridge` on scaled features.

    Parameters
    ----------
    alpha : float, "evidence" or "cv", default="evidence"
        Regularisation α. "evidence": the largest marginal likelihood. "cv": of 1e-14, 1e-13 … 1
        the one of the least squared error of structures that were left out, weighted by the noises.
    learn_noise : bool, default=False
        Whether the noises are multiplied by factors of the largest evidence, one for energies, one
        for forces and one for virials. The noise of a plain array is always learnt.
    smoothness : float, default=0
        Exponent p of the prior :math:`g_j \propto d_j^p`, in which features of a higher degree d
        have smaller coefficients. 0: none.
    scaling : float, default=1
        Exponent s of the lengths in the penalty. 1: features may have any units. 0: features are
        taken as they are. Less than 1 suits features of one unit, such as those of
        `AtomicClusterExpansion`: those that are small in all structures that are learnt, and may be
        large in others, have smaller coefficients then.
    degrees : array-like of float, shape (n_features,), default=None
        Degrees of the features. None: those of the descriptor; of `MomentTensor` the levels.
    solver : estimator, default=None
        A linear regressor of scikit-learn or skatom that finds the coefficients in place of the
        ridge, such as ``Lasso(1e-3)`` or ``GreedyOLS(50)``. It is given scaled features in
        n_features + 1 rows, which have the sums of squares of all labels: penalties added to the
        mean squared error act as they do on all labels, but solvers that count or divide samples,
        by cross-validation or an information criterion, see only these rows.
    cv : int, splitter or iterable of (train, test), default=5
        Splits of the structures for ``alpha="cv"``.
    fit_intercept : bool, default=True
        Whether to fit the constants ε.
    by_species : bool, default=True
        Whether each species of `AtomicFeatures` has coefficients of its own. False: the energy of
        an atom depends on its species through its features and ε alone.
    noise_energy : float, dict or array-like of shape (n,), default=1e-3
        Noise standard deviation of energies in eV per atom; it is multiplied by :math:`\sqrt{N}`
        for a structure of N atoms. A dict gives it by configuration, see `fit`. Ignored for arrays,
        like ``noise_forces`` and ``noise_virial``.
    noise_forces : float, dict or array-like of shape (n,) or (n_atoms,), default=0.03
        Noise standard deviation of force components in eV/Å.
    noise_virial : float, dict or array-like of shape (n,), default=0.1
        Noise standard deviation of virials, the stress times the volume, in eV per atom; it is
        multiplied by :math:`\sqrt{N}`.
    baseline : "elements", dict, estimator, list of these, or None, default=None
        Baseline :math:`E_0` that is subtracted from energies, forces and stresses before the fit
        and added to predictions: energies of the elements by least squares ("elements") or given,
        as in ``{"Si": -0.8}``; a `skatom.baseline.PairRepulsion`; any estimator of energies and
        forces; or a list of these. The constants ε are already energies of the elements.

    Attributes
    ----------
    coef_ : ndarray of float, shape (n_species, n_features) or (n_features,)
        The coefficients w: of each species, or shared.
    intercept_ : float, or ndarray of shape (n_species,)
        The constant; with Targets the energies ε of the elements in eV.
    alpha_ : float, or None
        The regularisation; None with a ``solver``.
    noise_factors_ : dict of float
        What the noises of "energy", "forces" and "virial" are multiplied by.
    log_marginal_likelihood_ : float, or None
        Logarithm of the evidence, to compare features and noises; None with a ``solver``.
    cv_errors_ : ndarray of float, shape (15,), or None
        Sums of squared errors for the values of α that ``alpha="cv"`` tried.
    sums_ : LabelSums
        The factorisations, or normal equations, of all labels learnt so far; not after
        `for_prediction`.
    n_structures_seen_ : int
        Number of structures, or samples, learnt so far.
    species_ : ndarray of int, shape (n_species,), or None
        Sorted atomic numbers seen in `fit`; None for arrays.
    absolute_energies_ : bool
        Whether energies were learnt; if not, the zero of predicted energies is arbitrary.
    baseline_ : Baseline or None
        The fitted baseline.
    outputs_ : tuple of str
        Names of the properties that the model predicts; standard deviations without a ``solver``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If all weights are zero, the labels do not determine the coefficients of ``alpha=0``, or
        ``smoothness`` needs degrees that the descriptor does not have.
    MemoryError
        If the triangles do not fit in memory.

    See Also
    --------
    GreedyOLS : A linear model of few features.
    SparseGaussianProcess : Kernels of representative environments as features.

    References
    ----------
    .. [1] A. V. Shapeev, Multiscale Model. Simul. 14, 1153 (2016).
    .. [2] D. J. C. MacKay, Neural Comput. 4, 415 (1992).

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import MomentTensor
    >>> from skatom.models import LinearPotential
    >>> data = load_ethanol()
    >>> model = make_pipeline(
    ...     MomentTensor(cutoff=4.0, level=6, by_center=False), LinearPotential()
    ... )
    >>> model = model.fit(data.structures[::50], data.targets[::50])
    >>> energies, forces, std = model.predict(
    ...     data.structures[1:3], return_forces=True, return_std=True
    ... )
    >>> energies.shape, forces.shape, std.shape
    ((2,), (18, 3), (2,))

    A table:

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> y = X @ [1.0, -2.0, 0.5] + 3.0 + 0.01 * rng.normal(size=200)
    >>> model = LinearPotential().fit(X, y)
    >>> model.coef_.round(2), round(model.intercept_, 2)
    (array([ 1. , -2. ,  0.5]), 3.0)
    """

    gives = in_order(
        {"energy", "forces", "stress", "local_energies", "energy_std", "forces_std", "stress_std"}
    )

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"evidence", "cv"})],
        "learn_noise": ["boolean"],
        "smoothness": [Interval(Real, 0, None, closed="left")],
        "scaling": [Interval(Real, 0, 1, closed="both")],
        "degrees": ["array-like", None],
        "solver": [HasMethods(["fit", "predict"]), None],
        "cv": ["cv_object"],
        "fit_intercept": ["boolean"],
        "by_species": ["boolean"],
        "noise_energy": [POSITIVE, dict, "array-like"],
        "noise_forces": [POSITIVE, dict, "array-like"],
        "noise_virial": [POSITIVE, dict, "array-like"],
        "baseline": "no_validation",
    }

    def __init__(
        self,
        alpha: float | str = "evidence",
        *,
        learn_noise: bool = False,
        smoothness: float = 0.0,
        scaling: float = 1.0,
        degrees: ArrayLike | None = None,
        solver: Estimator = None,
        cv: Estimator = 5,
        fit_intercept: bool = True,
        by_species: bool = True,
        noise_energy: dict | ArrayLike = 1e-3,
        noise_forces: dict | ArrayLike = 0.03,
        noise_virial: dict | ArrayLike = 0.1,
        baseline: BaselineLike = None,
    ) -> None:
        self.alpha = alpha
        self.learn_noise = learn_noise
        self.smoothness = smoothness
        self.scaling = scaling
        self.degrees = degrees
        self.solver = solver
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.by_species = by_species
        self.noise_energy = noise_energy
        self.noise_forces = noise_forces
        self.noise_virial = noise_virial
        self.baseline = baseline

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: FeaturesLike,
        y: TargetsLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        configurations: ArrayLike | None = None,
    ) -> Self:
        """Fit the coefficients, and what regularises them.

        Parameters
        ----------
        X : array-like of shape (n, n_features), AtomicFeatures or StructureFeatures
            The features.
        y : array-like of shape (n,), or Targets
            Labels. An array beside AtomicFeatures are energies in eV; beside StructureFeatures it
            may be any property, and the features are a plain array.
        sample_weight : array-like of shape (n,), default=None
            Weights of the structures, by which their noise variance is divided, or of samples of an
            array; a weight of 2 is that of two equal ones, and those of weight 0 are ignored.
        groups : array-like of shape (n,), default=None
            Groups for ``cv``, for example the trajectory of each structure.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.

        Returns
        -------
        self
        """
        self._check_settings()
        problem = self._start(X, y, sample_weight, configurations)
        self._alpha_of_cv, self.cv_errors_ = None, None
        if self.alpha == "cv" and self.solver is None:
            sums = self._cross_validate(problem, groups)
        else:
            sums = self._sums_of(problem)
        return self._solve(sums)

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self,
        X: FeaturesLike,
        y: TargetsLike,
        sample_weight: ArrayLike | None = None,
        configurations: ArrayLike | None = None,
    ) -> Self:
        """Learn from more structures, with the same species and baseline.

        The first call is a `fit`. The result does not depend on how structures are divided among
        calls, but for ``alpha="cv"``, which is chosen in the first, and baselines fitted there.

        Parameters
        ----------
        X : array-like of shape (n, n_features), AtomicFeatures or StructureFeatures
            The features of n further structures.
        y : array-like of shape (n,), or Targets
            Labels, as in `fit`.
        sample_weight : array-like of shape (n,), default=None
            Weights of the structures, as in `fit`.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.

        Returns
        -------
        self
        """
        if not hasattr(self, "coef_"):
            return self.fit(X, y, sample_weight, configurations=configurations)
        sums = self._learnt_sums("partial_fit")
        self._check_settings()
        X = self._checked(X)
        if self._learnt_from is None:
            problem = self._table(X, y, sample_weight, reset=False)
        else:
            species_index(X.structures, self.species_)  # raises for species not seen in fit
            targets = as_targets(y, X.structures)
            check_labels(targets, self.learns, type(self).__name__)
            problem = self._labelled(X, targets, sample_weight, configurations)
            has_energies = bool(targets.labelled("energy").any())
            self.absolute_energies_ = self.absolute_energies_ or has_energies
        return self._solve(sums.merge(self._sums_of(problem)))

    def merge(self, other: LinearPotential) -> LinearPotential:
        """The model of the data of both, which are left unchanged.

        Parameters
        ----------
        other : LinearPotential
            A fitted model of the same features, species, noises and baseline.

        Returns
        -------
        LinearPotential
            As if it had been fitted to all data; with ``alpha="cv"`` the regularisation is that of
            this model.

        Raises
        ------
        ValueError
            If parameters, features, species or baselines differ.
        """
        check_mergeable(self, other)
        both = self._copied()
        both.absolute_energies_ = self.absolute_energies_ or other.absolute_energies_
        first, second = (model._learnt_sums("merge") for model in (self, other))
        return both._solve(first.merge(second))

    def regularized(self, **parameters: Any) -> LinearPotential:
        """The model of the same labels with another regularisation; this one is left unchanged.

        It is solved from the sums of the fit, so that many values take little more time than one.

        Parameters
        ----------
        **parameters
            ``alpha``, a number, and ``scaling``, as in the constructor.

        Returns
        -------
        LinearPotential
            As if it had been fitted with these parameters.

        Raises
        ------
        ValueError
            If a parameter is another one or no valid value, a ``solver`` takes the place of the
            ridge, or normal equations were learnt, which are not exact enough for this ``alpha``.

        Examples
        --------
        >>> import numpy as np
        >>> from skatom.models import LinearPotential
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> model = LinearPotential(alpha=1e-6).fit(X, X @ [1.0, 2.0, 3.0])
        >>> model.regularized(alpha=10.0).coef_.round(1)
        array([0.1, 0.2, 0.3])
        """
        check_is_fitted(self)
        others = sorted(set(parameters) - {"alpha", "scaling"})
        if others or parameters.get("alpha") == "cv":
            name = ", ".join(others) or "alpha='cv'"
            raise ValueError(
                f"{name} needs a fit: alpha, as a number, and scaling alone can change after it"
            )
        if self.solver is not None and "alpha" in parameters:
            raise ValueError(
                f"alpha has no effect beside solver={self.solver!r}: fit with solver=None, or with "
                "a solver of another regularisation"
            )
        other = self._copied().set_params(**parameters)
        other._validate_params()
        other._check_settings()
        return other._solve(self._learnt_sums("regularized"))

    def labels_of(
        self,
        X: FeaturesLike,
        y: TargetsLike,
        sample_weight: ArrayLike | None = None,
        configurations: ArrayLike | None = None,
    ) -> tuple[Labels, Array]:
        """Labels of structures as this fitted model learns them, and the weights of structures."""
        targets = as_targets(y, X.structures)
        problem = self._labelled(X, targets, sample_weight, configurations)
        return problem.labels, problem.weights
