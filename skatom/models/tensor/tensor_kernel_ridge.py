"""Kernel ridge regression of vectors and tensors."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._input_checks import structure_weights
from skatom._misuse import check_may_be_labels
from skatom._typing import ArrayLike, RandomState, TargetsLike
from skatom.baseline import AtomicBaseline
from skatom.descriptors.origin import check_origin, origin_of
from skatom.descriptors.spherical_tensors import (
    cartesian_from_spherical,
    spherical_from_cartesian,
)
from skatom.descriptors.tensor_features import TensorFeatures
from skatom.elements import species_index
from skatom.models._labels import check_labels, per_structure
from skatom.models._regressor import StructureRegressor
from skatom.models.tensor.dense import fit_dense
from skatom.models.tensor.environments import CovariantEnvironments
from skatom.models.tensor.representatives import representative_atoms
from skatom.models.tensor.sparse import fit_sparse
from skatom.properties import in_order
from skatom.targets import Targets, as_targets

# the spherical components of each property
_ORDERS = {"dipole": (1,), "polarizability": (0, 2)}


class TensorKernelRidge(StructureRegressor):
    r"""Dipoles or polarisabilities of structures, from kernels that rotate with them.

    .. math::
        T^\lambda_\mu(A) = \sum_{B \mu'} K^\lambda_{\mu\mu'}(A, B)\, c_{B\mu'}, \qquad
        K^\lambda_{\mu\mu'}(A, B) = \sum_{j \in A,\, k \in B} \delta_{z_j z_k}\,
            F_\mu(X_j) \cdot F_{\mu'}(X_k)\; \big(p(X_j) \cdot p(X_k)\big)^{\zeta-1}

    with the covariants F of `LambdaSOAP`, the normalised power spectrum p of `SOAP`, and the
    species :math:`z_j` of the centres. Each spherical component λ of the tensor is learnt
    separately: a dipole has λ = 1; a polarisability has λ = 0, its trace, and λ = 2, its
    anisotropy. The coefficients solve :math:`(K + \alpha\bar K I)\,c = T`, where :math:`\bar K` is
    the mean of the diagonal of K. The prediction for a rotated structure is exactly the rotated
    prediction. Before the fit, one constant for each element is subtracted from the trace, as
    `AtomicBaseline` does for energies; components with λ > 0 have no constant.

    With ``n_sparse`` the sum runs over representative environments of the training structures
    instead of the structures, as in `SparseGaussianProcess`, and the coefficients minimise

    .. math::
        \sum_A \frac{|T(A) - \hat T(A)|^2}{\alpha \bar K} + c^\top K_{MM}\, c .

    Time and memory then grow in proportion to the number of structures.

    X is the output of `LambdaSOAP`, so that the model is the last step of a Pipeline. The model
    asks it for the orders that it needs, whatever its ``lam``.

    Parameters
    ----------
    target : {"dipole", "polarizability"}, default="dipole"
        The property to learn, in any unit; predictions have the same unit.
    zeta : int, default=2
        Exponent ζ of the density overlap. 1: a linear model. 2: each atom's response depends on its
        surroundings. With 1 or 2, the cost of predictions does not depend on the size of the
        training set.
    alpha : float, dict or array-like of shape (n,), default=1e-4
        Regularisation strength α, the noise variance relative to the mean of the diagonal of the
        kernel matrix; one number, one for each structure, or a dict by configuration, see `fit`.
    n_sparse : int, dict or None, default=None
        Number of representative environments of each species, or a dict such as
        ``{"H": 300, "O": 800}``. None: the kernel matrix of all structures is solved, unless
        ``selection`` names representatives.
    selection : {"fps", "cur", "random"} or array-like of int, default="fps"
        How representatives are selected: by farthest point sampling in the metric of the kernel
        :math:`(p \cdot p')^\zeta`, by CUR of p, or at random; or the indices of their atoms,
        counted over all structures.
    keep_factor : bool, default=False
        Keep what standard deviations need: the factor of the kernel matrix and the training
        structures, or with ``n_sparse`` the features of the representatives.
    max_memory : float, default=None
        Memory limit of the kernel matrix in GiB. None: the available memory.
    random_state : int, RandomState or None, default=None
        Seed of the selection of representatives.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    expansions_ : dict of int to TensorExpansion
        The fitted expansion of each order λ.
    posteriors_ : dict of int to DensePosterior, SparsePosterior or None
        The posterior covariances of each order λ; None unless ``keep_factor``.
    representatives_ : ndarray of int or None
        The atoms that are representatives, counted over all structures.
    constants_ : AtomicBaseline
        Constants of the elements, for polarisabilities.
    species_ : ndarray of int
        Sorted atomic numbers seen in `fit`.
    n_features_in_ : int
        Number of features of the lowest order λ of the target.
    outputs_ : tuple of str
        Names of the property that was learnt and, with ``keep_factor``, of its standard deviation.

    Raises
    ------
    TypeError
        If X is not the output of `LambdaSOAP`.
    ValueError
        If labels are missing or not of the shape (n, 3) or (n, 3, 3), a polarisability is not
        symmetric, or a species was not in ``fit``.
    MemoryError
        If the kernel matrix would not fit in memory. It takes about (2λ + 1)² n² · 4 bytes, with M
        representatives (2λ + 1)² M² · 40 bytes.

    Notes
    -----
    The tensor of a structure is a sum over its atoms. The property must therefore be extensive and
    independent of the origin, unlike the dipole of a charged molecule.

    Standard deviations are those of the Gaussian process with the prior covariance :math:`s^2 K`
    and the noise variance :math:`s^2 \alpha \bar K`. In the dense form :math:`s^2 = T^\top (K +
    \alpha\bar K I)^{-1}\, T / m` maximises the likelihood of the m components T. With
    representatives, leave-one-out errors of the training structures determine it, for which `fit`
    passes over the structures once more, and what the representatives cannot describe adds to the
    deviations. Deviations include neither the noise nor the error of the constants of the elements.
    The dense form computes the features of all training structures again in each call: ask for many
    structures at once.

    References
    ----------
    A. Grisafi, D. M. Wilkins, G. Csányi, M. Ceriotti, Phys. Rev. Lett. 120, 036002 (2018).
    D. M. Wilkins et al., Proc. Natl. Acad. Sci. 116, 3401 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import molecule
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.descriptors import LambdaSOAP
    >>> from skatom.models import TensorKernelRidge
    >>> rng = np.random.default_rng(0)
    >>> frames = [molecule("H2O") for _ in range(30)]
    >>> for atoms in frames:
    ...     atoms.rattle(0.05, rng=rng)
    ...     atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
    >>> dipoles = [[-0.8, 0.4, 0.4] @ atoms.positions for atoms in frames]  # point charges
    >>> model = make_pipeline(LambdaSOAP(), TensorKernelRidge("dipole", alpha=1e-8))
    >>> model = model.fit(frames[:20], dipoles[:20])
    >>> bool(np.abs(model.predict(frames[20:]) - dipoles[20:]).max() < 0.01)
    True
    """

    gives = in_order({"dipole", "polarizability", "dipole_std", "polarizability_std"})
    learns = ("dipole", "polarizability")

    _parameter_constraints = {
        "target": [StrOptions(set(_ORDERS))],
        "zeta": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left"), dict, "array-like"],
        "n_sparse": [Interval(Integral, 1, None, closed="left"), dict, None],
        "selection": [StrOptions({"fps", "cur", "random"}), "array-like"],
        "keep_factor": ["boolean"],
        "max_memory": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        target: str = "dipole",
        zeta: int = 2,
        alpha: dict | ArrayLike = 1e-4,
        n_sparse: int | dict | None = None,
        selection: str | ArrayLike = "fps",
        *,
        keep_factor: bool = False,
        max_memory: float | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.target = target
        self.zeta = zeta
        self.alpha = alpha
        self.n_sparse = n_sparse
        self.selection = selection
        self.keep_factor = keep_factor
        self.max_memory = max_memory
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: TensorFeatures,
        y: TargetsLike,
        configurations: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Solve for the coefficients of every component.

        Parameters
        ----------
        X : TensorFeatures of n structures
        y : Targets, or array-like of float
            Dipoles (n, 3) or polarisabilities (n, 3, 3).
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for ``alpha`` given as a dict.
        sample_weight : array-like of float, shape (n,), default=None
            Weights of the structures, by which their noise variance is divided; structures of
            weight 0 are ignored.

        Returns
        -------
        self
        """
        X = _tensor_features(X)
        if self.keep_factor and not self._is_sparse():
            X = X.with_neighbors()  # deviations need the features of all structures again
        if isinstance(y, Targets):
            check_labels(y, (self.target,), type(self).__name__)
        tensors = self._tensors(y, X.structures)
        noise, used = self._noise(X.structures, configurations, sample_weight)
        structures = X.structures[used]
        orders = _ORDERS[self.target]
        self.species_ = structures.species
        first = X.of_order(orders[0])
        self.n_features_in_, self._origin = first.n_features, origin_of(first)
        self.representatives_ = None
        if self._is_sparse():
            self.representatives_ = representative_atoms(
                X, used, self.n_sparse, self.selection, self.zeta,
                check_random_state(self.random_state),
            )  # fmt: skip
        self.expansions_, self.posteriors_ = {}, {}
        for lam in orders:
            components = spherical_from_cartesian(tensors[used], lam)
            if lam == 0:
                self.constants_ = AtomicBaseline().fit(structures, components[:, 0])
                components = components - self.constants_.predict(structures)[:, None]
            self.expansions_[lam], posterior = self._fit_order(
                X, used, lam, components, noise[used]
            )
            if self.keep_factor:
                self.posteriors_[lam] = posterior
        names = (self.target, f"{self.target}_std")
        self.outputs_ = names if self.keep_factor else names[:1]
        self.absolute_energies_ = False
        return self

    def _noise(self, structures, configurations, sample_weight):
        """The noise variance of each structure, relative to the kernel, and which take part."""
        n = len(structures)
        smallest = None if self._is_sparse() else 0.0
        noise = per_structure(
            "alpha", self.alpha, structures, configurations, np.ones(n, bool), smallest=smallest
        )
        weights = structure_weights(sample_weight, n)
        return noise / np.where(weights > 0, weights, 1.0), weights > 0

    def _fit_order(self, X, used, lam, components, noise):
        common = (X[used], lam, self.zeta, components, noise)
        computation = (self.keep_factor, self.max_memory, self.verbose)
        if self.representatives_ is None:
            return fit_dense(*common, *computation)
        representatives = CovariantEnvironments.of_atoms(X, lam, self.representatives_)
        return fit_sparse(*common, representatives, *computation)

    def _is_sparse(self):
        return self.n_sparse is not None or not isinstance(self.selection, str)

    def _checked(self, X):
        X = _tensor_features(X)
        if len(X) == 0:
            raise ValueError("got no structures: pass at least one")
        species_index(X.structures, self.species_)
        first = X.of_order(next(iter(self.expansions_)))
        if first.n_features != self.n_features_in_:
            raise ValueError(
                f"X has {first.n_features} features, but fit saw {self.n_features_in_}: use the "
                "descriptor of the fit"
            )
        check_origin(self, first)
        return X

    def _evaluate(self, X, names):
        found = {}
        if self.target in names:
            found[self.target] = self._means(X)
        if f"{self.target}_std" in names:
            found[f"{self.target}_std"] = self._deviations(X)
        return found

    def _means(self, X):
        total = 0.0
        for lam, expansion in self.expansions_.items():
            components = expansion.components(X)
            if lam == 0:
                components += self.constants_.predict(X.structures)[:, None]
            total = total + cartesian_from_spherical(components, lam)
        return total

    def _deviations(self, X):
        variance = 0.0
        for lam, posterior in self.posteriors_.items():
            basis = cartesian_from_spherical(np.eye(2 * lam + 1), lam)
            variance = variance + np.einsum(
                "m...,nmk,k...->n...", basis, posterior.covariances(X), basis
            )
        return np.sqrt(np.maximum(variance, 0.0))

    def score(
        self, X: TensorFeatures, y: TargetsLike, sample_weight: ArrayLike | None = None
    ) -> float:
        r"""Coefficient of determination relative to an isotropic prediction; 1 is perfect.

        .. math:: R^2 = 1 - \frac{\sum_A u_A |T_A - \hat T_A|^2}{\sum_A u_A |T_A - \bar T|^2}

        where :math:`\bar T` is the mean over the structures and over all rotations: zero for
        dipoles, a multiple of the unit tensor for polarisabilities.

        Parameters
        ----------
        X : TensorFeatures of n structures
        y : Targets or array-like, as in `fit`
        sample_weight : array-like of float, shape (n,), default=None
            Weights u of the structures. None: 1.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        X = self._checked(X)
        tensors = self._tensors(y, X.structures)
        weights = structure_weights(sample_weight, len(X))
        mean = 0.0
        if self.target == "polarizability":
            traces = np.trace(tensors, axis1=1, axis2=2)
            mean = np.average(traces, weights=weights) / 3 * np.eye(3)
        errors, spread = (
            np.sum((tensors - other).reshape(len(X), -1) ** 2, axis=1) @ weights
            for other in (self._means(X), mean)
        )
        if spread == 0:  # as scikit-learn's r2_score
            return float(errors == 0)
        return float(1 - errors / spread)

    def _tensors(self, y, structures):
        if not isinstance(y, Targets):
            check_may_be_labels(y, n_atoms=-1)  # dipoles have the shape of forces
        targets = y if isinstance(y, Targets) else Targets(**{self.target: y})
        return as_targets(targets, structures).require(self.target)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _tensor_features(X):
    if not isinstance(X, TensorFeatures):
        raise TypeError(
            f"got {type(X).__name__}, but need TensorFeatures: put a descriptor in front, "
            "make_pipeline(LambdaSOAP(), TensorKernelRidge())"
        )
    return X
