"""Gaussian processes over sums of pairs and triangles of atoms."""

from numbers import Integral, Real

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from sklearn.base import _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from skatom.base import BaseEstimator
from skatom.baseline import AtomicBaseline
from skatom.elements import species_index
from skatom.kernels.nbody.sums import NBody, NBodyKernel
from skatom.memory import check_memory
from skatom.models._regressor import StructureRegressorMixin
from skatom.models.nbody.marginal_likelihood import cholesky, log_likelihood, maximise_likelihood
from skatom.structures import as_structures
from skatom.targets import as_targets

# Atoms whose rows of a kernel matrix are in memory at once in a prediction.
_BATCH_ATOMS = 512


class NBodyGaussianProcess(StructureRegressorMixin, BaseEstimator):
    r"""Gaussian process of the energy with a kernel of pairs, triangles or more atoms.

    .. math::

        \hat E(S) = \sum_z N_z \varepsilon_z + \sum_l k(S, l)\, \alpha_l, \qquad
        \alpha = (K + \Lambda)^{-1} y

    l runs over the observations: energies of structures and components of forces on atoms, whose
    covariances are derivatives of the kernel of the energies [1]_. The :math:`\varepsilon_z` are an
    `AtomicBaseline`. The diagonal :math:`\Lambda` is the noise variance of each observation. Forces
    and stress are derivatives of the predicted energy; the standard deviation is that of the
    posterior,

    .. math:: s^2 = k(l, l) - k_l^\top (K + \Lambda)^{-1} k_l.

    The system is dense and is solved exactly, so training sets are hundreds of structures or of
    atoms with their forces (``n_environments``), not more. Predictions take time in proportion to
    the training set; `MappedForceField` removes that.

    Parameters
    ----------
    kernel : NBody, ManyBody or a sum of them, default=None
        None: ``NBody(order=2) + NBody(order=3)``. See `KernelOrderSelector` for a choice by
        marginal likelihood.
    noise_energy : float, default=1e-3
        Noise of energies, eV per atom: the standard deviation of an energy of N atoms is
        ``noise_energy`` √N.
    noise_forces : float, default=0.03
        Noise of each component of the forces, eV/Å. It covers what the kernel cannot express too,
        such as interactions beyond the cutoff.
    n_environments : int, default=None
        Learn from the forces on so many atoms, drawn at random. None: on all.
    optimize : bool, default=False
        Maximise the log marginal likelihood over ``sigma`` and ``amplitude`` of each kernel and
        over the noise, beginning at what is given: ``sigma`` within a factor of 4, ``amplitude``
        of 100 and the noise of 10. A noise of 0 stays 0. With few data (some 100 observations)
        so many free parameters fit too well: give values instead.
    max_memory : float, default=None
        Most memory that the kernel matrix may take, in GiB. None: what is available.
    random_state : int, RandomState or None, default=None
        Draws the environments.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    kernel_ : NBodyKernel
        The kernel with the parameters in use.
    noise_energy_, noise_forces_ : float
        The noise in use.
    species_ : ndarray of int
        Atomic numbers of the training structures.
    baseline_ : AtomicBaseline or None
        The energies of the elements; None where no energies were learnt.
    expansions_ : list
        What predicts the energies of each kernel of the sum.
    environments_ : ndarray of int
        The atoms of the training batch whose forces were learnt.
    n_observations_ : int
        Number of energies and of components of forces.
    log_marginal_likelihood_ : float
        :math:`\log p(y) = -\frac12 y^\top \alpha - \frac12 \log\det(K + \Lambda)
        - \frac n2 \log 2\pi`.
    absolute_energies_ : bool
        Whether energies were learnt; if not, predicted ones lack the energies of single atoms.

    Raises
    ------
    ValueError
        If there are neither energies nor forces, the kernel matrix is not positive definite, or
        a structure to predict has an element that was not in ``fit``.
    MemoryError
        If the kernel matrix would not fit. It takes about 24 bytes times the square of the
        number of observations.

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
    ...     data.structures[1:3], return_forces=True, return_std=True
    ... )
    >>> energy.shape, forces.shape, std.shape, forces_std.shape
    ((2,), (128, 3), (2,), (128, 3))
    """

    _parameter_constraints = {
        "kernel": [NBodyKernel, None],
        "noise_energy": [Interval(Real, 0, None, closed="left")],
        "noise_forces": [Interval(Real, 0, None, closed="left")],
        "n_environments": [Interval(Integral, 1, None, closed="left"), None],
        "optimize": ["boolean"],
        "max_memory": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        kernel=None,
        noise_energy=1e-3,
        noise_forces=0.03,
        n_environments=None,
        optimize=False,
        max_memory=None,
        random_state=None,
        verbose=0,
    ):
        self.kernel = kernel
        self.noise_energy = noise_energy
        self.noise_forces = noise_forces
        self.n_environments = n_environments
        self.optimize = optimize
        self.max_memory = max_memory
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Build the kernel matrix and solve for the coefficients.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them
            Molecules and crystals of any composition.
        y : Targets, or array-like of float, shape (n,), eV
            Energies, forces or both; structures that lack one of them take part with the other.

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
        with_energy = targets.labelled("energy")
        self.environments_ = self._choose_environments(structures, targets)
        self.absolute_energies_ = bool(with_energy.any())
        if not self.absolute_energies_ and not len(self.environments_):
            raise ValueError(
                "the targets have neither energies nor forces: give Targets(energy=…, forces=…)"
            )
        self.species_ = structures.species
        self.baseline_ = None
        energies = np.empty(0)
        if self.absolute_energies_:
            labelled = structures[with_energy]
            self.baseline_ = AtomicBaseline().fit(labelled, targets.energy[with_energy])
            energies = targets.energy[with_energy] - self.baseline_.predict(labelled)
        forces = targets.forces[self.environments_] if len(self.environments_) else np.empty((0, 3))
        values = np.concatenate([energies, forces.ravel()])
        # standard deviations in units of noise_energy and noise_forces, one column each
        scales = np.zeros((len(values), 2))
        scales[: len(energies), 0] = np.sqrt(structures.n_atoms[with_energy])
        scales[len(energies) :, 1] = 1.0
        self.n_observations_ = len(values)
        check_memory(
            24.0 * len(values) ** 2, f"the kernel matrix of {len(values)} observations",
            "set n_environments, or train on fewer structures", self.max_memory,
        )  # fmt: skip
        self._training = _Observations(self.kernel_, structures, with_energy, self.environments_)
        noise = np.array([self.noise_energy, self.noise_forces], dtype=float)
        if self.optimize:
            self.kernel_, noise = maximise_likelihood(
                self.kernel_, noise, self._training, values, scales, self.verbose
            )
        self.noise_energy_, self.noise_forces_ = noise.tolist()
        self._factor = cholesky(self._training.covariance(self.kernel_), scales @ noise)
        alpha = cho_solve((self._factor, True), values)
        self.log_marginal_likelihood_ = log_likelihood(self._factor, values, alpha)
        n_energies = len(energies)
        self.expansions_ = [
            term.expand(*self._training.weighted(k, alpha[:n_energies], alpha[n_energies:]))
            for k, term in enumerate(self.kernel_.terms)
        ]
        return self

    def _choose_environments(self, structures, targets):
        atoms = np.flatnonzero(np.repeat(targets.labelled("forces"), structures.n_atoms))
        if self.n_environments is None or self.n_environments >= len(atoms):
            return atoms
        rng = check_random_state(self.random_state)
        return np.sort(rng.choice(atoms, self.n_environments, replace=False))

    def predict(self, X, return_forces=False, return_stress=False, return_std=False):
        """Energies, and forces, stresses and standard deviations if asked for.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them
        return_forces : bool, default=False
        return_stress : bool, default=False
            For structures that are periodic in all three directions.
        return_std : bool, default=False
            Standard deviations of the posterior, without noise. They take as long as a kernel
            matrix between the structures and the training set.

        Returns
        -------
        energies : ndarray of shape (n,), eV
        forces : ndarray of shape (n_atoms, 3), eV/Å
            With ``return_forces=True``.
        stress : ndarray of shape (n, 3, 3), eV/Å³
            With ``return_stress=True``; tension positive, as in ASE.
        energies_std : ndarray of shape (n,), eV
            With ``return_std=True``, of the energies.
        forces_std : ndarray of shape (n_atoms, 3), eV/Å
            With ``return_std=True`` and ``return_forces=True``, of each component of the forces.
        """
        check_is_fitted(self)
        structures = as_structures(X)
        species_index(structures, self.species_)
        if return_stress:
            structures.volumes()  # or an error, before the work
        batches = _batches(structures)
        parts = [
            self._predict_batch(structures[batch], return_forces, return_stress, return_std)
            for batch in tqdm(batches, desc="prediction", disable=not self.verbose, leave=False)
        ]
        result = tuple(np.concatenate(part) for part in zip(*parts, strict=True))
        return result[0] if len(result) == 1 else result

    def _predict_batch(self, structures, return_forces, return_stress, return_std):
        energies = np.zeros(len(structures))
        if self.baseline_ is not None:
            energies += self.baseline_.predict(structures)
        gradient, strain = np.zeros((len(structures.numbers), 3)), np.zeros((len(structures), 3, 3))
        for expansion in self.expansions_:
            parts = expansion.predict(structures, return_forces or return_stress)
            for total, part in zip((energies, gradient, strain), parts, strict=True):
                total += part
        result = [energies]
        if return_forces:
            result.append(-gradient)
        if return_stress:
            result.append(strain / structures.volumes()[:, None, None])
        if return_std:
            result.append(self._std(structures, "energy")[:, 0])
            if return_forces:
                result.append(self._std(structures, "forces"))
        return result

    def _std(self, structures, what):
        """Posterior standard deviations of groups of rows, shape (n_groups, n_rows)."""
        rows = self.kernel_.rows(structures, what)
        prior = self.kernel_.diagonal_blocks(rows)
        variances = np.diagonal(prior, axis1=1, axis2=2).copy()
        cross = self._training.cross(self.kernel_, rows)
        explained = solve_triangular(self._factor, cross.T, lower=True)
        variances -= np.einsum("ln,ln->n", explained, explained).reshape(variances.shape)
        return np.sqrt(np.maximum(variances, 0.0))


def _batches(structures):
    """Slices of consecutive structures of few atoms, or single ones."""
    edges = np.searchsorted(
        structures.offsets, np.arange(0, structures.offsets[-1], _BATCH_ATOMS), side="right"
    )
    edges = np.unique([0, *(edges - 1), len(structures)])
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


class _Observations:
    """The rows of the training set: energies, then forces."""

    def __init__(self, kernel, structures, with_energy, environments):
        self.rows = []
        if with_energy.any():
            self.rows.append(kernel.rows(structures[with_energy], "energy"))
        if len(environments):
            owners = np.repeat(np.arange(len(structures)), structures.n_atoms)[environments]
            used = np.unique(owners)
            batch = structures[used]
            atoms = environments - structures.offsets[owners]
            atoms += batch.offsets[np.searchsorted(used, owners)]
            self.rows.append(kernel.rows(batch, "forces", atoms))
        self.n_energies = int(with_energy.sum())

    def covariance(self, kernel):
        """K, shape (n_observations, n_observations)."""
        return kernel.cross(self.rows)

    def cross(self, kernel, rows):
        """The kernel between other rows and these."""
        return kernel.cross([rows], self.rows)

    def of_term(self, k):
        """The rows of one term of a sum of kernels."""
        return [rows[k] if isinstance(rows, tuple) else rows for rows in self.rows]

    def weighted(self, k, *coefficients):
        """The rows of a term, and the coefficients of each of their groups."""
        rows = self.of_term(k)
        given = [alpha for alpha in coefficients if len(alpha)]
        return rows, [
            alpha.reshape(block.n_groups, block.n_rows)
            for block, alpha in zip(rows, given, strict=True)
        ]
