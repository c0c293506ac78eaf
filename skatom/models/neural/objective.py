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
        data, scale = self.data, summed.scale
        rows, starts = data.rows_of(chosen)
        x, kinds = data.x[rows], data.kinds[rows]
        shared = summed.shared(kinds)
        ways = [Passage(network, x[own]) for network, own in shared]
        outputs = np.empty(len(x))
        for way, (_, own) in zip(ways, shared, strict=True):
            outputs[own] = way.outputs
        of_energy, weights = data.energy[chosen], data.energy_weights[chosen]
        left = weights * (scale * np.add.reduceat(outputs, starts[:-1]) - of_energy)
        errors = left @ left
        coordinates, firsts = data.slopes_of(chosen)
        if len(coordinates):
            slopes = np.empty(x.shape)
            for way, (_, own) in zip(ways, shared, strict=True):
                slopes[own] = way.input_slopes()
            found = scale * data.along(chosen, starts, firsts, slopes)
            inverse = data.slope_weights[coordinates]
            off = inverse * (found - data.slopes[coordinates])
            errors += off @ off
        if not with_slopes:
            return errors / self.n_labels, None
        factor = 2 * scale / self.n_labels
        pull = np.repeat(factor * weights * left, np.diff(starts))
        tangents = None
        if len(coordinates):
            tangents = data.tangents(chosen, starts, firsts, factor * inverse * off)
        parts = {
            id(way.network): way.parameter_slopes(
                pull[own], None if tangents is None else tangents[own]
            )
            for way, (_, own) in zip(ways, shared, strict=True)
        }
        return errors / self.n_labels, self._joined(summed, parts)

    def _joined(self, summed, parts):
        """Derivatives by all weights; networks without rows have none."""
        return np.concatenate([
            part.ravel()
            for network in summed.networks
            for part in parts.get(id(network)) or map(np.zeros_like, network.parts())
        ])  # fmt: skip
