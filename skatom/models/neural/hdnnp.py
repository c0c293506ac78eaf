"""High-dimensional neural network potentials: networks of elements on features of atoms."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from os import PathLike
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._device import check_is_array
from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, BaselineLike, FeaturesLike, RandomState, TargetsLike
from skatom.descriptors import ACSF, FeatureScaler
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.origin import origin_of
from skatom.elements import species_index
from skatom.models._feature_regressor import kind_of
from skatom.models.neural.charge_interactions import ChargeInteractions
from skatom.models.neural.charged_networks import ChargedNetworks
from skatom.models.neural.charged_objective import ElectrostaticErrors
from skatom.models.neural.descent import annealed_descent, quasi_newton
from skatom.models.neural.electrostatics import check_directions
from skatom.models.neural.network_regressor import SummedNetworkRegressor
from skatom.models.neural.objective import SummedNetworks
from skatom.models.neural.schedules import Schedule
from skatom.properties import in_order
from skatom.structures import as_structures

# Charges of the first networks, in e: of elements, from the lightest to the heaviest, and how much
# those of one element differ.
_CHARGE, _DIFFERENCE = 0.3, 0.1
# Size of the first weights of the output: forces of random networks are far too large.
_FIRST = 0.1
# The last steps of "adam", relative to the first.
_LAST = 1e-3


class HDNNP(SummedNetworkRegressor):
    r"""High-dimensional neural network potential: a network of each element on features of atoms.

    .. math::
        E = \sum_i \big( c\, f^{Z_i}(G_i) + \varepsilon_{Z_i} \big) + E_\mathrm{long}
            + E_0, \qquad
        f(x) = v \cdot a_L + b, \quad a_l = \rho(W_l^\top a_{l-1} + b_l), \quad
        a_0 = \frac{x - \bar x}{s}

    .. math::
        E_\mathrm{long} = \frac{k}{2} \sum_{ij}
            \frac{\mathrm{erf}(r_{ij} / 2 \sigma)}{r_{ij}} q_i q_j, \qquad
        q_i = \chi^{Z_i}(G_i) + \frac{1}{N} \Big( Q - \sum_j \chi^{Z_j}(G_j) \Big)

    Each element has a network f on the features G of its atoms, symmetry functions by default [1]_.
    Features are standardised, element by element. With ``electrostatics=True`` a second network of
    each element gives charges, whose Gaussians of the width σ interact over all distances and each
    within itself, in crystals by Ewald's sum [2]_; their sum is Q. They are learnt from energies,
    forces and stresses, together with the rest, and need no labels: so the sign of all of them
    together is arbitrary, and training begins with positive ones of the lightest element.

    The networks are those of `StructuredMLPRegressor`, trained by the same code, which minimises

    .. math::
        \frac{1}{n} \sum_{t=1}^{n} \frac{(y_t - \hat y_t)^2}{\sigma_t^2}
        + \alpha \sum |W|^2

    over energies, forces and virials with noises σ. Features that were made on a device, as by
    ``ACSF(device="cuda")``, stay there with their derivatives: steps and predictions are made
    there, but for those with charges. The fitted networks are arrays of numpy.

    Parameters
    ----------
    descriptor : estimator, default=None
        Makes the features of atoms where `fit` is given structures, such as ``SOAP(5.0)``. None:
        ``ACSF()``. In a Pipeline after a descriptor it is not used.
    hidden_layer_sizes : tuple of int, default=(25, 25)
        Neurons of the hidden layers of each network.
    activation : {"tanh", "logistic", "softplus", "centered softplus"}, default="tanh"
        The function ρ.
    electrostatics : bool, default=False
        Whether there are charges and their energy :math:`E_\mathrm{long}`. Structures must be
        periodic in three directions or in none.
    charge_width : float, default=1.0
        Width σ of the charges in Å. 0: points, without an energy of their own; their interactions
        are the hardest to learn.
    total_charge : float, default=0.0
        The charge Q of each structure in e.
    alpha : float, default=1e-6
        Weight decay α.
    solver : {"adam-lbfgs", "adam", "lbfgs"}, default="adam-lbfgs"
        "adam" takes ``max_iter`` iterations of steps along the slopes of batches, which become
        shorter until the end; "lbfgs" is a quasi-Newton method with the slopes of all structures,
        which may end before. "adam-lbfgs" is one after the other, with half of the iterations each,
        the most accurate one for some hundred structures.
    batch_size : int, default=8
        Structures in a batch of "adam"; some 100 atoms are a good size.
    learning_rate_init : float, default=0.01
        Length of the first steps of "adam".
    max_iter : int, default=300
        Number of iterations, each of which sees all data once. Errors fall for many hundred.
    max_time : float, default=None
        Seconds after which training ends, with the steps of "adam" as short as at its end; in
        "adam-lbfgs" half of them are those of "adam". None: no limit.
    tol : float, default=1e-3
        The quasi-Newton method ends if the loss does not fall by this share of itself in
        ``n_iter_no_change`` iterations.
    n_iter_no_change : int, default=50
        See ``tol``.
    early_stopping : bool, default=False
        Whether weights are judged by the error of structures that are left out; if not, by the
        loss. The best ones are kept.
    validation_fraction : float, default=0.1
        Share of the structures that are left out for ``early_stopping``.
    warm_start : bool, default=False
        Whether `fit` begins with the weights, the descriptor and the scales of the last one.
    checkpoint : str or path, default=None
        File to which the training is written once a minute. A fit to the same data that finds it
        goes on from there, "adam" as if it had not been interrupted and "lbfgs" with what it
        knew of curvatures forgotten; a complete one removes it.
    noise_energy : float, dict or array-like of shape (n,), default=0.01
        Noise standard deviation of energies in eV per atom; it is multiplied by :math:`\sqrt{N}`
        for a structure of N atoms. A dict gives it by configuration, see `fit`.
    noise_forces : float, dict or array-like of shape (n,) or (n_atoms,), default=0.1
        Noise standard deviation of force components in eV/Å.
    noise_virial : float, dict or array-like of shape (n,), default=0.1
        Noise standard deviation of virials, the stress times the volume, in eV per atom; it is
        multiplied by :math:`\sqrt{N}`.
    baseline : "elements", dict, estimator, list of these, or None, default=None
        Baseline :math:`E_0` that is subtracted from energies, forces and stresses before the fit
        and added to predictions, see `LinearPotential`. The constants ε are already energies of
        the elements.
    dtype : {"float32", "float64"}, default="float32"
        Type of the derivatives of the features that are kept during `fit`; all else is float64.
    random_state : int, RandomState or None, default=None
        Seed of the first weights, the batches and the structures that are left out.
    verbose : int, default=0
        1 shows a progress bar with the losses.

    Attributes
    ----------
    networks_ : list of Perceptron
        The network of each species; each has ``coefs`` and ``intercepts``.
    charge_networks_ : list of Perceptron, or None
        Those of the charges.
    descriptor_ : estimator or None
        The fitted descriptor; None after a fit to features.
    scaler_ : FeatureScaler
        The mean and the standard deviation of the features of each species.
    scale_ : float
        The factor c in eV.
    intercept_ : ndarray of float, shape (n_species,)
        The energies ε of the elements in eV.
    n_weights_ : int
        Number of weights and biases of all networks.
    loss_curve_ : list of float
        The loss after each iteration.
    validation_curve_ : list of float
        The error of the structures that are left out, in the same unit.
    best_loss_ : float
        The smallest loss that was watched, that of the weights that were kept.
    n_iter_ : int
        Number of iterations.
    species_ : ndarray of int, shape (n_species,)
        Sorted atomic numbers seen in `fit`.
    absolute_energies_ : bool
        Whether energies were learnt; if not, the zero of predicted energies is arbitrary.
    baseline_ : Baseline or None
        The fitted baseline.
    outputs_ : tuple of str
        Names of the properties that the model predicts.
    n_features_in_ : int
        Number of features.

    Raises
    ------
    ValueError
        If X is an array or features of structures, a structure is periodic in one or two
        directions with ``electrostatics=True``, the loss is not finite in the first iteration,
        ``warm_start`` meets networks of another form, ``checkpoint`` is the file of another
        training, or features were made on a device with ``electrostatics=True``.
    MemoryError
        If the derivatives of the features do not fit in memory.

    Warns
    -----
    RuntimeWarning
        If the loss becomes infinite or NaN; the weights of the smallest loss before are kept.
    ConvergenceWarning
        If the loss still falls with "lbfgs" after ``max_iter`` iterations.

    See Also
    --------
    StructuredMLPRegressor : Networks of tables, and of features of whole structures.
    SchNet : A network that learns its features.

    References
    ----------
    .. [1] J. Behler, M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007).
    .. [2] N. Artrith, T. Morawietz, J. Behler, Phys. Rev. B 83, 153101 (2011).

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import ACSF
    >>> from skatom.models import HDNNP
    >>> data = load_ethanol()
    >>> model = HDNNP(ACSF(cutoff=4.0), hidden_layer_sizes=(10,), max_iter=10, random_state=0)
    >>> model = model.fit(data.structures[::50], data.targets[::50])
    >>> energies, forces = model.predict(data.structures[1:3], return_forces=True)
    >>> energies.shape, forces.shape
    ((2,), (18, 3))
    """

    gives = in_order({"energy", "forces", "stress", "charges", "local_energies"})

    _parameter_constraints = {
        **SummedNetworkRegressor._parameter_constraints,
        "descriptor": "no_validation",
        "activation": [StrOptions({"tanh", "logistic", "softplus", "centered softplus"})],
        "electrostatics": ["boolean"],
        "charge_width": [Interval(Real, 0, None, closed="left")],
        "total_charge": [Real],
        "solver": [StrOptions({"adam-lbfgs", "adam", "lbfgs"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_time": [POSITIVE, None],
        "checkpoint": "no_validation",
        "dtype": [StrOptions({"float32", "float64"})],
    }

    # what the networks of atoms of `StructuredMLPRegressor` may be otherwise
    n_groups, by_species, beta = None, True, 1.0

    def __init__(
        self,
        descriptor: Any = None,
        *,
        hidden_layer_sizes: ArrayLike = (25, 25),
        activation: str = "tanh",
        electrostatics: bool = False,
        charge_width: float = 1.0,
        total_charge: float = 0.0,
        alpha: float = 1e-6,
        solver: str = "adam-lbfgs",
        batch_size: int = 8,
        learning_rate_init: float = 0.01,
        max_iter: int = 300,
        max_time: float | None = None,
        tol: float = 1e-3,
        n_iter_no_change: int = 50,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        checkpoint: str | PathLike | None = None,
        noise_energy: dict | ArrayLike = 0.01,
        noise_forces: dict | ArrayLike = 0.1,
        noise_virial: dict | ArrayLike = 0.1,
        baseline: BaselineLike = None,
        dtype: str = "float32",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.descriptor = descriptor
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.electrostatics = electrostatics
        self.charge_width = charge_width
        self.total_charge = total_charge
        self.alpha = alpha
        self.solver = solver
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.max_time = max_time
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.noise_energy = noise_energy
        self.noise_forces = noise_forces
        self.noise_virial = noise_virial
        self.baseline = baseline
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    @property
    def _dtype(self):
        return self.dtype

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
        X : Structures, list of ase.Atoms, or AtomicFeatures
            The n training structures, or the features of their atoms.
        y : Targets, or array-like of shape (n,)
            Labels: energies in eV, forces in eV/Å, stresses in eV/Å³, each of all structures or of
            some.
        sample_weight : array-like of shape (n,), default=None
            Weights of the structures, by which their noise variance is divided; those of weight 0
            are ignored.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.

        Returns
        -------
        self
        """
        before = dict(vars(self)) if self.warm_start and hasattr(self, "networks_") else None
        if kind_of(X) is None:
            structures = as_structures(X)
            if before is None or self.descriptor_ is None:
                chosen = ACSF() if self.descriptor is None else self.descriptor
                self.descriptor_ = clone(chosen).fit(structures)
            X = self.descriptor_.transform(structures)
        else:
            self.descriptor_ = None
        _check_atomic(X)
        if self.electrostatics:
            _check_charged(X)
        if before is None:
            self.scaler_ = FeatureScaler("standard", out_of_range="ignore").fit(X)
        features = self.scaler_.transform(X)
        data = self._start_structures(features, y, sample_weight, configurations, before)
        self._origin = origin_of(X)  # what is given to predict is not yet standardised
        if not self.electrostatics:
            self.outputs_ = tuple(name for name in self.outputs_ if name != "charges")
        return self._train(data, before)

    def _errors(self, data):
        if not self.electrostatics:
            return super()._errors(data)
        interactions = ChargeInteractions.of(
            data.structures, data.coordinates, float(self.charge_width)
        )
        return partial(
            ElectrostaticErrors, interactions=interactions, total=float(self.total_charge)
        )

    def _networks_to_train(self, data, before, random):
        short = super()._networks_to_train(data, before, random)
        if before is None:
            for network in short.networks:
                network.coefs[-1] *= _FIRST
        if not self.electrostatics:
            return short
        charging = self._first_networks("charge_networks_", data, before, random)
        if before is None:
            for network, constant in zip(charging, np.linspace(1, -1, len(charging)), strict=True):
                network.coefs[-1] *= _DIFFERENCE
                network.intercepts[-1][:] = constant
        return ChargedNetworks(short, SummedNetworks(charging, _CHARGE))

    def _keep(self, trained):
        self.n_weights_, self.charge_networks_ = len(trained.vector()), None
        if self.electrostatics:
            self.charge_networks_, trained = trained.charging.networks, trained.short
        super()._keep(trained)

    def _descend(self, loss, progress, random):
        if self.solver == "lbfgs":
            quasi_newton(loss, progress)
            return
        rate, last = self.learning_rate_init, self.max_iter
        schedule = Schedule("cosine", rate, _LAST * rate, 1, 1)
        if self.solver == "adam-lbfgs":
            last = -(-last // 2)
        finite = annealed_descent(loss, progress, self.batch_size, schedule, random, last)
        if finite and last < self.max_iter:
            quasi_newton(loss, progress)
            progress.converged = True

    def transform(self, X: FeaturesLike) -> AtomicFeatures:
        """The features of atoms that the networks take, not yet standardised.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or AtomicFeatures
            As in `fit`.

        Returns
        -------
        AtomicFeatures
        """
        check_is_fitted(self)
        if self.descriptor_ is not None:
            if kind_of(X) is not None:
                raise ValueError(
                    "X are features, but HDNNP was fitted to structures, of which it makes its "
                    "own: give structures"
                )
            X = self.descriptor_.transform(as_structures(X))
        X = super()._checked(X)
        if self.charge_networks_ is not None:
            _check_charged(X)
        return X

    def _checked(self, X):
        return self.scaler_.transform(self.transform(X))

    def _evaluate(self, X, names):
        if self.charge_networks_ is None:
            return super()._evaluate(X, names)
        networks = ChargedNetworks(self._summed, SummedNetworks(self.charge_networks_, _CHARGE))
        found = networks.evaluate(
            X, self._rows(X), float(self.charge_width), float(self.total_charge),
            bool({"gradient", "virial"} & {*names}),
        )  # fmt: skip
        found["local_energies"] += self.intercept_[species_index(X.structures, self.species_)]
        return found | {"energy": np.add.reduceat(found["local_energies"], X.offsets[:-1])}

    def _before_layers(self, X):
        if self.charge_networks_ is not None:
            raise ValueError(
                "the energy of charges is no sum over layers: fit HDNNP with electrostatics=False"
            )
        return self.transform(X)

    def _layers(self, k):
        """The layers of a species, from features that are not standardised."""
        shift, scale = self.scaler_.shift_[k], self.scaler_.scale_[k]
        first, *others = self.networks_[k].layers(self.scale_)
        weights = first.weights / scale[:, None]
        return [replace(first, weights=weights, biases=first.biases - shift @ weights), *others]


def _check_charged(X):
    check_is_array(X, "electrostatics=True of HDNNP", "electrostatics=False is")
    check_directions(X.structures, "HDNNP")


def _check_atomic(X):
    if kind_of(X) != "AtomicFeatures":
        raise ValueError(
            "X are features of structures, and HDNNP learns from features of atoms: leave out "
            "pool, or use StructuredMLPRegressor"
        )
