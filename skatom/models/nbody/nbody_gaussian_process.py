"""Gaussian processes over sums of pairs and triangles of atoms."""

from __future__ import annotations

from numbers import Integral, Real
from time import perf_counter
from typing import Any, Self

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.base import _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from skatom._cpu.voigt import FROM_VOIGT
from skatom._intervals import POSITIVE
from skatom._progress import tqdm
from skatom._typing import ArrayLike, BaselineLike, RandomState, StructuresLike, TargetsLike
from skatom._warnings import warn
from skatom.baseline import fit_baseline
from skatom.elements import species_index
from skatom.kernels.nbody.base import NBodyKernel
from skatom.kernels.nbody.expansion import NPletExpansion
from skatom.kernels.nbody.sums import NBody
from skatom.memory import check_memory
from skatom.models._labels import Labels, check_labels
from skatom.models._regressor import StructureRegressor
from skatom.models.nbody.marginal_likelihood import (
    cholesky,
    log_likelihood,
    maximise_likelihood,
    n_matrices,
    solve,
)
from skatom.models.nbody.training import TrainingRows, by_kind, observations
from skatom.models.nbody.variance_table import VarianceTable
from skatom.models.sparse.fitting import batches
from skatom.structures import as_structures
from skatom.targets import as_targets

# Number of atoms whose rows of a kernel matrix are in memory at once in a prediction.
_BATCH_ATOMS = 512
# Seconds of a prediction from which it is announced.
_LONG = 30


class NBodyGaussianProcess(StructureRegressor):
    r"""Gaussian process with a kernel of pairs, triangles or larger sets of atoms.

    .. math::

        \hat E(S) = \sum_z N_z \varepsilon_z + \sum_l k(S, l)\, \alpha_l, \qquad
        \alpha = (K + \Lambda)^{-1} y

    The observations l are energies of structures, components of forces on atoms, and virials, whose
    covariances are derivatives of the kernel of the energies [1]_. The :math:`\varepsilon_z` are
    the baseline. The diagonal matrix :math:`\Lambda` has the noise variance of each observation.
    Forces and stress are derivatives of the predicted energy; standard deviations are those of the
    posterior,

    .. math:: s^2 = k(l, l) - k_l^\top (K + \Lambda)^{-1} k_l.

    The system is dense and is solved exactly, which limits training sets to hundreds of structures
    or of atoms with forces (``n_environments``). The cost of
    standard deviations grows with the square of the training set; that of the other predictions
    does not depend on it, except with `ManyBody`. `MappedForceField` is faster still.

    Parameters
    ----------
    kernel : NBody, ManyBody, HaarNBody, CartesianPairs or a sum of them, default=None
        Kernel of structures. None: ``NBody(order=2) + NBody(order=3)``. `KernelOrderSelector`
        selects a kernel by marginal likelihood. With `CovariantNBody` the model learns and predicts
        forces alone.
    noise_energy : float, dict or array-like of shape (n,), default=0.03
        Noise standard deviation of energies in eV per atom; it is multiplied by :math:`\sqrt{N}`
        for a structure of N atoms. A dict gives it by configuration, see `fit`. Like that of forces
        it includes what pairs and triangles cannot express, which is much more than the errors of
        the labels: with 1e-3 a few energies spoil the forces, see the user guide.
    noise_forces : float, dict or array-like of shape (n,) or (n_atoms,), default=0.03
        Noise standard deviation of force components in eV/Å. It includes what the kernel cannot
        express, such as interactions beyond the cutoff.
    noise_virial : float, dict or array-like of shape (n,), default=0.1
        Noise standard deviation of virials, the stress times the volume, in eV per atom; it is
        multiplied by :math:`\sqrt{N}`.
    baseline : "elements", dict, estimator, list of these, or None, default="elements"
        Baseline that is subtracted from energies, forces and stresses before the fit and added to
        predictions: energies of the elements by least squares ("elements") or given, as in
        ``{"Si": -0.8}``; a `skatom.baseline.PairRepulsion`; any estimator of energies and forces;
        or a list of these.
    n_environments : int, default=None
        Number of atoms, drawn at random, whose forces are learnt. None: all atoms.
    optimize : bool, default=False
        Maximise the log marginal likelihood over ``sigma`` and ``amplitude`` of each kernel and
        over the noise, starting from the given values: ``sigma`` within a factor of 4,
        ``amplitude`` within a factor of 100, and the noises of energies, of forces and of virials
        each by a common factor of up to 10. With few data (some 100 observations) so many free
        parameters overfit: give values instead.
    max_memory : float, default=None
        Memory limit of the kernel matrix in GiB. None: the available memory.
    random_state : int, RandomState or None, default=None
        Seed of the draw of atoms.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    kernel_ : NBodyKernel
        The kernel with the parameters in use.
    noise_scale_ : ndarray of float, shape (3,)
        Factors by which the noises of energies, of forces and of virials were multiplied; 1
        without ``optimize``.
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.
    baseline_ : Baseline or None
        The fitted baseline.
    expansions_ : list of Predictor
        The energy of each kernel of the sum.
    outputs_ : tuple of str
        Names of the properties that the model predicts.
    environments_ : ndarray of int
        The atoms of the training batch whose forces were learnt.
    n_observations_ : int
        Number of energies and of components of forces and virials.
    log_marginal_likelihood_ : float
        :math:`\log p(y) = -\frac12 y^\top \alpha - \frac12 \log\det(K + \Lambda)
        - \frac n2 \log 2\pi`.
    absolute_energies_ : bool
        Whether energies were learnt; if not, predicted energies lack those of isolated atoms.

    Raises
    ------
    ValueError
        If there are no energies, forces or stresses, a structure with a stress is not periodic in
        three directions, the kernel is a sum of kernels of energies and of forces, the kernel
        matrix is not positive definite, or a structure to predict has an element that was not in
        ``fit``.
    MemoryError
        If the kernel matrix would not fit. It takes 8 bytes times the square of the number of
        observations, twice as much for a sum of kernels, and several times with ``optimize``.

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), eqs. 5.1 to 5.15.

    Examples
    --------
    >>> from skatom.datasets import load_boron_nitride
    >>> from skatom.kernels import NBody
    >>> from skatom.models import NBodyGaussianProcess
    >>> data = load_boron_nitride()
    >>> model = NBodyGaussianProcess(NBody(order=2, cutoff=3.5), n_environments=40, random_state=0)
    >>> model = model.fit(data.structures[:60:6], data.targets[:60:6])
    >>> energy, forces, std, forces_std = model.predict(
    ...     data.structures[1:3], return_forces=True, return_std=True, return_forces_std=True
    ... )
    >>> energy.shape, forces.shape, std.shape, forces_std.shape
    ((2,), (128, 3), (2,), (128, 3))
    """

    gives = ("energy", "forces", "stress", "energy_std", "forces_std", "stress_std")
    learns = ("energy", "forces", "stress")

    _parameter_constraints = {
        "kernel": [NBodyKernel, None],
        "noise_energy": [POSITIVE, dict, "array-like"],
        "noise_forces": [POSITIVE, dict, "array-like"],
        "noise_virial": [POSITIVE, dict, "array-like"],
        "baseline": "no_validation",
        "n_environments": [Interval(Integral, 1, None, closed="left"), None],
        "optimize": ["boolean"],
        "max_memory": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        kernel: Any = None,
        noise_energy: dict | ArrayLike = 0.03,
        noise_forces: dict | ArrayLike = 0.03,
        *,
        noise_virial: dict | ArrayLike = 0.1,
        baseline: BaselineLike = "elements",
        n_environments: int | None = None,
        optimize: bool = False,
        max_memory: float | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.noise_energy = noise_energy
        self.noise_forces = noise_forces
        self.noise_virial = noise_virial
        self.baseline = baseline
        self.n_environments = n_environments
        self.optimize = optimize
        self.max_memory = max_memory
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: StructuresLike,
        y: TargetsLike,
        configurations: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Build the kernel matrix and solve for the coefficients.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them
            Molecules and crystals of any composition.
        y : Targets, or array-like of float, shape (n,), eV
            Energies, forces and stresses, or some of them; structures may lack some.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.
        sample_weight : array-like of float, shape (n,), default=None
            Weights of the structures, by which their noise variance is divided; structures of
            weight 0 are ignored.

        Returns
        -------
        self
        """
        structures = as_structures(X)
        targets = as_targets(y, structures)
        self.kernel_ = (
            NBody(order=2) + NBody(order=3) if self.kernel is None else clone(self.kernel)
        )
        self.kernel_.check_parameters()
        noises = {"energy": "noise_energy", "forces": "noise_forces", "stress": "noise_virial"}
        self.outputs_ = self.gives
        if not _has_energies(self.kernel_):
            noises, self.outputs_ = {"forces": "noise_forces"}, ("forces", "forces_std")
        learnt = check_labels(targets, tuple(noises), type(self).__name__)
        self.absolute_energies_ = "energy" in learnt
        self.species_ = structures.species
        self.baseline_ = fit_baseline(self.baseline, structures, targets, sample_weight)
        noise = {name: getattr(self, name) for name in noises.values()}
        labels = Labels.of(
            structures, targets, self.baseline_, noise, configurations, sample_weight
        )
        self.environments_ = self._choose_environments(structures, labels.has_forces)
        self._learn(structures, labels)
        return self

    def _learn(self, structures, labels):
        values, scales = observations(labels, self.environments_)
        self.n_observations_ = len(values)
        check_memory(
            8.0 * n_matrices(self.kernel_, self.optimize) * len(values) ** 2,
            f"the kernel matrix of {len(values)} observations",
            "set n_environments, or train on fewer structures", self.max_memory,
        )  # fmt: skip
        self._training = TrainingRows(self.kernel_, structures, labels, self.environments_)
        self.noise_scale_ = np.ones(3)
        if self.optimize:
            self.kernel_, self.noise_scale_ = maximise_likelihood(
                self.kernel_, self.noise_scale_, self._training, values, scales, self.verbose
            )
        self._training.noise = scales @ self.noise_scale_
        self._factor = cholesky(self._training.covariance(self.kernel_), self._training.noise)
        alpha = solve(self._factor, values.copy())
        self._residuals = by_kind(self._training.noise**2 * alpha, labels, self.environments_)
        self._learnt = by_kind(values, labels, self.environments_)
        self.log_marginal_likelihood_ = log_likelihood(self._factor, values, alpha)
        self.expansions_ = [
            term.expand(*self._training.weighted(k, alpha))
            for k, term in enumerate(self.kernel_.terms)
        ]

    def _training_errors(self, X, structures, targets, names):
        """Residuals of all labels, Λ(K + Λ)⁻¹y, and the labels minus the baseline."""
        return {name: (self._residuals[name], self._learnt[name]) for name in self._learnt}

    def variance_table(self, r_min: float, max_memory: float | None = None) -> VarianceTable:
        """The posterior variance as a table, for `MappedForceField`.

        Parameters
        ----------
        r_min : float
            The shortest side of an n-plet in the table, Å.
        max_memory : float, default=None
            Memory limit in GiB. None: the available memory.

        Returns
        -------
        VarianceTable
        """
        return VarianceTable(
            self.kernel_, self._training, self.species_.tolist(), r_min, max_memory
        )

    def _choose_environments(self, structures, has_forces):
        atoms = np.flatnonzero(np.repeat(has_forces, structures.n_atoms))
        if self.n_environments is None or self.n_environments >= len(atoms):
            return atoms
        rng = check_random_state(self.random_state)
        return np.sort(rng.choice(atoms, self.n_environments, replace=False))

    def _checked(self, X):
        structures = as_structures(X)
        species_index(structures, self.species_)  # raises for species not seen in fit
        return structures

    def _evaluate(self, X, names):
        _announce_tables(self.expansions_)
        parts, pieces = [], _pieces(X)
        for k, piece in enumerate(
            tqdm(pieces, "prediction", disable=not self.verbose, leave=False)
        ):
            start = perf_counter()
            parts.append(self._evaluate_batch(X[piece], names))
            if k == 1:  # the first piece has made tables for all
                n_left = len(X) - piece.stop
                _announce(n_left, n_left * (perf_counter() - start), names)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _evaluate_batch(self, structures, names):
        if "energy" not in self.outputs_:
            found = {"gradient": -sum(e.forces(structures) for e in self.expansions_)}
        elif {"gradient", "virial"}.isdisjoint(names):
            found = {"energy": sum(e.energies(structures) for e in self.expansions_)}
        else:
            parts = [expansion.differentiate(structures) for expansion in self.expansions_]
            sums = (sum(part) for part in zip(*parts, strict=True))
            found = dict(zip(("energy", "gradient", "virial"), sums, strict=True))
        if "energy_std" in names:
            found["energy_std"] = self._std(structures, "energy")[:, 0]
        if "forces_std" in names:
            found["forces_std"] = self._std(structures, "forces")
        if "stress_std" in names:
            deviations = self._std(structures, "virial") / structures.volumes()[:, None]
            found["stress_std"] = deviations[:, FROM_VOIGT]
        return found

    def _std(self, structures, what):
        """Posterior standard deviations of groups of rows, shape (n_groups, n_rows)."""
        rows = self.kernel_.rows(structures, what)
        prior = self.kernel_.diagonal_blocks(rows)
        variances = np.diagonal(prior, axis1=1, axis2=2).copy()
        cross = self._training.cross(self.kernel_, rows)
        explained = solve_triangular(self._factor, cross.T, lower=True)
        variances -= np.einsum("ln,ln->n", explained, explained).reshape(variances.shape)
        return np.sqrt(np.maximum(variances, 0.0))


def _pieces(structures):
    """Slices of structures: the first two alone, which tell what the others cost."""
    edges = range(min(2, len(structures)))
    rest = structures[len(edges) :]
    later = batches(rest, _BATCH_ATOMS) if len(rest) else []
    return [
        *(slice(k, k + 1) for k in edges),
        *(slice(len(edges) + part.start, len(edges) + part.stop) for part in later),
    ]


def _announce(n_structures, seconds, names):
    """Warn of predictions that take long, and name the model that does not."""
    if seconds > _LONG:
        deviations = any(name.endswith("_std") for name in names)
        tables = "from_fitted(model, map_variance=True)" if deviations else "from_fitted(model)"
        warn(
            f"predicting {n_structures} more structures takes about {seconds:.0f} s: "
            f"MappedForceField.{tables} makes tables of pairs and triangles once, and predicts in "
            "a fraction of this time",
            UserWarning,
        )


def _announce_tables(expansions):
    """Warn of tables that take long, before they are made."""
    seconds = sum(e.seconds_of_tables() for e in expansions if isinstance(e, NPletExpansion))
    if seconds > _LONG:
        warn(
            f"the first prediction makes tables, for about {seconds:.0f} s; later ones use them. "
            "Files of the model leave them out: save MappedForceField.from_fitted(model) to "
            "predict at once",
            UserWarning,
        )


def _has_energies(kernel):
    """Whether a kernel is one of energies; a ValueError if only some of its terms are."""
    found = {term.has_energies for term in kernel.terms}
    if len(found) == 2:
        raise ValueError(
            f"the kernel {kernel} is a sum of kernels of energies and of forces alone "
            "(CovariantNBody), which have no common energy: fit a model with each"
        )
    return found.pop()
