"""Committees: several fits of one model, with their mean and spread."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import MetaEstimatorMixin, RegressorMixin, _fit_context, clone
from sklearn.utils import _safe_indexing, check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, RealNotInt, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.validation import _check_method_params, validate_data

from skatom._prediction import comparable, predict, predictable
from skatom._typing import ArrayLike, Estimator, FeaturesLike, RandomState, TargetsLike
from skatom.descriptors.features import as_batch
from skatom.models._diagnosis import undiagnosed
from skatom.models._labels import check_array_labels
from skatom.models._regressor import StructureRegressor
from skatom.parallel import map_jobs
from skatom.properties import LABELS, OUTPUTS, in_order
from skatom.structures import Structures, is_atoms
from skatom.targets import as_targets

_SEEDS = np.iinfo(np.int32).max


class Committee(MetaEstimatorMixin, StructureRegressor):
    r"""Mean and spread of several fits of one model to parts of the data.

    .. math::

        \hat y = \frac1M \sum_m \hat y_m, \qquad
        s^2 = \frac{1}{M - 1} \sum_m |\hat y_m - \hat y|^2

    for every output of the members: energies, components of forces, stresses, dipoles. Members
    differ in their training data, in their seeds, or in both. Their spread is large where the data
    do not determine the model. It does not include errors that all members share, so calibrate it
    before using it as an error estimate.

    Parameters
    ----------
    estimator : estimator
        Any regressor of skatom or scikit-learn, or a Pipeline. Features of a descriptor before the
        committee, ``make_pipeline(SOAP(), Committee(SparseGaussianProcess()))``, are computed once
        for all members; features of a descriptor inside of it are computed for each.
    n_models : int, default=8
        Number M of members, at least 2.
    resampling : {"subsample", "bootstrap"} or None, default="subsample"
        "subsample" draws structures without replacement, "bootstrap" with replacement (bagging),
        for which the model must allow repeated structures. None: all members learn from all data
        and differ only in their seeds.
    max_samples : int or float, default=None
        Number or fraction of the structures that a member learns from. None: 80 % for "subsample",
        100 % for "bootstrap".
    n_jobs : int, default=None
        Number of joblib jobs that share the members. The result does not depend on it.
    random_state : int, RandomState or None, default=None
        Seed of the resampling, and of the ``random_state`` of every member that has one.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    estimators_ : list of estimators
        The members.
    samples_ : list of ndarray of int
        The structures that each member learnt from.
    outputs_ : tuple of str
        Names of the properties that the members predict, and of the spread of each.
    absolute_energies_ : bool
        Whether the members learnt energies.

    Raises
    ------
    ValueError
        If all members would be equal, or would have no training data.

    References
    ----------
    .. [1] L. Breiman, Mach. Learn. 24, 123 (1996).
    .. [2] F. Musil, M. J. Willatt, M. A. Langovoy, M. Ceriotti, J. Chem. Theory Comput. 15, 906
       (2019), for subsampling and its calibration.

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import SGDML, Committee
    >>> data = load_ethanol()
    >>> committee = Committee(SGDML(), n_models=4, random_state=0)
    >>> committee = committee.fit(data.structures[::40], data.targets[::40])
    >>> energy, forces, std, forces_std = committee.predict(
    ...     data.structures[1:3], return_forces=True, return_std=True, return_forces_std=True
    ... )
    >>> energy.shape, std.shape, forces_std.shape
    ((2,), (2,), (18, 3))
    """

    gives = tuple(OUTPUTS)
    learns = tuple(LABELS)

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"])],
        "n_models": [Interval(Integral, 2, None, closed="left")],
        "resampling": [StrOptions({"subsample", "bootstrap"}), None],
        "max_samples": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
            None,
        ],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: Estimator,
        n_models: int = 8,
        *,
        resampling: str | None = "subsample",
        max_samples: float | None = None,
        n_jobs: int | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_models = n_models
        self.resampling = resampling
        self.max_samples = max_samples
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: FeaturesLike, y: TargetsLike, groups: ArrayLike | None = None, **fit_params: Any
    ) -> Self:
        """Fit the members.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, AtomicFeatures or array-like, as the estimator takes
            The n structures or samples.
        y : Targets, or array-like of shape (n,)
            Labels.
        groups : array-like of shape (n,), default=None
            Structures of one group are drawn together, such as the frames of a trajectory. None:
            each structure is a group.
        **fit_params
            Parameters of the estimator's ``fit``, such as ``sample_weight`` and
            ``configurations``. If they have one entry for each structure, they are divided among
            the members like X.

        Returns
        -------
        self
        """
        X, y = self._checked_data(X, y)
        n = len(X) if isinstance(X, Sequence) else X.shape[0]
        rng = check_random_state(self.random_state)
        parts = [self._draw(n, groups, rng) for _ in range(self.n_models)]
        members = [self._seeded(rng) for _ in parts]
        params = self._fit_params(fit_params)
        tasks = [
            (
                member, _safe_indexing(X, part), _safe_indexing(y, part),
                _check_method_params(X, params, indices=part),
            )
            for member, part in zip(members, parts, strict=True)
        ]  # fmt: skip
        self.estimators_ = list(
            map_jobs(_fit_member, tasks, self.n_jobs, verbose=self.verbose, desc="committee")
        )
        self.samples_ = parts
        means = [name for name in predictable(self.estimators_[0]) if not name.endswith("_std")]
        self.outputs_ = in_order([*means, *(OUTPUTS[name].deviation.name for name in means)])
        self.absolute_energies_ = "energy" in comparable(self.estimators_[0])
        return self

    def _checked_data(self, X, y):
        """Structures and Targets, or features and Targets, or arrays."""
        X = _indexable(X)
        if _is_batch(X):
            return X, as_targets(y, getattr(X, "structures", X))
        check_array_labels(X, y, type(self).__name__)
        y = y if y is None else np.asarray(y)
        return validate_data(self, X, y, multi_output=True, y_numeric=True, **self._accepted())

    def _accepted(self):
        """What arrays of the estimator's may be like."""
        tags = get_tags(self.estimator).input_tags
        return {
            "accept_sparse": "csr" if tags.sparse else False,
            "ensure_all_finite": "allow-nan" if tags.allow_nan else True,
        }

    def _draw(self, n, groups, rng):
        """Indices of the structures, out of n, that a member learns from."""
        if self.resampling is None:
            return np.arange(n)
        names, group = np.unique(
            np.arange(n) if groups is None else np.asarray(groups), return_inverse=True
        )
        if len(group) != n:
            raise ValueError(f"groups has {len(group)} entries for {n} structures: give one each")
        size = self._n_drawn(len(names))
        chosen = rng.choice(len(names), size, replace=self.resampling == "bootstrap")
        counts = np.bincount(chosen, minlength=len(names))[group]
        return np.repeat(np.arange(n), counts)

    def _n_drawn(self, n):
        size = self.max_samples
        if size is None:
            size = 0.8 if self.resampling == "subsample" else n
        if not isinstance(size, Integral):
            size = max(1, round(size * n))
        if self.resampling == "subsample" and size > n:
            raise ValueError(
                f"max_samples={size}, but there are {n} structures or groups: lower it, or use "
                "resampling='bootstrap'"
            )
        if self.resampling == "subsample" and size == n and not _seeds_of(self.estimator):
            raise ValueError(
                f"each member would learn from all {n} structures or groups, and all would be "
                "equal: lower max_samples, or give more data"
            )
        return size

    def _seeded(self, rng):
        member = clone(self.estimator)
        names = _seeds_of(member)
        if self.resampling is None and not names:
            raise ValueError(
                f"resampling=None, but {type(member).__name__} has no random_state: all members "
                "would be equal; use resampling='subsample'"
            )
        return member.set_params(**{name: int(rng.randint(_SEEDS)) for name in names})

    def _fit_params(self, given):
        if _routing_enabled():
            return process_routing(self, "fit", **given).estimator.fit
        return given

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata passed on to the estimator, see scikit-learn's guide of metadata routing.

        Returns
        -------
        MetadataRouter
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(
                estimator=self.estimator,
                method_mapping=MethodMapping().add(caller="fit", callee="fit"),
            )
        )

    def _checked(self, X):
        X = _indexable(X)
        if _is_batch(X):
            return X
        return validate_data(self, X, reset=False, **self._accepted())

    def _evaluate(self, X, names):
        """Means and spreads over the members."""
        means = {name.removesuffix("_std") for name in names}
        found = [predict(member, X, means) for member in self.estimators_]
        by_name = {name: np.stack([each[name] for each in found]) for name in means}
        return {
            name: by_name[name.removesuffix("_std")].std(axis=0, ddof=1)
            if name.endswith("_std")
            else by_name[name].mean(axis=0)
            for name in names
        }

    def _outputs(self, X, names):
        return self._evaluate(X, names)  # the members know their baselines and cells

    def __sklearn_tags__(self):
        tags = RegressorMixin.__sklearn_tags__(self)
        own = get_tags(self.estimator)
        tags.input_tags, tags.target_tags = own.input_tags, own.target_tags
        return tags


def _indexable(X):
    """A list of ase.Atoms as a batch of structures; anything else unchanged."""
    return as_batch(X) if is_atoms(X) else X


def _is_batch(X):
    return isinstance(X, Structures) or hasattr(X, "descriptor")


def _fit_member(task):
    member, X, y, params = task
    with undiagnosed():  # in a process of its own, too: the committee looks at the labels once
        return member.fit(X, y, **params)


def _seeds_of(estimator):
    """Names of the parameters that seed random numbers, at any depth."""
    return [
        name
        for name in sorted(estimator.get_params(deep=True))
        if name == "random_state" or name.endswith("__random_state")
    ]
