"""Relevances and slopes, carried from the output of a network back to its inputs."""

import numpy as np

from skatom.parallel import split_rows

# Units whose share of the output would be divided by less pass nothing on.
_SMALLEST = 1e-12
# Rows that pass through a network at once.
_ROWS = 2048


def relevances(x, layers, gammas):
    """Shares of the inputs in the output of a network.

    Parameters
    ----------
    x : ndarray of float, shape (n, n_inputs)
    layers : list of DenseLayer
    gammas : sequence of float
        γ of each layer.

    Returns
    -------
    values : ndarray of float, shape (n, n_inputs)
    rest : ndarray of float, shape (n,)
        The shares of the biases, and of units that pass nothing on.
    outputs : ndarray of float, shape (n,)
        What all shares of a row add up to.
    """
    values, rest, outputs = np.empty(x.shape), np.empty(len(x)), np.empty(len(x))
    for part in split_rows(len(x), _ROWS):
        values[part], rest[part], outputs[part] = _relevances(x[part], layers, gammas)
    return values, rest, outputs


def _relevances(x, layers, gammas):
    _, activations = _forward(x, layers)
    outputs = activations[-1][:, 0]
    share, rest = activations[-1], np.zeros(len(x))
    for k in range(len(layers) - 1, -1, -1):
        positive = k > 0 and _is_positive(layers[k - 1])
        rule = _one_sided if positive else _two_sided
        share, lost = rule(activations[k], layers[k], gammas[k], share)
        rest += lost
    return share, rest, outputs


def _one_sided(a, layer, gamma, share):
    """The γ rule for inputs a ≥ 0, shares a_j g(w_jk) of the sum with the bias."""
    w, b = _raised(layer.weights, gamma), _raised(layer.biases, gamma)
    ratios, lost = _ratios(share, a @ w + b)
    return a * (ratios @ w.T), lost + ratios @ b


def _two_sided(a, layer, gamma, share):
    """The rule for inputs of both signs, shares g(a_j) g(w_jk) + g(−a_j) g(−w_jk)."""
    up, down = _raised(layer.weights, gamma), _raised(-layer.weights, gamma)
    one, other = _raised(a, gamma), _raised(-a, gamma)
    of_bias = (1 + gamma) * _raised(layer.biases, gamma) - _raised(-layer.biases, gamma)
    ratios, lost = _ratios(share, one @ up + other @ down + of_bias)
    return one * (ratios @ up.T) + other * (ratios @ down.T), lost + ratios @ of_bias


def _ratios(share, sums):
    """Shares divided by the sums that they are parts of, and what is lost where these vanish."""
    dead = np.abs(sums) < _SMALLEST
    ratios = np.where(dead, 0.0, share / np.where(dead, 1.0, sums))
    return ratios, np.where(dead, share, 0.0).sum(axis=1)


def _raised(w, gamma):
    """g(w) = w + γ max(0, w)."""
    return w + gamma * np.maximum(w, 0.0)


def _is_positive(layer):
    """Whether the function of a layer has no negative values: a rectifier, smooth or not."""
    return bool(layer.function(np.array([-1.0]))[0] >= 0)


def gradients(x, layers):
    """Slopes of the output of a network along its inputs (n, n_inputs), and the output (n,)."""
    slopes, outputs = np.empty(x.shape), np.empty(len(x))
    for part in split_rows(len(x), _ROWS):
        arguments, activations = _forward(x[part], layers)
        outputs[part] = activations[-1][:, 0]
        back = np.ones((len(outputs[part]), 1))
        for layer, z in zip(layers[::-1], arguments[::-1], strict=True):
            back = (back * layer.slope(z)) @ layer.weights.T
        slopes[part] = back
    return slopes, outputs


def _forward(x, layers):
    """Arguments of all layers, and the inputs and outputs of all."""
    arguments, activations = [], [x]
    for layer in layers:
        arguments.append(activations[-1] @ layer.weights + layer.biases)
        activations.append(layer.function(arguments[-1].copy()))
    return arguments, activations
