"""Kernel ridge regression of energies, forces and stresses."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data

from skatom._device import device_parameter
from skatom._typing import ArrayLike, BaselineLike, FeaturesLike, RandomState, TargetsLike
from skatom.baseline import fit_baseline, less_baseline
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.features import Features, structures_of
from skatom.descriptors.origin import check_origin, origin_of
from skatom.kernels import FCHL18, Gaussian, Kernel, StructureKernel
from skatom.models._labels import check_labels
from skatom.models._regressor import StructureRegressor
from skatom.models.kernel_ridge.array_ridge import predict_ridge, solve_ridge
from skatom.models.kernel_ridge.deviations import deviations
from skatom.models.kernel_ridge.factors import derivative_system, factor_again, operator_factor
from skatom.models.kernel_ridge.inputs import (
    check_array,
    check_features_type,
    check_kernel,
    check_structures_solver,
    checked_structures,
    is_array,
    learnable,
)
from skatom.models.kernel_ridge.iterative_system import IterativeSystem
from skatom.models.kernel_ridge.labels import RidgeLabels, alphas_of, outputs_of
from skatom.models.kernel_ridge.shared_fits import shared_fits
from skatom.properties import in_order
from skatom.targets import as_targets

# Default regularisation: least squares can truncate small singular values, Cholesky cannot.
_ALPHA = {"derivatives": 1e-7, "operators": 1e-14}
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")


class ForceKernelRidge(StructureRegressor):
    r"""Kernel ridge regression of energies, forces and stresses, together or alone.

    The energy of a structure is a sum over its atoms I and over the atoms J of the same element in
    the training structures,

    .. math::
        \hat E = \sum_z N_z \varepsilon_z + \sum_I \sum_J \delta_{Z_I Z_J}
        \begin{cases}
        \big[ a_J + w_J \cdot \partial_{q_J} \big]\, k(q_I, q_J) & \text{basis="derivatives"} \\
        c_J\, k(q_I, q_J) & \text{basis="operators"}
        \end{cases}
        \qquad \hat F = -\frac{\partial \hat E}{\partial R}

    with the features q of a descriptor. With ``basis="derivatives"`` the model is a Gaussian
    process: the coefficients solve :math:`(K + \Lambda) \alpha = y` with the covariance K of
    energies, forces and virials, which has one row for each label. With ``basis="operators"`` [1]_,
    the labels are rows of a least-squares problem with one unknown for each atom, three times
    fewer; it predicts faster and learns a little slower. Stresses are learnt as virials, the stress
    times the volume.

    If the features are those of whole structures (`StructureFeatures`), as of `InverseDistances`,
    `WaveletScattering` or a descriptor with ``pool="sum"``, the sums over atoms have one term for
    each structure, and ε is a constant of the composition as before. A `StructureKernel` compares
    structures by the features of their atoms; its sums over J are over training structures.

    Standard deviations of energies, forces and stresses are those of the posterior distribution of
    the Gaussian process, and with ``basis="operators"`` of Bayesian linear regression with the
    prior :math:`c \sim N(0, c^2 I)`. They need a factor of the matrix, n² · 4 bytes for n rows, or
    n² · 8 bytes for n unknowns ("operators"). It is made again when a deviation is first asked for,
    and then kept in memory; files have the training features instead.

    With the kernel `FCHL18`, which compares structures, X are structures. Since it depends on an
    electric field, dipoles :math:`\mu = -\partial E / \partial \mathcal{E}` are rows, too, if the
    basis is "operators".

    On a plain array X it is scikit-learn's kernel ridge regression,
    :math:`\hat y = k(x, X)\, (K + \alpha I)^{-1} y`.

    Parameters
    ----------
    kernel : Kernel, default=None
        Kernel of features (a `DotKernel`), of structures by the features of their atoms
        (`StructureKernel`) or directly (`FCHL18`), or of the rows of an array (any kernel). None:
        ``Gaussian(sigma=2)``, which suits `FCHL19`.
    basis : {"derivatives", "operators"}, default="derivatives"
        Functions in which the energy is expanded, see above.
    alpha : float, dict or array-like of shape (n,), default=None
        Regularisation strength of energies, their noise variance in the unit of the kernel; larger
        values give smoother models. It is Λ in the rows of energies; with ``basis="operators"`` the
        least squares minimises :math:`|E - K_E c|^2 / \alpha + |F - K_F c|^2 / \alpha_F + |c|^2`,
        and so on. A dict gives it by configuration, see `fit`. None: 1e-7, or 1e-14 for
        "operators".
    alpha_forces, alpha_virial, alpha_dipole : float, dict or array-like of shape (n,), default=None
        Regularisation strengths of forces, of virials (the stress times the volume) and of dipoles.
        None: ``alpha``.
    baseline : "elements", dict, estimator, list of these, or None, default="elements"
        Baseline that is subtracted from energies, forces and stresses before the fit and added to
        predictions: energies of the elements by least squares ("elements") or given, as in
        ``{"Si": -0.8}``; a `skatom.baseline.PairRepulsion`; any estimator of energies and forces;
        or a list of these.
    solver : {"auto", "cholesky", "cg"}, default="auto"
        Solver for ``basis="derivatives"``. "cholesky" stores half of the matrix, n² · 4 bytes for n
        rows. "cg" uses conjugate gradients and never forms the matrix; an iteration costs as much
        as predicting the training structures; such a model has no standard deviations. "auto":
        "cholesky" if it fits in memory.
    n_inducing : int, default=1000
        Number of columns of the matrix in the preconditioner of "cg"; more columns need fewer
        iterations.
    tol : float, default=1e-4
        Norm of the residual, relative to that of the labels, at which "cg" stops.
    max_iter : int, default=1000
        Largest number of iterations of "cg"; a warning says if it was reached.
    max_memory : float, default=None
        Memory limit of the matrix in GiB. None: the available memory.
    random_state : int, RandomState or None, default=None
        Seed of the draw of columns for the preconditioner.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    expansion_ : Predictor
        The energy as a function of the features or of the structures.
    outputs_ : tuple of str
        Names of the properties that the model predicts; dipoles only if it learnt nothing else.
    baseline_ : Baseline or None
        The fitted baseline.
    absolute_energies_ : bool
        Whether energies were learnt; if not, predicted energies are relative to their mean over
        the training structures.
    n_iter_ : int
        Number of iterations of "cg"; 1 for a direct solution.
    variance_ : float
        Scale c² of the kernel in eV² that maximises the likelihood of the labels.
    dual_coef_ : ndarray of float, shape (n,) or (n, n_targets)
        Coefficients, for a plain array.
    X_fit_ : ndarray of float, shape (n, n_features)
        Training data, for a plain array.

    Raises
    ------
    ValueError
        If there are no labels to learn from, the kernel lacks derivatives that are needed, or the
        matrix is not positive definite.
    MemoryError
        If the matrix would not fit in memory; it takes n² · 4 bytes for n rows ("derivatives"), or
        n² · 16 bytes for n atoms ("operators").

    References
    ----------
    .. [1] A. S. Christensen, F. A. Faber, O. A. von Lilienfeld, J. Chem. Phys. 150, 064105 (2019).
    .. [2] A. S. Christensen, L. A. Bratholm, F. A. Faber, O. A. von Lilienfeld, J. Chem. Phys.
       152, 044107 (2020).

    Examples
    --------
    >>> from sklearn.pipeline import Pipeline
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import FCHL19
    >>> from skatom.models import ForceKernelRidge
    >>> data = load_ethanol()
    >>> model = Pipeline([("fchl19", FCHL19()), ("krr", ForceKernelRidge())])
    >>> model = model.fit(data.structures[:20], data.targets[:20])
    >>> energy, forces = model.predict(data.structures[20:30], return_forces=True)
    >>> energy.shape, forces.shape
    ((10,), (90, 3))

    Standard deviations of energies and forces:

    >>> found = model.predict(data.structures[20:30], return_std=True, return_forces_std=True)
    >>> energy, energy_std, forces_std = found
    >>> energy_std.shape, forces_std.shape
    ((10,), (90, 3))
    """

    gives = in_order({
        "energy", "forces", "stress", "dipole", "local_energies", "energy_std", "forces_std",
        "stress_std", "dipole_std",
    })  # fmt: skip
    learns = ("energy", "forces", "stress", "dipole")

    _parameter_constraints = {
        "kernel": [Kernel, None],
        "basis": [StrOptions({"derivatives", "operators"})],
        "alpha": [_NOT_NEGATIVE, dict, "array-like", None],
        "alpha_forces": [_NOT_NEGATIVE, dict, "array-like", None],
        "alpha_virial": [_NOT_NEGATIVE, dict, "array-like", None],
        "alpha_dipole": [_NOT_NEGATIVE, dict, "array-like", None],
        "baseline": "no_validation",
        "solver": [StrOptions({"auto", "cholesky", "cg"})],
        "n_inducing": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "max_memory": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        kernel: Kernel | None = None,
        basis: str = "derivatives",
        *,
        alpha: dict | ArrayLike | None = None,
        alpha_forces: dict | ArrayLike | None = None,
        alpha_virial: dict | ArrayLike | None = None,
        alpha_dipole: dict | ArrayLike | None = None,
        baseline: BaselineLike = "elements",
        solver: str = "auto",
        n_inducing: int = 1000,
        tol: float = 1e-4,
        max_iter: int = 1000,
        max_memory: float | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.basis = basis
        self.alpha = alpha
        self.alpha_forces = alpha_forces
        self.alpha_virial = alpha_virial
        self.alpha_dipole = alpha_dipole
        self.baseline = baseline
        self.solver = solver
        self.n_inducing = n_inducing
        self.tol = tol
        self.max_iter = max_iter
        self.max_memory = max_memory
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: FeaturesLike, y: TargetsLike, configurations: ArrayLike | None = None) -> Self:
        """Solve for the coefficients.

        Parameters
        ----------
        X : AtomicFeatures or StructureFeatures of n structures, or array-like of float, shape \
(n, n_features)
            With FCHL18: Structures or list of ase.Atoms.
        y : Targets, or array-like of float, shape (n,) or (n, n_targets)
            Energies (eV), forces (eV/Å), stresses (eV/Å³) or some of them; with FCHL18 also dipoles
            (e·Å). Structures may lack some of them. A plain array means energies.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for regularisations given as a dict.

        Returns
        -------
        self
        """
        for stale in ("_factor", "_training", "dual_coef_", "expansion_"):
            vars(self).pop(stale, None)
        return self._learn(X, y, configurations)

    def _learn(self, X, y, configurations, make_system=None):
        """`fit`; ``make_system`` gives the system of derivatives if it is shared with others."""
        kernel = self._kernel()
        self._origin = origin_of(X)
        if isinstance(kernel, FCHL18):
            X = checked_structures(X)
            check_structures_solver(self.solver if self.basis == "derivatives" else None)
        else:
            kernel.check_parameters()
            if is_array(X, kernel):
                return self._fit_array(kernel, X, y)
            check_kernel(kernel, X, self.solver if self.basis == "derivatives" else None)
        structures = structures_of(X)
        targets = as_targets(y, structures)
        learnt = check_labels(targets, learnable(kernel, self.basis, targets), type(self).__name__)
        parameters = self.get_params(deep=False) | {"alpha": self._alpha()}
        smallest = None if self.basis == "operators" else 0.0
        alphas = alphas_of(parameters, structures, targets, configurations, smallest)
        used = np.logical_or.reduce([targets.labelled(name) for name in learnt])
        X, structures, targets = X[used], structures[used], targets[used]
        alphas = {kind: alpha[used] for kind, alpha in alphas.items()}
        if {"forces", "stress"} & {*learnt} and self.basis == "derivatives":
            kernel.check_derivatives(2)
        self.absolute_energies_ = "energy" in learnt
        self.baseline_ = None
        if learnt != ["dipole"]:
            self.baseline_ = fit_baseline(self.baseline, structures, targets)
        if self.baseline_ is not None:
            targets = less_baseline(targets, structures, self.baseline_)
        labels = RidgeLabels(structures, targets, alphas, learnt)
        self._features_type = type(X).__name__
        if self.basis == "derivatives":
            make = derivative_system if make_system is None else partial(make_system, used=used)
            self._fit_derivatives(X, labels, make(self, kernel, X, labels))
        else:
            self._fit_operators(kernel, X, labels)
        local = isinstance(X, AtomicFeatures) and not isinstance(kernel, StructureKernel)
        self.outputs_ = outputs_of(learnt, hasattr(self, "_training"), local)
        self._shift = 0.0
        if not self.absolute_energies_ and "energy" in self.outputs_:
            self._shift = -float(self.expansion_.energies(X).mean())
        return self

    shared_fits = staticmethod(shared_fits)

    def _kernel(self):
        return Gaussian(2.0) if self.kernel is None else self.kernel

    def _alpha(self):
        return _ALPHA[self.basis] if self.alpha is None else self.alpha

    def _remedy(self, name):
        if hasattr(self, "expansion_") and self._lacks_deviation(name):
            return (
                ", and this model if it is fitted with solver='cholesky': conjugate gradients make "
                "no factor of the matrix, from which standard deviations are computed"
            )
        return ""

    def _checked(self, X):
        if hasattr(self, "dual_coef_"):
            check_origin(self, X)
            return validate_data(self, X, reset=False)
        if self._features_type == "Structures":
            return checked_structures(X)
        check_features_type(X, self._features_type)
        check_origin(self, X)
        return X

    def _evaluate(self, X, names):
        if hasattr(self, "dual_coef_"):
            energy = predict_ridge(self._kernel(), X, self.X_fit_, self.dual_coef_)
            return {"energy": energy}
        found = {}
        if {"gradient", "virial"} & {*names}:
            parts = self.expansion_.differentiate(X)
            found = dict(zip(("energy", "gradient", "virial"), parts, strict=True))
        elif "energy" in names:
            found["energy"] = self.expansion_.energies(X)
        if "energy" in found:
            found["energy"] = found["energy"] + self._shift
        if "local_energies" in names:
            shifts = np.repeat(self._shift / X.n_atoms, X.n_atoms)
            found["local_energies"] = self.expansion_.local_energies(X) + shifts
        if "dipole" in names:
            found["dipole"] = self.expansion_.dipoles(X)
        wanted = [name for name in names if name.endswith("_std")]
        if wanted:
            found |= deviations(self._made_factor(X), self.variance_, X, wanted)
        return found

    def _fit_array(self, kernel, X, y):
        alpha = _ALPHA["derivatives"] if self.alpha is None else self.alpha
        check_array(kernel, X, y, alpha)
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True)
        self.dual_coef_ = solve_ridge(kernel, X, y, alpha, self.max_memory)
        self.X_fit_, self.n_iter_, self.outputs_ = X, 1, ("energy",)
        self.baseline_, self.absolute_energies_ = None, True
        return self

    def _fit_derivatives(self, X, labels, system):
        right_side = system.right_side()
        if isinstance(system, IterativeSystem):
            solution, self.n_iter_ = system.solve(
                right_side, self.n_inducing, self.tol, self.max_iter,
                check_random_state(self.random_state), self.verbose,
            )  # fmt: skip
        else:
            system.factor(self.verbose)
            solution, self.n_iter_ = system.solve(right_side), 1
            self._training = X, labels.without_values()
        self.variance_ = float(right_side @ solution / labels.n_independent)
        self.expansion_ = system.expansion(solution)

    def _fit_operators(self, kernel, X, labels):
        factor = operator_factor(self, kernel, X, labels)
        self._training = X, labels.without_values()
        self.n_iter_, self.variance_ = 1, factor.variance
        self.expansion_ = factor.expansion()

    def _made_factor(self, X):
        """The factor of the matrix of the fit, made again when it is first needed, beside X."""
        training, labels = self._training
        if isinstance(X, Features):
            place = device_parameter(X.values)
            if device_parameter(training.values) != place:
                self._training = training.to(place), labels
                vars(self).pop("_factor", None)
        if not hasattr(self, "_factor"):
            self._factor = factor_again(self, self._kernel(), *self._training)
        return self._factor

    def __getstate__(self):
        # the factor may be large, and can be made again
        return {name: value for name, value in super().__getstate__().items() if name != "_factor"}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.target_tags.multi_output = True
        return tags
