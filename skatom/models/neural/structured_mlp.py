"""Networks of the parts of a structure, with shared weights and a sum of their outputs."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._device import on_host
from skatom._input_checks import structure_weights
from skatom._intervals import POSITIVE
from skatom._typing import Array, ArrayLike, BaselineLike, FeaturesLike, RandomState, TargetsLike
from skatom.models._feature_regressor import kind_of
from skatom.models.neural.descent import Adam, Momentum, quasi_newton, stochastic_descent
from skatom.models.neural.labelled_rows import LabelledRows
from skatom.models.neural.network_regressor import SummedNetworkRegressor
from skatom.targets import Targets

_NOISES = ("noise_energy", "noise_forces", "noise_virial")


class StructuredMLPRegressor(SummedNetworkRegressor):
    r"""Multilayer perceptron of the parts of a structure, whose outputs are summed.

    .. math::

        E = \sum_{m=1}^{M} \big( c\, f(x_m) + \varepsilon \big) + E_0, \qquad
        f(x) = v \cdot a_L + b, \quad a_l = \rho(W_l^\top a_{l-1} + b_l), \quad a_0 = x

    .. math::

        \min_{W, v, b} \frac{1}{n} \sum_{t=1}^{n} \frac{(y_t - \hat y_t)^2}{\sigma_t^2}
        + \alpha \Big( |v|^2 + \sum_l |W_l|^2 \Big)

    All parts pass through the same subnetwork f, so that the energy does not depend on their order
    [1]_. With `AtomicFeatures` the parts are atoms, and each species has a network of its own [2]_;
    ``n_groups`` divides the features of a structure, or the columns of a table, into parts of equal
    length, such as pairs of atoms or windows of a chain. The labels y are energies, forces
    :math:`F = -\sum_m \nabla f(x_m)\, \partial x_m / \partial R` and virials with noises σ; for a
    table they are y alone, and σ is their standard deviation.

    Features should have unit variance: put ``FeatureScaler("standard")`` before the network. With
    forces the derivatives of all features are kept in memory during `fit`: `PrincipalComponents`
    or `FeatureSelector` make them small. Features that were made on a device stay there, and steps
    and predictions are made there; the fitted networks are arrays of numpy.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(25, 25)
        Neurons of the hidden layers of the subnetwork.
    activation : str, default="centered softplus"
        The function ρ: "centered softplus", :math:`[\ln(1 + e^{\beta z}) - \ln 2] / \beta`,
        "softplus", "tanh", "logistic", or "relu", whose slope has steps, so that forces have, too.
    beta : float, default=1
        Sharpness β of the softplus functions, which become rectifiers as it grows.
    n_groups : int, default=None
        The number of parts M of a structure or a sample. None: 1; must be None for AtomicFeatures.
    by_species : bool, default=True
        Whether the atoms of each species of AtomicFeatures have a network of their own.
    alpha : float, default=1e-3
        Weight decay α.
    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        "adam" and "sgd" descend along the slopes of batches of structures, with adaptive steps or
        with momentum; "lbfgs" is a quasi-Newton method with the slopes of all, the most accurate
        one for some hundred structures.
    batch_size : int, default=50
        Structures or samples in a batch.
    learning_rate_init : float, default=0.01
        Length of the first steps of "adam" and "sgd". It is divided by 5 where the loss stalls or
        diverges.
    momentum : float, default=0.9
        Share of the last step in the next one, for "sgd".
    max_iter : int, default=1000
        Largest number of iterations, each of which sees all data once.
    tol : float, default=1e-3
        The loss stalls if it does not fall by this share of itself in ``n_iter_no_change``
        iterations. "lbfgs" ends then, the others after the third smaller step.
    n_iter_no_change : int, default=20
        See ``tol``.
    early_stopping : bool, default=False
        Whether the loss that is watched, and that decides which weights are kept, is the error of
        structures that are left out.
    validation_fraction : float, default=0.1
        Share of the structures that are left out for ``early_stopping``.
    warm_start : bool, default=False
        Whether `fit` begins with the weights of the last one.
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
        and added to predictions, see `LinearPotential`. The constants ε are already energies of
        the elements.
    random_state : int, RandomState or None, default=None
        Seed of the first weights, the batches and the structures that are left out.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    networks_ : list of Perceptron
        The subnetwork, or that of each species; each has ``coefs`` and ``intercepts``.
    scale_ : float
        The factor c, in the unit of the labels.
    intercept_ : float, or ndarray of shape (n_species,)
        The mean of the labels, or the energies ε of the elements in eV.
    loss_curve_ : list of float
        The loss after each iteration.
    validation_curve_ : list of float
        The error of the structures that are left out, in the same unit.
    best_loss_ : float
        The smallest loss that was watched, that of the weights that were kept.
    n_iter_ : int
        Number of iterations.
    species_ : ndarray of int, shape (n_species,), or None
        Sorted atomic numbers seen in `fit`; None for arrays.
    absolute_energies_ : bool
        Whether energies were learnt; if not, the zero of predicted energies is arbitrary.
    baseline_ : Baseline or None
        The fitted baseline.
    outputs_ : tuple of str
        Names of the properties that the model predicts.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Names of the features, if X was a data frame.

    Raises
    ------
    ValueError
        If the features cannot be divided into ``n_groups``, all weights are zero, or
        ``warm_start`` meets networks of another form.
    MemoryError
        If the derivatives of the features do not fit in memory.

    Warns
    -----
    ConvergenceWarning
        If the loss still falls after ``max_iter`` iterations.

    See Also
    --------
    skatom.attribution.relevance : Which features, atoms and pairs a prediction comes from.

    References
    ----------
    .. [1] G. Montavon, in Machine Learning Meets Quantum Physics, Lecture Notes in Physics 968,
       37 (2020).
    .. [2] J. Behler, M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007).

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import SOAP, FeatureScaler
    >>> from skatom.models import StructuredMLPRegressor
    >>> data = load_ethanol()
    >>> model = make_pipeline(
    ...     SOAP(cutoff=3.0, n_max=3, l_max=2),
    ...     FeatureScaler("standard", out_of_range="ignore"),
    ...     StructuredMLPRegressor((10,), solver="lbfgs", tol=0.1, random_state=0),
    ... )
    >>> model = model.fit(data.structures[::100], data.targets[::100])
    >>> energies, forces, local = model.predict(
    ...     data.structures[1:3], return_forces=True, return_local_energies=True
    ... )
    >>> energies.shape, forces.shape, local.shape
    ((2,), (18, 3), (18,))

    A table, whose columns are three equal parts:

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(300, 6))
    >>> y = np.sin(X.reshape(300, 3, 2)).prod(axis=2).sum(axis=1)
    >>> network = StructuredMLPRegressor(
    ...     (10,), n_groups=3, solver="lbfgs", tol=0.02, random_state=0
    ... )
    >>> bool(network.fit(X, y).score(X, y) > 0.9)
    True
    >>> network.predict_groups(X).shape
    (300, 3)
    """

    _parameter_constraints = {
        **SummedNetworkRegressor._parameter_constraints,
        "activation": [StrOptions({"centered softplus", "softplus", "tanh", "logistic", "relu"})],
        "beta": [POSITIVE],
        "n_groups": [Interval(Integral, 1, None, closed="left"), None],
        "by_species": ["boolean"],
        "solver": [StrOptions({"adam", "sgd", "lbfgs"})],
        "momentum": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: ArrayLike = (25, 25),
        activation: str = "centered softplus",
        *,
        beta: float = 1.0,
        n_groups: int | None = None,
        by_species: bool = True,
        alpha: float = 1e-3,
        solver: str = "adam",
        batch_size: int = 50,
        learning_rate_init: float = 0.01,
        momentum: float = 0.9,
        max_iter: int = 1000,
        tol: float = 1e-3,
        n_iter_no_change: int = 20,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        noise_energy: dict | ArrayLike = 1e-3,
        noise_forces: dict | ArrayLike = 0.03,
        noise_virial: dict | ArrayLike = 0.1,
        baseline: BaselineLike = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.beta = beta
        self.n_groups = n_groups
        self.by_species = by_species
        self.alpha = alpha
        self.solver = solver
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.noise_energy = noise_energy
        self.noise_forces = noise_forces
        self.noise_virial = noise_virial
        self.baseline = baseline
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: FeaturesLike,
        y: TargetsLike,
        sample_weight: ArrayLike | None = None,
        configurations: ArrayLike | None = None,
    ) -> Self:
        """Train the networks.

        Parameters
        ----------
        X : array-like of shape (n, n_features), AtomicFeatures or StructureFeatures
            The features.
        y : array-like of shape (n,), or Targets
            Labels. An array beside AtomicFeatures are energies in eV; beside StructureFeatures it
            may be any property, and the features are a plain array.
        sample_weight : array-like of shape (n,), default=None
            Weights of the structures, by which their noise variance is divided, or of samples of an
            array; those of weight 0 are ignored.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.

        Returns
        -------
        self
        """
        kind = kind_of(X)
        of_table = kind is None or (kind == "StructureFeatures" and not isinstance(y, Targets))
        before = dict(vars(self)) if self.warm_start and hasattr(self, "networks_") else None
        if of_table:
            data = self._start_table(X, y, sample_weight, before)
        else:
            data = self._start_structures(X, y, sample_weight, configurations, before)
        return self._train(data, before)

    def _start_table(self, X, y, sample_weight, before):
        self._check_table(X, y)
        X, y = self._validated(X, y)
        weights = structure_weights(sample_weight, len(X), of="sample")
        used = np.flatnonzero(weights)
        X, y, weights = X[used], np.asarray(y, float)[used], weights[used]
        self._learnt_from, self.species_, self.baseline_ = None, None, None
        self.outputs_, self.absolute_energies_ = ("energy",), True
        x, m = self._table_rows(X), self._n_groups
        if before is None:
            self.intercept_ = float(np.average(y, weights=weights))
            spread = np.sqrt(np.average((y - self.intercept_) ** 2, weights=weights)) or 1.0
            self.scale_ = float(spread / np.sqrt(m))
        noise = self.scale_ * np.sqrt(m)
        return LabelledRows.of_table(x, m, y - self.intercept_, weights, noise)

    def _descend(self, loss, progress, random):
        if self.solver == "lbfgs":
            quasi_newton(loss, progress)
            return
        rule = Adam if self.solver == "adam" else partial(Momentum, momentum=self.momentum)
        stochastic_descent(loss, progress, rule, self.batch_size, self.learning_rate_init, random)

    def predict_groups(self, X: FeaturesLike) -> Array:
        r"""Contributions :math:`c f(x_m) + \varepsilon` of the parts of structures or samples.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or StructureFeatures
            The features, as in `fit`.

        Returns
        -------
        ndarray of float, shape (n, n_groups)
            Their sum is the prediction without the baseline; the constants are divided equally.
        """
        check_is_fitted(self)
        if self._learnt_from == "AtomicFeatures":
            raise ValueError(
                "the parts of AtomicFeatures are atoms: predict(X, return_local_energies=True) "
                "gives their energies"
            )
        X = self._checked(X)
        x, kinds, _ = self._rows(X)
        outputs = on_host(self._summed.outputs(x, kinds)).reshape(len(X), self._n_groups)
        return outputs + self._constants(X)[:, None] / self._n_groups
