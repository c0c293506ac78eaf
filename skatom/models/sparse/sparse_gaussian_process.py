"""Sparse Gaussian processes of atomic environments."""

from __future__ import annotations

from copy import copy
from numbers import Integral
from typing import Self

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._checkpoints import offer
from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike, BaselineLike, FeaturesLike, RandomState, TargetsLike
from skatom.baseline import fit_baseline
from skatom.descriptors.features import Features
from skatom.descriptors.origin import check_origin, origin_of
from skatom.elements import species_index
from skatom.kernels.dot_kernel import DotKernel
from skatom.kernels.dot_product import Cosine
from skatom.models._labels import Labels, check_labels
from skatom.models._regressor import StructureRegressor
from skatom.models.sparse.centers import WHOLE
from skatom.models.sparse.components import components
from skatom.models.sparse.expansion import SparseExpansion
from skatom.models.sparse.fitting import (
    check_rows,
    features_of,
    learn,
    log_marginal_likelihood,
    predicted_batches,
    representative_blocks,
    start_solver,
    warn_of_isolated_atoms,
)
from skatom.models.sparse.jobs import (
    LearnsChunks,
    check_job_memory,
    learn_in_jobs,
    works_in_jobs,
)
from skatom.models.sparse.terms import HasTerms, Term, named_terms
from skatom.models.sparse.variance import Deviations
from skatom.properties import in_order
from skatom.structures import as_structures
from skatom.targets import as_targets

_COUNTS = "_n_labels", "_log_noise"


class SparseGaussianProcess(HasTerms, LearnsChunks, StructureRegressor):
    r"""Sparse Gaussian process of atomic environments: a Gaussian approximation potential (GAP).

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

    X is the output of an atomic descriptor (`AtomicFeatures`), so that the model is the last step
    of a Pipeline. Alternatively, X is structures, and ``terms`` names the descriptors: several,
    whose energies are added, or one, whose features are then computed in batches and never all in
    memory. From features of whole structures (`StructureFeatures`, such as inverse distances or
    pooled SOAP) the energy is one function of each structure, :math:`\sum_m \alpha_m k(x, z_m)`
    with representative structures z; such a model has no energies of atoms.

    Parameters
    ----------
    kernel : DotKernel, default=None
        Kernel k times the prior variance of the energy of an atom in eV², as in
        ``0.5**2 * Cosine(4)``. None: ``Cosine(zeta=4)``.
    n_sparse : int or dict, default=500
        Number of representative environments of each species, or a dict such as
        ``{"H": 300, "O": 800}``; for features of structures the number of representatives.
    selection : {"fps", "cur", "random"} or array-like of int, default="fps"
        How representatives are selected: by farthest point sampling in the metric of the kernel, by
        CUR of the features, or at random; or the indices of their atoms, counted over all
        structures, such as ``selected_`` of the selectors in `skatom.selection`. For features of
        structures the indices of structures.
    noise_energy : float, dict or array-like of shape (n,), default=0.001
        Noise standard deviation of energies in eV per atom; it is multiplied by :math:`\sqrt{N}`
        for a structure of N atoms. A dict gives it by configuration, see `fit`.
    noise_forces : float, dict or array-like of shape (n,) or (n_atoms,), default=0.1
        Noise standard deviation of force components in eV/Å.
    noise_virial : float, dict or array-like of shape (n,), default=0.1
        Noise standard deviation of virials, the stress times the volume, in eV per atom; it is
        multiplied by :math:`\sqrt{N}`.
    terms : list of (descriptor, kernel, n_sparse), default=None
        Descriptors whose energies are added, each with its kernel (including the variance) and its
        number of representatives. They replace ``kernel`` and ``n_sparse``. A descriptor may be a
        Pipeline that ends with maps, such as `FeatureScaler`. Terms may begin with a name, ``(name,
        descriptor, kernel, n_sparse)``; the name, or else the position, is part of the names of
        their parameters: ``terms__0__n_sparse``, ``terms__pairs__descriptor__sigma``.
    baseline : "elements", "isolated", dict, estimator, list of these, or None, default="elements"
        Baseline :math:`E_0` that is subtracted from energies, forces and stresses before the fit
        and added to predictions: energies of the elements by least squares ("elements"), those of
        the structures of one isolated atom ("isolated"), or given, as in ``{"Si": -0.8}``; a
        `skatom.baseline.PairRepulsion`; any estimator of energies and forces; or a list of these.
        Isolated atoms are data, too: their energy less the baseline is zero, and the model learns
        this with their noise.
    n_candidates : int, default=5000
        Number of atoms of a species, drawn at random, among which representatives are selected.
    max_memory : float, default=None
        Memory limit of the factorisation in GiB. None: the available memory.
    random_state : int, RandomState or None, default=None
        Seed of the candidates and of the first representative.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    blocks_ : list of Block
        The representative environments of each descriptor and species.
    term_names_ : list of str
        Names of the terms, see `predict_components`.
    descriptors_ : list of estimator, or None
        The fitted descriptors of the terms. None: X are features.
    coef_ : ndarray of float, shape (M,)
        The coefficients α.
    expansion_ : SparseExpansion
        The energy as a function of the features.
    solver_ : StreamedQR
        The factorisation of all rows learnt so far.
    baseline_ : Baseline or None
        The fitted baseline.
    log_marginal_likelihood_ : float
        :math:`\log N(y \mid 0, A K_{MM}^{-1} A^\top + \Lambda)`, to compare kernels and noises.
    n_structures_seen_ : int
        Number of structures learnt so far. After an interrupted `fit`, continue with
        ``partial_fit(X[n_structures_seen_:], y[n_structures_seen_:])``.
    outputs_ : tuple of str
        Names of the properties that the model predicts.
    absolute_energies_ : bool
        Whether energies were learnt.

    Raises
    ------
    ValueError
        If a noise is not positive, a structure with a stress is not periodic, there are no labels
        to learn from, a term is not as described above, or a structure to predict has a species
        that was not in `fit`.
    MemoryError
        If matrices of :math:`M^2` numbers would not fit in memory.

    Warns
    -----
    UserWarning
        If isolated atoms have features of zero, which the model cannot represent, or there are
        fewer representatives than ``n_sparse``.

    See Also
    --------
    skatom.selection : Methods to select representatives.

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
    ... )
    >>> energies.shape, forces.shape[1], std.shape
    ((2,), 3, (2,))
    """

    gives = in_order(
        {"energy", "forces", "stress", "local_energies", "energy_std", "forces_std", "stress_std"}
    )
    learns = ("energy", "forces", "stress")

    _parameter_constraints = {
        "kernel": [DotKernel, None],
        "n_sparse": [Interval(Integral, 1, None, closed="left"), dict],
        "selection": [StrOptions({"fps", "cur", "random"}), "array-like"],
        "noise_energy": [POSITIVE, dict, "array-like"],
        "noise_forces": [POSITIVE, dict, "array-like"],
        "noise_virial": [POSITIVE, dict, "array-like"],
        "terms": [list, None],
        "baseline": "no_validation",
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "max_memory": [None, POSITIVE],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        kernel: DotKernel | None = None,
        n_sparse: int | dict = 500,
        selection: str | ArrayLike = "fps",
        *,
        noise_energy: dict | ArrayLike = 0.001,
        noise_forces: dict | ArrayLike = 0.1,
        noise_virial: dict | ArrayLike = 0.1,
        terms: list | None = None,
        baseline: BaselineLike = "elements",
        n_candidates: int = 5000,
        max_memory: float | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.kernel = kernel
        self.n_sparse = n_sparse
        self.selection = selection
        self.noise_energy = noise_energy
        self.noise_forces = noise_forces
        self.noise_virial = noise_virial
        self.terms = terms
        self.baseline = baseline
        self.n_candidates = n_candidates
        self.max_memory = max_memory
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: FeaturesLike,
        y: TargetsLike,
        configurations: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Select representative environments and solve for their coefficients.

        Parameters
        ----------
        X : AtomicFeatures or StructureFeatures; or, with ``terms``, Structures or list of ase.Atoms
            The n structures.
        y : Targets, or array-like of energies, shape (n,), eV
            Energies, forces and stresses, or some of them.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.
        sample_weight : array-like of float, shape (n,), default=None
            Weights of the structures, by which their noise variance is divided; structures of
            weight 0 are ignored.

        Returns
        -------
        self
        """
        structures, targets = self._check(X, y)
        self._start(X, structures, targets, sample_weight)
        return self._learn(X, structures, targets, configurations, sample_weight)

    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(
        self,
        X: FeaturesLike,
        y: TargetsLike,
        configurations: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from more structures, with the same representatives and baseline.

        The first call is a `fit`, which determines them. The result does not depend on how
        structures are divided among later calls. A call that fails or is interrupted learns
        nothing, but after an interrupted `fit` it keeps what it has learnt, as `fit` does.

        Parameters
        ----------
        X : AtomicFeatures or StructureFeatures; or, with ``terms``, Structures or list of ase.Atoms
            The n further structures.
        y : Targets, or array-like of energies, shape (n,), eV
            Energies, forces and stresses, or some of them.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.
        sample_weight : array-like of float, shape (n,), default=None
            Weights of the structures, by which their noise variance is divided; structures of
            weight 0 are ignored.

        Returns
        -------
        self
        """
        if hasattr(self, "solver_") and not len(X):  # a fit was interrupted after the last rows
            return self._solve()
        structures, targets = self._check(X, y)
        if not hasattr(self, "solver_"):
            self._start(X, structures, targets, sample_weight)
        return self._learn(X, structures, targets, configurations, sample_weight)

    def _check(self, X, y):
        structures = self._structures(X)
        targets = as_targets(y, structures)
        check_labels(targets, self.learns, type(self).__name__)
        return structures, targets

    def _structures(self, X):
        if self.terms is None and not isinstance(X, Features):
            raise TypeError(
                f"got {type(X).__name__}, but need features of atoms or structures: put a "
                "descriptor in front, make_pipeline(SOAP(), SparseGaussianProcess()), or name it "
                "in SparseGaussianProcess(terms=[(SOAP(), Cosine(4), 500)])"
            )
        if self.terms is not None and isinstance(X, Features):
            raise TypeError("with terms the descriptors are the model's own: pass structures")
        return X.structures if isinstance(X, Features) else as_structures(X)

    def _start(self, X, structures, targets, sample_weight):
        """Determine everything that stays the same when more structures are learnt."""
        terms, descriptors = self._terms(), None
        baseline = fit_baseline(self.baseline, structures, targets, sample_weight)
        if self.terms is not None:
            X = structures
            descriptors = [clone(term.descriptor).fit(structures) for term in terms]
        blocks = representative_blocks(
            X, descriptors, terms, self.selection, self.n_candidates,
            check_random_state(self.random_state),
        )  # fmt: skip
        whole = any(block.number == WHOLE for block in blocks)
        solver, prior_factors = start_solver(blocks, self.max_memory)
        vars(self).pop("coef_", None)  # of an earlier fit; an interrupted one is not fitted
        vars(self).update(
            absolute_energies_=bool(targets.labelled("energy").any()),
            baseline_=baseline,
            species_=structures.species,
            _origin=origin_of(X),
            term_names_=[term.name for term in terms],
            descriptors_=descriptors,
            blocks_=blocks,
            outputs_=tuple(name for name in self.gives if not whole or name != "local_energies"),
            solver_=solver,
            prior_factors_=prior_factors,
            n_structures_seen_=0,
            _n_labels=0,
            _log_noise=0.0,
        )

    def _terms(self):
        if self.terms is not None:
            return named_terms(self.terms)
        return [Term("0", None, self.kernel or Cosine(zeta=4), self.n_sparse)]

    def _learn(self, X, structures, targets, configurations, sample_weight):
        """Add the rows of all structures, batch by batch, and solve."""
        self._check_known(X, structures)
        X = X if self.descriptors_ is None else structures
        labels = Labels.of(
            structures, targets, self.baseline_, self._noise(), configurations, sample_weight
        )
        unexplained = labels.has_energy & (abs(labels.energy) > labels.noise_energy)
        warn_of_isolated_atoms(
            self.blocks_, self.solver_.n_columns, self.descriptors_, X, structures, unexplained
        )
        for solver, n_structures, n_labels, log_noise in self._taken(X, structures, labels):
            vars(self).update(  # in one step, so that an interrupt leaves all of it or nothing
                solver_=solver,
                n_structures_seen_=self.n_structures_seen_ + n_structures,
                _n_labels=self._n_labels + n_labels,
                _log_noise=self._log_noise + log_noise,
            )
            offer(self)
        return self._solve()

    def _noise(self):
        return {name: getattr(self, name) for name in self.get_params(False) if "noise" in name}

    def _taken(self, X, structures, labels):
        """What the factorisation and the counts become, step by step, see `learn`."""
        if works_in_jobs(X, labels, self.solver_.n_columns):
            check_job_memory(self.blocks_, structures)
            return learn_in_jobs(
                self.solver_, self.blocks_, self.descriptors_, X, labels, self.verbose
            )
        check_rows(self.solver_, self.blocks_, structures, labels, self.max_memory)
        return learn(
            self.solver_, self.blocks_, lambda batch: features_of(self.descriptors_, X, batch),
            structures, labels, self.verbose,
        )  # fmt: skip

    def _solve(self):
        coef = self.solver_.solve()
        vars(self).update(
            coef_=coef,
            expansion_=SparseExpansion(self.blocks_, coef),
            log_marginal_likelihood_=log_marginal_likelihood(
                self.solver_, self.prior_factors_, self._log_noise, self._n_labels
            ),
        )
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "coef_")

    def _left_by_interrupt(self, method, before):
        """What was learnt of a fit, which `partial_fit` continues; more data all or not at all."""
        if method == "partial_fit":
            return before if "coef_" in before else dict(vars(self))
        if self.__dict__.get("solver_") is not before.get("solver_"):
            return dict(vars(self))
        learnt = [name for name in before if name.endswith("_") or name in _COUNTS]
        given = {name: value for name, value in before.items() if name not in learnt}
        return given | {"n_structures_seen_": 0}

    def _checked(self, X):
        check_is_fitted(self, "coef_")
        structures = self._structures(X)
        if len(structures) == 0:
            raise ValueError("got no structures: pass at least one")
        self._check_known(X, structures)
        return X if self.descriptors_ is None else structures

    def _for_jobs(self, names):
        if any(name.endswith("_std") for name in names):
            return self
        without = copy(self)
        for name in ("solver_", "prior_factors_"):
            vars(without).pop(name)
        return without

    def _evaluate(self, X, names):
        parts, deviations = [], None
        if any(name.endswith("_std") for name in names):
            deviations = Deviations(self.blocks_, self.prior_factors_, self.solver_.triangle)
        for batch in predicted_batches(X):
            features = features_of(self.descriptors_, X, batch)
            parts.append(self.expansion_.by_name(features, names))
            if deviations is not None:
                parts[-1] |= deviations.by_name(features, names)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def predict_components(self, X: FeaturesLike, return_forces: bool = False) -> tuple:
        r"""Predict what each term and each part of the baseline adds to the energy.

        .. math:: E = \sum_t E_t + \sum_b E_b

        Parameters
        ----------
        X : AtomicFeatures or StructureFeatures; or, with ``terms``, Structures or list of ase.Atoms
            The n structures, of n_atoms atoms in all.
        return_forces : bool, default=False
            Whether to return the forces of each component, too.

        Returns
        -------
        energies : dict of str to ndarray of float, shape (n,), eV
            By the names of the terms, ``"0"`` for a model without ``terms``; and ``"baseline"``, or
            ``"baseline__0"``, ``"baseline__1"`` … for a list of baselines. Their sum is the
            prediction.
        forces : dict of str to ndarray of float, shape (n_atoms, 3), eV/Å
            The same of the forces, if ``return_forces``.
        """
        X = self._checked(X)
        structures = self._structures(X)
        features = (features_of(self.descriptors_, X, batch) for batch in predicted_batches(X))
        energies, forces = components(
            self.expansion_, self.term_names_, features, self.baseline_, structures, return_forces
        )
        return (energies, forces) if return_forces else energies

    def _check_known(self, X, structures):
        """Raise a ValueError for species or features that fit did not see."""
        n_features = self.blocks_[0].vectors.shape[1]
        if isinstance(X, Features) and X.values.shape[1] != n_features:
            raise ValueError(
                f"got {X.values.shape[1]} features, but the model was fitted to {n_features}: use "
                "the descriptor as it was fitted then"
            )
        species_index(structures, self.species_)  # raises for species not seen in fit
        check_origin(self, X)
