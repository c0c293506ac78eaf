"""Mixtures of experts: models of parts of the data, joined by a smooth gate."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import MetaEstimatorMixin, _fit_context, clone
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval

from skatom._prediction import comparable, predict, predictable
from skatom._typing import Estimator, RandomState, StructuresLike, TargetsLike
from skatom.descriptors.soap import SOAP
from skatom.descriptors.structure_features import StructureFeatures
from skatom.models._regressor import StructureRegressor
from skatom.models.nbody.nbody_gaussian_process import NBodyGaussianProcess
from skatom.properties import in_order
from skatom.structures import as_structures
from skatom.targets import as_targets

# Added to the variance of each component of the mixture, in units of that of all data: narrower
# components make gates that open and close within a thousandth of an Å, with large forces.
_SMALLEST_VARIANCE = 0.05


class GatedExperts(MetaEstimatorMixin, StructureRegressor):
    r"""Models of parts of the data, whose energies are weighted by their responsibilities.

    .. math::

        \hat E(S) = \sum_c p(c \mid S)\, \hat E_c(S), \qquad
        p(c \mid S) = \frac{w_c\, N(x_S \mid \mu_c, \Sigma_c)}
        {\sum_k w_k\, N(x_S \mid \mu_k, \Sigma_k)}, \qquad
        \hat F = \sum_c p_c \hat F_c - \sum_c \hat E_c \frac{\partial p_c}{\partial R}

    The gate p is a mixture of Gaussians of the leading principal components x of the descriptor. It
    is smooth, and the forces and the stress contain its derivative, so energies are conserved [1]_.
    Each Gaussian has at least a twentieth of the variance of all data, which keeps the gate smooth.
    Expert c learns from the structures for which :math:`p_c` is at least ``overlap``. A dense
    Gaussian process of N labels costs N³; experts of N/M labels cost N³/M², and each has length
    scales and noises for its part, as different phases need. Every expert predicts every structure,
    so each part must have all elements. The standard deviation is that of the
    mixture,

    .. math:: s^2 = \sum_c p_c \big[ s_c^2 + (\hat E_c - \hat E)^2 \big].

    `Committee` has the other kind of ensemble, the mean of models of random parts of the data.

    Parameters
    ----------
    estimator : estimator, default=None
        A regressor of energies, or a Pipeline. None: ``NBodyGaussianProcess()``.
    descriptor : descriptor of structures, default=None
        Features of whole structures from which the gate is learnt. None: ``SOAP(pool="mean")``.
    n_experts : int, default=2
        Number of experts.
    n_components : int, default=2
        Number of principal components of the features.
    overlap : float, default=0.02
        Responsibility from which an expert learns from a structure.
    random_state : int, RandomState or None, default=None
        Seed of the mixture.

    Attributes
    ----------
    estimators_ : list of estimators
        The experts.
    gate_ : SoftGate
        The responsibilities as a function of the features.
    samples_ : list of ndarray of int
        The structures that each expert learnt from.
    outputs_ : tuple of str
        Names of the properties that the model predicts.
    absolute_energies_ : bool
        True: energies must be learnt.

    Raises
    ------
    ValueError
        If there are fewer structures than experts, an expert learns no energies, or the descriptor
        is one of atoms.

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), section 5.2.5, and R. A. Jacobs et al., Neural Comput. 3, 79 (1991).

    Examples
    --------
    >>> from skatom.datasets import load_boron_nitride
    >>> from skatom.kernels import NBody
    >>> from skatom.models import GatedExperts, NBodyGaussianProcess
    >>> data = load_boron_nitride()
    >>> process = NBodyGaussianProcess(NBody(cutoff=3.5), n_environments=30, random_state=0)
    >>> model = GatedExperts(process, random_state=0)
    >>> model = model.fit(data.structures[::12], data.targets[::12])
    >>> energy, forces, std = model.predict(
    ...     data.structures[1:3], return_forces=True, return_std=True
    ... )
    >>> energy.shape, forces.shape, std.shape
    ((2,), (128, 3), (2,))
    """

    gives = ("energy", "forces", "stress", "energy_std")
    learns = ("energy", "forces", "stress")

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "descriptor": [HasMethods(["fit", "transform"]), None],
        "n_experts": [Interval(Integral, 2, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "overlap": [Interval(Real, 0, 0.5, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Estimator = None,
        descriptor: Any = None,
        n_experts: int = 2,
        *,
        n_components: int = 2,
        overlap: float = 0.02,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.descriptor = descriptor
        self.n_experts = n_experts
        self.n_components = n_components
        self.overlap = overlap
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: StructuresLike, y: TargetsLike) -> Self:
        """Fit the gate, then each expert to its part of the structures.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n structures.
        y : Targets, or array-like of float, shape (n,), eV
            Energies, and what else the estimator learns from.

        Returns
        -------
        self
        """
        structures = as_structures(X)
        targets = as_targets(y, structures)
        if len(structures) <= self.n_experts:
            raise ValueError(
                f"{len(structures)} structures are too few for n_experts={self.n_experts}: give "
                "more than one for each expert, or lower n_experts"
            )
        descriptor = SOAP(pool="mean") if self.descriptor is None else clone(self.descriptor)
        self.descriptor_ = descriptor.fit(structures)
        self.gate_ = SoftGate.of(
            _features(self.descriptor_, structures).values, self.n_experts, self.n_components,
            check_random_state(self.random_state),
        )  # fmt: skip
        weights = self.gate_.responsibilities(_features(self.descriptor_, structures).values)
        self.samples_ = [np.flatnonzero(p >= self.overlap) for p in weights.T]
        expert = NBodyGaussianProcess() if self.estimator is None else self.estimator
        self.estimators_ = [
            clone(expert).fit(structures[chosen], targets[chosen]) for chosen in self.samples_
        ]
        self._check_experts()
        return self

    def _training_errors(self, X, structures, targets, names):
        if not all(isinstance(expert, NBodyGaussianProcess) for expert in self.estimators_):
            return super()._training_errors(X, structures, targets, names)
        parts = [
            expert._training_errors(X, structures, targets, names) for expert in self.estimators_
        ]
        return {
            name: tuple(
                np.concatenate(kinds) for kinds in zip(*(p[name] for p in parts), strict=True)
            )
            for name in set.intersection(*(set(part) for part in parts))
        }

    def _check_experts(self):
        for expert, chosen in zip(self.estimators_, self.samples_, strict=True):
            if "energy" not in comparable(expert):
                raise ValueError(
                    f"an expert of {len(chosen)} structures learnt no energies, whose zeros would "
                    "differ between experts: give energies, or lower n_experts"
                )
        common = set(self.gives).intersection(*map(predictable, self.estimators_))
        self.outputs_, self.absolute_energies_ = in_order(common), True

    def _checked(self, X):
        return as_structures(X)

    def _evaluate(self, X, names):
        features = _features(self.descriptor_, X)
        weights = self.gate_.responsibilities(features.values)
        plain = {"gradient": "forces", "virial": "stress"}
        asked = {"energy", *(plain.get(name, name) for name in names)}
        parts = [predict(expert, X, asked) for expert in self.estimators_]
        energies = np.stack([part["energy"] for part in parts], axis=1)
        found = {"energy": np.sum(weights * energies, axis=1)}
        spread = energies - found["energy"][:, None]
        if "energy_std" in names:
            variances = np.stack([part["energy_std"] ** 2 for part in parts], axis=1)
            found["energy_std"] = np.sqrt(np.sum(weights * (variances + spread**2), axis=1))
        if {"gradient", "virial"} & set(names):
            # Σ E_c ∂p_c = Σ p_c (E_c - E) ∂log N_c, since the p_c add up to 1
            cotangent = self.gate_.cotangent(features.values, weights * spread)
            gradient, virial = features.pullback(cotangent)
        if "gradient" in names:
            per_atom = np.repeat(weights, X.n_atoms, axis=0)
            forces = sum(
                p[:, None] * part["forces"] for p, part in zip(per_atom.T, parts, strict=True)
            )
            found["gradient"] = gradient - forces
        if "virial" in names:
            stress = sum(
                p[:, None, None] * part["stress"] for p, part in zip(weights.T, parts, strict=True)
            )
            found["virial"] = virial + stress * X.volumes()[:, None, None]
        return found


class SoftGate:
    """Responsibilities of the components of a mixture of Gaussians, as a function of features.

    Parameters
    ----------
    center : ndarray of float, shape (n_features,)
    axes : ndarray of float, shape (n_components, n_features)
        The principal components x = axes (features - center).
    log_weights : ndarray of float, shape (n_experts,)
        Logarithms of the weights times the normalisation of each Gaussian.
    means : ndarray of float, shape (n_experts, n_components)
    precisions : ndarray of float, shape (n_experts, n_components, n_components)
    """

    def __init__(self, center, axes, log_weights, means, precisions):
        self.center = center
        self.axes = axes
        self.log_weights = log_weights
        self.means = means
        self.precisions = precisions

    @classmethod
    def of(cls, values, n_experts, n_components, rng):
        """Fit the mixture to features (n, n_features)."""
        n_components = min(n_components, len(values) - 1, values.shape[1])
        pca = PCA(n_components, whiten=True, random_state=rng).fit(values)
        axes = pca.components_ / np.sqrt(pca.explained_variance_)[:, None]
        x = (values - pca.mean_) @ axes.T
        mixture = GaussianMixture(
            n_experts, reg_covar=_SMALLEST_VARIANCE, n_init=4, random_state=rng
        ).fit(x)
        _, log_dets = np.linalg.slogdet(mixture.precisions_)
        log_weights = np.log(mixture.weights_) + 0.5 * log_dets
        return cls(pca.mean_, axes, log_weights, mixture.means_, mixture.precisions_)

    def responsibilities(self, values):
        """p(c | S), shape (n, n_experts)."""
        _, forms = self._forms(values)
        return softmax(self.log_weights - 0.5 * forms, axis=1)

    def cotangent(self, values, weights):
        """Σ_c weights_c ∂log N_c/∂features, shape (n, n_features)."""
        slopes, _ = self._forms(values)
        return -np.einsum("nc,nck->nk", weights, slopes) @ self.axes

    def _forms(self, values):
        """Σ_c^-1 (x - μ_c), shape (n, n_experts, n_components), and (x - μ_c) · of it."""
        away = ((values - self.center) @ self.axes.T)[:, None] - self.means
        slopes = np.einsum("ckl,ncl->nck", self.precisions, away)
        return slopes, np.einsum("nck,nck->nc", away, slopes)


def _features(descriptor, structures):
    features = descriptor.transform(structures)
    if not isinstance(features, StructureFeatures):
        raise ValueError(
            f"the descriptor of GatedExperts must give features of whole structures: set its pool, "
            f"such as SOAP(pool='mean'), or take another than {type(descriptor).__name__}"
        )
    return features
