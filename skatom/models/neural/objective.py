"""The loss of networks whose outputs are summed, and its derivative by their weights."""

from __future__ import annotations

import numpy as np

from skatom.models.neural.perceptron import Passage
from skatom.parallel import split_sizes, threads_over_blas

# Rows that one thread takes at once.
_ROWS = 512
# Rows that pass through the networks at once in a prediction.
_TOGETHER = 2**13


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
        return self._of_rows(x, kinds, RowPassages.outputs, np.empty(len(x)))

    def slopes(self, x, kinds):
        """c ∂f/∂x of every row."""
        return self._of_rows(x, kinds, RowPassages.input_slopes, np.empty(x.shape))

    def _of_rows(self, x, kinds, of, out):
        """What passages give, some rows at a time: those keep all hidden layers."""
        for start in range(0, len(x), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            out[some] = of(RowPassages(self, x[some], kinds[some]))
        return out

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


class RowPassages:
    """The passages of rows through the networks of their kinds.

    Parameters
    ----------
    summed : SummedNetworks
    x : ndarray of float, shape (n, n_features)
    kinds : ndarray of int, shape (n,)
    """

    def __init__(self, summed, x, kinds):
        self.summed, self.shape = summed, x.shape
        if len(summed.networks) == 1:
            self.ways = [(Passage(summed.networks[0], x), slice(None))]
            return
        rows = [np.flatnonzero(kinds == k) for k in range(len(summed.networks))]
        self.ways = [
            (Passage(network, x[own]) if len(own) else None, own)
            for network, own in zip(summed.networks, rows, strict=True)
        ]

    def outputs(self):
        """c f of every row."""
        return self._joined(np.empty(self.shape[0]), lambda way: way.outputs)

    def input_slopes(self):
        """c ∂f/∂x of every row."""
        return self._joined(np.empty(self.shape), Passage.input_slopes)

    def _joined(self, out, of):
        for way, own in self.ways:
            if way is not None:
                out[own] = of(way)
        return self.summed.scale * out

    def parameter_slopes(self, weights, tangents):
        r"""Derivatives of :math:`\sum_i c\,[w_i f(x_i) + t_i \cdot \nabla f(x_i)]`.

        See `Passage.parameter_slopes`; they are in the order of `SummedNetworks.vector`, and zero
        for networks without rows.
        """
        found = []
        for network, (way, own) in zip(self.summed.networks, self.ways, strict=True):
            if way is None:
                found += [np.zeros(part.size) for part in network.parts()]
                continue
            along = None if tangents is None else tangents[own]
            found += [part.ravel() for part in way.parameter_slopes(weights[own], along)]
        return self.summed.scale * np.concatenate(found)


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
        pieces = [chosen[some] for some in split_sizes(np.diff(self.data.offsets)[chosen], _ROWS)]
        with threads_over_blas() as team:
            found = list(team.map(lambda some: self._piece(summed, some, with_slopes), pieces))
        errors, slopes = zip(*found, strict=True)
        return sum(errors), sum(slopes) if with_slopes else None

    def _piece(self, summed, chosen, with_slopes):
        """What some structures add to the sum and to its slope."""
        rows, starts = self.data.rows_of(chosen)
        ways = RowPassages(summed, self.data.x[rows], self.data.kinds[rows])
        errors, pull = self._of_energies(np.add.reduceat(ways.outputs(), starts[:-1]), chosen)
        coordinates, firsts = self.data.slopes_of(chosen)
        tangents = None
        if len(coordinates):
            found = self.data.along(chosen, starts, firsts, ways.input_slopes())
            more, vector = self._of_derivatives(found, coordinates)
            errors += more
            if with_slopes:
                tangents = self.data.tangents(chosen, starts, firsts, vector)
        if not with_slopes:
            return errors, None
        return errors, ways.parameter_slopes(np.repeat(pull, np.diff(starts)), tangents)

    def _of_energies(self, energies, chosen):
        """The error of energies of structures, and its slope by each."""
        weights = self.data.energy_weights[chosen]
        left = weights * (energies - self.data.energy[chosen])
        return left @ left / self.n_labels, 2 / self.n_labels * weights * left

    def _of_derivatives(self, found, coordinates):
        """The error of forces and virials, and its slope by each dE/dR and dE/dε."""
        weights = self.data.slope_weights[coordinates]
        left = weights * (found - self.data.slopes[coordinates])
        return left @ left / self.n_labels, 2 / self.n_labels * weights * left
