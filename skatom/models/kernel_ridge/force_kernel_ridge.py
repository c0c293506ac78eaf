"""Kernel ridge regression of energies and forces."""

import warnings
from numbers import Integral, Real

import numpy as np
from ase import Atoms
from scipy.linalg import LinAlgWarning, solve
from sklearn.base import RegressorMixin, _fit_context, clone
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from skatom.base import BaseEstimator
from skatom.baseline import AtomicBaseline
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.kernels import FCHL18, DotKernel, Gaussian, Kernel
from skatom.memory import check_memory
from skatom.models.kernel_ridge.derivative_system import CholeskySystem
from skatom.models.kernel_ridge.iterative_system import IterativeSystem
from skatom.models.kernel_ridge.operator_system import (
    FeatureOperators,
    StructureExpansion,
    StructureOperators,
    solve_operators,
)
from skatom.structures import Structures, as_structures
from skatom.targets import Targets, as_targets


class ForceKernelRidge(RegressorMixin, BaseEstimator):
    r"""Kernel ridge regression of energies and forces, together or alone.

    The energy of a structure is a sum over its atoms I and over the atoms J of the training
    structures that are of the same element,

    .. math::
        \hat E = \sum_z N_z \varepsilon_z + \sum_I \sum_J \delta_{Z_I Z_J}
        \begin{cases}
        \big[ a_J + w_J \cdot \partial_{q_J} \big]\, k(q_I, q_J) & \text{basis="derivatives"} \\
        c_J\, k(q_I, q_J) & \text{basis="operators"}
        \end{cases}
        \qquad \hat F = -\frac{\partial \hat E}{\partial R}

    with the features q of a descriptor. In the basis of *derivatives* the model is a Gaussian
    process: the coefficients solve :math:`(K + \Lambda) \alpha = y` with the covariance K of
    energies and forces, of one row for each label. In that of *operators* [1]_ energies and forces
    are rows of a least-squares problem with one unknown for each atom, three times fewer; it
    predicts faster and learns a little slower.

    With the kernel `FCHL18`, which compares structures themselves and answers to an electric
    field, dipoles :math:`\mu = -\partial E / \partial \mathcal{E}` are rows too; X are structures
    then, and the basis is that of operators.

    On a plain array X it is scikit-learn's kernel ridge regression,
    :math:`\hat y = k(x, X)\, (K + \alpha I)^{-1} y`.

    Parameters
    ----------
    kernel : Kernel, default=None
        Kernel of the features of atoms (a `DotKernel`), of structures (`FCHL18`), or of the rows
        of an array (any). None: ``Gaussian(sigma=2)``, which suits `FCHL19`.
    basis : {"derivatives", "operators"}, default="derivatives"
        What the predictor is made of.
    alpha : float, default=1e-7
        How little energies are trusted; larger values smooth. Λ in the rows of energies, which is
        the variance of their noise in the unit of the kernel. In the basis of operators, where
        small singular values are cut off instead, the least squares minimises
        :math:`|E - K_E c|^2 / \alpha^2 + |F - K_F c|^2 / \alpha_F^2 + |c|^2`.
    alpha_forces, alpha_dipole : float, default=None
        The same for forces and dipoles. None: ``alpha``.
    baseline : {"elements"} or regressor, default="elements"
        What is subtracted from energies before, and added to predictions: "elements" is
        `AtomicBaseline`, an energy for each element; or any regressor from structures to
        energies. None: nothing. Forces are left as they are.
    solver : {"auto", "cholesky", "cg"}, default="auto"
        For the basis of derivatives. "cholesky" holds half of the matrix, n² · 4 bytes for n
        rows. "cg" never makes it: conjugate gradients, each of whose iterations costs as much as
        predicting for the training structures. "auto": the first where it fits.
    n_inducing : int, default=1000
        Columns of the matrix that the preconditioner of "cg" is made of; more of them make
        fewer iterations.
    tol : float, default=1e-4
        Length of the residual at which "cg" stops, relative to that of the labels.
    max_iter : int, default=1000
        Most iterations of "cg". It warns if they do not suffice.
    max_memory : float, default=None
        Most memory that the matrix may take, in GiB. None: what is available.
    random_state : int, RandomState or None, default=None
        Draws the columns of the preconditioner.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    expansion_ : EnvironmentExpansion or StructureExpansion
        The energy as a function of the features or of the structures.
    predicts_ : tuple of str
        What the model can predict.
    baseline_ : regressor or None
        Fitted.
    absolute_energies_ : bool
        Whether energies were given; if not, predicted ones are relative to the mean of those
        predicted for the training structures, and NaN for a model of dipoles alone.
    n_iter_ : int
        Iterations of "cg"; 1 for a direct solution.
    variance_ : float
        The kernel's scale c² in eV² that makes the labels most likely (basis "derivatives").
    dual_coef_ : ndarray of float, shape (n,) or (n, n_targets)
        Coefficients, for a plain array.
    X_fit_ : ndarray of float, shape (n, n_features)
        Training data, for a plain array.

    Raises
    ------
    ValueError
        If there is no label to learn from, a label is missing in part, the kernel has no
        derivatives where they are needed, or the matrix is not positive definite.
    MemoryError
        If the matrix would not fit; for n rows it takes n² · 4 bytes (derivatives), for n atoms
        n² · 16 bytes (operators).

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

    The standard deviation of energies:

    >>> energy, std = model.predict(data.structures[20:30], return_std=True)
    >>> std.shape
    (10,)
    """

    _parameter_constraints = {
        "kernel": [Kernel, None],
        "basis": [StrOptions({"derivatives", "operators"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "alpha_forces": [Interval(Real, 0, None, closed="left"), None],
        "alpha_dipole": [Interval(Real, 0, None, closed="left"), None],
        "baseline": [StrOptions({"elements"}), None, HasMethods(["fit", "predict"])],
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
        kernel=None,
        basis="derivatives",
        *,
        alpha=1e-7,
        alpha_forces=None,
        alpha_dipole=None,
        baseline="elements",
        solver="auto",
        n_inducing=1000,
        tol=1e-4,
        max_iter=1000,
        max_memory=None,
        random_state=None,
        verbose=0,
    ):
        self.kernel = kernel
        self.basis = basis
        self.alpha = alpha
        self.alpha_forces = alpha_forces
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
    def fit(self, X, y):
        """Solve for the coefficients.

        Parameters
        ----------
        X : AtomicFeatures of n structures, or array-like of float, shape (n, n_features)
            With FCHL18: Structures or list of ase.Atoms.
        y : Targets, or array-like of float, shape (n,) or (n, n_targets)
            Energies (eV), forces (eV/Å) or both; with FCHL18 dipoles (e·Å) too. Structures that
            lack one of them give no rows for it. A plain array means energies.

        Returns
        -------
        self
        """
        for stale in ("_system", "dual_coef_"):
            vars(self).pop(stale, None)
        kernel = self._kernel()
        if isinstance(kernel, FCHL18):
            X = self._checked_structures(X)
        else:
            kernel.check_parameters()
            if not isinstance(X, AtomicFeatures):
                return self._fit_array(kernel, X, y)
            if not isinstance(kernel, DotKernel):
                raise ValueError(
                    "the kernel of atomic features must be a DotKernel, such as Gaussian, Matern "
                    f"or Cosine: {kernel} is none"
                )
        if self.basis == "operators" and 0 in self._alphas().values():
            raise ValueError("basis='operators' needs alphas above zero")
        targets = as_targets(y, X)
        names = self._learnable(kernel)
        used = np.logical_or.reduce([targets.labelled(name) for name in names])
        if not used.any():
            raise ValueError(f"no structure has {' or '.join(names)}: there is nothing to learn")
        X, targets = X[used], targets[used]
        learnt = [name for name in names if targets.labelled(name).any()]
        if "forces" in learnt and self.basis == "derivatives":
            kernel.check_derivatives(2)
        self.absolute_energies_ = "energy" in learnt
        self.predicts_ = ("energy",)
        if learnt != ["dipole"]:
            self.predicts_ += ("forces", "stress")
        if "dipole" in learnt:
            self.predicts_ += ("dipole",)
        self.baseline_ = self._fit_baseline(X, targets)
        residual = self._less_baseline(X, targets)
        if self.basis == "derivatives":
            self._fit_derivatives(kernel, X, residual)
        else:
            self._fit_operators(kernel, X, residual)
        self._shift = 0.0
        if not self.absolute_energies_:
            energies = self.expansion_.structure_energies(X)
            self._shift = np.nan if learnt == ["dipole"] else -float(energies.mean())
        return self

    def predict(
        self, X, return_forces=False, return_stress=False, return_std=False, return_dipole=False
    ):
        """Energies, and forces, stresses, standard deviations and dipoles if asked for.

        Parameters
        ----------
        X : AtomicFeatures of n structures, or array-like of float, shape (n, n_features)
            With FCHL18: Structures or list of ase.Atoms.
        return_forces : bool, default=False
        return_stress : bool, default=False
            For structures that are periodic in all three directions.
        return_std : bool, default=False
            For the basis of derivatives. The first call after `fit` factors the matrix again and
            keeps it.
        return_dipole : bool, default=False
            For a model that has learnt dipoles.

        Returns
        -------
        energies : ndarray of shape (n,), eV
        forces : ndarray of shape (n_atoms, 3), eV/Å
            With ``return_forces=True``.
        stress : ndarray of shape (n, 3, 3), eV/Å³
            With ``return_stress=True``; tension positive, as in ASE.
        std : ndarray of shape (n,), eV
            With ``return_std=True``: of the energies.
        dipole : ndarray of shape (n, 3), e·Å
            With ``return_dipole=True``.
        """
        check_is_fitted(self)
        if hasattr(self, "dual_coef_"):
            X = validate_data(self, X, reset=False)
            return self._kernel()(X, self.X_fit_) @ self.dual_coef_
        X = self._checked_input(X)
        if not (return_forces or return_stress):
            result = [self.expansion_.structure_energies(X) + self._shift]
        else:
            result = self._differentiate(X, return_forces, return_stress)
        if self.baseline_ is not None:
            result[0] = result[0] + self.baseline_.predict(_structures(X))
        if return_std:
            result.append(self._std(X))
        if return_dipole:
            self._require("dipole")
            result.append(self.expansion_.dipoles(X))
        return result[0] if len(result) == 1 else tuple(result)

    def score(self, X, y):
        """R² of the energies, or of the forces or the dipoles where the model learnt no energies.

        Parameters
        ----------
        X : AtomicFeatures, or array-like of float, shape (n, n_features)
        y : Targets, or array of energies

        Returns
        -------
        float
        """
        if hasattr(self, "dual_coef_"):
            return super().score(X, y)
        X = self._checked_input(X)
        targets = as_targets(y, X)
        if self.absolute_energies_:
            return r2_score(targets.require("energy"), self.predict(X))
        name = "forces" if "forces" in self.predicts_ else "dipole"
        _, found = self.predict(X, **{f"return_{name}": True})
        return r2_score(targets.require(name).ravel(), found.ravel())

    def _kernel(self):
        return Gaussian(2.0) if self.kernel is None else self.kernel

    def _alphas(self):
        """α of each label."""
        given = {"forces": self.alpha_forces, "dipole": self.alpha_dipole}
        return {
            "energy": self.alpha,
            **{name: self.alpha if value is None else value for name, value in given.items()},
        }

    def _learnable(self, kernel):
        if not isinstance(kernel, FCHL18):
            return ("energy", "forces")
        if self.basis == "derivatives":
            raise ValueError(
                "FCHL18 has first derivatives only: take basis='operators', or FCHL19 features"
            )
        return ("energy", "forces", "dipole")

    def _checked_structures(self, X):
        if isinstance(X, AtomicFeatures):
            raise ValueError("FCHL18 compares structures: give them without a descriptor in front")
        return as_structures(X)

    def _checked_input(self, X):
        if isinstance(self.expansion_, StructureExpansion):
            return self._checked_structures(X)
        if not isinstance(X, AtomicFeatures):
            raise ValueError(
                f"X is a {type(X).__name__}, but the model was fitted to AtomicFeatures: give "
                "those of the same descriptor"
            )
        return X

    def _require(self, name):
        if name not in self.predicts_:
            raise ValueError(
                f"the model was not fitted to {name}, it predicts {', '.join(self.predicts_)}"
            )

    def _fit_array(self, kernel, X, y):
        if isinstance(X, Structures) or (isinstance(X, list) and isinstance(X[0], Atoms)):
            raise TypeError(
                "X are structures, which this kernel does not compare: put a descriptor in front, "
                "for example make_pipeline(FCHL19(), ForceKernelRidge())"
            )
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True)
        check_memory(8.0 * len(X) ** 2, f"the kernel matrix of {len(X)} samples", "take fewer")
        matrix = kernel(X)
        matrix.flat[:: len(X) + 1] += self.alpha
        try:
            with warnings.catch_warnings(action="error", category=LinAlgWarning):
                self.dual_coef_ = solve(matrix, y, assume_a="pos", overwrite_a=True)
        except (np.linalg.LinAlgError, LinAlgWarning) as error:
            raise ValueError(
                f"the kernel matrix is not positive definite with alpha={self.alpha:g}: raise it "
                "tenfold, or remove samples that are equal"
            ) from error
        self.X_fit_, self.n_iter_, self.predicts_ = X, 1, ("energy",)
        return self

    def _fit_baseline(self, X, targets):
        if self.baseline is None or not self.absolute_energies_:
            return None
        baseline = AtomicBaseline() if self.baseline == "elements" else clone(self.baseline)
        labelled = targets.labelled("energy")
        return baseline.fit(_structures(X)[labelled], targets.energy[labelled])

    def _less_baseline(self, X, targets):
        energy = targets.energy
        if self.baseline_ is not None:
            energy = energy - self.baseline_.predict(_structures(X))
        return Targets(
            energy=energy, forces=targets.forces, dipole=targets.dipole, offsets=X.offsets
        )

    def _fit_derivatives(self, kernel, X, targets):
        self._training = (X, targets.labelled("energy"), targets.labelled("forces"))
        system = self._system_that_fits(kernel)
        right_side = system.right_side(targets.energy, targets.forces)
        if isinstance(system, CholeskySystem):
            system.factor(self.verbose)
            solution, self.n_iter_ = system.solve(right_side), 1
        else:
            solution, self.n_iter_ = system.solve(
                right_side, self.n_inducing, self.tol, self.max_iter,
                check_random_state(self.random_state), self.verbose,
            )  # fmt: skip
        self.variance_ = float(right_side @ solution / system.n_labels)
        self.expansion_ = system.expansion(solution)

    def _system_that_fits(self, kernel):
        if self.solver != "cg":
            try:
                return self._system_of(CholeskySystem, kernel)
            except MemoryError:
                if self.solver == "cholesky":
                    raise
        return self._system_of(IterativeSystem, kernel)

    def _system_of(self, system, kernel):
        alphas = self._alphas()
        return system(kernel, *self._training, alphas["energy"], alphas["forces"], self.max_memory)

    def _fit_operators(self, kernel, X, targets):
        self.n_iter_ = 1
        if isinstance(kernel, FCHL18):
            operators = StructureOperators(kernel, X)
        else:
            operators = FeatureOperators(kernel, X, targets.labelled("forces").any())
        coefficients = solve_operators(
            operators, X, targets, self._alphas(), self.max_memory,
            lambda batches: tqdm(batches, desc="rows", disable=not self.verbose, leave=False),
        )  # fmt: skip
        self.expansion_ = operators.expansion(coefficients)

    def _differentiate(self, X, return_forces, return_stress):
        self._require("forces")
        volumes = _structures(X).volumes() if return_stress else None
        energies, gradient, virial = self.expansion_.differentiate(X)
        result = [energies + self._shift]
        if return_forces:
            result.append(-gradient)
        if return_stress:
            result.append(virial / volumes[:, None, None])
        return result

    def _std(self, X):
        if self.basis != "derivatives":
            raise ValueError("return_std needs basis='derivatives', a Gaussian process")
        if not hasattr(self, "_system"):
            system = self._system_of(CholeskySystem, self._kernel())
            system.factor(self.verbose)
            self._system = system
        return np.sqrt(self.variance_ * self._system.variances(X))

    def __getstate__(self):
        # the factor may be large, and can be made again
        return {name: value for name, value in super().__getstate__().items() if name != "_system"}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _structures(X):
    return X.structures if isinstance(X, AtomicFeatures) else X
