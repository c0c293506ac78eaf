"""Relevances and sensitivities of fitted models, and energies of their atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skatom._layers import DenseLayer, LayeredRows
from skatom._prediction import last_step, predict, predictable, unwrap
from skatom._typing import Array, ArrayLike, Estimator, FeaturesLike
from skatom.attribution.attribution import Attribution
from skatom.attribution.propagation import gradients, relevances
from skatom.descriptors.features import Features
from skatom.memory import check_memory
from skatom.random_features import ProjectedFunctions

_KINDS = ("squared gradient", "gradient times input")
# Activation functions of scikit-learn's networks, with their slopes.
_FUNCTIONS = {
    "identity": (lambda z: z, np.ones_like),
    "logistic": (expit, lambda z: expit(z) * expit(-z)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0.0), lambda z: (z > 0).astype(float)),
}


def relevance(model: Estimator, X: FeaturesLike, gamma: float | ArrayLike = 1.0) -> Attribution:
    r"""Layer-wise relevance propagation: shares of the features in a prediction.

    .. math::

        R_j = \sum_k \frac{a_j\, g(w_{jk})}{g(b_k) + \sum_i a_i\, g(w_{ik})}\, R_k, \qquad
        g(w) = w + \gamma \max(0, w)

    The output of a network is its own relevance, which is passed from layer to layer down to the
    inputs; each neuron divides its relevance among the neurons below, and its bias, by their shares
    in its argument [1]_. All shares together are the prediction. Where inputs a may be negative, in
    the first layer and after "tanh", "gelu" or "centered softplus", the share is
    :math:`g(a_j) g(w_{jk}) + g(-a_j) g(-w_{jk})`, in which both signs count alike.

    With γ = 0 the shares of a network of rectifiers are the slopes times the inputs, which vary
    rapidly; larger γ damp terms that cancel each other.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        Its last step is a linear model, with or without networks of sampled weights
        (`SampledNetworkFeatures`) before it, a `StructuredMLPRegressor`, or an
        `sklearn.neural_network.MLPRegressor` of one output; or another with the method
        ``layers_of``, see `StructuredMLPRegressor`.
    X : as for ``model.predict``
        The structures, features or samples.
    gamma : float or sequence of float, default=1
        γ of all layers but the last, which is linear and has 0; or of each layer, beginning with
        that of the inputs.

    Returns
    -------
    Attribution
        Shares of the features that enter the first layer of neurons.

    Raises
    ------
    ValueError
        If the model is no network, or its neurons are waves, whose values are not made of shares.

    See Also
    --------
    sensitivity : Slopes along the features, also of waves.

    References
    ----------
    .. [1] G. Montavon, in Machine Learning Meets Quantum Physics, Lecture Notes in Physics 968,
       37 (2020); S. Bach et al., PLoS ONE 10, e0130140 (2015).

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.attribution import relevance
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import FeatureScaler, InverseDistances
    >>> from skatom.models import LinearPotential
    >>> from skatom.random_features import SampledNetworkFeatures
    >>> data = load_ethanol()
    >>> model = make_pipeline(
    ...     InverseDistances(),
    ...     FeatureScaler("standard", out_of_range="ignore"),
    ...     SampledNetworkFeatures(50, random_state=0),
    ...     LinearPotential(),
    ... )
    >>> model = model.fit(data.structures[:40], data.targets[:40])
    >>> found = relevance(model, data.structures[:2])
    >>> found.by_pair().shape, found.by_atom().shape
    ((2, 9, 9), (18,))
    >>> import numpy as np
    >>> bool(np.allclose(found.values.sum(axis=1) + found.rest, model.predict(data.structures[:2])))
    True
    """
    network = _Network.of(model, X)
    values = network.empty()
    rest, outputs = np.zeros(len(values)), np.zeros(len(values))
    for part in network.parts:
        waves = [layer for layer in part.layers if layer.oscillates]
        if waves:
            raise ValueError(
                f"{len(waves)} of the {len(part.layers)} layers are waves, whose values are not "
                "made of shares: use sensitivity(model, X, 'gradient times input'), or "
                "SampledNetworkFeatures in place of RandomFourierFeatures"
            )
        gammas = _gammas(gamma, len(part.layers))
        rows = part.rows
        values[rows], rest[rows], outputs[rows] = relevances(
            network.inputs[rows], part.layers, gammas
        )
        rest[rows] += part.constants
        outputs[rows] += part.constants
    return Attribution(values, rest, outputs, network.offsets, network.features)


def sensitivity(model: Estimator, X: FeaturesLike, kind: str = "squared gradient") -> Attribution:
    r"""Slopes of a prediction along its features.

    .. math:: S_f = \Big(\frac{\partial E}{\partial x_f}\Big)^2 \quad \text{or} \quad
        x_f\, \frac{\partial E}{\partial x_f}

    Squared slopes say where the prediction would change most, not what it is made of [1]_. They are
    comparable for features of unit variance.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        As for `relevance`; waves (`RandomFourierFeatures`) have slopes, too.
    X : as for ``model.predict``
        The structures, features or samples.
    kind : {"squared gradient", "gradient times input"}, default="squared gradient"
        What is returned. The rest of "gradient times input" is what is missing to the prediction.

    Returns
    -------
    Attribution

    Raises
    ------
    ValueError
        If the model is no network, or the kind is unknown.

    References
    ----------
    .. [1] G. Montavon, in Machine Learning Meets Quantum Physics, Lecture Notes in Physics 968,
       37 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skatom.attribution import sensitivity
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> model = Ridge(1e-9).fit(X, X @ [1.0, -2.0])
    >>> sensitivity(model, X[:1]).values.round(6)
    array([[1., 4.]])
    """
    if kind not in _KINDS:
        raise ValueError(f"kind={kind!r} must be {_KINDS[0]!r} or {_KINDS[1]!r}")
    network = _Network.of(model, X)
    slopes, outputs = network.empty(), np.zeros(len(network.inputs))
    for part in network.parts:
        slopes[part.rows], outputs[part.rows] = gradients(network.inputs[part.rows], part.layers)
        outputs[part.rows] += part.constants
    if kind == _KINDS[0]:
        return Attribution(slopes**2, None, outputs, network.offsets, network.features)
    values = network.inputs * slopes
    rest = outputs - values.sum(axis=1)
    return Attribution(values, rest, outputs, network.offsets, network.features)


def energy_by_atom(model: Estimator, X: FeaturesLike) -> Array:
    r"""Energies of the atoms, :math:`E = \sum_i \varepsilon_i`, of any model that is such a sum.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        A model that predicts ``local_energies``.
    X : as for ``model.predict``
        The structures or their features.

    Returns
    -------
    ndarray of float, shape (n_atoms,)
        In eV; with those of the elements and the baseline, so that their sums are the energies.

    Raises
    ------
    ValueError
        If the model has no energies of atoms.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.attribution import energy_by_atom
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.descriptors import SOAP
    >>> from skatom.models import SparseGaussianProcess
    >>> data = load_ethanol()
    >>> model = make_pipeline(
    ...     SOAP(cutoff=3.0, n_max=3, l_max=2), SparseGaussianProcess(n_sparse=10, random_state=0)
    ... )
    >>> model = model.fit(data.structures[::100], data.targets[::100])
    >>> energy_by_atom(model, data.structures[:2]).shape
    (18,)
    """
    given = predictable(unwrap(model))
    if "local_energies" not in given:
        raise ValueError(
            f"this {type(last_step(model)).__name__} gives {', '.join(given)} and no energies of "
            "atoms: fit it to AtomicFeatures, from a descriptor without pool, or use "
            "relevance(model, X).by_atom()"
        )
    return predict(model, X, ["local_energies"])["local_energies"]


class _Network:
    """The inputs of a model and the layers that they pass through.

    Attributes
    ----------
    inputs : ndarray of float, shape (n_rows, n_inputs)
    parts : list of LayeredRows
    offsets : ndarray of int, shape (n + 1,)
    features : AtomicFeatures, StructureFeatures or None
    """

    def __init__(self, inputs, parts, features, n):
        self.inputs, self.parts, self.features = inputs, parts, features
        atomic = hasattr(features, "pool")
        self.offsets = features.offsets if atomic else np.arange(n + 1) * (len(inputs) // max(n, 1))

    def empty(self):
        """An array of the shape of the inputs, if it fits in memory."""
        check_memory(
            24.0 * self.inputs.size,
            f"the shares of {self.inputs.shape[1]} inputs of {len(self.inputs)} rows",
            "explain fewer structures at a time",
        )
        return np.empty(self.inputs.shape)

    @classmethod
    def of(cls, model, X):
        """The network of a model: its last step, and the maps to neurons before it."""
        model = unwrap(model)
        steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]
        *before, last = (unwrap(step) for step in steps if step not in (None, "passthrough"))
        first = len(before)
        while first and isinstance(getattr(before[first - 1], "map_", None), ProjectedFunctions):
            first -= 1
        for step in before[:first]:
            X = step.transform(X)
        features = X
        for step in before[first:]:
            features = step.transform(features)
        inputs, parts = _layers_of(last, features)
        maps = [step.map_ for step in before[first:]]
        if maps:
            inputs = X.values if isinstance(X, Features) else np.asarray(X, float)
            parts = _after(maps, parts, X)
        return cls(inputs, parts, X if isinstance(X, Features) else None, len(X))


def _layers_of(model, X):
    """The inputs and layers of a model of skatom or scikit-learn."""
    check_is_fitted(model)
    if hasattr(model, "layers_of"):
        return model.layers_of(X)
    layers = None
    if hasattr(model, "coefs_") and hasattr(model, "activation"):
        names = [model.activation] * (len(model.coefs_) - 1) + [model.out_activation_]
        layers = [
            DenseLayer(w, b, *_FUNCTIONS[name])
            for w, b, name in zip(model.coefs_, model.intercepts_, names, strict=True)
        ]
    elif hasattr(model, "coef_") and hasattr(model, "intercept_"):
        coef = np.atleast_2d(model.coef_)
        layers = [DenseLayer(coef.T, np.broadcast_to(model.intercept_, len(coef)))]
    if layers is None or layers[-1].weights.shape[1] != 1:
        raise ValueError(
            f"{type(model).__name__} is no network of one output, whose layers could be followed "
            "back: use a linear model after SampledNetworkFeatures, StructuredMLPRegressor or "
            "MLPRegressor"
        )
    x = np.asarray(X, float)
    return x, [LayeredRows(np.arange(len(x)), layers, np.zeros(len(x)))]


def _after(maps: list, parts: list, X: Any) -> list:
    """The layers of neurons of maps before the layers of a model."""
    numbers = X.numbers if hasattr(X, "pool") else None
    found = []
    for part in parts:
        own = None if numbers is None else numbers[part.rows]
        for z in [None] if own is None else np.unique(own):
            chosen = slice(None) if z is None else np.flatnonzero(own == z)
            layers = [*(m.layer(z) for m in maps), *part.layers]
            found.append(LayeredRows(part.rows[chosen], layers, part.constants[chosen]))
    return found


def _gammas(gamma, n_layers):
    """γ of each layer; 0 for the last, unless all are given."""
    if np.ndim(gamma) == 0:
        gamma = [gamma] * (n_layers - 1) + [0.0]
    gammas = np.asarray(gamma, float)
    if gammas.shape != (n_layers,) or not (np.isfinite(gammas) & (gammas >= 0)).all():
        raise ValueError(
            f"gamma={gamma} must be a number from 0 on, or one for each of the {n_layers} layers"
        )
    return gammas
