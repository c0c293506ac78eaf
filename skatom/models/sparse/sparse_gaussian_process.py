"""Gaussian processes of atomic environments on a few representative ones."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from scipy.linalg import block_diag
from sklearn.base import _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from skatom.base import BaseEstimator
from skatom.baseline import AtomicBaseline
from skatom.baseline.repulsion import PairRepulsion
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.kernels.base import Kernel
from skatom.kernels.dot_product import Cosine
from skatom.memory import check_memory
from skatom.models._environment_expansion import EnvironmentExpansion
from skatom.models._regressor import StructureRegressorMixin
from skatom.models.sparse.observations import observe
from skatom.models.sparse.representatives import choose_representatives, prior_root
from skatom.models.sparse.rows import (
    Block,
    all_derivative_rows,
    energy_rows,
    weighted_rows,
    with_neighbors,
)
from skatom.models.sparse.variance import energy_prior, force_prior, posterior_variance
from skatom.parallel import threads_over_blas
from skatom.solvers import StreamedQR
from skatom.structures import as_structures, structure_of
from skatom.targets import as_targets

_POSITIVE = Interval(Real, 0, None, closed="neither")
# A batch of rows: large enough for fast products, small against the memory.
_BATCH_ATOMS, _BATCH_BYTES = 128, 2**24
_PREDICTED_ATOMS = 4096


class SparseGaussianProcess(StructureRegressorMixin, BaseEstimator):
    r"""Interatomic potential: a Gaussian process of environments on representative ones (GAP).

    .. math::

        E = \sum_i \sum_m \alpha_m\, k(x_i, z_m) + E_0, \qquad
        \alpha = \arg\min_\alpha \big|\Lambda^{-1/2} (A \alpha - y)\big|^2
        + \alpha^\top K_{MM}\, \alpha

    The energy is a sum over atoms i of a function of their features x, expanded in the kernels of
    M representative environments z of the same species. The rows of A are
    :math:`\sum_i k(x_i, z_m)` for each energy in y and its derivatives for forces and virials;
    Λ holds the variances of their noise. The minimum comes from a QR factorisation of
    :math:`\Lambda^{-1/2} A` on top of the Cholesky factor of :math:`K_{MM}` [2]_, which is
    updated batch by batch: memory does not grow with the number of structures.

    X is what a local descriptor gives (`AtomicFeatures`), so that the model is the last step of a
    Pipeline. Or it is structures, and ``terms`` names the descriptors: several, whose energies
    add up; or one, with which the features of all structures are never in memory at once.

    Parameters
    ----------
    kernel : Kernel, default=None
        k, times the variance of the energy of an atom in eV², as in ``0.5**2 * Cosine(4)``.
        None: ``Cosine(zeta=4)``.
    n_sparse : int or dict, default=500
        Number of representative environments of each species, or a dict such as
        ``{"H": 300, "O": 800}``.
    selection : {"fps", "cur", "random"} or array-like of int, default="fps"
        How they are chosen: by farthest point sampling in the metric of the kernel, by CUR of the
        features, or at random; or the indices of the atoms to take, counted over all structures.
    sigma_energy : float, dict or array-like of shape (n,), default=0.001
        Standard deviation of the noise of energies, eV per atom; it is multiplied by
        :math:`\sqrt{N}` for a structure of N atoms. A dict gives it by configuration, see `fit`.
    sigma_forces : float, dict or array-like of shape (n,) or (n_atoms,), default=0.1
        The same of force components, eV/Å.
    sigma_virial : float, dict or array-like of shape (n,), default=0.1
        The same of virials, eV per atom, multiplied by :math:`\sqrt{N}`.
    terms : list of (descriptor, kernel, n_sparse), default=None
        Descriptors whose energies add up, each with its kernel (with its variance) and the number
        of its representatives; they replace ``kernel`` and ``n_sparse``.
    baseline : "elements", dict or None, default="elements"
        :math:`E_0`, the part of the energy that is not learnt: an energy for each element by
        least squares (`AtomicBaseline`), or given as in ``{"Si": -0.8}``, or none.
    repulsion : PairRepulsion, default=None
        A repulsion of nuclei that is part of the baseline.
    n_candidates : int, default=5000
        Representatives of a species are chosen among this many of its atoms, drawn at random.
    random_state : int, RandomState or None, default=None
        Draws candidates and the first representative.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    blocks_ : list of Block
        The representative environments of each descriptor and species.
    coef_ : ndarray of float, shape (M,)
        α.
    expansions_ : list of EnvironmentExpansion
        The energy of an atom as a function of its features, one for each descriptor.
    solver_ : StreamedQR
        The factorisation of what has been learnt from so far.
    baseline_ : AtomicBaseline or None
    log_marginal_likelihood_ : float
        :math:`\log N(y \mid 0, A K_{MM}^{-1} A^\top + \Lambda)`, to compare kernels and noises.
    n_structures_seen_ : int
        How many structures have been learnt from. After a `fit` that was interrupted, go on with
        ``partial_fit(X[n_structures_seen_:], y[n_structures_seen_:])``.
    absolute_energies_ : bool
        Whether energies were given.

    Raises
    ------
    ValueError
        If a noise is not positive, a stress belongs to a structure that is not periodic, there
        are no labels to learn from, or a species was not in `fit`.
    MemoryError
        If matrices of :math:`M^2` numbers would not fit.

    See Also
    --------
    skatom.selection : The ways of choosing representatives.

    References
    ----------
    .. [1] A. P. Bartók, M. C. Payne, R. Kondor, G. Csányi, Phys. Rev. Lett. 104, 136403 (2010).
    .. [2] L. Foster et al., J. Mach. Learn. Res. 10, 857 (2009).
    .. [3] V. L. Deringer et al., Chem. Rev. 121, 10073 (2021).

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.datasets import load_boron_nitride
    >>> from skatom.descriptors import SOAP
    >>> from skatom.models import SparseGaussianProcess
    >>> data = load_boron_nitride()
    >>> model = make_pipeline(
    ...     SOAP(cutoff=3.0, n_max=4, l_max=3),
    ...     SparseGaussianProcess(n_sparse=20, random_state=0),
    ... )
    >>> model = model.fit(data.structures[:8], data.targets[:8])
    >>> energies, forces, std = model.predict(
    ...     data.structures[8:10], return_forces=True, return_std=True
    ... )[:3]
    >>> energies.shape, forces.shape[1], std.shape
    ((2,), 3, (2,))
    """

    _parameter_constraints = {
        "kernel": [Kernel, None],
        "n_sparse": [Interval(Integral, 1, None, closed="left"), dict],
        "selection": [StrOptions({"fps", "cur", "random"}), "array-like"],
        "sigma_energy": [_POSITIVE, dict, "array-like"],
        "sigma_forces": [_POSITIVE, dict, "array-like"],
        "sigma_virial": [_POSITIVE, dict, "array-like"],
        "terms": [list, None],
        "baseline": [StrOptions({"elements"}), dict, None],
        "repulsion": [PairRepulsion, None],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        kernel=None,
        n_sparse=500,
        selection="fps",
        *,
        sigma_energy=0.001,
        sigma_forces=0.1,
        sigma_virial=0.1,
        terms=None,
        baseline="elements",
        repulsion=None,
        n_candidates=5000,
        random_state=None,
        verbose=0,
    ):
        self.kernel = kernel
        self.n_sparse = n_sparse
        self.selection = selection
        self.sigma_energy = sigma_energy
        self.sigma_forces = sigma_forces
        self.sigma_virial = sigma_virial
        self.terms = terms
        self.baseline = baseline
        self.repulsion = repulsion
        self.n_candidates = n_candidates
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, configurations=None):
        """Choose representative environments and solve for their coefficients.

        Parameters
        ----------
        X : AtomicFeatures; or, with ``terms``, Structures or list of ase.Atoms
        y : Targets, or array-like of energies, shape (n,), eV
            Energies, forces and stresses, as many as there are.
        configurations : array-like of str, shape (n,), default=None
            The group of each structure, for noises that are given as a dict.

        Returns
        -------
        self
        """
        structures, targets = self._check(X, y)
        observations = self._start(X, structures, targets, configurations)
        return self._learn(X, structures, observations)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, configurations=None):
        """Learn from more structures, with the representatives and the baseline as they are.

        The first call is a `fit`, and chooses them. The result does not depend on how structures
        are divided among calls.

        Parameters
        ----------
        X : AtomicFeatures; or, with ``terms``, Structures or list of ase.Atoms
        y : Targets, or array-like of energies, shape (n,), eV
        configurations : array-like of str, shape (n,), default=None

        Returns
        -------
        self
        """
        structures, targets = self._check(X, y)
        if hasattr(self, "solver_"):
            observations = self._observe(structures, targets, configurations)
        else:
            observations = self._start(X, structures, targets, configurations)
        return self._learn(X, structures, observations)

    def _check(self, X, y):
        structures = self._structures(X)
        targets = as_targets(y, structures)
        if not any(targets.labelled(name).any() for name in ("energy", "forces", "stress")):
            raise ValueError("no structure has an energy, forces or a stress: nothing to learn")
        return structures, targets

    def _structures(self, X):
        if self.terms is None and not isinstance(X, AtomicFeatures):
            raise TypeError(
                f"got {type(X).__name__}, but need AtomicFeatures: put a descriptor in front, "
                "make_pipeline(SOAP(), SparseGaussianProcess()), or name it in "
                "SparseGaussianProcess(terms=[(SOAP(), Cosine(4), 500)])"
            )
        if self.terms is not None and isinstance(X, AtomicFeatures):
            raise TypeError("with terms the descriptors are the model's own: pass structures")
        return X.structures if isinstance(X, AtomicFeatures) else as_structures(X)

    def _start(self, X, structures, targets, configurations):
        """Choose all that stays the same when more structures come."""
        self.absolute_energies_ = bool(targets.labelled("energy").any())
        self.baseline_ = self._fitted_baseline(structures, targets)
        observations = self._observe(structures, targets, configurations)
        terms = self.terms or [(None, self.kernel or Cosine(zeta=4), self.n_sparse)]
        self.descriptors_ = None
        if self.terms is not None:
            self.descriptors_ = [clone(descriptor).fit(structures) for descriptor, *_ in terms]
        rng = check_random_state(self.random_state)
        self.blocks_, start = [], 0
        for t, (_, kernel, n_sparse) in enumerate(terms):
            kernel.check_parameters()
            for number in structures.species:
                vectors = choose_representatives(
                    X if self.descriptors_ is None else (structures, self.descriptors_[t]),
                    number, kernel, _number_of(n_sparse, number), self.selection,
                    self.n_candidates, rng,
                )  # fmt: skip
                if len(vectors):
                    columns = slice(start, start + len(vectors))
                    self.blocks_.append(Block(t, int(number), kernel, vectors, columns))
                    start = columns.stop
        self._start_solver(start)
        return observations

    def _start_solver(self, n_columns):
        """Begin the factorisation with the prior, whose rows are a root of K_MM."""
        check_memory(
            5 * 8.0 * n_columns**2,
            f"the factorisation for {n_columns} representative environments",
            "reduce n_sparse",
        )
        self.prior_factors_ = [prior_root(block) for block in self.blocks_]
        prior = block_diag(*(factor.T for factor in self.prior_factors_))
        self.solver_ = StreamedQR(n_columns, prior=prior)
        vars(self).pop("coef_", None)  # of an earlier fit; an interrupted one is not fitted
        self.n_structures_seen_ = self._n_labels = 0
        self._log_noise = 0.0

    def _fitted_baseline(self, structures, targets):
        if self.baseline is None or not self.absolute_energies_:
            return None
        baseline = AtomicBaseline()
        if isinstance(self.baseline, dict):
            energies = {atomic_numbers[symbol]: e for symbol, e in self.baseline.items()}
            baseline.species_ = np.array(sorted(energies))
            baseline.energies_ = np.array([float(energies[z]) for z in baseline.species_])
            baseline.predict(structures)
            return baseline
        return baseline.fit(structures, targets.energy - self._repel(structures)[1])

    def _repel(self, structures):
        """The pair repulsion: on atoms, of structures, forces and dE/dε."""
        if self.repulsion is None:
            n, n_atoms = len(structures), len(structures.numbers)
            return np.zeros(n_atoms), np.zeros(n), np.zeros((n_atoms, 3)), np.zeros((n, 3, 3))
        atomic, forces, virial = self.repulsion.evaluate(structures)
        return atomic, np.add.reduceat(atomic, structures.offsets[:-1]), forces, virial

    def _observe(self, structures, targets, configurations):
        _, energy, forces, virial = self._repel(structures)
        if self.baseline_ is not None:
            energy = energy + self.baseline_.predict(structures)
        sigmas = {
            "energy": self.sigma_energy,
            "forces": self.sigma_forces,
            "virial": self.sigma_virial,
        }
        return observe(structures, targets, (energy, forces, virial), sigmas, configurations)

    def _features(self, X, structures, batch):
        """Features of a batch by each descriptor."""
        if self.descriptors_ is None:
            return [X[batch]]
        return [descriptor.transform(structures[batch]) for descriptor in self.descriptors_]

    def _learn(self, X, structures, observations):
        """Take the rows of all structures, batch by batch, and solve.

        While one batch is added to the factorisation, the rows of the next are computed.
        """
        self._check_known(X, structures)
        limit = max(1, _BATCH_BYTES // (8 * self.solver_.n_columns) // 3)
        batches = _batches(structures, min(_BATCH_ATOMS, limit))
        progress = tqdm(batches, desc="fit", unit="batch", disable=not self.verbose, leave=False)
        with threads_over_blas() as pool:
            waiting = None
            for batch in progress:
                features = self._features(X, structures, batch)
                calls = self._submit(pool, features, observations, batch)
                if waiting is not None:
                    self._take(*waiting)
                waiting = (calls, batch)
            self._take(*waiting)
        self._solve()
        return self

    def _submit(self, pool, features, observations, batch):
        """Start to compute the rows of a batch, each structure in a thread."""
        n_columns = self.solver_.n_columns
        energies = energy_rows(self.blocks_, features, n_columns)
        derived = observations.has_forces[batch] | observations.has_virial[batch]
        if derived.any():
            features = with_neighbors(features)
        return [
            pool.submit(
                weighted_rows, self.blocks_, features, place, energies[place], observations,
                batch.start + place,
            )
            for place in range(batch.stop - batch.start)
        ]  # fmt: skip

    def _take(self, calls, batch):
        """Add the rows of a batch to what has been learnt."""
        rows, labels, log_noise = zip(*(call.result() for call in calls), strict=True)
        calls.clear()  # the rows are as large as what the factorisation works with
        rows, labels = np.concatenate(rows), np.concatenate(labels)
        self.solver_.update(rows, labels)
        self.n_structures_seen_ += batch.stop - batch.start
        self._n_labels += len(labels)
        self._log_noise += float(sum(log_noise))

    def _solve(self):
        solver = self.solver_
        self.coef_ = solver.solve()
        terms = sorted({block.term for block in self.blocks_})
        self.expansions_ = [self._expansion(term) for term in terms]
        log_determinant = 2 * np.log(np.abs(solver.triangle.diagonal())).sum()
        for factor in self.prior_factors_:
            log_determinant -= 2 * np.log(factor.diagonal()).sum()
        self.log_marginal_likelihood_ = -0.5 * float(
            solver.residuals[0]
            + log_determinant
            + 2 * self._log_noise
            + self._n_labels * np.log(2 * np.pi)
        )

    def _expansion(self, term):
        """The energy of an atom as a function of its features by one descriptor."""
        blocks = [block for block in self.blocks_ if block.term == term]
        return EnvironmentExpansion(
            blocks[0].kernel,
            {block.number: block.vectors for block in blocks},
            {block.number: self.coef_[block.columns] for block in blocks},
        )

    def predict(
        self, X, return_forces=False, return_stress=False, return_std=False, return_local=False
    ):
        """Energies, and what else is asked for, in the order of the parameters.

        Parameters
        ----------
        X : AtomicFeatures; or, with ``terms``, Structures or list of ase.Atoms
        return_forces : bool, default=False
        return_stress : bool, default=False
            For structures that are periodic in all three directions.
        return_std : bool, default=False
            Standard deviations of the energies and, with ``return_forces``, of the forces. They
            are those of the model: how far it is from what it knows. The noise of labels is not
            in them. Those of forces cost about as much as a fit to the same structures.
        return_local : bool, default=False

        Returns
        -------
        energies : ndarray of float, shape (n,), eV
        forces : ndarray of float, shape (n_atoms, 3), eV/Å
            With ``return_forces=True``.
        stress : ndarray of float, shape (n, 3, 3), eV/Å³
            With ``return_stress=True``; tension positive, as in ASE.
        energies_std : ndarray of float, shape (n,), eV
            With ``return_std=True``.
        forces_std : ndarray of float, shape (n_atoms, 3), eV/Å
            With ``return_std=True`` and ``return_forces=True``.
        local_energies : ndarray of float, shape (n_atoms,), eV
            With ``return_local=True``: the energies of atoms, whose sum is the energy.
        """
        check_is_fitted(self, "coef_")
        structures = self._structures(X)
        self._check_known(X, structures)
        volumes = structures.volumes() if return_stress else None
        parts = []
        for batch in _batches(structures, _PREDICTED_ATOMS):
            features = self._features(X, structures, batch)
            part = self._predict_batch(features, return_forces or return_stress)
            if return_stress:
                part["stress"] = part["virial"] / volumes[batch, None, None]
            if return_std:
                part |= self._deviations(features, return_forces)
            parts.append(part)
        names = ["energy"]
        names += ["forces"] * return_forces + ["stress"] * return_stress
        names += ["energy_std"] * return_std + ["forces_std"] * (return_std and return_forces)
        names += ["local"] * return_local
        result = tuple(np.concatenate([part[name] for part in parts]) for name in names)
        return result[0] if len(result) == 1 else result

    def _predict_batch(self, features, derivatives):
        structures = features[0].structures
        local, _, forces, strained = self._repel(structures)
        if self.baseline_ is not None:
            place = np.searchsorted(self.baseline_.species_, structures.numbers)
            local = local + self.baseline_.energies_[place]
        for of_term, expansion in zip(features, self.expansions_, strict=True):
            energies, cotangent = expansion.of_atoms(of_term, derivatives)
            local = local + energies
            if derivatives:
                gradient, virial = of_term.pullback(cotangent)
                forces, strained = forces - gradient, strained + virial
        part = {"local": local, "energy": np.add.reduceat(local, structures.offsets[:-1])}
        if derivatives:
            part |= {"forces": forces, "virial": strained}
        return part

    def _deviations(self, features, of_forces):
        """Standard deviations of the energies of a batch, and of the forces."""
        variance = partial(
            posterior_variance,
            blocks=self.blocks_,
            prior_factors=self.prior_factors_,
            triangle=self.solver_.triangle,
        )
        rows = energy_rows(self.blocks_, features, len(self.coef_))
        part = {"energy_std": np.sqrt(variance(rows, energy_prior(self.blocks_, features)))}
        if of_forces:
            features = with_neighbors(features)
            part["forces_std"] = np.concatenate([
                self._force_deviations(features, s, variance)
                for s in range(len(features[0]))
            ])  # fmt: skip
        return part

    def _force_deviations(self, features, s, variance):
        rows, _ = all_derivative_rows(self.blocks_, features, s, strained=False)
        prior = force_prior(self.blocks_, features, s)
        return np.sqrt(variance(rows.reshape(-1, rows.shape[2]), prior.ravel())).reshape(-1, 3)

    def _check_known(self, X, structures):
        """Raise a ValueError for species or features that fit did not see."""
        n_features = self.blocks_[0].vectors.shape[1]
        if isinstance(X, AtomicFeatures) and X.values.shape[1] != n_features:
            raise ValueError(
                f"got {X.values.shape[1]} features, but the model was fitted to {n_features}: use "
                "the descriptor as it was fitted then"
            )
        known = {block.number for block in self.blocks_}
        unseen = sorted(set(structures.species.tolist()) - known)
        if unseen:
            atom = int(np.argmax(structures.numbers == unseen[0]))
            raise ValueError(
                f"structure {structure_of(structures.offsets, atom)} contains "
                f"{chemical_symbols[unseen[0]]}, of which the model has no representative "
                f"environment (it knows {', '.join(chemical_symbols[z] for z in sorted(known))}): "
                "fit it to structures that contain every species"
            )


def _number_of(n_sparse, number):
    if not isinstance(n_sparse, dict):
        return n_sparse
    symbol = chemical_symbols[number]
    if symbol not in n_sparse:
        raise ValueError(
            f"n_sparse={n_sparse} has no entry for {symbol}: give one for each species"
        )
    return n_sparse[symbol]


def _batches(structures, n_atoms):
    """Slices of consecutive structures with about this many atoms."""
    edges = [0]
    while edges[-1] < len(structures):
        limit = structures.offsets[edges[-1]] + n_atoms
        stop = np.searchsorted(structures.offsets, limit, side="right") - 1
        edges.append(max(int(stop), edges[-1] + 1))
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
