"""Random features of a network whose weights are drawn from pairs of training points."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skatom._intervals import POSITIVE
from skatom._typing import FeaturesLike, RandomState
from skatom.base import BaseEstimator
from skatom.descriptors import AtomicFeatures
from skatom.descriptors.feature_transformer import FeatureTransformer, fit_table
from skatom.memory import check_memory
from skatom.random_features.activations import ACTIVATIONS
from skatom.random_features.learnt_map import NumberedFeatures
from skatom.random_features.maps import Neurons
from skatom.random_features.projections import DenseProjection
from skatom.targets import Targets

# Points that are this close, relative to the largest number among them, are one point.
_SAME = 1e-12


class SampledNetworkFeatures(NumberedFeatures, FeatureTransformer, TransformerMixin, BaseEstimator):
    r"""A hidden layer of a network whose weights come from pairs of training points.

    .. math::
        y_k = \sigma(w_k \cdot x + b_k), \qquad
        w_k = \pm \alpha\, \frac{x_i - x_j}{|x_i - x_j|^2}, \qquad
        b_k = -\beta - w_k \cdot x_i

    with + for "outward" [1]_ and − for "inward" [2]_ pairs (i, j) of different training points.
    An inward neuron makes its transition between the two points: its argument is −β at
    :math:`x_i` and α − β at :math:`x_j`. That of an outward one is −β and −α − β, so the
    transition lies beyond :math:`x_i`, and a rectifier is zero between them. Outward pairs are
    better at wells, as of potential energies, inward pairs at steps. Only the last layer is
    learnt, by linear least squares.

    The features adapt to the region of the data, and are independent of the origin and the unit
    of x. Atoms of each element have neurons of their own.

    Parameters
    ----------
    n_features : int, default=1000
        Number of neurons, for each element.
    activation : {"tanh", "gelu", "softplus", "relu"}, default="tanh"
        The function σ. The slope of "relu" has steps, so that forces have, too.
    sampler : {"uniform", "differences"}, default="uniform"
        The probability of a pair: equal for all, or proportional to
        :math:`|y_i - y_j| / |x_i - x_j|`, where the labels y change most.
    orientation : {"outward", "inward"}, default="outward"
        The orientation of pairs.
    alpha, beta : float, default=None
        The constants α and β. None: for "tanh" 2 ln 1.5 and ln 1.5 if "outward", and ln 3 and
        half of it if "inward", where the neuron is −1/2 and 1/2 at the pair; 1 and 0 for the
        others.
    multiplicity : int, default=2
        Number of pairs for each neuron from which it is drawn.
    by_element : bool, default=True
        Whether the atoms of each element have neurons of their own.
    random_state : int, RandomState or None, default=None
        Seed of the pairs.

    Attributes
    ----------
    map_ : Neurons
        The map of the features.
    species_ : ndarray of int, or None
        Sorted atomic numbers in the training data; None if all rows have the same neurons.

    Raises
    ------
    ValueError
        If all training points, or all atoms of an element, coincide; if "differences" has no
        labels.

    References
    ----------
    .. [1] R. Manavalan, Machine learning potentials using higher order interactions, thesis,
       Technische Universität München (2023).
    .. [2] E. L. Bolager, I. Burak, C. Datar, Q. Sun, F. Dietrich, Advances in Neural Information
       Processing Systems 36, 63075 (2023).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.random_features import SampledNetworkFeatures
    >>> X = np.linspace(0, 2 * np.pi, 1000)[:, None]
    >>> y = np.sin(X.ravel())
    >>> model = make_pipeline(SampledNetworkFeatures(100, random_state=0), Ridge(1e-8)).fit(X, y)
    >>> bool(abs(model.predict(X) - y).max() < 1e-4)
    True
    """

    _parameter_constraints = {
        "n_features": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({*ACTIVATIONS})],
        "sampler": [StrOptions({"uniform", "differences"})],
        "orientation": [StrOptions({"outward", "inward"})],
        "alpha": [POSITIVE, None],
        "beta": [Interval(Real, None, None, closed="neither"), None],
        "multiplicity": [Interval(Integral, 1, None, closed="left")],
        "by_element": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_features: int = 1000,
        *,
        activation: str = "tanh",
        sampler: str = "uniform",
        orientation: str = "outward",
        alpha: float | None = None,
        beta: float | None = None,
        multiplicity: int = 2,
        by_element: bool = True,
        random_state: RandomState = None,
    ) -> None:
        self.n_features = n_features
        self.activation = activation
        self.sampler = sampler
        self.orientation = orientation
        self.alpha = alpha
        self.beta = beta
        self.multiplicity = multiplicity
        self.by_element = by_element
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: FeaturesLike, y: Any = None) -> Self:
        """Draw the pairs.

        Parameters
        ----------
        X : AtomicFeatures, StructureFeatures, or array-like of float, shape (n, n_features)
            The training data.
        y : Targets or array-like of float, shape (n,) or (n, n_targets), default=None
            Labels, for "differences": the energies of Targets; structures without are left out.
            The label of an atom is that of its structure.

        Returns
        -------
        self
        """
        values = fit_table(self, X, ensure_min_samples=2)
        by_element = self.by_element and isinstance(X, AtomicFeatures)
        self.species_ = X.species if by_element else None
        kinds = [X.numbers == z for z in self.species_] if by_element else [slice(None)]
        check_memory(
            8.0 * (2 * self.multiplicity + len(kinds) - 1) * self.n_features * values.shape[1],
            f"{self.multiplicity} x {self.n_features} pairs of {values.shape[1]} features",
            "lower n_features or multiplicity, or take PrincipalComponents first",
        )
        labels = None if self.sampler == "uniform" else self._labels(X, y, len(values))
        random = check_random_state(self.random_state)
        layers = [
            self._layer(values[kind], None if labels is None else labels[kind], random)
            for kind in kinds
        ]
        weights, offsets = zip(*layers, strict=True)
        projections = [DenseProjection(matrix) for matrix in weights]
        self.map_ = Neurons(projections, offsets, self.activation, self.species_)
        return self

    def _labels(self, X, y, n_rows):
        """The labels (n_rows, n_targets) of the rows, NaN where there are none."""
        if y is None:
            raise ValueError(
                "sampler='differences' requires y to be passed, but the target y is None: give "
                "labels to fit, or use sampler='uniform'"
            )
        if isinstance(y, Targets) and y.energy is None:
            raise ValueError(
                f"sampler='differences' needs energies, and the targets have only "
                f"{', '.join(y.names)}: use sampler='uniform'"
            )
        labels = np.asarray(y, float)
        labels = labels.reshape(len(labels), -1)
        atomic = isinstance(X, AtomicFeatures)
        n = len(X) if atomic else n_rows
        if len(labels) != n:
            raise ValueError(f"y has {len(labels)} labels, but X has {n} rows: give one of each")
        return np.repeat(labels, X.n_atoms, axis=0) if atomic else labels

    def _layer(self, x, labels, random):
        """Weights (n_features, n_in) and biases (n_features,) from rows of one kind."""
        if labels is not None:
            known = np.isfinite(labels).all(axis=1)
            x, labels = x[known], labels[known]
        i, j, distances = self._candidates(x, random)
        chance = None
        if labels is not None:
            slopes = np.linalg.norm(labels[i] - labels[j], axis=1) / distances
            chance = slopes / slopes.sum() if slopes.any() else None
        chosen = random.choice(len(i), self.n_features, p=chance)
        i, j, distances = i[chosen], j[chosen], distances[chosen]
        alpha, beta = self._constants()
        sign = 1.0 if self.orientation == "outward" else -1.0
        weights = sign * alpha * (x[i] - x[j]) / distances[:, None] ** 2
        return weights, -beta - np.einsum("kf,kf->k", weights, x[i])

    def _candidates(self, x, random):
        """Pairs of different points, and their distances."""
        n, count = len(x), self.multiplicity * self.n_features
        if n > 1:
            i = random.randint(n, size=count)
            j = (i + random.randint(1, n, size=count)) % n
            distances = np.linalg.norm(x[i] - x[j], axis=1)
            apart = distances > _SAME * np.abs(x).max()
            if apart.any():
                return i[apart], j[apart], distances[apart]
        raise ValueError(
            f"all {n} points of a kind coincide, and weights are differences of points: give "
            "training data that vary, or use by_element=False for an element of one atom"
        )

    def _constants(self):
        alpha, beta = getattr(ACTIVATIONS[self.activation], self.orientation)
        return (
            alpha if self.alpha is None else self.alpha, beta if self.beta is None else self.beta
        )  # fmt: skip

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.sampler == "differences"
        return tags
