"""The loss of networks whose outputs are summed, and its derivative by their weights."""

from __future__ import annotations

import numpy as np

from skatom.models.neural.perceptron import Passage


class SummedNetworks:
    r"""Networks of kinds of rows, whose outputs add up: :math:`E_s = c \sum_{i \in s} f(x_i)`.

    Parameters
    ----------
    networks : list of Perceptron
        One for each kind of rows.
    scale : float
        c.
    """

    def __init__(self, networks, scale):
        self.networks, self.scale = networks, scale

    def outputs(self, x, kinds):
        """c f of every row."""
        return self._joined(x, kinds, np.empty(len(x)), lambda way: way.outputs)

    def slopes(self, x, kinds):
        """c ∂f/∂x of every row."""
        return self._joined(x, kinds, np.empty(x.shape), Passage.input_slopes)

    def _joined(self, x, kinds, out, of):
        for network, own in self.shared(kinds):
            out[own] = of(Passage(network, x[own]))
        return self.scale * out

    def shared(self, kinds):
        """(network, its rows) of the kinds that occur; all rows are a slice."""
        if len(self.networks) == 1:
            return [(self.networks[0], slice(None))]
        rows = [np.flatnonzero(kinds == k) for k in range(len(self.networks))]
        return [pair for pair in zip(self.networks, rows, strict=True) if len(pair[1])]

    def vector(self):
        """All weights and biases."""
        return np.concatenate([part.ravel() for n in self.networks for part in n.parts()])

    def of_vector(self, theta):
        """The networks of other weights and biases."""
        networks, at = [], 0
        for network in self.networks:
            parts = []
            for part in network.parts():
                parts.append(theta[at : at + part.size].reshape(part.shape))
                at += part.size
            networks.append(network.with_parts(parts))
        return SummedNetworks(networks, self.scale)

    def are_weights(self):
        """Whether each number of `vector` is a weight, not a bias."""
        return np.concatenate(
            [np.full(p.size, p.ndim == 2) for n in self.networks for p in n.parts()]
        )


class SquaredErrors:
    r"""The loss :math:`\sum_t w_t (y_t - \hat y_t)^2 / \sum_t w_t + \alpha |W|^2`.

    It sums over the labels t, energies, forces and virials, divided by their noises, and over the
    weights W of all layers, without the biases.

    Parameters
    ----------
    data : LabelledRows
    summed : SummedNetworks
        The form of the networks, and their scale.
    alpha : float
    chosen : ndarray of int
        The structures whose errors are summed.
    """

    def __init__(self, data, summed, alpha, chosen):
        self.data, self.summed, self.chosen = data, summed, chosen
        self.decay = summed.are_weights() * alpha
        self.n_labels = float(data.counts[chosen].sum())

    def __len__(self):
        return len(self.chosen)

    def errors(self, theta):
        """The mean squared error."""
        return self._evaluate(self.summed.of_vector(theta), self.chosen, False)[0]

    def __call__(self, theta, some=slice(None)):
        """The loss and its derivative; of some of the structures, as if all were like them."""
        chosen = self.chosen[some]
        share = len(chosen) / len(self.chosen)
        errors, slopes = self._evaluate(self.summed.of_vector(theta), chosen, True)
        decay = self.decay * theta
        return errors / share + decay @ theta, slopes / share + 2 * decay

    def _evaluate(self, summed, chosen, with_slopes):
        """The sum of squared errors over all labels, and its slope if it is wanted."""
        data = self.data
        rows, starts = data.rows_of(chosen)
        x, shared = data.x[rows], summed.shared(data.kinds[rows])
        ways = [(Passage(network, x[own]), own) for network, own in shared]
        errors, pull = self._of_energies(ways, chosen, starts)
        coordinates, firsts = data.slopes_of(chosen)
        tangents = None
        if len(coordinates):
            more, vector = self._of_derivatives(ways, x.shape, chosen, starts, firsts, coordinates)
            errors += more
            if with_slopes:
                tangents = data.tangents(chosen, starts, firsts, vector)
        if not with_slopes:
            return errors, None
        parts = {
            id(way.network): way.parameter_slopes(
                pull[own], None if tangents is None else tangents[own]
            )
            for way, own in ways
        }
        return errors, self._joined(summed, parts)

    def _of_energies(self, ways, chosen, starts):
        """The error of energies, and its slope by the output of every row."""
        data, scale, outputs = self.data, self.summed.scale, np.empty(starts[-1])
        for way, own in ways:
            outputs[own] = way.outputs
        weights = data.energy_weights[chosen]
        sums = np.add.reduceat(outputs, starts[:-1])
        left = weights * (scale * sums - data.energy[chosen])
        pull = np.repeat(2 * scale / self.n_labels * weights * left, np.diff(starts))
        return left @ left / self.n_labels, pull

    def _of_derivatives(self, ways, shape, chosen, starts, firsts, coordinates):
        """The error of forces and virials, and its slope by dE/dR and dE/dε, times the scale."""
        data, scale, slopes = self.data, self.summed.scale, np.empty(shape)
        for way, own in ways:
            slopes[own] = way.input_slopes()
        weights = data.slope_weights[coordinates]
        found = scale * data.along(chosen, starts, firsts, slopes)
        left = weights * (found - data.slopes[coordinates])
        return left @ left / self.n_labels, 2 * scale / self.n_labels * weights * left

    def _joined(self, summed, parts):
        """Slopes by all weights; networks without rows have none."""
        return np.concatenate([
            part.ravel()
            for network in summed.networks
            for part in parts.get(id(network)) or map(np.zeros_like, network.parts())
        ])  # fmt: skip
