"""How hard the weights of a network are to train: the curvature of its loss."""

from __future__ import annotations

import numpy as np

from skatom._typing import Array, Estimator, FeaturesLike
from skatom.attribution.explanations import LayerPath
from skatom.attribution.propagation import argument_slopes
from skatom.memory import check_memory


def hessian_condition(model: Estimator, X: FeaturesLike, layer: int = 0) -> Array:
    r"""Condition numbers of the Hessian of the squared error by the weights of each neuron.

    .. math:: H_k = 2 \big\langle a\, a^\top\, \delta_k^2 \big\rangle, \qquad
        \delta_k = \frac{\partial f}{\partial z_k}

    with the inputs a of a layer and the slope of the output along the argument of neuron k; this is
    the block of the Hessian where residuals vanish [1]_. Descent along slopes takes a number of
    steps that grows with the ratio of its largest to its smallest eigenvalue. For independent
    inputs of means m and standard deviations s, the ratio of the first layer is at most
    :math:`(\max_i s_i^2 + |m|^2) / \min_i s_i^2`: the reason to scale features.

    Parameters
    ----------
    model : fitted estimator, Pipeline or search
        As for `relevance`.
    X : as for ``model.predict``
        The structures, features or samples.
    layer : int, default=0
        The layer, the first of which takes the features.

    Returns
    -------
    ndarray of float, shape (n_networks, n_neurons)
        One row for each subnetwork, of an element, that occurs; infinite for neurons that no input
        moves, or whose inputs depend on each other.

    Raises
    ------
    ValueError
        If the model is no network, or has no such layer.

    References
    ----------
    .. [1] G. Montavon, in Machine Learning Meets Quantum Physics, Lecture Notes in Physics 968,
       37 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.attribution import hessian_condition
    >>> from sklearn.linear_model import Ridge
    >>> X = np.random.default_rng(0).normal([0.0, 3.0], [1.0, 0.1], size=(500, 2))
    >>> model = Ridge(1e-9).fit(X, X.sum(axis=1))
    >>> bool(5 < hessian_condition(model, X).item() <= (X.var(axis=0).max() + 9.1) / 0.0095)
    True
    """
    path = LayerPath.of(model, X)
    n_layers = len(path.parts[0].layers)
    if not 0 <= layer < n_layers:
        raise ValueError(f"layer={layer} must be from 0 to {n_layers - 1}: there are {n_layers}")
    return np.stack(
        [_conditions(path.inputs[part.rows], part.layers, layer) for part in path.parts]
    )


def _conditions(x, layers, layer):
    n_in, n_out = layers[layer].weights.shape
    check_memory(
        8.0 * (2 * n_in**2 + len(x) * sum(sum(each.weights.shape) for each in layers)),
        f"the Hessian of {n_in} weights of {n_out} neurons, for {len(x)} rows",
        "pass fewer structures, or take PrincipalComponents of the features first",
    )
    a, slopes = argument_slopes(x, layers, layer)
    found = np.empty(n_out)
    for k in range(n_out):
        moved = a * slopes[:, k : k + 1]
        values = np.linalg.eigvalsh(2 * moved.T @ moved / len(x))
        smallest = values[0] if values[0] > np.finfo(float).eps * values[-1] else 0.0
        found[k] = values[-1] / smallest if smallest else np.inf
    return found
