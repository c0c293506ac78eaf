"""A fully connected network of one output, and its derivatives of first and second order."""

import numpy as np

from skatom._device import namespace
from skatom._layers import DenseLayer
from skatom.models.neural.nonlinearities import nonlinearity


class Perceptron:
    r"""A network :math:`a_l = \rho(a_{l-1} W_l + b_l)` of one linear output.

    Parameters
    ----------
    coefs : list of ndarray of float, shape (n_in, n_out)
        The weights W of each layer.
    intercepts : list of ndarray of float, shape (n_out,)
        The biases b.
    activation : str
    beta : float
    """

    def __init__(self, coefs, intercepts, activation, beta):
        self.coefs, self.intercepts = coefs, intercepts
        self.activation, self.beta = activation, beta

    @classmethod
    def random(cls, sizes, activation, beta, random):
        """Weights of the variance 2 / n_in; biases, and the output, of zero."""
        shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
        coefs = [random.normal(scale=np.sqrt(2 / n), size=(n, m)) for n, m in shapes]
        return cls(coefs, [np.zeros(m) for _, m in shapes], activation, beta)

    @property
    def sizes(self):
        """Widths of the layers, from the features to the output."""
        return [*(len(w) for w in self.coefs), 1]

    def parts(self):
        """All weights and biases, layer by layer."""
        return [part for pair in zip(self.coefs, self.intercepts, strict=True) for part in pair]

    def with_parts(self, parts):
        """A network of the same form with other weights and biases."""
        return Perceptron(parts[::2], parts[1::2], self.activation, self.beta)

    def layers(self, scale):
        """The layers of the output times a number."""
        rho = nonlinearity(self.activation, self.beta)
        *hidden, top = zip(self.coefs, self.intercepts, strict=True)
        return [
            *(DenseLayer(w, b, rho.function, rho.slope) for w, b in hidden),
            DenseLayer(scale * top[0], scale * top[1]),
        ]


class Passage:
    """The passage of rows through a network, forward and backward.

    Parameters
    ----------
    network : Perceptron
        Its weights are where the rows are.
    x : ndarray or Tensor of float, shape (n, n_features)

    Attributes
    ----------
    outputs : ndarray or Tensor of float, shape (n,)
    """

    def __init__(self, network, x):
        self.network = network
        self.rho = nonlinearity(network.activation, network.beta)
        self.slopes, self.activations = [], [x]
        for w, b in zip(network.coefs[:-1], network.intercepts[:-1], strict=True):
            value, slope = self.rho.both(self.activations[-1] @ w + b)
            self.activations.append(value)
            self.slopes.append(slope)
        self.top = network.coefs[-1][:, 0]
        self.outputs = self.activations[-1] @ self.top + network.intercepts[-1][0]

    def input_slopes(self):
        """∂f/∂x (n, n_features)."""
        self.of_activations, self.of_arguments = [], []
        back = namespace(self.top).broadcast_to(self.top, (len(self.outputs), len(self.top)))
        for w, slopes in zip(self.network.coefs[-2::-1], self.slopes[::-1], strict=True):
            self.of_activations.insert(0, back)
            self.of_arguments.insert(0, back * slopes)
            back = self.of_arguments[0] @ w.T
        return back

    def parameter_slopes(self, weights, tangents=None):
        r"""Derivatives of :math:`\sum_i [c_i f(x_i) + t_i \cdot \nabla f(x_i)]`.

        Parameters
        ----------
        weights : ndarray of float, shape (n,)
            c.
        tangents : ndarray of float, shape (n, n_features), default=None
            t; `input_slopes` must have been called before. None: zero.

        Returns
        -------
        list of ndarray
            With respect to `Perceptron.parts`.
        """
        moving = tangents is not None
        if moving:
            of_z, of_a = self._pushed(tangents)
        top = self.activations[-1].T @ weights + (of_a[-1].sum(axis=0) if moving else 0.0)
        parts = [top[:, None], weights.sum()[None]]
        back = weights[:, None] * self.top
        for k in range(len(self.slopes) - 1, -1, -1):
            back = back * self.slopes[k]
            if moving:
                bend = self.rho.curvature(self.activations[k + 1], self.slopes[k])
                back += self.of_activations[k] * bend * of_z[k]
            of_weights = self.activations[k].T @ back
            if moving:
                of_weights += of_a[k].T @ self.of_arguments[k]
            parts[:0] = [of_weights, back.sum(axis=0)]
            if k:
                back = back @ self.network.coefs[k].T
        return parts

    def _pushed(self, tangents):
        """Changes of the arguments and of the activations along tangents of the rows."""
        of_z, of_a = [], [tangents]
        for w, slopes in zip(self.network.coefs[:-1], self.slopes, strict=True):
            of_z.append(of_a[-1] @ w)
            of_a.append(of_z[-1] * slopes)
        return of_z, of_a
